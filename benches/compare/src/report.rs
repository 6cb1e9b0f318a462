//! The results as a table for the terminal, a Markdown file, and one SVG per group.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::contenders::Role;
use crate::rows::bytes;
use crate::run::{Check, Line, Measure, Result, Versus};

pub const ALLOCATOR: &str = if cfg!(feature = "mimalloc") {
    "mimalloc"
} else if cfg!(feature = "jemalloc") {
    "jemalloc"
} else {
    "the system's allocator"
};

/// What a number is worth nothing without.
pub struct Circumstances {
    pub cpu: String,
    pub threads: usize,
    pub date: String,
    pub command: String,
    pub huge_pages: String,
}

impl Circumstances {
    pub fn now() -> Circumstances {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':')).map(|pair| pair.1);
        let huge_pages = read("/sys/kernel/mm/transparent_hugepage/enabled");
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let binary = std::env::current_exe().ok().and_then(|path| path.file_name()?.to_str().map(str::to_owned));
        Circumstances {
            cpu: model.map_or_else(|| std::env::consts::ARCH.to_owned(), |model| model.trim().to_owned()),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            date: date(seconds),
            command: command(binary.as_deref().unwrap_or("compare"), &arguments),
            huge_pages: if huge_pages.is_empty() { "unknown".to_owned() } else { huge_pages.trim().to_owned() },
        }
    }
}

impl std::fmt::Display for Circumstances {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Circumstances { cpu, threads, date, command, huge_pages } = self;
        writeln!(f, "{cpu}, {threads} hardware threads, {date}; allocator: {ALLOCATOR}.")?;
        writeln!(f, "Transparent huge pages: `{huge_pages}`. Command: `{command}`.")
    }
}

fn command(binary: &str, arguments: &[String]) -> String {
    let mut command = String::from("cargo run --release -p compare");
    for feature in ["mimalloc", "jemalloc"].iter().filter(|&&feature| feature == ALLOCATOR) {
        let _ = write!(command, " --features {feature}");
    }
    if binary != "compare" {
        let _ = write!(command, " --bin {binary}");
    }
    if !arguments.is_empty() {
        let _ = write!(command, " -- {}", arguments.join(" "));
    }
    command
}

/// The civil date of a Unix time, after Howard Hinnant's `civil_from_days`.
pub fn date(unix_seconds: u64) -> String {
    let days = (unix_seconds / 86_400) as i64 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

// ---- Targets.

/// What the checks of one kind found: the same claim over several rows is one line.
struct Claim<'a> {
    check: &'a Check,
    /// Row and ratio.
    found: Vec<(&'a str, f64)>,
}

impl Claim<'_> {
    fn worst(&self) -> (&str, f64) {
        self.found.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)).expect("a claim has a row")
    }

    fn met(&self) -> usize {
        self.found.iter().filter(|found| found.1 <= self.check.factor).count()
    }
}

impl std::fmt::Display for Claim<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Check { lane, versus, measure, factor } = self.check;
        let of = if *measure == Measure::IdleBytes { "the idle bytes of " } else { "" };
        write!(f, "{lane} at most {factor:.2}x {of}{versus}: ")?;
        let ((row, ratio), met, rows) = (self.worst(), self.met(), self.found.len());
        match (met == rows, rows) {
            (true, 1) => write!(f, "met, {ratio:.2}x ({row})"),
            (false, 1) => write!(f, "MISSED, {ratio:.2}x ({row})"),
            (true, _) => write!(f, "met in all {rows} rows, at worst {ratio:.2}x ({row})"),
            (false, _) => write!(f, "MISSED in {} of {rows} rows, at worst {ratio:.2}x ({row})", rows - met),
        }
    }
}

impl std::fmt::Display for Versus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Versus::BestPeer => f.write_str("the best peer"),
            Versus::Lane(name) => f.write_str(name),
            Versus::Row(row) => write!(f, "its own \"{row}\""),
        }
    }
}

