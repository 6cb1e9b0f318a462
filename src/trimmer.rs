//! A thread that lets trim intervals pass in a pool that nobody uses.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::pool::Pool;
use crate::sync::{AtomicBool, Ordering};

impl Pool {
    /// Starts a thread that lets trim intervals pass in a pool that nobody uses. It ends with the [`Trimmer`].
    ///
    /// Every `interval` the thread looks whether a trim interval is over, and if so lets it pass, as uses do. A pool
    /// that is in use, at ten uses a second or more, needs no trimmer. This is for a pool that nobody uses after a
    /// burst. What is cached is then freed two to three intervals after its last use (the longer of `interval` and
    /// [`Builder::trim_interval`](crate::Builder::trim_interval)).
    ///
    /// It costs a thread, the thread's part of the pool (6 KiB), and a wake-up per interval, at which a trim takes
    /// about 0.5 µs and the frees. Other threads' small caches (up to
    /// [`Builder::thread_cache_bytes_max`](crate::Builder::thread_cache_bytes_max) each) are out of its reach; they are
    /// freed at their threads' next operation, end or [`flush_thread`](Pool::flush_thread).
    ///
    /// Do without it if the pool is used all the time; if there is a timer already, as in an async runtime (call
    /// [`trim`](Pool::trim) from it); if wake-ups cost, as on batteries; and before a `fork`. On
    /// `wasm32-unknown-unknown` there are no threads and no clock.
    ///
    /// # Errors
    ///
    /// When the system gives no thread, or `interval` is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    /// use std::time::Duration;
    ///
    /// static LINES: Pool = Pool::new();
    ///
    /// let trimmer = LINES.spawn_trimmer(Duration::from_secs(1))?;
    /// // … the program's work …
    /// drop(trimmer);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn spawn_trimmer(&'static self, interval: Duration) -> io::Result<Trimmer> {
        Trimmer::spawn(interval, move || {
            self.trim_if_due();
            true
        })
    }

    /// [`spawn_trimmer`](Pool::spawn_trimmer) for a pool behind an `Arc`.
    ///
    /// It does not keep the pool alive. Once the pool is dropped the thread ends by itself.
    ///
    /// # Errors
    ///
    /// When the system gives no thread, or `interval` is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// let pool = Arc::new(Pool::new());
    /// let trimmer = pool.spawn_trimmer_owned(Duration::from_secs(1))?;
    /// // … the program's work …
    /// drop(trimmer);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn spawn_trimmer_owned(self: &Arc<Pool>, interval: Duration) -> io::Result<Trimmer> {
        let pool = Arc::downgrade(self);
        Trimmer::spawn(interval, move || pool.upgrade().map(|pool| pool.trim_if_due()).is_some())
    }
}

/// The thread of [`Pool::spawn_trimmer`]; its drop stops the thread at once and waits for it.
#[must_use = "the trimmer ends when this is dropped; keep it as long as the pool is to be trimmed"]
pub struct Trimmer {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Trimmer {
    #[inline]
    fn spawn(interval: Duration, mut pass: impl FnMut() -> bool + Send + 'static) -> io::Result<Trimmer> {
        if interval.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a trimmer's interval must be above zero"));
        }
        let stopped = Arc::new(AtomicBool::new(false));
        let body = {
            let stopped = Arc::clone(&stopped);
            // Relaxed: `park_timeout` sees what was written before `unpark`. If it returns early, nothing is due yet.
            move || loop {
                thread::park_timeout(interval);
                if stopped.load(Ordering::Relaxed) || !pass() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("bytebufferpool-trimmer".to_owned()).spawn(body)?;
        Ok(Trimmer { stopped, thread: Some(thread) })
    }
}

impl Drop for Trimmer {
    #[inline]
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread runs no user code, so there is no panic to pass on.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Trimmer {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trimmer").finish_non_exhaustive()
    }
}
