//! What an operation costs, and that it does not depend on what others do: locks taken and places visited, counted.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::storage::{end_thread, tally};
use crate::{Pool, Recording};

/// The process-wide locks that a thread takes which uses `pool` once and ends.
fn locks_of_a_short_thread(pool: &Arc<Pool>) -> u64 {
    let pool = Arc::clone(pool);
    let body = move || {
        let before = tally::locks();
        drop(pool.get());
        end_thread();
        tally::locks() - before
    };
    thread::spawn(body).join().expect("no panic")
}

/// (In the first edition a thread's end visited every registered pool: 27 us with one pool, 5.8 ms with 10 000.)
#[test]
fn a_thread_s_end_visits_the_pools_that_it_used_and_no_others() {
    let pool = Arc::new(Pool::new());
    drop(pool.get());
    let alone = locks_of_a_short_thread(&pool);
    let others: Vec<_> = (0..1_000).map(|_| Arc::new(Pool::new())).collect();
    for others in others.chunks(100) {
        let others = others.to_vec();
        thread::spawn(move || others.iter().for_each(|other| drop(other.get()))).join().expect("no panic");
    }
    assert_eq!(locks_of_a_short_thread(&pool), alone);
    // Its index, its list, the pool's batches, and the index again.
    assert_eq!(alone, 4);
}

/// How many places a get of 1 MiB that finds nothing looks at.
fn places_of_a_miss(pool: &Pool) -> u64 {
    let before = (tally::places(), pool.stats().misses);
    drop(pool.get_with_capacity(1 << 20).into_vec());
    assert_eq!(pool.stats().misses, before.1 + 1);
    tally::places() - before.0
}

/// (In the first edition it looked at ten places of every thread that had ever lived at the same time: 78 ns, and 3 200
/// after 1 000 threads.)
#[test]
fn a_miss_looks_at_a_fixed_number_of_places() {
    let pool = Arc::new(Pool::new());
    drop(pool.get());
    let alone = places_of_a_miss(&pool);
    assert!(alone > 0);
    let threads: Vec<_> = (0..200)
        .map(|_| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || drop(pool.get()))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    assert_eq!(places_of_a_miss(&pool), alone);
}

/// Its place stays charged for its return. So a use above 32 KiB has one locked instruction each way, and none that all
/// threads share.
#[test]
fn a_large_buffer_that_is_taken_and_returned_leaves_the_budget_as_it_is() {
    const SIZE: usize = 1 << 20;
    let pool = Pool::new();
    drop(pool.get_with_capacity(SIZE));
    assert_eq!(pool.charged_bytes(), SIZE);
    let in_use = pool.get_with_capacity(SIZE);
    assert_eq!((pool.stats().hits, pool.charged_bytes()), (1, SIZE));
    drop(in_use);
    assert_eq!(pool.charged_bytes(), SIZE);
}

/// It then takes no lock and does not look at the clock. So until the pool has something to tell it.
#[test]
fn after_its_first_use_a_thread_finds_its_cache_by_its_memo_alone() {
    let pool = Pool::new();
    let is_found = || pool.per_thread.local(pool.per_thread.stamp()).is_some();
    for _ in 0..3 {
        assert!(!is_found());
        drop(pool.get());
        assert!(is_found());
        pool.renew_stamp();
    }
}

/// Who sees a new stamp goes out of line once. So only the first buffer of an interval that comes to the shared part makes
/// other threads look at the clock.
#[test]
fn a_buffer_that_comes_to_the_shared_part_disturbs_other_threads_once_an_interval() {
    let pool = Pool::new();
    let mut held: Vec<_> = (0..6).map(|_| pool.get_with_capacity(1 << 20)).collect();
    for _ in 0..2 {
        pool.trim();
        let renewed = [(); 3].map(|()| {
            let before = pool.per_thread.stamp();
            drop(held.pop());
            pool.per_thread.stamp() != before
        });
        assert_eq!(renewed, [true, false, false]);
    }
}

/// Also in a pool that was recorded once: while it was, each use had gone out of line.
#[test]
fn at_full_speed_one_use_in_64_goes_out_of_line() {
    let sizes = [1, 1000, 32 << 10, 100_000, 32 << 20];
    for (size, was_recorded) in sizes.into_iter().flat_map(|size| [(size, false), (size, true)]) {
        let pool = Pool::builder().calibrate_calls_threshold(u64::MAX).build();
        if was_recorded {
            pool.record(std::io::sink()).and_then(Recording::finish).expect("a writer that never fails");
        }
        let use_times = |uses: u64| {
            for _ in 0..uses {
                pool.advance_clock(Duration::from_micros(1));
                drop(pool.get_with_capacity(size));
            }
        };
        use_times(200);
        let before = tally::slow_steps();
        use_times(640);
        assert_eq!(tally::slow_steps() - before, 10, "{size} bytes, recorded before: {was_recorded}");
    }
}
