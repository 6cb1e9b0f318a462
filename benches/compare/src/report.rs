//! The report: README.md with the targets and what is ahead elsewhere, a page and plots per group, a page per other
//! allocator. The repository keeps README.md, the results and three plots; the rest is written on demand.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::circumstances::{Circumstances, SYSTEM};
use crate::contenders::{Contender, Reused, Role, Scratch, VecNew, VecWithCapacity};
use crate::patterns::{self, PATTERNS};
use crate::plot::{plot, plot_resident};
use crate::published::{PLOTS, SHOWN};
use crate::rows::groups;
use crate::run::{Line, Result};
use crate::seen::Tail;
use crate::store::{Measured, Store};
use crate::table::{self, bytes};
use crate::targets;

type Written = std::result::Result<(), Box<dyn Error>>;

const OTHER_ALLOCATORS: [&str; 2] = ["mimalloc", "jemalloc"];
const MADE_BY: &str = "<!-- Written by `cargo run --release -p compare`; what is changed by hand is lost. -->\n\n";

/// Writes every page that there are results for.
pub fn write_pages(store: &Store, dir: &Path) -> Written {
    for measured in store.of(SYSTEM) {
        let Measured { group, lines, .. } = measured;
        fs::write(dir.join(format!("{group}.md")), group_page(measured))?;
        plot(group, about(group), lines, &dir.join(format!("{group}.svg")))?;
        if is_pattern(group) {
            plot_resident(lines, &dir.join(format!("{group}-resident.svg")))?;
        }
    }
    for allocator in OTHER_ALLOCATORS.iter().filter(|allocator| !store.of(allocator).is_empty()) {
        fs::write(dir.join(format!("{allocator}.md")), allocator_page(store, allocator))?;
    }
    if !store.of(SYSTEM).is_empty() {
        fs::write(dir.join("README.md"), index(store))?;
    }
    Ok(())
}

fn about(group: &str) -> &'static str {
    groups().into_iter().find(|known| known.0 == group).map_or("", |known| known.1)
}

fn is_pattern(group: &str) -> bool {
    patterns::named(group).is_some()
}

/// For the terminal: the table of a group, and what became of its targets.
pub fn group(measured: &Measured) -> String {
    let summary = targets::summary(&[measured]);
    format!("{}: {}\n\n{}\n{summary}", measured.group, about(&measured.group), group_table(measured))
}

fn group_page(measured: &Measured) -> String {
    let Measured { group, circumstances, lines } = measured;
    let mut out = format!("{MADE_BY}# {group}: {}\n\n{circumstances}\n", about(group));
    let is_by_median = lines.iter().flat_map(|line| &line.results).any(|result| result.by_median);
    let counts = if is_by_median { " Several threads work together here: the median counts." } else { "" };
    let _ = writeln!(
        out,
        "Time per use: the fastest round, in brackets the median; after it cached bytes, where they matter.{counts} [What to know when reading](README.md#what-to-know-when-reading-the-pages)."
    );
    let _ = write!(out, "\n![{group}]({group}.svg)\n");
    if is_pattern(group) {
        let _ = write!(out, "\n![resident memory]({group}-resident.svg)\n");
    }
    let _ = write!(out, "\n{}", group_table(measured));
    let summary = targets::summary(&[measured]);
    if !summary.is_empty() {
        let _ = write!(out, "\n## Targets\n\n{summary}");
    }
    out
}

fn allocator_page(store: &Store, allocator: &str) -> String {
    let measured = store.of(allocator);
    let mut out = format!("{MADE_BY}# Side by side under {allocator}\n\n{}", circumstances(&measured));
    out.push_str("\nThe same rows as in [the comparison under the system's allocator](README.md), with another global allocator. Where a target compares with `Vec`, it was set for glibc's.\n");
    let _ = write!(out, "\n## Targets\n\n{}", targets::summary(&measured));
    for measured in measured {
        let group = &measured.group;
        let _ = write!(out, "\n## {group}: {}\n\n{}", about(group), group_table(measured));
    }
    out
}

// ---- The table of a group.

fn group_table(measured: &Measured) -> String {
    let lines = &measured.lines;
    if is_pattern(&measured.group) {
        let rows = lines.iter().flat_map(|line| line.results.iter().map(move |result| (line.name.clone(), result)));
        return pattern_table("sizes", rows);
    }
    time_table(lines)
}

