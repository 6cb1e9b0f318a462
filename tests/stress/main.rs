//! Everything at once, then rest: after it the books balance to the buffer and the byte, twice over.
//!
//! Threads take buffers from several pools, stamp what they write with who wrote it, and check the stamp whenever
//! they read or end a buffer. Buffers travel through channels, as frozen slices, detached and donated again, and in
//! thread-locals of threads that end and are started again. Writers, `Display`s, readers and iterators panic; trim,
//! flush, purge and calibration run all the time; a pool is replaced while its guards live on. Then every thread is
//! joined, and two witnesses must agree: each pool's `stats()`, and the ledger of the global allocator.
//!
//! `BYTEBUFFERPOOL_STRESS_SECONDS` (3) is how long, `BYTEBUFFERPOOL_STRESS_SEED` (decimal or 0x…) which course. Each
//! thread's choices follow from the seed and its name; how the threads interleave does not. A failing thread's name
//! holds the seed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytebufferpool::{DefaultSize, Growth, Pool};

#[path = "../support/identities.rs"]
mod identities;
mod item;
mod random;
#[path = "../support/stress_alloc.rs"]
mod stress_alloc;
mod tally;
mod worker;

use identities::assert_balanced;
use item::Mailbox;
use stress_alloc::{Balance, Ledger};
use tally::Tally;
use worker::Worker;

#[global_allocator]
static LEDGER: Ledger = Ledger;

/// A pool that is never dropped, behind `&'static` guards.
static STATIC_POOL: Pool = Pool::builder().retained_bytes_max(1 << 20).calibrate_calls_threshold(50).build();

const THREADS: usize = 6;
const MAILBOXES: usize = 3;
const ROUND_MAX: Duration = Duration::from_millis(700);

// The only test of this binary: another one beside it would write into its ledger.
#[test]
fn after_any_course_the_books_and_the_heap_balance_to_the_buffer_and_the_byte() {
    let seed = seed_from_environment();
    let end = Instant::now() + seconds_from_environment();
    // This thread's index is taken once per process, before the ledger is first read.
    drop(Pool::new().get());
    wait_for_harness();
    let (tally, mut round) = (Tally::default(), 0);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        run_round(seed, round, left.min(ROUND_MAX), &tally);
        round += 1;
    }
    println!("seed {seed:#x}, {round} rounds\n{tally}");
    assert!(tally.never_happened().is_empty(), "never happened: {:?}", tally.never_happened());
}

/// The harness's main thread, once it has started this one, makes what it needs to wait for it: four blocks of 900 bytes
/// in all, which under ThreadSanitizer came into the sums of the first round. (A test that only slept found the same.)
fn wait_for_harness() {
    loop {
        let before = Balance::now();
        thread::sleep(Duration::from_millis(100));
        if Balance::now() == before {
            return;
        }
    }
}

fn seconds_from_environment() -> Duration {
    let seconds = std::env::var("BYTEBUFFERPOOL_STRESS_SECONDS");
    Duration::from_secs_f64(seconds.map_or(3.0, |text| text.parse().expect("seconds as a number")))
}

fn seed_from_environment() -> u64 {
    let Ok(text) = std::env::var("BYTEBUFFERPOOL_STRESS_SEED") else { return 0x00c0_ffee };
    let seed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    seed.expect("a seed in decimal or 0x…")
}

/// New pools, threads that end and are started again, rest, judgement.
fn run_round(seed: u64, round: u64, duration: Duration, tally: &Tally) {
    let before = Balance::now();
    // Every other round leaves the static pool alone: its fixed parts, once built, stay.
    let world = Arc::new(World::new(round % 2 == 1));
    let end = Instant::now() + duration;
    let mut workers: Vec<Worker> = (0..THREADS).map(|index| Worker::start(&world, seed, round, index)).collect();
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
        for worker in &mut workers {
            worker.restart_if_ended(&world);
        }
    }
    world.stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.join();
    }
    let world = Arc::into_inner(world).expect("every thread was joined");
    tally.add(&world.tally);
    let (with_static, course) = (world.with_static, format!("seed {seed:#x}, round {round}"));
    world.judge(before, &course);
    drop(course);
    let now = Balance::now();
    assert_eq!((now.buffers, now.buffer_bytes), (before.buffers, before.buffer_bytes), "buffers left, round {round}");
    assert!(with_static || now == before, "left behind in round {round}: {now:?}, before it {before:?}");
}

