//! The contenders, each used the way its documentation asks for.
//!
//! One use is `take`, writes through the [`Sink`], `seal`, and the drop of what `seal` gave: for a pool's guard sealing
//! is nothing, `bytes` splits and freezes there, and a buffer that never leaves its thread ends there. Everything is
//! generic and inlined: no contender pays for an indirection that another does not.

use std::cell::{RefCell, RefMut};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytebufferpool::{Pool, PooledBuf};
use bytes::{Bytes, BytesMut};
use prost::Message;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Ours,
    Peer,
    /// A bound, or what one does without a pool.
    Control,
}

/// Where bytes are written to.
pub trait Sink {
    fn extend(&mut self, bytes: &[u8]);
    fn bytes(&self) -> &[u8];
    /// Through the `BufMut` that the buffer is or holds.
    fn encode(&mut self, message: &impl Message);
}

/// For all that have a `BufMut`; it grows, and so never fails.
macro_rules! encode_into {
    (|$sink:ident| $buffer:expr) => {
        #[inline(always)]
        fn encode(&mut self, message: &impl Message) {
            let $sink = self;
            message.encode($buffer).expect("a buffer that grows");
        }
    };
}

/// What a finished message is until it is dropped; the consumer of a hand-over reads it.
pub trait Sealed {
    fn read<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R;
}

pub trait Contender: Send + Sync + Sized + 'static {
    const NAME: &'static str;
    const ROLE: Role;
    /// Whether several buffers can be in use at once.
    const HOLDS_MANY: bool = true;

    /// What a thread keeps to work with the pool: mostly a reference to it.
    type Worker<'p>;
    type Guard<'p, 'w>: Sink
    where
        'p: 'w;
    type Held<'p>: Sealed;

    /// A new pool for messages of up to `size_max` bytes.
    fn fresh(size_max: usize) -> Self;
    fn worker(&self) -> Self::Worker<'_>;
    /// An empty buffer; with a size where the workload knows one.
    fn take<'p, 'w>(worker: &'w mut Self::Worker<'p>, size: Option<usize>) -> Self::Guard<'p, 'w>
    where
        'p: 'w;
    fn seal<'p, 'w>(guard: Self::Guard<'p, 'w>) -> Self::Held<'p>
    where
        'p: 'w;

    /// A whole message whose size is known, in one write.
    #[inline(always)]
    fn write_once<'p, 'w>(worker: &'w mut Self::Worker<'p>, payload: &[u8]) -> Self::Guard<'p, 'w>
    where
        'p: 'w,
    {
        let mut guard = Self::take(worker, Some(payload.len()));
        guard.extend(payload);
        guard
    }

    /// A message whose encoded size is computed first, as prost does by itself before it writes.
    #[inline(always)]
    fn encode<'p, 'w>(worker: &'w mut Self::Worker<'p>, message: &impl Message) -> Self::Guard<'p, 'w>
    where
        'p: 'w,
    {
        let mut guard = Self::take(worker, Some(message.encoded_len()));
        guard.encode(message);
        guard
    }

    /// The same as [`pair`](Contender::pair), with the guard dropped where it was made, as at the end of a block.
    #[inline(always)]
    fn pair_in_place(worker: &mut Self::Worker<'_>, size: usize) {
        let mut guard = Self::take(worker, Some(size));
        black_box(&mut guard);
    }

    /// Takes a buffer with room for `size` bytes and gives it back: moved into `seal` and from there into `drop`, as a
    /// guard is that a function returns or a channel carries.
    #[inline(always)]
    fn pair(worker: &mut Self::Worker<'_>, size: usize) {
        let mut guard = Self::take(worker, Some(size));
        black_box(&mut guard);
        drop(Self::seal(guard));
    }

    /// Learns from what was seen so far, if it learns.
    fn settle(&self) {}

    /// The capacity of everything that lies idle; may take it all out, so it is asked last.
    fn idle_bytes(&self) -> usize;

    /// What a worker itself keeps between two messages.
    fn kept_bytes(_: &Self::Worker<'_>) -> usize {
        0
    }
}

