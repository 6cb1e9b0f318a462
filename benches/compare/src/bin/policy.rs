//! The policy laboratory: which default size and which jump, on traces that users have.
//!
//! `cargo run --release -p compare --bin policy`; `-- --help` says what can be asked for.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use bytebufferpool::{DefaultSize, Growth, Pool, PooledBuf};
use compare::circumstances::Circumstances;
use compare::printing;
use compare::table::{self, bytes};
use compare::workload::{self, Trace, bimodal_sizes, json_sizes, log_sizes, mix_sizes, shifting_sizes, shuffled};
use indicatif::ProgressBar;
use lexopt::Arg;

/// Long enough that what an untaught pool does is over after the first half.
const MESSAGES: usize = 200_000;

const HEAD: &str = "<!-- Written by `cargo run --release -p compare --bin policy`; what is changed by hand is lost. -->\n\n# Which size policy, and why\n\n";
const ABOUT: &str = "Per policy, with 1 and with 64 buffers in flight: ns per use (the fastest of five passes over the second half of the trace, after the first half taught the pool and what was cached was trimmed), growths per use there, cached bytes after it, and the most bytes that were cached or in flight at once.\n";
/// Drawn by hand from the tables below it: to be read again when they change.
const CONCLUSIONS: &str = include_str!("../../text/policy.md");
const ALL_TRACES: &str =
    "## All traces\n\nEach figure divided by the lowest of any policy on that trace; geometric mean over traces.\n\n";

const USAGE: &str = "usage: policy [--data DIR] [--out FILE] [--quick]
  --data DIR  the lengths of the lines of the *.log files there, and the sizes of the parts of its *.json files, take the
              place of generated look-alikes
  --out FILE  writes the page there
  --quick     short traces, one pass: a smoke test";

#[derive(Default)]
struct Options {
    help: bool,
    data: Option<PathBuf>,
    out: Option<PathBuf>,
    quick: bool,
}

