//! A log pipeline on pooled buffers: the job this crate is made for.
//!
//!     cargo run --release --example pipeline -- --help
//!
//! Producer threads read log lines, parse each and serialize it as JSON into a buffer of the pool. The buffer is
//! frozen and goes through a bounded channel to a writer thread, which writes batches with one system call each. When
//! the writer drops a frozen buffer, its memory is back in the pool for the next line, on whichever thread.
//!
//! What the pool does is in `encode`; everything else is what any pipeline needs. The first lines are then run
//! again, with the pool and without it, to compare what they ask of the heap.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, Cursor, IoSlice, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytebufferpool::{Pool, Stats};
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};

#[path = "pipeline/input.rs"]
mod input;
#[path = "../tests/support/ledger.rs"]
mod ledger;
#[path = "pipeline/record.rs"]
mod record;

use input::{Input, LINE_BYTES_MAX, Length, Lines, without_line_end};
use ledger::{Count, Ledger};
use record::Record;

#[global_allocator]
static LEDGER: Ledger = Ledger;

// The threshold is lower than the default of 42 000, so that a log of a few thousand lines is enough to learn from.
static POOL: Pool = Pool::builder().calibrate_calls_threshold(1_000).build();

/// Frozen buffers in flight are at most these, a batch, and one per producer.
const CHANNEL_LINES: usize = 512;
const BATCH_LINES: usize = 64;
const PRODUCERS: usize = 2;
const PRODUCERS_MAX: usize = 64;
const GENERATED_LINES: u64 = 200_000;
const SAMPLE_INTERVAL: Duration = Duration::from_millis(5);
/// Shorter runs show no progress bar.
const LONG_RUN: Duration = Duration::from_millis(500);

const HELP: &str = "\
Turns log lines into JSON lines through a pool of byte buffers, and reports what that cost.

Usage: pipeline [OPTIONS] [FILE]

  FILE                 the log to read; - is standard input. Without FILE it is standard input too, or, where that is
                       a terminal or /dev/null, records of heavy-tailed sizes that the program generates
  -o, --output FILE    where the JSON lines go; - is standard output (the report then goes to standard error). An
                       existing file is overwritten. Without it they go nowhere
      --generate N     generate N records instead of reading any (200000 where nothing is said)
      --producers N    threads that read, parse and serialize: 1 to 64 (2 where nothing is said)
  -h, --help           this text

A line is one record; an empty line is one with an empty message. Lines that are not UTF-8, or longer than 8 MiB, are
passed over, counted and reported. With several producers the order of lines may change: each record carries the number
of its line.
";

fn main() -> ExitCode {
    match run(std::env::args_os().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&failure);
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { 1 })
        }
    }
}

/// One line on standard error. That it may be closed is no reason to panic.
fn say(line: &dyn fmt::Display) {
    let _ = writeln!(io::stderr(), "pipeline: {line}");
}

fn run(arguments: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let Command::Run(options) = parse_arguments(arguments)? else {
        return print(&mut io::stdout(), HELP);
    };
    let input = open_input(&options)?;
    // Only now: a wrong input must not cost the old output.
    let mut output = open_output(&options)?;
    let input_name = input.name.clone();
    let length = input.length;
    let all = run_pass(Lines::new(input.reader).remember(), Buffers::Pool, &options, output.as_mut(), length)
        .map_err(|failure| failure.name(&input_name, &options))?;
    finish_output(output, &options)?;
    if all.lines == 0 && all.passed_over.total() == 0 {
        say(&format_args!("{input_name} has no lines"));
    }
    let stats = POOL.stats();
    let again = |buffers| {
        let reader: Box<dyn BufRead + Send> = Box::new(Cursor::new(all.sample.clone()));
        run_pass(Lines::new(reader), buffers, &options, &mut io::sink(), Length::Unknown)
    };
    let report = Report { warm: again(Buffers::Pool)?, plain: again(Buffers::Plain)?, all: &all, stats, input_name };
    report.say_what_was_passed_over();
    match options.output {
        Output::Standard => print(&mut io::stderr(), &report)?,
        _ => print(&mut io::stdout(), &report)?,
    }
    report.check(matches!(options.source, Source::Generated(_)))
}

fn print(to: &mut dyn Write, text: impl fmt::Display) -> Result<(), Failure> {
    write!(to, "{text}").and_then(|()| to.flush()).map_err(Failure::Report)
}

// What was asked for.

