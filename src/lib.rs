//! A pool of byte buffers that learns its sizes.
//!
//! # Features
//!
//! None is on by default. `.ci/feature-cost` counts instructions: `tracing`, `metrics` and `serde` add none to a use.
//!
//! | feature | adds | costs |
//! |---|---|---|
//! | `zeroize` | every buffer is wiped as it returns, kept or freed, all of its capacity | writing all of it, each time; it also commits pages that were never used |
//! | `tracing` | a calibration is an event, level debug, target `bytebufferpool` | nothing on the hot path |
//! | `metrics` | [`metrics`](https://docs.rs/metrics) figures of a pool, when `metrics::publish` is called | nothing on the hot path |
//! | `serde` | [`Stats`] is `Serialize`; [`Builder`] is `Serialize` and `Deserialize` | nothing on the hot path |
//! | `leak-trace` | `Pool::outstanding_report`: where guards were made that have not ended | some 32 instructions a use; for one use in 128 a lock and an entry in a table |

mod announce;
mod books;
mod budget;
mod buf;
mod buf_mut;
mod builder;
mod calibration;
mod calibrator;
mod class;
mod core;
mod depot;
#[cfg(feature = "leak-trace")]
mod leak_trace;
#[cfg(test)]
mod locked;
#[cfg(feature = "metrics")]
pub mod metrics;
mod policy;
mod pool;
mod recorder;
mod registry;
#[cfg(feature = "serde")]
mod serde;
mod stats;
mod storage;
mod sync;
#[cfg(test)]
mod tests;
mod trimmer;
mod usage;
#[cfg(feature = "zeroize")]
mod wipe;

pub use announce::Calibration;
pub use buf::PooledBuf;
pub use builder::{BuildError, Builder, Growth};
pub use calibration::DefaultSize;
pub use class::{CLASSES, MAX_CLASS_SIZE, MIN_CLASS_SIZE};
#[cfg(feature = "leak-trace")]
pub use leak_trace::{OutstandingReport, OutstandingSite};
pub use pool::Pool;
pub use recorder::{Recorded, Recording};
pub use registry::{Registry, UnknownPool};
pub use stats::{ClassStats, Dropped, Stats};
pub use trimmer::Trimmer;

static GLOBAL: Pool = Pool::new();

/// An empty buffer from the process-wide pool, as in Go.
#[inline]
#[cfg_attr(feature = "leak-trace", track_caller)]
pub fn get() -> PooledBuf {
    GLOBAL.get()
}

/// Donates a `Vec` to the process-wide pool.
pub fn put(buffer: Vec<u8>) {
    GLOBAL.put(buffer);
}

/// The process-wide pool.
#[must_use]
pub fn global() -> &'static Pool {
    &GLOBAL
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
