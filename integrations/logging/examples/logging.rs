//! This crate's writer beside the non-blocking writer of tracing-appender, in one run.
//!
//!     cargo run --release -p bytebufferpool-tracing --example logging [LINES]
//!
//! Lines of 120, 200 and 2 000 bytes and a mixture, from one and two threads, to /dev/null and to a file: handed straight
//! to the writer, and as events of `tracing`, whose formatting all contenders share. Nothing is dropped. tracing-appender
//! runs twice, writing to the file itself and through a `BufWriter`. The contenders alternate, and the least of the rounds
//! counts. Then a line of 10 MiB while 400 lines a second go on, each contender in a process of its own.
//!
//! It asserts what does not depend on the machine: no line is lost, a warm line allocates nothing, and at most 1 MiB is
//! cached after the large line.

use std::error::Error;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufWriter, IoSlice, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytebufferpool_tracing::{LineWriter, WhenFull};
use rustix::time::{ClockId, clock_gettime};
use tracing::Dispatch;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

#[path = "../../../tests/support/ledger.rs"]
mod ledger;

use ledger::{Count, Ledger};

#[global_allocator]
static LEDGER: Ledger = Ledger;

const LINES: u64 = 100_000;
const LINES_MIN: u64 = 10_000;
/// Formatting an event takes many times as long as handing a line over.
const LINES_PER_EVENT: u64 = 4;
/// About 2 000 lines of 120 bytes, 128 of 2 000.
const QUEUE_BYTES: usize = 256 << 10;
/// The bound of tracing-appender's queue.
const QUEUE_LINES: usize = 1024;
const WARM_BYTES: usize = 4 * QUEUE_BYTES;
const SLOW_CALL: Duration = Duration::from_millis(5);
const BUF_WRITER_BYTES: usize = 64 << 10;

/// Rounds to find a warm one, beside those that are compared.
const WARM_ROUNDS_MAX: usize = 20;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [] => compare(LINES),
        ["memory", contender] => memory(contender),
        [lines] => lines.parse().map_err(Into::into).and_then(compare),
        _ => Err("usage: logging [LINES]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody else to tell.
            let _ = writeln!(io::stderr(), "logging: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// As `println!`, but a stdout that is closed or full is an error.
fn say(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

fn compare(lines: u64) -> Result<()> {
    if lines < LINES_MIN {
        return Err(format!("fewer than {LINES_MIN} lines are mostly warm-up").into());
    }
    let rounds = if lines < LINES { 2 } else { 5 };
    say(format_args!(
        "{lines} lines, or {} events, a round; the least of {rounds} rounds; allocations of a warm round.\n\
         pool: this crate, {} KiB queue; t-a: tracing-appender, {QUEUE_LINES} lines; buf: the same\n\
         with a BufWriter of {} KiB around its output. CPU is that of all threads.\n",
        lines / LINES_PER_EVENT,
        QUEUE_BYTES >> 10,
        BUF_WRITER_BYTES >> 10,
    ))?;
    say(format_args!("{:26}{:>22}{:>20}{:>12}", "", "CPU ns a line", "wall ns a line", "allocations"))?;
    let head = ["pool", "t-a", "buf"].map(|name| format!("{name:>7}")).concat();
    say(format_args!("{:<7}{:>6} x threads {:<5}{head}{head}{:>6}{:>6}", "fed", "bytes", "to", "pool", "t-a"))?;

    let mut worst = [(0.0, String::new()), (0.0, String::new())];
    for row in rows(lines) {
        let figures = row.measure(rounds)?;
        let [pool, appender, buffered] = &figures;
        let cpu = figures.map(|figure| format!("{:>7.0}", figure.cpu_ns)).concat();
        let wall = figures.map(|figure| format!("{:>7.0}", figure.wall_ns)).concat();
        say(format_args!("{row}{cpu}{wall}{:>6.2}{:>6.2}", pool.allocations, appender.allocations))?;
        // The counter of allocations counts: tracing-appender copies each line into a `Vec`.
        assert!(appender.allocations >= 1.0, "{row}: {} allocations a line of tracing-appender", appender.allocations);
        assert!(pool.allocations == 0.0, "{row}: {} allocations a warm line", pool.allocations);
        for (worst, other) in worst.iter_mut().zip([appender, buffered]) {
            let ratio = pool.cpu_ns / other.cpu_ns;
            if ratio > worst.0 {
                *worst = (ratio, row.to_string());
            }
        }
    }
    for (name, (ratio, row)) in ["tracing-appender", "tracing-appender with BufWriter"].iter().zip(&worst) {
        say(format_args!("\nCPU time of {name}: at most {ratio:.2}x, in row {}", row.trim_end()))?;
    }
    compare_memory()
}

/// How lines reach the writer.
#[derive(Clone, Copy, PartialEq)]
enum Feed {
    Line,
    Event,
}

struct Row {
    feed: Feed,
    lines: u64,
    name: &'static str,
    sizes: &'static [usize],
    threads: u64,
    file: Option<PathBuf>,
}

fn rows(lines: u64) -> Vec<Row> {
    const SIZES: [(&str, &[usize]); 4] =
        [("120", &[120]), ("200", &[200]), ("2000", &[2000]), ("mixed", &[120, 200, 120, 350, 120, 200, 2000, 120])];
    let mut rows = Vec::new();
    for (feed, lines) in [(Feed::Line, lines), (Feed::Event, lines / LINES_PER_EVENT)] {
        for file in [false, true] {
            for (name, sizes) in SIZES {
                for threads in [1, 2] {
                    let file = file.then(output_path);
                    rows.push(Row { feed, lines, name, sizes, threads, file });
                }
            }
        }
    }
    rows
}

/// Beside the program, in the target directory.
fn output_path() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    program.with_extension(format!("{}.out", std::process::id()))
}

impl Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let feed = if self.feed == Feed::Line { "line" } else { "event" };
        let output = if self.file.is_some() { "file" } else { "null" };
        write!(f, "{feed:<7}{:>6} x {:<7} {output:<5}", self.name, self.threads)
    }
}

