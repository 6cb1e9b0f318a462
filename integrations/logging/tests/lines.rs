//! Whole lines, exact counts, and nothing lost at the end.

use std::io::{self, IoSlice, Write};
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytebufferpool_tracing::{Counts, LineWriter, Report, WhenFull, WriterThread};
use log::Log;

/// What was written, in the order it arrived.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes a few bytes at a time, is interrupted now and then, and ends in the middle of slices.
struct Grudging {
    memory: Memory,
    calls: usize,
}

impl Write for Grudging {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls % 5 == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut room = self.calls * 7919 % 3000 + 1;
        let mut taken = 0;
        for slice in slices {
            let part = slice.len().min(room);
            self.memory.write_all(&slice[..part])?;
            taken += part;
            room -= part;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits in each write until it is told to go on, and says when it waits.
struct Gate {
    waits: Sender<()>,
    go: Receiver<()>,
    memory: Memory,
}

impl Gate {
    fn new(memory: &Memory) -> (Gate, Receiver<()>, Sender<()>) {
        let (waits, is_waiting) = mpsc::channel();
        let (open, go) = mpsc::channel();
        (Gate { waits, go, memory: memory.clone() }, is_waiting, open)
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Both are gone when the test has let go: then nothing waits any more.
        let _ = self.waits.send(());
        let _ = self.go.recv();
        self.memory.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A queue of this many bytes holds `lines` lines of `len` bytes: each counts 8 more than it has.
const fn room_for(lines: usize, len: usize) -> usize {
    lines * (len + 8)
}

fn figures(counts: Counts) -> (u64, u64, u64) {
    (counts.written, counts.dropped, counts.waiting)
}

/// Every buffer is returned: no line can be anywhere any more.
fn finish(writer: WriterThread, lines: &LineWriter) -> Report {
    let report = writer.finish();
    assert_eq!(lines.pool().stats().outstanding, 0);
    report
}

const THREADS: usize = 8;
const EVENTS: usize = 500;

fn payload(thread: usize, event: usize) -> String {
    let letter = char::from(b'a' + (thread * 31 + event) as u8 % 26);
    let len = if event % 50 == 0 { 20_000 } else { (thread * 131 + event * 7919) % 700 };
    letter.to_string().repeat(len)
}

/// `log` logs one event; the lines must be all there, whole, and in order for each thread.
fn check_from_many_threads(setup: impl FnOnce(LineWriter) -> Box<dyn Fn(usize, usize, &str) + Send + Sync>) {
    let memory = Memory::default();
    let output = Grudging { memory: memory.clone(), calls: 0 };
    let (lines, writer) = LineWriter::spawn(output, 4096, WhenFull::Block);
    let log = setup(lines.clone());
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let log = &log;
                scope.spawn(move || (0..EVENTS).for_each(|event| log(thread, event, &payload(thread, event))))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    drop(log);
    let report = finish(writer, &lines);
    assert!(report.error.is_none(), "{report:?}");
    assert_eq!(figures(report.counts), ((THREADS * EVENTS) as u64, 0, 0));
    let mut next = [0; THREADS];
    for line in memory.text().lines() {
        let (_, line) = line.split_once("@").unwrap_or_else(|| panic!("torn: {line}"));
        let mut words = line.split(' ');
        let mut number = || words.next().unwrap().parse::<usize>().unwrap_or_else(|_| panic!("torn: {line}"));
        let (thread, event) = (number(), number());
        assert_eq!(words.next().unwrap(), payload(thread, event), "torn");
        assert_eq!(next[thread], event, "out of order");
        next[thread] += 1;
    }
    assert_eq!(next, [EVENTS; THREADS]);
}

#[test]
fn no_line_of_tracing_is_torn_or_lost() {
    check_from_many_threads(|lines| {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(lines).finish();
        let dispatch = tracing::Dispatch::new(subscriber);
        Box::new(move |thread, event, payload| {
            tracing::dispatcher::with_default(&dispatch, || tracing::info!("@{thread} {event} {payload}"));
        })
    });
}

#[test]
fn no_line_of_env_logger_is_torn_or_lost() {
    check_from_many_threads(|lines| {
        let logger = env_logger::Builder::new()
            .filter_level(log::LevelFilter::Info)
            .target(env_logger::Target::Pipe(lines.pipe()))
            .build();
        Box::new(move |thread, event, payload| {
            let message = format_args!("@{thread} {event} {payload}");
            logger.log(&log::Record::builder().level(log::Level::Info).args(message).build());
        })
    });
}

#[test]
fn no_line_of_fern_is_torn_or_lost() {
    check_from_many_threads(|lines| {
        let (_, logger) = fern::Dispatch::new()
            .format(|out, message, record| out.finish(format_args!("{} {message}", record.level())))
            .chain(Box::new(lines) as Box<dyn Log>)
            .into_log();
        Box::new(move |thread, event, payload| {
            let message = format_args!("@{thread} {event} {payload}");
            logger.log(&log::Record::builder().level(log::Level::Info).args(message).build());
        })
    });
}

#[test]
fn no_line_in_pieces_is_torn_or_lost() {
    check_from_many_threads(|lines| {
        Box::new(move |thread, event, payload| writeln!(lines.line(), "@{thread} {event} {payload}").unwrap())
    });
}

/// The worker holds one line, the queue four; so of 100 lines exactly 95 find no room.
#[test]
fn a_full_queue_drops_exactly_what_finds_no_room() {
    let memory = Memory::default();
    let (gate, is_waiting, open) = Gate::new(&memory);
    let (lines, writer) = LineWriter::spawn(gate, room_for(4, "line 00\n".len()), WhenFull::Drop);
    // Dropped before the writer, should an assertion fail: it would wait for the gate for ever.
    let (is_waiting, open) = (is_waiting, open);
    writeln!(lines.line(), "line 00").unwrap();
    is_waiting.recv().unwrap();
    for line in 1..100 {
        writeln!(lines.line(), "line {line:02}").unwrap();
    }
    assert_eq!(figures(lines.counts()), (0, 95, 5));
    drop((open, is_waiting));
    let report = finish(writer, &lines);
    assert_eq!(figures(report.counts), (5, 95, 0));
    assert_eq!(memory.text(), "line 00\nline 01\nline 02\nline 03\nline 04\n");
}

/// Whoever comes first: each line is either in the output or counted.
#[test]
fn from_many_threads_every_line_is_written_or_counted() {
    let memory = Memory::default();
    let output = Grudging { memory: memory.clone(), calls: 0 };
    let (lines, writer) = LineWriter::spawn(output, 100, WhenFull::Drop);
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let lines = lines.clone();
            thread::spawn(move || (0..EVENTS).for_each(|event| writeln!(lines.line(), "{event}").unwrap()))
        })
        .collect();
    // While they still log: the end of the writer is where a line could get lost uncounted.
    thread::sleep(Duration::from_millis(2));
    let report = writer.finish();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(memory.text().lines().count() as u64, report.counts.written);
    let counts = lines.counts();
    assert_eq!((counts.written, counts.waiting), (report.counts.written, 0));
    assert_eq!(counts.written + counts.dropped, (THREADS * EVENTS) as u64, "{report:?}");
    assert_eq!(lines.pool().stats().outstanding, 0);
}

/// A thread that waits for room when the writer ends must go on, and its line is counted.
#[test]
fn the_end_of_the_writer_lets_those_go_who_wait_for_room() {
    let memory = Memory::default();
    let (gate, is_waiting, open) = Gate::new(&memory);
    let (lines, writer) = LineWriter::spawn(gate, 1, WhenFull::Block);
    writeln!(lines.line(), "with the worker").unwrap();
    is_waiting.recv().unwrap();
    writeln!(lines.line(), "in the queue").unwrap();
    let waits = thread::spawn({
        let lines = lines.clone();
        move || writeln!(lines.line(), "no room").unwrap()
    });
    let finishing = thread::spawn(|| writer.finish());
    waits.join().unwrap();
    drop((open, is_waiting));
    assert_eq!(figures(finishing.join().unwrap().counts), (2, 1, 0));
    assert_eq!(memory.text(), "with the worker\nin the queue\n");
}

#[test]
fn blocking_waits_and_loses_nothing() {
    let memory = Memory::default();
    let (gate, is_waiting, open) = Gate::new(&memory);
    let (lines, writer) = LineWriter::spawn(gate, room_for(2, 3), WhenFull::Block);
    // Dropped before the writer, should an assertion fail: it would wait for the gate for ever.
    let (is_waiting, open) = (is_waiting, open);
    let (done, is_done) = mpsc::channel();
    let logging = thread::spawn({
        let lines = lines.clone();
        move || {
            (0..50).for_each(|line| writeln!(lines.line(), "{line:02}").unwrap());
            done.send(()).unwrap();
        }
    });
    is_waiting.recv().unwrap();
    assert!(is_done.recv_timeout(Duration::from_millis(50)).is_err(), "50 lines do not fit into a queue of 2");
    assert_eq!(lines.counts().dropped, 0);
    drop((open, is_waiting));
    is_done.recv_timeout(Duration::from_secs(30)).expect("goes on when there is room");
    logging.join().unwrap();
    let report = finish(writer, &lines);
    assert_eq!(figures(report.counts), (50, 0, 0));
    assert_eq!(memory.text().lines().count(), 50);
}

#[test]
fn the_end_of_the_writer_thread_writes_what_was_handed_over_before() {
    for finish in [true, false] {
        let memory = Memory::default();
        let (lines, writer) = LineWriter::spawn(memory.clone(), 1 << 20, WhenFull::Drop);
        (0..1000).for_each(|line| writeln!(lines.line(), "{line}").unwrap());
        if finish {
            assert_eq!(writer.finish().counts.written, 1000);
        } else {
            drop(writer);
        }
        assert_eq!(memory.text().lines().count(), 1000);
        // The logger of a program is never dropped: it outlives the writer, and must not hang or panic.
        writeln!(lines.line(), "too late").unwrap();
        lines.flush();
        assert_eq!(figures(lines.counts()), (1000, 1, 0));
        assert_eq!(memory.text().lines().count(), 1000);
    }
}

#[test]
fn flush_returns_when_everything_is_written() {
    let memory = Memory::default();
    let (lines, _writer) = LineWriter::spawn(memory.clone(), 1 << 10, WhenFull::Block);
    for line in 1..=100 {
        lines.log(&log::Record::builder().args(format_args!("{line}")).build());
        lines.flush();
        assert_eq!(memory.text().lines().count(), line);
        assert_eq!(figures(lines.counts()), (line as u64, 0, 0));
    }
}

/// The worker gathers for a millisecond, but nobody waits for less than all of it where nobody flushes.
#[test]
fn a_line_is_written_without_a_flush_and_without_an_end() {
    let memory = Memory::default();
    let (lines, _writer) = LineWriter::spawn(memory.clone(), 1 << 20, WhenFull::Block);
    for line in 1..=5 {
        writeln!(lines.line(), "{line}").unwrap();
        let began = Instant::now();
        while memory.text().lines().count() < line {
            assert!(began.elapsed() < Duration::from_secs(30), "line {line} is not written");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn an_output_that_panics_hangs_nobody() {
    struct Panics;
    impl Write for Panics {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("the output's own panic");
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for finish in [true, false] {
        let (lines, writer) = LineWriter::spawn(Panics, room_for(2, 5), WhenFull::Block);
        (0..20).for_each(|_| writeln!(lines.line(), "line").unwrap());
        lines.flush();
        if finish {
            let panic =
                std::panic::catch_unwind(AssertUnwindSafe(|| writer.finish())).expect_err("the output's panic goes on");
            assert_eq!(panic.downcast_ref(), Some(&"the output's own panic"));
        } else {
            drop(writer);
        }
        assert_eq!(figures(lines.counts()), (0, 20, 0));
        assert_eq!(lines.pool().stats().outstanding, 0);
    }
}

#[test]
fn an_output_that_panics_ends_a_flush_that_waits() {
    struct PanicsLater(Receiver<()>);
    impl Write for PanicsLater {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            panic!("the output's own panic");
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (open, go) = mpsc::channel();
    let (lines, writer) = LineWriter::spawn(PanicsLater(go), 1 << 10, WhenFull::Block);
    writeln!(lines.line(), "line").unwrap();
    let (done, is_done) = mpsc::channel();
    thread::spawn({
        let lines = lines.clone();
        move || {
            lines.flush();
            done.send(()).unwrap();
        }
    });
    assert!(is_done.recv_timeout(Duration::from_millis(50)).is_err(), "nothing is written yet");
    open.send(()).unwrap();
    is_done.recv_timeout(Duration::from_secs(30)).expect("the flush ends with the writer");
    drop(writer);
    assert_eq!(figures(lines.counts()), (0, 1, 0));
}

/// An output that logs, as one that reports its own errors may: its lines must not wait for the thread they are on.
#[test]
fn an_output_that_logs_waits_for_nobody() {
    struct Logs(Receiver<LineWriter>);
    impl Write for Logs {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Ok(lines) = self.0.try_recv() {
                // The first finds room, the others do not.
                (0..3).for_each(|_| writeln!(lines.line(), "from the output").unwrap());
                lines.flush();
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (give, take) = mpsc::channel();
    let (lines, writer) = LineWriter::spawn(Logs(take), 1, WhenFull::Block);
    give.send(lines.clone()).unwrap();
    writeln!(lines.line(), "a line").unwrap();
    lines.flush();
    assert_eq!(figures(finish(writer, &lines).counts), (2, 2, 0));
}

#[test]
fn a_line_ends_with_a_write_that_ends_with_a_line_end_or_when_it_is_dropped() {
    let memory = Memory::default();
    let (lines, writer) = LineWriter::spawn(memory.clone(), 1 << 10, WhenFull::Block);
    let mut line = lines.line();
    line.write_all(b"first ").unwrap();
    line.write_all(b"in pieces\n").unwrap();
    assert_eq!(lines.counts().written + lines.counts().waiting, 1);
    line.write_all(b"second\nof two\n").unwrap();
    line.write_all(b"third, without an end").unwrap();
    assert_eq!(lines.counts().written + lines.counts().waiting, 2);
    drop(line);
    drop(lines.line());
    drop(lines.pipe());
    assert_eq!(finish(writer, &lines).counts.written, 3);
    assert_eq!(memory.text(), "first in pieces\nsecond\nof two\nthird, without an end");
}

/// Of a line of 10 MiB nothing is cached but blocks, in whichever way it comes, and however much the pool may cache and has
/// learned of such lines.
#[test]
fn after_a_large_line_at_most_a_mebibyte_is_cached() {
    let large = "x".repeat(10 << 20);
    for queue_bytes in [256 << 10, 16 << 20] {
        let (lines, writer) = LineWriter::spawn(io::sink(), queue_bytes, WhenFull::Block);
        for round in 0..9 {
            (0..100).for_each(|line| writeln!(lines.line(), "line {line}").unwrap());
            match round % 3 {
                0 => lines.line().write_all(format!("{large}\n").as_bytes()).unwrap(),
                1 => writeln!(lines.line(), "{large}").unwrap(),
                _ => lines.log(&log::Record::builder().args(format_args!("{large}")).build()),
            }
            lines.flush();
            let stats = lines.pool().stats();
            assert!(stats.retained_bytes <= 1 << 20, "{stats}");
            assert_eq!(stats.outstanding, 0);
            lines.pool().calibrate();
        }
        let report = finish(writer, &lines);
        assert_eq!(figures(report.counts), (909, 0, 0));
    }
}