impl Sink for Vec<u8> {
    #[inline(always)]
    fn extend(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self
    }
    encode_into!(|sink| sink);
}

impl Sealed for Vec<u8> {
    #[inline(always)]
    fn read<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        read(self)
    }
}

/// Of a buffer that ended when it was sealed.
impl Sealed for () {
    #[inline(always)]
    fn read<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        read(&[])
    }
}

/// A guard of a pool that is its own sealed form.
macro_rules! guard_is_held {
    () => {
        #[inline(always)]
        fn seal<'p, 'w>(guard: Self::Guard<'p, 'w>) -> Self::Held<'p>
        where
            'p: 'w,
        {
            guard
        }
    };
}

/// A guard that dereferences to a `Vec`.
macro_rules! vec_guard {
    ($([$($generics:tt)*] $guard:ty),* $(,)?) => {$(
        impl<$($generics)*> Sink for $guard {
            #[inline(always)]
            fn extend(&mut self, bytes: &[u8]) {
                Vec::extend_from_slice(self, bytes);
            }

            #[inline(always)]
            fn bytes(&self) -> &[u8] {
                self
            }
            encode_into!(|sink| &mut **sink);
        }

        impl<$($generics)*> Sealed for $guard {
            #[inline(always)]
            fn read<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
                read(self)
            }
        }
    )*};
}

