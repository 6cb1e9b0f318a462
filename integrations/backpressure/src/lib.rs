//! Bounded memory in flight: a pool where a get waits while too many bytes are in use.
//!
//! A [`Pool`] bounds what is cached, never what is in use. [`BoundedPool`] adds a tokio [`Semaphore`] with one permit a byte.
//! A get acquires the permits for the message's maximum before it gets a buffer. They are released after the buffer has been
//! returned: by the guard, or by the last clone of the frozen bytes.
//!
//! A guard never asks for more permits. Two guards that both wait for what the other one holds would wait for ever, so a
//! write past the maximum is an error instead.
//!
//! Why `tokio::sync::Semaphore`: it has weighted permits (async-lock's has not), is first come, first served, and needs no
//! runtime, so that a blocking get is `block_on` around the same future. `block_on` is futures-lite's, which allocates
//! nothing once a thread has used it (pollster allocates a waker each call), and may be nested.
#![warn(missing_docs)]

use std::io::{self, Write};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bytebufferpool::{MAX_CLASS_SIZE, MIN_CLASS_SIZE, OwnedBuf, Pool};
use bytes::{BufMut, Bytes};
use futures_lite::future::block_on;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[cfg(doctest)]
#[doc = include_str!("../../../docs/cookbook/backpressure.md")]
struct Backpressure;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/cookbook/bytesmut.md")]
struct BytesMut;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/cookbook/recipes.md")]
struct Recipes;

/// A pool whose buffers in use never have more than a stated number of bytes together. Clones share the bound.
#[derive(Clone, Debug)]
pub struct BoundedPool {
    pool: Arc<Pool>,
    permits: Arc<Semaphore>,
    in_flight_bytes_max: usize,
}

impl BoundedPool {
    /// Bounds the bytes in use at `in_flight_bytes_max`, at most `usize::MAX / 8`.
    ///
    /// Only what is taken through this `BoundedPool` and its clones is counted. What the pool caches is bounded by its own
    /// `retained_bytes_max` and comes on top.
    pub fn new(pool: Arc<Pool>, in_flight_bytes_max: usize) -> BoundedPool {
        let in_flight_bytes_max = in_flight_bytes_max.min(Semaphore::MAX_PERMITS);
        BoundedPool { pool, permits: Arc::new(Semaphore::new(in_flight_bytes_max)), in_flight_bytes_max }
    }

    /// A guard for a message of at most `bytes_max`; waits until so many bytes are free.
    ///
    /// What counts is the buffer's capacity: `bytes_max` rounded up to a power of two, at least 64. Waiting is first come,
    /// first served: a large message is not overtaken by small ones. Dropping the future gives up the place and takes
    /// nothing.
    ///
    /// Do not wait for a second guard while the same task holds one: nobody may be left to release what it waits for.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the message could never fit, and `OutOfMemory`. Nothing is taken then.
    pub async fn get(&self, bytes_max: usize) -> io::Result<BoundedBuf> {
        let capacity = capacity_of(bytes_max);
        let permits = u32::try_from(capacity).ok().filter(|_| capacity <= self.in_flight_bytes_max);
        let permits = permits.ok_or_else(|| self.never_fits(bytes_max))?;
        let acquired = Arc::clone(&self.permits).acquire_many_owned(permits).await;
        let permit = acquired.expect("nobody closes the semaphore");
        let mut buf = self.pool.try_get_owned_with_capacity(bytes_max)?;
        if buf.capacity() > capacity {
            // A cached buffer of up to four times the size: the permits are for its size class alone.
            buf.as_vec_mut().shrink_to(capacity);
        }
        Ok(BoundedBuf { buf, bytes_max, _permit: permit })
    }

    /// As [`get`](BoundedPool::get), but blocks the thread. Not for async code: the task that would release the bytes
    /// may need this thread.
    ///
    /// # Errors
    ///
    /// As `get`.
    pub fn get_blocking(&self, bytes_max: usize) -> io::Result<BoundedBuf> {
        block_on(self.get(bytes_max))
    }

    /// How many bytes are in use, or set aside for the one that has waited longest. For metrics.
    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes_max - self.permits.available_permits()
    }

    fn never_fits(&self, bytes_max: usize) -> io::Error {
        let what = format!("a message of {bytes_max} bytes, and {} may be in flight", self.in_flight_bytes_max);
        io::Error::new(io::ErrorKind::InvalidInput, what)
    }
}

/// A pooled buffer with the permits for its capacity. It reads as `[u8]` and never grows.
///
/// Dropping it, on any thread and while unwinding, returns the buffer and then releases the permits.
///
/// [`Write`] appends all of a slice, or nothing and an error of kind `StorageFull`. What was written before stays: after a
/// failed `write!` that may be its first pieces.
#[derive(Debug)]
#[must_use = "a buffer that is dropped at once was waited for in vain"]
pub struct BoundedBuf {
    // The order of the fields is the order of drops: the buffer first. Else another get could have its bytes while this
    // buffer is still in use.
    buf: OwnedBuf,
    bytes_max: usize,
    _permit: OwnedSemaphorePermit,
}

impl BoundedBuf {
    /// Shortens the contents to `len` bytes; does nothing if they are shorter.
    pub fn truncate(&mut self, len: usize) {
        self.buf.truncate(len);
    }

    /// The guard as a [`BufMut`] that ends at the maximum: `remaining_mut` says how much room is left.
    ///
    /// # Panics
    ///
    /// The methods of the view, as those of any `BufMut`, when what they put does not fit: check `remaining_mut` first.
    /// What the guard held stays.
    pub fn buf_mut(&mut self) -> impl BufMut + '_ {
        // An opaque type: `Limit` itself would hand out the guard inside, which grows.
        let room = self.bytes_max - self.buf.len();
        (&mut self.buf).limit(room)
    }

    /// Makes the contents immutable and shareable. No copy, one small allocation.
    ///
    /// The buffer and its permits are held until the last clone or slice is dropped.
    #[must_use = "consider `drop` to return the buffer"]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Write for BoundedBuf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.bytes_max - self.buf.len();
        if bytes.len() > room {
            let what = format!("{} bytes more, and {room} of {} are left", bytes.len(), self.bytes_max);
            return Err(io::Error::new(io::ErrorKind::StorageFull, what));
        }
        self.buf.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Deref for BoundedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buf
    }
}

impl DerefMut for BoundedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buf
    }
}

impl AsRef<[u8]> for BoundedBuf {
    fn as_ref(&self) -> &[u8] {
        &self.buf
    }
}

/// The capacity of a new buffer for `bytes_max`: its size class, or exactly that above the largest class.
fn capacity_of(bytes_max: usize) -> usize {
    if bytes_max > MAX_CLASS_SIZE { bytes_max } else { bytes_max.max(MIN_CLASS_SIZE).next_power_of_two() }
}
