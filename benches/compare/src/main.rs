//! `cargo run --release -p compare`: a shortened side-by-side of everything.
//!
//! Each group of rows runs in a process of its own, started from here: one group's leftovers in the heap and in
//! thread-locals would move the rows of the next. The child measures and prints its lines as JSON; all else is done here.

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use compare::circumstances::{ALLOCATOR, Circumstances};
use compare::report;
use compare::rows::{GROUPS, measure, rows};
use compare::run::{self, Effort, Line};
use compare::store::{Measured, Store};
use compare::targets;
use indicatif::{ProgressBar, ProgressStyle};

const USAGE: &str =
    "usage: compare [--group NAME]... [--row TEXT] [--quick] [--only-ours] [--passes N] [--out DIR] [--readme FILE] [--pages]
  --group NAME   only this group; by default all of them, each in a process of its own
  --row TEXT     only rows whose name contains TEXT
  --quick        3 short rounds instead of 15: a smoke test
  --only-ours    without peers and controls
  --passes N     all of it N times over, so that a noisy minute spoils no row: of each contender the fastest, and the
                 median of the medians
  --out DIR      keeps the results in DIR/results.jsonl and writes the pages and plots beside it
  --readme FILE  with --out: writes the figures between the two marks in FILE
  --pages        with --out: measures nothing, and writes the pages anew from the kept results";

struct Options {
    groups: Vec<&'static str>,
    row: Option<String>,
    quick: bool,
    only_ours: bool,
    passes: usize,
    out: Option<PathBuf>,
    readme: Option<PathBuf>,
    pages: bool,
    /// Given by this program to itself: measure here, and print the lines as JSON.
    child: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        groups: Vec::new(),
        row: None,
        quick: false,
        only_ours: false,
        passes: 1,
        out: None,
        readme: None,
        pages: false,
        child: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--group" => {
                let name = value()?;
                let known = GROUPS.iter().find(|group| group.0 == name);
                options.groups.push(known.ok_or(format!("there is no group {name}: {}", group_names().join(", ")))?.0);
            }
            "--row" => options.row = Some(value()?),
            "--quick" => options.quick = true,
            "--only-ours" => options.only_ours = true,
            "--passes" => {
                let passes = value()?.parse().ok().filter(|passes| *passes > 0);
                options.passes = passes.ok_or("--passes needs a number above 0")?;
            }
            "--out" => options.out = Some(value()?.into()),
            "--readme" => options.readme = Some(value()?.into()),
            "--pages" => options.pages = true,
            "--child" => options.child = true,
            other => return Err(format!("what is {other}?")),
        }
    }
    if options.groups.is_empty() {
        options.groups = group_names();
    }
    if options.out.is_none() && (options.readme.is_some() || options.pages) {
        return Err("--readme and --pages need --out".to_owned());
    }
    if options.out.is_some() && (options.row.is_some() || options.only_ours) {
        return Err("a part of a group would take the place of the whole in --out".to_owned());
    }
    Ok(options)
}

fn group_names() -> Vec<&'static str> {
    GROUPS.iter().map(|group| group.0).collect()
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    let done = if options.child { child(&options) } else { parent(&options) };
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
    println!("{circumstances}");
    let mut passes = vec![Vec::new(); options.groups.len()];
    for pass in 1..=options.passes {
        for (index, group) in options.groups.iter().enumerate() {
            eprintln!("{group}, group {} of {}, pass {pass} of {}", index + 1, options.groups.len(), options.passes);
            passes[index].push(in_child(group, options)?);
            let lines = run::merge(&passes[index]);
            let measured = Measured { group: (*group).to_owned(), circumstances: circumstances.clone(), lines };
            if pass == options.passes {
                println!("{}", report::group(&measured));
            }
            store.put(measured);
            // After each group, so that what was measured outlives what goes wrong later.
            if let Some(dir) = &options.out {
                store.save(dir)?;
            }
        }
    }
    let measured = store.of(ALLOCATOR);
    let lines = || measured.iter().map(|measured| &measured.lines[..]);
    let (all, missed) = targets::count(lines());
    println!("All targets; {missed} of {all} are missed in at least one row:\n\n{}", targets::summary(lines()));
    Ok(())
}

fn in_child(group: &str, options: &Options) -> Result<Vec<Line>, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--child", "--group", group]).stdin(Stdio::null()).stderr(Stdio::inherit());
    if options.quick {
        command.arg("--quick");
    }
    if options.only_ours {
        command.arg("--only-ours");
    }
    if let Some(row) = &options.row {
        command.args(["--row", row]);
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{group}: the process that measures it ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

// ---- The child.

fn child(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut effort = if options.quick { Effort::QUICK } else { Effort::FULL };
    effort.only_ours = options.only_ours;
    // For the life of the process.
    effort.row_filter = options.row.clone().map(|text| &*text.leak());
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
    println!("{}", serde_json::to_string(&lines)?);
    Ok(())
}
