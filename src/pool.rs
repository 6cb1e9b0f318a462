//! The pool: what its users call, and the hot half of every operation.
//!
//! The hot path of `get` is: find the thread's shard (one compare), see that no policy changed (one compare), pop a
//! pointer off the class's stack (one compare), count. That of `drop` is: the same two, count the use (one compare),
//! find the class by the capacity, push. Everything else is in [`crate::core`], out of line.

use std::collections::TryReserveError;
use std::fmt;
use std::mem;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use crate::budget::Budget;
use crate::buf::PooledBuf;
use crate::builder::{Builder, Config};
use crate::class::{MAX_CLASS_SIZE, class_of, class_of_capacity};
use crate::core::{Core, Op, scrub, stats};
#[cfg(feature = "leak-trace")]
use crate::leak_trace;
use crate::policy::PolicyCell;
use crate::recorder::Recorder;
use crate::stats::Stats;
use crate::storage::{Anchor, SMALL_CLASSES, Stamp};
use crate::sync::const_unless_loom;
use crate::usage::{Mark, Use};

/// A pool of byte buffers in power-of-two size classes that learns its sizes.
// Aligned so that nobody writes next to the anchor and the policy, which every operation reads: not the reference
// counts of an `Arc<Pool>`, and not a neighbour in memory.
#[repr(align(128))]
pub struct Pool {
    anchor: Anchor<Core>,
    pub(crate) policy: PolicyCell,
    config: Config,
    /// Of the registry that made the pool, if it has one.
    shared_budget: Option<Arc<Budget>>,
    #[cfg(feature = "leak-trace")]
    leak_trace: leak_trace::Table,
}

impl UnwindSafe for Pool {}
impl RefUnwindSafe for Pool {}

impl Pool {
    /// A pool with the default configuration.
    #[must_use]
    pub const fn new() -> Pool {
        Pool::with_config(Config::DEFAULT)
    }

    /// A pool with another configuration; see [`Builder`].
    pub const fn builder() -> Builder {
        Builder::new()
    }

