//! The pool: what its users call.
//!
//! The methods are thin; what they do stands in the files of `pool/`, one for each thing that happens to a buffer: it
//! is taken ([`take`]), given back ([`give`]), its use is learned from ([`learn`]), an interval passes ([`trim`]). Each
//! file has the hot path and the cold one of its operation side by side, the cold one out of line.
//!
//! How a buffer travels, and what else was tried: see docs/design.md.

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
        ///
        /// # Examples
        ///
        /// ```
        /// use bytebufferpool::Pool;
        ///
        /// static POOL: Pool = Pool::new();
        /// assert_eq!(POOL.stats().gets, 0);
        /// ```
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

    /// An empty buffer with a capacity of at least [`default_size`](Pool::default_size) bytes.
    ///
    /// If this thread finds no cached buffer of the wanted size class or of the two above it, one is allocated. It cannot
    /// find buffers in the small caches of other threads. Which of the cached buffers is returned is unspecified.
    ///
    /// When the pool is warm this allocates nothing and has no locked instruction; if the default size is above 32 KiB
    /// it has one, and so has the guard's end. A thread's first operation on a pool builds its cache, about 6 KiB.
    ///
    /// The guard borrows the pool. If the pool is in an `Arc` and the guard goes to a spawned thread or task, the compiler
    /// says that the borrowed pool does not live long enough: use [`get_owned`](Pool::get_owned).
    ///
    /// # Panics
    ///
    /// Never. Memory exhaustion aborts, as with `Vec`; an allocator that refuses once is asked a second time.
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
    #[doc(alias = "acquire")]
    #[doc(alias = "rent")]
    #[doc(alias = "take")]
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn get(&self) -> PooledBuf<&Pool> {
        PooledBuf::new(self.take_default(), Peak::PLAIN, self)
    }

    /// An empty buffer with a capacity of at least `capacity` bytes; 0 means the smallest size class.
    ///
    /// Costs what [`get`](Pool::get) does. Above 32 MiB the buffer is allocated with exactly that capacity, and freed
    /// when the guard ends. The use counts for the max size, with at least `capacity` bytes. An explicit capacity does
    /// not affect the default size.
    ///
    /// # Panics
    ///
    /// When `capacity` is above `isize::MAX`. Memory exhaustion aborts. For a capacity from untrusted input use
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

    /// An empty buffer with a capacity of at least `capacity` bytes, or an error: for a capacity from untrusted input.
    ///
    /// # Errors
    ///
    /// When `capacity` is above `isize::MAX` or the allocator has no memory for it. The call is then not counted in
    /// [`stats`](Pool::stats); a trim interval that was over may pass, as in every operation.
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
    /// For guards that must be `'static` and a pool that is not. Costs two locked instructions a guard more, for the
    /// `Arc`'s reference count.
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

    /// [`try_get_with_capacity`](Pool::try_get_with_capacity), with a guard that keeps the pool alive instead of
    /// borrowing it.
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

    /// Gives a `Vec` to the pool: counted by its length, cached if it fits.
    ///
    /// A non-power-of-two capacity is cut down to the size class below, by a `realloc`. A `Vec` with a capacity below
    /// 64 B or above 32 MiB is freed. A buffer of the pool itself needs no `put`: the end of its guard returns it.
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
    #[doc(alias = "release")]
    pub fn put(&self, buffer: Vec<u8>) {
        self.op().donate(buffer);
    }

    /// Allocates up to `count` buffers of at least `capacity` bytes into the pool; returns how many.
    ///
    /// They are in the shared part, where every thread finds them. Stops when the budget is used up or the allocator
    /// has no memory. Returns 0 for a `capacity` above the max size, as such a buffer would be freed when it is
    /// returned. What is not used within two trim intervals is freed again.
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

    /// The least capacity of a plain [`get`](Pool::get), in bytes; always the size of a class.
    ///
    /// Set by [`Builder::default_size`] until the first calibration. One load.
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

    /// The size in bytes above which buffers are freed when they are returned; always the size of a class.
    ///
    /// Set by [`Builder::max_size`] until the first calibration. One load.
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

    /// Recalibrates now, from the calls since the last calibration; without any, nothing changes.
    ///
    /// Reads each thread's counters. Buffers above the new max size are freed.
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

    /// One trim interval passes: frees what was not used since the last one; returns the bytes that this call freed.
    ///
    /// So two calls without a use between them free everything cached but other threads' caches. Those, of at most
    /// [`Builder::thread_cache_bytes_max`] each, follow at their threads' next operation. A pool that is in use needs
    /// no call: its uses let intervals pass, see [`Builder::trim_interval`].
    ///
    /// Looks at the shared part and at this thread's cache, not at other threads: 0.4 µs (2026-11-24, 2-core
    /// x86-64 VM), and the frees.
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

    /// Frees everything cached but other threads' caches; returns the bytes freed.
    ///
    /// Costs what [`trim`](Pool::trim) does.
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

    /// Moves this thread's cache to the shared part: call it before the thread parks for long.
    ///
    /// There every thread finds the buffers, and trims free them. With tokio call it from `on_thread_park`. A thread
    /// that ends does this by itself. Frees and allocates nothing; some locked instructions for each size class in the
    /// cache.
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

    /// The pool's statistics; see [`Stats`] for what they promise.
    ///
    /// Sums over as many threads as ever used the pool at the same time: 0.15 µs a thread (2026-11-24,
    /// 2-core x86-64 VM).
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

    /// Where the guards were made that have not ended: feature `leak-trace`.
    ///
    /// One guard in [`Builder::leak_sample_every`] is traced, from its `get` to its end; a frozen buffer until its last
    /// clone is dropped. Takes a lock that every traced guard takes too, and reads all traced guards.
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
