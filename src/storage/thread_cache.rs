//! The thread cache: a small stack of cached buffers for each class up to 32 KiB, touched by one thread alone.
//!
//! A stack is four numbers and a run of slots. Both checks of the hot path compare its length with a limit that says
//! two things at once:
//!
//! - `pop` compares with the *low-water mark* instead of zero. What is below the mark was not needed in this trim
//!   interval. A pop that reaches it takes the slow path, which lowers the mark. So the working set (Bonwick 1994) is
//!   known without a write on the hot path, and an empty stack is simply a stack at its mark.
//! - `push` compares with the number of *leased* slots, for which the budget was charged, instead of the capacity. So
//!   the budget holds at every instant, and the hot path does not look at it.
//!
//! See docs/design.md.

use super::idle::IdleBuf;
use super::zeroed::Zeroed;
use crate::class::{class_if_size, rolled, size_of_class};
use crate::storage::Batch;
use crate::sync::{AtomicPtr, AtomicU32, Ordering};

/// The classes that have a stack: 64 B to 32 KiB.
///
/// Nobody else can reach what a sleeping thread has cached, so it must be small enough to forget about.
pub(crate) const SMALL_CLASSES: usize = if cfg!(pool_loom) { 2 } else { 10 };

/// How many slots the stack of a class has: many for small buffers, few for large.
pub(crate) const fn slots_max(class: usize) -> usize {
    let by_bytes = STACK_BYTES_MAX / size_of_class(class);
    if by_bytes > STACK_SLOTS_MAX {
        STACK_SLOTS_MAX
    } else if by_bytes < STACK_SLOTS_MIN {
        STACK_SLOTS_MIN
    } else {
        by_bytes
    }
}

/// With the four numbers a stack is 512 bytes. So a shift finds a class's stack, and its first slots share a cache line
/// with the numbers. Stacks of fitting lengths, behind a table of offsets, took two loads more a get + drop.
const STACK_SLOTS_MAX: usize = if cfg!(pool_loom) { 2 } else { 62 };
const STACK_SLOTS_MIN: usize = if cfg!(pool_loom) { 2 } else { 4 };
const STACK_BYTES_MAX: usize = 64 << 10;

const _: () = assert!(cfg!(pool_loom) || size_of_class(SMALL_CLASSES - 1) == 32 << 10);
const _: () = assert!(size_of_class(SMALL_CLASSES - 1) <= u32::MAX as usize);
const _: () = assert!(cfg!(pool_loom) || size_of::<usize>() != 8 || size_of::<Stack>() == 512);

#[derive(Debug)]
#[cfg_attr(pool_loom, derive(Default))]
pub(super) struct ThreadCache {
    stacks: [Stack; SMALL_CLASSES],
}

// SAFETY: zeros and null pointers in atomics: empty stacks without leases.
unsafe impl Zeroed for ThreadCache {}

/// Written by the owner of the cache alone. The fields are atomic because `stats` of another thread reads lengths, and
/// all Relaxed: a cache changes its owner together with a thread index, under the process-wide lock, which orders them.
/// Model: loom_tests::thread_end::a_shard_passes_to_the_next_thread_of_its_index.
#[derive(Debug)]
#[cfg_attr(pool_loom, derive(Default))]
#[repr(C)]
struct Stack {
    len: AtomicU32,
    /// The least length since the interval began, at most `len`.
    low: AtomicU32,
    /// The slots that the budget was charged for: at least `len`, at most `slots_max`.
    leased: AtomicU32,
    /// The class's size in bytes, from the first lease on. It saves the hot path a shift and a test for powers of two.
    size: AtomicU32,
    slots: [AtomicPtr<u8>; STACK_SLOTS_MAX],
}

// Only the owner of the cache calls the methods that take `&self` and move buffers. Each says so in its contract, and a
// `Local` (see `per_thread`) is the caller's proof.
impl ThreadCache {
    #[inline]
    pub(super) fn len(&self, class: usize) -> usize {
        self.stacks[class].len.load(Ordering::Relaxed) as usize
    }

    #[inline]
    pub(super) fn low(&self, class: usize) -> usize {
        self.stacks[class].low.load(Ordering::Relaxed) as usize
    }

    #[inline]
    pub(super) fn leased(&self, class: usize) -> usize {
        self.stacks[class].leased.load(Ordering::Relaxed) as usize
    }

    /// Sets the number of leased slots. The caller charges or releases them.
    pub(super) fn set_leased(&self, class: usize, leased: usize) {
        assert!(self.len(class) <= leased && leased <= slots_max(class), "a lease covers what lies in a stack");
        self.stacks[class].size.store(size_of_class(class) as u32, Ordering::Relaxed);
        self.stacks[class].leased.store(leased as u32, Ordering::Relaxed);
    }

