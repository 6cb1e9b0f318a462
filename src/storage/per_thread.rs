//! Which shard is mine: a pool's value for each thread that uses it, and one that all of them share.
//!
//! Every living thread that used a pool has an *index*, dense and reused. Every pool keeps a shard per index. So a pool
//! owns everything of its own, and its drop leaves nothing in any thread. A thread keeps its index and a *memo*, a
//! small fixed table from stamps to shards, and its end leaves nothing in the process.
//!
//! A *stamp* is a number that a pool has until something changes that every thread must notice (sizes, a trim
//! interval). Then it gets another, and none is ever issued twice. So an entry of a dropped pool never matches again
//! and needs no cleaning up. And the one compare that finds a thread's shard also says that there is nothing to catch
//! up with. A few bits of the stamp are for the pool to use.
//!
//! Why not the `thread_local` crate, and why a memo of sixteen entries: see docs/design.md.

use std::marker::PhantomData;
use std::slice;

use super::batch::Batch;
use super::shard::Shard;
use super::threads::{self, INDICES, NOT_REGISTERED, Stamp, with_threads};
use super::zeroed::Zeroed;
use crate::sync::{AtomicU64, AtomicUsize, OnceBox, Ordering, const_unless_loom};

/// What a pool shares among its threads, and is told when one ends.
pub(crate) trait Tenant: Send + Sync + Sized + 'static {
    /// The thread of `local` ends. After this nobody owns the shard until another thread gets its index. Runs under the
    /// process-wide lock, so it may not allocate, free, or use a pool.
    fn hand_back(&self, local: Local<'_>);
}

#[derive(Debug, Default)]
pub(crate) struct Shared<T> {
    pub(crate) shards: Shards,
    pub(crate) tenant: T,
}

/// The part that is in the pool itself: where its shared part and its shards are found.
#[derive(Debug)]
pub(crate) struct PerThread<T: Tenant> {
    /// `NOT_REGISTERED`, or a stamp that no pool had before.
    stamp: AtomicU64,
    /// The pool's entry in the memos; read and written under the process-wide lock, and so Relaxed.
    entry: AtomicUsize,
    shared: OnceBox<Shared<T>>,
}

/// The proof of being the one thread that may touch the stacks of a shard. It is not `Send`, and is made only for the
/// thread whose index the shard has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local<'p> {
    shard: &'p Shard,
    not_send: PhantomData<*const ()>,
}

impl<T: Tenant> PerThread<T> {
    const_unless_loom! {
        pub(crate) const fn new() -> PerThread<T> {
            PerThread { stamp: AtomicU64::new(NOT_REGISTERED), entry: AtomicUsize::new(0), shared: OnceBox::new() }
        }
    }

    #[inline]
    pub(crate) fn stamp(&self) -> Stamp {
        // Relaxed: the hot path only compares it with what this thread noted when it attached.
        Stamp::from_word(self.stamp.load(Ordering::Relaxed))
    }