#[derive(Clone, Copy)]
struct Figures {
    cpu_ns: f64,
    wall_ns: f64,
    allocations: f64,
}

impl Figures {
    fn lower_to(&mut self, round: Figures) {
        self.cpu_ns = self.cpu_ns.min(round.cpu_ns);
        self.wall_ns = self.wall_ns.min(round.wall_ns);
        self.allocations = self.allocations.min(round.allocations);
    }
}

const CONTENDERS: [&str; 3] = ["pool", "tracing-appender", "tracing-appender, BufWriter"];

impl Row {
    /// The least of each figure, for each contender.
    fn measure(&self, rounds: usize) -> Result<[Figures; 3]> {
        let mut least = [Figures { cpu_ns: f64::MAX, wall_ns: f64::MAX, allocations: f64::MAX }; 3];
        for _ in 0..rounds {
            for (least, contender) in least.iter_mut().zip(CONTENDERS) {
                least.lower_to(self.round(contender)?);
            }
        }
        // How many blocks are under way at most depends on the scheduler. A round that needed more than its warm-up, a few
        // allocations whatever the number of lines, does not tell what a warm line costs.
        for _ in 0..WARM_ROUNDS_MAX {
            if least[0].allocations == 0.0 {
                break;
            }
            least[0].lower_to(self.round(CONTENDERS[0])?);
        }
        if let Some(path) = &self.file {
            fs::remove_file(path)?;
        }
        Ok(least)
    }

    fn round(&self, contender: &str) -> Result<Figures> {
        let sink = Sink::open(self.file.as_deref())?;
        let seen = Arc::clone(&sink.seen);
        let texts = self.texts();
        let (figures, lines) = match Writer::start(contender, sink) {
            Writer::Pool(lines, writer) => {
                let round = self.feed(lines, &texts, &seen);
                let report = writer.finish();
                assert_eq!((report.counts.dropped, report.counts.written), (0, round.1), "{self}: {report:?}");
                round
            }
            Writer::Appender(lines, _guard) => self.feed(lines, &texts, &seen),
        };
        if let Some(path) = &self.file {
            let ends = fs::read(path)?.iter().filter(|&&byte| byte == b'\n').count();
            assert_eq!(ends as u64, lines, "{self}, {contender}: lines in the file");
        }
        Ok(figures)
    }