/// The ratio that a check is about; `None` where a contender it needs did not run.
fn ratio_of(check: &Check, line: &Line, lines: &[Line]) -> Option<f64> {
    let ours = line.result(check.lane)?;
    let other = match &check.versus {
        Versus::BestPeer => line.best_peer()?,
        Versus::Lane(name) => line.result(name)?,
        Versus::Row(row) => {
            lines.iter().find(|other| other.group == line.group && other.name == *row)?.result(check.lane)?
        }
    };
    Some(match check.measure {
        Measure::Time => ours.min / other.min,
        Measure::IdleBytes => ours.idle_bytes as f64 / other.idle_bytes.max(1) as f64,
    })
}

fn claims<'a>(group: &str, lines: &'a [Line]) -> Vec<Claim<'a>> {
    let mut claims: Vec<Claim<'a>> = Vec::new();
    for line in lines.iter().filter(|line| line.group == group) {
        for check in &line.checks {
            let Some(ratio) = ratio_of(check, line, lines) else { continue };
            let found = (line.name.as_str(), ratio);
            match claims.iter_mut().find(|claim| claim.check == check) {
                Some(claim) => claim.found.push(found),
                None => claims.push(Claim { check, found: vec![found] }),
            }
        }
    }
    claims
}

/// The targets of one row, for its cell in the table.
fn row_targets(line: &Line, lines: &[Line]) -> String {
    let found = line.checks.iter().filter_map(|check| Some((check, ratio_of(check, line, lines)?)));
    let text: Vec<String> = found
        .map(|(check, ratio)| {
            let word = if ratio <= check.factor { "met" } else { "MISSED" };
            format!("<= {:.2}: {ratio:.2} {word}", check.factor)
        })
        .collect();
    if text.is_empty() { "-".to_owned() } else { text.join("; ") }
}

fn ratio(ours: Option<&Result>, other: Option<&Result>) -> String {
    match (ours, other) {
        (Some(ours), Some(other)) => format!("{:.2}x", ours.min / other.min),
        _ => "-".to_owned(),
    }
}

pub fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ..100.0 => format!("{nanoseconds:.1} ns"),
        ..10_000.0 => format!("{nanoseconds:.0} ns"),
        ..10_000_000.0 => format!("{:.1} us", nanoseconds / 1e3),
        _ => format!("{:.1} ms", nanoseconds / 1e6),
    }
}

// ---- Tables.

/// A row per work, a column per contender: the fastest round, the median in brackets, idle bytes where they matter.
pub fn table(group: &str, all: &[Line]) -> String {
    let lines: Vec<&Line> = all.iter().filter(|line| line.group == group).collect();
    let mut names: Vec<&str> = Vec::new();
    for result in lines.iter().flat_map(|line| &line.results) {
        if !names.contains(&result.name) {
            names.push(result.name);
        }
    }
    let mut cells = vec![["work"].into_iter().chain(names.iter().copied()).map(str::to_owned).collect::<Vec<_>>()];
    cells[0].extend(["to best peer", "to the limit", "targets"].map(str::to_owned));
    for line in &lines {
        let mut row = vec![line.name.clone()];
        row.extend(names.iter().map(|name| line.result(name).map_or_else(|| "-".to_owned(), |r| cell(r, line))));
        row.push(ratio(line.ours(), line.best_peer()));
        row.push(ratio(line.ours(), line.limit()));
        row.push(row_targets(line, all));
        cells.push(row);
    }
    markdown_table(&cells)
}

fn cell(result: &Result, line: &Line) -> String {
    let idle = if line.shows_idle { format!(", {}", bytes(result.idle_bytes)) } else { String::new() };
    format!("{} ({}){idle}", time(result.min), time(result.median))
}