vec_guard!(
    ['p] object_pool::Reusable<'p, Vec<u8>>,
    [] object_pool::ReusableOwned<Vec<u8>>,
    ['p] opool::RefGuard<'p, Cleared, Vec<u8>>,
    [] opool::RcGuard<Cleared, Vec<u8>>,
    [] poolshark::local::LPooled<Vec<u8>>,
    [] poolshark::global::GPooled<Vec<u8>>,
    ['p] lockfree_object_pool::LinearReusable<'p, Vec<u8>>,
    [] lockfree_object_pool::LinearOwnedReusable<Vec<u8>>,
    ['p] RefMut<'p, Vec<u8>>,
);

/// Makes room in a buffer that came without a size: what a user of a pool of plain `Vec`s writes.
#[inline(always)]
fn make_room(vec: &mut Vec<u8>, size: Option<usize>) {
    if let Some(size) = size {
        vec.reserve(size);
    }
}

/// The capacities of all idle buffers: takes buffers, holding on to them, until one was never used.
fn drain<G>(mut take: impl FnMut() -> Option<G>, capacity: impl Fn(&G) -> usize) -> usize {
    const BUFFERS_MAX: usize = 100_000;
    let mut held = Vec::new();
    let mut sum = 0;
    while let Some(guard) = take().filter(|guard| capacity(guard) > 0 && held.len() < BUFFERS_MAX) {
        sum += capacity(&guard);
        held.push(guard);
    }
    sum
}

// ---- Ours.

impl<P: AsRef<Pool>> Sink for PooledBuf<P> {
    #[inline(always)]
    fn extend(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self.as_slice()
    }
    encode_into!(|sink| sink);
}

impl<P: AsRef<Pool>> Sealed for PooledBuf<P> {
    #[inline(always)]
    fn read<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        read(self.as_slice())
    }
}

/// A way to use the crate: what holds the pool, what the guard and its sealed form are, and how one is taken and sealed.
macro_rules! ours {
    (
        $(#[$doc:meta])*
        $name:ident($pool:ty), $label:literal, $guard:ty, $held:ty,
        take |$worker:ident, $size:ident| $take:expr, seal |$sealed:ident| $seal:expr
    ) => {
        $(#[$doc])*
        pub struct $name($pool);

        impl Contender for $name {
            const NAME: &'static str = $label;
            const ROLE: Role = Role::Ours;
            type Worker<'p> = &'p $pool;
            type Guard<'p, 'w>
                = $guard
            where
                'p: 'w;
            type Held<'p> = $held;

            fn fresh(_: usize) -> $name {
                $name(Pool::new().into())
            }
            fn worker(&self) -> Self::Worker<'_> {
                &self.0
            }
            #[inline(always)]
            fn take<'p, 'w>($worker: &'w mut Self::Worker<'p>, $size: Option<usize>) -> $guard
            where
                'p: 'w,
            {
                $take
            }
            #[inline(always)]
            fn seal<'p, 'w>($sealed: $guard) -> $held
            where
                'p: 'w,
            {
                $seal
            }
            fn settle(&self) {
                self.0.calibrate();
            }
            fn idle_bytes(&self) -> usize {
                self.0.stats().retained_bytes
            }
        }
    };
}

ours!(
    /// `get()`, whatever the workload knows of its sizes.
    Ours(Pool), "bytebufferpool", PooledBuf<&'p Pool>, PooledBuf<&'p Pool>,
    take |worker, _size| worker.get(), seal |guard| guard
);
ours!(
    /// `get_with_capacity(n)` where the size is known.
    OursSized(Pool), "bytebufferpool sized", PooledBuf<&'p Pool>, PooledBuf<&'p Pool>,
    take |worker, size| match size {
        Some(size) => worker.get_with_capacity(size),
        None => worker.get(),
    },
    seal |guard| guard
);
ours!(
    /// `get_owned()`, with the size where it is known: the guard keeps the pool alive.
    OursOwned(Arc<Pool>), "bytebufferpool owned", PooledBuf<Arc<Pool>>, PooledBuf<Arc<Pool>>,
    take |worker, size| match size {
        Some(size) => worker.get_owned_with_capacity(size),
        None => worker.get_owned(),
    },
    seal |guard| guard
);
ours!(
    /// `get_owned().freeze()`: in flight is a `Bytes`, whose last clone brings the buffer home.
    OursFrozen(Arc<Pool>), "bytebufferpool", PooledBuf<Arc<Pool>>, Bytes,
    take |worker, _size| worker.get_owned(), seal |guard| guard.freeze()
);

impl Ours {
    /// A pool whose plain `get` has learnt to give `size` bytes.
    pub fn learnt(size: usize) -> Ours {
        let pool = Pool::builder().default_size_limit(bytebufferpool::MAX_CLASS_SIZE).build();
        let message = vec![0; size];
        pool.get().extend_from_slice(&message);
        pool.calibrate();
        assert_eq!(pool.default_size(), size, "a plain get of the row gives this class");
        Ours(pool)
    }

    pub fn pool(&self) -> &Pool {
        &self.0
    }
}

// ---- Peers.

/// zeropool. Its thread cache belongs to the pool that the thread used last, so it wants one pool per process: each row
/// makes one, and it is the only one while the row runs. `alloc(0)` is its only empty start.
pub struct Zeropool {
    pool: zeropool::ZeroPool,
    draining: Arc<AtomicBool>,
}

/// zeropool's own allocator, which can be told to give nothing, so that draining sees where the idle buffers end.
struct Draining(Arc<AtomicBool>);

impl zeropool::Allocator for Draining {
    fn allocate(&self, size: usize) -> Vec<u8> {
        if self.0.load(Ordering::Relaxed) { Vec::new() } else { zeropool::HeapAllocator.allocate(size) }
    }
}

impl Sink for zeropool::Buf<'_> {
    #[inline(always)]
    fn extend(&mut self, bytes: &[u8]) {
        // Never fails: its `Write` appends to the `Vec` inside.
        let _ = std::io::Write::write_all(self, bytes);
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self
    }

    /// It is no `BufMut`; [`Zeropool::encode`] writes into it before it is one of these.
    fn encode(&mut self, message: &impl Message) {
        self.extend(&message.encode_to_vec());
    }
}

impl Sealed for zeropool::Buf<'_> {
    #[inline(always)]
    fn read<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        read(self)
    }
}

impl Contender for Zeropool {
    const NAME: &'static str = "zeropool";
    const ROLE: Role = Role::Peer;
    type Worker<'p> = &'p zeropool::ZeroPool;
    type Guard<'p, 'w>
        = zeropool::Buf<'p>
    where
        'p: 'w;
    type Held<'p> = zeropool::Buf<'p>;

    fn fresh(_: usize) -> Zeropool {
        let draining = Arc::new(AtomicBool::new(false));
        let pool = zeropool::ZeroPool::new().min_buffer_size(0).allocator(Draining(Arc::clone(&draining)));
        Zeropool { pool, draining }
    }
    fn worker(&self) -> &zeropool::ZeroPool {
        &self.pool
    }
    #[inline(always)]
    fn take<'p, 'w>(worker: &'w mut &'p zeropool::ZeroPool, _: Option<usize>) -> zeropool::Buf<'p>
    where
        'p: 'w,
    {
        worker.alloc(0)
    }
    guard_is_held!();
    #[inline(always)]
    fn write_once<'p, 'w>(worker: &'w mut &'p zeropool::ZeroPool, payload: &[u8]) -> zeropool::Buf<'p>
    where
        'p: 'w,
    {
        worker.alloc_uninit(payload.len()).write_from_slice(payload)
    }
    #[inline(always)]
    fn encode<'p, 'w>(worker: &'w mut &'p zeropool::ZeroPool, message: &impl Message) -> zeropool::Buf<'p>
    where
        'p: 'w,
    {
        let mut guard = worker.alloc_uninit(message.encoded_len());
        let mut rest = guard.as_uninit_mut();
        message.encode(&mut rest).expect("as long as it said");
        assert!(rest.is_empty(), "as long as it said");
        // SAFETY: `encode` wrote from the front on without a gap, and nothing is left behind what it wrote.
        unsafe { guard.assume_init() }
    }
    #[inline(always)]
    fn pair(worker: &mut &zeropool::ZeroPool, size: usize) {
        let mut guard = worker.alloc_uninit(size);
        black_box(&mut guard);
    }
    #[inline(always)]
    fn pair_in_place(worker: &mut &zeropool::ZeroPool, size: usize) {
        let mut guard = worker.alloc_uninit(size);
        black_box(&mut guard);
    }
    fn idle_bytes(&self) -> usize {
        self.draining.store(true, Ordering::Relaxed);
        let classes = (0..8).map(|class| 4096 << (2 * class));
        classes.map(|size| drain(|| Some(self.pool.alloc(size)), zeropool::Buf::capacity)).sum()
    }
}

/// object-pool. It does not clear what comes back.
pub struct ObjectPool(object_pool::Pool<Vec<u8>>);

impl Contender for ObjectPool {
    const NAME: &'static str = "object-pool";
    const ROLE: Role = Role::Peer;
    type Worker<'p> = &'p object_pool::Pool<Vec<u8>>;
    type Guard<'p, 'w>
        = object_pool::Reusable<'p, Vec<u8>>
    where
        'p: 'w;
    type Held<'p> = object_pool::Reusable<'p, Vec<u8>>;

    fn fresh(_: usize) -> ObjectPool {
        ObjectPool(object_pool::Pool::new(0, Vec::new))
    }
    fn worker(&self) -> &object_pool::Pool<Vec<u8>> {
        &self.0
    }
    #[inline(always)]
    fn take<'p, 'w>(worker: &'w mut Self::Worker<'p>, size: Option<usize>) -> Self::Held<'p>
    where
        'p: 'w,
    {
        let mut guard = worker.pull(|| Vec::with_capacity(size.unwrap_or(0)));
        guard.clear();
        guard
    }
    guard_is_held!();
    fn idle_bytes(&self) -> usize {
        drain(|| self.0.try_pull(), |guard| guard.capacity())
    }
}

/// opool, bounded by the largest capacity that the row's messages lead to.
pub struct Opool(Arc<opool::Pool<Cleared, Vec<u8>>>);

pub struct Cleared {
    capacity_max: usize,
}

impl opool::PoolAllocator<Vec<u8>> for Cleared {
    #[inline(always)]
    fn reset(&self, vec: &mut Vec<u8>) {
        vec.clear();
    }
    #[inline(always)]
    fn allocate(&self) -> Vec<u8> {
        Vec::new()
    }
    #[inline(always)]
    fn is_valid(&self, vec: &Vec<u8>) -> bool {
        vec.capacity() <= self.capacity_max
    }
}

/// A `Vec` that grows by doubling ends below twice the largest message.
const fn capacity_max(size_max: usize) -> usize {
    2 * size_max
}

/// How many idle buffers a pool with a fixed number of places gets.
const PLACES: usize = 1024;

impl Contender for Opool {
    const NAME: &'static str = "opool";
    const ROLE: Role = Role::Peer;
    type Worker<'p> = &'p opool::Pool<Cleared, Vec<u8>>;
    type Guard<'p, 'w>
        = opool::RefGuard<'p, Cleared, Vec<u8>>
    where
        'p: 'w;
    type Held<'p> = opool::RefGuard<'p, Cleared, Vec<u8>>;

    fn fresh(size_max: usize) -> Opool {
        Opool(opool::Pool::new(PLACES, Cleared { capacity_max: capacity_max(size_max) }).to_rc())
    }
    fn worker(&self) -> Self::Worker<'_> {
        &self.0
    }
    #[inline(always)]
    fn take<'p, 'w>(worker: &'w mut Self::Worker<'p>, size: Option<usize>) -> Self::Held<'p>
    where
        'p: 'w,
    {
        let mut guard = worker.get();
        make_room(&mut guard, size);
        guard
    }
    guard_is_held!();
    fn idle_bytes(&self) -> usize {
        drain(|| self.0.try_get(), |guard| guard.capacity())
    }
}

