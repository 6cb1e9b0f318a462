//! Finds the settings of a pool that suit a trace of real sizes.
//!
//!     cargo run --release -p tune -- --help
//!
//! A trace is replayed through the real pool, not through a model of it, once per setting of a grid.

mod choice;
mod page;
mod replay;
mod setting;
mod trace;

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytebufferpool::Pool;
use indicatif::{ProgressBar, ProgressStyle};

use choice::Goal;
use replay::{Outcome, Usage, replay};
use setting::Setting;
use trace::Form;

const HELP: &str = "\
Replays a trace of sizes through the pool over a grid of settings, and prints the best as code.

Usage: tune [OPTIONS] FILE

  FILE             the trace: one length in bytes per line; # begins a comment. - is standard input
  --lines          FILE is a log: each line's own length counts
  --html PAGE      also write a page with plots; an existing file is overwritten
  --goal GOAL      balanced, speed or memory (default: balanced)
  --in-flight N    buffers in use at once (default: 16)
  --append BYTES   how much a message grows per write (default: 256)
  --rate N         messages per second, for how often the pool trims (default: 10000)
  -h, --help       this text
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "tune: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { 1 })
        }
    }
}

fn run() -> Result<(), Failure> {
    let Some(options) = parse_arguments(lexopt::Parser::from_env())? else { return print(HELP) };
    let (name, lengths) = read_trace(&options)?;
    let grid = setting::grid();
    let outcomes = replay_all(&lengths, &grid, options.usage);
    let best = choice::best(&outcomes, options.goal);
    let (setting, outcome) = start_with_what_was_learned(&lengths, grid[best], &outcomes[best], options.usage);
    let default = replay(&lengths, Pool::builder(), options.usage);
    let report = Report { name, lengths, grid, outcomes, best, setting, outcome, default, options: &options };
    print(&report)?;
    if let Some(path) = &options.html {
        std::fs::write(path, page::page(&report))
            .map_err(|error| Failure::Page { name: path.display().to_string(), error })?;
        print(format_args!("\nplots: {}\n", path.display()))?;
    }
    Ok(())
}

fn print(text: impl fmt::Display) -> Result<(), Failure> {
    let mut out = io::stdout();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        // Whoever closed the pipe has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Print(error)),
        _ => Ok(()),
    }
}

// What was asked for.

#[derive(Debug)]
struct Options {
    file: PathBuf,
    form: Form,
    html: Option<PathBuf>,
    goal: Goal,
    usage: Usage,
}

fn parse_arguments(mut parser: lexopt::Parser) -> Result<Option<Options>, Failure> {
    use lexopt::prelude::*;
    let mut file = None;
    let (mut form, mut html, mut goal) = (Form::Lengths, None, Goal::Balanced);
    let mut usage = Usage { in_flight: 16, append: 256, rate: 10_000 };
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("lines") => form = Form::Lines,
            Long("html") => html = Some(PathBuf::from(parser.value()?)),
            Long("goal") => goal = parse_goal(&parser.value()?)?,
            Long("in-flight") => usage.in_flight = parse_number("--in-flight", &parser.value()?, 4096)?,
            Long("append") => usage.append = parse_number("--append", &parser.value()?, 1 << 20)?,
            Long("rate") => usage.rate = parse_number("--rate", &parser.value()?, 1_000_000_000)?,
            Value(path) if file.is_none() => file = Some(PathBuf::from(path)),
            other => return Err(other.unexpected().into()),
        }
    }
    let file = file.ok_or_else(|| Failure::Usage("which FILE? See --help".to_owned()))?;
    Ok(Some(Options { file, form, html, goal, usage }))
}

fn parse_goal(value: &OsStr) -> Result<Goal, Failure> {
    match value.to_str() {
        Some("balanced") => Ok(Goal::Balanced),
        Some("speed") => Ok(Goal::Speed),
        Some("memory") => Ok(Goal::Memory),
        _ => Err(Failure::Usage(format!("--goal is balanced, speed or memory, not {value:?}"))),
    }
}

