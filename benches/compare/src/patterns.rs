//! The patterns by which the literature measures allocators, on buffers of 64 B to 32 KiB, written whole.
//!
//! A run has a process to itself, so that what is resident is one contender's. What it does is fixed by seeds: how many
//! buffers, of which sizes, in which order on each thread. At its end each buffer is read; the sum over all of them must be
//! the sum over what was written, and the same for every contender. All threads are started, kept to a core each in turn,
//! and hold what they measure with before the clock begins. Pools begin empty and learn as they go.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::circumstances::resident_bytes;
use crate::contenders::*;
use crate::run::{Effort, Line, Result, hundredths};
use crate::seen::{Resident, Seen, Tail};
use crate::threads::keep_to;
use crate::workload::{Rng, log_uniform_sizes, payload};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    Larson,
    Xmalloc,
    Sh8bench,
    Mstress,
    Startup,
}

/// Names of groups, what each does, and whose pattern it is.
pub const PATTERNS: [(Pattern, &str, &str); 5] = [
    (
        Pattern::Larson,
        "larson",
        "random ones of 512 buffers are replaced, and each thread ends by handing all to its successor (Larson & Krishnan, ISMM 1998)",
    ),
    (
        Pattern::Xmalloc,
        "xmalloc",
        "half of the threads fill buffers, the other half drop them (xmalloc-test: Lever & Boreham, USENIX 2000)",
    ),
    (
        Pattern::Sh8bench,
        "sh8bench",
        "batches of 256, dropped half in order and half in reverse, one in four by the neighbour (sh8bench: MicroQuill, SmartHeap)",
    ),
    (
        Pattern::Mstress,
        "mstress",
        "some are retained, others dropped at random or exchanged with other threads (mstress: test-stress.c of mimalloc)",
    ),
    (Pattern::Startup, "startup", "64 threads use a new pool for the first time at once, 16 buffers each"),
];

pub fn named(group: &str) -> Option<Pattern> {
    PATTERNS.iter().find(|known| known.1 == group).map(|known| known.0)
}

/// Rows of each group: a name, the largest size, and how many buffers all threads of a run use together.
pub const ROWS: [(&str, usize, u64); 2] = [("64 B to 1 KiB", 1 << 10, 400_000), ("64 B to 32 KiB", 32 << 10, 200_000)];

/// How large a run is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub size_max: usize,
    /// Of all threads together; each pattern rounds it to what its threads share out evenly.
    pub buffers: u64,
}

/// What a run found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub nanoseconds: u64,
    pub did: Did,
    pub seen: Seen,
}

/// What every contender must have done alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Did {
    pub buffers: u64,
    pub bytes: u64,
    /// Over the length, the first and the last byte of each buffer, as it was read before it was dropped.
    pub sum: u64,
}

type Runner = fn(Pattern, Shape) -> Outcome;

/// Who takes part: all whose buffers can be dropped on another thread than they were made on. poolshark's thread-local pool
/// is not here, as buffers that go one way never come back to the thread that takes.
pub fn lanes() -> Vec<(&'static str, Role, Runner)> {
    macro_rules! lanes {
        ($($contender:ty),+) => {vec![$((<$contender>::NAME, <$contender>::ROLE, outcome::<$contender> as Runner)),+]};
    }
    lanes!(
        OursSized,
        Ours,
        OursOwned,
        Zeropool,
        ObjectPool,
        Opool,
        PoolsharkGlobal,
        LockfreeOwned,
        ShardedSlab,
        SplitFreeze,
        VecNew,
        VecWithCapacity
    )
}

/// The rows of a group, measured by `run`, which starts a process for each contender in turn and as often as there are
/// rounds. Fails where contenders did not do the same.
pub fn lines<E>(
    group: &str,
    effort: Effort,
    mut run: impl FnMut(&str, &str) -> std::result::Result<Outcome, E>,
) -> std::result::Result<Vec<Line>, String>
where
    E: std::fmt::Display,
{
    let mut lines = Vec::new();
    for (row, ..) in ROWS {
        let lanes: Vec<_> = lanes().into_iter().filter(|lane| effort.wants(row, lane.1)).collect();
        let mut outcomes = vec![Vec::new(); lanes.len()];
        for _ in 0..rounds(effort) {
            for ((name, ..), outcomes) in lanes.iter().zip(&mut outcomes) {
                outcomes.push(run(row, name).map_err(|error| format!("{group}, {row}, {name}: {error}"))?);
            }
        }
        all_did_the_same(group, row, outcomes.iter().flatten())?;
        let results = lanes.iter().zip(&outcomes).map(|((name, role, _), outcomes)| result(name, *role, outcomes));
        lines.push(Line { name: row.to_owned(), limit: None, shows_cached: false, results: results.collect() });
    }
    lines.retain(|line| !line.results.is_empty());
    Ok(lines)
}

