//! A global allocator that knows a pool's blocks by their alignment and size: the witness of the budget.
//!
//! `Stats::retained_bytes` is kept within the budget where a buffer is counted twice, so reading it beside operations
//! proves nothing, and that it is within the budget proves nothing at rest either. Here one atomic number says what may
//! yet be allocated: the budget and what is in use, less what is alive. No two parts of it are read at different times.
//!
//! A test that has buffers in use says so by [`begin_use`] and [`end_use`], or gets them by [`get`] and ends them by
//! [`end`]. A binary that includes this file says `#[global_allocator] static HEAP: Witness = Witness;`.
#![allow(unsafe_code)]
#![allow(dead_code, reason = "each binary that includes this file uses its own part of it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytebufferpool::{MAX_CLASS_SIZE, Pool, PooledBuf, Stats};

pub struct Witness;

/// Bytes that may yet be allocated: the budget and what is in use, less what is alive.
static LEFT: AtomicI64 = AtomicI64::new(0);
/// The least that was left.
static LEAST: AtomicI64 = AtomicI64::new(0);

thread_local! {
    /// What a thread does before the next block that it frees is free. Constant and without a destructor.
    static BEFORE_FREE: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// The harness has small blocks of such sizes too.
pub const LEAST_SIZE: usize = 1024;

fn is_the_pools(size: usize, align: usize) -> bool {
    align == 1 && is_counted(size)
}

fn is_counted(size: usize) -> bool {
    size.is_power_of_two() && (LEAST_SIZE..=MAX_CLASS_SIZE).contains(&size)
}

fn take(bytes: usize) {
    let left = LEFT.fetch_sub(bytes as i64, SeqCst) - bytes as i64;
    LEAST.fetch_min(left, SeqCst);
}

fn give(bytes: usize) {
    LEFT.fetch_add(bytes as i64, SeqCst);
}

// SAFETY: every call is passed on to `System`, which keeps `GlobalAlloc`'s promises; what is counted beside allocates
// nothing, and what a test does before a free uses other threads.
unsafe impl GlobalAlloc for Witness {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_the_pools(layout.size(), layout.align()) {
            take(layout.size());
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let is_the_pools = is_the_pools(layout.size(), layout.align());
        if let (true, Some(before)) = (is_the_pools, BEFORE_FREE.take()) {
            before();
        }
        // SAFETY: the caller's promise, passed on; `block` came from `System`, as everything does here.
        unsafe { System.dealloc(block, layout) };
        if is_the_pools {
            give(layout.size());
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if is_the_pools(size, layout.align()) {
            take(size);
        }
        // SAFETY: the caller's promise, passed on; `block` came from `System`, as everything does here.
        let moved = unsafe { System.realloc(block, layout, size) };
        if is_the_pools(layout.size(), layout.align()) {
            give(layout.size());
        }
        moved
    }
}

/// Begins to count with `budget` bytes left. Until the guard ends no other test counts.
pub fn watch(budget: usize) -> MutexGuard<'static, ()> {
    /// The tests count in the same places.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    LEFT.store(budget as i64, SeqCst);
    LEAST.store(budget as i64, SeqCst);
    alone
}

pub fn left() -> i64 {
    LEFT.load(SeqCst)
}

/// The least that was left since `watch`.
pub fn least_left() -> i64 {
    LEAST.load(SeqCst)
}

/// Runs `before` when this thread next frees a block of a pool, and before that is free.
pub fn before_next_free(before: fn()) {
    BEFORE_FREE.set(Some(before));
}

/// Whether that has run.
pub fn has_freed() -> bool {
    BEFORE_FREE.take().is_none()
}

/// A buffer of `capacity` is about to be in use. Before it is got, as that may allocate.
pub fn begin_use(capacity: usize) {
    give(counted(capacity));
}

/// It is not any more. After it was returned, as that may free.
pub fn end_use(capacity: usize) {
    take(counted(capacity));
}

/// A buffer's bytes if it is of a size that is counted.
pub fn counted(capacity: usize) -> usize {
    if is_counted(capacity) { capacity } else { 0 }
}

/// What is cached, in bytes, of the sizes that are counted.
pub fn retained_bytes(stats: &Stats) -> usize {
    stats.classes.iter().map(|class| counted(class.size) * class.retained as usize).sum()
}

/// A buffer of exactly `capacity`, a class's size: nothing of the next two classes may be cached.
pub fn get(pool: &Pool, capacity: usize) -> PooledBuf<&Pool> {
    begin_use(capacity);
    let buf = pool.get_with_capacity(capacity);
    assert_eq!(buf.capacity(), capacity, "a buffer of another class");
    buf
}

/// Grows to exactly `capacity`, as above.
pub fn grow(buf: &mut PooledBuf<&Pool>, capacity: usize) {
    let before = buf.capacity();
    begin_use(capacity);
    buf.reserve(capacity - buf.len());
    assert_eq!(buf.capacity(), capacity, "a buffer of another class");
    end_use(before);
}

pub fn end(buf: PooledBuf<&Pool>) {
    let capacity = buf.capacity();
    drop(buf);
    end_use(capacity);
}
