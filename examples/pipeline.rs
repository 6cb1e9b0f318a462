//! A log pipeline on pooled buffers: the job this crate is made for.
//!
//!     cargo run --release --example pipeline -- --help
//!
//! Producer threads read log lines, parse each and serialize it as JSON into a buffer of the pool. The buffer is
//! frozen and goes through a bounded channel to a writer thread, which writes batches with one system call each. When
//! the writer drops a frozen buffer, its memory is back in the pool for the next line, on whichever thread.
//!
//! What the pool does is in `encode`; everything else is what any pipeline needs. The first lines are then run
//! again, with the pool and without it, to compare what they ask of the heap. A few lines are repeated for that, or the
//! start of the threads would be all that is compared.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, IoSlice, Write};
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
/// Fewer lines are repeated for the comparison, up to these bytes: a round takes some 10 ms in a release build.
const COMPARED_LINES_MIN: usize = 10_000;
const COMPARED_BYTES_MAX: usize = 4 << 20;
/// Of each side of the comparison.
const COMPARED_TIME_MIN: Duration = Duration::from_millis(200);
/// Shorter runs show no progress bar.
const LONG_RUN: Duration = Duration::from_millis(500);

const HELP: &str = "\
Turns log lines into JSON lines through a pool of byte buffers, and reports what that cost.

Usage: pipeline [OPTIONS] [FILE]

  FILE                 the log to read; - is standard input. Without FILE it is standard input too, or, where that is
                       a terminal or /dev/null, records of heavy-tailed sizes that the program generates
  -o, --output FILE    where the JSON lines go; - is standard output (the report then goes to standard error). An
                       existing file is overwritten. Without it they go nowhere
      --generate N     generate N records instead of reading any (default: 200000)
      --producers N    threads that read, parse and serialize: 1 to 64 (default: 2)
  -h, --help           this text

A line is one record; an empty line is one with an empty message. Lines that are not UTF-8, or longer than 8 MiB, are
passed over, counted and reported. With several producers the order of lines may change: each record carries the number
of its line.
";

