//! What a pool learns from its uses: how uses are counted, when a window is judged, what sizes follow, and when time
//! passes.
//!
//! Numbers only: nothing here owns a buffer.

pub(crate) mod calibrator;
pub(crate) mod clock;
pub(crate) mod counters;
pub(crate) mod epoch;
pub(crate) mod sizing;
pub(crate) mod usage;
