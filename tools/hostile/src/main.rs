//! Plots what a pool keeps while an attacker chooses the sizes of messages: idle bytes, resident memory, and both
//! learned sizes, over the messages of four attacks after ordinary traffic, as an SVG file. tests/hostile.rs asserts the
//! bounds drawn here.
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

/// Small, as what the samples take is resident too.
struct Sample {
    attack: usize,
    idle_bytes: usize,
    default_size: usize,
    max_size: usize,
    resident_bytes: usize,
}

impl Sample {
    fn of(attack: usize, stats: &Stats) -> Sample {
        Sample {
            attack,
            idle_bytes: stats.retained_bytes,
            default_size: stats.default_size,
            max_size: stats.max_size,
            resident_bytes: resident_bytes(),
        }
    }
}

/// All attacks one after the other on one pool. An interval of the operator's trimmer passes ten times in each.
fn run() -> Vec<Sample> {
    let pool = Pool::builder()
        .calibrate_calls_threshold(THRESHOLD)
        .default_size_limit(DEFAULT_LIMIT)
        .max_size_limit(MAX_LIMIT)
        .retained_bytes_max(BUDGET)
        .build();
    let mut samples = Vec::with_capacity(ATTACKS.len() * MESSAGES_PER_ATTACK);
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
            samples.push(Sample::of(attack, &pool.stats()));
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
            most(|sample| sample.idle_bytes),
            most(|sample| sample.resident_bytes),
            most(|sample| sample.default_size),
            most(|sample| sample.max_size),
        );
    }
}

type Line = (&'static str, RGBColor, fn(&Sample) -> usize);

const MEMORY: [Line; 2] =
    [("resident memory", GREY, |sample| sample.resident_bytes), ("idle in the pool", BLUE, |sample| sample.idle_bytes)];
const SIZES: [Line; 2] =
    [("max size", GREY, |sample| sample.max_size), ("default size", BLUE, |sample| sample.default_size)];

const BLUE: RGBColor = RGBColor(0x1F, 0x5F, 0xBF);
const GREY: RGBColor = RGBColor(0x70, 0x74, 0x7C);
const RED: RGBColor = RGBColor(0xC0, 0x28, 0x28);
const INK: RGBColor = RGBColor(0x1E, 0x22, 0x28);

/// A point is drawn for so many messages: as the least and the most among them, so that no peak is lost.
const MESSAGES_PER_POINT: usize = 20;

fn plot(file: &str, samples: &[Sample]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(file, (1200, 800)).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(400);
    let limits = [("retained_bytes_max", BUDGET)];
    let title = "Memory while an attacker chooses the sizes (bytes, logarithmic; the process holds the messages too)";
    panel(&upper, title, 1 << 10..1 << 27, &MEMORY, &limits, samples)?;
    let limits = [("default_size_limit", DEFAULT_LIMIT), ("max_size_limit", MAX_LIMIT)];
    panel(&lower, "What the pool learns from them (bytes, logarithmic)", 32..1 << 23, &SIZES, &limits, samples)?;
    root.present()?;
    Ok(())
}

/// The attacks side by side, each with its name above; a name at the end of each line and at each limit, dashed.
fn panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    bytes: Range<usize>,
    lines: &[Line],
    limits: &[(&str, usize)],
    samples: &[Sample],
) -> Result<(), Box<dyn Error>> {
    let messages = samples.len() as f64;
    let (floor, top) = (bytes.start as f64, bytes.end as f64);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 17).into_font().color(&INK))
        .margin(10)
        .margin_right(180)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..messages, (floor..top).log_scale().base(4.0))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("messages")
        .x_label_formatter(&|message| format!("{message:.0}"))
        .y_label_formatter(&|bytes| human(*bytes))
        .label_style(("sans-serif", 12).into_font().color(&INK))
        .draw()?;
    for (attack, Attack { name, .. }) in ATTACKS.iter().enumerate() {
        let begins = (attack * MESSAGES_PER_ATTACK) as f64;
        let style = ("sans-serif", 13).into_font().color(&INK);
        chart.draw_series([Text::new(*name, (begins + 60.0, top * 0.8), style)])?;
        chart.draw_series(LineSeries::new([(begins, floor), (begins, top)], INK.mix(0.3)))?;
    }
    let mut names = Vec::new();
    for &(name, limit) in limits {
        let ends = [(0.0, limit as f64), (messages, limit as f64)];
        chart.draw_series(DashedLineSeries::new(ends, 8, 5, RED.stroke_width(2)))?;
        names.push((format!("{name}, {}", human(limit as f64)), RED, chart.backend_coord(&(messages, limit as f64))));
    }
    for &(name, color, figure) in lines {
        let points: Vec<[(f64, f64); 2]> = samples
            .chunks(MESSAGES_PER_POINT)
            .enumerate()
            .map(|(point, samples)| {
                let figures = samples.iter().map(figure);
                let (least, most) = (figures.clone().min().unwrap_or(0), figures.max().unwrap_or(0));
                let message = (point * MESSAGES_PER_POINT) as f64;
                // A logarithm has no zero: what is nothing lies on the floor.
                [least, most].map(|bytes| (message, (bytes as f64).max(floor)))
            })
            .collect();
        let outline = points.iter().map(|[least, _]| *least).chain(points.iter().rev().map(|[_, most]| *most));
        chart.draw_series([Polygon::new(outline.collect::<Vec<_>>(), color.mix(0.25))])?;
        chart.draw_series(LineSeries::new(points.iter().map(|[_, most]| *most), color.stroke_width(2)))?;
        let last = samples.last().map_or(floor, |sample| (figure(sample) as f64).max(floor));
        names.push((name.to_owned(), color, chart.backend_coord(&(messages, last))));
    }
    name_at_the_end(area, names)
}

/// Names to the right of the plot, each at its height or as near to it as the others leave room.
fn name_at_the_end(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    mut names: Vec<(String, RGBColor, (i32, i32))>,
) -> Result<(), Box<dyn Error>> {
    const APART: i32 = 16;
    names.sort_by_key(|&(_, _, (_, y))| y);
    let (base, mut free) = (area.get_base_pixel(), i32::MIN);
    for (name, color, (x, y)) in names {
        let y = (y - base.1 - APART / 2).max(free);
        free = y + APART;
        area.draw(&Text::new(name, (x - base.0 + 8, y), ("sans-serif", 13).into_font().color(&color)))?;
    }
    Ok(())
}

fn human(bytes: f64) -> String {
    match bytes {
        ..1024.0 => format!("{bytes:.0} B"),
        ..1048576.0 => format!("{:.0} KiB", bytes / 1024.0),
        _ => format!("{:.0} MiB", bytes / 1048576.0),
    }
}
