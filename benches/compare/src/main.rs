//! `cargo run --release -p compare`: a shortened side-by-side of everything.
//!
//! Each group of rows runs in a process of its own, started from here: one group's leftovers in the heap and in
//! thread-locals would move the rows of the next. The child measures and prints its lines as JSON; all else is done here.

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use compare::circumstances::{ALLOCATOR, Circumstances};
use compare::patterns::{self, Outcome};
use compare::printing;
use compare::report;
use compare::rows::{groups, measure, rows};
use compare::run::{self, Effort, Line};
use compare::store::{Measured, Store};
use compare::targets;
use indicatif::{ProgressBar, ProgressStyle};
use lexopt::{Arg, ValueExt};
use serde::de::DeserializeOwned;

const USAGE: &str =
    "usage: compare [--group NAME]... [--row TEXT] [--quick] [--only-ours] [--passes N] [--out DIR] [--readme FILE] [--pages]
  --group NAME   only this group; by default all of them, each in a process of its own
  --row TEXT     only rows whose name contains TEXT
  --quick        3 short rounds instead of 15: a smoke test
  --only-ours    without peers and controls
  --passes N     all of it N times over, so that a noisy minute spoils no row: of each contender the fastest, and the
                 median of the medians
  --out DIR      keeps the results in DIR/results.jsonl and writes README.md, the pages and the plots beside it
  --readme FILE  with --out: writes the figures between the two marks in FILE
  --pages        with --out: measures nothing, and writes README.md, the pages and the plots from the kept results";

#[derive(Default)]
struct Options {
    help: bool,
    groups: Vec<&'static str>,
    row: Option<String>,
    quick: bool,
    only_ours: bool,
    passes: usize,
    out: Option<PathBuf>,
    readme: Option<PathBuf>,
    pages: bool,
    /// Given by this program to itself: measure here, and print what was found as JSON.
    child: bool,
    /// Given by this program to itself: the contender of a pattern.
    lane: Option<String>,
}

fn options() -> Result<Options, lexopt::Error> {
    let mut options = Options { passes: 1, ..Options::default() };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("group") => {
                let name = parser.value()?.string()?;
                let known = groups().into_iter().find(|group| group.0 == name);
                let names = || group_names().join(", ");
                options.groups.push(known.ok_or_else(|| format!("there is no group {name}: {}", names()))?.0);
            }
            Arg::Long("row") => options.row = Some(parser.value()?.string()?),
            Arg::Long("quick") => options.quick = true,
            Arg::Long("only-ours") => options.only_ours = true,
            Arg::Long("passes") => {
                let passes: usize = parser.value()?.parse()?;
                options.passes = Some(passes).filter(|passes| *passes > 0).ok_or("--passes needs a number above 0")?;
            }
            Arg::Long("out") => options.out = Some(parser.value()?.into()),
            Arg::Long("readme") => options.readme = Some(parser.value()?.into()),
            Arg::Long("pages") => options.pages = true,
            Arg::Long("child") => options.child = true,
            Arg::Long("lane") => options.lane = Some(parser.value()?.string()?),
            Arg::Short('h') | Arg::Long("help") => options.help = true,
            other => return Err(other.unexpected()),
        }
    }
    if options.groups.is_empty() {
        options.groups = group_names();
    }
    if options.out.is_none() && (options.readme.is_some() || options.pages) {
        return Err("--readme and --pages need --out".into());
    }
    if options.out.is_some() && (options.row.is_some() || options.only_ours) {
        return Err("a part of a group would take the place of the whole in --out".into());
    }
    Ok(options)
}

impl Options {
    fn effort(&self) -> Effort {
        let effort = if self.quick { Effort::QUICK } else { Effort::FULL };
        // For the life of the process.
        let row_filter = self.row.clone().map(|text| &*text.leak());
        Effort { only_ours: self.only_ours, row_filter, ..effort }
    }
}

