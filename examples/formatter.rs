//! A log formatter: a record becomes a text, which filters read as `str` without a check, and which sinks take as bytes.
//!
//!     cargo run --release --example formatter

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::process::ExitCode;

use bytebufferpool::{Pool, PooledString};

#[path = "support/exit.rs"]
mod exit;

static LINES: Pool = Pool::new();

struct Record<'a> {
    level: &'a str,
    target: &'a str,
    message: fmt::Arguments<'a>,
}

/// One line, without its end. Line breaks in the message are escaped, so that nobody can forge a line.
fn format(record: &Record<'_>) -> PooledString {
    let mut line = LINES.get_string();
    // Cannot fail: there is always room.
    let _ = write!(line, "{:5} {}: ", record.level, record.target);
    let begin = line.len();
    let _ = line.write_fmt(record.message);
    if line[begin..].contains('\n') {
        let escaped = line[begin..].replace('\n', "\\n");
        line.truncate(begin);
        line.push_str(&escaped);
    }
    line
}

fn run() -> io::Result<()> {
    let mut written = 0;
    for (level, user) in [("INFO", "anna"), ("DEBUG", "ben"), ("WARN", "eve\nINFO  auth: forged")] {
        let line = format(&Record { level, target: "auth", message: format_args!("user={user}") });
        // A `str`, so that it can be searched.
        if !line.starts_with("DEBUG") {
            writeln!(io::stdout(), "{line}")?;
            written += 1;
        }
    }
    assert_eq!((written, LINES.stats().gets, LINES.stats().outstanding), (2, 3, 0));
    Ok(())
}

fn main() -> ExitCode {
    exit::exit_code("formatter", run().map_err(Into::into))
}