struct Options {
    source: Source,
    output: Output,
    producers: usize,
}

enum Command {
    Help,
    Run(Options),
}

enum Source {
    File(PathBuf),
    Standard,
    Generated(u64),
}

enum Output {
    Nowhere,
    Standard,
    File(PathBuf),
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Nowhere => f.write_str("nowhere"),
            Output::Standard => f.write_str("standard output"),
            Output::File(path) => path.display().fmt(f),
        }
    }
}

fn parse_arguments(mut arguments: impl Iterator<Item = OsString>) -> Result<Command, Failure> {
    let mut file = None;
    let mut generated = None;
    let mut output = Output::Nowhere;
    let mut producers = PRODUCERS;
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-h" | "--help") => return Ok(Command::Help),
            Some("-o" | "--output") => {
                let path = arguments.next().ok_or_else(|| Failure::usage("--output needs a FILE"))?;
                output = if path == "-" { Output::Standard } else { Output::File(path.into()) };
            }
            Some("--generate") => generated = Some(number("--generate", arguments.next(), u64::MAX)?),
            Some("--producers") => {
                producers = number("--producers", arguments.next(), PRODUCERS_MAX as u64)? as usize;
            }
            Some(option) if option.starts_with('-') && option != "-" => {
                return Err(Failure::usage(format!("unknown option {option}; --help tells which there are")));
            }
            _ if file.is_some() => return Err(Failure::usage("more than one FILE; --help tells what is possible")),
            _ => file = Some(argument),
        }
    }
    let source = match (file, generated) {
        (Some(_), Some(_)) => return Err(Failure::usage("either FILE or --generate, not both")),
        (Some(path), None) if path != "-" => Source::File(path.into()),
        (Some(_), None) => Source::Standard,
        (None, Some(lines)) => Source::Generated(lines),
        (None, None) if input::nothing_is_piped_in() => Source::Generated(GENERATED_LINES),
        (None, None) => Source::Standard,
    };
    Ok(Command::Run(Options { source, output, producers }))
}

fn number(option: &str, value: Option<OsString>, max: u64) -> Result<u64, Failure> {
    let number = value.as_ref().and_then(|value| value.to_str()?.parse().ok());
    number
        .filter(|number| (1..=max).contains(number))
        .ok_or_else(|| Failure::usage(format!("{option} needs a number from 1 to {max}")))
}

fn open_input(options: &Options) -> Result<Input, Failure> {
    match &options.source {
        Source::File(path) => {
            let failure = |error| Failure::Input { name: path.display().to_string(), lines: 0, error };
            if matches!(&options.output, Output::File(output) if is_same_file(path, output)) {
                return Err(Failure::usage(format!("{} is input and output at once", path.display())));
            }
            Input::file(path).map_err(failure)
        }
        Source::Standard => Ok(Input::standard_input()),
        Source::Generated(lines) => Ok(Input::generated(*lines)),
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if let (Ok(one), Ok(other)) = (one.metadata(), other.metadata()) {
            return one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino());
        }
    }
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// A file stays a `File`, since only that can be asked whether all of it reached the disk.
enum Sink {
    Nowhere(io::Sink),
    Standard(io::Stdout),
    File(File),
}

impl Sink {
    fn as_mut(&mut self) -> &mut (dyn Write + Send) {
        match self {
            Sink::Nowhere(sink) => sink,
            Sink::Standard(stdout) => stdout,
            Sink::File(file) => file,
        }
    }
}

fn open_output(options: &Options) -> Result<Sink, Failure> {
    Ok(match &options.output {
        Output::Nowhere => Sink::Nowhere(io::sink()),
        Output::Standard => Sink::Standard(io::stdout()),
        Output::File(path) => Sink::File(File::create(path).map_err(|error| Failure::Output {
            name: options.output.to_string(),
            lines: None,
            error,
        })?),
    })
}

/// Some file systems report a full disk only here.
fn finish_output(mut sink: Sink, options: &Options) -> Result<(), Failure> {
    let finished = match &mut sink {
        Sink::File(file) if file.metadata().is_ok_and(|metadata| metadata.is_file()) => file.sync_all(),
        other => other.as_mut().flush(),
    };
    finished.map_err(|error| Failure::Output { name: options.output.to_string(), lines: None, error })
}

// The pipeline.

/// What lines are serialized into.
#[derive(Clone, Copy)]
enum Buffers {
    Pool,
    /// A new `Vec` for each line, for comparison.
    Plain,
}