    /// What to log, so that the lines have the sizes of this row.
    fn texts(&self) -> Vec<String> {
        let overhead = if self.feed == Feed::Line { 0 } else { event_overhead() };
        let text =
            |&size: &usize| if overhead == 0 { "x".repeat(size - 1) + "\n" } else { "x".repeat(size - overhead) };
        self.sizes.iter().map(text).collect()
    }

    fn feed<W>(&self, writer: W, texts: &[String], seen: &Seen) -> (Figures, u64)
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        match self.feed {
            Feed::Line => self.time(texts, seen, |text| {
                writer.make_writer().write_all(text.as_bytes()).expect("the writer takes every line");
            }),
            Feed::Event => {
                let dispatch = dispatch(writer);
                self.time(texts, seen, |text| event(&dispatch, text))
            }
        }
    }

    /// From the first line until the output has seen the last, after a warm-up that could fill the queue some times. And how
    /// many lines that were together.
    fn time(&self, texts: &[String], seen: &Seen, log: impl Fn(&str) + Sync) -> (Figures, u64) {
        let each = self.lines / self.threads;
        let warm = (WARM_BYTES * self.sizes.len() / self.sizes.iter().sum::<usize>()) as u64 / self.threads;
        let log = |lines: u64| texts.iter().cycle().take(lines as usize).for_each(|text| log(text));
        let bytes = |lines: u64| {
            let bytes: usize = self.sizes.iter().cycle().take(lines as usize).sum();
            bytes as u64 * self.threads
        };
        let (is_warm, go) = (Barrier::new(self.threads as usize + 1), Barrier::new(self.threads as usize + 1));
        let (cpu_ns, wall_ns, allocations) = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|_| {
                    scope.spawn(|| {
                        log(warm);
                        is_warm.wait();
                        go.wait();
                        Count::of(|| log(each)).0.heap_takes()
                    })
                })
                .collect();
            is_warm.wait();
            seen.wait_for(bytes(warm));
            let on_worker = seen.heap_takes.load(Ordering::Relaxed);
            let (cpu, began) = (cpu_ns(), Instant::now());
            go.wait();
            seen.wait_for(bytes(warm) + bytes(each));
            let (wall, cpu) = (began.elapsed().as_nanos() as f64, cpu_ns() - cpu);
            let here: u64 = threads.into_iter().map(|thread| thread.join().expect("logging does not panic")).sum();
            (cpu, wall, here + seen.heap_takes.load(Ordering::Relaxed) - on_worker)
        });
        let lines = (each * self.threads) as f64;
        let figures =
            Figures { cpu_ns: cpu_ns / lines, wall_ns: wall_ns / lines, allocations: allocations as f64 / lines };
        (figures, (warm + each) * self.threads)
    }
}

/// User and system time of the whole process.
fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn dispatch<W>(writer: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    Dispatch::new(tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(writer).finish())
}

fn event(dispatch: &Dispatch, text: &str) {
    tracing::dispatcher::with_default(dispatch, || tracing::info!(user = "anna", status = 200, "{text}"));
}

/// What an event's line has beside its text, in bytes.
fn event_overhead() -> usize {
    let sink = Sink::open(None).expect("/dev/null is there");
    let seen = Arc::clone(&sink.seen);
    event(&dispatch(Mutex::new(sink)), "");
    seen.bytes.load(Ordering::Relaxed) as usize
}

enum Writer {
    Pool(LineWriter, bytebufferpool_tracing::WriterThread),
    Appender(NonBlocking, WorkerGuard),
}

impl Writer {
    fn start(contender: &str, sink: Sink) -> Writer {
        let appender = NonBlockingBuilder::default().lossy(false).buffered_lines_limit(QUEUE_LINES);
        let (lines, guard) = match contender {
            "pool" => {
                let (lines, writer) = LineWriter::spawn(sink, QUEUE_BYTES, WhenFull::Block);
                return Writer::Pool(lines, writer);
            }
            "tracing-appender" => appender.finish(sink),
            _ => appender.finish(BufWriter::with_capacity(BUF_WRITER_BYTES, sink)),
        };
        Writer::Appender(lines, guard)
    }
}

