//! Log lines through pooled buffers and one writer thread, for `tracing` and for `log`.
//!
//! Whoever logs writes an event into a buffer of the pool and hands it over whole; one thread writes what it is handed.
//! So a line is never torn, whatever the number of threads and however little the output takes at a time, and once warm
//! an event allocates nothing: the guard itself goes through the channel, and its end on the writer thread is the put.
//!
//! A channel has an end. What happens when it is full is the user's choice: [`WhenFull`].
//!
//! Refused: `freeze` instead of the guard, which costs an allocation per line and buys nothing where there is one reader;
//! a channel without bounds, which keeps the memory of the worst burst.
#![warn(missing_docs)]

use std::io::{self, IoSlice, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};

use bytebufferpool::{Pool, PooledBuf};
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
    sender: SyncSender<Message>,
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
        let (sender, receiver) = mpsc::sync_channel(lines);
        let counts = Arc::new(Counts::default());
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || write_lines(&receiver, output))
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
        self.counts.dropped.load(Ordering::Relaxed)
    }

    fn send(&self, buf: PooledBuf) {
        let queued = Queued { buf, counts: Arc::clone(&self.counts), is_written: false };
        // A line that does not go through is dropped here, and counts itself.
        match self.when_full {
            WhenFull::Block => drop(self.sender.send(Message::Line(queued))),
            WhenFull::Drop => match self.sender.try_send(Message::Line(queued)) {
                Ok(()) => {}
                Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => drop(message),
            },
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
        let (done, flushed) = mpsc::sync_channel(1);
        if self.sender.send(Message::Flush(done)).is_ok() {
            // An error says that the writer ended: there is nothing left to wait for.
            let _ = flushed.recv();
        }
    }
}

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
    sender: SyncSender<Message>,
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
        let dropped = self.counts.dropped.load(Ordering::Relaxed);
        Report { written: written.lines, dropped, error: written.error }
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
    Line(Queued),
    Flush(SyncSender<()>),
    Stop,
}

#[derive(Debug, Default)]
struct Counts {
    dropped: AtomicU64,
}

/// A line under way. It counts itself when it is dropped, wherever that is, so that no line is lost uncounted between a
/// sender that succeeds and a receiver that ends.
#[derive(Debug)]
struct Queued {
    buf: PooledBuf,
    counts: Arc<Counts>,
    is_written: bool,
}

impl Queued {
    fn written(mut self) {
        self.is_written = true;
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if !self.is_written {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Debug, Default)]
struct Written {
    lines: u64,
    error: Option<io::Error>,
}

/// As many lines are written with one call.
const BATCH_LINES: usize = 64;

fn write_lines<W: Write>(receiver: &Receiver<Message>, mut output: W) -> Written {
    let mut written = Written::default();
    let mut batch = Vec::with_capacity(BATCH_LINES);
    // Ends when all senders have.
    while let Ok(first) = receiver.recv() {
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
            next = if more { receiver.try_recv().ok() } else { None };
        }
        // A full batch says that more are waiting, and that flushing can wait too.
        let rest = batch.len() < BATCH_LINES || flush.is_some() || stop;
        if let Err(error) = write_batch(&mut output, &mut batch, &mut written.lines)
            .and_then(|()| if rest { output.flush() } else { Ok(()) })
        {
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

/// Empties `batch`, in as few calls as the output takes it, and counts what was written whole.
fn write_batch<W: Write>(output: &mut W, batch: &mut Vec<Queued>, lines: &mut u64) -> io::Result<()> {
    let mut written = 0;
    let result = write_vectored(output, batch, &mut written);
    let mut whole = 0;
    while whole < batch.len() && batch[whole].buf.len() <= written {
        written -= batch[whole].buf.len();
        whole += 1;
    }
    batch.drain(..whole).for_each(Queued::written);
    *lines += whole as u64;
    result
}

fn write_vectored<W: Write>(output: &mut W, batch: &[Queued], written: &mut usize) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); BATCH_LINES];
    for (slice, line) in slices.iter_mut().zip(batch) {
        *slice = IoSlice::new(&line.buf);
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
