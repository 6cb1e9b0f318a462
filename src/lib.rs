// On docs.rs, what needs a feature says so.
#![cfg_attr(docsrs, feature(doc_cfg), doc(auto_cfg(hide(pool_loom))))]
#![doc = include_str!("../README.md")]
//!
//! # Which get do I want?
//!
//! | you know | call | guard |
//! |---|---|---|
//! | nothing about the size | [`Pool::get`] | borrows the pool; with a `static` pool that is `'static` |
//! | the size, or a bound | [`Pool::get_with_capacity`] | the same |
//! | the size, from untrusted input | [`Pool::try_get_with_capacity`] | the same, or an error |
//! | that the pool is in an `Arc` and the guard must be `'static` | [`Pool::get_owned`] and the two like it | holds the `Arc`: two locked instructions more |
//! | nothing, and you have no pool | [`get()`] | from the process-wide [`global()`] pool, as in Go |
//! | that it is text | [`Pool::get_string`] and the four like it | a [`PooledString`]: always UTF-8 |
//! | that it may grow large and leaves in pieces | [`Pool::get_chunked`] | a [`ChunkedBuf`]: nothing moves while it grows |
//! | that it may not be written at all | [`PooledBuf::empty`] | no buffer before the first byte |
//! | a `Vec` from elsewhere that the pool may have | [`Pool::put`] | none |
//!
//! # What it costs
//!
//! **Time.** A get and drop of a cached buffer up to 32 KiB is a few loads and stores on the thread's own memory: no
//! locked instruction, no allocation, about 90 instructions with all counting. At full speed every 64th use also reads
//! the clock. Above 32 KiB a get and a drop have one locked instruction each, and in a [`Registry`] with a common budget
//! four more, because both budgets are charged. A thread that uses more than 16 pools in turn pays some 15 ns a use more.
//!
//! **Memory.** A pool takes about 6 KiB when it is first used, and about 6 KiB for each thread that uses it at the same
//! time. Cached buffers take nothing beside themselves. A thread that has used pools has about 300 bytes of its own,
//! however many pools there are, until it ends. The process has 4 KiB of static memory for up to 32 768 threads at the
//! same time; threads beyond that have no thread cache.
//!
//! **Stack.** Every operation, the first of a pool and of a thread too, runs on a stack of 16 KiB in release builds and
//! 32 KiB in debug builds; panics and your callbacks may need more.
//!
//! **Time passes by use.** What was unused for two trim intervals is freed by the uses of any thread, without a call
//! and without a background thread: see [`Builder::trim_interval`] for how soon, and for the exceptions.
//!
//! # Where to look next
//!
//! [`Pool`] for everything a pool does, [`Builder`] for the settings, [`PooledBuf`] for what can be done with a buffer,
//! [`Stats`] for the statistics.

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
/// A library should own a [`Pool`] instead: sizes are learned per pool, and a pool learns one kind of message best.
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
