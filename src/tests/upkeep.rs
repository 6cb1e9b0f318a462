//! What passes from thread to thread, and what operations do beside their own work: calls of ended threads, leases, the
//! clock. The clock is driven by hand.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::class::size_of_class;
use crate::learn::calibrator::Calibrator;
use crate::learn::counters::Counters;
use crate::pool::bound_stats;
use crate::storage::{Zeroed, end_thread};
use crate::{CLASSES, MIN_CLASS_SIZE, Pool, Registry, Stats};

const INTERVAL: Duration = Duration::from_secs(1);

fn pool() -> Arc<Pool> {
    let builder = Pool::builder().trim_interval(INTERVAL).calibrate_calls_threshold(u64::MAX).calibrate_early(false);
    Arc::new(builder.build())
}

/// Runs `body` on a thread that has ended when this returns.
fn on_a_thread<T: Send + 'static>(pool: &Arc<Pool>, body: impl FnOnce(&Arc<Pool>) -> T + Send + 'static) -> T {
    let pool = Arc::clone(pool);
    thread::spawn(move || body(&pool)).join().expect("no panic")
}

fn use_times(pool: &Pool, uses: u64) {
    (0..uses).for_each(|_| drop(pool.get_with_capacity(MIN_CLASS_SIZE)));
}

/// A thread merges its calls in batches, here of ten; those that it has not merged when it ends are merged then, so that
/// the calibration comes at exactly the call that is due.
#[test]
fn calls_of_ended_threads_bring_the_calibration_at_its_exact_call() {
    const THRESHOLD: u64 = 1280;
    // Also where nothing is cached, and so nothing but its own beginning makes a thread look.
    for retained_bytes_max in [64 << 20, 0] {
        let builder = Pool::builder().calibrate_calls_threshold(THRESHOLD).retained_bytes_max(retained_bytes_max);
        let pool = Arc::new(builder.build());
        for _ in 0..THRESHOLD / 8 {
            on_a_thread(&pool, |pool| use_times(pool, 8));
        }
        assert_eq!(pool.stats().calibrations, 0);
        on_a_thread(&pool, |pool| use_times(pool, 1));
        assert_eq!(pool.stats().calibrations, 1);
    }
}

/// A guard that outlives its thread's own data counts like any other.
#[test]
fn calls_after_a_thread_s_end_bring_the_calibration_at_its_exact_call() {
    const THRESHOLD: u64 = 200;
    let pool = Arc::new(Pool::builder().calibrate_calls_threshold(THRESHOLD).build());
    let calibrations = on_a_thread(&pool, |pool| {
        end_thread();
        use_times(pool, THRESHOLD);
        let before = pool.stats().calibrations;
        use_times(pool, 1);
        (before, pool.stats().calibrations)
    });
    assert_eq!(calibrations, (0, 1));
}

/// When a thread has to merge next is its own affair, and not that of the next thread with its index.
#[test]
fn a_thread_merges_when_it_is_due_whatever_the_last_one_of_its_index_was_allowed() {
    const THRESHOLD: u64 = 1280;
    let pool = Arc::new(Pool::builder().calibrate_calls_threshold(THRESHOLD).build());
    // The first has nine calls left until it would merge; it has the lower index, which the next thread gets.
    on_a_thread(&pool, |pool| {
        use_times(pool, 1);
        on_a_thread(pool, |pool| use_times(pool, 8));
    });
    use_times(&pool, 1270);
    assert_eq!(pool.stats().calibrations, 0);
    on_a_thread(&pool, |pool| use_times(pool, 2));
    assert_eq!(pool.stats().calibrations, 1, "call {} was the last of them", THRESHOLD + 1);
}

/// Or the count would go past the threshold too early, and a thread would look for a window that is not there.
#[test]
fn calls_that_a_calibration_took_before_they_were_merged_are_not_merged() {
    let counters = Counters::boxed();
    (0..3).for_each(|_| counters.count(MIN_CLASS_SIZE, false));
    assert_eq!(counters.take(0, false), 3);
    (0..2).for_each(|_| counters.count(MIN_CLASS_SIZE, false));
    assert_eq!((counters.merge(0), counters.merge(0)), (2, 0));
}

/// Calls that are merged while a calibration takes them are counted twice. Who then looks for a window, and finds none,
/// sets the count right, or every use after that would look.
#[test]
fn a_count_that_is_too_high_is_set_right_by_the_first_look() {
    const THRESHOLD: u64 = 1280;
    let (calibrator, counters) = (Calibrator::new(THRESHOLD), Counters::boxed());
    let merge_in = calibrator.merge_in();
    (0..5).for_each(|_| counters.count(MIN_CLASS_SIZE, false));
    calibrator.add(0, THRESHOLD + 1);
    assert!(calibrator.merge_in() == 1 && merge_in > 1);
    assert!(calibrator.take_window([&*counters].into_iter(), false, |_| ()).is_none());
    assert_eq!((calibrator.add(0, 0), calibrator.merge_in()), (5, merge_in));
    // A window that is full to the last call is not past the threshold.
    (5..THRESHOLD).for_each(|_| counters.count(MIN_CLASS_SIZE, false));
    assert!(calibrator.take_window([&*counters].into_iter(), false, |_| ()).is_none());
    counters.count(MIN_CLASS_SIZE, false);
    assert!(calibrator.take_window([&*counters].into_iter(), false, |_| ()).is_some());
}

