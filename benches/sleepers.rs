//! Do costs depend on what other threads and pools do, or did?
//!
//! `cargo bench --bench sleepers` prints for each row the median of interleaved rounds and its ratio to the first row of its
//! group: a small use while others sleep, a thread's start and end among many pools, a trim while such threads end, a miss
//! after many threads, and a small use that goes through the shared part. Takes some 5 s.
// No criterion: threads must sleep and pools stay alive across the rows of a group, and its rounds are not interleaved.
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use bytebufferpool::Pool;

#[path = "support/sleepers.rs"]
mod support;
use support::{JUDGED, MIB, STACK_BYTES, Sleepers, WithSleepers, fill_cache, use_small};

const ROUNDS: usize = 15;
const OTHER_POOLS: usize = 10_000;

fn pool() -> Pool {
    support::builder().build()
}

/// One contender: a name, and what takes one sample in ns an operation.
struct Row<'a> {
    name: String,
    sample: Box<dyn FnMut() -> f64 + 'a>,
}

fn row<'a>(name: impl Into<String>, sample: impl FnMut() -> f64 + 'a) -> Row<'a> {
    Row { name: name.into(), sample: Box::new(sample) }
}

/// Takes the rows in turn, a sample each, `ROUNDS` times over, and prints their medians.
fn compare(title: &str, rows: Vec<Row<'_>>) {
    compare_rounds(title, ROUNDS, rows);
}

fn compare_rounds(title: &str, rounds: usize, mut rows: Vec<Row<'_>>) {
    let mut samples = vec![Vec::new(); rows.len()];
    for _ in 0..rounds {
        for (row, samples) in rows.iter_mut().zip(&mut samples) {
            samples.push((row.sample)());
        }
    }
    println!("\n{title}");
    let mut first = None;
    for (row, samples) in rows.iter().zip(&mut samples) {
        samples.sort_by(f64::total_cmp);
        let median = samples[samples.len() / 2];
        let ratio = median / *first.get_or_insert(median);
        println!("  {:<52} {median:>12.1} ns {ratio:>8.2}x", row.name);
    }
}

/// ns of one `operation`, of `count`.
fn time(count: u32, mut operation: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..count).for_each(|_| operation());
    start.elapsed().as_nanos() as f64 / f64::from(count)
}

fn small_uses_while_others_sleep() {
    let not_judged: Sleepers = ("400 after filling their caches (not judged)", 400, |pool| {
        fill_cache(pool);
        pool.trim();
        pool.trim();
    });
    let sleepers = JUDGED.into_iter().chain([not_judged]);
    let pools: Vec<_> = sleepers.map(|(name, count, work)| (name, WithSleepers::new(count, work))).collect();
    let rows = pools.iter().map(|(name, with)| {
        row(*name, || {
            let pool = &*with.pool;
            (0..1000).for_each(|_| use_small(pool));
            time(100_000, || use_small(pool))
        })
    });
    compare("get + drop of 64 B while these sleep (<= 1.2x)", rows.collect());
}

/// Each used once by a thread that has ended; a thread for each hundred.
fn used_by_ended_threads(count: usize) -> Vec<Pool> {
    let pools: Vec<_> = (0..count).map(|_| pool()).collect();
    for hundred in pools.chunks(100) {
        thread::scope(|scope| {
            scope.spawn(|| hundred.iter().for_each(|pool| drop(pool.get()))).join().expect("no panic");
        });
    }
    pools
}

fn short_thread(pool: &Pool) {
    thread::scope(|scope| scope.spawn(|| use_small(pool)).join().expect("no panic"));
}

/// Runs `sample` while other threads that use `busy` start and end.
fn beside_short_threads(busy: &Pool, sample: impl FnOnce() -> f64) -> f64 {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads = scope.spawn(|| {
            while !done.load(Relaxed) {
                short_thread(busy);
            }
        });
        let ns = sample();
        done.store(true, Relaxed);
        threads.join().expect("no panic");
        ns
    })
}

/// The longest within 10 ms, as what is looked for is a wait for a lock.
fn longest_trim(pool: &Pool) -> f64 {
    let start = Instant::now();
    let mut longest = 0.0_f64;
    while start.elapsed() < Duration::from_millis(10) {
        longest = longest.max(time(1, || {
            pool.trim();
            use_small(pool);
        }));
    }
    longest
}

