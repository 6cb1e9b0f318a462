//! One log line, taken apart.

use serde::Serialize;

/// The parts of a log line, borrowed from it. Joined by single spaces, those that are there give the line again: a
/// line of no known form is all `message`, and nothing is lost.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Record<'a> {
    pub(crate) line: u64,
    /// What stands before the time, as a file's name in merged logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<&'a str>,
    /// Host, process or module, where they precede the level or end in a colon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) level: Option<&'a str>,
    pub(crate) message: &'a str,
}

impl<'a> Record<'a> {
    pub(crate) fn parse(line: u64, text: &'a str) -> Record<'a> {
        let (origin, time, rest) = split_time(text);
        let (source, level, message) = split_source_and_level(rest);
        Record { line, origin, time, source, level, message }
    }
}

/// Looks for a clock among the first words and takes the date before it along.
fn split_time(text: &str) -> (Option<&str>, Option<&str>, &str) {
    let Some((clock_start, clock)) = words(text).take(TIME_WORDS_MAX).find(|(_, word)| is_clock(word)) else {
        return (None, None, text);
    };
    let (head, time_start) = match date_start(&text[..clock_start]) {
        Some(start) => (&text[..start], start),
        None => (&text[..clock_start], clock_start),
    };
    let clock_end = clock_start + clock.len();
    let Some(rest) = rest_after(text, clock_end) else { return (None, None, text) };
    (head.strip_suffix(' '), Some(&text[time_start..clock_end]), rest)
}

/// Where the date begins that `head`, with the space after it, ends in: `2015-10-18 ` or `Dec 10 `.
fn date_start(head: &str) -> Option<usize> {
    let head = head.trim_end_matches(' ');
    let last = head.rfind(' ').map_or(0, |space| space + 1);
    if is_iso_date(&head[last..]) {
        return Some(last);
    }
    let month_end = head[..last].trim_end_matches(' ').len();
    let month = head[..month_end].rfind(' ').map_or(0, |space| space + 1);
    (MONTHS.contains(&&head[month..month_end]) && head[last..].bytes().all(|byte| byte.is_ascii_digit()))
        .then_some(month)
}

/// `INFO [main] class: message`, `25746 INFO module message` or `host process[1]: message`.
fn split_source_and_level(text: &str) -> (Option<&str>, Option<&str>, &str) {
    for (start, word) in words(text).take(SOURCE_WORDS_MAX) {
        let Some(message) = rest_after(text, start + word.len()) else { break };
        if LEVELS.contains(&word) {
            return (text[..start].strip_suffix(' '), Some(word), message);
        }
        if word.ends_with(':') {
            return (Some(&text[..start + word.len()]), None, message);
        }
    }
    (None, None, text)
}

/// What follows the one space at `end`; `None` where the line goes on without one, or ends.
fn rest_after(text: &str, end: usize) -> Option<&str> {
    text[end..].strip_prefix(' ')
}

/// The words of `text` with the places where they begin.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split(' ').filter_map(move |word| {
        let here = start;
        start += word.len() + 1;
        (!word.is_empty()).then_some((here, word))
    })
}

/// `18:01:47`, with or without a fraction, or an ISO date and time in one word.
fn is_clock(word: &str) -> bool {
    let clock = match word.split_once('T') {
        Some((date, clock)) if is_iso_date(date) => clock,
        _ => word,
    };
    matches!(clock.as_bytes(), [a, b, b':', c, d, b':', e, f, ..] if [a, b, c, d, e, f].iter().all(|byte| byte.is_ascii_digit()))
}

fn is_iso_date(word: &str) -> bool {
    matches!(word.as_bytes(), [a, b, c, d, b'-', e, f, b'-', g, h]
        if [a, b, c, d, e, f, g, h].iter().all(|byte| byte.is_ascii_digit()))
}

const TIME_WORDS_MAX: usize = 4;
const SOURCE_WORDS_MAX: usize = 3;
const LEVELS: [&str; 10] =
    ["TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL", "PANIC"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
