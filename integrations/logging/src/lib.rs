//! Log lines for `tracing` and `log`, written by a thread of their own.
//!
//! It does what the non-blocking writer of `tracing-appender` does: who logs does not wait for the output. A line is copied
//! into a block of a [`bytebufferpool::Pool`], and the worker thread writes all blocks that wait with one call of
//! `write_vectored`. Once warm a line costs no allocation.
//!
//! ```
//! use bytebufferpool_tracing::{LineWriter, WhenFull};
//!
//! let (lines, writer) = LineWriter::spawn(std::io::sink(), 256 << 10, WhenFull::Block);
//! let subscriber = tracing_subscriber::fmt().with_writer(lines).finish();
//! tracing::subscriber::with_default(subscriber, || tracing::info!(user = "anna", "logged in"));
//! assert_eq!(writer.finish().counts.written, 1);
//! ```
#![warn(missing_docs)]

// Refused, each measured in the place of this one. CPU time of all threads for a line of 120 bytes, one producer, no
// `tracing`, to /dev/null and to a file; least of 5 rounds, 2-core x86-64 VM, 2026-11-24:
//
//   29 and  63 ns   lines copied into shared blocks (this one)
//   29 and  66 ns   lines copied into a shared `ChunkedBuf`. As fast, but its chunks end inside of lines. An output without
//                   its own `write_vectored`, as the rotating files of tracing-appender, gets a chunk a call, and may rotate
//                   inside of a line: tests/output.rs, an_output_that_takes_one_slice_a_call_gets_whole_lines.
//   61 and 254 ns   a pooled buffer for each line through a channel of crossbeam, 64 of them in one `writev`
//  170 and 319 ns   the same, copied into a `ChunkedBuf` by the worker
//
// Also: std's `sync_channel`, half as fast as crossbeam's; `freeze` of each line, an allocation, and there is one reader; a
// buffer for each line before the block also where it comes in one write, 60 and 95 ns; a queue without bound, which keeps
// the memory of the worst burst.

mod queue;
mod worker;

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytebufferpool::{OwnedBuf, Pool, PooledBuf};
use tracing_subscriber::fmt::MakeWriter;

use crate::queue::{BLOCK_SIZE, Queue};

#[cfg(doctest)]
#[doc = include_str!("../../../docs/cookbook/logging.md")]
struct Cookbook;

/// What becomes of a line when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Whoever logs waits. Nothing is lost, and a slow output slows the program.
    Block,
    /// The line is dropped and counted. Nobody waits.
    Drop,
}

/// Lines go in here. Cheap to clone; a [`MakeWriter`] for `tracing_subscriber`, a [`log::Log`] for `log` and `fern`, and
/// through [`pipe`](LineWriter::pipe) an `io::Write` for `env_logger`.
#[derive(Clone)]
pub struct LineWriter {
    queue: Arc<Queue>,
}

impl LineWriter {
    /// Starts a thread that writes lines to `output`, and gives the two ends of it.
    ///
    /// The queue is full when the lines that wait have `queue_bytes` bytes, of which each line counts 8 more than it has. One
    /// that comes before is accepted whatever its length. A second batch of that size may be with the worker. 256 KiB are
    /// about 2 000 lines of 120 bytes, and as much as the output should need to catch up after a burst.
    ///
    /// Where lines come slowly, each is written at once. Where they come every 2 ms or faster, the worker gathers them for 1 ms,
    /// unless the queue is half full before or somebody [flushes](LineWriter::flush). It flushes `output` after each batch.
    ///
    /// The pool caches at most twice `queue_bytes` (or 64 KiB, if that is more) and 256 KiB.
    ///
    /// # Panics
    ///
    /// When the system gives no thread. When `queue_bytes` is 0.
    #[must_use = "the end of the WriterThread is the end of the log"]
    pub fn spawn<W>(output: W, queue_bytes: usize, when_full: WhenFull) -> (LineWriter, WriterThread)
    where
        W: Write + Send + 'static,
    {
        assert!(queue_bytes > 0, "a queue of 0 bytes accepts no line");
        let queue = Arc::new(Queue::new(Arc::new(pool(queue_bytes)), queue_bytes, when_full));
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn({
                let queue = Arc::clone(&queue);
                move || worker::run(&queue, output)
            })
            .expect("the system gives a thread");
        (LineWriter { queue: Arc::clone(&queue) }, WriterThread { queue, thread: Some(thread) })
    }