fn parse_number(option: &str, value: &OsStr, max: usize) -> Result<usize, Failure> {
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| Failure::Usage(format!("{option} is a number from 1 to {max}, not {value:?}")))
}

fn read_trace(options: &Options) -> Result<(String, Vec<u32>), Failure> {
    let standard = options.file == Path::new("-");
    let name = if standard { "standard input".to_owned() } else { options.file.display().to_string() };
    let lengths = if standard {
        trace::read(&mut io::stdin().lock(), options.form)
    } else {
        let file = File::open(&options.file);
        file.map_err(|error| trace::TraceError::Read { after: 0, error })
            .and_then(|file| trace::read(&mut BufReader::new(file), options.form))
    };
    lengths.map_err(|error| Failure::Trace { name: name.clone(), error }).map(|lengths| (name, lengths))
}

// The work.

/// Each setting on a pool of its own, several at a time: their figures do not depend on each other.
fn replay_all(lengths: &[u32], grid: &[Setting], usage: Usage) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![None; grid.len()]);
    // On standard error, where indicatif shows nothing unless that is a terminal.
    let bar = ProgressBar::new(grid.len() as u64)
        .with_style(ProgressStyle::with_template("{bar:32} {pos} of {len} settings, {eta}").expect("well formed"));
    let work = || {
        while let Some(setting) = grid.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
            let outcome = replay(lengths, setting.builder(), usage);
            let index = grid.iter().position(|other| *other == setting).expect("it is from there");
            outcomes.lock().expect("no replay panicked")[index] = Some(outcome);
            bar.inc(1);
        }
    };
    thread::scope(|scope| {
        for _ in 1..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
        work();
    });
    bar.finish_and_clear();
    let outcomes = outcomes.into_inner().expect("no replay panicked");
    outcomes.into_iter().map(|outcome| outcome.expect("each was replayed")).collect()
}

/// A pool may begin with the sizes that the trace taught, where a replay shows that this is no loss.
fn start_with_what_was_learned(
    lengths: &[u32],
    setting: Setting,
    outcome: &Outcome,
    usage: Usage,
) -> (Setting, Outcome) {
    if outcome.calibrations > 0 {
        let last = outcome.last();
        let warm = Setting { initial: Some((last.default_size, last.max_size)), ..setting };
        let warm_outcome = replay(lengths, warm.builder(), usage);
        if warm_outcome.overhead_ns() <= outcome.overhead_ns()
            && warm_outcome.cached_bytes_max <= outcome.cached_bytes_max
        {
            return (warm, warm_outcome);
        }
    }
    (setting, outcome.clone())
}

// What comes out.

pub(crate) struct Report<'a> {
    name: String,
    lengths: Vec<u32>,
    grid: Vec<Setting>,
    outcomes: Vec<Outcome>,
    /// In the grid.
    best: usize,
    /// The best, perhaps with what it learned as its start; and what a replay of exactly that gave.
    setting: Setting,
    outcome: Outcome,
    /// A pool with the default settings.
    default: Outcome,
    options: &'a Options,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usage = self.options.usage;
        writeln!(
            f,
            "{}: {} messages; replayed with {} settings, {} in flight, {} bytes a write, {} messages a second\n",
            self.name,
            self.lengths.len(),
            self.grid.len(),
            usage.in_flight,
            usage.append,
            usage.rate,
        )?;
        writeln!(f, "{:<34} {:>14} {:>14}", "", "best", "Pool::new()")?;
        for (what, best, default) in self.figures() {
            writeln!(f, "{what:<34} {best:>14} {default:>14}")?;
        }
        if self.outcome.calibrations == 0 {
            writeln!(f, "\nThe trace is too short to learn from: no class had as many uses as a threshold asks for.")?;
        }
        write!(f, "\n{}", self.setting.code())
    }
}

