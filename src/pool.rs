//! The pool: what its users call, and the hot half of every operation.
//!
//! The hot path of `get` is: find the thread's shard and see that nothing changed (one compare), pop a pointer off the
//! class's stack (one compare), count. That of `drop` is: the same one compare, count the use in its class (one compare for
//! odd sizes, one for the batch of calls that may be due), find the stack by the capacity (two compares), push (one
//! compare). Everything else is in [`cold`], out of line.
//!
//! What was tried, on 2026-11-20 on a 2-core x86-64 VM (Xeon, 2.5 GHz), as instructions of a get + drop of a small buffer
//! counted by callgrind (the loop around it included, some 10), and as nanoseconds where `malloc` + `free` of 1 KiB took
//! 15–17 and of 4 KiB and more 32–38 in the same runs; other programs ran beside, so the ratios count:
//!
//! | | instructions | ns |
//! |---|---|---|
//! | `Result<Vec, …>` and `Option<Vec>` handed from function to function, 24 bytes each time | 152 | 19 |
//! | `&mut Vec`, and each branch of `get` writes the whole guard itself | 125 | 12 |
//! | the guard's `Vec` in a `ManuallyDrop`, no bounds check on slots, one compare for the odd sizes | 102 | 8.5 |
//! | one stamp for "which pool" and "nothing changed", stacks of 512 bytes found by a shift | 99 | 7.5–9.4 |
//! | the class of a returning buffer found once, by the stack; compares nested, not joined by `&&` | 93 | 7.5–8.5 |
//! | the same with a capacity asked for (`get_with_capacity`) | 112 | 8.0–8.8 |
//! | above 32 KiB: through the general cold path | 406 | 53–63 |
//! | its own path, a compare-exchange each way | 198 | 29.6 |
//! | a plain store to put, a compare-exchange to take (see `storage/large.rs`) | 192 | 22.3 |
//! | the shard looked up once a side | 148 | 17.0 |
//!
//! And on 2026-11-21, on a newer 2-core VM, old and new in turn, minima (`malloc` + `free`: 11 ns to 1 KiB, 21 above; one
//! locked instruction alone: 7.4 ns). What goes to and comes from functions that are not inlined is two words in registers
//! (`storage::RawBuf`), not a guard in memory; the default class of every size stands in the stamp; no place for a large buffer
//! is leased above the ceiling, so that `drop` need not compare with it:
//!
//! | | before | after |
//! |---|---|---|
//! | 1 KiB, used in place / moved once | 4.7 / 5.1 ns, 84 instructions | 4.9 / 4.7 ns, 87 |
//! | 256 KiB by `get` / by `try_get_with_capacity` | 15.3 / 19.5 ns, 123 instructions | 14.3 / 14.4 ns, 110 |
//! | `get_owned` | 23.4 ns | 18.3 ns |
//!
//! Growth is one call at each place where bytes are appended, to a function marked as cold. It had worked on a `Vec` of its
//! own, taken out of the guard and put back, so that the address of a guard which is not lent out is nowhere and the
//! guard lies in registers: a single write of 200 B took 8.3 ns instead of 9.0, but a dozen instructions stood at
//! every append, 331 ns instead of 205 for a prost message of 236 B, 4.7 us instead of 2.8 for one of 2.8 KiB, 59 ns
//! instead of 48 for a line of 40 `extend_from_slice` and `push` (a `Vec`: 47), 41 instead of 36 for a line of ten in a loop.
//!
//! Refused:
//!
//! - A counter that runs down to the next merge, with what was granted beside it, is 3 instructions shorter than a counter
//!   and its limit. But a reader on another thread may see one of the two change before the other, and a window of 2^64
//!   calls would calibrate the pool.
//! - Hits counted in the upper bits of a stack's length, one store for both: 48 bits last 16 days of nothing else.
//! - The class kept in the guard, to spare its search: `as_vec_mut` may change the capacity, so it must be checked, which
//!   is the search.
//! - Another thread's large slot before the depot, so that a consumer's plain store and its producer's one exchange do for a
//!   hand-over of large buffers: 0.62 to 1.09 of the time that a `Mutex<Vec<Vec<u8>>>` took in the same run, and 0.57 to 1.09
//!   without.
//! - A large slot without a locked instruction: what lies there could then be taken by its thread alone, and a sleeping
//!   thread would strand it. The way out, a fence that the taker forces upon all threads (`membarrier`), is one system's call,
//!   and neither loom nor ThreadSanitizer knows what it orders.
//! - A tag in a large slot's pointer that says "not used since the last trim": nothing promises that a buffer's address is
//!   even. A byte beside it is a plain store.

