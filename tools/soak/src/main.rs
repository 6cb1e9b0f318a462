//! A service's day in small, again and again, with the pool's laws watched.
//!
//!     cargo run --release -p soak -- --minutes 30 --plot soak.svg
//!
//! Three pools, two of them under one budget, serve phases that repeat each minute: steady traffic, a burst, a lull,
//! larger messages, giants of 32 MiB, threads that fill their caches and sleep, threads that come and go, and records
//! handed over to consumers, as guards and frozen.
//!
//! The laws: what is cached never exceeds a budget, by a witness of its own ([`witness`]); once a minute, with every
//! thread between two operations, the counters' identities hold and the witness has counted the same; and in each phase
//! the resident memory of the last third of the run is at most 1.1 times that of the middle third ([`laws`]). The medians
//! of a phase are compared, as the allocator keeps now more, now less of what was freed.

mod day;
mod laws;
mod plot;
mod pools;
#[path = "../../../tests/support/stress_books.rs"]
mod stress_books;
mod threads;
mod watch;
mod witness;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;
use watch::{Course, Settings};

const HELP: &str = "\
Runs a small service on three pools, and fails when a law of theirs is broken.

Usage: soak [OPTIONS]

  --minutes N     how long; from 3 on resident memory is judged too (3)
  --plot FILE     write an SVG of the run
  --seed N        of each thread's choices (1)
  -h, --help      this text

Exit code: 1 when a law is broken, 2 for bad arguments.
";
const PERIOD: Duration = Duration::from_secs(60);
/// A week.
const MINUTES_MAX: u32 = 7 * 24 * 60;

struct Options {
    settings: Settings,
    plot: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match parse(lexopt::Parser::from_env()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let _ = io::stdout().write_all(HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "soak: {error}");
            return ExitCode::from(2);
        }
    };
    match soak(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "soak: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Nothing where help is wanted.
fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options { settings: Settings { periods: 3, period: PERIOD, seed: 1 }, plot: None };
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
    match text.parse() {
        Ok(minutes @ 1..=MINUTES_MAX) => Ok(minutes),
        _ => Err(format!("must be 1 to {MINUTES_MAX}")),
    }
}

/// The plot is drawn of a run that broke a law, too.
fn soak(options: &Options) -> Result<(), Box<dyn Error>> {
    let Course { samples, verdict } = watch::run(&options.settings, &mut io::stdout())?;
    let memory = verdict.as_deref().unwrap_or_default();
    for laws::PhaseMemory { phase, middle, last } in memory {
        let ratio = *last as f64 / *middle as f64;
        writeln!(io::stdout(), "RSS, {phase}: {} KiB, then {} KiB: {ratio:.3}x", middle >> 10, last >> 10)?;
    }
    if memory.is_empty() && verdict.is_ok() {
        writeln!(io::stdout(), "RSS is not judged: that takes 3 minutes")?;
    }
    if let Some(path) = &options.plot {
        plot::plot(path, &samples, options.settings.period)?;
    }
    verdict?;
    writeln!(io::stdout(), "no law was broken")?;
    Ok(())
}

fn is_closed(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
