//! The witness of the budgets: a global allocator that knows the pools' blocks by size and alignment.
//!
//! `Stats::retained_bytes` is kept within the budget where it is reported, so reading it beside operations proves
//! nothing. Here every block is counted when it is allocated and when it is freed, and what a thread is about to
//! borrow is announced before and corrected after. So `left`, one number per budget, is never below zero while the
//! pools keep to it: budget + in use - alive.
//!
//! A block of a pool has alignment 1 and a power of two of at least 1 KiB as its size; the program has none of its own
//! while it runs. Blocks up to 4 KiB are those of the pool with a budget of its own, larger ones those of the pools
//! with a common budget: the service asks for no other sizes.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};

use bytebufferpool::MAX_CLASS_SIZE;

#[global_allocator]
static HEAP: Witness = Witness;

struct Witness;

/// A budget in bytes, and what its witness counts.
pub struct Budget {
    pub bytes: usize,
    left: AtomicI64,
    least_left: AtomicI64,
    in_use: AtomicU64,
}

pub static OWN: Budget = Budget::new(4 << 20);
pub static COMMON: Budget = Budget::new(48 << 20);

pub const SIZE_MIN: usize = 1 << 10;
/// The largest block of the pool with a budget of its own.
pub const OWN_SIZE_MAX: usize = 4 << 10;

impl Budget {
    const fn new(bytes: usize) -> Budget {
        let left = AtomicI64::new(bytes as i64);
        let least_left = AtomicI64::new(bytes as i64);
        Budget { bytes, left, least_left, in_use: AtomicU64::new(0) }
    }

    /// Begins anew; no pool may have a block.
    pub fn reset(&self) {
        self.left.store(self.bytes as i64, SeqCst);
        self.least_left.store(self.bytes as i64, SeqCst);
        self.in_use.store(0, SeqCst);
    }

    /// Budget + in use - alive. With no operation in flight it is the budget less what is cached.
    pub fn left(&self) -> i64 {
        self.left.load(SeqCst)
    }

    /// The least that was left since the beginning; below zero: the budget was exceeded by so much.
    pub fn least_left(&self) -> i64 {
        self.least_left.load(SeqCst)
    }

    /// Buffers, not bytes.
    pub fn in_use(&self) -> u64 {
        self.in_use.load(SeqCst)
    }

    fn of(size: usize, align: usize) -> Option<&'static Budget> {
        let counts = align == 1 && is_counted(size);
        counts.then_some(if size <= OWN_SIZE_MAX { &OWN } else { &COMMON })
    }

    fn take(&self, bytes: usize) {
        let left = self.left.fetch_sub(bytes as i64, SeqCst) - bytes as i64;
        self.least_left.fetch_min(left, SeqCst);
    }

    fn give(&self, bytes: usize) {
        self.left.fetch_add(bytes as i64, SeqCst);
    }
}

fn is_counted(size: usize) -> bool {
    size.is_power_of_two() && (SIZE_MIN..=MAX_CLASS_SIZE).contains(&size)
}

/// The bytes of a buffer that is borrowed. It must end after the buffer.
pub struct InUse {
    budget: &'static Budget,
    bytes: usize,
}

impl InUse {
    /// Before a get of `capacity` bytes.
    pub fn announce(budget: &'static Budget, capacity: usize) -> InUse {
        budget.in_use.fetch_add(1, SeqCst);
        let bytes = most(capacity);
        budget.give(bytes);
        InUse { budget, bytes }
    }

    /// Before a buffer grows to `capacity` bytes: the old one and the new one are both alive meanwhile.
    pub fn announce_growth(&mut self, capacity: usize) {
        self.budget.give(most(capacity));
        self.bytes += most(capacity);
    }

    /// After a get or a growth, which came to `capacity` bytes.
    pub fn correct(&mut self, capacity: usize) {
        let actual = if is_counted(capacity) { capacity } else { 0 };
        self.budget.take(self.bytes - actual);
        self.bytes = actual;
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.budget.take(self.bytes);
        self.budget.in_use.fetch_sub(1, SeqCst);
    }
}

/// What a get may come to: two size classes above the wanted one.
fn most(capacity: usize) -> usize {
    (4 * capacity.next_power_of_two()).min(MAX_CLASS_SIZE)
}

// SAFETY: every call is passed on to `System`, which keeps `GlobalAlloc`'s promises; what is counted beside allocates
// nothing and does not unwind.
unsafe impl GlobalAlloc for Witness {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(budget) = Budget::of(layout.size(), layout.align()) {
            budget.take(layout.size());
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on; `block` came from `System`, as everything does here.
        unsafe { System.dealloc(block, layout) };
        if let Some(budget) = Budget::of(layout.size(), layout.align()) {
            budget.give(layout.size());
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if let Some(budget) = Budget::of(size, layout.align()) {
            budget.take(size);
        }
        // SAFETY: the caller's promise, passed on; `block` came from `System`, as everything does here.
        let moved = unsafe { System.realloc(block, layout, size) };
        if let Some(budget) = Budget::of(layout.size(), layout.align()) {
            budget.give(layout.size());
        }
        moved
    }
}