/// Large buffers, free for all, that nobody needs any more.
fn burst(pool: &Pool) {
    drop([(); 40].map(|()| pool.get_with_capacity(100_000)));
    assert_eq!(large_bytes(pool), 40 << 17);
}

fn large_bytes(pool: &Pool) -> usize {
    pool.stats().classes.iter().filter(|row| row.size > 1 << 16).map(|row| row.size * row.retained as usize).sum()
}

/// Whatever is slow anyway looks at the clock, also where no use ends.
#[test]
fn a_calibration_lets_an_interval_pass() {
    let pool = pool();
    burst(&pool);
    for _ in 0..3 {
        pool.advance_clock(INTERVAL);
        pool.calibrate();
    }
    assert_eq!(large_bytes(&pool), 0);
}

#[test]
fn a_get_of_what_the_depot_has_lets_an_interval_pass() {
    let pool = pool();
    let mut held = Vec::new();
    assert_eq!(pool.prefill(1000, 300), 300);
    burst(&pool);
    while held.len() < 100 {
        pool.advance_clock(INTERVAL / 8);
        held.push(pool.get_with_capacity(1000));
    }
    assert_eq!(large_bytes(&pool), 0, "12 intervals have passed");
}

#[test]
fn the_first_operation_of_a_thread_lets_an_interval_pass() {
    let pool = pool();
    burst(&pool);
    let _held: Vec<_> = (0..3)
        .map(|_| {
            pool.advance_clock(INTERVAL);
            on_a_thread(&pool, |pool| pool.get_owned())
        })
        .collect();
    assert_eq!(large_bytes(&pool), 0);
}

/// A thread that purges keeps no part of the budget to itself.
#[test]
fn a_purge_gives_up_the_leases_of_its_thread() {
    let pool = Arc::new(Pool::builder().retained_bytes_max(64 << 10).build());
    drop(pool.get());
    pool.purge();
    assert_eq!(on_a_thread(&pool, |pool| pool.prefill(MIN_CLASS_SIZE, 1 << 10)), 1 << 10, "all of the budget is free");
}

/// Of the slots that it leased, the filled ones are the buffers that it hands back; for the others nothing stays charged.
#[test]
fn a_thread_that_flushes_or_ends_gives_up_what_it_leased() {
    const SLOTS: usize = 1 << 14;
    let pool = || Arc::new(Pool::builder().retained_bytes_max(SLOTS * MIN_CLASS_SIZE).build());
    let flushed = pool();
    drop(flushed.get());
    flushed.flush_thread();
    assert_eq!(on_a_thread(&flushed, |pool| pool.prefill(MIN_CLASS_SIZE, SLOTS)), SLOTS - 1);
    let ended = pool();
    // Or this thread would get the other's index, and its leases with it.
    assert_eq!(ended.prefill(MIN_CLASS_SIZE, 1), 1);
    on_a_thread(&ended, |pool| drop([(); 2].map(|()| pool.get())));
    assert!(ended.leased_bytes().iter().all(|&bytes| bytes == 0));
    assert_eq!(ended.prefill(MIN_CLASS_SIZE, SLOTS), SLOTS - 2);
}

/// A budget that is charged for empty slots and places is not used up.
#[test]
fn who_is_refused_first_gives_up_what_is_charged_for_nothing() {
    const CLASS_SIZE: usize = 64 << 10;
    let pool = Arc::new(Pool::builder().retained_bytes_max(4 * CLASS_SIZE).build());
    // A lease of several slots, one of them filled.
    drop(pool.get());
    let small = pool.prefill(MIN_CLASS_SIZE, usize::MAX);
    assert_eq!(small + 1, 4 * CLASS_SIZE / MIN_CLASS_SIZE);
    pool.purge();
    // A place that is charged and empty, refused to a thread that did not empty it.
    for buffers in [1, 4] {
        let pool = Arc::new(Pool::builder().retained_bytes_max(buffers * CLASS_SIZE).build());
        drop(pool.get_with_capacity(CLASS_SIZE));
        let taken = pool.get_with_capacity(CLASS_SIZE).into_vec();
        assert_eq!(on_a_thread(&pool, |pool| pool.prefill(CLASS_SIZE, 5)), buffers);
        drop(taken);
    }
}

/// What cannot be cached anyway takes nothing from others.
#[test]
fn who_is_refused_more_than_the_whole_budget_gives_up_nothing() {
    const BUDGET: usize = 1 << 20;
    let pool = Pool::builder().retained_bytes_max(BUDGET).build();
    drop(pool.get());
    let leased = pool.leased_bytes();
    drop(pool.get_with_capacity(2 * BUDGET));
    assert_eq!((pool.stats().dropped.over_budget, pool.leased_bytes()), (1, leased));
}

