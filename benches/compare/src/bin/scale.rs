//! Cost as the work grows: threads on one pool, pools on one thread, and very many uses.
//!
//! `cargo run --release -p compare --bin scale`; `-- --help` says what can be asked for.
//!
//! Fails where the statistics are not exact, or where memory grows with what it should not grow with.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytebufferpool::{Pool, Stats};
use compare::circumstances::{Circumstances, resident_bytes};
use compare::printing;
use compare::table::{self, bytes, time};
use compare::together::together;
use compare::workload::log_lines;
use lexopt::Arg;

const USAGE: &str = "usage: scale [--long] [--quick] [--out FILE]
  --long      up to 10^8 uses of one pool instead of 10^7
  --quick     up to 10^5 of them, and short runs: a smoke test
  --out FILE  writes the page there";

struct Options {
    help: bool,
    /// The largest power of ten of uses.
    power_max: u32,
    /// Of each row with threads or pools.
    uses: u64,
    rounds: usize,
    out: Option<PathBuf>,
}

fn options() -> Result<Options, lexopt::Error> {
    let mut options = Options { help: false, power_max: 7, uses: 2_000_000, rounds: 5, out: None };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("long") => options.power_max = 8,
            Arg::Long("quick") => options = Options { power_max: 5, uses: 100_000, rounds: 1, ..options },
            Arg::Long("out") => options.out = Some(parser.value()?.into()),
            Arg::Short('h') | Arg::Long("help") => options.help = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    match options() {
        Ok(Options { help: true, .. }) => printed(USAGE),
        Ok(options) => scale(&options),
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn printed(text: &str) -> ExitCode {
    match printing::line(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn scale(options: &Options) -> ExitCode {
    let mut broken = Vec::new();
    let page = page(options, &mut broken);
    let printed = printed(&page);
    if let Some(Err(error)) = options.out.as_ref().map(|file| std::fs::write(file, page)) {
        eprintln!("the page could not be written: {error}");
        return ExitCode::FAILURE;
    }
    broken.iter().for_each(|law| eprintln!("BROKEN: {law}"));
    if broken.is_empty() { printed } else { ExitCode::FAILURE }
}

fn page(options: &Options, broken: &mut Vec<String>) -> String {
    let mut page = String::from(HEAD);
    let _ = write!(page, "{}\n{COLUMNS}", Circumstances::now());
    let _ = write!(page, "\n## Threads on one pool\n\n{THREADS}\n{}", threads_table(options, broken));
    let _ = write!(page, "\n## Pools on one thread\n\n{POOLS}\n{}", pools_table(options, broken));
    let _ = write!(page, "\n## Uses of one pool\n\n{USES}\n{}", uses_table(options.power_max, broken));
    page
}

const HEAD: &str = "<!-- Written by `cargo run --release -p compare --bin scale`; what is changed by hand is lost. -->

# What grows with what

How time per use and memory follow the number of threads, of pools and of uses. The program that writes this page fails
if the statistics are not exact to the buffer and the byte, or if memory grows beyond the rules below. Times are only shown.

";

const COLUMNS: &str = "
*Structures* are the heap bytes that the pools take beside their buffers, counted by the allocator. *Cached* are the bytes
of cached buffers. Times of rows with threads and pools are the fastest of several rounds.
";

const THREADS: &str = "Log lines of ten pieces, the uses shared out among the threads.

- **Time per use** does not depend on the number of threads: a use writes nothing that another thread reads on its own hot
  path. All together the threads take the time of one divided by the processors that they have. More threads than processors
  change nothing.
- **Structures** grow by one shard per thread that uses the pool at the same time, and by a pointer for it. A thread that ends
  leaves its shard for the next one: what counts is how many ever lived at once. (Here one more than the row says: the thread
  that taught the pool has a shard too.) Bursts do not make them grow: cached buffers take nothing beside themselves.
- **Cached memory** grows by what each thread's work needs at once, here one buffer. It is never more than
  `thread_cache_bytes_max` per thread, nor a sixteenth of what is left of half the budget, which is the most for all threads'
  caches together. When the threads end, it is in the shared part, until it is used or trimmed.
- **`stats()`** looks at each shard: its time grows with the threads. So does that of a calibration, once per 42 000 calls of a
  size class or more. `trim()` and a `get` that finds nothing look at a fixed number of places.
";

const POOLS: &str = "One thread uses the pools in turn, a log line each time.

- **Time per use** is the same for up to 16 pools: a thread's memo of its shards has 16 entries. With more, pools share
  entries, and a get and a drop each take the longer way through the pool's table, which also looks at the clock. This does not
  grow with the number of pools. What is added beyond it is the processor's cache: each pool has its own counters and buffers.
- **A thread's start and end** cost what the thread used, not how many pools there are (`cargo bench --bench sleepers`).
- **Structures** grow by the same for each pool: its shared part, and a shard for the thread.
- **Cached memory** is the sum of what each pool has cached. Each has its own budget, unless a `Registry` sets one for all.
";

const USES: &str = "Sizes from 3 B to 40 KB in turn, looked at after each power of ten.

- **Time per use** does not depend on how many there were, once the pool is built and has learned its sizes.
- **Structures, cached and resident memory** do not depend on it either.
- **Calibrations** are one per 42 000 uses of the most used size class. No counter overflows before 2^64.
";

// ---- Threads.

fn taught() -> Pool {
    let pool = Pool::new();
    log_lines(&pool, 16);
    pool.calibrate();
    pool
}

/// What a row with threads found in one round.
struct Round {
    elapsed: Duration,
    living: Stats,
    structure_bytes: Option<usize>,
    stats_time: Duration,
    ended: Stats,
}

fn threads_round(threads: usize, each: u64) -> Round {
    const STATS_CALLS: u32 = 100;
    let heap_before = heap::live_bytes();
    let pool = taught();
    let look = || {
        let living = pool.stats();
        let start = Instant::now();
        for _ in 0..STATS_CALLS {
            black_box(pool.stats());
        }
        (living, start.elapsed() / STATS_CALLS)
    };
    let (elapsed, (living, stats_time)) = together(threads, || log_lines(&pool, 16), |()| log_lines(&pool, each), look);
    let ended = pool.stats();
    // Now, as the threads themselves take memory while they live; their shards stay.
    let structure_bytes = structures(heap_before, ended.retained_bytes);
    Round { elapsed, living, structure_bytes, stats_time, ended }
}

fn threads_table(options: &Options, broken: &mut Vec<String>) -> String {
    let head =
        ["threads", "per use, all together", "structures", "cached while they live", "after their end", "`stats()`"];
    let mut cells = vec![table::row(head)];
    let mut one_thread = None;
    for threads in [1, 8, 64, 256] {
        let each = options.uses / threads as u64;
        let rounds = (0..options.rounds).map(|_| threads_round(threads, each));
        let best = rounds.min_by_key(|round| round.elapsed).expect("at least one round");
        check_statistics(&best.living, format!("{threads} living threads"), broken);
        check_statistics(&best.ended, format!("{threads} ended threads"), broken);
        let cached_bytes_max = (threads * (128 << 10)).min(32 << 20);
        if best.living.retained_bytes > cached_bytes_max {
            broken.push(format!("{} B cached with {threads} threads", best.living.retained_bytes));
        }
        if let (Some(one), Some(all)) = (*one_thread.get_or_insert(best.structure_bytes), best.structure_bytes) {
            if all > one + (threads - 1) * SHARD_BYTES_MAX {
                broken.push(format!("{all} B of structures with {threads} threads, {one} B with one"));
            }
        }
        cells.push(vec![
            threads.to_string(),
            per_use(best.elapsed, each * threads as u64),
            show(best.structure_bytes),
            bytes(best.living.retained_bytes),
            bytes(best.ended.retained_bytes),
            time(best.stats_time.as_nanos() as f64),
        ]);
    }
    table::markdown(&cells)
}

/// A shard, its place in the table, and a margin.
const SHARD_BYTES_MAX: usize = 10 << 10;

// ---- Pools.

fn pools_table(options: &Options, broken: &mut Vec<String>) -> String {
    let mut cells = vec![table::row(["pools", "per use", "structures", "cached, all together", "hits"])];
    let mut one_pool = None;
    for count in [1, 2, 10, 16, 32, 100] {
        let heap_before = heap::live_bytes();
        // On the heap, so that the pools themselves are counted.
        let mut pools = Vec::with_capacity(count);
        pools.resize_with(count, taught);
        let turns = options.uses / count as u64;
        let round = |_| {
            let start = Instant::now();
            for _ in 0..turns {
                pools.iter().for_each(|pool| log_lines(pool, 1));
            }
            start.elapsed()
        };
        let best = (0..options.rounds).map(round).min().expect("at least one round");
        let stats: Vec<Stats> = pools.iter().map(Pool::stats).collect();
        stats.iter().for_each(|stats| check_statistics(stats, format!("one of {count} pools"), broken));
        let sum = |figure: fn(&Stats) -> u64| stats.iter().map(figure).sum::<u64>();
        let hits = 100.0 * sum(|stats| stats.hits) as f64 / sum(|stats| stats.gets) as f64;
        let cached_bytes = stats.iter().map(|stats| stats.retained_bytes).sum();
        let structure_bytes = structures(heap_before + heap_bytes_of(&stats), cached_bytes);
        if let (Some(one), Some(all)) = (*one_pool.get_or_insert(structure_bytes), structure_bytes) {
            if all > count * (one + POOL_BYTES_MARGIN) {
                broken.push(format!("{all} B of structures with {count} pools, {one} B with one"));
            }
        }
        cells.push(vec![
            count.to_string(),
            per_use(best, turns * count as u64),
            show(structure_bytes),
            bytes(cached_bytes),
            format!("{hits:.2} %"),
        ]);
    }
    table::markdown(&cells)
}

const POOL_BYTES_MARGIN: usize = 1 << 10;

/// What the list itself takes.
fn heap_bytes_of(stats: &Vec<Stats>) -> usize {
    stats.capacity() * size_of::<Stats>()
}

// ---- Uses.

/// What was seen after a power of ten of uses.
struct Look {
    power: u32,
    nanoseconds: f64,
    structure_bytes: Option<usize>,
    resident_bytes: Option<usize>,
    stats: Stats,
}

/// One pool, used on and on; looked at after each power of ten.
fn uses_table(power_max: u32, broken: &mut Vec<String>) -> String {
    const POWER_MIN: u32 = 3;
    let payload = vec![7; 40_000];
    // All that the looks need is there before the heap is counted.
    let mut looks: Vec<Look> = Vec::with_capacity(power_max as usize);
    let heap_before = heap::live_bytes();
    let pool = Pool::new();
    let mut done = 0u64;
    for power in POWER_MIN..=power_max {
        let until = 10u64.pow(power);
        let (start, first) = (Instant::now(), done);
        while done < until {
            let mut buf = pool.get();
            // 32 sizes, small ones more often, in an order that repeats only as a whole.
            let size = 3 + (40_000 >> ((done * 7) % 32 / 2)).min(39_997);
            buf.extend_from_slice(black_box(&payload[..size]));
            black_box(buf.as_slice());
            done += 1;
        }
        let nanoseconds = start.elapsed().as_nanos() as f64 / (done - first) as f64;
        let stats = pool.stats();
        check_statistics(&stats, format!("10^{power} uses"), broken);
        if stats.gets != done {
            broken.push(format!("{} gets after {done} uses", stats.gets));
        }
        let structure_bytes = structures(heap_before, stats.retained_bytes);
        looks.push(Look { power, nanoseconds, structure_bytes, resident_bytes: resident_bytes(), stats });
    }
    check_flat(&looks, broken);
    let head = ["uses", "per use", "structures", "cached", "resident", "allocated", "calibrations"];
    let mut cells = vec![table::row(head)];
    cells.extend(looks.into_iter().map(|look| {
        vec![
            format!("10^{}", look.power),
            time(look.nanoseconds),
            show(look.structure_bytes),
            bytes(look.stats.retained_bytes),
            show(look.resident_bytes),
            look.stats.allocated.to_string(),
            look.stats.calibrations.to_string(),
        ]
    }));
    table::markdown(&cells)
}

/// From 10^6 uses on, when each size was calibrated more than once.
fn check_flat(looks: &[Look], broken: &mut Vec<String>) {
    let Some(then) = looks.iter().find(|look| look.power == 6) else { return };
    for now in looks.iter().filter(|look| look.power > 6) {
        let grew = |memory: fn(&Look) -> Option<usize>, margin| {
            memory(then).zip(memory(now)).is_some_and(|(then, now)| now > then + margin)
        };
        // What is resident is for the C library to round.
        let grown = grew(|look| look.structure_bytes, 0)
            || grew(|look| Some(look.stats.retained_bytes), 0)
            || grew(|look| look.resident_bytes, 256 << 10);
        if grown {
            broken.push(format!("memory is larger after 10^{} uses than after 10^6", now.power));
        }
    }
}

// ---- What is looked at.

fn per_use(elapsed: Duration, uses: u64) -> String {
    time(elapsed.as_nanos() as f64 / uses as f64)
}

fn show(count: Option<usize>) -> String {
    count.map_or_else(|| "unknown".to_owned(), bytes)
}

/// The identities that `Stats` promises when nothing is in flight.
fn check_statistics(s: &Stats, when: String, broken: &mut Vec<String>) {
    let by_class: usize = s.classes.iter().map(|class| class.size * class.retained as usize).sum();
    let exact = s.gets == s.hits + s.misses
        && s.outstanding == 0
        && s.gets == s.puts + s.detached
        && s.retained_bytes == by_class
        && s.allocated + s.donated == s.retained_buffers + s.detached + s.dropped.total() + s.trimmed;
    if !exact {
        broken.push(format!("the statistics with {when}:\n{s}"));
    }
}

/// What is on the heap beyond what was there before and what is cached.
fn structures(before: usize, cached_bytes: usize) -> Option<usize> {
    heap::COUNTED.then(|| heap::live_bytes().saturating_sub(before + cached_bytes))
}

/// The system's allocator with a count of the bytes that are out. A warm use touches it nowhere, so times stay what they
/// are.
#[cfg(not(any(feature = "mimalloc", feature = "jemalloc")))]
mod heap {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicUsize, Ordering};

    pub const COUNTED: bool = true;

    struct Counting;

    #[global_allocator]
    static GLOBAL: Counting = Counting;
    static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

    pub fn live_bytes() -> usize {
        LIVE_BYTES.load(Ordering::Relaxed)
    }

    // SAFETY: everything is the system allocator's, beside a count. `realloc` and `alloc_zeroed` are the trait's own,
    // made of these two.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
            // SAFETY: the caller's promise is the same.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
            LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
            // SAFETY: the caller's promise is the same.
            unsafe { System.dealloc(ptr, layout) }
        }
    }
}

#[cfg(any(feature = "mimalloc", feature = "jemalloc"))]
mod heap {
    pub const COUNTED: bool = false;

    pub fn live_bytes() -> usize {
        0
    }
}