/// How often a process is started for each contender.
fn rounds(effort: Effort) -> usize {
    if effort.is_quick() { 1 } else { 3 }
}

pub fn shape(row: &str, effort: Effort) -> Option<Shape> {
    let (_, size_max, buffers) = ROWS.into_iter().find(|known| known.0 == row)?;
    Some(Shape { size_max, buffers: if effort.is_quick() { buffers / 20 } else { buffers } })
}

pub fn all_did_the_same<'a>(
    group: &str,
    row: &str,
    outcomes: impl Iterator<Item = &'a Outcome>,
) -> std::result::Result<(), String> {
    let did: Vec<Did> = outcomes.map(|outcome| outcome.did).collect();
    match did.iter().find(|did_other| **did_other != did[0]) {
        Some(other) => Err(format!("{group}, {row}: one contender did {:?}, another {other:?}", did[0])),
        None => Ok(()),
    }
}

fn result(name: &str, role: Role, outcomes: &[Outcome]) -> Result {
    let each = |outcome: &Outcome| outcome.nanoseconds as f64 / outcome.did.buffers as f64;
    let mut times: Vec<f64> = outcomes.iter().map(each).collect();
    times.sort_unstable_by(f64::total_cmp);
    let seen: Vec<&Seen> = outcomes.iter().map(|outcome| &outcome.seen).collect();
    Result {
        name: name.to_owned(),
        role,
        min: hundredths(times[0]),
        median: hundredths(times[times.len() / 2]),
        by_median: true,
        cached_bytes: 0,
        pattern: Seen::merge(&seen),
    }
}

// ---- One run.

/// Whose buffers may be dropped on another thread.
pub trait Sent: Contender + for<'p> Contender<Held<'p>: Send> {}
impl<C: Contender + for<'p> Contender<Held<'p>: Send>> Sent for C {}

pub fn outcome<C: Sent>(pattern: Pattern, shape: Shape) -> Outcome {
    let inputs = Inputs { sizes: log_uniform_sizes(SIZES, shape.size_max), payload: payload(shape.size_max) };
    let pool = C::fresh(shape.size_max);
    let mut samples = Vec::with_capacity(1 << 16);
    let before = resident_bytes().unwrap_or(0);
    let all = beside_sampler(&mut samples, || match pattern {
        Pattern::Larson => larson(&pool, &inputs, shape),
        Pattern::Xmalloc => xmalloc(&pool, &inputs, shape),
        Pattern::Sh8bench => sh8bench(&pool, &inputs, shape),
        Pattern::Mstress => mstress(&pool, &inputs, shape),
        Pattern::Startup => startup::<C>(&inputs, shape),
    });
    samples.push(resident_bytes().unwrap_or(0));
    drop(pool);
    all.outcome(&samples, before)
}

/// What all threads read.
struct Inputs {
    sizes: Vec<usize>,
    payload: Vec<u8>,
}

/// How many sizes are drawn before the clock begins; each thread goes round in them from its own place on.
const SIZES: usize = 4096;

/// One operation in so many is timed, the first one of each thread always. `Instant::now` twice costs some 45 ns, so all
/// operations together pay some 3 ns each for it.
const TIMED: u32 = 16;

/// What a thread works with.
struct Hand<'p, C: Contender> {
    worker: C::Worker<'p>,
    inputs: &'p Inputs,
    rng: Rng,
    next_size: usize,
    notes: Notes,
}

impl<'p, C: Contender> Hand<'p, C> {
    fn new(pool: &'p C, inputs: &'p Inputs, thread: usize) -> Hand<'p, C> {
        let seed = 0x6861_6e64 + thread as u64;
        Hand { worker: pool.worker(), inputs, rng: Rng(seed), next_size: 97 * thread, notes: Notes::new() }
    }

    #[inline(always)]
    fn get(&mut self) -> C::Held<'p> {
        let size = self.inputs.sizes[self.next_size % SIZES];
        self.next_size += 1;
        let payload = &self.inputs.payload[..size];
        self.notes.written.add(payload);
        let worker = &mut self.worker;
        self.notes.get.time(|| C::seal(C::write_once(worker, black_box(payload))))
    }

    #[inline(always)]
    fn end(&mut self, held: C::Held<'p>) {
        held.read(|bytes| self.notes.read.add(bytes));
        self.notes.end.time(|| drop(held));
    }
}

