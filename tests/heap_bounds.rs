//! The pool's own structures are bounded, whatever bursts came and however many threads went.
//!
//! After a burst of 300 000 buffers in each class from 64 B to 2 KiB, a purge and three trims, nothing was retained, but 25 MB
//! of heap (61 MB without thread caches) were still live: the queues that had held the burst, which were never freed. The
//! heap is the whole process's, so the tests of this binary take turns.
// What leak-trace notes of the guards that it samples lies on the heap.
#![cfg(not(feature = "leak-trace"))]

#[path = "support/counting.rs"]
mod counting;

use std::sync::{Barrier, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use bytebufferpool::{Builder, Pool};
use counting::live_bytes;

#[global_allocator]
static HEAP: counting::Counting = counting::Counting;

/// No interval ends by itself.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// Above what the pool had after its first use.
const HEAP_BYTES_MAX: i64 = 128 << 10;

const BURST: usize = 300_000;
const BURST_SIZES: [usize; 6] = [64, 128, 256, 512, 1 << 10, 2 << 10];

static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    // A failed test has ended.
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The threshold is above all uses of a test: a calibration would free the buffers of the larger classes.
fn builder() -> Builder {
    Pool::builder().trim_interval(NEVER).calibrate_calls_threshold(1 << 60).retained_bytes_max(1 << 30)
}

fn first_use(pool: &Pool) {
    drop(pool.get());
    pool.purge();
}

/// What is live above `before` when everything that is cached has been freed.
fn live_when_empty(pool: &Pool, before: i64) -> i64 {
    pool.purge();
    for _ in 0..3 {
        pool.trim();
    }
    assert_eq!(pool.stats().retained_bytes, 0);
    live_bytes() - before
}

#[track_caller]
fn assert_bursts_leave_nothing(pool: &Pool) {
    first_use(pool);
    let before = live_bytes();
    for size in BURST_SIZES {
        let held: Vec<_> = (0..BURST).map(|_| pool.get_with_capacity(size)).collect();
        drop(held);
        let retained = pool.stats().classes.iter().find(|class| class.size == size).expect("a class").retained;
        assert_eq!(retained, BURST as u64, "the burst of {size} B was not kept");
        // So that the classes need not fit the memory of a small machine all at once.
        pool.purge();
    }
    let live = live_when_empty(pool, before);
    assert!(live <= HEAP_BYTES_MAX, "{live} bytes of heap above the first use");
}

#[test]
fn after_bursts_in_six_classes_the_heap_is_what_it_was() {
    let _turn = turn();
    assert_bursts_leave_nothing(&builder().build());
}

#[test]
fn after_bursts_without_thread_caches_the_heap_is_what_it_was() {
    let _turn = turn();
    assert_bursts_leave_nothing(&builder().thread_cache_bytes_max(0).build());
}

/// The same, dropped on another thread, which is where a queue of lines ends.
#[test]
fn after_a_burst_dropped_on_another_thread_the_heap_is_what_it_was() {
    let _turn = turn();
    let pool = builder().build();
    first_use(&pool);
    let before = live_bytes();
    let held: Vec<_> = (0..BURST).map(|_| pool.get_with_capacity(200)).collect();
    thread::scope(|scope| scope.spawn(move || drop(held)).join().expect("no panic"));
    let live = live_when_empty(&pool, before);
    assert!(live <= HEAP_BYTES_MAX, "{live} bytes of heap above the first use");
}

/// While everything is still retained, too, the heap is what is retained and the pool's own constant.
#[test]
fn a_burst_that_is_retained_takes_its_buffers_and_no_more_of_the_heap() {
    let _turn = turn();
    let pool = builder().build();
    first_use(&pool);
    let before = live_bytes();
    let held: Vec<_> = (0..BURST).map(|_| pool.get_with_capacity(64)).collect();
    drop(held);
    let stats = pool.stats();
    assert_eq!(stats.retained_buffers, BURST as u64);
    let own = live_bytes() - before - stats.retained_bytes as i64;
    assert!(own <= HEAP_BYTES_MAX, "{own} bytes of heap beside {} retained", stats.retained_bytes);
}

fn use_several_classes(pool: &Pool) {
    let held: Vec<_> = [64, 1000, 30_000, 100_000].map(|size| pool.get_with_capacity(size)).into();
    drop(held);
}

/// The structures of a thread that ended serve the next one.
#[test]
fn a_thousand_threads_that_come_and_go_leave_no_heap() {
    const THREADS: usize = 1000;
    /// A thread of the test before this one may end meanwhile, and the index that it leaves be taken by one of these, which
    /// then makes another shard of the pool (6 KiB). What each of the threads left would be far more.
    const MARGIN_BYTES: i64 = 48 << 10;
    let _turn = turn();
    let pool = builder().build();
    let go = |threads: usize, at_the_same_time: usize| {
        for _ in 0..threads / at_the_same_time {
            let all_used = Barrier::new(at_the_same_time);
            thread::scope(|scope| {
                let one = || {
                    use_several_classes(&pool);
                    all_used.wait();
                };
                let running: Vec<_> = (0..at_the_same_time).map(|_| scope.spawn(one)).collect();
                // A scope does not wait for thread-local destructors.
                running.into_iter().for_each(|thread| thread.join().expect("no panic"));
            });
        }
        pool.purge();
        assert_eq!(pool.stats().retained_bytes, 0);
    };
    for at_the_same_time in [1, 8] {
        // As many shards as live at the same time, and what a burst of as many buffers needs.
        go(4 * at_the_same_time, at_the_same_time);
        let before = live_bytes();
        go(THREADS, at_the_same_time);
        let grown = live_bytes() - before;
        assert!(grown <= MARGIN_BYTES, "{at_the_same_time} at a time: {grown} bytes of heap after {THREADS} threads");
    }
}