/// The first row is the head. Columns are padded, so that the source reads as a table too.
pub fn markdown_table(cells: &[Vec<String>]) -> String {
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3);
    let widths: Vec<usize> = (0..cells[0].len()).map(width).collect();
    let mut out = String::new();
    for (index, row) in cells.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let _ = match column {
                0 => write!(out, "| {cell:<0$} ", widths[0]),
                _ => write!(out, "| {cell:>0$} ", widths[column]),
            };
        }
        out.push_str("|\n");
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let _ = write!(out, "|{}{}", "-".repeat(width + 1), if column == 0 { "-" } else { ":" });
            }
            out.push_str("|\n");
        }
    }
    out
}

pub fn targets(group: &str, lines: &[Line]) -> String {
    claims(group, lines).iter().map(|claim| format!("- {claim}\n")).collect()
}

pub fn markdown(groups: &[&str], lines: &[Line], circumstances: &Circumstances) -> String {
    let mut out = format!("# Side by side\n\n{circumstances}\n");
    out.push_str("Time per use: the fastest round, in brackets the median; after it idle bytes, where they matter.\n");
    for group in groups {
        let _ = write!(out, "\n## {group}\n\n{}\n![{group}]({group}.svg)\n", table(group, lines));
        let targets = targets(group, lines);
        if !targets.is_empty() {
            let _ = write!(out, "\nTargets:\n\n{targets}");
        }
    }
    out
}

// ---- Plots. White ground with dark text, so that they read on a dark page too; no font files are looked up.

const OURS_COLOR: RGBColor = RGBColor(0, 110, 184);
const PEER_COLOR: RGBColor = RGBColor(150, 158, 168);
const CONTROL_COLOR: RGBColor = RGBColor(214, 188, 120);
const TEXT_COLOR: RGBColor = RGBColor(30, 34, 40);
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

type Plotted = std::result::Result<(), Box<dyn std::error::Error>>;

pub fn plot(group: &str, lines: &[Line], path: &Path) -> Plotted {
    let lines: Vec<&Line> = lines.iter().filter(|line| line.group == group).collect();
    let (steps, others): (Vec<&Line>, Vec<&Line>) =
        lines.into_iter().partition(|line| group == "pair" && !line.name.contains("two pools"));
    if steps.len() > 1 {
        return plot_lines(&steps, path);
    }
    plot_bars(group, if others.is_empty() { &steps } else { &others }, path)
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
    ("sans-serif", f64::from(size) * 1.24).into_font().color(&TEXT_COLOR)
}

const PANEL_WIDTH: i32 = 620;
const BAR_HEIGHT: i32 = 22;
const NAME_WIDTH: i32 = 190;
const VALUE_WIDTH: i32 = 150;

