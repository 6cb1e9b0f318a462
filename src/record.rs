//! Recording the sizes of a pool's uses: what users call. What threads share meanwhile is in `recorder.rs`.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::pool::Pool;
use crate::recorder::{CHUNKS_WAITING_MAX, Recorder};

impl Pool {
    /// Records the size of every use to `writer`, one decimal number of bytes per line: the input of the tuner.
    ///
    /// Recording begins now and ends when the [`Recording`] is finished or dropped. A use is written when it ends, with
    /// the size that the pool itself learns from: the largest length that the buffer had, that was reserved, or that
    /// was asked for. Uses that neither asked for nor held anything are left out. Within a thread the order is that of
    /// the uses; threads alternate in runs of up to some thousand.
    ///
    /// A use costs some tens of nanoseconds more while the pool records, and nothing when it does not. A thread of its
    /// own writes, in buffered pieces, and a use never waits for it. If it falls behind by some hundred thousand uses,
    /// the next ones are lost, and [`Recorded::lost`] says how many.
    ///
    /// # Errors
    ///
    /// When the pool is being recorded already (`AlreadyExists`), or the system gives no thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::new();
    /// # let path = std::env::temp_dir().join(format!("bytebufferpool-record-{}", std::process::id()));
    /// let recording = pool.record(std::fs::File::create(&path)?)?;
    /// for len in [100, 2000, 30] {
    ///     pool.get().resize(len, 0);
    /// }
    /// assert_eq!(recording.finish()?.written, 3);
    /// assert_eq!(std::fs::read_to_string(&path)?, "100\n2000\n30\n");
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn record<W: Write + Send + 'static>(&self, writer: W) -> io::Result<Recording> {
        let recorder = self.recorder();
        if !recorder.open() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the pool is being recorded already"));
        }
        let (full, chunks) = sync_channel(CHUNKS_WAITING_MAX);
        let body = move || write(writer, &chunks);
        let thread = match thread::Builder::new().name("bytebufferpool-recorder".to_owned()).spawn(body) {
            Ok(thread) => thread,
            Err(error) => {
                recorder.close();
                return Err(error);
            }
        };
        self.start_recording(&*recorder, &full);
        Ok(Recording { recorder, thread: Some(thread) })
    }

    /// From now on uses go to `full`; `recorder`, the pool's own, is open.
    #[inline]
    pub(crate) fn start_recording(&self, recorder: &dyn Recorder, full: &SyncSender<Vec<usize>>) {
        recorder.start(full);
        // Last: a thread that sees the new stamp records its uses. Model:
        // loom_tests::recorder::who_sees_the_stamp_is_recorded.
        self.renew_stamp();
    }
}

#[inline]
fn write(writer: impl Write, chunks: &Receiver<Vec<usize>>) -> io::Result<u64> {
    let mut writer = io::BufWriter::with_capacity(64 << 10, writer);
    let mut written = 0;
    for chunk in chunks {
        for size in &chunk {
            writeln!(writer, "{size}")?;
        }
        written += chunk.len() as u64;
    }
    writer.flush()?;
    Ok(written)
}

/// A recording in progress; see [`Pool::record`].
///
/// Its drop ends the recording, waits until everything is written, and ignores errors.
#[must_use = "the recording ends when this is dropped; `finish` says whether all could be written"]
pub struct Recording {
    recorder: Arc<dyn Recorder>,
    thread: Option<JoinHandle<io::Result<u64>>>,
}

/// How much a [`Recording`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// Uses that were written.
    pub written: u64,
    /// Uses that were not written, because the writer could not keep up.
    pub lost: u64,
}

impl Recording {
    /// Ends the recording, and waits until everything is written and flushed.
    ///
    /// # Errors
    ///
    /// The writer's first error, with which the recording ended early; or that it panicked.
    ///
    /// # Examples
    ///
    /// See [`Pool::record`].
    #[inline]
    pub fn finish(mut self) -> io::Result<Recorded> {
        self.end()
    }

    #[inline]
    fn end(&mut self) -> io::Result<Recorded> {
        let Some(thread) = self.thread.take() else { return Ok(Recorded { written: 0, lost: 0 }) };
        let lost = self.recorder.stop();
        let written = thread.join().unwrap_or_else(|_| Err(io::Error::other("the writer of a recording panicked")));
        self.recorder.close();
        Ok(Recorded { written: written?, lost })
    }
}

impl Drop for Recording {
    #[inline]
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl fmt::Debug for Recording {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").finish_non_exhaustive()
    }
}
