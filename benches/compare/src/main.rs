//! `cargo run --release -p compare`: a shortened side-by-side of everything.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use compare::report::{self, Circumstances};
use compare::rows::{GROUPS, rows};
use compare::run::{Effort, Line};
use indicatif::{ProgressBar, ProgressStyle};

const USAGE: &str = "usage: compare [--group NAME]... [--row TEXT] [--quick] [--only-ours] [--out DIR]
  --group NAME  only this group: pair, append, mix, hand_over, parallel, large, serialize, freeze, outlier
  --row TEXT    only rows whose name contains TEXT
  --quick       3 short rounds instead of 15: a smoke test
  --only-ours   without peers and controls
  --out DIR     writes compare.md and an SVG per group there";

struct Options {
    groups: Vec<&'static str>,
    effort: Effort,
    out: Option<PathBuf>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { groups: Vec::new(), effort: Effort::FULL, out: None };
    let mut only_ours = false;
    let mut row_filter: Option<&'static str> = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--group" => {
                let name = value()?;
                let known = GROUPS.iter().find(|group| **group == name);
                options.groups.push(known.ok_or(format!("there is no group {name}"))?);
            }
            // For the life of the process.
            "--row" => row_filter = Some(value()?.leak()),
            "--quick" => options.effort = Effort::QUICK,
            "--only-ours" => only_ours = true,
            "--out" => options.out = Some(value()?.into()),
            other => return Err(format!("what is {other}?")),
        }
    }
    if options.groups.is_empty() {
        options.groups = GROUPS.to_vec();
    }
    options.effort.only_ours = only_ours;
    options.effort.row_filter = row_filter;
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    let lines = run(&options);
    let circumstances = Circumstances::now();
    println!("{circumstances}");
    for group in &options.groups {
        println!("{group}\n\n{}\n{}", report::table(group, &lines), report::targets(group, &lines));
    }
    match options.out.as_ref().map(|out| write(out, &options.groups, &lines, &circumstances)) {
        Some(Err(error)) => {
            eprintln!("the report could not be written: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn run(options: &Options) -> Vec<Line> {
    let total: usize = options.groups.iter().map(|group| rows(group).len()).sum();
    let progress = ProgressBar::new(total as u64);
    progress.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}").expect("a fixed template"));
    let mut lines = Vec::new();
    for group in &options.groups {
        let effort = effort_of(group, options.effort);
        for make in rows(group) {
            let row = make(effort);
            progress.set_message(format!("{group}: {}", row.name));
            lines.push(row.time(effort));
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    lines.retain(|line| !line.results.is_empty());
    lines
}

/// Rows that start threads in every round need longer rounds, and then fewer of them suffice.
fn effort_of(group: &str, effort: Effort) -> Effort {
    match group {
        "hand_over" | "parallel" => {
            Effort { rounds: effort.rounds.div_ceil(2), round_time: 5 * effort.round_time, ..effort }
        }
        "large" => Effort { round_time: Duration::from_millis(20), ..effort },
        _ => effort,
    }
}

fn write(
    out: &std::path::Path,
    groups: &[&str],
    lines: &[Line],
    circumstances: &Circumstances,
) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join("compare.md"), report::markdown(groups, lines, circumstances))?;
    for group in groups {
        report::plot(group, lines, &out.join(format!("{group}.svg")))?;
    }
    Ok(())
}