/// A panel per row, a bar per contender, the fastest on top.
fn plot_bars(group: &str, lines: &[&Line], path: &Path) -> Plotted {
    let columns = if lines.len() == 1 { 1 } else { 2 };
    let bars = lines.iter().map(|line| line.results.len()).max().unwrap_or(0) as i32;
    let panel_height = 44 + bars * BAR_HEIGHT + 14;
    let panel_rows = lines.len().div_ceil(columns) as i32;
    let size = ((PANEL_WIDTH * columns as i32) as u32, (34 + panel_rows * panel_height) as u32);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    root.draw(&Text::new(format!("{group}: time per use, shorter is better"), (12, 10), label(17)))?;
    for (index, line) in lines.iter().enumerate() {
        let origin = ((index % columns) as i32 * PANEL_WIDTH, 34 + (index / columns) as i32 * panel_height);
        panel(&root, line, origin)?;
    }
    root.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn panel(root: &Area<'_>, line: &Line, (left, top): (i32, i32)) -> Plotted {
    root.draw(&Text::new(line.name.clone(), (left + 12, top + 12), label(15)))?;
    let mut results: Vec<&Result> = line.results.iter().collect();
    results.sort_by(|a, b| a.min.total_cmp(&b.min));
    // One contender that is a hundred times slower must not press all others to nothing: long bars are cut.
    let shown_max = results.first().map_or(1.0, |fastest| fastest.min * 8.0);
    let longest = results.iter().map(|result| result.min.min(shown_max)).fold(1e-9, f64::max);
    let room = f64::from(PANEL_WIDTH - NAME_WIDTH - VALUE_WIDTH - 24);
    for (index, result) in results.iter().enumerate() {
        let y = top + 36 + index as i32 * BAR_HEIGHT;
        let start = left + NAME_WIDTH;
        let end = start + (room * result.min.min(shown_max) / longest).max(1.0) as i32;
        let name = label(13).pos(Pos::new(HPos::Right, VPos::Center));
        let value = label(12).pos(Pos::new(HPos::Left, VPos::Center));
        let cut = if result.min > shown_max { "..." } else { "" };
        let idle = if line.shows_idle { format!(", {}", bytes(result.idle_bytes)) } else { String::new() };
        root.draw(&Text::new(result.name, (start - 8, y + 8), name))?;
        root.draw(&Rectangle::new([(start, y), (end, y + BAR_HEIGHT - 6)], color(result.role).filled()))?;
        root.draw(&Text::new(format!("{cut}{}{idle}", time(result.min)), (end + 6, y + 8), value))?;
    }
    Ok(())
}

/// Time over size class, both in powers.
fn plot_lines(lines: &[&Line], path: &Path) -> Plotted {
    let root = SVGBackend::new(path, (1100, 640)).into_drawing_area();
    root.fill(&WHITE)?;
    let times = || lines.iter().flat_map(|line| &line.results).map(|result| result.min.max(0.3));
    let (low, high) = (times().fold(f64::MAX, f64::min) * 0.8, times().fold(0.0, f64::max) * 1.3);
    let mut chart = ChartBuilder::on(&root)
        .caption("get + drop by size class, ns (log scale)", label(18))
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .margin_right(204)
        .build_cartesian_2d(0f64..(lines.len() - 1) as f64, (low..high).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(TEXT_COLOR.mix(0.15))
        .axis_style(TEXT_COLOR)
        .x_labels(lines.len() / 2)
        .x_label_formatter(&|class| lines.get(class.round() as usize).map_or(String::new(), |line| line.name.clone()))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .label_style(label(12))
        .draw()?;
    let mut names: Vec<(&str, Role)> = Vec::new();
    for result in lines.iter().flat_map(|line| &line.results) {
        if !names.iter().any(|known| known.0 == result.name) {
            names.push((result.name, result.role));
        }
    }
    let mut ends = Vec::new();
    for (index, &(name, role)) in names.iter().enumerate() {
        let style = match role {
            Role::Ours => OURS_COLOR.stroke_width(if name.contains(' ') { 2 } else { 4 }),
            _ => LINE_COLORS[index % LINE_COLORS.len()].stroke_width(1),
        };
        let at = |(class, line): (usize, &&Line)| Some((class as f64, line.result(name)?.min.max(0.3)));
        let points: Vec<(f64, f64)> = lines.iter().enumerate().filter_map(at).collect();
        if let Some(&last) = points.last() {
            ends.push((chart.backend_coord(&last).1, name, style.color));
        }
        chart.draw_series(LineSeries::new(points, style))?;
    }
    label_ends(&root, ends)
}

/// Names beside the ends of the lines, pushed apart where they would overlap.
fn label_ends(root: &Area<'_>, mut ends: Vec<(i32, &str, RGBAColor)>) -> Plotted {
    const LABEL_HEIGHT: i32 = 17;
    ends.sort_by_key(|end| end.0);
    let bottom = 640 - 60;
    let mut next = 30;
    for index in 0..ends.len() {
        let below = (ends.len() - 1 - index) as i32 * LABEL_HEIGHT;
        let y = ends[index].0.max(next).min(bottom - below);
        next = y + LABEL_HEIGHT;
        let (_, name, color) = ends[index];
        let style = ("sans-serif", 16).into_font().color(&color).pos(Pos::new(HPos::Left, VPos::Center));
        root.draw(&Text::new(name.to_owned(), (1100 - 14 - 180, y), style))?;
    }
    root.present()?;
    Ok(())
}
