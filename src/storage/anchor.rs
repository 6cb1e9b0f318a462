//! Which shard is mine: threads, pools, and what becomes of a shard when either ends.
//!
//! Every living thread that used a pool has an *index*, dense and reused; every pool keeps a shard per index. So a
//! pool owns all there is of it, and its end leaves nothing in any thread; a thread keeps its index and a *memo*, a
//! small fixed table from stamps to shard pointers, and its end leaves nothing in the process.
//!
//! A *stamp* is a number that a pool has until something changes that every thread must notice (sizes, a trim
//! interval); then it gets another, and none is ever issued twice. So a memo's entry of a pool that is gone never
//! matches again and needs no cleaning up, and the one compare that finds a thread's shard also says that there is
//! nothing to catch up with. (With a key for the pool and a second word for the policy: 102 instructions a get + drop
//! instead of 80.) A few bits of the stamp are the pool's to use.
//!
//! Why not the `thread_local` crate, whose layout this is: its `get_or` panics (and so aborts) in a destructor that runs
//! after its own, and it frees an index while a shard behind it may still be in use. Why a memo before the two loads of
//! the table: 3.9 ns instead of 4.3–5.5 for a get + drop; and why sixteen entries and not one: a single one makes two
//! pools that alternate on a thread take 6.1.
//!
//! A thread ends in one thread-local destructor, ours, wherever it comes in the order of destructors (which is
//! unspecified): from then on the thread is *dead*, has no shard, and works on the shared part. It hands back under
//! the registry's lock, the same that a pool takes to leave the registry before it frees anything.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::cache::SMALL_CLASSES;
use super::shard::Shard;
use super::{Batch, LargePut};
use crate::class::{CLASSES, class_of_capacity};
use crate::sync::{AtomicU64, AtomicUsize, Mutex, OnceBox, Ordering, const_unless_loom, lock, thread_local};

/// What a pool shares among its threads, and is told when one ends.
pub(crate) trait Tenant: Send + Sync + Sized + 'static {
    /// The thread of `local` ends; after this nobody owns the shard until another thread gets its index. Runs under
    /// the registry's lock: it may not use a pool.
    fn hand_back(shared: &Shared<Self>, local: Local<'_>);
}

#[derive(Debug, Default)]
pub(crate) struct Shared<T> {
    pub(crate) shards: Shards,
    pub(crate) tenant: T,
}

/// The part of a pool that stands in the pool itself: where its shared part and its shards are found.
#[derive(Debug)]
pub(crate) struct Anchor<T: Tenant> {
    /// `NOT_REGISTERED`, or a number that no pool had before.
    stamp: AtomicU64,
    /// The place in the registry; read and written under its lock, and so Relaxed.
    place: AtomicUsize,
    shared: OnceBox<Shared<T>>,
}

/// A pool's stamp: a tag of the pool's own in the highest bits, a number that is never issued twice, and the entry of the
/// memo it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    #[inline]
    pub(crate) fn tag(self) -> usize {
        (self.0 >> TAG_SHIFT) as usize
    }

    #[inline]
    fn memo_entry(self) -> usize {
        (self.0 >> MEMO_SHIFT) as usize % MEMO_LEN
    }
}

/// The proof of being the one thread that may touch the stacks of a shard: it is not `Send`, and is made only for the
/// thread whose index the shard has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local<'p> {
    shard: &'p Shard,
    not_send: PhantomData<*const ()>,
}

impl<T: Tenant> Anchor<T> {
    const_unless_loom! {
        pub(crate) const fn new() -> Anchor<T> {
            Anchor { stamp: AtomicU64::new(NOT_REGISTERED), place: AtomicUsize::new(0), shared: OnceBox::new() }
        }
    }

    #[inline]
    pub(crate) fn stamp(&self) -> Stamp {
        // Relaxed: on the hot path it is only compared, with what this thread noted when it attached.
        Stamp(self.stamp.load(Ordering::Relaxed))
    }