    const_unless_loom! {
        pub(crate) const fn with_config(config: Config) -> Pool {
            Pool { anchor: Anchor::new(), policy: PolicyCell::new(config.initial), config, shared_budget: None, #[cfg(feature = "leak-trace")] leak_trace: leak_trace::Table::new() }
        }
    }

    /// What lies idle is charged to `budget` too. To be called before the first operation.
    pub(crate) fn share_budget(&mut self, budget: Arc<Budget>) {
        debug_assert!(self.anchor.get_shared().is_none());
        self.shared_budget = Some(budget);
    }

    /// An empty buffer with at least [`default_size`](Pool::default_size) bytes of room.
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn get(&self) -> PooledBuf<&Pool> {
        let stamp = self.anchor.stamp();
        match self.take_cached(stamp, stamp.tag()) {
            Some(vec) => PooledBuf::new(vec, Mark::PLAIN, self),
            None => self.get_slow(),
        }
    }

    /// An empty buffer with room for at least `capacity` bytes.
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn get_with_capacity(&self, capacity: usize) -> PooledBuf<&Pool> {
        let cached =
            if capacity <= MAX_CLASS_SIZE { self.take_cached(self.anchor.stamp(), class_of(capacity)) } else { None };
        match cached {
            Some(vec) => PooledBuf::new(vec, Mark::asked(capacity), self),
            None => self.get_with_capacity_slow(capacity),
        }
    }

    /// An empty buffer with room for at least `capacity` bytes, or an error.
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn try_get_with_capacity(&self, capacity: usize) -> Result<PooledBuf<&Pool>, TryReserveError> {
        let vec = self.try_take(capacity)?;
        Ok(PooledBuf::new(vec, Mark::asked(capacity), self))
    }

    /// `get`, with a guard that keeps the pool alive instead of borrowing it.
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn get_owned(self: &Arc<Pool>) -> PooledBuf<Arc<Pool>> {
        PooledBuf::new(self.take_default(), Mark::PLAIN, Arc::clone(self))
    }

    /// `get_with_capacity`, with a guard that keeps the pool alive instead of borrowing it.
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn get_owned_with_capacity(self: &Arc<Pool>, capacity: usize) -> PooledBuf<Arc<Pool>> {
        PooledBuf::new(self.take(capacity), Mark::asked(capacity), Arc::clone(self))
    }

    /// `try_get_with_capacity`, with a guard that keeps the pool alive instead of borrowing it.
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn try_get_owned_with_capacity(
        self: &Arc<Pool>,
        capacity: usize,
    ) -> Result<PooledBuf<Arc<Pool>>, TryReserveError> {
        let vec = self.try_take(capacity)?;
        Ok(PooledBuf::new(vec, Mark::asked(capacity), Arc::clone(self)))
    }

    /// Donates a `Vec`: counted by its length, kept if it fits.
    pub fn put(&self, buffer: Vec<u8>) {
        self.op().donate(buffer);
    }

    /// Allocates up to `count` idle buffers of at least `capacity` bytes; returns how many the budget took.
    pub fn prefill(&self, capacity: usize, count: usize) -> usize {
        self.op().prefill(capacity, count)
    }

    /// The least room of a plain `get`, in bytes.
    #[must_use]
    pub fn default_size(&self) -> usize {
        self.policy.load().sizes().default_size()
    }

    /// The ceiling in bytes.
    #[must_use]
    pub fn max_size(&self) -> usize {
        self.policy.load().sizes().max_size()
    }

    /// Recalibrates now.
    pub fn calibrate(&self) {
        self.op().calibrate();
    }

    /// One trim interval passes; returns the bytes that this call freed.
    pub fn trim(&self) -> usize {
        self.op().trim()
    }

    /// Frees everything idle that this thread can reach; returns the bytes freed.
    pub fn purge(&self) -> usize {
        self.op().purge()
    }

    /// Gives this thread's cache to the shared part.
    pub fn flush_thread(&self) {
        self.op().flush();
    }

    /// The books.
    #[must_use]
    pub fn stats(&self) -> Stats {
        stats(self.anchor.get_shared(), self.policy.load())
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
    pub fn outstanding_report(&self) -> leak_trace::OutstandingReport {
        self.leak_trace.report(self.config.leak_sample_every, self.stats().outstanding)
    }

    #[cfg(feature = "leak-trace")]
    #[inline]
    #[track_caller]
    pub(crate) fn begin_trace(&self) -> leak_trace::Ticket {
        self.leak_trace.begin(self.config.leak_sample_every, std::panic::Location::caller())
    }

    #[cfg(feature = "leak-trace")]
    #[inline]
    pub(crate) fn end_trace(&self, ticket: leak_trace::Ticket) {
        self.leak_trace.end(ticket);
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        // Also attaches: only a pool with a stamp can renew it.
        self.op();
        self.anchor.shared(|| Core::new(&self.config, self.shared_budget.clone())).tenant.recorder()
    }

    /// A trim interval passes, if one is over. A pool without an operation so far has nothing to trim.
    pub(crate) fn trim_if_due(&self) {
        if self.anchor.get_shared().is_some() {
            self.op().pass_interval_if_due();
        }
    }

    pub(crate) fn op(&self) -> Op<'_> {
        let shared = self.anchor.shared(|| Core::new(&self.config, self.shared_budget.clone()));
        match self.anchor.local(self.anchor.stamp()) {
            Some(local) => Op::new(self, shared, Some(local)),
            None => {
                let local = self.anchor.attach(shared, || self.tag());
                let op = Op::new(self, shared, local);
                op.follow_policy();
                op.follow_recording();
                op
            }
        }
    }

    /// Something changed that every thread must notice.
    pub(crate) fn renew_stamp(&self) {
        self.anchor.renew(|| self.tag());
    }

    /// What the stamp carries for the hot path of `get`: the default class if it has a stack.
    fn tag(&self) -> usize {
        self.policy.load().default_class().min(SMALL_CLASSES)
    }

    // These return guards, not buffers, so that hit and miss write the guard to one place and nothing is moved.
    #[cold]
    #[inline(never)]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    fn get_slow(&self) -> PooledBuf<&Pool> {
        PooledBuf::new(self.take_slow(self.default_size()), Mark::PLAIN, self)
    }