    /// This thread's shard, if the thread attached under this stamp and its memo still has it.
    #[inline]
    pub(crate) fn local(&self, stamp: Stamp) -> Option<Local<'_>> {
        let shard = threads::noted(stamp)?;
        // SAFETY: `attach`, the only caller of `note`, noted a shard of the pool that had this stamp. Stamps are not
        // reused, so that is this pool, and the shard lives in its shared part, which is freed only by the drop of
        // this value; the borrow of `self` rules that out for the lifetime of the Local. The memo is this
        // thread's own, and is wiped before its index is given away: the thread owns the shard.
        Some(unsafe { Local::new(shard.as_ref()) })
    }

    /// The shared part; made by `make` if there is none yet.
    pub(crate) fn shared(&self, make: impl FnOnce() -> T) -> &Shared<T> {
        self.shared.get_or_init(|| Box::new(Shared { shards: Shards::default(), tenant: make() }))
    }

    #[inline]
    pub(crate) fn get_shared(&self) -> Option<&Shared<T>> {
        self.shared.get()
    }

    /// This thread's shard, made if there is none yet; `None` on a thread whose destructor has run, or that got no
    /// index.
    ///
    /// From now on the present stamp finds the shard. So the caller must catch up with everything that changed before
    /// it, unless the thread had attached under this stamp before, and only its memo had no room: `false`. Takes the
    /// process-wide lock only when a thread uses the pool for the first time.
    pub(crate) fn attach<'p>(&'p self, shared: &'p Shared<T>, tag: impl Fn() -> usize) -> Option<(Local<'p>, bool)> {
        let index = threads::take_my_index()?;
        // Acquire: pairs with the Release in `issue`. What changed before the stamp did is visible after this. Model:
        // loom_tests::stamp::a_thread_that_sees_the_stamp_sees_the_policy.
        let mut stamp = Stamp::from_word(self.stamp.load(Ordering::Acquire));
        if stamp.word() == NOT_REGISTERED {
            stamp = self.register(tag);
        }
        let shard = shared.shards.get_or_make(index);
        if !shard.is_linked() {
            // SAFETY: `hand_back` is that of `Shared<T>`, and the shard is one of `shared`, which `drop` unlinks it
            // from before it is freed.
            unsafe { threads::link(shard, (&raw const *shared).cast(), hand_back::<T>) };
        }
        threads::note(stamp, shard);
        let is_new = shard.stamp_seen.get() != stamp.word();
        shard.stamp_seen.set(stamp.word());
        // SAFETY: this thread holds the index, so it owns the shard.
        Some((unsafe { Local::new(shard) }, is_new))
    }

    /// This thread's shard, if there is one.
    pub(crate) fn find<'p>(&'p self, shared: &'p Shared<T>) -> Option<Local<'p>> {
        let index = threads::my_index()?;
        // A shard that is not linked was left behind by another thread with this index.
        let shard = shared.shards.get(index).filter(|shard| shard.is_linked())?;
        // SAFETY: this thread holds the index, so it owns the shard.
        Some(unsafe { Local::new(shard) })
    }

    /// Makes every thread attach again before its next operation. `tag` is called when everything that changed is
    /// visible.
    pub(crate) fn renew(&self, tag: impl Fn() -> usize) {
        with_threads(|threads| {
            if self.stamp.load(Ordering::Relaxed) != NOT_REGISTERED {
                self.issue(threads, tag);
            }
        });
    }

    fn register(&self, tag: impl Fn() -> usize) -> Stamp {
        with_threads(|threads| {
            let stamp = Stamp::from_word(self.stamp.load(Ordering::Relaxed));
            if stamp.word() != NOT_REGISTERED {
                return stamp;
            }
            self.entry.store(threads.take_entry(), Ordering::Relaxed);
            self.issue(threads, tag)
        })
    }

    /// A new stamp, under the process-wide lock: of two threads that change something, the later one sees both changes.
    fn issue(&self, threads: &mut threads::Threads, tag: impl Fn() -> usize) -> Stamp {
        let stamp = Stamp::new(tag(), threads.next_stamp(), self.entry.load(Ordering::Relaxed));
        // Release: pairs with the Acquire in `attach`. Model: see there.
        self.stamp.store(stamp.word(), Ordering::Release);
        stamp
    }
}

/// # Safety
///
/// That of [`HandBack`](super::shard::HandBack); `shared` is a `Shared<T>`.
unsafe fn hand_back<T: Tenant>(shared: *const (), shard: &Shard) {
    // SAFETY: the caller's promise.
    let shared = unsafe { &*shared.cast::<Shared<T>>() };
    // SAFETY: the caller is the shard's owner.
    shared.tenant.hand_back(unsafe { Local::new(shard) });
}

impl<T: Tenant> Drop for PerThread<T> {
    fn drop(&mut self) {
        // Waits for threads that are handing back to this pool. None begins after it. Model:
        // loom_tests::thread_end::a_thread_ends_while_its_pool_is_dropped.
        if let Some(shared) = self.shared.get() {
            threads::unlink_all(shared.shards.iter());
        }
        if self.stamp.load(Ordering::Relaxed) != NOT_REGISTERED {
            with_threads(|threads| threads.give_entry(self.entry.load(Ordering::Relaxed)));
        }
    }
}

