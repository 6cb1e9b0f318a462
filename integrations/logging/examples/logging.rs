//! Pooled lines beside tracing-appender's non-blocking writer, in one run.
//!
//!     cargo run --release -p integration-logging --example logging [EVENTS]
//!
//! The same events, threads, channel length and output for both, in alternating rounds, of which the best counts; then
//! one event of 10 MB, each in a process of its own, with the resident memory before and after. Beside them, lines
//! handed straight to the writers, without the formatting that both share. What the program claims it asserts.

use std::error::Error;
use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytebufferpool::Pool;
use pooled_lines::{LineWriter, WhenFull};
use tracing::Dispatch;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder};

#[path = "../../../tests/support/ledger.rs"]
mod ledger;

use ledger::{Count, Ledger};

#[global_allocator]
static LEDGER: Ledger = Ledger;

static POOL: Pool = Pool::new();

const THREADS: u64 = 2;
const CHANNEL_LINES: usize = 1024;
const ROUNDS: usize = 7;
const EVENTS: u64 = 200_000;
const GIANT_BYTES: usize = 10_000_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [] => compare(EVENTS),
        ["giant", which] => giant(which),
        [events] => events.parse().map_err(Into::into).and_then(compare),
        _ => Err("logging [EVENTS]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("logging: {error}");
            ExitCode::FAILURE
        }
    }
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn compare(events: u64) -> Result<()> {
    if events < 10_000 {
        return Err("fewer than 10000 events are mostly warm-up".into());
    }
    println!(
        "{events} events a round from {THREADS} threads, channel of {CHANNEL_LINES} lines, nothing dropped; best of {ROUNDS}\n"
    );
    println!("{:<44} {:>12} {:>18}", "", "events/s", "allocations/event");
    type Pass = fn(u64) -> Round;
    let rows: [(&str, Pass, Pass); 2] = [
        ("tracing events", pooled_events, appender_events),
        ("lines of 120 bytes, without tracing", pooled_lines, appender_lines),
    ];
    for (what, pooled, appender) in rows {
        let mut best = [Round::default(); 2];
        for _ in 0..ROUNDS {
            for (best, round) in best.iter_mut().zip([pooled(events), appender(events)]) {
                best.per_second = best.per_second.max(round.per_second);
                // The last: the pool is warm then.
                best.allocations = round.allocations;
            }
        }
        for (name, round) in ["pooled", "tracing-appender"].iter().zip(best) {
            println!("{:<44} {:>12.0} {:>18.4}", format!("{what}, {name}"), round.per_second, round.allocations);
        }
        // Claims; the few allocations that are left come from thread starts.
        assert!(best[0].allocations < 0.05, "a warm event allocates nothing");
        assert!(best[1].allocations >= 0.99, "tracing-appender copies each event into a Vec");
    }
    let stats = POOL.stats();
    assert_eq!((stats.outstanding, stats.gets), (0, stats.puts));
    println!("\nidle in the pool afterwards: {} bytes in {} buffers", stats.retained_bytes, stats.retained_buffers);

    println!("\none event of {GIANT_BYTES} bytes, resident KiB:\n");
    println!("{:<20} {:>10} {:>14} {:>18} {:>18}", "", "before", "just after", "after two trims", "idle in the pool");
    for which in ["pooled", "pooled, max_size", "tracing-appender"] {
        let output = Command::new(std::env::current_exe()?).args(["giant", which]).output()?;
        io::stderr().write_all(&output.stderr)?;
        if !output.status.success() {
            return Err(format!("{which} failed").into());
        }
        print!("{}", String::from_utf8(output.stdout)?);
    }
    println!(
        "\nThe event comes from a thread that ends: tracing_subscriber formats into a thread-local String, which keeps"
    );
    println!("its size as long as the thread lives, whatever the writer is.");
    Ok(())
}

#[derive(Clone, Copy, Default)]
struct Round {
    per_second: f64,
    allocations: f64,
}

/// Writes nothing. Notes how many line ends it has seen, and what its thread has asked of the heap.
#[derive(Clone, Default)]
struct Sink(Arc<Seen>);

#[derive(Default)]
struct Seen {
    lines: AtomicU64,
    heap_takes: AtomicU64,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.seen(1);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.seen(slices.len());
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn seen(&self, lines: usize) {
        self.0.lines.fetch_add(lines as u64, Ordering::Relaxed);
        self.0.heap_takes.store(Count::of_this_thread().heap_takes(), Ordering::Relaxed);
    }

