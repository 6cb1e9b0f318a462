//! A service's day in small, again and again, with the pool's laws watched.
//!
//!     cargo run --release -p soak -- --minutes 30 --plot soak.svg
//!
//! Three pools, two of them under one budget, serve phases that repeat each minute: steady traffic, a burst, a lull,
//! larger messages, giants of 32 MiB, threads that fill their caches and sleep, threads that come and go, and messages
//! handed over to consumers, as guards and frozen.
//!
//! The laws:
//!
//! - What is cached never exceeds a budget, by a [`witness`] of its own.
//! - Once a minute, with every thread between two operations, the counters' identities hold, and the witness has
//!   counted the same.
//! - In each phase the resident memory of the last third of the run is at most 1.1 times that of the middle third, by
//!   the medians. glibc's own share of it is kept small: see [`memory`].

#[path = "../../../benches/support/dark.rs"]
mod dark;
mod day;
#[path = "../../../tests/support/identities.rs"]
mod identities;
mod laws;
mod memory;
mod plot;
mod pools;
#[cfg(test)]
mod tests;
mod threads;
mod watch;
mod witness;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;

use watch::Settings;

const HELP: &str = "\
Runs a small service on three pools, and fails when a law of theirs is broken.

Usage: soak [OPTIONS]

  --minutes N     how long; from 15 on resident memory is judged too (3)
  --plot FILE     draw the run as SVG; an existing file is overwritten
  --seed N        for each thread's choices (1)
  -h, --help      this text

Exit code: 1 when a law is broken, 2 for bad arguments.
";
/// A week.
const MINUTES_MAX: u32 = 7 * 24 * 60;

struct Options {
    settings: Settings,
    plot: Option<PathBuf>,
}

fn main() -> ExitCode {
    let (error, code) = match parse(lexopt::Parser::from_env()) {
        Ok(options) => match options.map_or_else(help, |options| soak(&options)) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) if is_closed(error.as_ref()) => return ExitCode::SUCCESS,
            Err(error) => (error, 1),
        },
        Err(error) => (error.into(), 2),
    };
    let _ = writeln!(io::stderr(), "soak: {error}");
    ExitCode::from(code)
}

/// Nothing where help is wanted.
fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let settings = Settings { periods: 3, period: Duration::from_secs(60), seed: 1 };
    let mut options = Options { settings, plot: None };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("minutes") => options.settings.periods = parser.value()?.parse_with(minutes)?,
            Long("plot") => options.plot = Some(parser.value()?.into()),
            Long("seed") => options.settings.seed = parser.value()?.parse()?,
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(options))
}

fn minutes(text: &str) -> Result<u32, String> {
    let minutes = text.parse().ok().filter(|minutes| (1..=MINUTES_MAX).contains(minutes));
    minutes.ok_or_else(|| format!("must be 1 to {MINUTES_MAX}"))
}

fn help() -> Result<(), Box<dyn Error>> {
    Ok(io::stdout().write_all(HELP.as_bytes())?)
}

/// A run that breaks a law is drawn too.
fn soak(Options { settings, plot }: &Options) -> Result<(), Box<dyn Error>> {
    memory::have_one_arena();
    let mut out = io::stdout();
    // Before the witness begins: the first line allocates the buffer that lines are printed from.
    writeln!(out, "seed {}, a line a second, a rest a minute", settings.seed)?;
    let mut samples = Vec::new();
    let ended = watch::run(settings, &pools::open(), &mut samples, &mut out);
    if let Some(path) = plot {
        plot::plot(path, &samples)?;
    }
    ended?;
    writeln!(out, "no law was broken")?;
    Ok(())
}

fn is_closed(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
