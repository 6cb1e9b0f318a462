//! Every length has its size class, through the public doors.
