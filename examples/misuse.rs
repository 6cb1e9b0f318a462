//! Two ways in which buffer pools go wrong in the field, each measured.
//!
//!     cargo run --release --example misuse
//!
//! 1. **Get without put.** In a language without destructors a forgotten put is the commonest mistake: the pool never
//!    gets anything back and every get allocates. Here the guard's end is the put, so that one has to keep every guard,
//!    or `mem::forget` it, to show the difference.
//! 2. **One giant among small messages.** A pool without size classes and without a max size keeps the giant's
//!    buffer for ever, and hands it to small messages.
//!
//! The figures are asserted, so the program fails when a claim does; `tests/misuse.rs` runs the same functions.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use bytebufferpool::{MAX_CLASS_SIZE, Pool};

#[path = "support/exit.rs"]
mod exit;
#[path = "../tests/support/ledger.rs"]
pub(crate) mod ledger;

use ledger::{Count, Ledger};

#[global_allocator]
static LEDGER: Ledger = Ledger;

fn main() -> ExitCode {
    exit::exit_code("misuse", run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    writeln!(
        out,
        "{RECORDS} log records of {RECORD_BYTES} bytes, each built from three-byte appends; heap bytes live:\n"
    )?;
    writeln!(out, "{:>10} {:>16} {:>16}", "records", "get and put", "never put")?;
    let put = get_and_put();
    let kept = get_and_never_put();
    for ((record, with_put), without) in CHECKPOINTS.into_iter().zip(put.live_bytes).zip(kept.live_bytes) {
        writeln!(out, "{record:>10} {with_put:>16} {without:>16}")?;
    }
    writeln!(out, "{:>10} {:>16} {:>16}", "buffers", put.buffers_allocated, kept.buffers_allocated)?;
    assert_put_is_constant(&put);
    assert_never_put_grows(&kept);

    writeln!(
        out,
        "\n{MESSAGES} messages of about {MESSAGE_BYTES} bytes, and one of {GIANT_BYTES}; kept afterwards:\n"
    )?;
    writeln!(out, "{:>24} {:>16} {:>20}", "the giant comes", "this pool", "pool without bounds")?;
    for giant_at in GIANT_POSITIONS {
        let bounded = one_giant_in_this_pool(giant_at);
        let unbounded = one_giant_in_an_unbounded_pool(giant_at);
        writeln!(out, "{:>24} {bounded:>16} {unbounded:>20}", format!("as message {giant_at}"))?;
        assert_giant_is_gone(bounded);
        assert_giant_is_kept(unbounded);
    }
    Ok(())
}

pub(crate) const RECORDS: usize = 10_000;
pub(crate) const RECORD_BYTES: usize = 30_000;
pub(crate) const CHECKPOINTS: [usize; 5] = [10, 100, 1_000, 5_000, RECORDS];
/// The smallest size class that holds a record.
pub(crate) const RECORD_CLASS_SIZE: usize = 32 << 10;

/// Heap bytes that live at each of [`CHECKPOINTS`], and how many buffers the pool took from the heap for that.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) live_bytes: [i64; CHECKPOINTS.len()],
    pub(crate) buffers_allocated: u64,
}

pub(crate) fn get_and_put() -> Usage {
    let pool = Pool::new();
    measure(&pool, || {
        let mut buf = pool.get();
        append_record(&mut buf);
    })
}

pub(crate) fn get_and_never_put() -> Usage {
    let pool = Pool::new();
    // Kept rather than forgotten, so that leak checkers have nothing to say about the example itself. The room for
    // the guards is taken first, so that the figures are the pool's alone.
    let mut kept = Vec::with_capacity(RECORDS);
    measure(&pool, || {
        let mut buf = pool.get();
        append_record(&mut buf);
        kept.push(buf);
    })
}

fn measure(pool: &Pool, mut use_once: impl FnMut()) -> Usage {
    let before = Count::of_this_thread();
    let mut live_bytes = [0; CHECKPOINTS.len()];
    let mut done = 0;
    for (checkpoint, live) in CHECKPOINTS.into_iter().zip(&mut live_bytes) {
        while done < checkpoint {
            use_once();
            done += 1;
        }
        *live = (Count::of_this_thread() - before).live_bytes();
    }
    Usage { live_bytes, buffers_allocated: pool.stats().allocated }
}

fn append_record(buf: &mut bytebufferpool::PooledBuf<&Pool>) {
    for _ in 0..RECORD_BYTES / 3 {
        buf.extend_from_slice(b"abc");
    }
    assert_eq!(buf.len(), RECORD_BYTES);
}

pub(crate) fn assert_put_is_constant(usage: &Usage) {
    let [first, later @ ..] = usage.live_bytes;
    for live in later {
        // Not equal to the byte: a calibration may free the small buffers that growth went through.
        assert!(live <= first, "get and put went from {first} to {live} live bytes");
    }
    assert!(first < 1 << 20, "ten records one after the other need {first} bytes");
}

pub(crate) fn assert_never_put_grows(usage: &Usage) {
    for (records, live) in CHECKPOINTS.into_iter().zip(usage.live_bytes) {
        let expected = (records * RECORD_CLASS_SIZE) as i64;
        assert!(live >= expected, "{records} buffers that were never returned are {live} bytes, not {expected}");
    }
    assert!(usage.buffers_allocated >= RECORDS as u64);
}

pub(crate) const MESSAGES: usize = 100_000;
pub(crate) const MESSAGE_BYTES: usize = 200;
pub(crate) const GIANT_BYTES: usize = MAX_CLASS_SIZE;
/// Before the pool has learned its max size (it calibrates after 42 000 uses), and after the last calibration of this
/// run.
pub(crate) const GIANT_POSITIONS: [usize; 2] = [1_000, 90_000];

/// Heap bytes kept once all messages are done.
pub(crate) fn one_giant_in_this_pool(giant_at: usize) -> i64 {
    let before = Count::of_this_thread();
    let pool = Pool::new();
    for message in 0..MESSAGES {
        let mut buf = pool.get();
        buf.resize(message_bytes(message, giant_at), b'm');
    }
    (Count::of_this_thread() - before).live_bytes()
}

/// The pool that everybody writes first: a list of `Vec`s, whatever they have grown to.
#[derive(Default)]
struct UnboundedPool {
    cached: Vec<Vec<u8>>,
}

impl UnboundedPool {
    fn get(&mut self) -> Vec<u8> {
        self.cached.pop().unwrap_or_default()
    }

    fn put(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.cached.push(buffer);
    }
}

/// Heap bytes kept once all messages are done.
pub(crate) fn one_giant_in_an_unbounded_pool(giant_at: usize) -> i64 {
    let before = Count::of_this_thread();
    let mut pool = UnboundedPool::default();
    for message in 0..MESSAGES {
        let mut buffer = pool.get();
        buffer.resize(message_bytes(message, giant_at), b'm');
        pool.put(buffer);
    }
    (Count::of_this_thread() - before).live_bytes()
}

fn message_bytes(message: usize, giant_at: usize) -> usize {
    if message == giant_at { GIANT_BYTES } else { MESSAGE_BYTES + message % 40 }
}

pub(crate) fn assert_giant_is_gone(kept_bytes: i64) {
    assert!(kept_bytes < 1 << 20, "the pool keeps {kept_bytes} bytes for small messages");
}

pub(crate) fn assert_giant_is_kept(kept_bytes: i64) {
    assert!(kept_bytes >= GIANT_BYTES as i64, "a pool without bounds kept only {kept_bytes} bytes");
}
