#![doc = include_str!("../README.md")]
//!
//! # Which get do I want?
//!
//! | you know | call | guard |
//! |---|---|---|
//! | nothing about the size | [`Pool::get`] | borrows the pool; with a `static` pool that is `'static` |
//! | the size, or a bound | [`Pool::get_with_capacity`] | the same |
//! | the size, but a stranger said it | [`Pool::try_get_with_capacity`] | the same, or an error |
//! | that the pool lives in an `Arc` and the guard must be `'static` | [`Pool::get_owned`] and its two sisters | holds the `Arc`: two locked instructions more |
//! | nothing, and no pool either | [`get()`] | from the process-wide [`global()`] pool, as in Go |
//! | a `Vec` from elsewhere that may stay | [`Pool::put`] | none |
//!
//! # What it costs
//!
//! A get and drop of a warm buffer up to 32 KiB is a handful of loads and stores on memory of the thread's own: no
//! locked instruction, no allocation, about 90 instructions with all bookkeeping. Above 32 KiB it has one locked
//! instruction. A pool takes about 14 KiB when it is first used, 7 KiB for each thread that uses it at the same time, and
//! up to some hundred bytes for every 15 buffers in its shared part; a thread that has used pools keeps 256 bytes of
//! thread-local memory, however many they are.
//!
//! # Where to look next
//!
//! [`Pool`] for everything a pool does, [`Builder`] for what can be set, [`PooledBuf`] for what can be done with a
//! buffer, [`Stats`] for what can be known.

mod budget;
mod buf;
mod buf_mut;
mod builder;
mod chunked;
mod class;
mod depot;
#[cfg_attr(not(feature = "leak-trace"), path = "leak_trace_off.rs")]
mod leak_trace;
mod learn;
#[cfg(pool_loom)]
mod loom_tests;
#[cfg(feature = "metrics")]
pub mod metrics;
mod pool;
mod pool_ref;
mod record;
mod recorder;
mod registry;
mod scrub;
mod stats;
mod storage;
mod string;
mod sync;
#[cfg(all(test, not(pool_loom)))]
mod tests;
mod trimmer;

pub use buf::PooledBuf;
pub use builder::{BuildError, Builder, Growth};
pub use chunked::{ChunkedBuf, ChunkedReader, Chunks, FrozenChunks};
pub use class::{CLASSES, MAX_CLASS_SIZE, MIN_CLASS_SIZE};
#[cfg(feature = "leak-trace")]
pub use leak_trace::{OutstandingReport, OutstandingSite};
pub use learn::sizing::{Calibration, DefaultSize};
pub use pool::Pool;
pub use pool_ref::PoolRef;
pub use record::{Recorded, Recording};
pub use registry::{Registry, UnknownPool};
pub use stats::{ClassStats, Dropped, Stats};
pub use string::{FromUtf8Error, PooledString};
pub use trimmer::Trimmer;

#[cfg(not(pool_loom))]
static GLOBAL: Pool = Pool::new();

#[cfg(pool_loom)]
use loom_tests::stand_ins::GLOBAL;

/// An empty buffer from the process-wide pool, as in Go: [`Pool::get`] of [`global()`].
///
/// A library should own a [`Pool`] instead: sizes are learned per pool, and one population of buffers per pool is learned
/// best.
///
/// # Examples
///
/// ```
/// let mut buf = bytebufferpool::get();
/// buf.push_str("hello");
/// assert_eq!(buf, *b"hello");
/// ```
#[inline]
#[cfg_attr(feature = "leak-trace", track_caller)]
pub fn get() -> PooledBuf {
    GLOBAL.get()
}

/// An empty buffer with room for at least `capacity` bytes from the process-wide pool: [`Pool::get_with_capacity`] of
/// [`global()`].
///
/// # Panics
///
/// When `capacity` is above `isize::MAX`.
///
/// # Examples
///
/// ```
/// assert!(bytebufferpool::get_with_capacity(1000).capacity() >= 1000);
/// ```
#[inline]
#[cfg_attr(feature = "leak-trace", track_caller)]
pub fn get_with_capacity(capacity: usize) -> PooledBuf {
    GLOBAL.get_with_capacity(capacity)
}

/// An empty text from the process-wide pool: [`Pool::get_string`] of [`global()`].
///
/// # Examples
///
/// ```
/// let mut text = bytebufferpool::get_string();
/// text.push_str("hello");
/// assert_eq!(text, "hello");
/// ```
#[inline]
#[cfg_attr(feature = "leak-trace", track_caller)]
pub fn get_string() -> PooledString {
    GLOBAL.get_string()
}

/// A buffer of a pool behind an `Arc`: `'static`, and it keeps its pool alive. Of [`Pool::get_owned`].
pub type OwnedBuf = PooledBuf<std::sync::Arc<Pool>>;

/// Donates a `Vec` to the process-wide pool: [`Pool::put`] of [`global()`].
///
/// # Examples
///
/// ```
/// bytebufferpool::put(Vec::with_capacity(4096));
/// ```
pub fn put(buffer: Vec<u8>) {
    GLOBAL.put(buffer);
}

/// The process-wide pool, with the default configuration.
///
/// # Examples
///
/// ```
/// println!("{}", bytebufferpool::global().stats());
/// ```
#[must_use]
pub fn global() -> &'static Pool {
    &GLOBAL
}
