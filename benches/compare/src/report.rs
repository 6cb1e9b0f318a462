//! The pages: one per group, one per other allocator, and the one that leads to them.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::circumstances::{Circumstances, SYSTEM};
use crate::contenders::{Contender, Reused, Role, Scratch, VecNew, VecWithCapacity};
use crate::plot::plot;
use crate::rows::{GROUPS, bytes};
use crate::run::{Line, Result};
use crate::store::{Measured, Store};
use crate::{table, targets};

type Written = std::result::Result<(), Box<dyn Error>>;

const OTHER_ALLOCATORS: [&str; 2] = ["mimalloc", "jemalloc"];
const MADE_BY: &str = "<!-- Written by `cargo run --release -p compare`; what is changed by hand is lost. -->\n\n";

/// Writes every page that there are results for.
pub fn write_pages(store: &Store, dir: &Path) -> Written {
    for measured in store.of(SYSTEM) {
        let Measured { group, lines, .. } = measured;
        fs::write(dir.join(format!("{group}.md")), group_page(measured))?;
        plot(group, about(group), lines, &dir.join(format!("{group}.svg")))?;
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
    GROUPS.iter().find(|known| known.0 == group).map_or("", |known| known.1)
}

/// For the terminal: the table of a group, and what became of its targets.
pub fn group(measured: &Measured) -> String {
    let summary = targets::summary([&measured.lines[..]].into_iter());
    format!("{}: {}\n\n{}\n{summary}", measured.group, about(&measured.group), table::group(&measured.lines))
}

fn group_page(measured: &Measured) -> String {
    let Measured { group, circumstances, lines } = measured;
    let mut out = format!("{MADE_BY}# {group}: {}\n\n{circumstances}\n", about(group));
    let is_by_median = lines.iter().flat_map(|line| &line.results).any(|result| result.by_median);
    let counts = if is_by_median { " Several threads work together here: the median counts." } else { "" };
    let _ = writeln!(
        out,
        "Time per use: the fastest round, in brackets the median; after it idle bytes, where they matter.{counts} [What to know when reading](README.md#what-to-know-when-reading-the-pages)."
    );
    let _ = write!(out, "\n![{group}]({group}.svg)\n\n{}", table::group(lines));
    let summary = targets::summary([&lines[..]].into_iter());
    if !summary.is_empty() {
        let _ = write!(out, "\n## Targets\n\n{summary}");
    }
    out
}

fn allocator_page(store: &Store, allocator: &str) -> String {
    let measured = store.of(allocator);
    let mut out = format!("{MADE_BY}# Side by side under {allocator}\n\n{}", circumstances(&measured));
    out.push_str("\nThe same rows as in [the comparison under the system's allocator](README.md), with another global allocator. Where a target compares with `Vec`, it was set for glibc's.\n");
    let _ = write!(out, "\n## Targets\n\n{}", targets::summary(lines(&measured)));
    for Measured { group, lines, .. } in measured {
        let _ = write!(out, "\n## {group}: {}\n\n{}", about(group), table::group(lines));
    }
    out
}

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

fn lines<'a>(measured: &[&'a Measured]) -> impl Iterator<Item = &'a [Line]> {
    measured.iter().map(|measured| &measured.lines[..]).collect::<Vec<_>>().into_iter()
}

fn index(store: &Store) -> String {
    let measured = store.of(SYSTEM);
    let mut out = format!("{MADE_BY}# Side by side with other pools\n\n{}\n", circumstances(&measured));
    let _ = writeln!(out, "Contenders: {}.\n", versions());
    out.push_str("| page | question |\n|---|---|\n");
    for Measured { group, .. } in &measured {
        let _ = writeln!(out, "| [{group}]({group}.md) | {} |", about(group));
    }
    for allocator in OTHER_ALLOCATORS.iter().filter(|allocator| !store.of(allocator).is_empty()) {
        let _ = writeln!(out, "| [{allocator}]({allocator}.md) | all of these under that allocator |");
    }
    let (all, missed) = targets::count(lines(&measured));
    let _ = write!(
        out,
        "\n## Targets\n\nWhat was to be reached, set before it was measured. {missed} of {all} are missed in at least one row.\n\n{}",
        targets::summary(lines(&measured))
    );
    out.push_str("\nOne more is asserted and not timed: a warm use touches the heap 0 times (`cargo test --test allocations`).\n");
    let _ = write!(out, "\n## Where something else is ahead\n\n{}", include_str!("../text/elsewhere.md"));
    let _ = write!(out, "\n{}\n{}", always_ahead(&measured), ahead(&measured));
    let other = other_allocators(store);
    if !other.is_empty() {
        let _ = write!(out, "\n## Under other allocators\n\n{other}");
    }
    let _ = write!(out, "\n{}", include_str!("../text/reading.md"));
    out
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
        let mut ratios: Vec<f64> = lines(measured)
            .flatten()
            .filter_map(|line| Some(line.ours()?.time() / line.result(name)?.time()))
            .collect();
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
                    format!("[{group}]({group}.md): {}", line.name),
                    figure(ours, line),
                    figure(other, line),
                    format!("`{}`", other.name),
                    format!("{:.2}x", ours.time() / other.time()),
                ]);
            }
        }
    }
    let rows = lines(measured).flatten().count();
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
    let idle = if line.shows_idle { format!(", {} idle", bytes(result.idle_bytes)) } else { String::new() };
    format!("{}{idle}", table::time(result.time()))
}