    /// A line to write to; see [`Line`] for where it ends.
    #[must_use = "a line is handed over when it ends"]
    pub fn line(&self) -> Line<'_> {
        Line { queue: &self.queue, buf: PooledBuf::empty(&self.queue.pool) }
    }

    /// An `io::Write` for what wants a box of one. A line ends with each `flush`: `env_logger` calls it after each record.
    #[must_use]
    pub fn pipe(&self) -> Box<dyn Write + Send> {
        Box::new(Pipe { queue: Arc::clone(&self.queue), buf: PooledBuf::empty(Arc::clone(&self.queue.pool)) })
    }

    /// Returns when everything logged before is written and the output flushed, or its error is counted.
    ///
    /// At once if the writer has ended, and on its own thread.
    pub fn flush(&self) {
        self.queue.flush();
    }

    /// What became of the lines so far. Exact at any time.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.queue.counts()
    }

    /// The pool that the lines are in, for its statistics.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.queue.pool
    }
}

/// Room for two full queues, one with the worker and one being filled. The largest size seen is kept, but none above a block:
/// few blocks among many short lines of `log` would else be taken for outliers, and a giant line must not stay.
fn pool(queue_bytes: usize) -> Pool {
    Pool::builder()
        .default_size(512)
        .max_percentile(1.0)
        .max_size(BLOCK_SIZE)
        .max_size_limit(BLOCK_SIZE)
        .retained_bytes_max(2 * queue_bytes.max(BLOCK_SIZE) + 4 * BLOCK_SIZE)
        .build()
}

impl fmt::Debug for LineWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineWriter").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

/// What became of the lines: each that was handed over is in one of `written`, `dropped` and `waiting`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Lines that the output took whole.
    pub written: u64,
    /// Lines dropped, for whichever reason: no room, an output that failed, handed over after the end.
    pub dropped: u64,
    /// Lines in the queue or with the worker.
    pub waiting: u64,
    /// Batches that the worker wrote, or tried to. Each is one call of `write_vectored` if the output takes it in one.
    pub batches: u64,
    /// Batches that ended with an error of the output.
    pub errors: u64,
}

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        self.line()
    }
}

/// Each record is its message and a line end, formatted straight into a buffer of the pool. What else a line should say is
/// for `fern`'s `format` to add, in front of this.
impl log::Log for LineWriter {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut buf = self.queue.pool.get();
        // A `Display` that fails leaves what it wrote before; the line is still a line.
        let _ = write!(buf, "{}", record.args());
        buf.push(b'\n');
        self.queue.push(&buf);
    }

    fn flush(&self) {
        self.queue.flush();
    }
}

/// A line in the making, of [`LineWriter::line`].
///
/// It ends, and is handed over, with a write whose last byte is a line end, and when it is dropped; what is written after that
/// is another line. `tracing_subscriber` writes a whole event at once, so that one of several lines stays together too. A
/// write that ends the line it begins is copied once, others twice.
pub struct Line<'a> {
    queue: &'a Queue,
    /// What came before the line end.
    buf: PooledBuf<&'a Pool>,
}

impl Write for Line<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let ends = bytes.last() == Some(&b'\n');
        if ends && self.buf.is_empty() {
            self.queue.push(bytes);
            return Ok(());
        }
        self.buf.extend_from_slice(bytes);
        if ends {
            self.hand_over();
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Line<'_> {
    fn hand_over(&mut self) {
        self.queue.push(&self.buf);
        self.buf.clear();
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.hand_over();
    }
}

impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("buf", &self.buf).finish_non_exhaustive()
    }
}

struct Pipe {
    queue: Arc<Queue>,
    buf: OwnedBuf,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buf.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.queue.push(&self.buf);
        self.buf.clear();
        Ok(())
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

/// The writer's end. Finishing or dropping it writes what was handed over before, however long the output takes, and stops
/// the thread. [`LineWriter`]s may outlive it, and their lines are then dropped and counted.
#[must_use = "the end of the WriterThread is the end of the log"]
pub struct WriterThread {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<Option<io::Error>>>,
}

/// What became of the lines until the end.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// Nothing waits any more.
    pub counts: Counts,
    /// The last error of the output. It cost the lines of its batch that were not written whole, and the log went on; a part
    /// of a line that the output had taken is a line of its own.
    pub error: Option<io::Error>,
}

impl WriterThread {
    /// Writes what was handed over before, flushes, and says what became of the lines.
    ///
    /// # Panics
    ///
    /// With the output's own panic.
    pub fn finish(mut self) -> Report {
        let error = match self.stop() {
            Some(Ok(error)) => error,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => None,
        };
        Report { counts: self.queue.counts(), error }
    }

    fn stop(&mut self) -> Option<thread::Result<Option<io::Error>>> {
        let thread = self.thread.take()?;
        self.queue.close();
        Some(thread.join())
    }
}

impl fmt::Debug for WriterThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterThread").field("counts", &self.queue.counts()).finish_non_exhaustive()
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        // A panic of the output has been reported by the panic hook; there is nobody here to tell.
        let _ = self.stop();
    }
}
