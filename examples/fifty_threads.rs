//! The comparison by which serializer pools are usually judged: 50 threads, each using a 1 KiB buffer 20 000 times to
//! format a short text, with the pool and without.
//!
//!     cargo run --release --example fifty_threads -- --help
//!
//! It shows what the pool saves the heap. What it saves in time depends on the allocator; and a thread that can keep
//! one `Vec` of its own, the third row, needs no pool at all.

use std::error::Error;
use std::fmt;
use std::hint::black_box;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use bytebufferpool::Pool;

#[path = "support/exit.rs"]
mod exit;
#[path = "../tests/support/ledger.rs"]
mod ledger;

use ledger::{Count, Ledger};

#[global_allocator]
static LEDGER: Ledger = Ledger;

static POOL: Pool = Pool::new();

const THREADS: usize = 50;
const USES_PER_THREAD: usize = 20_000;
const BUFFER_BYTES: usize = 1024;

const HELP: &str = "\
Formats short texts in 50 threads, with a pool of byte buffers and without, and prints what that cost.

Usage: fifty_threads [USES_PER_THREAD]

  USES_PER_THREAD    how often each thread uses a buffer: at least 1 (default: 20000)
  -h, --help         this text
";

struct Row {
    name: &'static str,
    time: Duration,
    count: Count,
}

fn main() -> ExitCode {
    exit::exit_code("fifty_threads", run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    let Some(uses) = parse_arguments()? else { return Ok(write!(out, "{HELP}")?) };
    let rows = [
        measure("pool", || with_pool(uses)),
        measure("a new Vec per use", || with_new_vecs(uses)),
        measure("one Vec per thread", || with_own_vec(uses)),
    ];
    print_table(&mut out, &rows, uses)?;
    assert_claims(&rows, uses);
    Ok(())
}

/// The uses per thread, or `None` for `--help`.
fn parse_arguments() -> Result<Option<usize>, Box<dyn Error>> {
    use lexopt::prelude::*;
    let mut uses = USES_PER_THREAD;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Value(value) => {
                uses = value.parse().ok().filter(|&uses| uses > 0).ok_or("USES_PER_THREAD is a number, at least 1")?;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(uses))
}

fn with_pool(uses: usize) {
    for number in 0..uses {
        let mut buf = POOL.get_with_capacity(BUFFER_BYTES);
        format_text(&mut buf, number);
        black_box(buf.as_slice());
    }
}

fn with_new_vecs(uses: usize) {
    for number in 0..uses {
        let mut buf = Text(Vec::with_capacity(BUFFER_BYTES));
        format_text(&mut buf, number);
        black_box(buf.0.as_slice());
    }
}

fn with_own_vec(uses: usize) {
    let mut buf = Text(Vec::with_capacity(BUFFER_BYTES));
    for number in 0..uses {
        buf.0.clear();
        format_text(&mut buf, number);
        black_box(buf.0.as_slice());
    }
}

fn format_text(to: &mut impl fmt::Write, number: usize) {
    write!(to, "request {number} took {} us: ok", number % 977).expect("formatting integers and text");
}

/// `fmt::Write` for a `Vec`, which has only `io::Write`: both sides then format by the same trait.
struct Text(Vec<u8>);

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn measure(name: &'static str, work: impl Fn() + Sync) -> Row {
    let start = Barrier::new(THREADS);
    // Each thread reads the clock itself: on few cores a main thread is woken long after the first workers.
    let measured = || {
        start.wait();
        let began = Instant::now();
        let (count, ()) = Count::of(&work);
        (began, Instant::now(), count)
    };
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(measured)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a worker panicked")).collect()
    });
    let began = results.iter().map(|(began, ..)| *began).min().expect("there are threads");
    let ended = results.iter().map(|(_, ended, _)| *ended).max().expect("there are threads");
    Row { name, time: ended - began, count: results.iter().map(|(.., count)| *count).sum() }
}

fn print_table(out: &mut impl Write, rows: &[Row], uses: usize) -> io::Result<()> {
    writeln!(out, "{THREADS} threads x {uses} uses of a {BUFFER_BYTES}-byte buffer\n")?;
    writeln!(out, "{:<20} {:>10} {:>12} {:>14} {:>16}", "", "time", "ns per use", "allocations", "bytes allocated")?;
    for Row { name, time, count } in rows {
        writeln!(
            out,
            "{name:<20} {:>7.1} ms {:>12.1} {:>14} {:>16}",
            time.as_secs_f64() * 1e3,
            time.as_nanos() as f64 / (THREADS * uses) as f64,
            count.heap_takes(),
            count.allocated_bytes,
        )?;
    }
    writeln!(out, "\n{}", POOL.stats())
}

fn assert_claims(rows: &[Row; 3], uses: usize) {
    let [pool, new_vecs, _] = rows;
    let all_uses = (THREADS * uses) as u64;
    assert_eq!(new_vecs.count.allocations, all_uses, "a new Vec per use is one allocation per use");
    // A thread's first use may set up its cache and allocate a buffer; after that there is nothing left to allocate.
    let per_thread = pool.count.heap_takes() / THREADS as u64;
    assert!(per_thread <= 16, "the pool allocated {per_thread} times per thread");
    let stats = POOL.stats();
    assert_eq!((stats.gets, stats.outstanding), (all_uses, 0));
}