mod give;
mod learn;
mod lease;
mod on_calibration;
mod shared;
mod take;
mod trim;

use std::collections::TryReserveError;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

pub use shared::Pool;
pub(crate) use shared::bound_stats;
use shared::{Op, stats};

use crate::buf::PooledBuf;
use crate::builder::{Builder, Config};
#[cfg(feature = "leak-trace")]
use crate::leak_trace::OutstandingReport;
use crate::leak_trace::Ticket;
use crate::learn::usage::Peak;
use crate::stats::Stats;
use crate::sync::const_unless_loom;

impl Pool {
    const_unless_loom! {
        /// A pool with the default configuration; see [`Builder`] for the values.
        ///
        /// Takes no memory until its first use.
        #[must_use]
        pub const fn new() -> Pool {
            Pool::with_config(Config::DEFAULT)
        }
    }

    /// A pool with another configuration; see [`Builder`].
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// static POOL: Pool = Pool::builder().retained_bytes_max(1 << 20).build();
    /// ```
    pub const fn builder() -> Builder {
        Builder::new()
    }

    /// An empty buffer with at least [`default_size`](Pool::default_size) bytes of room.
    ///
    /// Which of the idle buffers comes back is unspecified; if none of the wanted size class or the two above it is idle,
    /// one is allocated. Warm, no allocation and no locked instruction (one, if the default size is above 32 KiB). A thread's
    /// first operation on a pool builds its cache, about 7 KiB.
    ///
    /// # Panics
    ///
    /// Never; memory exhaustion aborts, as with `Vec`.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::new();
    /// let buf = pool.get();
    /// assert!(buf.is_empty() && buf.capacity() >= pool.default_size());
    /// ```
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn get(&self) -> PooledBuf<&Pool> {
        PooledBuf::new(self.take_default(), Peak::PLAIN, self)
    }

    /// An empty buffer with room for at least `capacity` bytes; 0 means the smallest size class.
    ///
    /// Costs what [`get`](Pool::get) does. Above 32 MiB the buffer is allocated with exactly that capacity and freed at its
    /// end. The use counts for the max size with at least `capacity`, and not for the default size: what is asked for here
    /// does not change what `get` gives.
    ///
    /// # Panics
    ///
    /// When `capacity` is above `isize::MAX`. Memory exhaustion aborts. For a capacity that comes from outside there is
    /// [`try_get_with_capacity`](Pool::try_get_with_capacity).
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::new();
    /// assert!(pool.get_with_capacity(1000).capacity() >= 1000);
    /// ```
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn get_with_capacity(&self, capacity: usize) -> PooledBuf<&Pool> {
        PooledBuf::new(self.take(capacity), Peak::asked(capacity), self)
    }

    /// An empty buffer with room for at least `capacity` bytes, or an error.
    ///
    /// # Errors
    ///
    /// When `capacity` is above `isize::MAX` or the allocator has no memory for it. No figure of [`stats`](Pool::stats)
    /// changes then.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::new();
    /// assert!(pool.try_get_with_capacity(usize::MAX).is_err());
    /// assert!(pool.try_get_with_capacity(1000).is_ok());
    /// ```
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn try_get_with_capacity(&self, capacity: usize) -> Result<PooledBuf<&Pool>, TryReserveError> {
        let vec = self.try_take(capacity)?;
        Ok(PooledBuf::new(vec, Peak::asked(capacity), self))
    }