/// A row per work, a column per contender: the fastest round, the median in brackets, cached bytes where they matter.
fn time_table(lines: &[Line]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for result in lines.iter().flat_map(|line| &line.results) {
        if !names.contains(&result.name.as_str()) {
            names.push(&result.name);
        }
    }
    let mut cells = vec![["work"].into_iter().chain(names.iter().copied()).map(str::to_owned).collect::<Vec<_>>()];
    cells[0].extend(["to best peer", "to the limit"].map(str::to_owned));
    for line in lines {
        let mut row = vec![line.name.clone()];
        row.extend(names.iter().map(|name| line.result(name).map_or_else(|| "-".to_owned(), |r| cell(r, line))));
        row.push(ratio(line.ours(), line.best_peer()));
        row.push(ratio(line.ours(), line.limit()));
        cells.push(row);
    }
    table::markdown(&cells)
}

fn cell(result: &Result, line: &Line) -> String {
    let cached = if line.shows_cached { format!(", {}", bytes(result.cached_bytes)) } else { String::new() };
    format!("{} ({}){cached}", table::time(result.min), table::time(result.median))
}

fn ratio(ours: Option<&Result>, other: Option<&Result>) -> String {
    match (ours, other) {
        (Some(ours), Some(other)) => format!("{:.2}x", ours.time() / other.time()),
        _ => "-".to_owned(),
    }
}

/// A row per contender: the median time per buffer of all threads together, percentiles, and resident memory.
fn pattern_table<'a>(first: &str, rows: impl Iterator<Item = (String, &'a Result)>) -> String {
    let head = [
        first,
        "who",
        "per buffer",
        "get + write: p50 / p99 / p99.9",
        "drop: p50 / p99 / p99.9",
        "resident: peak",
        "end",
    ];
    let mut cells = vec![table::row(head)];
    for (label, result) in rows {
        let Some(seen) = &result.pattern else { continue };
        // The clock of some machines ticks in tens of nanoseconds: no digits behind the point.
        let time = |ns: u32| if ns < 10_000 { format!("{ns} ns") } else { table::time(f64::from(ns)) };
        let tail = |tail: Tail| format!("{} / {} / {}", time(tail.p50), time(tail.p99), time(tail.p999));
        let kib = |kib: u32| bytes((kib as usize) << 10);
        cells.push(vec![
            label,
            result.name.clone(),
            table::time(result.time()),
            tail(seen.get),
            tail(seen.end),
            kib(seen.resident.peak_kib),
            kib(seen.resident.end_kib),
        ]);
    }
    table::markdown(&cells)
}

// ---- README.md of the comparison.

/// Once, or for each group where they differ.
fn circumstances(measured: &[&Measured]) -> String {
    let mut known: Vec<(&Circumstances, Vec<&str>)> = Vec::new();
    for Measured { group, circumstances, .. } in measured {
        match known.iter_mut().find(|known| known.0 == circumstances) {
            Some(known) => known.1.push(group),
            None => known.push((circumstances, vec![group])),
        }
    }
    match &known[..] {
        [(only, _)] => only.to_string(),
        several => {
            let text = |(circumstances, groups): &(&Circumstances, Vec<&str>)| {
                format!("- {}: {}", groups.join(", "), circumstances.to_string().trim_end().replace('\n', "\n  "))
            };
            several.iter().map(|known| text(known) + "\n").collect()
        }
    }
}

fn lines<'a>(measured: &[&'a Measured]) -> impl Iterator<Item = &'a Line> {
    measured.iter().flat_map(|measured| &measured.lines).collect::<Vec<_>>().into_iter()
}

fn index(store: &Store) -> String {
    let measured = store.of(SYSTEM);
    let mut out = format!("{MADE_BY}# Side by side with other pools\n\n{}\n", circumstances(&measured));
    let _ = writeln!(out, "Contenders: {}.\n", versions());
    out.push_str("| group | question |\n|---|---|\n");
    for Measured { group, .. } in &measured {
        let _ = writeln!(out, "| {group} | {} |", about(group));
    }
    out.push_str("\nA page and a plot for each group, with all contenders and all rows, and a page for each other allocator, are written beside this one from the kept results, in a second: `cargo run --release -p compare -- --pages --out docs/compare`.\n");
    let (all, missed) = targets::count(&measured);
    let _ = write!(
        out,
        "\n## Targets\n\nWhat was to be reached, set before it was measured. {missed} of {all} are missed in at least one row.\n\n{}",
        targets::summary(&measured)
    );
    out.push_str("\nOne more is asserted and not timed: a warm use touches the heap 0 times (`cargo test --test allocations`).\n");
    let _ = write!(out, "\n## Where something else is ahead\n\n{}", include_str!("../text/elsewhere.md"));
    let _ = write!(out, "\n{}\n{}", always_ahead(&measured), ahead(&measured));
    let patterns = shown_patterns(&measured);
    if !patterns.is_empty() {
        let _ = write!(
            out,
            "\n## Patterns of the allocator literature\n\n{}\n{patterns}",
            include_str!("../text/patterns.md")
        );
    }
    let other = other_allocators(store);
    if !other.is_empty() {
        let _ = write!(out, "\n## Under other allocators\n\n{other}");
    }
    let _ = write!(out, "\n{}", include_str!("../text/reading.md"));
    out
}

