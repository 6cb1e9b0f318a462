//! One SVG per group, narrow enough to be read on a phone. It follows the reader's choice of light or dark; no font files
//! are looked up.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::contenders::Role;
use crate::dark::{BLUE, FAINT, TEXT, follow_the_reader};
use crate::run::{Line, Result};
use crate::table::{bytes, time};

const OURS_COLOR: RGBColor = BLUE;
const PEER_COLOR: RGBColor = RGBColor(150, 158, 168);
const CONTROL_COLOR: RGBColor = RGBColor(214, 188, 120);
const LINE_COLORS: [RGBColor; 11] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(120, 94, 240),
    RGBColor(130, 90, 44),
    RGBColor(86, 180, 233),
    RGBColor(110, 110, 110),
    RGBColor(190, 160, 20),
    RGBColor(170, 20, 40),
    RGBColor(20, 100, 60),
    RGBColor(90, 30, 130),
];
/// Each of these, and what it is on a dark page.
const DARK_COLORS: [(RGBColor, RGBColor); 13] = [
    (PEER_COLOR, RGBColor(110, 118, 129)),
    (CONTROL_COLOR, RGBColor(168, 135, 59)),
    (LINE_COLORS[0], RGBColor(255, 138, 61)),
    (LINE_COLORS[1], RGBColor(47, 199, 155)),
    (LINE_COLORS[2], RGBColor(226, 156, 196)),
    (LINE_COLORS[3], RGBColor(168, 147, 255)),
    (LINE_COLORS[4], RGBColor(199, 154, 99)),
    (LINE_COLORS[5], RGBColor(124, 200, 245)),
    (LINE_COLORS[6], RGBColor(165, 165, 165)),
    (LINE_COLORS[7], RGBColor(217, 191, 60)),
    (LINE_COLORS[8], RGBColor(255, 107, 122)),
    (LINE_COLORS[9], RGBColor(79, 179, 127)),
    (LINE_COLORS[10], RGBColor(192, 125, 232)),
];

type Plotted = std::result::Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// `about` is the question of the group.
pub fn plot(group: &str, about: &str, lines: &[Line], path: &Path) -> Plotted {
    let steps: Vec<&Line> = lines.iter().filter(|line| group == "pair" && is_step(line)).collect();
    if steps.len() > 1 {
        plot_lines(&steps, path)?
    } else {
        plot_bars(about, lines, path)?
    }
    follow_the_reader(path, &DARK_COLORS)
}

/// A row of `pair` that is named by nothing but its size.
fn is_step(line: &Line) -> bool {
    line.name.split_once(' ').is_some_and(|(number, _)| number.parse::<u32>().is_ok())
}

fn color(role: Role) -> RGBColor {
    match role {
        Role::Ours => OURS_COLOR,
        Role::Peer => PEER_COLOR,
        Role::Control => CONTROL_COLOR,
    }
}

fn label(size: u32) -> TextStyle<'static> {
    // The SVG backend writes 1 / 1.24 of the size that it is given.
    ("sans-serif", f64::from(size) * 1.24).into_font().color(&TEXT)
}

fn bold(size: u32) -> TextStyle<'static> {
    ("sans-serif", f64::from(size) * 1.24, FontStyle::Bold).into_font().color(&TEXT)
}