/// poolshark's thread-local pool; sizes are set before the first take, as it reads them once per thread.
pub struct PoolsharkLocal;

impl Contender for PoolsharkLocal {
    const NAME: &'static str = "poolshark local";
    const ROLE: Role = Role::Peer;
    type Worker<'p> = ();
    type Guard<'p, 'w>
        = poolshark::local::LPooled<Vec<u8>>
    where
        'p: 'w;
    type Held<'p> = poolshark::local::LPooled<Vec<u8>>;

    fn fresh(size_max: usize) -> PoolsharkLocal {
        poolshark::local::clear_type::<Vec<u8>>();
        poolshark::local::set_size::<Vec<u8>>(64, capacity_max(size_max));
        PoolsharkLocal
    }
    fn worker(&self) {}
    #[inline(always)]
    fn take<'p, 'w>(_: &'w mut (), size: Option<usize>) -> Self::Held<'p>
    where
        'p: 'w,
    {
        let mut guard = poolshark::local::LPooled::<Vec<u8>>::take();
        make_room(&mut guard, size);
        guard
    }
    guard_is_held!();
    fn idle_bytes(&self) -> usize {
        drain(|| Some(poolshark::local::LPooled::<Vec<u8>>::take()), |guard| guard.capacity())
    }
}

pub struct PoolsharkGlobal(poolshark::global::Pool<Vec<u8>>);

impl Contender for PoolsharkGlobal {
    const NAME: &'static str = "poolshark global";
    const ROLE: Role = Role::Peer;
    type Worker<'p> = &'p poolshark::global::Pool<Vec<u8>>;
    type Guard<'p, 'w>
        = poolshark::global::GPooled<Vec<u8>>
    where
        'p: 'w;
    type Held<'p> = poolshark::global::GPooled<Vec<u8>>;