fn threads_and_trims_among_many_pools() {
    const THREADS: u32 = 10;
    let (used, unrelated) = (pool(), pool());
    drop((used.get(), unrelated.get()));
    // The pools must be alive in one row and not in the other, so these two are not interleaved with each other.
    let plain = |samples: &mut Vec<f64>| (0..ROUNDS).for_each(|_| samples.push(time(THREADS, || short_thread(&used))));
    let trims = |samples: &mut Vec<f64>| {
        (0..ROUNDS).for_each(|_| samples.push(beside_short_threads(&used, || longest_trim(&unrelated))));
    };
    let [mut alone, mut among, mut after, mut trim_alone, mut trim_among, mut nothing] = [const { Vec::new() }; 6];
    (0..ROUNDS).for_each(|_| {
        nothing.push(time(THREADS, || {
            thread::scope(|scope| scope.spawn(|| black_box(1)).join().map(drop).expect("no panic"))
        }));
    });
    plain(&mut alone);
    trims(&mut trim_alone);
    let start = Instant::now();
    let others = used_by_ended_threads(OTHER_POOLS);
    let begun = start.elapsed();
    plain(&mut among);
    trims(&mut trim_among);
    let start = Instant::now();
    drop(others);
    let dropped = start.elapsed();
    plain(&mut after);
    print_medians(
        "a short thread that uses one pool (<= 1.5x)",
        [
            ("no other pools", alone),
            ("10 000 others, used once by threads that ended", among),
            ("after these were dropped", after),
            ("a thread that uses no pool, for comparison", nothing),
        ],
    );
    print_medians(
        "the longest trim and use of an unrelated pool within 10 ms beside such threads (<= 1.5x)",
        [("no other pools", trim_alone), ("10 000 others", trim_among)],
    );
    let each = |all: Duration| all.as_nanos() as f64 / OTHER_POOLS as f64;
    println!("  (of the 10 000: {:.0} ns each to make and use, {:.0} ns to drop)", each(begun), each(dropped));
}

/// For rows that cannot take turns.
fn print_medians<const N: usize>(title: &str, rows: [(&str, Vec<f64>); N]) {
    let rows = rows.into_iter().map(|(name, samples)| {
        let mut samples = samples.into_iter();
        row(name, move || samples.next().expect("a sample a round"))
    });
    compare(title, rows.collect());
}

/// A buffer of 1 MiB that is never kept; leaving the pool costs less than `discard`. Nothing is written, so glibc gives and
/// takes it in some 30 ns.
fn miss(pool: &Pool) {
    drop(black_box(pool.get_with_capacity(black_box(MIB)).into_vec()));
}

fn misses_after_many_threads() {
    let after = |threads: usize, at_a_time: usize| {
        let pool = Pool::new();
        for _ in 0..threads / at_a_time {
            let all_used = Barrier::new(at_a_time);
            let use_large = || {
                drop(pool.get_with_capacity(MIB));
                all_used.wait();
            };
            thread::scope(|scope| {
                let running: Vec<_> = (0..at_a_time)
                    .map(|_| thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, use_large))
                    .collect();
                running.into_iter().for_each(|thread| thread.expect("a thread").join().expect("no panic"));
            });
        }
        pool.purge();
        pool
    };
    let pools = [
        ("a fresh pool", after(0, 1)),
        ("1 000 came and went, one at a time", after(1000, 1)),
        ("1 000 came and went, all at the same time", after(1000, 1000)),
    ];
    let sleepers = WithSleepers::new(250, |pool| drop(pool.get_with_capacity(MIB)));
    let mut rows: Vec<_> = pools
        .iter()
        .map(|(name, pool)| {
            row(*name, || {
                miss(pool);
                time(2000, || miss(pool))
            })
        })
        .collect();
    rows.push(row("250 sleep after 1 MiB each", || {
        sleepers.pool.purge();
        time(2000, || miss(&sleepers.pool))
    }));
    rows.push(row("Vec::with_capacity, for comparison", || {
        time(2000, || drop(black_box(Vec::<u8>::with_capacity(black_box(MIB)))))
    }));
    compare("a miss of 1 MiB: get, into_vec, free (<= 1.5x)", rows);
}

fn small_uses_through_the_shared_part() {
    let uncached = support::builder().thread_cache_bytes_max(0).build();
    let cached = pool();
    let rows = vec![
        row("thread caches on", || time(100_000, || use_small(&cached))),
        row("thread caches off (<= 40 ns)", || time(100_000, || use_small(&uncached))),
        row("Vec::with_capacity(64), for comparison", || {
            time(100_000, || drop(black_box(Vec::<u8>::with_capacity(black_box(64)))))
        }),
    ];
    compare("get + drop of 64 B through the shared part", rows);
}

fn main() {
    // `cargo test --benches` runs this too, with no such argument: it compiles, which is what that asks.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    // A pool's costs may hang on how many threads were alive before this one used any.
    drop(bytebufferpool::get());
    let start = Instant::now();
    small_uses_while_others_sleep();
    misses_after_many_threads();
    small_uses_through_the_shared_part();
    threads_and_trims_among_many_pools();
    println!("\n{:.0} s", start.elapsed().as_secs_f64());
}