/// What one thread writes down, and what all did.
struct Notes {
    get: Timer,
    end: Timer,
    written: Did,
    read: Did,
    elapsed: Duration,
}

impl Did {
    #[inline(always)]
    fn add(&mut self, bytes: &[u8]) {
        self.buffers += 1;
        self.bytes += bytes.len() as u64;
        self.sum =
            self.sum.wrapping_add(u64::from(bytes[0]) + (bytes.len() as u64) * u64::from(bytes[bytes.len() - 1]));
    }

    fn merge(&mut self, other: &Did) {
        self.buffers += other.buffers;
        self.bytes += other.bytes;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

struct Timer {
    until_next: u32,
    histogram: Histogram<u32>,
}

impl Timer {
    fn new() -> Timer {
        const LONGEST: u64 = 60_000_000_000;
        Timer { until_next: 0, histogram: Histogram::new_with_bounds(1, LONGEST, 2).expect("bounds that fit") }
    }

    #[inline(always)]
    fn time<R>(&mut self, operation: impl FnOnce() -> R) -> R {
        if self.until_next > 0 {
            self.until_next -= 1;
            return operation();
        }
        self.until_next = TIMED - 1;
        let start = Instant::now();
        let result = operation();
        self.histogram.saturating_record(start.elapsed().as_nanos() as u64);
        result
    }

    fn tail(&self) -> Tail {
        let at = |quantile: f64| self.histogram.value_at_quantile(quantile) as u32;
        Tail { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }
}

impl Notes {
    fn new() -> Notes {
        let nothing = Did::default();
        Notes { get: Timer::new(), end: Timer::new(), written: nothing, read: nothing, elapsed: Duration::ZERO }
    }

    /// `elapsed` is added up: runs are one after another.
    fn merge(mut self, other: &Notes) -> Notes {
        self.get.histogram.add(&other.get.histogram).expect("the same bounds");
        self.end.histogram.add(&other.end.histogram).expect("the same bounds");
        self.written.merge(&other.written);
        self.read.merge(&other.read);
        self.elapsed += other.elapsed;
        self
    }

    fn outcome(&self, samples: &[usize], before: usize) -> Outcome {
        assert_eq!(self.written, self.read, "each buffer is read and dropped once, and holds what was written");
        let kib = |bytes: usize| (bytes.saturating_sub(before) >> 10) as u32;
        let resident = Resident {
            peak_kib: kib(samples.iter().copied().max().unwrap_or(0)),
            end_kib: kib(samples.last().copied().unwrap_or(0)),
            curve_kib: curve(samples).into_iter().map(kib).collect(),
        };
        let seen = Seen { get: self.get.tail(), end: self.end.tail(), resident };
        Outcome { nanoseconds: self.elapsed.as_nanos() as u64, did: self.read, seen }
    }
}

/// At most 32 points, each the most of an equal part of the samples.
fn curve(samples: &[usize]) -> Vec<usize> {
    const POINTS: usize = 32;
    let points = samples.len().min(POINTS);
    let part = |point: usize| &samples[point * samples.len() / points..(point + 1) * samples.len() / points];
    (0..points).map(|point| part(point).iter().copied().max().unwrap_or(0)).collect()
}

/// Looks at the resident memory every two milliseconds while `run` runs.
fn beside_sampler<R>(samples: &mut Vec<usize>, run: impl FnOnce() -> R) -> R {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                samples.push(resident_bytes().unwrap_or(0));
                thread::park_timeout(Duration::from_millis(2));
            }
        });
        let result = run();
        done.store(true, Ordering::Relaxed);
        sampler.thread().unpark();
        sampler.join().expect("no panic");
        result
    })
}

/// Each part on a thread of its own, on a core in turn unless the part names one. The time is that from the first
/// thread's start to the last one's end of work.
fn on_threads<'p, C: Sent, P: Send>(
    pool: &'p C,
    inputs: &'p Inputs,
    parts: Vec<(usize, P)>,
    work: impl Fn(&mut Hand<'p, C>, P) + Sync,
) -> Notes {
    let started = Barrier::new(parts.len());
    let (started, work) = (&started, &work);
    let one = |index: usize, core: usize, part: P| {
        keep_to(core);
        let mut hand = Hand::<C>::new(pool, inputs, index);
        started.wait();
        let start = Instant::now();
        work(&mut hand, part);
        (start, Instant::now(), hand.notes)
    };
    thread::scope(|scope| {
        let parts = parts.into_iter().enumerate();
        let threads: Vec<_> = parts.map(|(index, (core, part))| scope.spawn(move || one(index, core, part))).collect();
        // Joined one by one: a thread's destructors are over then, which a scope does not wait for.
        let ended: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        let first = ended.iter().map(|ended| ended.0).min().expect("at least one thread");
        let last = ended.iter().map(|ended| ended.1).max().expect("at least one thread");
        let all = ended.iter().fold(Notes::new(), |all, ended| all.merge(&ended.2));
        Notes { elapsed: last - first, ..all }
    })
}