/// A pool cannot give up a charge in another pool. So under a common budget what is in use must not stay charged, whichever
/// thread had returned it.
#[test]
fn a_large_buffer_in_use_leaves_the_common_budget_to_the_other_pools() {
    const SIZE: usize = 1 << 20;
    let registry = Registry::with_budget(SIZE);
    let [one, other] =
        ["one", "other"].map(|name| registry.get_or_create(name, Pool::builder()).expect("a good builder"));
    let give_back: [fn(&Arc<Pool>); 2] = [
        |pool| drop(pool.get_owned_with_capacity(SIZE)),
        |pool| on_a_thread(pool, |pool| drop(pool.get_owned_with_capacity(SIZE))),
    ];
    for (round, give_back) in (1..).zip(give_back) {
        give_back(&one);
        let in_use = one.get_owned_with_capacity(SIZE);
        assert_eq!(one.stats().hits, round, "it came from its place");
        drop(other.get_owned_with_capacity(SIZE));
        assert_eq!((one.stats().retained_bytes, other.stats().retained_bytes), (0, SIZE));
        drop(in_use);
        registry.purge();
    }
}

/// A place stays charged while its buffer is in use. If that does not come back, the charge need not wait for somebody
/// whom the budget refuses.
#[test]
fn a_trim_or_a_purge_gives_up_the_charges_of_empty_places() {
    const SIZE: usize = 1 << 20;
    let passes: [fn(&Pool) -> usize; 2] = [Pool::trim, Pool::purge];
    for pass in passes {
        let pool = pool();
        drop(pool.get_with_capacity(SIZE));
        let detached = pool.get_with_capacity(SIZE).into_vec();
        assert_eq!(pool.charged_bytes(), SIZE);
        assert_eq!((pass(&pool), pool.charged_bytes()), (0, 0));
        drop(detached);
    }
}

/// A batch of which a trim frees a part: that part of its charge is free again, and no more.
#[test]
fn a_trim_releases_what_it_frees_of_a_batch() {
    let pool = Arc::new(Pool::builder().retained_bytes_max(4 << 16).trim_interval(Duration::MAX).build());
    assert_eq!((pool.prefill(1 << 16, 1), pool.trim()), (1, 0));
    // A batch of two, which comes out first, where one buffer was not needed.
    assert_eq!((pool.prefill(1 << 16, 2), pool.trim()), (2, 1 << 16));
    assert_eq!(pool.stats().retained_buffers, 2);
    assert_eq!(pool.prefill(1 << 16, 10), 2);
}

/// However the batches lie: as many as were not needed, whole ones first and a part of the next.
#[test]
fn a_trim_frees_as_many_as_were_not_needed_and_no_more() {
    const SIZE: usize = 1 << 10;
    let pool = Pool::builder().trim_interval(Duration::MAX).build();
    assert_eq!((pool.prefill(SIZE, 20), pool.trim()), (20, 0));
    assert_eq!((pool.prefill(SIZE, 3), pool.trim()), (3, 20 * SIZE));
    let stats = pool.stats();
    assert_eq!((stats.retained_buffers, stats.trimmed, pool.charged_bytes()), (3, 20, 3 * SIZE));
}

/// In the shared part at once, and in a thread's cache when it comes by.
#[test]
fn a_calibration_frees_what_is_above_the_new_max_size() {
    let pool = Arc::new(Pool::builder().trim_interval(Duration::MAX).build());
    let cached = |pool: &Pool| pool.stats().classes.map(|row| row.retained);
    use_times(&pool, 99);
    drop(pool.get_with_capacity(1000));
    assert_eq!(pool.prefill(100_000, 3), 3);
    on_a_thread(&pool, |pool| pool.calibrate());
    assert_eq!(pool.max_size(), MIN_CLASS_SIZE);
    let mut expected = [0; CLASSES];
    (expected[0], expected[4]) = (1, 1);
    assert_eq!(cached(&pool), expected, "this thread has not come by");
    drop(pool.get());
    expected[4] = 0;
    assert_eq!(cached(&pool), expected);
}

/// What its owner has not needed for two intervals is freed and not handed on.
#[test]
fn a_flush_frees_what_has_become_unused() {
    let pool = pool();
    drop(pool.get());
    on_a_thread(&pool, |pool| (pool.trim(), pool.trim()));
    assert_eq!(pool.stats().retained_buffers, 1, "out of the other thread's reach");
    pool.flush_thread();
    assert_eq!(pool.stats().retained_buffers, 0);
}

/// A buffer that moves while it is counted may be counted at both ends; the figure stays within the budget.
#[test]
fn what_is_counted_twice_is_not_reported() {
    let mut stats = Stats::default();
    for (class, row) in stats.classes.iter_mut().enumerate() {
        row.size = size_of_class(class);
    }
    stats.classes[0].retained = 10;
    stats.classes[4].retained = 3;
    for (bytes_max, bytes, buffers) in [(10_000, 3712, 13), (3712, 3712, 13), (3711, 2688, 12), (100, 64, 1), (0, 0, 0)]
    {
        let mut bound = stats.clone();
        bound_stats(&mut bound, bytes_max);
        assert_eq!((bound.retained_bytes, bound.retained_buffers), (bytes, buffers), "of {bytes_max} bytes");
    }
}
