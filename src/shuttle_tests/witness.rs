//! The budget at every instant of a schedule: an allocator that knows the pool's blocks by their alignment and size.
//!
//! It counts what may yet be allocated: the budget and what is in use, less what is alive. Threads of a scenario take
//! turns on one thread of the system, so plain cells hold what really happened. Before a block is freed another thread
//! may run: bytes that were released earlier are given to somebody else meanwhile, and then too much is alive.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use super::stand_ins::scheduling_point;
use super::support::{LARGE, SMALL};

#[global_allocator]
static HEAP: Witness = Witness;

struct Witness;

thread_local! {
    static COUNTS: Cell<bool> = const { Cell::new(false) };
    static LEFT: Cell<i64> = const { Cell::new(0) };
    static LEAST: Cell<i64> = const { Cell::new(0) };
    static MARKS: Cell<u64> = const { Cell::new(0) };
}

/// A schedule begins.
pub(super) fn begin(budget: usize) {
    MARKS.set(0);
    LEFT.set(budget as i64);
    LEAST.set(budget as i64);
    COUNTS.set(true);
}

/// It has ended, and its pools are gone.
pub(super) fn end(budget: usize) {
    COUNTS.set(false);
    assert_eq!(LEFT.get(), budget as i64, "every buffer was freed with its pool");
    assert!(LEAST.get() >= 0, "{} bytes above the budget and what is in use", -LEAST.get());
}

pub(super) fn left() -> i64 {
    LEFT.get()
}

pub(super) fn next_mark() -> u64 {
    MARKS.set(MARKS.get() + 1);
    MARKS.get()
}

/// To be called before a get, which may allocate.
pub(super) fn begin_use(size: usize) {
    LEFT.set(LEFT.get() + size as i64);
}

/// To be called after the buffer is returned.
pub(super) fn end_use(size: usize) {
    take(size);
}

fn take(size: usize) {
    LEFT.set(LEFT.get() - size as i64);
    LEAST.set(LEAST.get().min(LEFT.get()));
}

fn is_the_pools(layout: Layout) -> bool {
    COUNTS.get() && layout.align() == 1 && [SMALL, LARGE].contains(&layout.size())
}

// SAFETY: every call is passed on to `System`, which keeps `GlobalAlloc`'s promises; what comes before allocates nothing
// through this, or is another thread's work.
unsafe impl GlobalAlloc for Witness {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_the_pools(layout) {
            take(layout.size());
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let is_the_pools = is_the_pools(layout);
        if is_the_pools {
            scheduling_point();
        }
        // SAFETY: the caller's promise, passed on; `block` came from `System`, as everything does here.
        unsafe { System.dealloc(block, layout) };
        if is_the_pools {
            LEFT.set(LEFT.get() + layout.size() as i64);
        }
    }
}