    /// A new interval begins, in which nothing of what is here was needed yet.
    pub(super) fn begin_interval(&self, class: usize) {
        let stack = &self.stacks[class];
        stack.low.store(stack.len.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Pops the top of the stack if it is above the low-water mark.
    ///
    /// # Safety
    ///
    /// The caller is the owner.
    #[inline]
    pub(super) unsafe fn pop(&self, class: usize) -> Option<Vec<u8>> {
        let stack = self.stacks.get(class)?;
        let len = stack.len.load(Ordering::Relaxed);
        if len > stack.low.load(Ordering::Relaxed) {
            // SAFETY: the caller is the owner, and `len` is above the mark and so above zero.
            Some(unsafe { stack.pop_at(len - 1) })
        } else {
            None
        }
    }

    /// Pops the top of the stack, and lowers the mark if it reaches it.
    ///
    /// # Safety
    ///
    /// The caller is the owner.
    pub(super) unsafe fn pop_below_mark(&self, class: usize) -> Option<Vec<u8>> {
        let stack = &self.stacks[class];
        let top = stack.len.load(Ordering::Relaxed).checked_sub(1)?;
        stack.low.store(stack.low.load(Ordering::Relaxed).min(top), Ordering::Relaxed);
        // SAFETY: the caller is the owner, and the length is above zero.
        Some(unsafe { stack.pop_at(top) })
    }

    /// Pushes the buffer of `vec` on the stack of its class, which its capacity says, and leaves an empty `Vec`.
    /// Returns false if there is no such class or no leased slot is free.
    ///
    /// # Safety
    ///
    /// The caller is the owner.
    #[inline]
    pub(super) unsafe fn push(&self, vec: &mut Vec<u8>) -> bool {
        // std promises only "at least" for a capacity, so the class is found by the capacity, in release builds too.
        let Some(stack) = self.stacks.get(class_if_size(vec.capacity())) else { return false };
        if vec.capacity() != stack.size.load(Ordering::Relaxed) as usize {
            return false;
        }
        let len = stack.len.load(Ordering::Relaxed);
        if len >= stack.leased.load(Ordering::Relaxed) {
            return false;
        }
        // SAFETY: `len` is below the lease, as checked above.
        unsafe { stack.slot(len) }.store(IdleBuf::of(vec).into_ptr(), Ordering::Relaxed);
        stack.len.store(len + 1, Ordering::Relaxed);
        true
    }

    /// Takes the `count` buffers at the bottom, at most a batch. The lease stays, and the mark moves down with the
    /// rest.
    ///
    /// # Safety
    ///
    /// The caller is the owner.
    pub(super) unsafe fn take_cold(&self, class: usize, count: usize) -> Batch {
        let stack = &self.stacks[class];
        let len = stack.len.load(Ordering::Relaxed);
        let count = (count.min(super::BATCH_SLOTS) as u32).min(len);
        let mut batch = Batch::new(class);
        for index in 0..count {
            // SAFETY: `index` is below the length, which is at most the lease.
            let ptr = unsafe { stack.slot(index) }.load(Ordering::Relaxed);
            // SAFETY: as in `pop_at`; the slots above are moved over this one below, before anybody can pop it.
            batch.push_idle(unsafe { IdleBuf::from_ptr(ptr) });
        }
        for index in count..len {
            // SAFETY: both are below the length, which is at most the lease.
            let (from, to) = unsafe { (stack.slot(index), stack.slot(index - count)) };
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        stack.len.store(len - count, Ordering::Relaxed);
        stack.low.store(stack.low.load(Ordering::Relaxed).saturating_sub(count), Ordering::Relaxed);
        batch
    }
}

impl Stack {
    /// # Safety
    ///
    /// The caller is the owner, and the stack's length is `top + 1`.
    #[inline]
    unsafe fn pop_at(&self, top: u32) -> Vec<u8> {
        self.len.store(top, Ordering::Relaxed);
        // SAFETY: a length is at most the lease, and `top` is below a length.
        let ptr = unsafe { self.slot(top) }.load(Ordering::Relaxed);
        let size = self.size.load(Ordering::Relaxed) as usize;
        // SAFETY: `push`, the only writer of slots beside `take_cold`, which moves them within a stack, filled this one
        // when the length was `top`, with an IdleBuf of a capacity of `size`, which does not change once it is set; the
        // length now ends below it, and nobody but the owner moves it, so no second IdleBuf is made from the pointer.
        unsafe { IdleBuf::from_ptr(ptr).into_vec_of(size) }
    }

    /// # Safety
    ///
    /// `index` is below the leased slots.
    #[inline]
    unsafe fn slot(&self, index: u32) -> &AtomicPtr<u8> {
        // SAFETY: `set_leased`, the only writer, keeps a lease within `slots_max`, which is at most the array's length.
        unsafe { self.slots.get_unchecked(index as usize) }
    }
}

impl Drop for ThreadCache {
    fn drop(&mut self) {
        for class in rolled(0..SMALL_CLASSES) {
            // SAFETY: nobody else has the cache any more, so this thread is its owner.
            while let Some(vec) = unsafe { self.pop_below_mark(class) } {
                drop(vec);
            }
        }
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    const CLASS: usize = 3;

    fn buffer() -> Vec<u8> {
        vec![0; size_of_class(CLASS)]
    }

    /// A cache with `count` buffers in a lease of as many slots, and their addresses from the bottom up.
    fn filled(count: usize) -> (Box<ThreadCache>, Vec<*const u8>) {
        let cache = ThreadCache::boxed();
        cache.set_leased(CLASS, count);
        let push = |_| {
            let mut vec = buffer();
            let address = vec.as_ptr();
            // SAFETY: nobody else has the cache.
            assert!(unsafe { cache.push(&mut vec) });
            assert_eq!(vec.capacity(), 0);
            address
        };
        let addresses = (0..count).map(push).collect();
        (cache, addresses)
    }

    fn addresses_of(mut batch: Batch) -> Vec<*const u8> {
        let mut addresses: Vec<_> = std::iter::from_fn(|| batch.pop()).map(|vec| vec.as_ptr()).collect();
        addresses.reverse();
        addresses
    }

    #[test]
    fn a_stack_takes_no_more_than_its_lease_and_only_its_class() {
        let (cache, _) = filled(2);
        let mut vec = buffer();
        // SAFETY: nobody else has the cache.
        unsafe {
            assert!(!cache.push(&mut vec), "the lease is full");
            cache.set_leased(CLASS, 3);
            let mut odd = vec![0; size_of_class(CLASS) + 1];
            assert!(!cache.push(&mut odd) && odd.len() == size_of_class(CLASS) + 1);
            assert!(cache.push(&mut vec));
        }
        assert_eq!(cache.len(CLASS), 3);
    }

    /// 64 KiB of each class, but at most 62 buffers and at least 4.
    #[test]
    fn a_stack_has_many_slots_for_small_buffers_and_few_for_large_ones() {
        assert!((0..SMALL_CLASSES).map(slots_max).eq([62, 62, 62, 62, 62, 32, 16, 8, 4, 4]));
    }

    #[test]
    fn every_slot_of_every_stack_holds_a_buffer() {
        let cache = ThreadCache::boxed();
        for class in 0..SMALL_CLASSES {
            cache.set_leased(class, slots_max(class));
            for _ in 0..slots_max(class) {
                // SAFETY: nobody else has the cache.
                assert!(unsafe { cache.push(&mut vec![1; size_of_class(class)]) });
            }
        }
        for class in rolled(0..SMALL_CLASSES) {
            // SAFETY: nobody else has the cache.
            let mut vec = unsafe { cache.pop(class) }.expect("the stack is full");
            vec.resize(size_of_class(class), 2);
        }
        // The rest is freed with the cache.
    }

    #[test]
    fn pop_stops_at_the_mark_and_pop_below_it_moves_it() {
        let (cache, addresses) = filled(3);
        cache.begin_interval(CLASS);
        // SAFETY: nobody else has the cache.
        unsafe {
            assert!(cache.pop(CLASS).is_none(), "all of it lies below the mark");
            assert_eq!(cache.pop_below_mark(CLASS).map(|vec| vec.as_ptr()), Some(addresses[2]));
            assert_eq!(cache.low(CLASS), 2);
            assert!(cache.push(&mut buffer()));
            assert!(cache.pop(CLASS).is_some() && cache.pop(CLASS).is_none());
            assert!(cache.pop(SMALL_CLASSES).is_none(), "a class that has no stack");
        }
        assert_eq!((cache.len(CLASS), cache.leased(CLASS)), (2, 3));
    }

    #[test]
    fn the_cold_end_leaves_first_and_the_rest_moves_down() {
        let (cache, addresses) = filled(6);
        cache.begin_interval(CLASS);
        // SAFETY: nobody else has the cache.
        unsafe {
            assert_eq!(addresses_of(cache.take_cold(CLASS, 2)), addresses[..2]);
            assert_eq!((cache.len(CLASS), cache.low(CLASS), cache.leased(CLASS)), (4, 4, 6));
            assert_eq!(cache.pop_below_mark(CLASS).map(|vec| vec.as_ptr()), Some(addresses[5]));
            assert_eq!(addresses_of(cache.take_cold(CLASS, 100)), addresses[2..5]);
            assert_eq!(cache.take_cold(CLASS, 1).len(), 0);
            assert!(cache.pop_below_mark(CLASS).is_none());
        }
    }

    #[test]
    #[should_panic(expected = "a lease covers what lies in a stack")]
    fn a_lease_does_not_shrink_below_what_lies_there() {
        filled(2).0.set_leased(CLASS, 1);
    }
}
