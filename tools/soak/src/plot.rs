//! The run as one SVG: a white card with dark text, so that it reads on a dark page too.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::day::{PARTS, PHASES};
use crate::watch::Sample;
use crate::witness::{COMMON, OWN};

const WIDTH: u32 = 1100;
const HEIGHTS: [u32; 4] = [300, 170, 170, 300];
const NAMES_WIDTH: u32 = 130;
const MIB: f64 = (1 << 20) as f64;

const TEXT: RGBColor = RGBColor(30, 34, 40);
const FAINT: RGBColor = RGBColor(208, 215, 222);
const BLUE: RGBColor = RGBColor(0, 110, 184);
const GREY: RGBColor = RGBColor(112, 116, 124);
const RED: RGBColor = RGBColor(192, 40, 40);

/// More points than this along the run are joined to bands, from the least to the most.
const POINTS_MAX: usize = 360;

type Plotted = Result<(), Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A name, a color, and a figure of a sample.
type Series = (&'static str, RGBColor, fn(&Sample) -> f64);

const MEMORY: [Series; 2] = [
    ("RSS", GREY, |sample| sample.resident_bytes as f64 / MIB),
    ("cached", BLUE, |sample| sample.cached_bytes as f64 / MIB),
];
const OUTSTANDING: [Series; 1] = [("outstanding", BLUE, |sample| (sample.outstanding as f64).max(1.0))];
const LATENCY: [Series; 1] = [("p99", BLUE, |sample| sample.p99_ns.max(1.0))];

pub fn plot(path: &Path, samples: &[Sample], period: Duration) -> Plotted {
    let height: u32 = HEIGHTS.iter().sum();
    let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    root.draw(&Rectangle::new([(0, 0), (WIDTH as i32 - 1, height as i32 - 1)], FAINT.stroke_width(1)))?;
    let breaks = HEIGHTS.iter().scan(0, |end, height| {
        *end += height;
        Some(*end)
    });
    let areas = root.split_by_breakpoints::<u32, u32, _, _>([], breaks.take(HEIGHTS.len() - 1).collect::<Vec<_>>());
    let budgets = (OWN.bytes + COMMON.bytes) as f64 / MIB;
    let top = greatest(samples, MEMORY[0].2).max(budgets) * 1.1;
    along_the_run(&areas[0], "Memory, MiB", 0.0..top, &MEMORY, samples, Some(budgets))?;
    let outstanding = (1.0..greatest(samples, OUTSTANDING[0].2) * 2.0).log_scale();
    along_the_run(&areas[1], "Buffers outstanding", outstanding, &OUTSTANDING, samples, None)?;
    let latency = (1.0..greatest(samples, LATENCY[0].2) * 2.0).log_scale();
    along_the_run(&areas[2], "get + drop of 1 KiB, 99th percentile of batches of 64, ns", latency, &LATENCY, samples, None)?;
    by_phase(&areas[3], top, samples, period)?;
    root.present()?;
    Ok(())
}

fn greatest(samples: &[Sample], figure: fn(&Sample) -> f64) -> f64 {
    samples.iter().map(figure).fold(1.0, f64::max)
}

fn label(size: u32) -> TextStyle<'static> {
    // The SVG backend writes 1 / 1.24 of the size that it is given.
    ("sans-serif", f64::from(size) * 1.24).into_font().color(&TEXT)
}