/// What the threads of a round share.
struct World {
    pools: Vec<Named>,
    /// Replaced all the time; the guards of a replaced pool keep it alive.
    replaced: Mutex<Arc<Pool>>,
    /// Some of the replaced pools, for judgement at the end; the others are dropped by whoever held them last.
    retired: Mutex<Vec<Arc<Pool>>>,
    mailboxes: Vec<Mailbox>,
    /// Whether the static pool takes part.
    with_static: bool,
    stop: AtomicBool,
    tally: Tally,
}

#[derive(Clone)]
struct Named {
    name: &'static str,
    pool: Arc<Pool>,
}

impl World {
    fn new(with_static: bool) -> World {
        World {
            pools: pools(),
            replaced: Mutex::new(replaceable_pool()),
            retired: Mutex::new(Vec::new()),
            mailboxes: (0..MAILBOXES).map(|_| Mailbox::new()).collect(),
            with_static,
            stop: AtomicBool::new(false),
            tally: Tally::default(),
        }
    }

    /// Everything is at rest. The two witnesses must agree, and then nothing may be left.
    fn judge(self, before: Balance, course: &str) {
        // What was still under way is checked and comes home here.
        drop(self.mailboxes);
        let replaced = self.retired.into_inner().unwrap().into_iter().chain([self.replaced.into_inner().unwrap()]);
        let replaced = replaced.map(|pool| Named { name: "replaced", pool });
        let pools: Vec<Named> = self.pools.into_iter().chain(replaced).collect();
        let retained: Vec<(u64, usize)> = pools
            .iter()
            .map(|named| judge_pool(named.name, &named.pool, course))
            .chain([judge_pool("static", &STATIC_POOL, course)])
            .collect();
        let now = Balance::now();
        let buffers: u64 = retained.iter().map(|&(buffers, _)| buffers).sum();
        let bytes: usize = retained.iter().map(|&(_, bytes)| bytes).sum();
        let on_heap = (now.buffers - before.buffers, now.buffer_bytes - before.buffer_bytes);
        assert_eq!((buffers as i64, bytes as i64), on_heap, "books and heap disagree; {course}");
        drop(pools);
        STATIC_POOL.purge();
    }
}

/// Returns what the pool says it keeps, in buffers and bytes. It never says more than its budget: that the heap has no
/// more is the caller's comparison.
fn judge_pool(name: &str, pool: &Pool, course: &str) -> (u64, usize) {
    let stats = pool.stats();
    let what = format!("pool '{name}', {course}");
    assert_balanced(&stats, &what);
    assert_eq!(stats.outstanding, 0, "{what}\n{stats}");
    (stats.retained_buffers, stats.retained_bytes)
}

fn pools() -> Vec<Named> {
    let named = |name, pool| Named { name, pool: Arc::new(pool) };
    vec![
        named("default", Pool::new()),
        named("tiny budget", Pool::builder().retained_bytes_max(1000).build()),
        named("no budget", Pool::builder().retained_bytes_max(0).calibrate_calls_threshold(1).build()),
        named(
            "no thread cache",
            Pool::builder()
                .retained_bytes_max(2 << 20)
                .thread_cache_bytes_max(0)
                .calibrate_calls_threshold(500)
                .build(),
        ),
        named(
            "small threshold",
            Pool::builder()
                .retained_bytes_max(8 << 20)
                .calibrate_calls_threshold(30)
                .default_policy(DefaultSize::Percentile(0.9))
                .growth(Growth::MaxSize)
                .trim_interval(Duration::from_millis(3))
                .build(),
        ),
        named(
            "full windows only",
            Pool::builder()
                .retained_bytes_max(300 << 10)
                .calibrate_early(false)
                .max_percentile(0.5)
                .calibrate_calls_threshold(200)
                .thread_cache_bytes_max(4096)
                .trim_interval(Duration::ZERO)
                .build(),
        ),
    ]
}

fn replaceable_pool() -> Arc<Pool> {
    Arc::new(Pool::builder().retained_bytes_max(256 << 10).calibrate_calls_threshold(20).build())
}