    fn wait_for(&self, lines: u64) {
        while self.0.lines.load(Ordering::Relaxed) < lines {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

/// `log` from all threads, until everything has been written. The first events of each thread are not counted.
fn round(events: u64, sink: &Sink, log: impl Fn(u64) + Sync) -> Round {
    const WARM: u64 = 500;
    let each = events / THREADS;
    let begin = std::sync::Barrier::new(THREADS as usize + 1);
    let (here, before, seconds) = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    (0..WARM).for_each(&log);
                    begin.wait();
                    Count::of(|| (0..each).for_each(&log)).0.heap_takes()
                })
            })
            .collect();
        begin.wait();
        let (began, before) = (Instant::now(), sink.0.heap_takes.load(Ordering::Relaxed));
        let here: u64 = threads.into_iter().map(|thread| thread.join().expect("logging does not panic")).sum();
        sink.wait_for(THREADS * (WARM + each));
        (here, before, began.elapsed().as_secs_f64())
    });
    let on_writer = sink.0.heap_takes.load(Ordering::Relaxed).saturating_sub(before);
    let events = (each * THREADS) as f64;
    Round { per_second: events / seconds, allocations: (here + on_writer) as f64 / events }
}

fn spawn_pooled(pool: &'static Pool) -> (Sink, LineWriter, pooled_lines::WriterThread) {
    let sink = Sink::default();
    let (lines, writer) = LineWriter::spawn(pool, sink.clone(), CHANNEL_LINES, WhenFull::Block);
    (sink, lines, writer)
}

fn spawn_appender() -> (Sink, NonBlocking, tracing_appender::non_blocking::WorkerGuard) {
    let sink = Sink::default();
    let builder = NonBlockingBuilder::default().lossy(false).buffered_lines_limit(CHANNEL_LINES);
    let (lines, writer) = builder.finish(sink.clone());
    (sink, lines, writer)
}

fn dispatch<W>(writer: W) -> Dispatch
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    Dispatch::new(tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(writer).finish())
}

fn event(dispatch: &Dispatch, number: u64) {
    tracing::dispatcher::with_default(dispatch, || {
        tracing::info!(number, user = "anna", path = "/articles/4711/comments", status = 200, "request served");
    });
}

fn pooled_events(events: u64) -> Round {
    let (sink, lines, writer) = spawn_pooled(&POOL);
    let dispatch = dispatch(lines);
    let round = round(events, &sink, |number| event(&dispatch, number));
    assert_eq!(writer.finish().dropped, 0);
    round
}

fn appender_events(events: u64) -> Round {
    let (sink, lines, _writer) = spawn_appender();
    let dispatch = dispatch(lines);
    round(events, &sink, |number| event(&dispatch, number))
}

const LINE: [u8; 120] = [b'x'; 120];

fn pooled_lines(events: u64) -> Round {
    let (sink, lines, writer) = spawn_pooled(&POOL);
    let round = round(events, &sink, |_| lines.line().write_all(&LINE).expect("a buffer takes everything"));
    assert_eq!(writer.finish().dropped, 0);
    round
}

fn appender_lines(events: u64) -> Round {
    let (sink, lines, _writer) = spawn_appender();
    round(events, &sink, |_| lines.clone().write_all(&LINE).expect("the worker is there"))
}

// One giant, in a process of its own: prints a row of the table.

/// What a program does that wants no giant to stay even for a moment.
static BOUNDED: Pool = Pool::builder().max_size(64 << 10).max_size_limit(64 << 10).build();

fn giant(which: &str) -> Result<()> {
    match which {
        "tracing-appender" => {
            let (sink, lines, _writer) = spawn_appender();
            giant_row(which, &sink, &dispatch(lines), &POOL)
        }
        _ => {
            let pool = if which == "pooled" { &POOL } else { &BOUNDED };
            let (sink, lines, _writer) = spawn_pooled(pool);
            giant_row(which, &sink, &dispatch(lines), pool)
        }
    }
}

fn giant_row(which: &str, sink: &Sink, dispatch: &Dispatch, pool: &Pool) -> Result<()> {
    (0..1000).for_each(|number| event(dispatch, number));
    sink.wait_for(1000);
    let before = resident_kib()?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let text = "x".repeat(GIANT_BYTES);
            tracing::dispatcher::with_default(dispatch, || tracing::info!("{text}"));
        });
    });
    sink.wait_for(1001);
    // The buffer comes home when the call that wrote it has returned.
    thread::sleep(Duration::from_millis(20));
    let after = resident_kib()?;
    let idle = pool.stats().retained_bytes;
    pool.trim();
    pool.trim();
    let trimmed = resident_kib()?;
    println!("{which:<20} {before:>10} {after:>14} {trimmed:>18} {idle:>18}");
    // Small buffers of the thousand small events may still be there.
    if pool.stats().retained_bytes > GIANT_BYTES / 20 {
        return Err(format!("two trims free the giant:\n{}", pool.stats()).into());
    }
    if which == "pooled, max_size" && idle > GIANT_BYTES / 20 {
        return Err(format!("a buffer above the ceiling is not kept, but {idle} bytes are").into());
    }
    Ok(())
}

fn resident_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