/// The crate, the best of the other pools, and a new `Vec`.
fn shown_patterns(measured: &[&Measured]) -> String {
    let mut rows = Vec::new();
    for Measured { group, lines, .. } in measured.iter().filter(|measured| is_pattern(&measured.group)) {
        for line in lines {
            let shown = [line.ours(), line.best_peer(), new_vec(line)];
            rows.extend(shown.into_iter().flatten().map(|result| (format!("{group}, {}", line.name), result)));
        }
    }
    if rows.is_empty() { String::new() } else { pattern_table("pattern, sizes", rows.into_iter()) }
}

/// As `Cargo.lock` has them.
fn versions() -> String {
    const NAMES: [&str; 7] =
        ["zeropool", "object-pool", "opool", "poolshark", "lockfree-object-pool", "sharded-slab", "bytes"];
    let lock = include_str!("../../../Cargo.lock");
    let version = |name: &str| {
        let entry = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?.1;
        entry.split_once('"').map(|pair| format!("{name} {}", pair.0))
    };
    NAMES.iter().filter_map(|name| version(name)).collect::<Vec<_>>().join(", ")
}

// ---- Who is ahead.

/// A `Vec` that one keeps oneself: ahead almost everywhere on one thread, so a sentence says it and not a table.
fn is_kept_by_hand(result: &Result) -> bool {
    [Reused::NAME, Scratch::NAME].contains(&result.name.as_str())
}

fn always_ahead(measured: &[&Measured]) -> String {
    let mut out = String::new();
    for name in [Reused::NAME, Scratch::NAME] {
        let mut ratios: Vec<f64> =
            lines(measured).filter_map(|line| Some(line.ours()?.time() / line.result(name)?.time())).collect();
        ratios.sort_by(f64::total_cmp);
        let ahead = ratios.iter().filter(|ratio| **ratio > 1.0).count();
        if let (Some(middle), all) = (ratios.get(ratios.len() / 2), ratios.len()) {
            let _ = writeln!(
                out,
                "`{name}` is faster than this crate in {ahead} of the {all} rows that it takes part in; in the median row the crate takes {middle:.2} times as long."
            );
        }
    }
    out
}

/// By how much something must be ahead to be named: less than that is noise.
const AHEAD: f64 = 1.05;

fn ahead(measured: &[&Measured]) -> String {
    let head = ["row", "here", "fastest other", "who", "behind by"];
    let mut cells = vec![table::row(head)];
    for Measured { group, lines, .. } in measured {
        for line in lines {
            let others = line.fastest(|result| result.role != Role::Ours && !is_kept_by_hand(result));
            let (Some(ours), Some(other)) = (line.ours(), others) else { continue };
            if ours.time() > AHEAD * other.time() {
                cells.push(vec![
                    format!("{group}: {}", line.name),
                    figure(ours, line),
                    figure(other, line),
                    format!("`{}`", other.name),
                    format!("{:.2}x", ours.time() / other.time()),
                ]);
            }
        }
    }
    let rows = lines(measured).count();
    let behind = cells.len() - 1;
    let mut out = format!("Of {rows} rows, another pool, `bytes` or a new `Vec` is ahead by more than 5 % in {behind}");
    if behind == 0 {
        out.push_str(".\n");
    } else {
        let _ = write!(out, ":\n\n{}", table::markdown(&cells));
    }
    out
}

fn figure(result: &Result, line: &Line) -> String {
    let memory = match &result.pattern {
        Some(seen) => format!(", {} resident", bytes((seen.resident.peak_kib as usize) << 10)),
        None if line.shows_cached => format!(", {} cached", bytes(result.cached_bytes)),
        None => String::new(),
    };
    format!("{}{memory}", table::time(result.time()))
}

// ---- Other allocators.

/// What one does without a pool: a new `Vec`, of the right size where that is known.
fn new_vec(line: &Line) -> Option<&Result> {
    line.result(VecWithCapacity::NAME).or_else(|| line.result(VecNew::NAME))
}

