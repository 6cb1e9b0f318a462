//! How the examples end: with one line on standard error and exit code 1, and without a word where standard output has
//! no reader any more, as in `fifty_threads | head -1`.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

pub(crate) fn exit_code(name: &str, result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Err(error) if !is_broken_pipe(&*error) => {
            // Standard error may be closed, too.
            let _ = writeln!(io::stderr(), "{name}: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