    fn fresh(size_max: usize) -> PoolsharkGlobal {
        PoolsharkGlobal(poolshark::global::Pool::new(PLACES, capacity_max(size_max)))
    }
    fn worker(&self) -> Self::Worker<'_> {
        &self.0
    }
    #[inline(always)]
    fn take<'p, 'w>(worker: &'w mut Self::Worker<'p>, size: Option<usize>) -> Self::Held<'p>
    where
        'p: 'w,
    {
        let mut guard = worker.take();
        make_room(&mut guard, size);
        guard
    }
    guard_is_held!();
    fn idle_bytes(&self) -> usize {
        drain(|| self.0.try_take(), |guard| guard.capacity())
    }
}

/// lockfree-object-pool's fastest pool. Borrowed guards stay on their thread; owned ones can be sent.
pub struct Lockfree(Arc<lockfree_object_pool::LinearObjectPool<Vec<u8>>>);
pub struct LockfreeOwned(Arc<lockfree_object_pool::LinearObjectPool<Vec<u8>>>);

fn linear_pool() -> Arc<lockfree_object_pool::LinearObjectPool<Vec<u8>>> {
    Arc::new(lockfree_object_pool::LinearObjectPool::new(Vec::new, Vec::clear))
}

impl Contender for Lockfree {
    const NAME: &'static str = "lockfree-object-pool";
    const ROLE: Role = Role::Peer;
    type Worker<'p> = &'p lockfree_object_pool::LinearObjectPool<Vec<u8>>;
    type Guard<'p, 'w>
        = lockfree_object_pool::LinearReusable<'p, Vec<u8>>
    where
        'p: 'w;
    type Held<'p> = lockfree_object_pool::LinearReusable<'p, Vec<u8>>;

