//! Which shard is mine: threads, pools, and what becomes of a shard when either ends.
//!
//! Every living thread that used a pool has an *index*, dense and reused; every pool keeps a shard per index. So a
//! pool owns all there is of it, and its end leaves nothing in any thread; a thread keeps its index and a *memo*, a
//! small fixed table from pool keys to shard pointers, and its end leaves nothing in the process. A key is never
//! issued twice, so a memo's entry of a pool that is gone never matches again and needs no cleaning up.
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

use once_cell::race::OnceBox;

use super::Batch;
use super::shard::Shard;
use crate::sync::{AtomicU64, Mutex, Ordering, const_unless_loom, lock, thread_local};

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
    /// `NOT_REGISTERED`, or a key that no other pool has or had.
    key: AtomicU64,
    shared: OnceBox<Shared<T>>,
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
            Anchor { key: AtomicU64::new(NOT_REGISTERED), shared: OnceBox::new() }
        }
    }

    /// This thread's shard, if the memo knows it.
    #[inline]
    pub(crate) fn local(&self) -> Option<Local<'_>> {
        let key = self.key.load(Ordering::Relaxed);
        HERE.with(|here| {
            let memo = &here.memo[key as usize % MEMO_LEN];
            if memo.key.get() != key {
                return None;
            }
            // SAFETY: `attach`, the only writer of memos, noted a shard of the pool that has this key. Keys are not
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
    /// No lock but for the first pool of a thread and the first thread of a pool.
    pub(crate) fn attach<'p>(&'p self, shared: &'p Shared<T>) -> Option<Local<'p>> {
        let index = my_index()?;
        let key = self.key_of(shared);
        let shard = shared.shards.get_or_make(index);
        HERE.with(|here| {
            let memo = &here.memo[key as usize % MEMO_LEN];
            memo.key.set(key);
            memo.shard.set(NonNull::from(shard));
        });
        // SAFETY: this thread holds the index, so it owns the shard.
        Some(unsafe { Local::new(shard) })
    }

    fn key_of(&self, shared: &Shared<T>) -> u64 {
        let key = self.key.load(Ordering::Relaxed);
        if key != NOT_REGISTERED {
            return key;
        }
        with_registry(|registry| {
            // Relaxed: written under this lock, and read without it only to be compared with a memo that was written
            // by the same thread after this.
            let key = self.key.load(Ordering::Relaxed);
            if key != NOT_REGISTERED {
                return key;
            }
            let tenant: NonNull<dyn HandBack> = NonNull::from(shared as &dyn HandBack);
            let key = registry.register(TenantRef(tenant));
            self.key.store(key, Ordering::Relaxed);
            key
        })
    }
}

impl<T: Tenant> Drop for Anchor<T> {
    fn drop(&mut self) {
        let key = self.key.load(Ordering::Relaxed);
        if key != NOT_REGISTERED {
            // Waits for threads that are handing back to this pool; none begins after it. Model:
            // loom_tests::a_thread_ends_while_its_pool_is_dropped.
            with_registry(|registry| registry.deregister(key));
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
    pub(crate) fn push(self, class: usize, vec: &mut Vec<u8>) -> bool {
        // SAFETY: `self` is the proof of ownership.
        unsafe { self.shard.cache.push(class, vec) }
    }

    pub(crate) fn take_cold(self, class: usize, count: usize) -> Batch {
        // SAFETY: `self` is the proof of ownership.
        unsafe { self.shard.cache.take_cold(class, count) }
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

const BUCKETS: usize = 24;

impl Default for Shards {
    fn default() -> Shards {
        Shards { buckets: [const { OnceBox::new() }; BUCKETS] }
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
    key: Cell<u64>,
    /// Dangling where the key is 0.
    shard: Cell<NonNull<Shard>>,
}

/// How many pools a thread can alternate between without a lookup in the pool's table (1–2 ns more, no lock). Living
/// pools differ in the low bits of their keys, so that up to this many never share an entry. 256 bytes per thread.
const MEMO_LEN: usize = 16;

const NOT_REGISTERED: u64 = 1;
const NO_INDEX: usize = usize::MAX;
const DEAD: usize = usize::MAX - 1;

// A key's low bits are a place in the registry, the high ones count up from 1: no key is the empty memo's 0, nor 1.
const PLACE_BITS: u32 = 24;
const _: () = assert!(NOT_REGISTERED < 1 << PLACE_BITS && MEMO_LEN.is_power_of_two());

thread_local! {
    static HERE: Here = const {
        Here { index: Cell::new(NO_INDEX), memo: [const { Memo { key: Cell::new(0), shard: Cell::new(NonNull::dangling()) } }; MEMO_LEN] }
    };
    static EXIT: Exit = const { Exit };
}

/// This thread's index; `None` once its destructor has run.
fn my_index() -> Option<usize> {
    HERE.with(|here| match here.index.get() {
        DEAD => None,
        NO_INDEX => {
            // Registers the destructor, or says that it has run.
            EXIT.try_with(|_| ()).ok()?;
            let index = with_registry(|registry| registry.indices.take());
            here.index.set(index);
            Some(index)
        }
        index => Some(index),
    })
}

struct Exit;

impl Drop for Exit {
    fn drop(&mut self) {
        let index = HERE.with(|here| {
            for memo in &here.memo {
                memo.key.set(0);
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
    keys: u64,
    indices: Indices,
}

impl Registry {
    const fn new() -> Registry {
        Registry { tenants: Vec::new(), keys: 0, indices: Indices { taken: Vec::new() } }
    }

    fn register(&mut self, tenant: TenantRef) -> u64 {
        let place = self.tenants.iter().position(Option::is_none).unwrap_or(self.tenants.len());
        assert!(place < 1 << PLACE_BITS, "no more than 16 777 216 pools can be in use at once");
        if place == self.tenants.len() {
            self.tenants.push(None);
        }
        self.tenants[place] = Some(tenant);
        self.keys += 1;
        self.keys << PLACE_BITS | place as u64
    }

    fn deregister(&mut self, key: u64) {
        self.tenants[key as usize % (1 << PLACE_BITS)] = None;
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
        self.taken.shrink_to(2 * self.taken.len());
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