/// A file that notes how much was written to it, and what the thread that writes has asked of the heap.
struct Sink {
    file: File,
    /// So many calls take long, so that the queue is full at least once while a full batch is written: only then are all
    /// blocks in use that ever will be.
    slow_calls: u32,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    bytes: AtomicU64,
    heap_takes: AtomicU64,
}

impl Sink {
    fn open(path: Option<&Path>) -> io::Result<Sink> {
        let file = match path {
            Some(path) => File::create(path)?,
            None => File::options().write(true).open("/dev/null")?,
        };
        Ok(Sink { file, slow_calls: 2, seen: Arc::default() })
    }

    fn note(&mut self, bytes: usize) -> usize {
        if self.slow_calls > 0 {
            self.slow_calls -= 1;
            thread::sleep(SLOW_CALL);
        }
        self.seen.heap_takes.store(Count::of_this_thread().heap_takes(), Ordering::Relaxed);
        self.seen.bytes.fetch_add(bytes as u64, Ordering::Release);
        bytes
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.file.write(bytes)?;
        Ok(self.note(taken))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let taken = self.file.write_vectored(slices)?;
        Ok(self.note(taken))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seen {
    fn wait_for(&self, bytes: u64) {
        while self.bytes.load(Ordering::Acquire) < bytes {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

// A large line, for each contender in a process of its own.

const LARGE_BYTES: usize = 10 << 20;
const CACHED_BYTES_MAX: usize = 1 << 20;
const LINES_PER_SECOND: u32 = 400;

fn compare_memory() -> Result<()> {
    let this = std::env::current_exe()?;
    let children: Vec<_> = CONTENDERS
        .iter()
        .map(|contender| Command::new(&this).args(["memory", contender]).stdout(Stdio::piped()).spawn())
        .collect::<io::Result<_>>()?;
    say(format_args!(
        "\na line of {} MiB while {LINES_PER_SECOND} of 120 bytes a second go on, KiB:\n",
        LARGE_BYTES >> 20
    ))?;
    say(format_args!(
        "{:<26}{:>14}{:>16}{:>11}{:>13}",
        "", "CPU us a line", "resident before", "3 s after", "cached then"
    ))?;
    for (contender, child) in CONTENDERS.iter().zip(children) {
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("{contender}: {}", output.status).into());
        }
        say(format_args!("{contender:<26}{}", String::from_utf8(output.stdout)?.trim_end()))?;
    }
    say("\nThe lines are handed straight to the writer: tracing_subscriber would keep a String of 10 MiB itself.")?;
    Ok(())
}

fn memory(contender: &str) -> Result<()> {
    let sink = Sink::open(None)?;
    let seen = Arc::clone(&sink.seen);
    match Writer::start(contender, sink) {
        Writer::Pool(lines, _writer) => {
            let figures = log_a_large_line(&lines, &seen)?;
            let cached = lines.pool().stats().retained_bytes;
            assert!(cached <= CACHED_BYTES_MAX, "{cached} bytes are cached 3 s after the large line");
            say(format_args!("{figures}{:>13}", cached >> 10))?;
        }
        Writer::Appender(lines, _guard) => {
            say(format_args!("{}{:>13}", log_a_large_line(&lines, &seen)?, "-"))?;
        }
    }
    Ok(())
}

/// CPU time of a line before the large one, its sleep included; resident KiB before and after.
fn log_a_large_line<'a>(writer: &'a impl MakeWriter<'a>, seen: &Seen) -> Result<String> {
    let line = "x".repeat(119) + "\n";
    let go_on = |seconds: u32| -> Result<u64> {
        for _ in 0..seconds * LINES_PER_SECOND {
            writer.make_writer().write_all(line.as_bytes())?;
            thread::sleep(Duration::from_secs(1) / LINES_PER_SECOND);
        }
        resident_kib()
    };
    let cpu = cpu_ns();
    let before = go_on(1)?;
    let cpu = (cpu_ns() - cpu) / f64::from(LINES_PER_SECOND) / 1e3;
    writer.make_writer().write_all(("x".repeat(LARGE_BYTES - 1) + "\n").as_bytes())?;
    let after = go_on(3)?;
    seen.wait_for(4 * u64::from(LINES_PER_SECOND) * 120 + LARGE_BYTES as u64);
    Ok(format!("{cpu:>14.1}{before:>16}{after:>11}"))
}

fn resident_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