    fn fresh(_: usize) -> Lockfree {
        Lockfree(linear_pool())
    }
    fn worker(&self) -> Self::Worker<'_> {
        &self.0
    }
    #[inline(always)]
    fn take<'p, 'w>(worker: &'w mut Self::Worker<'p>, size: Option<usize>) -> Self::Held<'p>
    where
        'p: 'w,
    {
        let mut guard = worker.pull();
        make_room(&mut guard, size);
        guard
    }
    guard_is_held!();
    fn idle_bytes(&self) -> usize {
        drain(|| Some(self.0.pull()), |guard| guard.capacity())
    }
}

impl Contender for LockfreeOwned {
    const NAME: &'static str = "lockfree-object-pool";
    const ROLE: Role = Role::Peer;
    type Worker<'p> = &'p Arc<lockfree_object_pool::LinearObjectPool<Vec<u8>>>;
    type Guard<'p, 'w>
        = lockfree_object_pool::LinearOwnedReusable<Vec<u8>>
    where
        'p: 'w;
    type Held<'p> = lockfree_object_pool::LinearOwnedReusable<Vec<u8>>;

    fn fresh(_: usize) -> LockfreeOwned {
        LockfreeOwned(linear_pool())
    }
    fn worker(&self) -> Self::Worker<'_> {
        &self.0
    }
    #[inline(always)]
    fn take<'p, 'w>(worker: &'w mut Self::Worker<'p>, size: Option<usize>) -> Self::Held<'p>
    where
        'p: 'w,
    {
        let mut guard = worker.pull_owned();
        make_room(&mut guard, size);
        guard
    }
    guard_is_held!();
    fn idle_bytes(&self) -> usize {
        drain(|| Some(self.0.pull()), |guard| guard.capacity())
    }
}

/// sharded-slab's pool: what is created is found again by its key, and must be cleared to be reused. In flight is the
/// key alone, which is also what can be sent.
pub struct ShardedSlab(sharded_slab::Pool<Vec<u8>>);

pub struct SlabGuard<'p> {
    pool: &'p sharded_slab::Pool<Vec<u8>>,
    slot: sharded_slab::pool::RefMut<'p, Vec<u8>>,
}

pub struct SlabKey<'p> {
    pool: &'p sharded_slab::Pool<Vec<u8>>,
    key: usize,
}

impl Sink for SlabGuard<'_> {
    #[inline(always)]
    fn extend(&mut self, bytes: &[u8]) {
        self.slot.extend_from_slice(bytes);
    }
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        &self.slot
    }
    encode_into!(|sink| &mut *sink.slot);
}

impl Sealed for SlabKey<'_> {
    #[inline(always)]
    fn read<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        read(&self.pool.get(self.key).expect("a key is cleared once, when it is dropped"))
    }
}

impl Drop for SlabKey<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.pool.clear(self.key);
    }
}

impl Contender for ShardedSlab {
    const NAME: &'static str = "sharded-slab";
    const ROLE: Role = Role::Peer;
    type Worker<'p> = &'p sharded_slab::Pool<Vec<u8>>;
    type Guard<'p, 'w>
        = SlabGuard<'p>
    where
        'p: 'w;
    type Held<'p> = SlabKey<'p>;