fn card<'a>(path: &'a Path, (width, height): (u32, u32)) -> std::result::Result<Area<'a>, Box<dyn std::error::Error>> {
    let root = SVGBackend::new(path, (width, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let corner = (width as i32 - 1, height as i32 - 1);
    root.draw(&Rectangle::new([(0, 0), corner], FAINT.stroke_width(1)))?;
    Ok(root)
}

// ---- Bars.

const PANEL_WIDTH: i32 = 480;
const HEAD_HEIGHT: i32 = 62;
const TITLE_HEIGHT: i32 = 20;
/// Of a title's line, for each column of panels.
const TITLE_CHARS: usize = 58;
const BAR_HEIGHT: i32 = 18;
const NAME_WIDTH: i32 = 174;
const VALUE_WIDTH: i32 = 62;
/// Cached bytes have bars of their own, beside those of time.
const CACHED_WIDTH: i32 = 126;

/// A panel per row, a bar per contender, the fastest on top. Few panels stand below each other, as a phone shows two
/// columns too small to read.
fn plot_bars(about: &str, lines: &[Line], path: &Path) -> Plotted {
    let columns = if lines.len() <= 4 { 1 } else { 2 };
    let bars = lines.iter().map(|line| line.results.len()).max().unwrap_or(0) as i32;
    let panel_height = 50 + bars * BAR_HEIGHT + 14;
    let panel_rows = lines.len().div_ceil(columns) as i32;
    let width = PANEL_WIDTH * columns as i32 + 12;
    // Whose pattern it is stands on the page.
    let title = about.split_once(" (").map_or(about, |parts| parts.0).replace('`', "");
    let title = wrapped(&title, TITLE_CHARS * columns);
    let head_height = HEAD_HEIGHT + (title.len() as i32 - 1) * TITLE_HEIGHT;
    let root = card(path, (width as u32, (head_height + panel_rows * panel_height) as u32))?;
    for (index, part) in title.into_iter().enumerate() {
        root.draw(&Text::new(part, (16, 14 + index as i32 * TITLE_HEIGHT), bold(15)))?;
    }
    legend(&root, head_height - 23)?;
    for (index, line) in lines.iter().enumerate() {
        let origin = ((index % columns) as i32 * PANEL_WIDTH, head_height + (index / columns) as i32 * panel_height);
        panel(&root, line, origin)?;
    }
    root.present()?;
    Ok(())
}

fn wrapped(text: &str, chars: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is one from the beginning");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= chars {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

fn legend(root: &Area<'_>, y: i32) -> Plotted {
    let mut x = 16;
    for (role, text, width) in [
        (Role::Ours, "this crate", 96),
        (Role::Peer, "other pools", 104),
        (Role::Control, "without a pool; shorter is better", 0),
    ] {
        root.draw(&Rectangle::new([(x, y), (x + 12, y + 12)], color(role).filled()))?;
        root.draw(&Text::new(text, (x + 18, y + 6), label(12).pos(Pos::new(HPos::Left, VPos::Center))))?;
        x += width;
    }
    Ok(())
}

fn panel(root: &Area<'_>, line: &Line, (left, top): (i32, i32)) -> Plotted {
    let start = left + NAME_WIDTH;
    let cached_start = left + PANEL_WIDTH - CACHED_WIDTH;
    let time_width = if line.shows_cached { cached_start - 10 } else { left + PANEL_WIDTH } - start - VALUE_WIDTH - 8;
    root.draw(&Text::new(line.name.clone(), (left + 16, top + 10), bold(13)))?;
    root.draw(&Text::new("time per use", (start, top + 30), label(11)))?;
    if line.shows_cached {
        root.draw(&Text::new("cached afterwards", (cached_start, top + 30), label(11)))?;
    }
    let mut results: Vec<&Result> = line.results.iter().collect();
    results.sort_by(|a, b| a.time().total_cmp(&b.time()));
    // One contender that is a hundred times slower must not press all others to nothing: long bars are cut.
    let cut = results.first().map_or(1.0, |fastest| fastest.time() * 8.0);
    let longest = results.iter().map(|result| result.time().min(cut)).fold(1e-9, f64::max);
    let most_cached = results.iter().map(|result| result.cached_bytes).max().unwrap_or(0).max(1);
    for (index, result) in results.iter().enumerate() {
        let y = top + 46 + index as i32 * BAR_HEIGHT;
        let fill = color(result.role);
        let name = if result.role == Role::Ours { bold(12) } else { label(12) };
        let name = name.pos(Pos::new(HPos::Right, VPos::Center));
        root.draw(&Text::new(result.name.clone(), (start - 8, y + 6), name))?;
        let text = format!("{}{}", if result.time() > cut { "... " } else { "" }, time(result.time()));
        bar(root, (start, y), f64::from(time_width) * result.time().min(cut) / longest, fill, text)?;
        if line.shows_cached {
            let share = result.cached_bytes as f64 / most_cached as f64;
            bar(
                root,
                (cached_start, y),
                f64::from(CACHED_WIDTH - VALUE_WIDTH) * share,
                fill,
                bytes(result.cached_bytes),
            )?;
        }
    }
    Ok(())
}

fn bar(root: &Area<'_>, (x, y): (i32, i32), length: f64, fill: RGBColor, text: String) -> Plotted {
    let end = x + length.max(1.0) as i32;
    root.draw(&Rectangle::new([(x, y), (end, y + BAR_HEIGHT - 5)], fill.filled()))?;
    root.draw(&Text::new(text, (end + 5, y + 6), label(11).pos(Pos::new(HPos::Left, VPos::Center))))?;
    Ok(())
}

// ---- Lines.

const CHART: (u32, u32) = (560, 480);
/// For the names beside the ends of the lines.
const NAMES_WIDTH: i32 = 158;

/// Time over size class, both in powers.
fn plot_lines(lines: &[&Line], path: &Path) -> Plotted {
    let root = card(path, CHART)?;
    let times = || lines.iter().flat_map(|line| &line.results).map(|result| result.time().max(0.3));
    let (low, high) = (times().fold(f64::MAX, f64::min) * 0.8, times().fold(0.0, f64::max) * 1.3);
    root.draw(&Text::new("get + drop by size class: nanoseconds, in powers of ten", (16, 14), bold(15)))?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .margin_top(44)
        .margin_right(NAMES_WIDTH + 16)
        .x_label_area_size(30)
        .y_label_area_size(46)
        .build_cartesian_2d(0f64..(lines.len() - 1) as f64, (low..high).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(TEXT.mix(0.15))
        .axis_style(TEXT)
        .x_labels(lines.len() / 4)
        .x_label_formatter(&|class| lines.get(class.round() as usize).map_or(String::new(), |line| line.name.clone()))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .label_style(label(12))
        .draw()?;
    let mut names: Vec<(&str, Role)> = Vec::new();
    for result in lines.iter().flat_map(|line| &line.results) {
        if !names.iter().any(|known| known.0 == result.name) {
            names.push((&result.name, result.role));
        }
    }
    let mut ends = Vec::new();
    let mut series = Vec::new();
    for (index, &(name, role)) in names.iter().enumerate() {
        let style = line_style(index, name, role);
        let at = |(class, line): (usize, &&Line)| Some((class as f64, line.result(name)?.time().max(0.3)));
        let points: Vec<(f64, f64)> = lines.iter().enumerate().filter_map(at).collect();
        if let Some(&last) = points.last() {
            let (x, y) = chart.backend_coord(&last);
            ends.push(End { at: (x, y), name, ours: role == Role::Ours, color: style.color });
        }
        series.push((role, points, style));
    }
    // The crate's own lines last, so that they lie on top.
    series.sort_by_key(|(role, ..)| *role == Role::Ours);
    for (_, points, style) in series {
        chart.draw_series(LineSeries::new(points, style))?;
    }
    label_ends(&root, ends)?;
    root.present()?;
    Ok(())
}

/// Resident memory over the time of a run, a chart per row. Each contender's line ends where its run does.
pub fn plot_resident(lines: &[Line], path: &Path) -> Plotted {
    let root = card(path, (CHART.0, CHART.1 * lines.len() as u32))?;
    for (area, line) in root.split_evenly((lines.len(), 1)).iter().zip(lines) {
        resident_chart(area, line)?;
    }
    root.present()?;
    follow_the_reader(path, &DARK_COLORS)
}

fn resident_chart(area: &Area<'_>, line: &Line) -> Plotted {
    let seen = || line.results.iter().filter_map(|result| Some((result, &result.pattern.as_ref()?.resident.curve_kib)));
    let highest = seen().flat_map(|(_, curve)| curve).copied().max().unwrap_or(0).max(1);
    let longest = seen().map(|(result, _)| result.time()).fold(1.0, f64::max);
    let title = format!("{}: resident memory in MiB over nanoseconds per buffer", line.name);
    area.draw(&Text::new(title, (16, 14), bold(15)))?;
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_top(44)
        .margin_right(NAMES_WIDTH + 16)
        .x_label_area_size(30)
        .y_label_area_size(46)
        .build_cartesian_2d(0f64..longest, 0f64..f64::from(highest) / 1024.0)?;
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT).bold_line_style(TEXT.mix(0.15)).axis_style(TEXT);
    mesh.x_labels(6).label_style(label(12)).draw()?;
    let top = area.get_base_pixel().1;
    let mut ends = Vec::new();
    for (index, (result, curve)) in seen().enumerate() {
        let style = line_style(index, &result.name, result.role);
        let last = (curve.len().max(2) - 1) as f64;
        let at = |(step, kib): (usize, &u32)| (result.time() * step as f64 / last, f64::from(*kib) / 1024.0);
        let points: Vec<(f64, f64)> = curve.iter().enumerate().map(at).collect();
        if let Some(end) = points.last() {
            let (x, y) = chart.backend_coord(end);
            ends.push(End {
                at: (x, y - top),
                name: &result.name,
                ours: result.role == Role::Ours,
                color: style.color,
            });
        }
        chart.draw_series(LineSeries::new(points, style))?;
    }
    label_ends(area, ends)
}

/// Ours thick, the others thin, each in a color of its own.
fn line_style(index: usize, name: &str, role: Role) -> ShapeStyle {
    match role {
        Role::Ours => OURS_COLOR.stroke_width(if name.contains(' ') { 2 } else { 4 }),
        _ => LINE_COLORS[index % LINE_COLORS.len()].stroke_width(1),
    }
}

struct End<'a> {
    at: (i32, i32),
    name: &'a str,
    ours: bool,
    color: RGBAColor,
}

/// Names beside the ends of the lines, pushed apart where they would overlap, and tied to them.
fn label_ends(root: &Area<'_>, mut ends: Vec<End<'_>>) -> Plotted {
    const LABEL_HEIGHT: i32 = 17;
    ends.sort_by_key(|end| end.at.1);
    let bottom = CHART.1 as i32 - 50;
    let mut next = 50;
    let left = CHART.0 as i32 - NAMES_WIDTH + 14;
    for (index, end) in ends.iter().enumerate() {
        let below = (ends.len() - 1 - index) as i32 * LABEL_HEIGHT;
        let y = end.at.1.max(next).min(bottom - below);
        next = y + LABEL_HEIGHT;
        let tie = [(end.at.0 + 2, end.at.1), (left - 12, y), (left - 4, y)];
        root.draw(&PathElement::new(tie, end.color.mix(0.6).stroke_width(1)))?;
        let style = if end.ours { FontStyle::Bold } else { FontStyle::Normal };
        let font = ("sans-serif", 12.0 * 1.24, style).into_font().color(&end.color);
        root.draw(&Text::new(end.name.to_owned(), (left, y), font.pos(Pos::new(HPos::Left, VPos::Center))))?;
    }
    Ok(())
}
