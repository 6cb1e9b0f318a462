//! Plots what a pool keeps while an attacker chooses the sizes of messages: idle bytes, resident memory, and both
//! learned sizes, over the messages of five attacks, as an SVG file. tests/hostile.rs asserts the bounds drawn here.
//!
//!     cargo run --release -p bytebufferpool-hostile [FILE.svg]

use std::error::Error;
use std::ops::Range;
use std::process::ExitCode;

use bytebufferpool::{Pool, PooledBuf, Stats};
use plotters::coord::Shift;
use plotters::prelude::*;

const BUDGET: usize = 16 << 20;
const DEFAULT_LIMIT: usize = 64 << 10;
const MAX_LIMIT: usize = 1 << 20;
const THRESHOLD: u64 = 200;
const MESSAGES_PER_ATTACK: usize = 4_000;

/// A name, what one message of it does, and how many buffers it holds at once.
struct Attack {
    name: &'static str,
    message: fn(&Pool, usize) -> PooledBuf<&Pool>,
    held_max: usize,
}

const ATTACKS: [Attack; 5] = [
    Attack { name: "ordinary traffic", message: ordinary, held_max: 8 },
    Attack { name: "sizes alternate", message: alternating, held_max: 8 },
    Attack { name: "one giant per window", message: one_giant_per_window, held_max: 8 },
    Attack { name: "asked, never used", message: asked_never_used, held_max: 8 },
    Attack { name: "many large ones held", message: many_large_held, held_max: 100 },
];

fn main() -> ExitCode {
    let file = std::env::args().nth(1).unwrap_or_else(|| "hostile.svg".to_owned());
    let samples = run();
    summarize(&samples);
    match plot(&file, &samples) {
        Ok(()) => {
            println!("plotted to {file}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hostile: cannot plot to {file}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn ordinary(pool: &Pool, i: usize) -> PooledBuf<&Pool> {
    written(pool.get(), 100 + i * 7919 % 1900)
}

fn alternating(pool: &Pool, i: usize) -> PooledBuf<&Pool> {
    written(pool.get(), if i / (THRESHOLD as usize + 1) % 2 == 0 { 1 } else { 900 << 10 })
}

fn one_giant_per_window(pool: &Pool, i: usize) -> PooledBuf<&Pool> {
    written(pool.get(), if i % THRESHOLD as usize == 0 { 24 << 20 } else { 100 })
}

fn asked_never_used(pool: &Pool, i: usize) -> PooledBuf<&Pool> {
    pool.get_with_capacity(if i % 2 == 0 { MAX_LIMIT } else { 32 << 20 })
}

fn many_large_held(pool: &Pool, _: usize) -> PooledBuf<&Pool> {
    written(pool.get(), 300 << 10)
}

fn written(mut buf: PooledBuf<&Pool>, len: usize) -> PooledBuf<&Pool> {
    buf.resize(len, 0xaa);
    buf
}

struct Sample {
    attack: usize,
    stats: Stats,
    resident_bytes: usize,
}

/// All attacks one after the other on one pool. An interval of the operator's trimmer passes ten times in each.
fn run() -> Vec<Sample> {
    let pool = Pool::builder()
        .calibrate_calls_threshold(THRESHOLD)
        .default_size_limit(DEFAULT_LIMIT)
        .max_size_limit(MAX_LIMIT)
        .retained_bytes_max(BUDGET)
        .build();
    let mut samples = Vec::new();
    for (attack, Attack { message, held_max, .. }) in ATTACKS.iter().enumerate() {
        let mut held = Vec::new();
        for i in 0..MESSAGES_PER_ATTACK {
            if held.len() == *held_max {
                held.clear();
            }
            held.push(message(&pool, i));
            if i % (MESSAGES_PER_ATTACK / 10) == 0 {
                pool.trim();
            }
            if i % 10 == 0 {
                samples.push(Sample { attack, stats: pool.stats(), resident_bytes: resident_bytes() });
            }
        }
    }
    samples
}

/// Resident bytes of this process; 0 where there is no /proc.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    kib.and_then(|kib| kib.trim().trim_end_matches(" kB").parse::<usize>().ok()).unwrap_or(0) << 10
}

fn summarize(samples: &[Sample]) {
    println!(
        "budget {} KiB, default size limit {} KiB, max size limit {} KiB",
        BUDGET >> 10,
        DEFAULT_LIMIT >> 10,
        MAX_LIMIT >> 10
    );
    println!("{:<22} {:>10} {:>10} {:>10} {:>10}  most, in KiB", "", "idle", "resident", "default", "max");
    for (attack, Attack { name, .. }) in ATTACKS.iter().enumerate() {
        let most = |figure: fn(&Sample) -> usize| {
            samples.iter().filter(|sample| sample.attack == attack).map(figure).max().unwrap_or(0) as f64 / 1024.0
        };
        println!(
            "{name:<22} {:>10.1} {:>10.0} {:>10.2} {:>10.2}",
            most(|sample| sample.stats.retained_bytes),
            most(|sample| sample.resident_bytes),
            most(|sample| sample.stats.default_size),
            most(|sample| sample.stats.max_size),
        );
    }
}

type Line = (&'static str, RGBColor, fn(&Sample) -> usize);

const MEMORY: [Line; 2] = [
    ("idle in the pool", BLUE, |sample| sample.stats.retained_bytes),
    ("resident", BLACK, |sample| sample.resident_bytes),
];
const SIZES: [Line; 2] =
    [("default size", BLUE, |sample| sample.stats.default_size), ("max size", BLACK, |sample| sample.stats.max_size)];

fn plot(file: &str, samples: &[Sample]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(file, (1200, 800)).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(400);
    let limits = [("budget", BUDGET)];
    panel(&upper, "Memory under attack (bytes, log)", 1 << 12..1 << 28, &MEMORY, &limits, samples)?;
    let limits = [("default_size_limit", DEFAULT_LIMIT), ("max_size_limit", MAX_LIMIT)];
    panel(&lower, "Learned sizes (bytes, log)", 32..1 << 26, &SIZES, &limits, samples)?;
    root.present()?;
    Ok(())
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    bytes: Range<usize>,
    lines: &[Line],
    limits: &[(&str, usize)],
    samples: &[Sample],
) -> Result<(), Box<dyn Error>> {
    let log_bytes = (bytes.start as f64..bytes.end as f64).log_scale().base(2.0);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..samples.len() as f64, log_bytes)?;
    let attack_at =
        |x: &f64| samples.get(*x as usize).map_or(String::new(), |sample| ATTACKS[sample.attack].name.to_owned());
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(ATTACKS.len() * 2)
        .x_label_formatter(&attack_at)
        .y_label_formatter(&|bytes| human(*bytes))
        .draw()?;
    for &(name, color, figure) in lines {
        // A logarithm has no zero: what is nothing lies on the floor.
        let point = |(x, sample): (usize, &Sample)| (x as f64, figure(sample).max(bytes.start) as f64);
        chart
            .draw_series(LineSeries::new(samples.iter().enumerate().map(point), color))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color));
    }
    for &(name, limit) in limits {
        let ends = [(0.0, limit as f64), (samples.len() as f64, limit as f64)];
        chart
            .draw_series(LineSeries::new(ends, RED))?
            .label(name)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], RED));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    Ok(())
}

fn human(bytes: f64) -> String {
    match bytes {
        ..1024.0 => format!("{bytes:.0} B"),
        ..1048576.0 => format!("{:.0} KiB", bytes / 1024.0),
        _ => format!("{:.0} MiB", bytes / 1048576.0),
    }
}
