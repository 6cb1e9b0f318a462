//! The thread that writes: a batch with one call, and what an output that fails has taken.

use std::io::{self, IoSlice, Write};
use std::time::{Duration, Instant};

use bytebufferpool::OwnedBuf;

use crate::queue::{Batch, Queue};

/// Writes until the queue is closed and empty. Returns the output's last error.
pub(crate) fn run<W: Write>(queue: &Queue, output: W) -> Option<io::Error> {
    let _end = End(queue);
    let mut batch = queue.begin();
    let mut worker = Worker { output, is_torn: false };
    let mut last_error = None;
    let mut pace = Pace { last: Instant::now(), is_busy: false };
    while queue.next(&mut batch, pace.gather()) {
        pace.note_batch();
        let (written, result) = worker.write(&batch);
        let (lines, errors) = (batch.ends.len(), u64::from(result.is_err()));
        last_error = result.err().or(last_error);
        batch.clear();
        queue.settle(lines, written, errors);
    }
    last_error
}

/// However the thread ends, by a panic of the output too, nobody waits for it any more.
struct End<'a>(&'a Queue);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// How long the worker gathers lines before it looks whether there is one.
struct Pace {
    last: Instant,
    is_busy: bool,
}

impl Pace {
    fn gather(&self) -> Duration {
        if self.is_busy { GATHER } else { Duration::ZERO }
    }

    fn note_batch(&mut self) {
        let now = Instant::now();
        self.is_busy = now - self.last < BUSY;
        self.last = now;
    }
}

/// In a busy program the worker gathers lines for so long before each batch.
///
/// With 0 it is woken for every few lines: an event of 120 bytes from two threads then takes 834 ns of CPU time instead of
/// 498 (`examples/logging.rs`, to /dev/null; 2026-11-24, 2-core x86-64 VM). Longer would gain nothing where lines come fast,
/// as these fill half of the queue before.
const GATHER: Duration = Duration::from_millis(1);

/// A program is busy when two batches come within this time. It is more than `GATHER`, so that gathering by itself does not
/// end it. Where lines come more slowly, gathering would wake the worker a second time for each.
const BUSY: Duration = Duration::from_millis(2);

const _: () = assert!(BUSY.as_micros() > GATHER.as_micros());

struct Worker<W> {
    output: W,
    /// The output has taken a part of a line and then failed.
    is_torn: bool,
}

impl<W: Write> Worker<W> {
    /// How many lines the output took whole, and its error.
    fn write(&mut self, batch: &Batch) -> (usize, io::Result<()>) {
        if self.is_torn {
            // The part stays a line of its own.
            if let Err(error) = self.output.write_all(b"\n") {
                return (0, Err(error));
            }
        }
        let mut taken = 0;
        let result = write_blocks(&mut self.output, &batch.blocks, &mut taken);
        let lines = batch.ends.partition_point(|&end| end <= taken);
        self.is_torn = taken > lines.checked_sub(1).map_or(0, |last| batch.ends[last]);
        (lines, result.and_then(|()| self.output.flush()))
    }
}

/// As many slices as one call gets: a kilobyte of stack.
const SLICES_MAX: usize = 64;

/// Writes `blocks` in as few calls as the output takes it; `taken` says how many bytes it took, also after an error.
fn write_blocks<W: Write>(output: &mut W, blocks: &[OwnedBuf], taken: &mut usize) -> io::Result<()> {
    for blocks in blocks.chunks(SLICES_MAX) {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        for (slice, block) in slices.iter_mut().zip(blocks) {
            *slice = IoSlice::new(block);
        }
        let mut left = &mut slices[..blocks.len()];
        while !left.is_empty() {
            match output.write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    *taken += count;
                    IoSlice::advance_slices(&mut left, count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