    /// This thread's shard, if the thread attached under this stamp.
    #[inline]
    pub(crate) fn local(&self, stamp: Stamp) -> Option<Local<'_>> {
        HERE.with(|here| {
            let memo = &here.memo[stamp.memo_entry()];
            if memo.stamp.get() != stamp.0 {
                return None;
            }
            // SAFETY: `attach`, the only writer of memos, noted a shard of the pool that had this stamp. Stamps are not
            // reused, so that is this pool, and the shard lives in its shared part, which is freed only by the drop of
            // this anchor; the borrow of `self` rules that out for the lifetime of the Local. The memo is this
            // thread's own, and is wiped before its index is given away: the thread owns the shard.
            Some(unsafe { Local::new(memo.shard.get().as_ref()) })
        })
    }

    /// The shared part, made by `make` if there is none yet.
    pub(crate) fn shared(&self, make: impl FnOnce() -> T) -> &Shared<T> {
        self.shared.get_or_init(|| Box::new(Shared { shards: Shards::default(), tenant: make() }))
    }

    pub(crate) fn get_shared(&self) -> Option<&Shared<T>> {
        self.shared.get()
    }

    /// This thread's shard, made if there is none yet; `None` on a thread whose destructor has run.
    ///
    /// The thread will be found by the present stamp, so the caller must now catch up with all that changed before it.
    /// No lock but for the first pool of a thread and the first thread of a pool.
    pub(crate) fn attach<'p>(&'p self, shared: &'p Shared<T>, tag: impl Fn() -> usize) -> Option<Local<'p>> {
        let index = my_index()?;
        // Acquire: pairs with the Release in `renew`; what changed before the stamp did is seen after this. Model:
        // loom_tests::stamp::a_thread_that_sees_the_stamp_sees_the_policy.
        let mut stamp = Stamp(self.stamp.load(Ordering::Acquire));
        if stamp.0 == NOT_REGISTERED {
            stamp = self.register(shared, tag);
        }
        let shard = shared.shards.get_or_make(index);
        HERE.with(|here| {
            let memo = &here.memo[stamp.memo_entry()];
            memo.stamp.set(stamp.0);
            memo.shard.set(NonNull::from(shard));
        });
        // SAFETY: this thread holds the index, so it owns the shard.
        Some(unsafe { Local::new(shard) })
    }

    /// This thread's shard, if there is one.
    pub(crate) fn find<'p>(&'p self, shared: &'p Shared<T>) -> Option<Local<'p>> {
        let index = HERE.with(|here| here.index.get());
        if index == NO_INDEX || index == DEAD {
            return None;
        }
        // SAFETY: this thread holds the index, so it owns the shard.
        shared.shards.get(index).map(|shard| unsafe { Local::new(shard) })
    }

    /// Makes every thread attach again before it operates. `tag` is read once all that changed is to be seen.
    pub(crate) fn renew(&self, tag: impl Fn() -> usize) {
        with_registry(|registry| {
            if self.stamp.load(Ordering::Relaxed) != NOT_REGISTERED {
                self.issue(registry, tag);
            }
        });
    }

    fn register(&self, shared: &Shared<T>, tag: impl Fn() -> usize) -> Stamp {
        with_registry(|registry| {
            let stamp = Stamp(self.stamp.load(Ordering::Relaxed));
            if stamp.0 != NOT_REGISTERED {
                return stamp;
            }
            let tenant: NonNull<dyn HandBack> = NonNull::from(shared as &dyn HandBack);
            self.place.store(registry.register(TenantRef(tenant)), Ordering::Relaxed);
            self.issue(registry, tag)
        })
    }

    /// A new stamp, under the registry's lock: of two that change something, the later one sees both changes.
    fn issue(&self, registry: &mut Registry, tag: impl Fn() -> usize) -> Stamp {
        registry.stamps += 1;
        let memo_entry = (self.place.load(Ordering::Relaxed) % MEMO_LEN) as u64;
        let number = (registry.stamps << NUMBER_SHIFT) & !(u64::MAX << TAG_SHIFT);
        let stamp = Stamp(((tag() as u64) << TAG_SHIFT) | number | (memo_entry << MEMO_SHIFT));
        // Release: pairs with the Acquire in `attach`. Model: see there.
        self.stamp.store(stamp.0, Ordering::Release);
        stamp
    }
}