fn group_names() -> Vec<&'static str> {
    groups().iter().map(|group| group.0).collect()
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    let done = match &options {
        Options { help: true, .. } => printing::line(USAGE).map_err(Into::into),
        Options { child: true, lane: Some(lane), .. } => pattern_child(&options, lane),
        Options { child: true, .. } => child(&options),
        _ => parent(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

// ---- The parent.

fn parent(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut store = options.out.as_deref().map_or_else(|| Ok(Store::new()), Store::load)?;
    if !options.pages {
        measure_all(options, &mut store)?;
    }
    if let Some(dir) = &options.out {
        report::write_pages(&store, dir)?;
    }
    if let Some(file) = &options.readme {
        report::write_readme(&store, file)?;
    }
    Ok(())
}

fn measure_all(options: &Options, store: &mut Store) -> Result<(), Box<dyn Error>> {
    let circumstances = Circumstances::now();
    printing::line(&circumstances)?;
    let mut passes = vec![Vec::new(); options.groups.len()];
    for pass in 1..=options.passes {
        for (index, group) in options.groups.iter().enumerate() {
            eprintln!("{group}, group {} of {}, pass {pass} of {}", index + 1, options.groups.len(), options.passes);
            passes[index].push(lines_of(group, options)?);
            let lines = run::merge(&passes[index]);
            let measured = Measured { group: (*group).to_owned(), circumstances: circumstances.clone(), lines };
            if pass == options.passes {
                printing::line(report::group(&measured))?;
            }
            store.put(measured);
            // After each group, so that what was measured outlives what goes wrong later.
            if let Some(dir) = &options.out {
                store.save(dir)?;
            }
        }
    }
    let measured = store.of(ALLOCATOR);
    let (all, missed) = targets::count(&measured);
    let summary = targets::summary(&measured);
    Ok(printing::line(format_args!("All targets; {missed} of {all} are missed in at least one row:\n\n{summary}"))?)
}

/// A group is one process; a pattern is one for each contender, as its resident memory is looked at.
fn lines_of(group: &str, options: &Options) -> Result<Vec<Line>, Box<dyn Error>> {
    if patterns::named(group).is_none() {
        let row = options.row.iter().flat_map(|row| ["--row", row]);
        return in_child(group, options, &row.collect::<Vec<_>>());
    }
    let run = |row: &str, lane: &str| in_child::<Outcome>(group, options, &["--row", row, "--lane", lane]);
    Ok(patterns::lines(group, options.effort(), run)?)
}

fn in_child<T: DeserializeOwned>(group: &str, options: &Options, more: &[&str]) -> Result<T, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--child", "--group", group]).args(more).stdin(Stdio::null()).stderr(Stdio::inherit());
    if options.quick {
        command.arg("--quick");
    }
    if options.only_ours {
        command.arg("--only-ours");
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{group}: the process that measures it ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

// ---- The child.

fn child(options: &Options) -> Result<(), Box<dyn Error>> {
    let effort = options.effort();
    let mut lines = Vec::new();
    for group in &options.groups {
        let progress = ProgressBar::new(rows(group).len() as u64);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}").expect("a fixed template");
        progress.set_style(style);
        lines.extend(measure(group, effort, |row| {
            progress.set_message(row.to_owned());
            progress.inc(1);
        }));
        progress.finish_and_clear();
    }
    Ok(printing::line(serde_json::to_string(&lines)?)?)
}

/// One contender in one row of a pattern, in this process.
fn pattern_child(options: &Options, lane: &str) -> Result<(), Box<dyn Error>> {
    let group = options.groups[0];
    let pattern = patterns::named(group).ok_or(format!("{group} is no pattern"))?;
    let row = options.row.as_deref().unwrap_or_default();
    let shape = patterns::shape(row, options.effort()).ok_or(format!("{group} has no row {row}"))?;
    let known = patterns::lanes().into_iter().find(|known| known.0 == lane);
    let (.., run) = known.ok_or(format!("{lane} takes no part in {group}"))?;
    Ok(printing::line(serde_json::to_string(&run(pattern, shape))?)?)
}