fn options() -> Result<Options, lexopt::Error> {
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("data") => options.data = Some(parser.value()?.into()),
            Arg::Long("out") => options.out = Some(parser.value()?.into()),
            Arg::Long("quick") => options.quick = true,
            Arg::Short('h') | Arg::Long("help") => options.help = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    let done = match options.help {
        true => printing::line(USAGE).map_err(|error| error.to_string()),
        false => laboratory(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn laboratory(options: &Options) -> Result<(), String> {
    let count = if options.quick { MESSAGES / 10 } else { MESSAGES };
    let traces = traces(options.data.as_deref(), count)?;
    let progress = ProgressBar::new((traces.len() * policies().len()) as u64);
    let mut found = Vec::new();
    let mut by_trace = String::new();
    for trace in &traces {
        let of_trace = measure_all(trace, options.quick, &progress);
        by_trace.push_str(&format!("\n## {}\n\n{}\n\n{}", trace.name, trace.about, trace_table(&of_trace)));
        found.push(of_trace);
    }
    progress.finish_and_clear();
    let report = format!(
        "{HEAD}{}\n{ABOUT}\n{CONCLUSIONS}\n{ALL_TRACES}{}{by_trace}",
        Circumstances::now(),
        summary_table(&found)
    );
    printing::line(&report).map_err(|error| error.to_string())?;
    match &options.out {
        Some(path) => std::fs::write(path, report).map_err(|error| format!("{}: {error}", path.display())),
        None => Ok(()),
    }
}

// ---- Traces.

fn traces(data: Option<&Path>, count: usize) -> Result<Vec<Trace>, String> {
    let mut traces = match data {
        Some(directory) => data_traces(directory, count)?,
        None => generated_traces(count),
    };
    let mix = mix_sizes(count).into_iter().map(|size| size as u32).collect();
    traces.push(trace("heavy tail", mix, 256));
    traces.push(trace("bimodal", bimodal_sizes(count), 128));
    traces.push(trace("shifting", shifting_sizes(count), 64));
    traces.push(trace("constant size", vec![1000; count], 50));
    Ok(traces)
}

fn trace(name: impl Into<String>, sizes: Vec<u32>, piece: usize) -> Trace {
    let mut sorted = sizes.clone();
    sorted.sort_unstable();
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
    let about = format!(
        "{} messages, median {} B, 95 % below {} B, largest {}; written in appends of {piece} B.",
        sizes.len(),
        at(0.5),
        at(0.95),
        bytes(at(1.0) as usize)
    );
    Trace { name: name.into().leak(), about, sizes, piece }
}

fn generated_traces(count: usize) -> Vec<Trace> {
    let mut parts = Vec::new();
    json_sizes(&workload::document(2_000), &mut parts);
    vec![
        trace("log lines, narrow (generated)", log_sizes(1, 110, 0.25, 0.0, count), 21),
        trace("log lines, stack traces (generated)", log_sizes(2, 190, 0.35, 0.02, count), 21),
        trace("log lines, wide (generated)", log_sizes(3, 290, 0.6, 0.005, count), 21),
        trace("JSON parts (generated)", shuffled(parts, count), 16),
    ]
}

fn data_traces(directory: &Path, count: usize) -> Result<Vec<Trace>, String> {
    let say = |path: &Path| format!("{}: ", path.display());
    let entries = std::fs::read_dir(directory).map_err(|error| say(directory) + &error.to_string())?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let mut traces = Vec::new();
    for path in paths {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        if name.ends_with(".log") {
            let text = std::fs::read(&path).map_err(|error| say(&path) + &error.to_string())?;
            let lines = text.split(|&byte| byte == b'\n').map(|line| line.len() as u32).filter(|&len| len > 0);
            // In the file's order: bursts of one kind of line are what a pool sees.
            let sizes: Vec<u32> = lines.collect::<Vec<_>>().into_iter().cycle().take(count).collect();
            traces.push(trace(name, sizes, 21));
        } else if name.ends_with(".json") {
            let text = std::fs::read(&path).map_err(|error| say(&path) + &error.to_string())?;
            let document = serde_json::from_slice(&text).map_err(|error| say(&path) + &error.to_string())?;
            let mut parts = Vec::new();
            json_sizes(&document, &mut parts);
            traces.push(trace(format!("parts of {name}"), shuffled(parts, count), 16));
        }
    }
    if traces.is_empty() { Err(format!("{}: no *.log and no *.json", directory.display())) } else { Ok(traces) }
}

// ---- Policies.

#[derive(Clone, Copy)]
struct Policy {
    default: DefaultSize,
    growth: Growth,
}

fn policies() -> Vec<Policy> {
    let defaults =
        [DefaultSize::Mode, DefaultSize::Percentile(0.75), DefaultSize::Percentile(0.9), DefaultSize::Percentile(0.95)];
    let mut policies = Vec::new();
    for default in defaults {
        for growth in [Growth::NextClass, Growth::MaxSize] {
            policies.push(Policy { default, growth });
        }
    }
    policies
}

impl Policy {
    /// With a threshold that lets the pool calibrate a few times in each half of the trace, whatever its length.
    fn pool(self, trace: &Trace) -> Pool {
        Pool::builder()
            .default_policy(self.default)
            .growth(self.growth)
            .calibrate_calls_threshold(trace.sizes.len() as u64 / 80)
            .build()
    }

    fn name(self) -> String {
        let default = match self.default {
            DefaultSize::Percentile(share) => format!("{:.0} %", share * 100.0),
            _ => "mode".to_owned(),
        };
        let growth = if self.growth == Growth::MaxSize { "max size" } else { "next class" };
        format!("{default}, {growth}")
    }
}

struct Found {
    nanoseconds: f64,
    growths: f64,
    cached_bytes: usize,
    high_water_bytes: usize,
}

/// One timed pass.
fn measure(policy: Policy, trace: &Trace, in_flight: usize) -> Found {
    let half = trace.sizes.len() / 2;
    let pool = policy.pool(trace);
    replay(&pool, &trace.sizes[..half], trace.piece, in_flight);
    forget_the_past(&pool);
    let before = pool.stats();
    let start = Instant::now();
    replay(&pool, &trace.sizes[half..], trace.piece, in_flight);
    let nanoseconds = start.elapsed().as_nanos() as f64 / (trace.sizes.len() - half) as f64;
    let after = pool.stats();
    let growths = (after.growths - before.growths) as f64 / (after.gets - before.gets) as f64;
    Found { nanoseconds, growths, cached_bytes: after.retained_bytes, high_water_bytes: 0 }
}

/// Frees what the untaught pool left behind: two intervals in which nothing is used. What is cached at the end is then
/// what the policy itself keeps in use.
fn forget_the_past(pool: &Pool) {
    pool.flush_thread();
    pool.trim();
    pool.trim();
}

fn message<'p>(pool: &'p Pool, payload: &[u8], size: u32, piece: usize) -> PooledBuf<&'p Pool> {
    let mut buf = pool.get();
    workload::write_message(&mut buf, payload, size as usize, piece);
    black_box(buf.as_slice());
    buf
}

fn replay(pool: &Pool, sizes: &[u32], piece: usize, in_flight: usize) {
    let payload = workload::payload(piece);
    let mut held = workload::places(in_flight);
    workload::hold_newest(sizes, &mut held, |size| message(pool, &payload, size, piece));
}

/// The same again, untimed, with the statistics read every few messages.
fn high_water(policy: Policy, trace: &Trace, in_flight: usize) -> usize {
    const EVERY: usize = 64;
    let pool = policy.pool(trace);
    let payload = workload::payload(trace.piece);
    let mut held: Vec<Option<PooledBuf<&Pool>>> = workload::places(in_flight);
    let mut borrowed_bytes = 0;
    let mut highest = 0;
    let half = trace.sizes.len() / 2;
    for (index, &size) in trace.sizes.iter().enumerate() {
        if index == half {
            forget_the_past(&pool);
        }
        let place = index % in_flight;
        borrowed_bytes -= held[place].take().map_or(0, |buf| buf.capacity());
        let buf = message(&pool, &payload, size, trace.piece);
        borrowed_bytes += buf.capacity();
        held[place] = Some(buf);
        if index >= half && index % EVERY == 0 {
            highest = highest.max(borrowed_bytes + pool.stats().retained_bytes);
        }
    }
    highest
}

/// Of one policy: with 1 buffer in flight, and with 64.
type Pair = [Found; 2];

/// The policies take turns, so that a noisy moment does not count against one of them; the fastest pass counts.
fn measure_all(trace: &Trace, quick: bool, progress: &ProgressBar) -> Vec<Pair> {
    const IN_FLIGHT: [usize; 2] = [1, workload::IN_FLIGHT];
    let passes = if quick { 1 } else { 5 };
    let pass = || policies().into_iter().map(|policy| IN_FLIGHT.map(|count| measure(policy, trace, count))).collect();
    let mut found: Vec<Pair> = pass();
    for _ in 1..passes {
        for (best, again) in found.iter_mut().flatten().zip(pass().iter().flatten()) {
            best.nanoseconds = best.nanoseconds.min(again.nanoseconds);
        }
    }
    for (policy, pair) in policies().into_iter().zip(&mut found) {
        for (count, found) in IN_FLIGHT.into_iter().zip(pair) {
            found.high_water_bytes = high_water(policy, trace, count);
        }
        progress.inc(1);
    }
    found
}

fn head(figures: [&str; 4]) -> Vec<String> {
    let columns = [1, workload::IN_FLIGHT].into_iter().flat_map(|n| figures.map(|figure| format!("{figure}, {n}")));
    ["policy".to_owned()].into_iter().chain(columns).collect()
}

fn trace_table(found: &[Pair]) -> String {
    let mut cells = vec![head(["ns", "growths", "cached", "high water"])];
    for (policy, pair) in policies().iter().zip(found) {
        let mut row = vec![policy.name()];
        for found in pair {
            row.push(format!("{:.0}", found.nanoseconds));
            row.push(format!("{:.3}", found.growths));
            row.push(bytes(found.cached_bytes));
            row.push(bytes(found.high_water_bytes));
        }
        cells.push(row);
    }
    table::markdown(&cells)
}

/// One is added to every figure, so that a policy without growths or cached bytes does not divide by zero.
fn summary_table(found: &[Vec<Pair>]) -> String {
    let figures: [fn(&Found) -> f64; 4] = [
        |found| found.nanoseconds,
        |found| 1.0 + found.growths,
        |found| 1.0 + found.cached_bytes as f64,
        |found| 1.0 + found.high_water_bytes as f64,
    ];
    let mut cells = vec![head(["time", "1 + growths", "cached", "high water"])];
    for (index, policy) in policies().iter().enumerate() {
        let mut row = vec![policy.name()];
        for in_flight in 0..2 {
            for figure in figures {
                let logarithm = |of_trace: &Vec<Pair>| {
                    let lowest = of_trace.iter().map(|pair| figure(&pair[in_flight])).fold(f64::MAX, f64::min);
                    (figure(&of_trace[index][in_flight]) / lowest).ln()
                };
                let mean = found.iter().map(logarithm).sum::<f64>() / found.len() as f64;
                row.push(format!("{:.2}x", mean.exp()));
            }
        }
        cells.push(row);
    }
    table::markdown(&cells)
}
