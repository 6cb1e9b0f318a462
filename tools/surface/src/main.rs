//! Prints a crate's public surface, one item a line: what `.ci/public-api` compares.
//!
//! Auto traits are left out, as a test pins them, and so are blanket implementations, which are those of other crates.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use public_api::Builder;

#[path = "../../../examples/support/exit.rs"]
mod exit;

const HELP: &str = "\
Prints a crate's public surface, one item a line.

Usage: surface JSON

  JSON          what `cargo rustdoc` wrote with --output-format json
  -h, --help    this text
";

fn main() -> ExitCode {
    exit::exit_code("surface", run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let Some(json) = parse_arguments()? else { return Ok(io::stdout().write_all(HELP.as_bytes())?) };
    let surface = Builder::from_rustdoc_json(json).omit_blanket_impls(true).omit_auto_trait_impls(true).build()?;
    Ok(write!(io::stdout(), "{surface}")?)
}

/// `None` for `--help`.
fn parse_arguments() -> Result<Option<PathBuf>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut json = None;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Value(path) if json.is_none() => json = Some(path.into()),
            other => return Err(other.unexpected()),
        }
    }
    json.map(Some).ok_or_else(|| "JSON is missing; see --help".into())
}