/// Work for at least two, and no more than the machine runs at once.
fn threads() -> usize {
    thread::available_parallelism().map_or(2, usize::from).clamp(2, 8) / 2 * 2
}

// ---- The patterns.

/// A row of threads per chain: each works for a while on the buffers that it was handed, and hands all of them on.
fn larson<'p, C: Sent>(pool: &'p C, inputs: &'p Inputs, shape: Shape) -> Notes {
    const SLOTS: usize = 512;
    const GENERATIONS: usize = 8;
    type Ends<T> = (Receiver<T>, Option<Sender<T>>);
    let mut parts: Vec<(usize, Ends<Vec<C::Held<'p>>>)> = Vec::new();
    for chain in 0..threads() {
        let (first, mut from) = bounded(1);
        first.send(Vec::with_capacity(SLOTS)).expect("it has a receiver");
        for generation in 1..=GENERATIONS {
            let (to, next) = bounded(1);
            parts.push((chain, (from, (generation < GENERATIONS).then_some(to))));
            from = next;
        }
    }
    let each = shape.buffers / parts.len() as u64;
    on_threads(pool, inputs, parts, |hand, (from, to)| {
        let mut slots = from.recv().expect("the predecessor hands over");
        for _ in 0..each {
            if slots.len() == SLOTS {
                let replaced = slots.swap_remove(hand.rng.below(SLOTS));
                hand.end(replaced);
            }
            slots.push(hand.get());
        }
        match to {
            Some(to) => to.send(slots).unwrap_or_else(|_| unreachable!("the successor waits for it")),
            None => slots.into_iter().for_each(|held| hand.end(held)),
        }
    })
}

/// Full batches go from the threads that fill to those that drop.
fn xmalloc<'p, C: Sent>(pool: &'p C, inputs: &'p Inputs, shape: Shape) -> Notes {
    const BATCH: u64 = 64;
    const BATCHES_IN_FLIGHT: usize = 16;
    enum Side<T> {
        Fills(Sender<T>),
        Drops(Receiver<T>),
    }
    let pairs = threads() / 2;
    let (to, from) = bounded::<Vec<C::Held<'p>>>(BATCHES_IN_FLIGHT);
    let sides = (0..pairs).flat_map(|_| [Side::Fills(to.clone()), Side::Drops(from.clone())]);
    let parts = sides.enumerate().collect();
    drop((to, from));
    let batches = shape.buffers / (BATCH * pairs as u64);
    on_threads(pool, inputs, parts, |hand, side| match side {
        Side::Fills(to) => {
            for _ in 0..batches {
                let batch = (0..BATCH).map(|_| hand.get()).collect();
                to.send(batch).unwrap_or_else(|_| unreachable!("those that drop stay to the end"));
            }
        }
        Side::Drops(from) => from.into_iter().flatten().for_each(|held| hand.end(held)),
    })
}

/// Batches that are dropped in mixed order; the neighbour drops one in four.
fn sh8bench<'p, C: Sent>(pool: &'p C, inputs: &'p Inputs, shape: Shape) -> Notes {
    const BATCH: usize = 256;
    const ONE_IN: u64 = 4;
    type Neighbours<T> = (Sender<T>, Receiver<T>);
    let threads = threads();
    let channels: Vec<Neighbours<Vec<C::Held<'p>>>> = (0..threads).map(|_| bounded(1)).collect();
    let neighbours = |index: usize| (channels[(index + 1) % threads].0.clone(), channels[index].1.clone());
    let parts = (0..threads).map(|index| (index, neighbours(index))).collect();
    drop(channels);
    let batches = shape.buffers / (BATCH * threads) as u64;
    on_threads(pool, inputs, parts, |hand, (to, from)| {
        for nth in 0..batches {
            let mut batch: Vec<C::Held<'p>> = (0..BATCH).map(|_| hand.get()).collect();
            if nth % ONE_IN == 0 {
                to.send(batch).unwrap_or_else(|_| unreachable!("the neighbour has as many batches"));
                batch = from.recv().expect("the neighbour has as many batches");
            }
            let second_half = batch.split_off(BATCH / 2);
            batch.into_iter().for_each(|held| hand.end(held));
            second_half.into_iter().rev().for_each(|held| hand.end(held));
        }
    })
}

