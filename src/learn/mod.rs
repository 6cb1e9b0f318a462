//! What a pool learns from its uses: how they are counted, when they are judged, and what follows.
//!
//! Nothing here owns a buffer. The order in which the files build on each other is that of this list.

pub(crate) mod calibrator;
pub(crate) mod clock;
pub(crate) mod counters;
pub(crate) mod epoch;
pub(crate) mod sizing;
pub(crate) mod usage;
