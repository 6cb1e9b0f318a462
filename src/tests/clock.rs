//! Memory comes back by use, at any rate. The clock is driven by hand: it says what a use takes.

use std::sync::Arc;
use std::time::Duration;

use crate::learn::clock::{LOOK_FIRST, LOOK_MAX};
use crate::{MIN_CLASS_SIZE, Pool};

const INTERVAL: Duration = Duration::from_millis(250);

fn pool() -> Arc<Pool> {
    // Sizes are not learned here, or a burst would be above what the small uses teach.
    Arc::new(Pool::builder().trim_interval(INTERVAL).calibrate_calls_threshold(u64::MAX).calibrate_early(false).build())
}

fn burst(pool: &Pool) {
    let large: Vec<_> = (0..40).map(|_| pool.get_with_capacity(100_000)).collect();
    let small: Vec<_> = (0..500).map(|_| pool.get_with_capacity(1_000)).collect();
    drop((large, small));
    assert!(pool.stats().retained_bytes > 5 << 20);
}

/// Small uses, one every `each`, until `time` has gone by, or `is_over`; the time that went by.
fn use_for(pool: &Pool, each: Duration, time: Duration, is_over: impl Fn(&Pool) -> bool) -> Duration {
    let mut now = Duration::ZERO;
    while now < time && !is_over(pool) {
        pool.advance_clock(each);
        now += each;
        drop(pool.get());
    }
    now
}

/// What a thread that uses buffers of 64 B still needs.
const IN_USE: usize = 2 * MIN_CLASS_SIZE;

/// What has lain unused for two intervals is gone one interval and the uses between two looks later, but for `left` bytes.
fn assert_comes_back(pool: &Pool, left: usize, each: Duration, uses: u64, what: &str) {
    let most = 3 * INTERVAL + each * u32::try_from(uses).expect("a few");
    let took = use_for(pool, each, 4 * most, |pool| pool.stats().retained_bytes <= left);
    assert!(took <= most, "{what}, a use every {each:?}: {took:?} instead of {most:?}");
}

/// Ten uses a second to a hundred thousand. (The first edition looked at the clock when batches were exchanged or sizes
/// calibrated, which hits never do: after this burst nothing was freed at any rate.)
#[test]
fn after_a_burst_memory_comes_back_at_any_rate() {
    for each in [100_000, 10_000, 200, 10].map(Duration::from_micros) {
        let pool = pool();
        burst(&pool);
        assert_comes_back(&pool, IN_USE, each, LOOK_FIRST, "after a burst");
    }
}

/// A thread at full speed allows itself many uses between two looks. A burst takes that back: within four intervals and half
/// a second it is gone.
#[test]
fn a_burst_after_full_speed_comes_back_at_ten_uses_a_second() {
    let pool = pool();
    use_for(&pool, Duration::from_micros(20), Duration::from_secs(10), |_| false);
    burst(&pool);
    let each = Duration::from_millis(100);
    assert!(4 * INTERVAL + Duration::from_millis(500) >= 2 * INTERVAL + each * LOOK_FIRST as u32);
    assert_comes_back(&pool, IN_USE, each, LOOK_FIRST, "after full speed");
}

/// The same of another thread's burst. That thread sleeps afterwards, and keeps its small cache and no more.
#[test]
fn a_sleeper_s_burst_comes_back_by_another_thread_s_uses() {
    let pool = pool();
    use_for(&pool, Duration::from_micros(20), Duration::from_secs(10), |_| false);
    std::thread::scope(|scope| {
        let (wake, sleep) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let sleeper = &pool;
        scope.spawn(move || {
            burst(sleeper);
            tell.send(()).expect("somebody waits");
            sleep.recv().expect_err("nothing is sent");
        });
        told.recv().expect("no panic");
        assert_comes_back(&pool, 128 << 10, Duration::from_millis(100), LOOK_FIRST, "a sleeper's burst");
        drop(wake);
    });
}

/// Nothing came to the shared part, a thread was at full speed and ceases to be: so many uses may be left until it looks.
#[test]
fn what_full_speed_used_itself_comes_back_a_stated_number_of_uses_later() {
    let pool = pool();
    let fast = |pool: &Pool| {
        use_for(pool, Duration::from_micros(20), Duration::from_secs(2), |pool| {
            drop(pool.get_with_capacity(30_000));
            false
        })
    };
    fast(&pool);
    assert!(pool.stats().retained_bytes > 30_000);
    assert_comes_back(&pool, IN_USE, Duration::from_millis(100), LOOK_MAX, "its own cache");
}

/// However long it works, with whatever it needs: what is in use comes by again before two intervals are over.
#[test]
fn what_is_used_stays() {
    let pool = pool();
    let each = Duration::from_millis(1);
    let work = |pool: &Pool| drop([1 << 20, 100_000, 5_000, 64].map(|capacity| pool.get_with_capacity(capacity)));
    work(&pool);
    let allocated = pool.stats().allocated;
    use_for(&pool, each, Duration::from_secs(5), |pool| {
        work(pool);
        false
    });
    let stats = pool.stats();
    assert_eq!((stats.allocated, stats.trimmed), (allocated, 0), "{stats}");
}

/// A use that neither asked for nor held anything counts too.
#[test]
fn empty_uses_drive_the_clock() {
    let pool = pool();
    burst(&pool);
    let before = pool.stats();
    assert_comes_back(&pool, IN_USE, Duration::from_millis(1), LOOK_FIRST, "empty uses");
    let after = pool.stats();
    let calls = |stats: &crate::Stats| stats.classes.iter().map(|class| class.calls).sum::<u64>();
    assert_eq!(calls(&before), calls(&after), "no use of this test has a size");
    assert!(after.gets > before.gets);
}

/// A pool that nobody uses frees nothing, and the first use afterwards lets one interval pass, not as many as have gone by:
/// what the last use before needed may be needed again.
#[test]
fn without_uses_nothing_is_freed() {
    let pool = pool();
    burst(&pool);
    let before = pool.stats().retained_bytes;
    pool.advance_clock(100 * INTERVAL);
    assert_eq!(pool.stats().retained_bytes, before);
    drop(pool.get());
    assert!(pool.stats().retained_bytes > 0);
}
