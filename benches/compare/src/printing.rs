//! Standard output that may be closed, as by `head`: whoever closed it has read enough, and the rest is done in silence.

use std::fmt;
use std::io::{self, Write};

/// Writes the text and a line's end.
pub fn line(text: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