/// Phases with the shares of test-stress.c: half of the steps get a buffer for now and the others one to retain, two in
/// three of them drop a random one, and one in four exchanges a random one with what another thread left. At the end of a
/// phase all is dropped, but for what lies in the exchange.
fn mstress<'p, C: Sent>(pool: &'p C, inputs: &'p Inputs, shape: Shape) -> Notes {
    const FOR_NOW: usize = 1000;
    const RETAINED: usize = FOR_NOW / 2;
    const PLACES: usize = 1000;
    let exchange: Vec<Mutex<Option<C::Held<'p>>>> = (0..PLACES).map(|_| Mutex::new(None)).collect();
    // Threads have unequal work: the second twice that of the first, and so on in turn.
    let weights: Vec<u64> = (0..threads() as u64).map(|index| 1 + index % 2).collect();
    let phases = shape.buffers / (FOR_NOW + RETAINED) as u64;
    let sum: u64 = weights.iter().sum();
    let parts = weights.iter().map(|weight| (phases * weight / sum).max(1)).enumerate().collect();
    let mut all = on_threads(pool, inputs, parts, |hand, phases| {
        for _ in 0..phases {
            let mut now: Vec<Option<C::Held<'p>>> = Vec::with_capacity(FOR_NOW);
            let mut retained: Vec<C::Held<'p>> = Vec::with_capacity(RETAINED);
            while now.len() < FOR_NOW || retained.len() < RETAINED {
                let for_now = hand.rng.below(2) == 0;
                if retained.len() == RETAINED || (for_now && now.len() < FOR_NOW) {
                    now.push(Some(hand.get()));
                } else {
                    retained.push(hand.get());
                }
                if hand.rng.below(3) < 2 && !now.is_empty() {
                    let index = hand.rng.below(now.len());
                    now[index].take().into_iter().for_each(|held| hand.end(held));
                }
                if hand.rng.below(4) == 0 && !now.is_empty() {
                    let (index, place) = (hand.rng.below(now.len()), hand.rng.below(PLACES));
                    std::mem::swap(&mut now[index], &mut exchange[place].lock().expect("no panic"));
                }
            }
            now.into_iter().flatten().chain(retained).for_each(|held| hand.end(held));
        }
    });
    // What was left there is dropped after the clock: at most 1000 buffers, and the same for every contender.
    let mut last = Hand::<C>::new(pool, inputs, 0);
    exchange.into_iter().filter_map(|place| place.into_inner().expect("no panic")).for_each(|held| last.end(held));
    let elapsed = all.elapsed;
    all = all.merge(&last.notes);
    Notes { elapsed, ..all }
}

/// A new pool each time. Of each thread the first get and drop are timed, and they alone.
fn startup<C: Sent>(inputs: &Inputs, shape: Shape) -> Notes {
    const THREADS: usize = 64;
    const BUFFERS: u64 = TIMED as u64;
    let times = (shape.buffers / (10 * THREADS as u64 * BUFFERS)).max(1);
    (0..times).fold(Notes::new(), |all, _| {
        let pool = C::fresh(shape.size_max);
        let notes = on_threads(&pool, inputs, (0..THREADS).map(|index| (index, ())).collect(), |hand, ()| {
            for _ in 0..BUFFERS {
                let held = hand.get();
                hand.end(held);
            }
        });
        all.merge(&notes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_keeps_the_peak_and_the_end() {
        let samples: Vec<usize> = (0..1000).map(|index| if index == 500 { 9999 } else { index }).collect();
        let curve = curve(&samples);
        assert_eq!(curve.len(), 32);
        assert_eq!((curve[0], curve[16], curve[31]), (30, 9999, 999));
        assert_eq!(super::curve(&[7]), [7]);
    }

    #[test]
    fn one_operation_in_sixteen_is_timed_and_the_first_always() {
        let mut timer = Timer::new();
        for expected in [1, 1, 1] {
            timer.time(|| ());
            assert_eq!(timer.histogram.len(), expected);
        }
        (3..33).for_each(|_| timer.time(|| ()));
        assert_eq!(timer.histogram.len(), 3);
    }
}
