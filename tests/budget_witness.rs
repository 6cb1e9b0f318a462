//! The budget at every instant, by a witness that can fail.
//!
//! `Stats::retained_bytes` is kept within the budget where a buffer is counted twice, so reading it beside operations
//! proves nothing. The allocator here knows the pool's blocks by their alignment and size, and never may more of them be
//! alive than the budget and the buffers in use come to. One atomic number says how far off that is, so that no two of its
//! parts are read at different times.
#![allow(unsafe_code)]
// Blocks are counted, not buffers that leak-trace has a table of.
#![cfg(not(feature = "leak-trace"))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytebufferpool::{MAX_CLASS_SIZE, Pool, PooledBuf};

#[global_allocator]
static HEAP: Witness = Witness;

struct Witness;

/// Bytes that may yet be allocated: the budget and what is in use, less what is alive.
static LEFT: AtomicI64 = AtomicI64::new(0);
/// The least that was left.
static LEAST: AtomicI64 = AtomicI64::new(0);

thread_local! {
    /// What a thread does before the next block that it frees is free. Constant and without a destructor.
    static BEFORE_FREE: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// The harness has small blocks of such sizes too; the tests use nothing below this.
const LEAST_SIZE: usize = 1024;

fn is_the_pools(size: usize, align: usize) -> bool {
    align == 1 && size.is_power_of_two() && (LEAST_SIZE..=MAX_CLASS_SIZE).contains(&size)
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

/// The tests count in the same places.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs `body` with `budget` bytes left; the least that was left meanwhile.
fn least_left(budget: usize, body: impl FnOnce()) -> i64 {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    LEFT.store(budget as i64, SeqCst);
    LEAST.store(budget as i64, SeqCst);
    body();
    LEAST.load(SeqCst)
}

/// What a get may come to at most: two size classes above the wanted one.
fn most(capacity: usize) -> usize {
    4 * capacity.next_power_of_two()
}

fn get(pool: &Pool, capacity: usize) -> PooledBuf<&Pool> {
    give(most(capacity));
    let buf = pool.get_with_capacity(capacity);
    take(most(capacity) - buf.capacity());
    buf
}

fn grow(buf: &mut PooledBuf<&Pool>) {
    let before = buf.capacity();
    give(most(2 * before));
    buf.reserve(2 * before);
    take(most(2 * before) + before - buf.capacity());
}

fn end(buf: PooledBuf<&Pool>) {
    let capacity = buf.capacity();
    drop(buf);
    take(capacity);
}

fn work(pool: &Pool, seed: u64) {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut held = VecDeque::new();
    for round in 0..200 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // 1 KiB to 256 KiB.
        let mut buf = get(pool, LEAST_SIZE << (random % 9));
        if random % 16 == 0 {
            grow(&mut buf);
        }
        held.push_back(buf);
        while held.len() > (random >> 32) as usize % 6 {
            held.pop_front().into_iter().for_each(end);
        }
        match round % 100 {
            17 => pool.flush_thread(),
            30 => drop(pool.prefill(3000, 20)),
            50 => drop(pool.trim()),
            75 => drop(pool.purge()),
            80 => pool.calibrate(),
            90 => {
                give(8192);
                pool.put(Vec::with_capacity(5000));
                take(8192);
            }
            _ => {}
        }
    }
    held.into_iter().for_each(end);
}

#[test]
fn beside_64_threads_no_more_is_alive_than_the_budget_and_what_is_in_use() {
    const BUDGET: usize = 1 << 20;
    // A window of all classes: the max size stays above what is used here.
    let pool = Pool::builder().retained_bytes_max(BUDGET).max_percentile(1.0).trim_interval(Duration::MAX).build();
    let least = least_left(BUDGET, || {
        for generation in 0..3_u64 {
            let start = Barrier::new(64);
            let live = |worker| {
                start.wait();
                work(&pool, 64 * generation + worker);
            };
            thread::scope(|scope| {
                let workers: Vec<_> = (0..64).map(|worker| scope.spawn(move || live(worker))).collect();
                workers.into_iter().for_each(|worker| worker.join().expect("no panic"));
            });
        }
        let stats = pool.stats();
        assert!(stats.hits > 0 && stats.dropped.over_budget > 0, "the budget was never reached: {stats}");
        assert_eq!(LEFT.load(SeqCst), (BUDGET - stats.retained_bytes) as i64, "at rest both agree: {stats}");
    });
    assert!(least >= 0, "{} bytes above the budget and what is in use", -least);
}

const FULL_BUDGET: usize = 4 << 20;

static FULL: Pool = Pool::builder().retained_bytes_max(FULL_BUDGET).trim_interval(Duration::MAX).build();

/// Before a block is free, another thread takes all that the budget has left.
fn fill_up() {
    let fill = || [64 << 10, LEAST_SIZE].map(|size| FULL.prefill(size, usize::MAX));
    thread::scope(|scope| scope.spawn(fill).join().expect("no panic"));
}

type Named<F> = (&'static str, F);

/// The bytes of a buffer are free again when it is freed, and not before: in a thread's cache, in a place and in the depot.
#[test]
fn a_buffer_is_freed_before_its_bytes_are_released() {
    let prepare: [Named<fn()>; 3] = [
        ("a thread's cache", || end(get(&FULL, LEAST_SIZE))),
        ("a place", || end(get(&FULL, 64 << 10))),
        ("the depot", || assert_eq!(FULL.prefill(64 << 10, 1), 1)),
    ];
    let free: [Named<fn() -> usize>; 2] = [("purge", || FULL.purge()), ("trim", || FULL.trim() + FULL.trim())];
    for (place, prepare) in prepare {
        for (how, free) in free {
            let least = least_left(FULL_BUDGET, || {
                prepare();
                BEFORE_FREE.set(Some(fill_up));
                assert!(free() > 0 && BEFORE_FREE.take().is_none(), "{place}, {how}: nothing was freed");
                FULL.purge();
            });
            assert!(least >= 0, "{place}, {how}: {} bytes above the budget", -least);
            assert!(least < FULL_BUDGET as i64 / 2, "{place}, {how}: the budget was not filled");
        }
    }
}