impl<T: Tenant> Drop for Anchor<T> {
    fn drop(&mut self) {
        if self.stamp.load(Ordering::Relaxed) != NOT_REGISTERED {
            // Waits for threads that are handing back to this pool; none begins after it. Model:
            // loom_tests::thread_end::a_thread_ends_while_its_pool_is_dropped.
            with_registry(|registry| registry.deregister(self.place.load(Ordering::Relaxed)));
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

    /// For models of parts: the one thread of the model that calls this is the owner from then on.
    #[cfg(pool_loom)]
    pub(crate) fn of_model(shard: &'p Shard) -> Local<'p> {
        // SAFETY: the shard is of no pool.
        unsafe { Local::new(shard) }
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

    pub(crate) fn take_cold(self, class: usize, count: usize) -> Batch {
        // SAFETY: `self` is the proof of ownership.
        unsafe { self.shard.cache.take_cold(class, count) }
    }

    /// Takes the buffer out of this thread's slot for `class`, if that is above 32 KiB and there is one.
    #[inline]
    pub(crate) fn take_large(self, class: usize) -> Option<Vec<u8>> {
        self.shard.large.get(class.wrapping_sub(SMALL_CLASSES))?.take()
    }

    /// Puts a buffer into this thread's slot for the class above 32 KiB whose size its capacity is, if there is one.
    #[inline]
    pub(crate) fn put_large(self, vec: &mut Vec<u8>) -> LargePut {
        let class = class_of_capacity(vec.capacity(), CLASSES);
        let slot = class.and_then(|class| self.shard.large.get(class.wrapping_sub(SMALL_CLASSES)));
        // SAFETY: `self` is the proof of ownership.
        slot.map_or(LargePut::Full, |slot| unsafe { slot.put(vec) })
    }

    pub(crate) fn lease_large(self, class: usize) {
        // SAFETY: `self` is the proof of ownership.
        unsafe { self.shard.large(class).lease() }
    }

    pub(crate) fn release_large(self, class: usize) -> bool {
        // SAFETY: `self` is the proof of ownership.
        unsafe { self.shard.large(class).release() }
    }

    pub(crate) fn len(self, class: usize) -> usize {
        self.shard.cache.len(class)
    }

    /// How many buffers at the bottom were not needed in this interval.
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

/// The shards of a pool by thread index, in buckets of doubling size: a lookup is two loads, growing moves nothing.
#[derive(Debug)]
pub(crate) struct Shards {
    buckets: [OnceBox<Bucket>; BUCKETS],
}

#[derive(Debug)]
struct Bucket(Box<[OnceBox<Shard>]>);

const BUCKETS: usize = if cfg!(pool_loom) { 3 } else { 24 };

impl Default for Shards {
    fn default() -> Shards {
        Shards { buckets: std::array::from_fn(|_| OnceBox::new()) }
    }
}

impl Shards {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Shard> + Clone {
        let buckets = self.buckets.iter().filter_map(OnceBox::get);
        buckets.flat_map(|bucket| bucket.0.iter().filter_map(OnceBox::get))
    }

    fn get(&self, index: usize) -> Option<&Shard> {
        let (bucket, offset) = place_of(index);
        self.buckets[bucket].get()?.0[offset].get()
    }

    fn get_or_make(&self, index: usize) -> &Shard {
        let (bucket, offset) = place_of(index);
        let shards = self.buckets[bucket]
            .get_or_init(|| Box::new(Bucket((0..1_usize << bucket).map(|_| OnceBox::new()).collect())));
        shards.0[offset].get_or_init(Box::default)
    }
}

fn place_of(index: usize) -> (usize, usize) {
    let bucket = (index + 1).ilog2() as usize;
    (bucket, index + 1 - (1 << bucket))
}

/// What a thread knows of itself. Constant and without a destructor, so that it is there before and after all others.
struct Here {
    index: Cell<usize>,
    memo: [Memo; MEMO_LEN],
}

struct Memo {
    stamp: Cell<u64>,
    /// Dangling where the stamp is 0.
    shard: Cell<NonNull<Shard>>,
}

/// How many pools a thread can alternate between without a lookup in the pool's table (some 10 ns a use, no lock). Places
/// in the registry are dense, so that up to this many living pools never share an entry. 256 bytes per thread.
const MEMO_LEN: usize = 1 << MEMO_BITS;
const MEMO_BITS: u32 = 4;
// The bits of a stamp from below: none, as many as an entry's size has, so that the memo's entry is found by a mask alone;
// the entry; a number; the tag.
const MEMO_SHIFT: u32 = 4;
const NUMBER_SHIFT: u32 = MEMO_SHIFT + MEMO_BITS;
const TAG_SHIFT: u32 = 59;

// No stamp that is issued is this, nor the 0 of an empty memo: their numbers begin at 1.
const NOT_REGISTERED: u64 = 1;
const _: () = assert!(NOT_REGISTERED < 1 << NUMBER_SHIFT);

const NO_INDEX: usize = usize::MAX;
const DEAD: usize = usize::MAX - 1;

thread_local! {
    static HERE: Here = const {
        Here { index: Cell::new(NO_INDEX), memo: [const { Memo { stamp: Cell::new(0), shard: Cell::new(NonNull::dangling()) } }; MEMO_LEN] }
    };
}

// loom destroys all thread-locals at once, and its `join` does not wait for that: threads of models call `end_thread`.
#[cfg(not(pool_loom))]
thread_local! {
    static EXIT: Exit = const { Exit };
}

/// This thread's index; `None` once its destructor has run.
fn my_index() -> Option<usize> {
    HERE.with(|here| match here.index.get() {
        DEAD => None,
        NO_INDEX => {
            // Registers the destructor, or says that it has run.
            #[cfg(not(pool_loom))]
            EXIT.try_with(|_| ()).ok()?;
            let index = with_registry(|registry| registry.indices.take());
            here.index.set(index);
            Some(index)
        }
        index => Some(index),
    })
}

#[cfg(not(pool_loom))]
struct Exit;

#[cfg(not(pool_loom))]
impl Drop for Exit {
    fn drop(&mut self) {
        end_thread();
    }
}

/// Hands back to every pool what this thread has of it; after this the thread is dead.
pub(crate) fn end_thread() {
    let index = HERE.with(|here| {
        for memo in &here.memo {
            memo.stamp.set(0);
        }
        here.index.replace(DEAD)
    });
    if index == NO_INDEX {
        return;
    }
    with_registry(|registry| {
        for tenant in registry.tenants.iter().flatten() {
            // SAFETY: a tenant is registered by its anchor and deregistered, under this lock, before the anchor
            // drops it.
            let tenant = unsafe { tenant.0.as_ref() };
            // SAFETY: this thread holds the index until the next line, and has no other Local: the memos are
            // wiped, and none lives across a thread's destructors.
            unsafe { tenant.hand_back(index) };
        }
        registry.indices.give(index);
    });
}

/// `Shared<T>` for any `T`.
trait HandBack: Sync {
    /// # Safety
    ///
    /// The calling thread holds `index`.
    unsafe fn hand_back(&self, index: usize);
}

impl<T: Tenant> HandBack for Shared<T> {
    unsafe fn hand_back(&self, index: usize) {
        if let Some(shard) = self.shards.get(index) {
            // SAFETY: the caller holds the index.
            T::hand_back(self, unsafe { Local::new(shard) });
        }
    }
}

struct TenantRef(NonNull<dyn HandBack>);

// SAFETY: it is only ever used as a shared reference, and HandBack is Sync.
unsafe impl Send for TenantRef {}

/// The pools and the thread indices of the process.
struct Registry {
    tenants: Vec<Option<TenantRef>>,
    /// How many stamps were issued: 2^51 last for 70 years of one a microsecond.
    stamps: u64,
    indices: Indices,
}

impl Registry {
    const fn new() -> Registry {
        Registry { tenants: Vec::new(), stamps: 0, indices: Indices { taken: Vec::new() } }
    }

    /// The place that the tenant has from now on.
    fn register(&mut self, tenant: TenantRef) -> usize {
        let place = self.tenants.iter().position(Option::is_none).unwrap_or(self.tenants.len());
        if place == self.tenants.len() {
            self.tenants.push(None);
        }
        self.tenants[place] = Some(tenant);
        place
    }

    fn deregister(&mut self, place: usize) {
        self.tenants[place] = None;
        while let Some(None) = self.tenants.last() {
            self.tenants.pop();
        }
        // So that nothing of a pool stays, not even the place of its entry.
        self.tenants.shrink_to(2 * self.tenants.len());
    }
}

/// A set of small numbers: a bit for each.
struct Indices {
    taken: Vec<u64>,
}

impl Indices {
    /// The least number that is free.
    fn take(&mut self) -> usize {
        let word = self.taken.iter().position(|&word| word != u64::MAX).unwrap_or(self.taken.len());
        if word == self.taken.len() {
            // Exact, so that what the threads of a process leave behind does not depend on their history.
            self.taken.reserve_exact(1);
            self.taken.push(0);
        }
        let bit = self.taken[word].trailing_ones() as usize;
        self.taken[word] |= 1 << bit;
        word * u64::BITS as usize + bit
    }

    fn give(&mut self, index: usize) {
        self.taken[index / u64::BITS as usize] &= !(1 << (index % u64::BITS as usize));
        while let Some(0) = self.taken.last() {
            self.taken.pop();
        }
        self.taken.shrink_to_fit();
    }
}

#[cfg(not(pool_loom))]
fn with_registry<R>(f: impl FnOnce(&mut Registry) -> R) -> R {
    static REGISTRY: Mutex<Registry> = Mutex::new(Registry::new());
    f(&mut lock(&REGISTRY))
}

#[cfg(pool_loom)]
fn with_registry<R>(f: impl FnOnce(&mut Registry) -> R) -> R {
    loom::lazy_static! {
        static ref REGISTRY: Mutex<Registry> = Mutex::new(Registry::new());
    }
    f(&mut lock(&REGISTRY))
}