    fn fresh(_: usize) -> ShardedSlab {
        ShardedSlab(sharded_slab::Pool::new())
    }
    fn worker(&self) -> Self::Worker<'_> {
        &self.0
    }
    #[inline(always)]
    fn take<'p, 'w>(worker: &'w mut Self::Worker<'p>, size: Option<usize>) -> SlabGuard<'p>
    where
        'p: 'w,
    {
        let pool: &'p sharded_slab::Pool<Vec<u8>> = worker;
        let mut slot = pool.create().expect("fewer buffers than slots");
        make_room(&mut slot, size);
        SlabGuard { pool, slot }
    }
    #[inline(always)]
    fn seal<'p, 'w>(guard: SlabGuard<'p>) -> SlabKey<'p>
    where
        'p: 'w,
    {
        SlabKey { pool: guard.pool, key: guard.slot.key() }
    }
    #[inline(always)]
    fn pair_in_place(worker: &mut Self::Worker<'_>, size: usize) {
        // The end of its guard alone would leave the slot taken.
        Self::pair(worker, size);
    }
    fn idle_bytes(&self) -> usize {
        // Slots that were never used come first from some shards, so a run of empty ones is not yet the end.
        let held: Vec<_> = (0..4096).filter_map(|_| self.0.create()).collect();
        held.iter().map(|slot| slot.capacity()).sum()
    }
}

/// `bytes`: one `BytesMut` per thread, split and frozen; its memory is reclaimed once no part of it is in flight.
pub struct SplitFreeze;

impl Sink for &mut BytesMut {
    #[inline(always)]
    fn extend(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self
    }
    encode_into!(|sink| &mut **sink);
}

impl Sealed for Bytes {
    #[inline(always)]
    fn read<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        read(self)
    }
}

impl Contender for SplitFreeze {
    const NAME: &'static str = "bytes";
    const ROLE: Role = Role::Peer;
    type Worker<'p> = BytesMut;
    type Guard<'p, 'w>
        = &'w mut BytesMut
    where
        'p: 'w;
    type Held<'p> = Bytes;

