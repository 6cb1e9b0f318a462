//! The run as one SVG, narrow enough to be read on a phone. It follows the reader's choice of light or dark.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::dark::{BLUE, FAINT, TEXT, follow_the_reader};
use crate::day::{PARTS, PHASES};
use crate::watch::Sample;
use crate::witness::{COMMON, OWN};

const WIDTH: u32 = 600;
/// The lower edges of the panels.
const EDGES: [u32; 4] = [290, 470, 650, 940];

const GREY: RGBColor = RGBColor(140, 144, 152);
const RED: RGBColor = RGBColor(192, 40, 40);
/// Each of these, and what it is on a dark page.
const DARK_COLORS: [(RGBColor, RGBColor); 2] = [(GREY, RGBColor(139, 148, 158)), (RED, RGBColor(255, 107, 107))];

struct Panel {
    title: &'static str,
    x_title: &'static str,
    x_end: f64,
    y_label: fn(f64) -> String,
    lines: Vec<Line>,
}

struct Line {
    /// Stands at the end.
    name: &'static str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

/// A color, and what is drawn of a sample.
type Series = (RGBColor, fn(&Sample) -> f64);

pub fn plot(path: &Path, samples: &[Sample]) -> Result<(), Box<dyn Error>> {
    let memory: [Series; 3] =
        [(GREY, resident_mib), (BLUE, |sample| mib(sample.cached_bytes)), (RED, |_| mib(OWN.bytes + COMMON.bytes))];
    let in_use: [Series; 1] = [(BLUE, |sample| sample.outstanding as f64)];
    let p99: [Series; 1] = [(BLUE, |sample| sample.p99_ns.max(1.0).log10())];
    let memory_title = "Memory, MiB: resident (grey), cached (blue), both budgets (red)";
    let p99_title = "get + drop of 1 KiB, ns (logarithmic): 99th percentile of batches of 64";
    let panels = [
        along_the_run(memory_title, samples, &memory, whole),
        along_the_run("Buffers in use", samples, &in_use, whole),
        along_the_run(p99_title, samples, &p99, |log| whole(10_f64.powf(log))),
        at_equal_phases(samples),
    ];
    draw_all(path, &panels)
}

fn draw_all(path: &Path, panels: &[Panel]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (WIDTH, EDGES[3])).into_drawing_area();
    root.fill(&WHITE)?;
    root.draw(&Rectangle::new([(0, 0), (WIDTH as i32 - 1, EDGES[3] as i32 - 1)], FAINT))?;
    for (area, panel) in root.split_by_breakpoints([0; 0], &EDGES[..3]).iter().zip(panels) {
        draw(area, panel)?;
    }
    root.present()?;
    follow_the_reader(path, &DARK_COLORS)
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn resident_mib(sample: &Sample) -> f64 {
    mib(sample.resident_bytes)
}

fn whole(number: f64) -> String {
    format!("{number:.0}")
}

fn along_the_run(title: &'static str, samples: &[Sample], series: &[Series], y_label: fn(f64) -> String) -> Panel {
    let minutes = |sample: &Sample| sample.at.as_secs_f64() / 60.0;
    let line = |&(color, figure): &Series| Line {
        name: "",
        color,
        points: samples.iter().map(|sample| (minutes(sample), figure(sample))).collect(),
    };
    let x_end = samples.last().map_or(1.0, minutes);
    Panel { title, x_title: "minutes", x_end, y_label, lines: series.iter().map(line).collect() }
}

/// What the law of resident memory compares.
fn at_equal_phases(samples: &[Sample]) -> Panel {
    let title = "Resident MiB at equal phases: the middle third (grey), the last (blue)";
    let parts = PARTS as usize;
    let third = samples.len() / parts / 3 * parts;
    let compared = samples[samples.len() - 2 * third..].chunks(parts).enumerate().map(|(number, period)| Line {
        name: "",
        color: if number * parts < third { GREY } else { BLUE },
        points: period.iter().enumerate().map(|(part, sample)| (part as f64 + 0.5, resident_mib(sample))).collect(),
    });
    let top = samples.iter().map(resident_mib).fold(1.0, f64::max);
    let begins = |phase: usize| f64::from(PHASES[..phase].iter().map(|phase| phase.parts).sum::<u32>());
    let borders = PHASES.iter().enumerate().map(|(number, phase)| Line {
        name: phase.name,
        color: FAINT,
        // In two rows, as the names of short phases would overlap.
        points: vec![(begins(number), 0.0), (begins(number), top * if number % 2 == 0 { 1.3 } else { 1.2 })],
    });
    let lines = borders.chain(compared).collect();
    Panel { title, x_title: "parts of a period", x_end: f64::from(PARTS), y_label: whole, lines }
}

fn draw(area: &DrawingArea<SVGBackend<'_>, Shift>, panel: &Panel) -> Result<(), Box<dyn Error>> {
    // The SVG backend writes 1 / 1.24 of the size that it is given.
    let label = |size: f64| ("sans-serif", size * 1.24).into_font().color(&TEXT);
    let top = panel.lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(panel.title, label(15.0))
        .margin(10)
        .margin_right(30)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..panel.x_end, 0.0..1.1 * top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .axis_style(TEXT)
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .x_desc(panel.x_title)
        .x_label_formatter(&|x| format!("{}", (x * 10.0).round() / 10.0))
        .y_label_formatter(&|y| (panel.y_label)(*y))
        .y_labels(5)
        .label_style(label(13.0))
        .draw()?;
    for Line { name, color, points } in &panel.lines {
        chart.draw_series(LineSeries::new(points.iter().copied(), color))?;
        if let Some(&end) = points.last() {
            chart.draw_series([Text::new(format!(" {name}"), end, label(13.0))])?;
        }
    }
    Ok(())
}
