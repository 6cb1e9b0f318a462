//! `Pool::spawn_trimmer`: a silent pool gives its memory back, and the thread ends when told.

use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytebufferpool::Pool;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Waits until `done`, at most ten seconds.
#[track_caller]
fn wait_until(done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(10), "not within ten seconds");
        std::thread::sleep(MILLISECOND);
    }
}

#[test]
fn a_silent_pool_is_trimmed() {
    static POOL: Pool = Pool::builder().trim_interval(MILLISECOND).build();
    POOL.prefill(1024, 100);
    drop(POOL.get_with_capacity(1 << 20));
    assert!(POOL.stats().retained_bytes > 1 << 20);
    let trimmer = POOL.spawn_trimmer(MILLISECOND).unwrap();
    assert_eq!(format!("{trimmer:?}"), "Trimmer { .. }");
    wait_until(|| POOL.stats().retained_bytes == 0);
    drop(trimmer);
    POOL.prefill(1024, 100);
    std::thread::sleep(20 * MILLISECOND);
    assert_eq!(POOL.stats().retained_bytes, 100 << 10, "nobody trims any more");
}

#[test]
fn an_owned_pool_is_trimmed_and_not_kept_alive() {
    let pool = Arc::new(Pool::builder().trim_interval(MILLISECOND).build());
    let trimmer = pool.spawn_trimmer_owned(MILLISECOND).unwrap();
    pool.prefill(1024, 100);
    wait_until(|| pool.stats().retained_bytes == 0);
    let weak: Weak<Pool> = Arc::downgrade(&pool);
    drop(pool);
    wait_until(|| weak.strong_count() == 0);
    drop(trimmer);
}

/// However long the interval, and before the pool's first operation.
#[test]
fn the_drop_stops_the_thread_promptly() {
    static POOL: Pool = Pool::new();
    for interval in [Duration::from_secs(3600), Duration::MAX] {
        let began = Instant::now();
        drop(POOL.spawn_trimmer(interval).unwrap());
        assert!(began.elapsed() < Duration::from_secs(2));
    }
    let trimmer = POOL.spawn_trimmer(MILLISECOND).unwrap();
    std::thread::sleep(5 * MILLISECOND);
    drop(trimmer);
}

/// A trimmer that looks more often than the pool's interval does not trim more often.
#[test]
fn the_pools_interval_is_kept() {
    static POOL: Pool = Pool::builder().trim_interval(Duration::from_secs(3600)).build();
    POOL.prefill(1024, 100);
    let trimmer = POOL.spawn_trimmer(MILLISECOND).unwrap();
    std::thread::sleep(30 * MILLISECOND);
    assert_eq!(POOL.stats().retained_bytes, 100 << 10);
    drop(trimmer);
}

#[test]
fn an_interval_of_zero_is_refused() {
    static POOL: Pool = Pool::new();
    assert_eq!(POOL.spawn_trimmer(Duration::ZERO).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}