    #[cold]
    #[inline(never)]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    fn get_with_capacity_slow(&self, capacity: usize) -> PooledBuf<&Pool> {
        PooledBuf::new(self.take_slow(capacity), Mark::asked(capacity), self)
    }

    #[inline]
    fn take_default(&self) -> Vec<u8> {
        let stamp = self.anchor.stamp();
        self.take_cached(stamp, stamp.tag()).unwrap_or_else(|| self.take_slow(self.default_size()))
    }

    #[inline]
    fn take(&self, capacity: usize) -> Vec<u8> {
        let cached =
            if capacity <= MAX_CLASS_SIZE { self.take_cached(self.anchor.stamp(), class_of(capacity)) } else { None };
        cached.unwrap_or_else(|| self.take_slow(capacity))
    }

    #[inline]
    fn try_take(&self, capacity: usize) -> Result<Vec<u8>, TryReserveError> {
        let cached =
            if capacity <= MAX_CLASS_SIZE { self.take_cached(self.anchor.stamp(), class_of(capacity)) } else { None };
        cached.map_or_else(|| self.try_take_slow(capacity), Ok)
    }

    #[inline]
    fn take_cached(&self, stamp: Stamp, class: usize) -> Option<Vec<u8>> {
        let local = self.anchor.local(stamp)?;
        let vec = local.pop(class)?;
        local.books.hits.add(1);
        Some(vec)
    }

    #[cold]
    #[inline(never)]
    fn take_slow(&self, capacity: usize) -> Vec<u8> {
        self.op().get(capacity).unwrap_or_else(|_| {
            // Fails again, the way a `Vec` does: a panic on overflow, the process's handler on exhaustion.
            drop(Vec::<u8>::with_capacity(capacity));
            panic!("out of memory for a buffer of {capacity} bytes")
        })
    }

    #[cold]
    #[inline(never)]
    fn try_take_slow(&self, capacity: usize) -> Result<Vec<u8>, TryReserveError> {
        self.op().get(capacity)
    }

    #[inline(never)]
    pub(crate) fn grow(&self, vec: &mut Vec<u8>, additional: usize) {
        if self.try_grow(vec, additional).is_err() {
            // Fails again, the way a `Vec` does.
            #[cfg(feature = "zeroize")]
            crate::wipe::fail_to_reserve(vec, additional);
            #[cfg(not(feature = "zeroize"))]
            vec.reserve(additional);
        }
    }

    #[inline]
    pub(crate) fn try_grow(&self, vec: &mut Vec<u8>, additional: usize) -> Result<(), TryReserveError> {
        self.op().grow(vec, additional)
    }

    /// A guard ended: takes its buffer.
    #[inline]
    pub(crate) fn finish(&self, vec: &mut Vec<u8>, mark: Mark) {
        if let Some(local) = self.anchor.local(self.anchor.stamp()) {
            if let Some(class) = class_of_capacity(vec.capacity(), SMALL_CLASSES) {
                let usage = mark.finish(vec.len());
                if let Some(due) = local.books.count(usage) {
                    return self.merge_and_keep(due, vec, usage);
                }
                let written = usage.written(vec.len());
                scrub(vec, written);
                if !local.push(class, vec) {
                    self.keep(vec, written);
                }
                return;
            }
        }
        self.finish_slow(vec, mark);
    }

    #[cold]
    #[inline(never)]
    fn merge_and_keep(&self, due: usize, vec: &mut Vec<u8>, usage: Use) {
        let op = self.op();
        let written = usage.written(vec.len());
        op.merge(due, usage);
        op.keep(mem::take(vec), written);
    }

    #[cold]
    #[inline(never)]
    fn keep(&self, vec: &mut Vec<u8>, written: usize) {
        self.op().keep(mem::take(vec), written);
    }

    #[cold]
    #[inline(never)]
    fn finish_slow(&self, vec: &mut Vec<u8>, mark: Mark) {
        if mark != Mark::ENDED {
            let usage = mark.finish(vec.len());
            self.op().finish(mem::take(vec), usage);
        }
    }

    pub(crate) fn detach(&self, mark: Mark, len: usize) {
        self.op().detach(mark.finish(len));
    }

    pub(crate) fn discard(&self, vec: Vec<u8>, mark: Mark) {
        let usage = mark.finish(vec.len());
        self.op().discard(vec, usage);
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