    fn fresh(_: usize) -> SplitFreeze {
        SplitFreeze
    }
    fn worker(&self) -> BytesMut {
        BytesMut::new()
    }
    #[inline(always)]
    fn take<'p, 'w>(worker: &'w mut BytesMut, size: Option<usize>) -> &'w mut BytesMut
    where
        'p: 'w,
    {
        if let Some(size) = size {
            worker.reserve(size);
        }
        worker
    }
    #[inline(always)]
    fn seal<'p, 'w>(guard: &'w mut BytesMut) -> Bytes
    where
        'p: 'w,
    {
        guard.split().freeze()
    }
    fn idle_bytes(&self) -> usize {
        0
    }
    fn kept_bytes(worker: &Self::Worker<'_>) -> usize {
        worker.capacity()
    }
}

// ---- Controls.

/// A new `Vec` that is turned into `Bytes`: what one does without a pool.
pub struct VecIntoBytes;

impl Contender for VecIntoBytes {
    const NAME: &'static str = "Vec into Bytes";
    const ROLE: Role = Role::Control;
    type Worker<'p> = ();
    type Guard<'p, 'w>
        = Vec<u8>
    where
        'p: 'w;
    type Held<'p> = Bytes;

    fn fresh(_: usize) -> VecIntoBytes {
        VecIntoBytes
    }
    fn worker(&self) {}
    #[inline(always)]
    fn take<'p, 'w>(_: &'w mut (), size: Option<usize>) -> Vec<u8>
    where
        'p: 'w,
    {
        Vec::with_capacity(size.unwrap_or(0))
    }
    #[inline(always)]
    fn seal<'p, 'w>(guard: Vec<u8>) -> Bytes
    where
        'p: 'w,
    {
        Bytes::from(guard)
    }
    fn idle_bytes(&self) -> usize {
        0
    }
}

/// The allocator: a new `Vec` that grows as it is written.
pub struct VecNew;
/// The allocator with the size known: a new `Vec` of the right capacity.
pub struct VecWithCapacity;
/// A scratch `Vec` in a `thread_local!`, borrowed for a message; nothing outlives the borrow.
pub struct Scratch;
/// One `Vec`, cleared and used again by hand: the limit of what any pool can do on one thread.
pub struct Reused;

macro_rules! fresh_vec {
    ($name:ident, $label:literal, |$size:ident| $make:expr) => {
        impl Contender for $name {
            const NAME: &'static str = $label;
            const ROLE: Role = Role::Control;
            type Worker<'p> = ();
            type Guard<'p, 'w>
                = Vec<u8>
            where
                'p: 'w;
            type Held<'p> = Vec<u8>;

            fn fresh(_: usize) -> $name {
                $name
            }
            fn worker(&self) {}
            #[inline(always)]
            fn take<'p, 'w>(_: &'w mut (), $size: Option<usize>) -> Vec<u8>
            where
                'p: 'w,
            {
                $make
            }
            #[inline(always)]
            fn seal<'p, 'w>(guard: Vec<u8>) -> Vec<u8>
            where
                'p: 'w,
            {
                guard
            }
            fn idle_bytes(&self) -> usize {
                0
            }
        }
    };
}

fresh_vec!(VecNew, "Vec::new", |_size| Vec::new());
fresh_vec!(VecWithCapacity, "Vec::with_capacity", |size| Vec::with_capacity(size.unwrap_or(0)));

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Contender for Scratch {
    const NAME: &'static str = "thread_local Vec";
    const ROLE: Role = Role::Control;
    const HOLDS_MANY: bool = false;
    type Worker<'p> = ();
    type Guard<'p, 'w>
        = RefMut<'w, Vec<u8>>
    where
        'p: 'w;
    type Held<'p> = ();

    fn fresh(_: usize) -> Scratch {
        SCRATCH.replace(Vec::new());
        Scratch
    }
    fn worker(&self) {}
    #[inline(always)]
    fn take<'p, 'w>(_: &'w mut (), size: Option<usize>) -> RefMut<'w, Vec<u8>>
    where
        'p: 'w,
    {
        // SAFETY: the guard must not outlive the thread's locals. It borrows the worker, and every worker is a local
        // of the function that a row runs on one thread, long before that thread's destructors.
        let cell: &'w RefCell<Vec<u8>> = SCRATCH.with(|cell| unsafe { &*std::ptr::from_ref(cell) });
        let mut guard = cell.borrow_mut();
        guard.clear();
        make_room(&mut guard, size);
        guard
    }
    #[inline(always)]
    fn seal<'p, 'w>(guard: RefMut<'w, Vec<u8>>)
    where
        'p: 'w,
    {
        drop(guard);
    }
    fn idle_bytes(&self) -> usize {
        SCRATCH.with_borrow(Vec::capacity)
    }
}

impl Sink for &mut Vec<u8> {
    #[inline(always)]
    fn extend(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self
    }
    encode_into!(|sink| &mut **sink);
}

impl Contender for Reused {
    const NAME: &'static str = "one reused Vec";
    const ROLE: Role = Role::Control;
    const HOLDS_MANY: bool = false;
    type Worker<'p> = Vec<u8>;
    type Guard<'p, 'w>
        = &'w mut Vec<u8>
    where
        'p: 'w;
    type Held<'p> = ();

    fn fresh(_: usize) -> Reused {
        Reused
    }
    fn worker(&self) -> Vec<u8> {
        Vec::new()
    }
    #[inline(always)]
    fn take<'p, 'w>(worker: &'w mut Vec<u8>, size: Option<usize>) -> &'w mut Vec<u8>
    where
        'p: 'w,
    {
        worker.clear();
        make_room(worker, size);
        worker
    }
    #[inline(always)]
    fn seal<'p, 'w>(_: &'w mut Vec<u8>)
    where
        'p: 'w,
    {
    }
    fn idle_bytes(&self) -> usize {
        0
    }
    fn kept_bytes(worker: &Self::Worker<'_>) -> usize {
        worker.capacity()
    }
}
