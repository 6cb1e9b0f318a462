//! A trace: the lengths of real messages in their order, and what can be wrong with one.

use std::fmt;
use std::io::{self, BufRead};

/// A longer length is a mistake in the trace, not a message.
pub(crate) const LENGTH_MAX: u64 = 1 << 30;
/// 4 bytes each: 400 MB.
pub(crate) const LENGTHS_MAX: usize = 100_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Plain text, one length per line. Blank lines and lines that begin with `#` say nothing.
    Lengths,
    /// Any file: the length of each line, without its line end, is a length.
    Lines,
}

pub(crate) fn read(input: &mut dyn BufRead, form: Form) -> Result<Vec<u32>, TraceError> {
    let mut lengths = Vec::new();
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        let read = input.read_until(b'\n', &mut line).map_err(|error| TraceError::Read { after: number, error })?;
        if read == 0 {
            break;
        }
        number += 1;
        let text = without_line_end(&line);
        let length = match form {
            Form::Lines => Some(fitting(text.len() as u64, number, || "the line".to_owned())?),
            Form::Lengths => parse(text, number)?,
        };
        if lengths.len() == LENGTHS_MAX {
            return Err(TraceError::TooMany { line: number });
        }
        lengths.extend(length);
    }
    if lengths.iter().all(|&length| length == 0) {
        return Err(TraceError::Empty { lines: number });
    }
    Ok(lengths)
}

fn parse(text: &[u8], line: u64) -> Result<Option<u32>, TraceError> {
    let bad = |reason: &'static str| TraceError::Bad { line, found: excerpt(text), reason };
    let trimmed = text.trim_ascii();
    if trimmed.is_empty() || trimmed[0] == b'#' {
        return Ok(None);
    }
    let digits = trimmed.strip_prefix(b"-").unwrap_or(trimmed);
    if !digits.iter().all(u8::is_ascii_digit) || digits.is_empty() {
        let number = std::str::from_utf8(trimmed).is_ok_and(|text| text.parse::<f64>().is_ok());
        return Err(bad(if number { "is not a whole number of bytes" } else { "is not a length" }));
    }
    if digits.len() < trimmed.len() {
        return Err(bad("is negative"));
    }
    // What does not fit into 64 bits is as huge as the largest that does.
    let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX);
    fitting(length, line, || excerpt(text)).map(Some)
}

fn fitting(length: u64, line: u64, found: impl FnOnce() -> String) -> Result<u32, TraceError> {
    if length > LENGTH_MAX {
        return Err(TraceError::Bad { line, found: found(), reason: "is more than 1073741824 bytes (1 GiB)" });
    }
    Ok(length as u32)
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What a person needs to find the place, whatever stands there.
fn excerpt(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(160)]);
    let mut short: String = text.chars().take(EXCERPT_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(EXCERPT_CHARS).is_some() {
        short.push('…');
    }
    format!("\"{short}\"")
}

const EXCERPT_CHARS: usize = 40;

#[derive(Debug)]
pub(crate) enum TraceError {
    Read { after: u64, error: io::Error },
    Bad { line: u64, found: String, reason: &'static str },
    TooMany { line: u64 },
    Empty { lines: u64 },
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TraceError::Read { after: 0, error } => write!(f, "cannot be read: {error}"),
            TraceError::Read { after, error } => write!(f, "cannot be read after line {after}: {error}"),
            TraceError::Bad { line, found, reason: reason @ "is not a length" } => {
                write!(f, "line {line}: {found} {reason} (with --lines the length of each line is taken)")
            }
            TraceError::Bad { line, found, reason } => write!(f, "line {line}: {found} {reason}"),
            TraceError::TooMany { line } => write!(f, "line {line}: there are more than {LENGTHS_MAX} lengths"),
            TraceError::Empty { lines: 0 } => f.write_str("is empty: there is nothing to replay"),
            TraceError::Empty { lines } => write!(f, "has {lines} lines, but no length above 0: nothing to replay"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(text: &[u8]) -> Result<Vec<u32>, String> {
        read(&mut &text[..], Form::Lengths).map_err(|error| error.to_string())
    }

    #[test]
    fn a_trace_is_one_length_per_line_and_may_hold_comments_and_blank_lines() {
        assert_eq!(lengths(b"# bodies\n10\r\n\n  20 \n0\n1073741824"), Ok(vec![10, 20, 0, 1 << 30]));
    }

    #[test]
    fn a_log_gives_the_length_of_each_line_whatever_stands_in_it() {
        let log = b"abc\n\n\xff\xfe\r\n-5\nlast";
        assert_eq!(read(&mut &log[..], Form::Lines).unwrap(), [3, 0, 2, 2, 4]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let cases: [(&[u8], &str); 9] = [
            (b"", "is empty: there is nothing to replay"),
            (b"\n# only this\n", "has 2 lines, but no length above 0: nothing to replay"),
            (b"0\n0\n", "has 2 lines, but no length above 0: nothing to replay"),
            (b"1\n-5\n", "line 2: \"-5\" is negative"),
            (b"1\n2\n1.5\n", "line 3: \"1.5\" is not a whole number of bytes"),
            (b"GET /\n", "line 1: \"GET /\" is not a length (with --lines the length of each line is taken)"),
            (b"-\n", "line 1: \"-\" is not a length (with --lines the length of each line is taken)"),
            (b"1073741825\n", "line 1: \"1073741825\" is more than 1073741824 bytes (1 GiB)"),
            (
                b"1\n99999999999999999999999999\n",
                "line 2: \"99999999999999999999999999\" is more than 1073741824 bytes (1 GiB)",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(lengths(text), Err(message.to_owned()));
        }
    }

    #[test]
    fn a_long_or_binary_line_is_cut_and_escaped_in_the_message() {
        let message = lengths(&[b"1\n\x1b[31m\xff".as_slice(), &[b'x'; 5000]].concat()).unwrap_err();
        assert!(message.starts_with("line 2: \"\\u{1b}[31m\u{fffd}xxx"), "{message}");
        assert!(message.contains("x…\" is not a length") && message.len() < 200, "{message}");
    }

    #[test]
    fn an_input_that_breaks_says_how_far_it_was_read() {
        struct Breaks;
        impl io::Read for Breaks {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("unplugged"))
            }
        }
        let mut input = io::BufReader::new(io::Read::chain(&b"1\n2\n"[..], Breaks));
        let error = read(&mut input, Form::Lengths).unwrap_err();
        assert_eq!(error.to_string(), "cannot be read after line 2: unplugged");
    }
}