/// A record becomes one line of JSON, in a buffer that can be handed on and whose last owner ends it.
fn encode(record: &Record<'_>, buffers: Buffers) -> serde_json::Result<Bytes> {
    match buffers {
        Buffers::Pool => {
            let mut buf = POOL.get();
            serde_json::to_writer(&mut buf, record)?;
            buf.push(b'\n');
            Ok(buf.freeze())
        }
        Buffers::Plain => {
            let mut vec = Vec::new();
            serde_json::to_writer(&mut vec, record)?;
            vec.push(b'\n');
            Ok(Bytes::from(vec))
        }
    }
}

/// One run of lines through the pipeline.
struct Pass {
    lines: u64,
    bytes: u64,
    passed_over: PassedOver,
    time: Duration,
    /// Of the producers and the writer together.
    count: Count,
    peak_idle_bytes: usize,
    sample: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
struct PassedOver {
    not_utf8: u64,
    too_long: u64,
    first_line: Option<u64>,
}

impl PassedOver {
    fn total(self) -> u64 {
        self.not_utf8 + self.too_long
    }

    fn note(&mut self, line: u64) {
        self.first_line = Some(self.first_line.map_or(line, |first| first.min(line)));
    }

    fn and(mut self, other: PassedOver) -> PassedOver {
        self.not_utf8 += other.not_utf8;
        self.too_long += other.too_long;
        if let Some(line) = other.first_line {
            self.note(line);
        }
        self
    }
}

/// How far the producers are, for the progress bar.
#[derive(Default)]
struct Progress {
    lines: AtomicU64,
    bytes: AtomicU64,
}

fn run_pass(
    lines: Lines,
    buffers: Buffers,
    options: &Options,
    output: &mut (dyn Write + Send),
    length: Length,
) -> Result<Pass, Failure> {
    let lines = Mutex::new(lines);
    let progress = Progress::default();
    let (sender, receiver) = mpsc::sync_channel(CHANNEL_LINES);
    let (writing, written) = mpsc::channel::<()>();
    let began = Instant::now();
    let (produced, written, peak_idle_bytes) = thread::scope(|scope| {
        let producers: Vec<_> = (0..options.producers)
            .map(|_| {
                let sender = sender.clone();
                scope.spawn(|| Count::of(|| produce(&lines, sender, buffers, &progress)))
            })
            .collect();
        drop(sender);
        let writer = scope.spawn(move || {
            let _writing = writing;
            Count::of(|| write_lines(receiver, output))
        });
        let peak_idle_bytes = watch(&written, &progress, length);
        // `join` waits for the end of each thread, its cache's way home included; the scope alone would not.
        let produced: Vec<_> = producers.into_iter().map(join).collect();
        (produced, join(writer), peak_idle_bytes)
    });
    let time = began.elapsed();
    let lines = lines.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (writer_count, written) = written;
    let mut pass = Pass {
        lines: written.lines,
        bytes: written.bytes,
        passed_over: PassedOver::default(),
        time,
        count: writer_count,
        peak_idle_bytes,
        sample: Vec::new(),
    };
    if let Some(error) = written.error {
        return Err(Failure::Output { name: String::new(), lines: Some(written.lines), error });
    }
    for (count, (passed_over, result)) in produced {
        result.map_err(|error| Failure::Input { name: String::new(), lines: written.lines, error })?;
        pass.count = pass.count + count;
        pass.passed_over = pass.passed_over.and(passed_over);
    }
    let seen = lines.lines_seen();
    if seen != pass.lines + pass.passed_over.total() {
        return Err(Failure::Broken(format!("of {seen} lines {} were written", pass.lines)));
    }
    pass.sample = lines.into_sample();
    Ok(pass)
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A producer's work: until the input ends, or the writer is gone.
fn produce(
    lines: &Mutex<Lines>,
    sender: SyncSender<Bytes>,
    buffers: Buffers,
    progress: &Progress,
) -> (PassedOver, io::Result<()>) {
    let mut passed_over = PassedOver::default();
    let result = produce_chunks(lines, &sender, buffers, progress, &mut passed_over);
    (passed_over, result)
}

fn produce_chunks(
    lines: &Mutex<Lines>,
    sender: &SyncSender<Bytes>,
    buffers: Buffers,
    progress: &Progress,
    passed_over: &mut PassedOver,
) -> io::Result<()> {
    // One thread, one use after the other: a `Vec` of its own is all that is needed here.
    let mut chunk = Vec::new();
    loop {
        let next = lines.lock().unwrap_or_else(PoisonError::into_inner).next_chunk(&mut chunk);
        let Some(found) = next? else { return Ok(()) };
        if let Some(line) = found.too_long {
            passed_over.too_long += 1;
            passed_over.note(line);
        }
        let mut number = found.first_line;
        for line in chunk.split_inclusive(|&byte| byte == b'\n') {
            match std::str::from_utf8(without_line_end(line)) {
                Ok(text) => {
                    let json = encode(&Record::parse(number, text), buffers)?;
                    if sender.send(json).is_err() {
                        // The writer failed, and says so itself.
                        return Ok(());
                    }
                }
                Err(_) => {
                    passed_over.not_utf8 += 1;
                    passed_over.note(number);
                }
            }
            number += 1;
        }
        progress.lines.fetch_add(number - found.first_line, Ordering::Relaxed);
        progress.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Written {
    lines: u64,
    bytes: u64,
    error: Option<io::Error>,
}

/// The writer's work: batches of what lies in the channel. Its end, by an error or not, ends the producers.
fn write_lines(receiver: Receiver<Bytes>, output: &mut (dyn Write + Send)) -> Written {
    let mut written = Written::default();
    let mut batch = Vec::with_capacity(BATCH_LINES);
    while let Ok(line) = receiver.recv() {
        batch.push(line);
        batch.extend(receiver.try_iter().take(BATCH_LINES - 1));
        if let Err(error) = write_batch(output, &batch) {
            written.error = Some(error);
            return written;
        }
        written.lines += batch.len() as u64;
        written.bytes += batch.iter().map(|line| line.len() as u64).sum::<u64>();
        batch.clear();
    }
    written.error = output.flush().err();
    written
}

/// Everything in `batch`, in as few calls as the output takes it.
fn write_batch(output: &mut (dyn Write + Send), batch: &[Bytes]) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); BATCH_LINES];
    for (slice, line) in slices.iter_mut().zip(batch) {
        *slice = IoSlice::new(line);
    }
    let mut left = &mut slices[..batch.len()];
    while !left.is_empty() {
        match output.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut left, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Until the writer ends: shows progress and looks at the pool. Returns the most bytes seen idle.
fn watch(written: &Receiver<()>, progress: &Progress, length: Length) -> usize {
    let began = Instant::now();
    let mut peak_idle_bytes = 0;
    let mut bar: Option<ProgressBar> = None;
    while written.recv_timeout(SAMPLE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        peak_idle_bytes = peak_idle_bytes.max(POOL.stats().retained_bytes);
        if began.elapsed() >= LONG_RUN {
            let bar = bar.get_or_insert_with(|| progress_bar(length));
            bar.set_position(match length {
                Length::Lines(_) => progress.lines.load(Ordering::Relaxed),
                _ => progress.bytes.load(Ordering::Relaxed),
            });
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    peak_idle_bytes.max(POOL.stats().retained_bytes)
}

/// On standard error, where indicatif shows nothing unless that is a terminal.
fn progress_bar(length: Length) -> ProgressBar {
    let (bar, template) = match length {
        Length::Bytes(bytes) => {
            (ProgressBar::new(bytes), "{bar:32} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta}")
        }
        Length::Lines(lines) => (ProgressBar::new(lines), "{bar:32} {pos} of {len} lines, {per_sec}, {eta}"),
        Length::Unknown => (ProgressBar::no_length(), "{spinner} {binary_bytes}, {binary_bytes_per_sec}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("a template known to be well formed"))
}

// What comes out.

struct Report<'a> {
    all: &'a Pass,
    warm: Pass,
    plain: Pass,
    /// After the first pass: the comparison is not what the user asked to see the books of.
    stats: Stats,
    input_name: String,
}

impl Report<'_> {
    fn say_what_was_passed_over(&self) {
        let PassedOver { not_utf8, too_long, first_line } = self.all.passed_over;
        let Some(first_line) = first_line else { return };
        let total = self.all.passed_over.total();
        say(&format_args!(
            "{total} of {} lines passed over: {not_utf8} not UTF-8, {too_long} longer than {} MiB; the first is line \
             {first_line}",
            self.all.lines + total,
            LINE_BYTES_MAX >> 20,
        ));
    }

    /// What the example claims. Of generated input we know enough to hold the pool to its figures, too.
    fn check(&self, generated: bool) -> Result<(), Failure> {
        let stats = POOL.stats();
        let lines = self.all.lines + self.warm.lines;
        if stats.outstanding != 0 || stats.gets != lines || stats.puts != lines {
            return Err(Failure::Broken(format!("not every buffer came home:\n{stats}")));
        }
        if self.warm.lines != self.plain.lines || self.warm.bytes != self.plain.bytes {
            return Err(Failure::Broken("the runs with and without the pool differ in their output".to_owned()));
        }
        let [with, without] = [&self.warm, &self.plain].map(Pass::allocations_per_line);
        if generated && self.warm.lines >= CLAIM_LINES_MIN && !(with < WARM_ALLOCATIONS_MAX && with < without / 2.0) {
            return Err(Failure::Broken(format!("{with:.3} allocations per line with the pool, {without:.3} without")));
        }
        Ok(())
    }
}

/// Fewer lines are mostly warm-up.
const CLAIM_LINES_MIN: u64 = 10_000;
/// One for `freeze`, and something for the few lines above the ceiling, whose buffers are freed by design.
const WARM_ALLOCATIONS_MAX: f64 = 1.25;

impl Pass {
    fn allocations_per_line(&self) -> f64 {
        self.per_line(self.count.heap_takes())
    }

    fn per_line(&self, what: u64) -> f64 {
        if self.lines == 0 { 0.0 } else { what as f64 / self.lines as f64 }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("pool, all lines", self.all),
            ("pool, first lines again", &self.warm),
            ("no pool, the same lines", &self.plain),
        ];
        writeln!(f, "{}\n", self.input_name)?;
        writeln!(
            f,
            "{:<24} {:>9} {:>10} {:>12} {:>12} {:>14}",
            "", "lines", "lines/s", "bytes/s", "allocs/line", "heap B/line"
        )?;
        for (name, pass) in rows {
            let seconds = pass.time.as_secs_f64().max(1e-9);
            writeln!(
                f,
                "{name:<24} {:>9} {:>10.0} {:>12.0} {:>12.3} {:>14.1}",
                pass.lines,
                pass.lines as f64 / seconds,
                pass.bytes as f64 / seconds,
                pass.allocations_per_line(),
                pass.per_line(pass.count.allocated_bytes),
            )?;
        }
        writeln!(f, "\nallocations are those of all producers and the writer; reallocations count.")?;
        writeln!(
            f,
            "with the pool one per line is `freeze`: the reference count that clones of a frozen buffer share."
        )?;
        writeln!(f, "\npeak idle      {} bytes (seen every {SAMPLE_INTERVAL:?})", self.all.peak_idle_bytes)?;
        let learned = if self.stats.calibrations > 0 { "learned" } else { "not learned yet, too few lines" };
        writeln!(f, "default size   {} bytes ({learned})", self.stats.default_size)?;
        writeln!(f, "max size       {} bytes ({learned})\n", self.stats.max_size)?;
        write!(f, "{}", self.stats)
    }
}

/// Why there is a non-zero exit; each is one line.
enum Failure {
    Usage(String),
    Input { name: String, lines: u64, error: io::Error },
    Output { name: String, lines: Option<u64>, error: io::Error },
    Report(io::Error),
    Broken(String),
}

impl Failure {
    fn usage(message: impl Into<String>) -> Failure {
        Failure::Usage(message.into())
    }

    /// Says which input or output it was that failed.
    fn name(self, input: &str, options: &Options) -> Failure {
        match self {
            Failure::Input { lines, error, .. } => Failure::Input { name: input.to_owned(), lines, error },
            Failure::Output { lines, error, .. } => Failure::Output { name: options.output.to_string(), lines, error },
            other => other,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(message) => f.write_str(message),
            Failure::Input { name, lines: 0, error } => write!(f, "cannot read {name}: {error}"),
            Failure::Input { name, lines, error } => {
                write!(f, "cannot read on in {name} after {lines} lines: {error}")
            }
            Failure::Output { name, lines: None, error } => write!(f, "cannot write to {name}: {error}"),
            Failure::Output { name, lines: Some(lines), error } => {
                write!(f, "cannot write to {name}: {error}; {lines} lines were written")
            }
            Failure::Report(error) => write!(f, "cannot print the report: {error}"),
            Failure::Broken(what) => write!(f, "this should not happen: {what}"),
        }
    }
}
