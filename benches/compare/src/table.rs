//! Markdown tables that read as tables in the source too, and how figures stand in them.

use std::fmt::Write as _;

pub fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ..100.0 => format!("{nanoseconds:.1} ns"),
        ..10_000.0 => format!("{nanoseconds:.0} ns"),
        ..10_000_000.0 => format!("{:.1} us", nanoseconds / 1e3),
        _ => format!("{:.1} ms", nanoseconds / 1e6),
    }
}

pub fn bytes(count: usize) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 if count.trailing_zeros() >= 10 => format!("{} KiB", count >> 10),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ if count.trailing_zeros() >= 20 => format!("{} MiB", count >> 20),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
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