fn along_the_run<Y>(area: &Area<'_>, title: &str, y: Y, series: &[Series], samples: &[Sample], limit: Option<f64>) -> Plotted
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let minutes = |sample: &Sample| sample.at.as_secs_f64() / 60.0;
    let end = samples.last().map_or(1.0, minutes);
    let mut chart = builder(area, title).build_cartesian_2d(0.0..end, y)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(TEXT.mix(0.12))
        .x_desc("minutes")
        .x_label_formatter(&|minutes| format!("{minutes}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .y_labels(5)
        .label_style(label(11))
        .draw()?;
    let mut names = Vec::new();
    if let Some(limit) = limit {
        let ends = [(0.0, limit), (end, limit)];
        chart.draw_series(DashedLineSeries::new(ends, 8, 5, RED.stroke_width(1)))?;
        names.push((format!("budgets: {limit:.0} MiB"), RED, chart.backend_coord(&(end, limit)).1));
    }
    for &(name, color, figure) in series {
        let points: Vec<(f64, f64, f64)> = samples
            .chunks(samples.len().div_ceil(POINTS_MAX).max(1))
            .map(|samples| {
                let least = samples.iter().map(figure).fold(f64::MAX, f64::min);
                (minutes(&samples[0]), least, greatest(samples, figure).max(least))
            })
            .collect();
        let most = points.iter().map(|&(x, _, most)| (x, most));
        let outline = most.clone().chain(points.iter().rev().map(|&(x, least, _)| (x, least)));
        chart.draw_series([Polygon::new(outline.collect::<Vec<_>>(), color.mix(0.3))])?;
        chart.draw_series(LineSeries::new(most, color.stroke_width(1)))?;
        let last = samples.last().map_or(1.0, figure);
        names.push((name.to_owned(), color, chart.backend_coord(&(end, last)).1));
    }
    name_at_the_end(area, names)
}

/// The law of the resident memory as it is judged, and every sample of both thirds behind it.
fn by_phase(area: &Area<'_>, top: f64, samples: &[Sample], period: Duration) -> Plotted {
    let thirds = samples.len() / PARTS as usize / 3 * PARTS as usize;
    let (middle, last) = (samples.len() - 2 * thirds, samples.len() - thirds);
    let title = "RSS at equal phases, MiB: each period of the middle third and of the last";
    let parts = f64::from(PARTS);
    let mut chart = builder(area, title).build_cartesian_2d(0.0..parts, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(TEXT.mix(0.12))
        .x_desc(format!("sixtieths of a period of {} s", period.as_secs()))
        .x_label_formatter(&|part| format!("{part:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .label_style(label(11))
        .draw()?;
    let mut begins = 0.0;
    for phase in &PHASES {
        chart.draw_series(LineSeries::new([(begins, 0.0), (begins, top)], TEXT.mix(0.3)))?;
        chart.draw_series([Text::new(phase.name, (begins + 0.4, top * 0.97), label(11))])?;
        begins += f64::from(phase.parts);
    }
    let mut names = Vec::new();
    for (name, color, samples) in
        [("middle third", GREY, &samples[middle..last]), ("last third", BLUE, &samples[last..])]
    {
        for period in samples.chunks(PARTS as usize) {
            let points = period.iter().enumerate().map(|(part, sample)| (part as f64 + 0.5, MEMORY[0].2(sample)));
            chart.draw_series(LineSeries::new(points, color.mix(0.6)))?;
        }
        let end = samples.last().map_or(0.0, MEMORY[0].2);
        names.push((name.to_owned(), color, chart.backend_coord(&(parts, end)).1));
    }
    name_at_the_end(area, names)
}

fn builder<'a, 'b>(area: &'a Area<'b>, title: &str) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder
        .caption(title, ("sans-serif", 14.0 * 1.24, FontStyle::Bold).into_font().color(&TEXT))
        .margin(10)
        .margin_right(NAMES_WIDTH)
        .x_label_area_size(34)
        .y_label_area_size(50);
    builder
}

/// Names to the right of a panel, each at its height or as near to it as the others leave room.
fn name_at_the_end(area: &Area<'_>, mut names: Vec<(String, RGBColor, i32)>) -> Plotted {
    const APART: i32 = 15;
    names.sort_by_key(|&(.., y)| y);
    let mut free = i32::MIN;
    for (name, color, y) in names {
        let y = (y - area.get_base_pixel().1 - APART / 2).max(free);
        free = y + APART;
        let style = ("sans-serif", 12.0 * 1.24).into_font().color(&color);
        area.draw(&Text::new(name, ((WIDTH - NAMES_WIDTH) as i32 + 8, y), style))?;
    }
    Ok(())
}