impl<'p> Local<'p> {
    /// # Safety
    ///
    /// The calling thread holds the index of `shard`.
    #[inline]
    unsafe fn new(shard: &'p Shard) -> Local<'p> {
        Local { shard, not_send: PhantomData }
    }

    #[inline]
    pub(crate) fn pop(self, class: usize) -> Option<Vec<u8>> {
        // SAFETY: `self` is the proof of ownership.
        unsafe { self.shard.cache.pop(class) }
    }

    pub(crate) fn pop_below_mark(self, class: usize) -> Option<Vec<u8>> {
        // SAFETY: `self` is the proof of ownership.
        unsafe { self.shard.cache.pop_below_mark(class) }
    }

    #[inline]
    pub(crate) fn push(self, vec: &mut Vec<u8>) -> bool {
        // SAFETY: `self` is the proof of ownership.
        unsafe { self.shard.cache.push(vec) }
    }

    /// A use ends. Returns whether it is the last before a look at the clock.
    #[inline]
    #[must_use]
    pub(crate) fn count_down(self) -> bool {
        // SAFETY: `self` is the proof of ownership.
        let left = unsafe { self.shard.left.get() } - 1;
        // SAFETY: as above.
        unsafe { self.shard.left.set(left) };
        left == 0
    }

    /// Uses until the next look.
    pub(crate) fn left(self) -> u64 {
        // SAFETY: `self` is the proof of ownership.
        unsafe { self.shard.left.get() }
    }

    /// `uses` is at least 1 wherever a use may end, because the end counts down.
    pub(crate) fn set_left(self, uses: u64) {
        // SAFETY: `self` is the proof of ownership.
        unsafe { self.shard.left.set(uses) };
    }

    pub(crate) fn take_cold(self, class: usize, count: usize) -> Batch {
        // SAFETY: `self` is the proof of ownership.
        unsafe { self.shard.cache.take_cold(class, count) }
    }

    pub(crate) fn len(self, class: usize) -> usize {
        self.shard.cache.len(class)
    }

    /// How many buffers at the bottom of the stack were not needed in this interval.
    pub(crate) fn low(self, class: usize) -> usize {
        self.shard.cache.low(class)
    }

    pub(crate) fn leased(self, class: usize) -> usize {
        self.shard.cache.leased(class)
    }

    pub(crate) fn set_leased(self, class: usize, leased: usize) {
        self.shard.cache.set_leased(class, leased);
    }

    pub(crate) fn begin_interval(self, class: usize) {
        self.shard.cache.begin_interval(class);
    }
}

impl<'p> std::ops::Deref for Local<'p> {
    type Target = Shard;

    #[inline]
    fn deref(&self) -> &Shard {
        self.shard
    }
}

/// The shards of a pool by thread index, in buckets of doubling size. Growing moves nothing.
#[derive(Debug)]
pub(crate) struct Shards {
    buckets: Vec<OnceBox<Bucket>>,
}

#[derive(Debug)]
struct Bucket(Vec<OnceBox<Shard>>);

const BUCKETS: usize = if cfg!(pool_loom) { 3 } else { INDICES.ilog2() as usize + 1 };

impl Default for Shards {
    fn default() -> Shards {
        Shards { buckets: (0..BUCKETS).map(|_| OnceBox::new()).collect() }
    }
}

impl Shards {
    pub(crate) fn iter(&self) -> ShardsIter<'_> {
        ShardsIter { buckets: self.buckets.iter(), shards: [].iter() }
    }

    fn get(&self, index: usize) -> Option<&Shard> {
        let (bucket, offset) = place_of(index);
        self.buckets[bucket].get()?.0[offset].get()
    }

    fn get_or_make(&self, index: usize) -> &Shard {
        let (bucket, offset) = place_of(index);
        let shards = self.buckets[bucket]
            .get_or_init(|| Box::new(Bucket((0..1_usize << bucket).map(|_| OnceBox::new()).collect())));
        shards.0[offset].get_or_init(|| {
            let shard = Shard::boxed();
            shard.set_row(index);
            shard
        })
    }
}

/// The shards that there are, in the order of their indices.
#[derive(Clone, Debug)]
pub(crate) struct ShardsIter<'p> {
    buckets: slice::Iter<'p, OnceBox<Bucket>>,
    shards: slice::Iter<'p, OnceBox<Shard>>,
}

impl<'p> Iterator for ShardsIter<'p> {
    type Item = &'p Shard;

    // Not inlined, because a dozen sums use it, and none of them is hot.
    #[inline(never)]
    fn next(&mut self) -> Option<&'p Shard> {
        loop {
            if let Some(shard) = self.shards.find_map(OnceBox::get) {
                return Some(shard);
            }
            self.shards = self.buckets.find_map(OnceBox::get)?.0.iter();
        }
    }
}

fn place_of(index: usize) -> (usize, usize) {
    let bucket = (index + 1).ilog2() as usize;
    (bucket, index + 1 - (1 << bucket))
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::storage::ROWS;

    /// So threads that live at the same time do not contend for a place while there is one for each.
    #[test]
    fn threads_of_successive_indices_begin_at_rows_of_their_own() {
        let shards = Shards::default();
        let rows: Vec<usize> = (0..3 * ROWS).map(|index| shards.get_or_make(index).row()).collect();
        for rows in rows.windows(ROWS) {
            assert_eq!(rows.iter().copied().collect::<BTreeSet<_>>(), (0..ROWS).collect(), "{rows:?}");
        }
        assert!(shards.iter().map(|shard| shard.row()).eq(rows), "the order of the indices");
    }
}