// ---- Other allocators.

/// Rows that stand for their group.
const SHOWN: [(&str, &str, &str); 12] = [
    ("get + drop in place, 1 KiB", "pair", "in place, 1 KiB"),
    ("get + drop in place, 32 KiB", "pair", "in place, 32 KiB"),
    ("get + drop in place, 256 KiB", "pair", "in place, 256 KiB"),
    ("log line in 10 pieces", "append", "log line, 10 x 21 B"),
    ("one write of 200 B", "append", "one write of 200 B"),
    ("heavy tail, 1 in flight", "mix", "heavy tail, 1 in flight"),
    ("heavy tail, 64 in flight", "mix", "heavy tail, 64 in flight"),
    ("thread to thread, 200 B", "hand_over", "1 -> 1, 200 B, channel of 256"),
    ("thread to thread, 4 KiB", "hand_over", "1 -> 1, 4 KiB, channel of 256"),
    ("thread to thread, 100 KiB", "hand_over", "1 -> 1, 100 KiB, channel of 256"),
    ("log line, two threads", "parallel", "log line, 2 threads"),
    ("one 32 MiB in 100 000 small", "outlier", "one 32 MiB in 100 000 of 200 B"),
];

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
    for (label, group, row) in SHOWN {
        let mut cell = vec![label.to_owned()];
        for allocator in &present {
            let line = store.line(allocator, group, row);
            let show = |result: Option<&Result>| result.map_or("-".to_owned(), |result| table::time(result.time()));
            cell.push(line.map_or("-".to_owned(), |line| {
                format!("{} / {} / {}", show(line.ours()), show(line.best_peer()), show(new_vec(line)))
            }));
        }
        cells.push(cell);
    }
    table::markdown(&cells)
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
    let mut cells = vec![table::row(["time per use", "here", "best other pool", "", "new `Vec`", "reused `Vec`"])];
    for (label, group, row) in SHOWN {
        let line = store.line(SYSTEM, group, row).ok_or(format!("{group}: {row} was not measured"))?;
        let ours = line.ours().ok_or("the crate takes part in every row")?;
        let with_idle = ["mix", "outlier"].contains(&group);
        let show = |result: Option<&Result>| match result {
            Some(result) if with_idle && result.role != Role::Control => figure(result, line),
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
        "\nThe fastest round of each contender, and with several threads the median of the rounds; *here* is a plain `get()`, from thread to thread `get_with_capacity(n)`.\n{}, {} hardware threads, {}, {} allocator, {}, load average {} when it began.\nAll of it again: `{}`.\n\n{}",
        first.cpu,
        first.threads,
        first.system,
        first.allocator(),
        first.date,
        first.load,
        first.command,
        table::markdown(&cells)
    );
    // GitHub and crates.io drop `style` and show the plots. docs.rs has no such files and keeps `style`, so that it shows
    // no broken pictures.
    out.push_str("\n<p style=\"display: none\">\n");
    for (group, alt) in [
        ("pair", "get and drop by size class, all contenders"),
        ("mix", "a heavy tail of sizes: time per use and idle bytes, all contenders"),
        ("parallel", "one pool, 1 to 64 threads: time per log line and idle bytes, all contenders"),
    ] {
        let _ = writeln!(out, "<img src=\"docs/compare/{group}.svg\" alt=\"{alt}\" width=\"100%\">");
    }
    out.push_str("</p>\n\n");
    Ok(out)
}