fn main() -> ExitCode {
    match run() {
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

fn run() -> Result<(), Failure> {
    let Command::Run(options) = parse_arguments(lexopt::Parser::from_env())? else {
        return print(&mut io::stdout(), HELP);
    };
    let input = open_input(&options)?;
    // Only now: a wrong input must not cost the old output.
    let mut output = open_output(&options)?;
    let input_name = input.name.clone();
    let length = input.length;
    let mut lines = Lines::new(input.reader).remember();
    let all = run_pass(&mut lines, Buffers::Pool, &options, output.as_mut(), length)
        .map_err(|failure| failure.name(&input_name, &options))?;
    finish_output(output, &options)?;
    if all.lines == 0 && all.passed_over.total() == 0 {
        say(&format_args!("{input_name} has no lines"));
    }
    let stats = POOL.stats();
    let report = Report { comparison: compare(lines.into_sample(), &options)?, all, stats, input_name };
    report.say_what_was_passed_over();
    match options.output {
        Output::Standard => print(&mut io::stderr(), &report)?,
        _ => print(&mut io::stdout(), &report)?,
    }
    report.check(matches!(options.source, Source::Generated(_)))
}

/// Whoever closed the other end has read enough.
fn print(to: &mut dyn Write, text: impl fmt::Display) -> Result<(), Failure> {
    match write!(to, "{text}").and_then(|()| to.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Report(error)),
        _ => Ok(()),
    }
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

fn parse_arguments(mut parser: lexopt::Parser) -> Result<Command, Failure> {
    use lexopt::prelude::*;
    let mut file = None;
    let mut generated = None;
    let mut output = Output::Nowhere;
    let mut producers = PRODUCERS;
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('o') | Long("output") => {
                let path = parser.value()?;
                output = if path == "-" { Output::Standard } else { Output::File(path.into()) };
            }
            Long("generate") => generated = Some(number("--generate", &parser.value()?, u64::MAX)?),
            Long("producers") => producers = number("--producers", &parser.value()?, PRODUCERS_MAX as u64)? as usize,
            Value(path) if file.is_none() => file = Some(path),
            other => return Err(other.unexpected().into()),
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

fn number(option: &str, value: &OsStr, max: u64) -> Result<u64, Failure> {
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| Failure::usage(format!("{option} is a number from 1 to {max}, not {value:?}")))
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

/// One run of lines through the pipeline, or several.
#[derive(Default)]
struct Pass {
    lines: u64,
    bytes: u64,
    passed_over: PassedOver,
    time: Duration,
    /// Of the producers and the writer together.
    count: Count,
    peak_cached_bytes: usize,
}

impl Pass {
    fn add(&mut self, other: &Pass) {
        self.lines += other.lines;
        self.bytes += other.bytes;
        self.time += other.time;
        self.count = self.count + other.count;
    }
}

/// What the pool saves, on the first lines of the input.
struct Comparison {
    /// Of the input.
    lines: usize,
    /// How often those lines stand in one round.
    repeats: usize,
    rounds: u32,
    warm: Pass,
    plain: Pass,
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
    lines: &mut Lines,
    buffers: Buffers,
    options: &Options,
    output: &mut (dyn Write + Send),
    length: Length,
) -> Result<Pass, Failure> {
    let shared = Mutex::new(&mut *lines);
    let progress = Progress::default();
    let (sender, receiver) = mpsc::sync_channel(CHANNEL_LINES);
    let (writing, written) = mpsc::channel::<()>();
    let began = Instant::now();
    let (produced, written, peak_cached_bytes) = thread::scope(|scope| {
        let producers: Vec<_> = (0..options.producers)
            .map(|_| {
                let sender = sender.clone();
                scope.spawn(|| Count::of(|| produce(&shared, sender, buffers, &progress)))
            })
            .collect();
        drop(sender);
        let writer = scope.spawn(move || {
            let _writing = writing;
            Count::of(|| write_lines(receiver, output))
        });
        let peak_cached_bytes = watch(&written, &progress, length);
        // `join` waits for the end of each thread, the flush of its cache included; the scope alone would not.
        let produced: Vec<_> = producers.into_iter().map(join).collect();
        (produced, join(writer), peak_cached_bytes)
    });
    let time = began.elapsed();
    let (writer_count, written) = written;
    let mut pass = Pass {
        lines: written.lines,
        bytes: written.bytes,
        passed_over: PassedOver::default(),
        time,
        count: writer_count,
        peak_cached_bytes,
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
    Ok(pass)
}

/// The remembered lines again, with the pool and without it in turn, so that what else the machine does slows both.
fn compare(mut sample: Vec<u8>, options: &Options) -> Result<Comparison, Failure> {
    if !sample.is_empty() && !sample.ends_with(b"\n") {
        sample.push(b'\n');
    }
    let lines = sample.iter().filter(|&&byte| byte == b'\n').count();
    let repeats = repeats(lines, sample.len());
    let input = Bytes::from(sample.repeat(repeats));
    let mut comparison = Comparison { lines, repeats, rounds: 0, warm: Pass::default(), plain: Pass::default() };
    while lines > 0 && comparison.warm.time.min(comparison.plain.time) < COMPARED_TIME_MIN {
        for (side, buffers) in [(&mut comparison.warm, Buffers::Pool), (&mut comparison.plain, Buffers::Plain)] {
            let mut lines = Lines::new(Box::new(Cursor::new(input.clone())));
            side.add(&run_pass(&mut lines, buffers, options, &mut io::sink(), Length::Unknown)?);
        }
        comparison.rounds += 1;
    }
    Ok(comparison)
}

/// How often `lines` of together `bytes` stand in one round: enough that what a round begins with, threads and their
/// vectors, hardly shows in figures per line.
fn repeats(lines: usize, bytes: usize) -> usize {
    let wanted = COMPARED_LINES_MIN.div_ceil(lines.max(1));
    wanted.min(COMPARED_BYTES_MAX / bytes.max(1)).max(1)
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A producer's work: until the input ends, or the writer is gone.
fn produce(
    lines: &Mutex<&mut Lines>,
    sender: SyncSender<Bytes>,
    buffers: Buffers,
    progress: &Progress,
) -> (PassedOver, io::Result<()>) {
    let mut passed_over = PassedOver::default();
    let result = produce_chunks(lines, &sender, buffers, progress, &mut passed_over);
    (passed_over, result)
}

fn produce_chunks(
    lines: &Mutex<&mut Lines>,
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

/// Until the writer ends: shows progress and looks at the pool. Returns the most bytes seen cached.
fn watch(written: &Receiver<()>, progress: &Progress, length: Length) -> usize {
    let began = Instant::now();
    let mut peak_cached_bytes = 0;
    let mut bar: Option<ProgressBar> = None;
    while written.recv_timeout(SAMPLE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        peak_cached_bytes = peak_cached_bytes.max(POOL.stats().retained_bytes);
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
    peak_cached_bytes.max(POOL.stats().retained_bytes)
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

struct Report {
    all: Pass,
    comparison: Comparison,
    /// After the first pass: those of the comparison are not what the user asked for.
    stats: Stats,
    input_name: String,
}

impl Report {
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
        let Comparison { warm, plain, .. } = &self.comparison;
        let lines = self.all.lines + warm.lines;
        if stats.outstanding != 0 || stats.gets != lines || stats.puts != lines {
            return Err(Failure::Broken(format!("not every buffer was returned:\n{stats}")));
        }
        if (warm.lines, warm.bytes) != (plain.lines, plain.bytes) {
            return Err(Failure::Broken("the runs with and without the pool differ in their output".to_owned()));
        }
        let [with, without] = [warm, plain].map(Pass::allocations_per_line);
        if generated && self.all.lines >= CLAIM_LINES_MIN && !(with < WARM_ALLOCATIONS_MAX && with < without / 2.0) {
            return Err(Failure::Broken(format!("{with:.3} allocations per line with the pool, {without:.3} without")));
        }
        Ok(())
    }
}

/// Of fewer records one above the max size is too large a share.
const CLAIM_LINES_MIN: u64 = 10_000;
/// One for `freeze`, and something for the few lines above the max size, whose buffers are freed by design.
const WARM_ALLOCATIONS_MAX: f64 = 1.25;

impl Pass {
    fn allocations_per_line(&self) -> f64 {
        self.per_line(self.count.heap_takes())
    }

    fn per_line(&self, what: u64) -> f64 {
        if self.lines == 0 { 0.0 } else { what as f64 / self.lines as f64 }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison { lines, repeats, rounds, warm, plain } = &self.comparison;
        let rows =
            [("pool, all lines", &self.all), ("pool, first lines again", warm), ("no pool, the same lines", plain)];
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
        writeln!(
            f,
            "\ncompared       the first {lines} lines x {repeats}, {rounds} x with the pool and {rounds} x without, in turn"
        )?;
        writeln!(f, "peak cached    {} bytes (seen every {SAMPLE_INTERVAL:?})", self.all.peak_cached_bytes)?;
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

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Failure {
        Failure::usage(format!("{error}; --help tells what is possible"))
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
