//! A global allocator that keeps a ledger per thread.
//!
//! Per thread, because then tests that run side by side do not disturb each other's figures, and because counting
//! costs no locked instruction: a comparison of allocating with not allocating stays fair. A thread that works for
//! somebody else returns its own count.
//!
//! A binary that includes this file says `#[global_allocator] static LEDGER: Ledger = Ledger;`.
#![allow(unsafe_code)]
#![allow(dead_code, reason = "each binary that includes this file uses its own part of it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::iter::Sum;
use std::ops::{Add, Sub};

/// The system's allocator, counted.
pub(crate) struct Ledger;

/// What threads asked of the heap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) allocations: u64,
    pub(crate) reallocations: u64,
    pub(crate) frees: u64,
    /// A reallocation allocates its new size and frees its old one.
    pub(crate) allocated_bytes: u64,
    pub(crate) freed_bytes: u64,
}

impl Count {
    /// What the calling thread did since it began.
    pub(crate) fn of_this_thread() -> Count {
        COUNT.get()
    }

    /// What `work` does on the calling thread.
    pub(crate) fn of<T>(work: impl FnOnce() -> T) -> (Count, T) {
        let before = Count::of_this_thread();
        let result = work();
        (Count::of_this_thread() - before, result)
    }

    /// Times the heap handed out memory.
    pub(crate) fn heap_takes(&self) -> u64 {
        self.allocations + self.reallocations
    }

    /// What is still there; below zero for a thread that frees what others allocated.
    pub(crate) fn live_bytes(&self) -> i64 {
        self.allocated_bytes as i64 - self.freed_bytes as i64
    }
}

impl Add for Count {
    type Output = Count;

    fn add(self, other: Count) -> Count {
        Count {
            allocations: self.allocations + other.allocations,
            reallocations: self.reallocations + other.reallocations,
            frees: self.frees + other.frees,
            allocated_bytes: self.allocated_bytes + other.allocated_bytes,
            freed_bytes: self.freed_bytes + other.freed_bytes,
        }
    }
}

impl Sub for Count {
    type Output = Count;

    fn sub(self, earlier: Count) -> Count {
        Count {
            allocations: self.allocations - earlier.allocations,
            reallocations: self.reallocations - earlier.reallocations,
            frees: self.frees - earlier.frees,
            allocated_bytes: self.allocated_bytes - earlier.allocated_bytes,
            freed_bytes: self.freed_bytes - earlier.freed_bytes,
        }
    }
}

impl Sum for Count {
    fn sum<I: Iterator<Item = Count>>(counts: I) -> Count {
        counts.fold(Count::default(), Add::add)
    }
}

// SAFETY: every call is passed on to `System`, which keeps `GlobalAlloc`'s promises; the counting beside it neither
// allocates nor unwinds.
unsafe impl GlobalAlloc for Ledger {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        let pointer = unsafe { System.alloc(layout) };
        record_allocation(pointer, layout.size());
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        record_allocation(pointer, layout.size());
        pointer
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise, passed on; `pointer` came from `System`, as everything does here.
        let moved = unsafe { System.realloc(pointer, layout, size) };
        if !moved.is_null() {
            record(|count| {
                count.reallocations += 1;
                count.allocated_bytes += size as u64;
                count.freed_bytes += layout.size() as u64;
            });
        }
        moved
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on; `pointer` came from `System`, as everything does here.
        unsafe { System.dealloc(pointer, layout) };
        record(|count| {
            count.frees += 1;
            count.freed_bytes += layout.size() as u64;
        });
    }
}

fn record_allocation(pointer: *mut u8, size: usize) {
    if !pointer.is_null() {
        record(|count| {
            count.allocations += 1;
            count.allocated_bytes += size as u64;
        });
    }
}

fn record(change: impl FnOnce(&mut Count)) {
    let mut count = COUNT.get();
    change(&mut count);
    COUNT.set(count);
}

thread_local! {
    // Constant and without a destructor: using it allocates nothing, and a dying thread may still be counted.
    static COUNT: Cell<Count> = const {
        Cell::new(Count { allocations: 0, reallocations: 0, frees: 0, allocated_bytes: 0, freed_bytes: 0 })
    };
}
