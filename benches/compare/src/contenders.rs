//! The contenders, each used the way its documentation asks for.
//!
//! One use is `take`, writes through the [`Buffer`], `seal`, and the drop of what `seal` gave: for a pool's guard sealing
//! is nothing, `bytes` splits and freezes there, and a buffer that never leaves its thread ends there. Everything is
//! generic and inlined: no contender pays for an indirection that another does not.

use std::cell::{RefCell, RefMut};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytebufferpool::{Pool, PooledBuf};
use bytes::{Bytes, BytesMut};
use lockfree_object_pool::{LinearObjectPool, LinearOwnedReusable, LinearReusable};
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::workload::{self, Sink};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Ours,
    Peer,
    /// A bound, or what one does without a pool.
    Control,
}

/// What is written into until it is sealed.
pub trait Buffer: Sink {
    fn bytes(&self) -> &[u8];
    /// Through the `BufMut` that the buffer is or holds.
    fn encode(&mut self, message: &impl Message);
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
    type Guard<'p, 'w>: Buffer
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

    /// The capacity of everything that is cached; may take it all out, so it is asked last.
    fn cached_bytes(&self) -> usize {
        0
    }

    /// What a worker itself keeps between two messages.
    fn kept_bytes(_: &Self::Worker<'_>) -> usize {
        0
    }
}

/// A contender: its pool, what a worker, a guard and a held message are, and how each is made. Where no `seal` stands,
/// the guard itself is held. What follows the semicolon takes the place of the trait's defaults.
macro_rules! contender {
    (
        $(#[$doc:meta])*
        $name:ident($($pool:ty)?), $label:literal, $role:ident,
        worker $worker:ty = |$of:pat_param| $make_worker:expr,
        fresh |$size_max:pat_param| $fresh:expr,
        take $guard:ty = |$taker:pat_param, $size:pat_param| $take:expr
        $(, seal $held:ty = |$sealed:pat_param| $seal:expr)?;
        $($more:tt)*
    ) => {
        $(#[$doc])*
        pub struct $name($($pool)?);

        impl Contender for $name {
            const NAME: &'static str = $label;
            const ROLE: Role = Role::$role;
            type Worker<'p> = $worker;
            type Guard<'p, 'w> = $guard where 'p: 'w;
            contender!(held $guard $(, $held)?);

            fn fresh($size_max: usize) -> $name {
                $fresh
            }
            fn worker(&self) -> Self::Worker<'_> {
                let $of = self;
                $make_worker
            }
            #[inline(always)]
            fn take<'p, 'w>($taker: &'w mut Self::Worker<'p>, $size: Option<usize>) -> $guard
            where
                'p: 'w,
            {
                $take
            }
            contender!(seal $guard $(, $held, |$sealed| $seal)?);
            $($more)*
        }
    };
    (held $guard:ty) => {
        type Held<'p> = $guard;
    };
    (held $guard:ty, $held:ty) => {
        type Held<'p> = $held;
    };
    (seal $guard:ty) => {
        contender!(seal $guard, $guard, |guard| guard);
    };
    (seal $guard:ty, $held:ty, |$sealed:pat_param| $seal:expr) => {
        #[inline(always)]
        fn seal<'p, 'w>($sealed: $guard) -> $held
        where
            'p: 'w,
        {
            $seal
        }
    };
}

/// A buffer that is, or dereferences to, something with a `BufMut`; `$target` is that, by mutable reference.
macro_rules! buffer {
    ($([$($generics:tt)*] $guard:ty, |$of:ident| $target:expr;)*) => {$(
        impl<$($generics)*> Buffer for $guard {
            #[inline(always)]
            fn bytes(&self) -> &[u8] {
                self
            }
            #[inline(always)]
            fn encode(&mut self, message: &impl Message) {
                let $of = self;
                message.encode($target).expect("a buffer that grows");
            }
        }
    )*};
}

macro_rules! sink {
    ($([$($generics:tt)*] $guard:ty;)*) => {$(
        impl<$($generics)*> Sink for $guard {
            #[inline(always)]
            fn extend(&mut self, bytes: &[u8]) {
                self.extend_from_slice(bytes);
            }
        }
    )*};
}

macro_rules! sealed {
    ($([$($generics:tt)*] $held:ty;)*) => {$(
        impl<$($generics)*> Sealed for $held {
            #[inline(always)]
            fn read<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
                read(self)
            }
        }
    )*};
}

