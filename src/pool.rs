//! The pool: what its users call.

use std::collections::TryReserveError;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::buf::PooledBuf;
use crate::builder::{Builder, Config};
use crate::locked::Locked;
use crate::stats::Stats;
use crate::usage::{Mark, Use};

/// A pool of byte buffers in power-of-two size classes that learns its sizes.
pub struct Pool {
    locked: Mutex<Locked>,
}

impl UnwindSafe for Pool {}
impl RefUnwindSafe for Pool {}

impl Pool {
    /// A pool with the default configuration.
    #[must_use]
    pub const fn new() -> Pool {
        Pool::with_config(Config::DEFAULT)
    }

    /// A pool with another configuration; see [`Builder`].
    pub const fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) const fn with_config(config: Config) -> Pool {
        Pool { locked: Mutex::new(Locked::new(config)) }
    }

    fn lock(&self) -> MutexGuard<'_, Locked> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty buffer with at least [`default_size`](Pool::default_size) bytes of room.
    pub fn get(&self) -> PooledBuf<&Pool> {
        PooledBuf::new(self.take(None), Mark::PLAIN, self)
    }

    /// An empty buffer with room for at least `capacity` bytes.
    pub fn get_with_capacity(&self, capacity: usize) -> PooledBuf<&Pool> {
        PooledBuf::new(self.take(Some(capacity)), Mark::asked(capacity), self)
    }

    /// An empty buffer with room for at least `capacity` bytes, or an error.
    pub fn try_get_with_capacity(&self, capacity: usize) -> Result<PooledBuf<&Pool>, TryReserveError> {
        let vec = self.lock().get_with_capacity(capacity)?;
        Ok(PooledBuf::new(vec, Mark::asked(capacity), self))
    }

    /// `get`, with a guard that keeps the pool alive instead of borrowing it.
    pub fn get_owned(self: &Arc<Pool>) -> PooledBuf<Arc<Pool>> {
        PooledBuf::new(self.take(None), Mark::PLAIN, Arc::clone(self))
    }

    /// `get_with_capacity`, with a guard that keeps the pool alive instead of borrowing it.
    pub fn get_owned_with_capacity(self: &Arc<Pool>, capacity: usize) -> PooledBuf<Arc<Pool>> {
        PooledBuf::new(self.take(Some(capacity)), Mark::asked(capacity), Arc::clone(self))
    }

    /// `try_get_with_capacity`, with a guard that keeps the pool alive instead of borrowing it.
    pub fn try_get_owned_with_capacity(
        self: &Arc<Pool>,
        capacity: usize,
    ) -> Result<PooledBuf<Arc<Pool>>, TryReserveError> {
        let vec = self.lock().get_with_capacity(capacity)?;
        Ok(PooledBuf::new(vec, Mark::asked(capacity), Arc::clone(self)))
    }

    /// Donates a `Vec`: counted by its length, kept if it fits.
    pub fn put(&self, buffer: Vec<u8>) {
        self.lock().put(buffer);
    }

    /// Allocates up to `count` idle buffers of at least `capacity` bytes; returns how many the budget took.
    pub fn prefill(&self, capacity: usize, count: usize) -> usize {
        self.lock().prefill(capacity, count)
    }

    /// The least room of a plain `get`, in bytes.
    #[must_use]
    pub fn default_size(&self) -> usize {
        self.lock().sizes().default_size()
    }

    /// The ceiling in bytes.
    #[must_use]
    pub fn max_size(&self) -> usize {
        self.lock().sizes().max_size()
    }

    /// Recalibrates now.
    pub fn calibrate(&self) {
        self.lock().calibrate();
    }

    /// One trim interval passes; returns the bytes that this call freed.
    pub fn trim(&self) -> usize {
        self.lock().trim()
    }

    /// Frees everything idle that this thread can reach; returns the bytes freed.
    pub fn purge(&self) -> usize {
        self.lock().purge()
    }

    /// Gives this thread's cache to the shared part.
    pub fn flush_thread(&self) {}

    /// The books.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.lock().stats()
    }

    fn take(&self, capacity: Option<usize>) -> Vec<u8> {
        let mut locked = self.lock();
        let capacity = capacity.unwrap_or_else(|| locked.sizes().default_size());
        match locked.get_with_capacity(capacity) {
            Ok(vec) => vec,
            Err(_) => panic!("capacity overflow"),
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn grow(&self, vec: &mut Vec<u8>, additional: usize) {
        if self.try_grow(vec, additional).is_err() {
            // Fails again, the way a `Vec` does: a panic on overflow, the process's handler on exhaustion.
            vec.reserve(additional);
        }
    }

    pub(crate) fn try_grow(&self, vec: &mut Vec<u8>, additional: usize) -> Result<(), TryReserveError> {
        self.lock().grow(vec, additional)
    }

    pub(crate) fn finish(&self, vec: Vec<u8>, mark: Mark) {
        if mark != Mark::ENDED {
            let usage = mark.finish(vec.len());
            self.lock().finish(vec, usage);
        }
    }

    pub(crate) fn detach(&self, mark: Mark, len: usize) {
        self.lock().detach(mark.finish(len));
    }

    pub(crate) fn discard(&self, vec: Vec<u8>, mark: Mark) {
        let usage: Use = mark.finish(vec.len());
        drop(vec);
        self.lock().discard(usage);
    }
}

impl Default for Pool {
    fn default() -> Pool {
        Pool::new()
    }
}

impl AsRef<Pool> for Pool {
    fn as_ref(&self) -> &Pool {
        self
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("default_size", &self.default_size())
            .field("max_size", &self.max_size())
            .finish_non_exhaustive()
    }
}