    /// [`get`](Pool::get), with a guard that keeps the pool alive instead of borrowing it.
    ///
    /// For guards that must be `'static` and a pool that is not. Costs the `Arc`'s reference count, two locked instructions
    /// a guard.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Arc::new(Pool::new());
    /// let mut buf = pool.get_owned();
    /// std::thread::spawn(move || buf.push(1)).join().unwrap();
    /// assert_eq!(pool.stats().outstanding, 0);
    /// ```
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn get_owned(self: &Arc<Pool>) -> PooledBuf<Arc<Pool>> {
        PooledBuf::new(self.take_default(), Peak::PLAIN, Arc::clone(self))
    }

    /// [`get_with_capacity`](Pool::get_with_capacity), with a guard that keeps the pool alive instead of borrowing it.
    ///
    /// # Panics
    ///
    /// As `get_with_capacity`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Arc::new(Pool::new());
    /// assert!(pool.get_owned_with_capacity(1000).capacity() >= 1000);
    /// ```
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn get_owned_with_capacity(self: &Arc<Pool>, capacity: usize) -> PooledBuf<Arc<Pool>> {
        PooledBuf::new(self.take(capacity), Peak::asked(capacity), Arc::clone(self))
    }

    /// [`try_get_with_capacity`](Pool::try_get_with_capacity), with a guard that keeps the pool alive instead of borrowing it.
    ///
    /// # Errors
    ///
    /// As `try_get_with_capacity`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Arc::new(Pool::new());
    /// assert!(pool.try_get_owned_with_capacity(usize::MAX).is_err());
    /// ```
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn try_get_owned_with_capacity(
        self: &Arc<Pool>,
        capacity: usize,
    ) -> Result<PooledBuf<Arc<Pool>>, TryReserveError> {
        let vec = self.try_take(capacity)?;
        Ok(PooledBuf::new(vec, Peak::asked(capacity), Arc::clone(self)))
    }

    /// Donates a `Vec`: counted by its length, kept if it fits.
    ///
    /// A capacity that is no size class is cut down to the class below (a `realloc`); one below 64 B or above 32 MiB is
    /// freed. Nothing else is needed to return a buffer of the pool itself: its guard's end does.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::new();
    /// pool.put(Vec::with_capacity(5000));
    /// assert_eq!(pool.stats().retained_bytes, 4096);
    /// ```
    pub fn put(&self, buffer: Vec<u8>) {
        self.op().donate(buffer);
    }

    /// Allocates up to `count` idle buffers of at least `capacity` bytes; returns how many the budget took.
    ///
    /// They lie in the shared part, within every thread's reach. 0 for a `capacity` above the max size, as such a buffer
    /// would be freed when it comes back, and no more when the allocator has no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::builder().retained_bytes_max(10_000).build();
    /// assert_eq!(pool.prefill(4000, 100), 2);
    /// ```
    pub fn prefill(&self, capacity: usize, count: usize) -> usize {
        self.op().prefill(capacity, count)
    }

    /// The least room of a plain [`get`](Pool::get), in bytes: always a size class. Set by [`Builder::default_size`] until the
    /// first calibration.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(bytebufferpool::Pool::new().default_size(), bytebufferpool::MIN_CLASS_SIZE);
    /// ```
    #[must_use]
    pub fn default_size(&self) -> usize {
        self.epoch.load().sizes().default_size()
    }

    /// The ceiling in bytes, always a size class: larger buffers are freed when they come back. Set by
    /// [`Builder::max_size`] until the first calibration.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(bytebufferpool::Pool::new().max_size(), bytebufferpool::MAX_CLASS_SIZE);
    /// ```
    #[must_use]
    pub fn max_size(&self) -> usize {
        self.epoch.load().sizes().max_size()
    }

