// On docs.rs, what needs a feature says so.
#![cfg_attr(docsrs, feature(doc_cfg), doc(auto_cfg(hide(pool_loom))))]
//! A pool of byte buffers that learns how large a new buffer should be, keeps its cached bytes within a budget, and gives
//! memory back by itself while it is in use.
//!
//! For programs that format or serialize all day: log lines, messages, response bodies. They get an empty buffer, write
//! into it, and drop it; the next one finds memory that is already there, and of the right size.
//!
//! ```
//! use bytebufferpool::Pool;
//! use std::io::Write;
//!
//! static LINES: Pool = Pool::new();
//!
//! // Empty, with the learned capacity.
//! let mut line = LINES.get();
//! // Grows through the pool if that is not enough.
//! writeln!(line, "user=4711 status={}", 200)?;
//! std::io::stdout().write_all(&line)?;
//! // The buffer is returned to the pool.
//! drop(line);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Which get do I want?
//!
//! | you know | call |
//! |---|---|
//! | nothing about the size | [`Pool::get`]; the guard borrows the pool, and with a `static` pool it is `'static` |
//! | the size, or a bound | [`Pool::get_with_capacity`] |
//! | the size, from untrusted input | [`Pool::try_get_with_capacity`]: the guard, or an error |
//! | that the pool is in an `Arc`, and the guard must be `'static` | [`Pool::get_owned`]: an [`OwnedBuf`], which holds the `Arc` |
//! | nothing, and you have no pool | [`get()`], of the process-wide pool [`global()`] |
//! | that it is text | [`Pool::get_string`]: a [`PooledString`], always UTF-8 |
//! | that it grows large, and leaves in pieces | [`Pool::get_chunked`]: a [`ChunkedBuf`], which moves nothing while it grows |
//! | that it may stay empty | [`PooledBuf::empty`]: no buffer before the first byte |
//! | that you have a `Vec` to give away | [`Pool::put`] |
//!
//! # Five ideas
//!
//! **The pool.** A [`Pool`] is made once and shared: a `static`, a field, or behind an [`Arc`](std::sync::Arc). It has 20
//! size classes, the powers of two from 64 B to 32 MiB. Larger buffers can be had; they are allocated and freed.
//!
//! Each thread has a small cache of buffers up to 32 KiB. All other cached buffers are in a part that every thread
//! reaches. A buffer may be filled on one thread and dropped on another.
//!
//! **The guard.** A get returns a guard, [`PooledBuf`]. Its drop returns the buffer, so there is no put to forget, and
//! nothing can be used after it. It is written through [`io::Write`](std::io::Write), [`fmt::Write`](std::fmt::Write),
//! [`Extend`], [`bytes::BufMut`] or its own methods.
//!
//! A write that does not fit takes a larger buffer from the pool, copies, and returns the small one at once.
//! [`PooledBuf::freeze`] makes a [`bytes::Bytes`] without a copy; the buffer is returned when the last clone is dropped.
//!
//! **Calibration.** The pool counts the finished uses of each size class. When one class has more than 42 000, it learns
//! the *default size*, the least capacity of a plain get, and the *max size*, above which buffers are freed instead of
//! cached. Rare giants are then freed when they are returned.
//!
//! An explicit capacity does not affect the default size, and limits hold whatever is learned. Every threshold can be
//! set: see [`Builder`].
//!
//! **The budget.** The cached bytes, thread caches included, never exceed [`Builder::retained_bytes_max`], 64 MiB by
//! default, at any instant. A [`Registry`] holds one budget over several pools.
//!
//! A sleeping thread keeps nothing from the others but its small cache, at most
//! [`Builder::thread_cache_bytes_max`]. All these caches together are at most half of the budget.
//!
//! **Trim.** What was unused for two trim intervals, of 1 s by default, is freed by the uses of any thread, without a
//! call and without a background thread. [`Builder::trim_interval`] says how soon.
//!
//! A pool that nobody uses frees nothing by itself. For that there are [`Pool::trim`], [`Pool::purge`],
//! [`Pool::flush_thread`] and [`Pool::spawn_trimmer`].
//!
//! # What it costs
//!
//! **Time.** A get and drop of a cached buffer up to 32 KiB has no locked instruction and allocates nothing: about 90
//! instructions, with all counting. At full speed every 64th use also reads the clock. Above 32 KiB a get and a drop have
//! one locked instruction each; in a [`Registry`] with a common budget four more, because both budgets are charged. An
//! owned guard has two more, for the `Arc`. A thread that uses more than 16 pools in turn pays some 15 ns a use more.
//!
//! **Memory.** A pool takes about 6 KiB when it is first used, and about 6 KiB for each thread that uses it at the same
//! time. Cached buffers take nothing beside themselves. A thread that has used pools has about 300 bytes of its own,
//! however many pools there are, until it ends. The process has 4 KiB of static memory for up to 32 768 threads at the
//! same time; threads beyond that have no thread cache.
//!
//! **Stack.** Every operation, the first of a pool and of a thread too, runs on a stack of 16 KiB in release builds and
//! 32 KiB in debug builds; panics and your callbacks may need more.
//!
//! **Code.** The smallest program with a pool is about 49 KB larger than with a `Vec`; 44 with `codegen-units = 1`,
//! 40 with `panic = "abort"`.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `tracing`: a calibration is a `tracing` event.
//! - `metrics`: a pool's figures through the `metrics` facade.
//! - `serde`: [`Stats`] can be serialized, and a [`Builder`] read from a configuration file.
//! - `leak-trace`: where guards were made that have not ended.
//! - `zeroize`: every buffer is wiped when it is returned, cached or freed.
//!
//! The crate's repository has a cookbook, a comparison with other pools, and a description of how it works inside.
//!
//! [`bytes::BufMut`]: https://docs.rs/bytes/1/bytes/buf/trait.BufMut.html
//! [`bytes::Bytes`]: https://docs.rs/bytes/1/bytes/struct.Bytes.html

// First, as rustdoc shows the methods of a type in the order of the modules: `get` before `get_chunked`.
mod pool;

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
mod pool_ref;
mod record;
mod recorder;
mod registry;
mod scrub;
#[cfg(pool_shuttle)]
mod shuttle_tests;
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
///
/// # Examples
///
/// ```
/// use bytebufferpool::{OwnedBuf, Pool};
/// use std::sync::Arc;
///
/// struct Connection {
///     out: OwnedBuf,
/// }
///
/// let pool = Arc::new(Pool::new());
/// let mut connection = Connection { out: pool.get_owned() };
/// connection.out.push_str("hello");
/// ```
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

// So that what the README shows is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