fn other_allocators(store: &Store) -> String {
    let allocators: Vec<&str> = [SYSTEM].into_iter().chain(OTHER_ALLOCATORS).collect();
    let present: Vec<&str> = allocators.into_iter().filter(|allocator| !store.of(allocator).is_empty()).collect();
    if present.len() < 2 {
        return String::new();
    }
    let mut cells = vec![vec!["here / best other pool / new `Vec`".to_owned()]];
    for allocator in &present {
        cells[0].push(store.of(allocator)[0].circumstances.allocator().trim_end_matches("'s").to_owned());
    }
    let mut shown: Vec<(String, &str, &str)> =
        SHOWN.iter().map(|(label, group, row)| ((*label).to_owned(), *group, *row)).collect();
    for (_, group, _) in PATTERNS {
        shown.extend(patterns::ROWS.iter().map(|(row, ..)| (format!("{group}, {row}"), group, *row)));
    }
    shown.retain(|(_, group, row)| present.iter().any(|allocator| store.line(allocator, group, row).is_some()));
    for (label, group, row) in shown {
        let mut cell = vec![label];
        for allocator in &present {
            let line = store.line(allocator, group, row);
            let show = |result: Option<&Result>| result.map_or("-".to_owned(), |result| table::time(result.time()));
            cell.push(line.map_or("-".to_owned(), |line| {
                format!("{} / {} / {}", show(line.ours()), show(line.best_peer()), show(new_vec(line)))
            }));
        }
        cells.push(cell);
    }
    let mut out = table::markdown(&cells);
    for allocator in present.iter().skip(1) {
        let _ = write!(out, "\n{}", vec_is_ahead(allocator, &store.of(allocator)));
    }
    out
}

/// The rows of the patterns in which a new `Vec` is ahead, by name: what another allocator does better than a pool on it.
fn vec_is_ahead(allocator: &str, measured: &[&Measured]) -> String {
    let mut named = Vec::new();
    let mut rows = 0;
    for Measured { group, lines, .. } in measured.iter().filter(|measured| is_pattern(&measured.group)) {
        for line in lines {
            let (Some(ours), Some(vec)) = (line.ours(), new_vec(line)) else { continue };
            rows += 1;
            if ours.time() > vec.time() {
                named.push(format!("{group}, {}: {:.2}x", line.name, ours.time() / vec.time()));
            }
        }
    }
    match (rows, named.is_empty()) {
        (0, _) => format!("The patterns were not measured under {allocator}.\n"),
        (_, true) => {
            format!("Under {allocator} the crate is ahead of a new `Vec` in all {rows} rows of the patterns.\n")
        }
        _ => {
            let count = named.len();
            format!(
                "Under {allocator} a new `Vec` is ahead in {count} of the {rows} rows of the patterns: {}.\n",
                named.join("; ")
            )
        }
    }
}

// ---- The README's part.

const BEGIN: &str = "<!-- compare:begin, written by `cargo run --release -p compare -- --readme README.md` -->\n";
const END: &str = "<!-- compare:end -->\n";

/// Puts the table and the plots between the two marks of the file.
pub fn write_readme(store: &Store, file: &Path) -> Written {
    let text = fs::read_to_string(file)?;
    let (before, rest) = text.split_once(BEGIN).ok_or("the mark where the figures begin is missing")?;
    let (_, after) = rest.split_once(END).ok_or("the mark where the figures end is missing")?;
    Ok(fs::write(file, format!("{before}{BEGIN}{}{END}{after}", readme_part(store)?))?)
}

fn readme_part(store: &Store) -> std::result::Result<String, Box<dyn Error>> {
    let measured = store.of(SYSTEM);
    let first = &measured.first().ok_or("nothing was measured under the system's allocator")?.circumstances;
    let mut cells = vec![table::row(["time per use", "here", "best other pool", "which", "new `Vec`", "reused `Vec`"])];
    for (label, group, row) in SHOWN {
        let line = store.line(SYSTEM, group, row).ok_or(format!("{group}: {row} was not measured"))?;
        let ours = line.ours().ok_or("the crate takes part in every row")?;
        let with_cached = ["mix", "outlier"].contains(&group);
        let show = |result: Option<&Result>| match result {
            Some(result) if with_cached && result.role != Role::Control => figure(result, line),
            Some(result) => table::time(result.time()),
            None => String::new(),
        };
        let peer = line.best_peer();
        let name = peer.map_or(String::new(), |peer| peer.name.clone());
        cells.push(vec![
            label.to_owned(),
            show(Some(ours)),
            show(peer),
            name,
            show(new_vec(line)),
            show(line.result(Reused::NAME)),
        ]);
    }
    let mut out = format!(
        "\nEach figure is the fastest of many rounds, and with several threads their median. *Here* is a `get()` of this crate, from thread to thread a `get_with_capacity(n)`. *In place*: the guard is dropped where it was made.\n{}, {} hardware threads, {}, {} allocator, {}, load average {} when it began.\nAll of it again: `{}`.\n\n{}",
        first.cpu,
        first.threads,
        first.system,
        first.allocator(),
        first.date,
        first.load,
        first.command,
        table::markdown(&cells)
    );
    for (group, alt) in PLOTS {
        let _ = writeln!(out, "\n![{alt}](docs/compare/{group}.svg)");
    }
    out.push('\n');
    Ok(out)
}
