//! Log lines through pooled buffers and one writer thread, for `tracing` and for `log`.
//!
//! Whoever logs writes an event into a buffer of the pool and hands it over whole; one thread writes what it is handed.
//! So a line is never torn, whatever the number of threads and however little the output takes at a time, and once warm
//! an event allocates nothing: the guard itself goes through the channel, and its end on the writer thread is the put.
//!
//! A channel has an end. What happens when it is full is the user's choice: [`WhenFull`].
//!
//! Refused: std's `sync_channel`, with which the comparison in `examples/logging.rs` went at half the speed (456 000
//! against 1 074 000 events a second from two threads on two cores); `freeze` instead of the guard, which costs an
//! allocation per line and buys nothing where there is one reader; a channel without bounds, which keeps the memory of
//! the worst burst.
#![warn(missing_docs)]

use std::io::{self, IoSlice, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytebufferpool::{Pool, PooledBuf};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tracing_subscriber::fmt::MakeWriter;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/cookbook/logging.md")]
struct Cookbook;

/// What becomes of a line when the channel is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Whoever logs waits. Nothing is lost, and a slow output slows the program.
    Block,
    /// The line is dropped and counted. Nobody waits.
    Drop,
}

/// Lines go in here. Cheap to clone; a [`MakeWriter`] for `tracing_subscriber`, a [`log::Log`] for `log` and `fern`, and
/// through [`pipe`](LineWriter::pipe) an `io::Write` for `env_logger`.
#[derive(Clone, Debug)]
pub struct LineWriter {
    pool: &'static Pool,
    sender: Sender<Message>,
    when_full: WhenFull,
    counts: Arc<Counts>,
}

impl LineWriter {
    /// Starts a thread that writes lines to `output`; up to `lines` wait in the channel.
    ///
    /// # Panics
    ///
    /// When the system gives no thread. When `lines` is 0.
    #[must_use = "the end of the WriterThread is the end of the log"]
    pub fn spawn<W>(pool: &'static Pool, output: W, lines: usize, when_full: WhenFull) -> (LineWriter, WriterThread)
    where
        W: Write + Send + 'static,
    {
        assert!(lines > 0, "a channel without room for a line cannot drop exactly the lines that do not fit");
        let (sender, receiver) = crossbeam_channel::bounded(lines);
        let counts = Arc::new(Counts::default());
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn({
                let end = End { receiver, counts: Arc::clone(&counts) };
                move || write_lines(&end, output)
            })
            .expect("the system gives a thread");
        let writer = LineWriter { pool, sender: sender.clone(), when_full, counts: Arc::clone(&counts) };
        (writer, WriterThread { sender, thread: Some(thread), counts })
    }

    /// An empty line; its drop hands it over.
    #[must_use = "a line is handed over when it is dropped"]
    pub fn line(&self) -> Line<'_> {
        Line { writer: self, buf: None }
    }

    /// An `io::Write` for what wants a box of one. A line ends with each `flush`: `env_logger` calls it after each record.
    #[must_use]
    pub fn pipe(&self) -> Box<dyn Write + Send> {
        Box::new(Pipe { writer: self.clone(), buf: None })
    }

    /// Lines dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counts.dropped()
    }

    fn send(&self, buf: PooledBuf) {
        self.counts.handed_over.fetch_add(1, Ordering::Relaxed);
        let message = Message::Line(buf);
        let sent = match self.when_full {
            WhenFull::Block => self.sender.send(message).is_ok(),
            WhenFull::Drop => self.sender.try_send(message).is_ok(),
        };
        if !sent {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        self.line()
    }
}

/// Each record is its message and a line end, formatted straight into the buffer. What else a line should say is for
/// `fern`'s `format` to add, in front of this.
impl log::Log for LineWriter {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut buf = self.pool.get();
        // A `Display` that fails leaves what it wrote before; the line is still a line.
        let _ = write!(buf, "{}", record.args());
        buf.push(b'\n');
        self.send(buf);
    }

    /// Returns when everything logged before is written, and the output flushed.
    fn flush(&self) {
        let (done, flushed) = crossbeam_channel::bounded(1);
        if self.sender.send(Message::Flush(done)).is_ok() {
            // The writer may end in the moment in which this is handed over, and then nobody answers.
            while flushed.recv_timeout(FLUSH_LOOK) == Err(RecvTimeoutError::Timeout) && !self.counts.has_ended() {}
        }
    }
}

const FLUSH_LOOK: Duration = Duration::from_millis(100);

/// A line in the making. Empty lines are not handed over.
#[derive(Debug)]
pub struct Line<'a> {
    writer: &'a LineWriter,
    buf: Option<PooledBuf>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buf.get_or_insert_with(|| self.writer.pool.get()).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if let Some(buf) = self.buf.take() {
            self.writer.send(buf);
        }
    }
}

