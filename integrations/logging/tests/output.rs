//! What the output gets, a call at a time, and what its failures cost.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use bytebufferpool_tracing::{LineWriter, Report, WhenFull};

/// What an output does with a call.
#[derive(Clone, Copy)]
enum Answer {
    /// Takes at most so many bytes.
    Takes(usize),
    Fails(ErrorKind),
}

use Answer::{Fails, Takes};

/// An output that follows a script and notes what it took in each call. The first call waits until the test has logged what
/// shall be one batch, so each script begins with that call.
struct Script {
    answers: std::vec::IntoIter<Answer>,
    /// From then on.
    rest: Answer,
    calls: Arc<Mutex<Vec<String>>>,
    is_vectored: bool,
    waits: Option<(Sender<()>, Receiver<()>)>,
}

impl Script {
    fn call(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Some((waits, go)) = self.waits.take() {
            waits.send(()).unwrap();
            go.recv().unwrap();
        }
        match self.answers.next().unwrap_or(self.rest) {
            Takes(most) => {
                let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                bytes.truncate(most);
                self.calls.lock().unwrap().push(String::from_utf8(bytes.clone()).unwrap());
                Ok(bytes.len())
            }
            Fails(kind) => {
                self.calls.lock().unwrap().push(format!("{kind:?}"));
                Err(kind.into())
            }
        }
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // As the default does: the first slice that is not empty.
        let taken = if self.is_vectored { slices } else { &slices[..1] };
        self.call(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs "first", then `lines` as one batch, and then "last" as another. Returns the calls after the first, and the report.
fn calls(answers: Vec<Answer>, rest: Answer, is_vectored: bool, lines: &[String]) -> (Vec<String>, Report) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (waits, is_waiting) = mpsc::channel();
    let (open, go) = mpsc::channel();
    let answers = [vec![Takes(usize::MAX)], answers].concat().into_iter();
    let output = Script { answers, rest, calls: Arc::clone(&calls), is_vectored, waits: Some((waits, go)) };
    let (writer, thread) = LineWriter::spawn(output, 8 << 20, WhenFull::Block);
    let log = |line: &str| writer.line().write_all(line.as_bytes()).unwrap();
    log("first\n");
    is_waiting.recv().unwrap();
    lines.iter().for_each(|line| log(line));
    open.send(()).unwrap();
    writer.flush();
    log("last\n");
    let report = thread.finish();
    assert_eq!(writer.pool().stats().outstanding, 0);
    assert_eq!(report.counts.written + report.counts.dropped, lines.len() as u64 + 2);
    assert_eq!((report.counts.waiting, report.counts.batches), (0, 3));
    let mut calls = std::mem::take(&mut *calls.lock().unwrap());
    assert_eq!(calls.remove(0), "first\n");
    (calls, report)
}

fn numbered(lines: usize, len: usize) -> Vec<String> {
    (0..lines).map(|line| format!("{line:0width$}\n", width = len - 1)).collect()
}

#[test]
fn a_batch_is_one_call_of_write_vectored() {
    // 600 KB: ten blocks.
    let lines = numbered(3000, 200);
    let (calls, report) = calls(vec![], Takes(usize::MAX), true, &lines);
    assert_eq!(calls, [lines.concat(), "last\n".into()]);
    assert_eq!(report.counts.written, 3002);
}

/// One call gets at most 64 slices: 4 MiB of short lines.
#[test]
fn more_than_64_blocks_are_written_with_one_call_per_64() {
    let lines = numbered(3000, 2000);
    let (calls, report) = calls(vec![], Takes(usize::MAX), true, &lines);
    assert_eq!((calls.len(), calls.concat()), (3, lines.concat() + "last\n"));
    assert_eq!(report.counts.written, 3002);
}

/// As rotating files do, which may rotate between any two calls.
#[test]
fn an_output_that_takes_one_slice_a_call_gets_whole_lines() {
    let mut lines = numbered(3000, 200);
    lines.insert(1000, "x".repeat(300_000) + "\n");
    let (calls, report) = calls(vec![], Takes(usize::MAX), false, &lines);
    assert!(calls.iter().all(|call| call.ends_with('\n')), "a call ends inside of a line");
    assert!(calls.len() < 20, "{} calls", calls.len());
    assert_eq!(calls.concat(), lines.concat() + "last\n");
    assert_eq!(report.counts.written, 3003);
}

#[test]
fn an_output_that_takes_a_byte_a_call_gets_everything() {
    let lines = numbered(3, 7);
    let (calls, report) = calls(vec![], Takes(1), true, &lines);
    assert!(calls.iter().all(|call| call.len() == 1));
    assert_eq!(calls.concat(), lines.concat() + "last\n");
    assert_eq!((report.counts.written, report.counts.errors), (5, 0));
}

#[test]
fn an_interrupted_call_is_made_again() {
    let answers = vec![Fails(ErrorKind::Interrupted), Takes(3), Fails(ErrorKind::Interrupted)];
    let (calls, report) = calls(answers, Takes(usize::MAX), true, &numbered(2, 4));
    assert_eq!(calls, ["Interrupted", "000", "Interrupted", "\n001\n", "last\n"]);
    assert_eq!((report.counts.written, report.counts.errors), (4, 0));
    assert!(report.error.is_none());
}

#[test]
fn an_error_costs_the_lines_that_were_not_taken_whole_and_the_log_goes_on() {
    // 10 bytes: two lines, and a half that stays a line of its own.
    let (calls, report) =
        calls(vec![Takes(10), Fails(ErrorKind::StorageFull)], Takes(usize::MAX), true, &numbered(5, 4));
    assert_eq!(calls, ["000\n001\n00", "StorageFull", "\n", "last\n"]);
    assert_eq!((report.counts.written, report.counts.dropped, report.counts.errors), (4, 3, 1));
    assert_eq!(report.error.unwrap().kind(), ErrorKind::StorageFull);
}

#[test]
fn an_error_between_two_lines_leaves_no_empty_one() {
    let (calls, report) =
        calls(vec![Takes(8), Fails(ErrorKind::StorageFull)], Takes(usize::MAX), true, &numbered(5, 4));
    assert_eq!(calls, ["000\n001\n", "StorageFull", "last\n"]);
    assert_eq!((report.counts.written, report.counts.dropped, report.counts.errors), (4, 3, 1));
}

#[test]
fn an_output_that_takes_nothing_is_an_error() {
    let (calls, report) = calls(vec![Takes(0)], Takes(usize::MAX), true, &numbered(5, 4));
    assert_eq!(calls, ["", "last\n"]);
    assert_eq!((report.counts.written, report.counts.dropped, report.counts.errors), (2, 5, 1));
    assert_eq!(report.error.unwrap().kind(), ErrorKind::WriteZero);
}

#[test]
fn an_output_that_fails_for_ever_costs_every_line_after_it() {
    let (calls, report) = calls(vec![Takes(2)], Fails(ErrorKind::BrokenPipe), true, &numbered(5, 4));
    // The second is the line end after the half line: it fails too, and is tried again with each batch.
    assert_eq!(calls, ["00", "BrokenPipe", "BrokenPipe"]);
    assert_eq!((report.counts.written, report.counts.dropped, report.counts.errors), (1, 6, 2));
    assert_eq!(report.error.unwrap().kind(), ErrorKind::BrokenPipe);
}

/// Its lines may be in the output or not: they are written as far as anybody can know.
#[test]
fn an_error_of_flush_is_counted() {
    struct NoFlush;
    impl Write for NoFlush {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(ErrorKind::StorageFull.into())
        }
    }
    let (lines, writer) = LineWriter::spawn(NoFlush, 1 << 10, WhenFull::Block);
    writeln!(lines.line(), "a line").unwrap();
    let report = writer.finish();
    assert_eq!((report.counts.written, report.counts.dropped, report.counts.errors), (1, 0, 1));
    assert_eq!(report.error.unwrap().kind(), ErrorKind::StorageFull);
}

#[test]
fn a_queue_of_no_bytes_is_refused() {
    let refused = std::panic::catch_unwind(|| LineWriter::spawn(io::sink(), 0, WhenFull::Drop)).unwrap_err();
    assert_eq!(refused.downcast_ref(), Some(&"a queue of 0 bytes accepts no line"));
}
