//! Markdown tables that read as tables in the source too.

use std::fmt::Write as _;

use crate::rows::bytes;
use crate::run::{Line, Result};
use crate::targets;

/// A row per work, a column per contender: the fastest round, the median in brackets, idle bytes where they matter.
pub fn group(lines: &[Line]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for result in lines.iter().flat_map(|line| &line.results) {
        if !names.contains(&result.name.as_str()) {
            names.push(&result.name);
        }
    }
    let mut cells = vec![["work"].into_iter().chain(names.iter().copied()).map(str::to_owned).collect::<Vec<_>>()];
    cells[0].extend(["to best peer", "to the limit", "targets"].map(str::to_owned));
    for line in lines {
        let mut row = vec![line.name.clone()];
        row.extend(names.iter().map(|name| line.result(name).map_or_else(|| "-".to_owned(), |r| cell(r, line))));
        row.push(ratio(line.ours(), line.best_peer()));
        row.push(ratio(line.ours(), line.limit()));
        row.push(targets::of_row(line, lines));
        cells.push(row);
    }
    markdown(&cells)
}

fn cell(result: &Result, line: &Line) -> String {
    let idle = if line.shows_idle { format!(", {}", bytes(result.idle_bytes)) } else { String::new() };
    format!("{} ({}){idle}", time(result.min), time(result.median))
}

fn ratio(ours: Option<&Result>, other: Option<&Result>) -> String {
    match (ours, other) {
        (Some(ours), Some(other)) => format!("{:.2}x", ours.time() / other.time()),
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

/// The first row is the head. The first column stands to the left, the others to the right.
pub fn markdown(cells: &[Vec<String>]) -> String {
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

/// `["a", "b"]` as the cells of a row.
pub fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}