    /// Recalibrates now, from what has been counted since the last calibration; if nothing was, nothing changes.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::new();
    /// for _ in 0..10 {
    ///     pool.get().extend_from_slice(&[0; 1000]);
    /// }
    /// pool.calibrate();
    /// assert_eq!(pool.default_size(), 1024);
    /// ```
    pub fn calibrate(&self) {
        if let Some(op) = self.upkeep() {
            op.calibrate();
        }
    }

    /// One trim interval passes: frees what stayed unused since the last one; returns the bytes that this call freed.
    ///
    /// So what is idle is gone after two calls without a use between them. Other threads' caches, of at most
    /// [`Builder::thread_cache_bytes_max`] each, follow at their next operation. Looks at every thread's large slots: about
    /// 0.1 µs a thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::new();
    /// drop(pool.get_with_capacity(1 << 20));
    /// assert_eq!(pool.trim(), 0);
    /// assert_eq!(pool.trim(), 1 << 20);
    /// ```
    pub fn trim(&self) -> usize {
        self.upkeep().map_or(0, Op::trim)
    }

    /// Frees everything idle that this thread can reach, which is all but other threads' caches; returns the bytes freed.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::new();
    /// drop(pool.get());
    /// assert_eq!(pool.purge(), 64);
    /// assert_eq!(pool.stats().retained_bytes, 0);
    /// ```
    pub fn purge(&self) -> usize {
        self.upkeep().map_or(0, Op::purge)
    }

    /// Gives this thread's cache to the shared part: call it before the thread parks for long.
    ///
    /// With tokio, from `on_thread_park`. A thread that ends does this by itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::new();
    /// drop(pool.get());
    /// pool.flush_thread();
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| drop(pool.get())).join().unwrap();
    /// });
    /// assert_eq!(pool.stats().hits, 1);
    /// ```
    pub fn flush_thread(&self) {
        if let Some(op) = self.upkeep() {
            op.flush();
        }
    }

    /// What the pool did and holds; see [`Stats`] for what the figures promise.
    ///
    /// Sums over all threads that ever used the pool at the same time: about 0.3 µs a thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::new();
    /// let buf = pool.get();
    /// assert_eq!((pool.stats().gets, pool.stats().outstanding), (1, 1));
    /// # drop(buf);
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        stats(self.per_thread.get_shared(), self.epoch.load())
    }

    /// Where the guards come from that have not ended: feature `leak-trace`.
    ///
    /// One guard in [`Builder::leak_sample_every`] is traced, from its `get` to its end; a frozen buffer until its last
    /// clone is dropped. Takes a lock that every traced guard takes too, and reads all that are out.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::builder().leak_sample_every(1).build();
    /// std::mem::forget(pool.get());
    /// let report = pool.outstanding_report();
    /// assert_eq!((report.outstanding, report.sites.len(), report.sites[0].traced), (1, 1, 1));
    /// println!("{report}");
    /// ```
    #[cfg(feature = "leak-trace")]
    #[must_use]
    pub fn outstanding_report(&self) -> OutstandingReport {
        self.leak_trace.report(self.config.leak_sample_every, self.stats().outstanding)
    }

    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub(crate) fn begin_trace(&self) -> Ticket {
        self.leak_trace.begin(self.config.leak_sample_every, Location::caller())
    }

    #[inline]
    pub(crate) fn end_trace(&self, ticket: Ticket) {
        self.leak_trace.end(ticket);
    }
}

impl Default for Pool {
    fn default() -> Pool {
        Pool::new()
    }
}

impl AsRef<Pool> for Pool {
    fn as_ref(&self) -> &Pool {
        self
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("default_size", &self.default_size())
            .field("max_size", &self.max_size())
            .finish_non_exhaustive()
    }
}