impl Report<'_> {
    /// What is compared, for the best settings and for the defaults.
    fn figures(&self) -> Vec<(&'static str, String, String)> {
        let row = |what, figure: fn(&Outcome) -> String| (what, figure(&self.outcome), figure(&self.default));
        vec![
            row("hit rate", |outcome| format!("{:.2} %", outcome.hit_rate() * 100.0)),
            row("growths per use", |outcome| format!("{:.3}", outcome.growths_per_use())),
            row("buffers from the heap", |outcome| outcome.allocated.to_string()),
            row("work beside writing, per use", |outcome| format!("{:.1} ns", outcome.overhead_ns())),
            row("cached bytes, mean", |outcome| bytes(outcome.cached_bytes_mean as usize)),
            row("cached bytes, worst case", |outcome| bytes(outcome.cached_bytes_max)),
            row("cached and borrowed, worst case", |outcome| bytes(outcome.held_bytes_max)),
            row("default size at the end", |outcome| bytes(outcome.last().default_size)),
            row("max size at the end", |outcome| bytes(outcome.last().max_size)),
        ]
    }
}

/// For people: three digits or so.
fn bytes(bytes: usize) -> String {
    let scaled = |unit: usize, name: &str| {
        let number = bytes as f64 / unit as f64;
        if bytes % unit == 0 { format!("{} {name}", bytes / unit) } else { format!("{number:.1} {name}") }
    };
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => scaled(1024, "KiB"),
        1_048_576..1_073_741_824 => scaled(1 << 20, "MiB"),
        _ => scaled(1 << 30, "GiB"),
    }
}

/// Why there is a non-zero exit; each is one line.
#[derive(Debug)]
enum Failure {
    Usage(String),
    Trace { name: String, error: trace::TraceError },
    Page { name: String, error: io::Error },
    Print(io::Error),
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Failure {
        Failure::Usage(format!("{error}; see --help"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(message) => f.write_str(message),
            Failure::Trace { name, error } => write!(f, "{name}: {error}"),
            Failure::Page { name, error } => write!(f, "cannot write {name}: {error}"),
            Failure::Print(error) => write!(f, "cannot print: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Option<Options>, String> {
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        parse_arguments(lexopt::Parser::from_args(arguments)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn options_may_stand_before_and_after_the_file() {
        let options =
            parse("--lines a.log --html b.html --goal speed --in-flight 3 --append 9 --rate 7").unwrap().unwrap();
        assert_eq!((options.form, options.goal), (Form::Lines, Goal::Speed));
        assert_eq!((options.file, options.html), ("a.log".into(), Some("b.html".into())));
        assert_eq!((options.usage.in_flight, options.usage.append, options.usage.rate), (3, 9, 7));
        assert!(parse("a --help").unwrap().is_none());
    }

    #[test]
    fn a_wrong_argument_is_named() {
        for (arguments, message) in [
            ("", "which FILE? See --help"),
            ("a b", "unexpected argument \"b\"; see --help"),
            ("a --in-flight 0", "--in-flight is a number from 1 to 4096, not \"0\""),
            ("a --append=-1", "--append is a number from 1 to 1048576, not \"-1\""),
            ("a --rate", "missing argument for option '--rate'; see --help"),
            ("a --goal best", "--goal is balanced, speed or memory, not \"best\""),
            ("--line a", "invalid option '--line'; see --help"),
        ] {
            assert_eq!(parse(arguments).unwrap_err(), message);
        }
    }

    /// Sizes of one class: whatever the goal, the best learns them and grows no more once it has.
    #[test]
    fn a_replay_of_the_grid_finds_what_is_plain_to_see() {
        let lengths = vec![5_000; 3_000];
        let usage = Usage { in_flight: 4, append: 256, rate: 10_000 };
        let grid = setting::grid();
        let outcomes = replay_all(&lengths, &grid, usage);
        for goal in [Goal::Balanced, Goal::Speed] {
            let best = choice::best(&outcomes, goal);
            assert_eq!(grid[best].threshold, 1_000, "{}", grid[best]);
            let (setting, outcome) = start_with_what_was_learned(&lengths, grid[best], &outcomes[best], usage);
            assert_eq!(setting.initial, Some((8192, 8192)));
            assert_eq!((outcome.growths, outcome.allocated), (0, 4));
            assert_eq!(outcome.cached_bytes_max, 4 * 8192);
        }
    }
}
