//! Whole lines, exact counts, and nothing lost at the end.

use std::io::{self, IoSlice, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytebufferpool::Pool;
use log::Log;
use pooled_lines::{LineWriter, WhenFull};

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

fn leaked_pool() -> &'static Pool {
    Box::leak(Box::default())
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
    let pool = leaked_pool();
    let output = Grudging { memory: memory.clone(), calls: 0 };
    let (lines, writer) = LineWriter::spawn(pool, output, 16, WhenFull::Block);
    let log = setup(lines);
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
    let report = writer.finish();
    assert!(report.error.is_none(), "{report:?}");
    assert_eq!((report.written, report.dropped), ((THREADS * EVENTS) as u64, 0));
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
    assert_eq!(pool.stats().outstanding, 0);
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

/// The writer holds one line, the channel four; so of 100 lines exactly 95 find no room.
#[test]
fn a_full_channel_drops_exactly_what_finds_no_room() {
    let memory = Memory::default();
    let (gate, is_waiting, open) = Gate::new(&memory);
    let (lines, writer) = LineWriter::spawn(leaked_pool(), gate, 4, WhenFull::Drop);
    // Dropped before the writer, should an assertion fail: it would wait for the gate for ever.
    let (is_waiting, open) = (is_waiting, open);
    writeln!(lines.line(), "line 0").unwrap();
    is_waiting.recv().unwrap();
    for line in 1..100 {
        let mut writer = lines.line();
        writer.write_all(format!("line {line}\n").as_bytes()).unwrap();
    }
    assert_eq!(lines.dropped(), 95);
    drop((open, is_waiting));
    let report = writer.finish();
    assert_eq!((report.written, report.dropped), (5, 95));
    assert_eq!(memory.text(), "line 0\nline 1\nline 2\nline 3\nline 4\n");
}

/// Whoever comes first: each line is either in the output or counted.
#[test]
fn from_many_threads_every_line_is_written_or_counted() {
    let memory = Memory::default();
    let output = Grudging { memory: memory.clone(), calls: 0 };
    let pool = leaked_pool();
    let (lines, writer) = LineWriter::spawn(pool, output, 4, WhenFull::Drop);
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
    assert_eq!(memory.text().lines().count() as u64, report.written);
    assert_eq!(report.written + lines.dropped(), (THREADS * EVENTS) as u64, "{report:?}");
    drop(lines);
    assert_eq!(pool.stats().outstanding, 0);
}

#[test]
fn blocking_waits_and_loses_nothing() {
    let memory = Memory::default();
    let (gate, is_waiting, open) = Gate::new(&memory);
    let (lines, writer) = LineWriter::spawn(leaked_pool(), gate, 2, WhenFull::Block);
    // Dropped before the writer, should an assertion fail: it would wait for the gate for ever.
    let (is_waiting, open) = (is_waiting, open);
    let (done, is_done) = mpsc::channel();
    let logging = thread::spawn(move || {
        (0..50).for_each(|line| writeln!(lines.line(), "{line}").unwrap());
        done.send(()).unwrap();
    });
    is_waiting.recv().unwrap();
    assert!(is_done.recv_timeout(Duration::from_millis(50)).is_err(), "50 lines do not fit into a channel of 2");
    drop((open, is_waiting));
    is_done.recv_timeout(Duration::from_secs(30)).expect("goes on when there is room");
    logging.join().unwrap();
    let report = writer.finish();
    assert_eq!((report.written, report.dropped), (50, 0));
    assert_eq!(memory.text().lines().count(), 50);
}

#[test]
fn the_end_of_the_writer_thread_writes_what_was_handed_over_before() {
    for finish in [true, false] {
        let memory = Memory::default();
        let (lines, writer) = LineWriter::spawn(leaked_pool(), memory.clone(), 1000, WhenFull::Drop);
        (0..1000).for_each(|line| writeln!(lines.line(), "{line}").unwrap());
        if finish {
            assert_eq!(writer.finish().written, 1000);
        } else {
            drop(writer);
        }
        assert_eq!(memory.text().lines().count(), 1000);
        // The logger of a program is never dropped: it outlives the writer, and must not hang or panic.
        writeln!(lines.line(), "too late").unwrap();
        lines.flush();
        assert_eq!(lines.dropped(), 1);
        assert_eq!(memory.text().lines().count(), 1000);
    }
}

#[test]
fn flush_returns_when_everything_is_written() {
    let memory = Memory::default();
    let (lines, _writer) = LineWriter::spawn(leaked_pool(), memory.clone(), 100, WhenFull::Block);
    for line in 1..=100 {
        lines.log(&log::Record::builder().args(format_args!("{line}")).build());
        lines.flush();
        assert_eq!(memory.text().lines().count(), line);
    }
}

#[test]
fn an_output_that_fails_ends_the_log_and_its_lines_are_counted() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0 -= bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let pool = leaked_pool();
    let (lines, writer) = LineWriter::spawn(pool, Full(25), 100, WhenFull::Block);
    (0..20).for_each(|_| writeln!(lines.line(), "ten bytes").unwrap());
    let report = writer.finish();
    assert_eq!(report.error.unwrap().kind(), io::ErrorKind::StorageFull);
    assert_eq!((report.written, report.dropped), (2, 18));
    assert_eq!(pool.stats().outstanding, 0);
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
    let pool = leaked_pool();
    let (lines, writer) = LineWriter::spawn(pool, Panics, 2, WhenFull::Block);
    (0..20).for_each(|_| writeln!(lines.line(), "line").unwrap());
    drop(writer);
    assert_eq!(lines.dropped(), 20);
    drop(lines);
    assert_eq!(pool.stats().outstanding, 0);
}

#[test]
fn nothing_written_is_no_line() {
    let memory = Memory::default();
    let (lines, writer) = LineWriter::spawn(leaked_pool(), memory.clone(), 10, WhenFull::Block);
    drop(lines.line());
    drop(lines.pipe());
    assert_eq!(writer.finish().written, 0);
}
