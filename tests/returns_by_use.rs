//! Memory comes back while a pool is in use, at any rate of use and by nobody's call: the one test with real time.
//!
//! The clock was looked at only when a batch was exchanged or the sizes were calibrated, which one thread's hits never do.
//! After a burst, 12 to 50 MiB stayed for 5 to 20 s at 10 to 9 000 uses a second, until somebody called `trim`. Here each
//! rate has a pool and a thread of its own, all at the same time; what is judged is the bytes that are retained when four
//! intervals and half a second are over, not how soon they went.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytebufferpool::Pool;

const INTERVAL: Duration = Duration::from_millis(250);
/// After the burst was dropped. Two intervals must pass unused and a third may be under way; the rest is for a busy machine.
const DEADLINE: Duration = Duration::from_millis(4 * 250 + 500);
/// A thread that sleeps keeps what it has cached in classes up to 32 KiB.
const SLEEPER_BYTES_MAX: usize = 128 << 10;
/// The small buffers that are in use, and a batch or two of their class.
const LEFT_BYTES_MAX: usize = 16 << 10;
/// On a machine that stops for a while: at ten uses a second, 15 fit before the deadline.
const USES_MIN: u64 = 12;

const FAST_FIRST: Duration = Duration::from_secs(2);

#[derive(Clone, Copy)]
enum Pace {
    Every(Duration),
    FullSpeed,
}

/// It never calibrates: that looks at the clock too, and after many small uses the burst would be above the max size.
fn pool() -> Pool {
    Pool::builder().trim_interval(INTERVAL).calibrate_calls_threshold(1 << 60).build()
}

fn burst(pool: &Pool) {
    let large: Vec<_> = (0..40).map(|_| pool.get_with_capacity(100_000)).collect();
    let small: Vec<_> = (0..500).map(|_| pool.get_with_capacity(1000)).collect();
    drop((large, small));
    // 40 of 128 KiB, 500 of 1 KiB.
    assert!(pool.stats().retained_bytes > 5 << 20, "the burst was not kept");
}

/// Small uses, always hits once warm, for as long as `duration` and at least `uses` of them.
fn use_pool(pool: &Pool, pace: Pace, duration: Duration, uses_min: u64) {
    let start = Instant::now();
    let mut uses = 0;
    while start.elapsed() < duration || uses < uses_min {
        match pace {
            Pace::Every(pause) => {
                thread::sleep(pause);
                drop(pool.get_with_capacity(64));
                uses += 1;
            }
            Pace::FullSpeed => {
                (0..64).for_each(|_| drop(pool.get_with_capacity(64)));
                uses += 64;
            }
        }
    }
}

/// What is retained at the deadline. No figure is read before it: reading must not be what passes an interval.
fn retained_at_deadline(pool: &Pool, pace: Pace) -> usize {
    use_pool(pool, pace, DEADLINE, USES_MIN);
    pool.stats().retained_bytes
}

/// Burst and use on the same thread.
fn after_own_burst(pace: Pace) -> usize {
    let pool = pool();
    use_pool(&pool, Pace::FullSpeed, Duration::ZERO, 100);
    burst(&pool);
    retained_at_deadline(&pool, pace)
}

/// At full speed a thread may look at the clock only every so many uses; at ten a second it would take half a minute until
/// it has counted them down.
fn at_ten_a_second_after_full_speed() -> usize {
    let pool = pool();
    use_pool(&pool, Pace::FullSpeed, FAST_FIRST, 1);
    burst(&pool);
    retained_at_deadline(&pool, TEN_A_SECOND)
}

/// The same, with the burst on a thread that sleeps since: its large buffers go by this thread's uses.
fn after_the_burst_of_a_sleeper(fast_first: Duration, pace: Pace) -> usize {
    let pool = pool();
    use_pool(&pool, Pace::FullSpeed, fast_first, 1);
    let (wake, sleep) = mpsc::channel::<()>();
    let (tell, ready) = mpsc::channel();
    thread::scope(|scope| {
        let pool = &pool;
        scope.spawn(move || {
            burst(pool);
            tell.send(()).expect("this test waits");
            // An error: the other end is dropped.
            let _ = sleep.recv();
        });
        ready.recv().expect("no panic");
        let retained = retained_at_deadline(pool, pace);
        drop(wake);
        retained
    })
}

const TEN_A_SECOND: Pace = Pace::Every(Duration::from_millis(100));

#[test]
fn what_a_burst_left_is_freed_by_later_uses_at_any_rate() {
    type Scenario = (&'static str, usize, fn() -> usize);
    let scenarios: [Scenario; 7] = [
        ("a use every 100 ms", LEFT_BYTES_MAX, || after_own_burst(TEN_A_SECOND)),
        ("a use every 10 ms", LEFT_BYTES_MAX, || after_own_burst(Pace::Every(Duration::from_millis(10)))),
        ("a use every 0.2 ms", LEFT_BYTES_MAX, || after_own_burst(Pace::Every(Duration::from_micros(200)))),
        ("full speed", LEFT_BYTES_MAX, || after_own_burst(Pace::FullSpeed)),
        ("a use every 100 ms, after full speed", LEFT_BYTES_MAX, at_ten_a_second_after_full_speed),
        ("a use every 100 ms, the burst was a sleeper's", LEFT_BYTES_MAX + SLEEPER_BYTES_MAX, || {
            after_the_burst_of_a_sleeper(Duration::ZERO, TEN_A_SECOND)
        }),
        ("a use every 100 ms, after full speed, the burst was a sleeper's", LEFT_BYTES_MAX + SLEEPER_BYTES_MAX, || {
            after_the_burst_of_a_sleeper(FAST_FIRST, TEN_A_SECOND)
        }),
    ];
    let kept: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = scenarios.iter().map(|(_, _, scenario)| scope.spawn(scenario)).collect();
        let results = running.into_iter().map(|thread| thread.join().expect("no panic"));
        let kept = scenarios.iter().zip(results).filter(|((_, bytes_max, _), bytes)| bytes > bytes_max);
        kept.map(|((name, _, _), bytes)| format!("{name}: {bytes} bytes")).collect()
    });
    assert!(kept.is_empty(), "not freed within four intervals and half a second: {kept:#?}");
}
