//! What a thread and a pool cost does not depend on how many pools are alive, nor on how many threads have been.
//!
//! With 10 000 pools alive, each used once by a thread that had ended, a short thread that used one pool took 5.8 ms instead
//! of 27 µs, as its end visited every pool there was. Times are the business of `cargo bench --bench sleepers`, and the places
//! visited cannot be counted from outside; what can is the heap: a thread and a pool touch it as often among many as alone,
//! and take as much of it. And that nothing is lost among many.
// What leak-trace notes of the guards that it samples lies on the heap.
#![cfg(not(feature = "leak-trace"))]

#[path = "support/counting.rs"]
mod counting;

use std::sync::{Arc, Barrier, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use bytebufferpool::Pool;
use counting::{live_blocks, live_bytes, process_allocations};

#[global_allocator]
static HEAP: counting::Counting = counting::Counting;

/// No interval ends by itself.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// Enough that what is visited one by one is slow; the bench has 10 000.
const POOLS: usize = 4000;

/// The heap's figures are the whole process's.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    // A failed test has ended.
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn pool() -> Pool {
    Pool::builder().trim_interval(NEVER).build()
}

/// Its destructors are over when this returns.
fn on_a_short_thread(work: impl FnOnce() + Send) {
    thread::scope(|scope| scope.spawn(work).join().expect("no panic"));
}

/// Many pools, each used once by a thread that has ended.
fn used_by_ended_threads(count: usize) -> Vec<Pool> {
    let pools: Vec<_> = (0..count).map(|_| pool()).collect();
    // A thread for each hundred: it uses all of these.
    for hundred in pools.chunks(100) {
        on_a_short_thread(|| hundred.iter().for_each(|pool| drop(pool.get())));
    }
    pools
}

/// Allocations of the process while a short thread uses `pool`, which it is not the first to do.
fn allocations_of_a_short_thread(pool: &Pool) -> u64 {
    let use_pool = || {
        for size in [64, 1000, 30_000, 100_000] {
            drop(pool.get_with_capacity(size));
        }
    };
    // The first ones make what stays.
    (0..3).for_each(|_| on_a_short_thread(use_pool));
    let before = process_allocations();
    on_a_short_thread(use_pool);
    process_allocations() - before
}

#[test]
fn a_short_thread_touches_the_heap_as_often_among_thousands_of_pools_as_with_one() {
    let _turn = turn();
    let pool = pool();
    let alone = allocations_of_a_short_thread(&pool);
    let others = used_by_ended_threads(POOLS);
    let among_many = allocations_of_a_short_thread(&pool);
    assert!(among_many <= alone, "{among_many} allocations, {alone} with no other pool");
    drop(others);
    assert!(allocations_of_a_short_thread(&pool) <= alone, "after the others were dropped");
}

/// Registering a thread with a pool, and its end, cost the same for each pool.
#[test]
fn a_thread_that_uses_many_pools_allocates_for_each_the_same() {
    let _turn = turn();
    let pools = used_by_ended_threads(POOLS);
    let allocations = |pools: &[Pool]| {
        let before = process_allocations();
        on_a_short_thread(|| pools.iter().for_each(|pool| drop(pool.get())));
        process_allocations() - before
    };
    let of_100 = allocations(&pools[..100]);
    let of_all = allocations(&pools);
    // A table that grows by doubling is allocated a few times more.
    assert!(of_all <= POOLS as u64 / 100 * of_100 + 32, "{of_all} allocations for {POOLS} pools, {of_100} for 100");
}

/// What is left of a pool, and of a thread that used it, when both have ended.
#[test]
fn pools_that_come_and_go_leave_no_heap() {
    let _turn = turn();
    // A table of the live pools may stay as long as it was; one of this thread too.
    drop(used_by_ended_threads(POOLS));
    let (blocks, bytes) = (live_blocks(), live_bytes());
    for _ in 0..2 {
        let pools = used_by_ended_threads(POOLS);
        pools.iter().for_each(|pool| drop(pool.get()));
        drop(pools);
    }
    let (blocks, bytes) = (live_blocks() - blocks, live_bytes() - bytes);
    assert!(blocks <= 8 && bytes <= 256 << 10, "{blocks} blocks, {bytes} bytes after {} pools", 2 * POOLS);
}

/// A thread's hand-back goes to each of the pools that it used, in whatever order they were used and dropped.
#[test]
fn what_an_ended_thread_used_comes_back_to_each_of_many_pools() {
    let _turn = turn();
    let pools: Vec<_> = (0..1000).map(|_| pool()).collect();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|nth| {
                let pools = &pools;
                // Each begins elsewhere, and uses every pool twice.
                let order = move || (0..2 * pools.len()).map(move |step| &pools[(step * 7 + nth * 125) % pools.len()]);
                scope.spawn(move || order().for_each(|pool| drop(pool.get_with_capacity(1000))))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
    for pool in &pools {
        let stats = pool.stats();
        assert_eq!((stats.gets, stats.puts, stats.outstanding), (16, 16, 0), "{stats}");
        assert_eq!(stats.allocated, stats.retained_buffers, "{stats}");
        // In this thread's reach, all of it: the others have handed it back.
        assert_eq!(pool.purge(), stats.retained_bytes, "{stats}");
    }
}

/// A pool that is dropped goes out of the lists of the threads that used it, which live on.
#[test]
fn pools_dropped_while_threads_that_used_them_live_leave_nothing_in_these() {
    let _turn = turn();
    let cycle = || {
        let mut pools: Vec<_> = (0..500).map(|_| Arc::new(pool())).collect();
        let (all_used, all_dropped) = (Barrier::new(5), Barrier::new(5));
        thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let (theirs, all_used, all_dropped) = (pools.clone(), &all_used, &all_dropped);
                    scope.spawn(move || {
                        theirs.iter().for_each(|pool| drop(pool.get()));
                        drop(theirs);
                        let own = pool();
                        drop(own.get());
                        all_used.wait();
                        all_dropped.wait();
                        (0..10).for_each(|_| drop(own.get()));
                        own.stats().hits
                    })
                })
                .collect();
            all_used.wait();
            let last = pools.iter().all(|pool| Arc::strong_count(pool) == 1);
            pools.clear();
            all_dropped.wait();
            assert!(last, "this thread dropped them");
            threads.into_iter().for_each(|thread| assert_eq!(thread.join().expect("no panic"), 10));
        });
    };
    (0..2).for_each(|_| cycle());
    let bytes = live_bytes();
    (0..4).for_each(|_| cycle());
    let grown = live_bytes() - bytes;
    assert!(grown <= 16 << 10, "{grown} bytes after 2 000 pools");
}
