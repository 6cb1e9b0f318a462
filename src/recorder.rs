//! Recording: the sizes of a pool's real uses, one decimal number per line, for a tuner to replay.
//!
//! While a pool records, each thread's counters are due at every call, so that every use takes the path that merges them
//! and is noted there. A pool that does not record thus pays nothing: the hot path has the compare anyway. Threads
//! come to know by the stamp, as of any other change.
//!
//! A use appends to one of a few buffers, each behind a lock that threads seldom share; a full buffer goes to a thread
//! that formats and writes. Nobody waits for the disk: when the writer is too far behind, a buffer is thrown away and
//! its uses are counted as lost. Refused: buffers in thread-locals, whose destructors would come before or after the
//! last use; and a callback per use, which would be user code in every drop.

use std::fmt;
use std::io::{self, Write};
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::pool::Pool;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering, Padded, lock};

/// What of a pool is there once it was ever recorded.
#[derive(Debug)]
pub(crate) struct Recorder {
    records: AtomicBool,
    stripes: [Padded<Mutex<Option<Stripe>>>; STRIPES],
    lost: AtomicU64,
}

#[derive(Debug)]
struct Stripe {
    sizes: Vec<usize>,
    full: SyncSender<Vec<usize>>,
}

const STRIPES: usize = 8;
/// 32 KiB, a few tens of microseconds to format.
const CHUNK_SIZES: usize = 4096;
/// 2 MiB may wait for the writer.
const CHUNKS_WAITING_MAX: usize = 64;

impl Recorder {
    pub(crate) fn new() -> Recorder {
        Recorder {
            records: AtomicBool::new(false),
            stripes: std::array::from_fn(|_| Padded(Mutex::new(None))),
            lost: AtomicU64::new(0),
        }
    }

    pub(crate) fn records(&self) -> bool {
        // Relaxed: the stripe's lock orders the rest.
        self.records.load(Ordering::Relaxed)
    }

    /// Notes a use of `size` bytes; `place` tells threads apart.
    pub(crate) fn note(&self, size: usize, place: usize) {
        let mut stripe = lock(&self.stripes[place % STRIPES]);
        let Some(stripe) = stripe.as_mut() else { return };
        stripe.sizes.push(size);
        if stripe.sizes.len() == CHUNK_SIZES {
            let chunk = mem::replace(&mut stripe.sizes, Vec::with_capacity(CHUNK_SIZES));
            self.count_lost(stripe.full.try_send(chunk).is_err(), CHUNK_SIZES);
        }
    }

    fn count_lost(&self, lost: bool, sizes: usize) {
        if lost {
            self.lost.fetch_add(sizes as u64, Ordering::Relaxed);
        }
    }

    fn start(&self, full: &SyncSender<Vec<usize>>) {
        self.lost.store(0, Ordering::Relaxed);
        for stripe in &self.stripes {
            *lock(stripe) = Some(Stripe { sizes: Vec::new(), full: full.clone() });
        }
    }

    fn stop(&self) {
        for stripe in &self.stripes {
            let stripe = lock(stripe).take();
            if let Some(Stripe { sizes, full }) = stripe {
                let count = sizes.len();
                self.count_lost(full.send(sizes).is_err(), count);
            }
        }
    }
}

impl Pool {
    /// Records the size of every use to `writer` from now on, one decimal number of bytes per line, until the
    /// [`Recording`] is finished or dropped. This is what the tuner reads.
    ///
    /// A use is written when it ends, with the size that the pool itself learns from: the largest length that the buffer
    /// had, or the capacity that was asked for if that is more. Uses that neither asked for nor held anything are left
    /// out. Within a thread the order is that of the uses; threads alternate in runs of up to some thousand.
    ///
    /// A use costs some tens of nanoseconds more while the pool records, and nothing when it does not. A thread of its
    /// own writes, in buffered pieces; a use never waits for it. If it falls behind by some hundred thousand uses, the
    /// next ones are lost, and [`Recorded::lost`] says how many.
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
        let recorder = Arc::clone(self.recorder());
        if recorder.records.swap(true, Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the pool is being recorded already"));
        }
        let (full, chunks) = sync_channel(CHUNKS_WAITING_MAX);
        let body = move || write(writer, &chunks);
        let thread = match thread::Builder::new().name("bytebufferpool-recorder".to_owned()).spawn(body) {
            Ok(thread) => thread,
            Err(error) => {
                recorder.records.store(false, Ordering::Relaxed);
                return Err(error);
            }
        };
        recorder.start(&full);
        self.renew_stamp();
        Ok(Recording { recorder, thread: Some(thread) })
    }
}

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

/// A pool that is being recorded; see [`Pool::record`]. Its drop ends the recording, waits until all is written, and
/// ignores errors.
#[must_use = "the recording ends when this is dropped; `finish` says whether all could be written"]
pub struct Recording {
    recorder: Arc<Recorder>,
    thread: Option<JoinHandle<io::Result<u64>>>,
}

/// What a [`Recording`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// Uses that were written.
    pub written: u64,
    /// Uses that were not, as the writer could not keep up.
    pub lost: u64,
}

impl Recording {
    /// Ends the recording; waits until all is written and flushed.
    ///
    /// # Errors
    ///
    /// The writer's first error, with which the recording ended early; or that it panicked.
    pub fn finish(mut self) -> io::Result<Recorded> {
        let written = self.end()?;
        Ok(Recorded { written, lost: self.recorder.lost.load(Ordering::Relaxed) })
    }

    fn end(&mut self) -> io::Result<u64> {
        let Some(thread) = self.thread.take() else { return Ok(0) };
        self.recorder.stop();
        let written = thread.join().unwrap_or_else(|_| Err(io::Error::other("the writer of a recording panicked")));
        self.recorder.records.store(false, Ordering::Relaxed);
        written
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").finish_non_exhaustive()
    }
}
