//! The run as one SVG: a white card with dark text, so that it reads on a dark page too.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::day::{PARTS, PHASES};
use crate::watch::Sample;
use crate::witness::{COMMON, OWN};

const WIDTH: u32 = 1100;
/// Lower edges of the panels.
const EDGES: [u32; 4] = [290, 460, 630, 920];
const NAMES_WIDTH: u32 = 130;
const MIB: f64 = (1 << 20) as f64;

const TEXT: RGBColor = RGBColor(30, 34, 40);
const BLUE: RGBColor = RGBColor(0, 110, 184);
const GREY: RGBColor = RGBColor(150, 154, 162);
const RED: RGBColor = RGBColor(192, 40, 40);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

struct Panel {
    title: &'static str,
    x: Range<f64>,
    x_title: &'static str,
    y: Range<f64>,
    y_label: fn(f64) -> String,
    lines: Vec<Line>,
}

struct Line {
    /// Lines that follow each other under one name are named once.
    name: &'static str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

pub fn plot(path: &Path, samples: &[Sample]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (WIDTH, EDGES[3])).into_drawing_area();
    root.fill(&WHITE)?;
    root.draw(&Rectangle::new([(0, 0), (WIDTH as i32 - 1, EDGES[3] as i32 - 1)], TEXT.mix(0.2)))?;
    let areas = root.split_by_breakpoints([0; 0], &EDGES[..3]);
    let memory = memory(samples);
    let phases = phases(samples, memory.y.clone());
    for (area, panel) in areas.iter().zip([memory, outstanding(samples), latency(samples), phases]) {
        panel.draw(area)?;
    }
    root.present()?;
    Ok(())
}

fn memory(samples: &[Sample]) -> Panel {
    let lines = vec![
        along("RSS", GREY, samples, |sample| sample.resident_bytes as f64 / MIB),
        along("cached", BLUE, samples, |sample| sample.cached_bytes as f64 / MIB),
        along("both budgets", RED, samples, |_| (OWN.bytes + COMMON.bytes) as f64 / MIB),
    ];
    Panel::along("Memory, MiB", samples, lines, |mib| format!("{mib:.0}"))
}

fn outstanding(samples: &[Sample]) -> Panel {
    let line = along("outstanding", BLUE, samples, |sample| sample.outstanding as f64);
    Panel::along("Buffers in use", samples, vec![line], |buffers| format!("{buffers:.0}"))
}

fn latency(samples: &[Sample]) -> Panel {
    let line = along("p99", BLUE, samples, |sample| sample.p99_ns.max(1.0).log10());
    let title = "get + drop of 1 KiB, 99th percentile of batches of 64, ns (logarithmic)";
    Panel::along(title, samples, vec![line], |log| format!("{:.0}", 10_f64.powf(log)))
}

/// The law of resident memory: every period of the two thirds that it compares.
fn phases(samples: &[Sample], y: Range<f64>) -> Panel {
    let parts = PARTS as usize;
    let third = samples.len() / parts / 3 * parts;
    let (before, last) = samples.split_at(samples.len() - third);
    let of = |name, color, third: &[Sample]| {
        let points = |(part, sample): (usize, &Sample)| (part as f64 + 0.5, sample.resident_bytes as f64 / MIB);
        let line = |period: &[Sample]| Line { name, color, points: period.iter().enumerate().map(points).collect() };
        third.chunks(parts).map(line).collect::<Vec<_>>()
    };
    let mut lines = of("middle third", GREY, &before[before.len() - third..]);
    lines.extend(of("last third", BLUE, last));
    let mut begins = 0.0;
    for phase in &PHASES {
        lines.push(Line { name: phase.name, color: TEXT, points: vec![(begins, y.start), (begins, y.end)] });
        begins += f64::from(phase.parts);
    }
    let title = "RSS at equal phases, MiB";
    Panel {
        title,
        x: 0.0..f64::from(PARTS),
        x_title: "parts of a period",
        y,
        y_label: |mib| format!("{mib:.0}"),
        lines,
    }
}

fn minutes(sample: &Sample) -> f64 {
    sample.at.as_secs_f64() / 60.0
}

fn along(name: &'static str, color: RGBColor, samples: &[Sample], figure: fn(&Sample) -> f64) -> Line {
    Line { name, color, points: samples.iter().map(|sample| (minutes(sample), figure(sample))).collect() }
}

fn label(size: u32, color: RGBColor) -> TextStyle<'static> {
    // The SVG backend writes 1 / 1.24 of the size that it is given.
    ("sans-serif", f64::from(size) * 1.24).into_font().color(&color)
}

impl Panel {
    /// Along the whole run.
    fn along(title: &'static str, samples: &[Sample], lines: Vec<Line>, y_label: fn(f64) -> String) -> Panel {
        let top = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(1.0, f64::max);
        let x = 0.0..samples.last().map_or(1.0, minutes);
        Panel { title, x, x_title: "minutes", y: 0.0..1.1 * top, y_label, lines }
    }

    fn draw(self, area: &Area<'_>) -> Result<(), Box<dyn Error>> {
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, label(14, TEXT))
            .margin(10)
            .margin_right(NAMES_WIDTH)
            .x_label_area_size(34)
            .y_label_area_size(50)
            .build_cartesian_2d(self.x, self.y)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(TEXT.mix(0.12))
            .x_desc(self.x_title)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| (self.y_label)(*y))
            .y_labels(5)
            .label_style(label(11, TEXT))
            .draw()?;
        let mut named = "";
        for Line { name, color, points } in &self.lines {
            chart.draw_series(LineSeries::new(points.iter().copied(), color))?;
            if let Some(&(x, y)) = points.last().filter(|_| *name != named) {
                chart.draw_series([Text::new(format!(" {name}"), (x, y), label(11, *color))])?;
            }
            named = name;
        }
        Ok(())
    }
}