struct Pipe {
    writer: LineWriter,
    buf: Option<PooledBuf>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buf.get_or_insert_with(|| self.writer.pool.get()).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(buf) = self.buf.take() {
            self.writer.send(buf);
        }
        Ok(())
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

/// The writer's end. Finishing or dropping it writes what was handed over before, flushes the output, and stops the
/// thread; [`LineWriter`]s may outlive it, and their lines are then dropped and counted.
#[derive(Debug)]
#[must_use = "the end of the WriterThread is the end of the log"]
pub struct WriterThread {
    sender: Sender<Message>,
    thread: Option<JoinHandle<Written>>,
    counts: Arc<Counts>,
}

/// What became of the lines: `written + dropped` is all that were handed over.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// Lines written whole.
    pub written: u64,
    /// Lines dropped, for whichever reason: no room, an output that failed, handed over after the end.
    pub dropped: u64,
    /// The output's error. It ends the log, as a line that was written in part must not be followed by another.
    pub error: Option<io::Error>,
}

impl WriterThread {
    /// Writes what was handed over before, flushes, and says what became of the lines.
    ///
    /// # Panics
    ///
    /// With the output's own panic.
    pub fn finish(mut self) -> Report {
        let written = match self.stop() {
            Some(Ok(written)) => written,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Written::default(),
        };
        Report { written: written.lines, dropped: self.counts.dropped(), error: written.error }
    }

    fn stop(&mut self) -> Option<thread::Result<Written>> {
        let thread = self.thread.take()?;
        // Fails where the writer ended by itself.
        let _ = self.sender.send(Message::Stop);
        Some(thread.join())
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        // A panic of the output has been reported by the panic hook; there is nobody here to tell.
        let _ = self.stop();
    }
}

#[derive(Debug)]
enum Message {
    Line(PooledBuf),
    Flush(Sender<()>),
    Stop,
}

/// Once the writer has ended, what was not written is dropped: the channel may hold lines that were handed over in the
/// same moment, and those must not be lost uncounted.
#[derive(Debug, Default)]
struct Counts {
    handed_over: AtomicU64,
    refused: AtomicU64,
    written: AtomicU64,
    has_ended: AtomicBool,
}

impl Counts {
    /// Acquire: pairs with the Release in `End::drop`, so that `written` is then the last figure.
    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    fn dropped(&self) -> u64 {
        if self.has_ended() {
            self.handed_over.load(Ordering::Relaxed) - self.written.load(Ordering::Relaxed)
        } else {
            self.refused.load(Ordering::Relaxed)
        }
    }
}

/// The reading end. However the writer ends, what waits is freed, and who waits for room goes on.
struct End {
    receiver: Receiver<Message>,
    counts: Arc<Counts>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.counts.has_ended.store(true, Ordering::Release);
        self.receiver.try_iter().for_each(drop);
    }
}

#[derive(Debug, Default)]
struct Written {
    lines: u64,
    error: Option<io::Error>,
}

/// As many lines are written with one call.
const BATCH_LINES: usize = 64;

fn write_lines<W: Write>(end: &End, mut output: W) -> Written {
    let mut written = Written::default();
    let mut batch = Vec::with_capacity(BATCH_LINES);
    // Ends when all senders have.
    while let Ok(first) = end.receiver.recv() {
        let mut flush = None;
        let mut stop = false;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Line(line) => batch.push(line),
                Message::Flush(done) => flush = Some(done),
                Message::Stop => stop = true,
            }
            let more = batch.len() < BATCH_LINES && flush.is_none() && !stop;
            next = if more { end.receiver.try_recv().ok() } else { None };
        }
        // A full batch says that more are waiting, and that flushing can wait too.
        let rest = batch.len() < BATCH_LINES || flush.is_some() || stop;
        let (lines, result) = write_batch(&mut output, &batch);
        batch.clear();
        written.lines += lines;
        end.counts.written.store(written.lines, Ordering::Relaxed);
        if let Err(error) = result.and_then(|()| if rest { output.flush() } else { Ok(()) }) {
            written.error = Some(error);
            return written;
        }
        if let Some(done) = flush {
            let _ = done.send(());
        }
        if stop {
            return written;
        }
    }
    written
}

/// Writes `batch` in as few calls as the output takes it; how many lines it took whole.
fn write_batch<W: Write>(output: &mut W, batch: &[PooledBuf]) -> (u64, io::Result<()>) {
    let mut bytes = 0;
    let result = write_vectored(output, batch, &mut bytes);
    let mut lines = 0;
    for line in batch {
        let Some(left) = bytes.checked_sub(line.len()) else { break };
        bytes = left;
        lines += 1;
    }
    (lines, result)
}

fn write_vectored<W: Write>(output: &mut W, batch: &[PooledBuf], written: &mut usize) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); BATCH_LINES];
    for (slice, line) in slices.iter_mut().zip(batch) {
        *slice = IoSlice::new(line);
    }
    let mut left = &mut slices[..batch.len()];
    while !left.is_empty() {
        match output.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                *written += count;
                IoSlice::advance_slices(&mut left, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