// Ours and `Vec` are sinks already.
sink!(
    ['p] object_pool::Reusable<'p, Vec<u8>>;
    ['p] opool::RefGuard<'p, Cleared, Vec<u8>>;
    [] poolshark::local::LPooled<Vec<u8>>;
    [] poolshark::global::GPooled<Vec<u8>>;
    ['p] LinearReusable<'p, Vec<u8>>;
    [] LinearOwnedReusable<Vec<u8>>;
    ['p] RefMut<'p, Vec<u8>>;
    [] &mut Vec<u8>;
    [] &mut BytesMut;
);
buffer!(
    [] Vec<u8>, |buffer| buffer;
    [P: AsRef<Pool>] PooledBuf<P>, |buffer| buffer;
    ['p] object_pool::Reusable<'p, Vec<u8>>, |buffer| &mut **buffer;
    ['p] opool::RefGuard<'p, Cleared, Vec<u8>>, |buffer| &mut **buffer;
    [] poolshark::local::LPooled<Vec<u8>>, |buffer| &mut **buffer;
    [] poolshark::global::GPooled<Vec<u8>>, |buffer| &mut **buffer;
    ['p] LinearReusable<'p, Vec<u8>>, |buffer| &mut **buffer;
    [] LinearOwnedReusable<Vec<u8>>, |buffer| &mut **buffer;
    ['p] RefMut<'p, Vec<u8>>, |buffer| &mut **buffer;
    [] &mut Vec<u8>, |buffer| &mut **buffer;
    [] &mut BytesMut, |buffer| &mut **buffer;
);
sealed!(
    [] Vec<u8>;
    [P: AsRef<Pool>] PooledBuf<P>;
    [] Bytes;
    ['p] zeropool::Buf<'p>;
    ['p] object_pool::Reusable<'p, Vec<u8>>;
    ['p] opool::RefGuard<'p, Cleared, Vec<u8>>;
    [] poolshark::local::LPooled<Vec<u8>>;
    [] poolshark::global::GPooled<Vec<u8>>;
    ['p] LinearReusable<'p, Vec<u8>>;
    [] LinearOwnedReusable<Vec<u8>>;
);

/// Of a buffer that ended when it was sealed.
impl Sealed for () {
    #[inline(always)]
    fn read<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        read(&[])
    }
}

/// Makes room in a buffer that came without a size: what a user of a pool of plain `Vec`s writes.
#[inline(always)]
fn with_room(vec: &mut Vec<u8>, size: Option<usize>) -> &mut Vec<u8> {
    if let Some(size) = size {
        vec.reserve(size);
    }
    vec
}

/// The capacities of all cached buffers: takes buffers, holding on to them, until one was never used.
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

// ---- Ours: a way to use the crate is what holds the pool, how a guard is taken, and what it is sealed into.

macro_rules! ours {
    ($(#[$doc:meta])* $name:ident($pool:ty), $label:literal, $($rest:tt)*) => {
        contender!(
            $(#[$doc])*
            $name($pool), $label, Ours,
            worker &'p $pool = |this| &this.0,
            fresh |_| $name(Pool::new().into()),
            $($rest)*;
            fn settle(&self) {
                self.0.calibrate();
            }
            fn cached_bytes(&self) -> usize {
                self.0.stats().retained_bytes
            }
        );
    };
}

ours!(
    /// `get()`, whatever the workload knows of its sizes.
    Ours(Pool), "bytebufferpool", take PooledBuf<&'p Pool> = |worker, _| worker.get()
);
ours!(
    /// `get_with_capacity(n)` where the size is known.
    OursSized(Pool), "bytebufferpool sized", take PooledBuf<&'p Pool> = |worker, size| match size {
        Some(size) => worker.get_with_capacity(size),
        None => worker.get(),
    }
);
ours!(
    /// `get_owned()`, with the size where it is known: the guard keeps the pool alive.
    OursOwned(Arc<Pool>), "bytebufferpool owned", take PooledBuf<Arc<Pool>> = |worker, size| match size {
        Some(size) => worker.get_owned_with_capacity(size),
        None => worker.get_owned(),
    }
);
ours!(
    /// `get_owned().freeze()`: in flight is a `Bytes`, whose last clone returns the buffer.
    OursFrozen(Arc<Pool>), "bytebufferpool", take PooledBuf<Arc<Pool>> = |worker, _| worker.get_owned(),
    seal Bytes = |guard| guard.freeze()
);

/// Not a [`Contender`]: its bytes are in pieces, so it has rows of its own.
pub const OURS_CHUNKED: &str = "bytebufferpool chunked";

impl Ours {
    /// A pool whose plain `get` has learned to give `size` bytes.
    pub fn learned(size: usize) -> Ours {
        Ours(workload::learned(Pool::builder(), size))
    }

    pub fn pool(&self) -> &Pool {
        &self.0
    }
}

impl OursSized {
    pub fn on(pool: Pool) -> OursSized {
        OursSized(pool)
    }
}

// ---- Peers.

/// zeropool. Its thread cache belongs to the pool that the thread used last, so it wants one pool per process: each row
/// makes one, and it is the only one while the row runs. `alloc(0)` is its only empty start.
pub struct Zeropool {
    pool: zeropool::ZeroPool,
    draining: Arc<AtomicBool>,
}

/// zeropool's own allocator, which can be told to give nothing, so that draining sees where the cached buffers end.
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
}

impl Buffer for zeropool::Buf<'_> {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self
    }

    /// It is no `BufMut`; [`Zeropool::encode`] writes into it before it is one of these.
    fn encode(&mut self, message: &impl Message) {
        self.extend(&message.encode_to_vec());
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
    contender!(seal zeropool::Buf<'p>);
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
    fn cached_bytes(&self) -> usize {
        self.draining.store(true, Ordering::Relaxed);
        let classes = (0..8).map(|class| 4096 << (2 * class));
        classes.map(|size| drain(|| Some(self.pool.alloc(size)), zeropool::Buf::capacity)).sum()
    }
}

contender!(
    /// object-pool. It does not clear what comes back.
    ObjectPool(object_pool::Pool<Vec<u8>>), "object-pool", Peer,
    worker &'p object_pool::Pool<Vec<u8>> = |this| &this.0,
    fresh |_| ObjectPool(object_pool::Pool::new(0, Vec::new)),
    take object_pool::Reusable<'p, Vec<u8>> = |worker, size| {
        let mut guard = worker.pull(|| Vec::with_capacity(size.unwrap_or(0)));
        guard.clear();
        guard
    };
    fn cached_bytes(&self) -> usize {
        drain(|| self.0.try_pull(), |guard| guard.capacity())
    }
);

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

/// How many cached buffers a pool with a fixed number of places gets.
const PLACES: usize = 1024;

contender!(
    /// opool, bounded by the largest capacity that the row's messages lead to.
    Opool(Arc<opool::Pool<Cleared, Vec<u8>>>), "opool", Peer,
    worker &'p opool::Pool<Cleared, Vec<u8>> = |this| &this.0,
    fresh |size_max| Opool(opool::Pool::new(PLACES, Cleared { capacity_max: capacity_max(size_max) }).to_rc()),
    take opool::RefGuard<'p, Cleared, Vec<u8>> = |worker, size| {
        let mut guard = worker.get();
        with_room(&mut guard, size);
        guard
    };
    fn cached_bytes(&self) -> usize {
        drain(|| self.0.try_get(), |guard| guard.capacity())
    }
);

contender!(
    /// poolshark's thread-local pool; sizes are set before the first take, as it reads them once per thread.
    PoolsharkLocal(), "poolshark local", Peer,
    worker () = |_| (),
    fresh |size_max| {
        poolshark::local::clear_type::<Vec<u8>>();
        poolshark::local::set_size::<Vec<u8>>(64, capacity_max(size_max));
        PoolsharkLocal()
    },
    take poolshark::local::LPooled<Vec<u8>> = |_, size| {
        let mut guard = poolshark::local::LPooled::<Vec<u8>>::take();
        with_room(&mut guard, size);
        guard
    };
    fn cached_bytes(&self) -> usize {
        drain(|| Some(poolshark::local::LPooled::<Vec<u8>>::take()), |guard| guard.capacity())
    }
);

contender!(
    PoolsharkGlobal(poolshark::global::Pool<Vec<u8>>), "poolshark global", Peer,
    worker &'p poolshark::global::Pool<Vec<u8>> = |this| &this.0,
    fresh |size_max| PoolsharkGlobal(poolshark::global::Pool::new(PLACES, capacity_max(size_max))),
    take poolshark::global::GPooled<Vec<u8>> = |worker, size| {
        let mut guard = worker.take();
        with_room(&mut guard, size);
        guard
    };
    fn cached_bytes(&self) -> usize {
        drain(|| self.0.try_take(), |guard| guard.capacity())
    }
);

fn linear_pool() -> Arc<LinearObjectPool<Vec<u8>>> {
    Arc::new(LinearObjectPool::new(Vec::new, Vec::clear))
}

contender!(
    /// lockfree-object-pool's fastest pool. Borrowed guards stay on their thread.
    Lockfree(Arc<LinearObjectPool<Vec<u8>>>), "lockfree-object-pool", Peer,
    worker &'p LinearObjectPool<Vec<u8>> = |this| &this.0,
    fresh |_| Lockfree(linear_pool()),
    take LinearReusable<'p, Vec<u8>> = |worker, size| {
        let mut guard = worker.pull();
        with_room(&mut guard, size);
        guard
    };
    fn cached_bytes(&self) -> usize {
        drain(|| Some(self.0.pull()), |guard| guard.capacity())
    }
);

contender!(
    /// The same pool; owned guards can be sent.
    LockfreeOwned(Arc<LinearObjectPool<Vec<u8>>>), "lockfree-object-pool", Peer,
    worker &'p Arc<LinearObjectPool<Vec<u8>>> = |this| &this.0,
    fresh |_| LockfreeOwned(linear_pool()),
    take LinearOwnedReusable<Vec<u8>> = |worker, size| {
        let mut guard = worker.pull_owned();
        with_room(&mut guard, size);
        guard
    };
    fn cached_bytes(&self) -> usize {
        drain(|| Some(self.0.pull()), |guard| guard.capacity())
    }
);

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
}

impl Buffer for SlabGuard<'_> {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        &self.slot
    }
    #[inline(always)]
    fn encode(&mut self, message: &impl Message) {
        message.encode(&mut *self.slot).expect("a buffer that grows");
    }
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

contender!(
    /// sharded-slab's pool: what is created is found again by its key, and must be cleared to be reused. In flight is the
    /// key alone, which is also what can be sent.
    ShardedSlab(sharded_slab::Pool<Vec<u8>>), "sharded-slab", Peer,
    worker &'p sharded_slab::Pool<Vec<u8>> = |this| &this.0,
    fresh |_| ShardedSlab(sharded_slab::Pool::new()),
    take SlabGuard<'p> = |worker, size| {
        let pool: &'p sharded_slab::Pool<Vec<u8>> = worker;
        let mut slot = pool.create().expect("fewer buffers than slots");
        with_room(&mut slot, size);
        SlabGuard { pool, slot }
    },
    seal SlabKey<'p> = |guard| SlabKey { pool: guard.pool, key: guard.slot.key() };
    #[inline(always)]
    fn pair_in_place(worker: &mut Self::Worker<'_>, size: usize) {
        // The end of its guard alone would leave the slot taken.
        Self::pair(worker, size);
    }
    fn cached_bytes(&self) -> usize {
        // Slots that were never used come first from some shards, so a run of empty ones is not yet the end.
        let held: Vec<_> = (0..4096).filter_map(|_| self.0.create()).collect();
        held.iter().map(|slot| slot.capacity()).sum()
    }
);

contender!(
    /// `bytes`: one `BytesMut` per thread, split and frozen; its memory is reclaimed once no part of it is in flight.
    SplitFreeze(), "bytes", Peer,
    worker BytesMut = |_| BytesMut::new(),
    fresh |_| SplitFreeze(),
    take &'w mut BytesMut = |worker, size| {
        if let Some(size) = size {
            worker.reserve(size);
        }
        worker
    },
    seal Bytes = |guard| guard.split().freeze();
    fn kept_bytes(worker: &Self::Worker<'_>) -> usize {
        worker.capacity()
    }
);

// ---- Controls.

contender!(
    /// The allocator: a new `Vec` that grows as it is written.
    VecNew(), "Vec::new", Control,
    worker () = |_| (), fresh |_| VecNew(), take Vec<u8> = |_, _| Vec::new();
);
contender!(
    /// The allocator with the size known: a new `Vec` of the right capacity.
    VecWithCapacity(), "Vec::with_capacity", Control,
    worker () = |_| (), fresh |_| VecWithCapacity(),
    take Vec<u8> = |_, size| Vec::with_capacity(size.unwrap_or(0));
);
contender!(
    /// A new `Vec` that is turned into `Bytes`: what one does without a pool.
    VecIntoBytes(), "Vec into Bytes", Control,
    worker () = |_| (), fresh |_| VecIntoBytes(),
    take Vec<u8> = |_, size| Vec::with_capacity(size.unwrap_or(0)), seal Bytes = |guard| Bytes::from(guard);
);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

contender!(
    /// A scratch `Vec` in a `thread_local!`, borrowed for a message; nothing outlives the borrow.
    Scratch(), "thread_local Vec", Control,
    worker () = |_| (),
    fresh |_| {
        SCRATCH.replace(Vec::new());
        Scratch()
    },
    take RefMut<'w, Vec<u8>> = |_, size| {
        // SAFETY: the guard must not outlive the thread's locals. It borrows the worker, and every worker is a local
        // of the function that a row runs on one thread, long before that thread's destructors.
        let cell: &'w RefCell<Vec<u8>> = SCRATCH.with(|cell| unsafe { &*std::ptr::from_ref(cell) });
        let mut guard = cell.borrow_mut();
        guard.clear();
        with_room(&mut guard, size);
        guard
    },
    seal () = |guard| drop(guard);
    const HOLDS_MANY: bool = false;
    fn cached_bytes(&self) -> usize {
        SCRATCH.with_borrow(Vec::capacity)
    }
);

contender!(
    /// One `Vec`, cleared and used again by hand: the limit of what any pool can do on one thread.
    Reused(), "one reused Vec", Control,
    worker Vec<u8> = |_| Vec::new(),
    fresh |_| Reused(),
    take &'w mut Vec<u8> = |worker, size| {
        worker.clear();
        with_room(worker, size)
    },
    seal () = |_| ();
    const HOLDS_MANY: bool = false;
    fn kept_bytes(worker: &Self::Worker<'_>) -> usize {
        worker.capacity()
    }
);
