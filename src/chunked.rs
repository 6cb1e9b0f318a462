//! A message that grows without moving a byte: a list of pooled buffers.
//!
//! A [`PooledBuf`](crate::PooledBuf) that outgrows its buffer copies what it holds. A large message that leaves by
//! `writev`, as a response body or as pieces of `Bytes` need not be in one piece, so here the next buffer follows the last
//! one. The chunk that is written to stands apart, as a plain `Vec`: an append is the one of a `Vec` until it is full.
#![allow(unsafe_code)]

use std::fmt;
use std::io::{self, IoSlice, Write};
use std::mem;
use std::sync::Arc;

use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut, Bytes};

use crate::buf::{PooledBuf, debug_bytes};
use crate::learn::usage::Use;
use crate::pool::Pool;
use crate::pool_ref::PoolRef;

/// A message in chunks, each a buffer borrowed from a [`Pool`]: it grows without moving what it holds.
///
/// Written through [`io::Write`], [`fmt::Write`], [`BufMut`], [`Extend`] or its own methods; read as [`chunks`](Self::chunks),
/// by [`write_to`](Self::write_to) with `write_vectored`, as a [`Buf`] by [`into_reader`](Self::into_reader), or as pieces of
/// [`Bytes`] by [`freeze`](Self::freeze). The first chunk has the pool's default size, each next one twice the size of the
/// last, up to 1 MiB (or up to the max size, if that is lower). Warm, up to 16 chunks cost no allocation.
///
/// A whole message is one call of the size class of its length. It is counted like a
/// [`get_with_capacity`](Pool::get_with_capacity), so it does not change the default size. In the statistics each chunk is a get
/// and a put.
///
/// For messages that fit a buffer most of the time a [`PooledBuf`] is faster, and simpler to hand on.
///
/// [`BufMut`]: https://docs.rs/bytes/1/bytes/buf/trait.BufMut.html
/// [`Buf`]: https://docs.rs/bytes/1/bytes/buf/trait.Buf.html
/// [`Bytes`]: https://docs.rs/bytes/1/bytes/struct.Bytes.html
///
/// # Examples
///
/// ```
/// use bytebufferpool::Pool;
/// use std::io::Write;
///
/// let pool = Pool::new();
/// let mut message = pool.get_chunked();
/// for line in 0..10_000 {
///     writeln!(message, "line {line}")?;
/// }
/// let mut out = Vec::new();
/// message.write_to(&mut out)?;
/// assert_eq!(out.len(), message.len());
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a message that is dropped at once was fetched for nothing"]
pub struct ChunkedBuf<P: PoolRef = &'static Pool> {
    /// The chunks before the last one, all of them full.
    full: List,
    /// The chunk that is written to; without a capacity before the first write.
    last: Vec<u8>,
    /// What `full` holds.
    full_len: usize,
    /// The greatest length before a `clear`; `None` once the use is counted.
    peak: Option<usize>,
    pool: P,
}

/// Chunks: the first of them in place, so that a list of them needs no memory.
struct List {
    few: [Vec<u8>; FEW],
    len: usize,
    more: Vec<Vec<u8>>,
}

/// With the one that is written to, 16.
const FEW: usize = 15;

/// No chunk is made larger than this, in bytes.
const CHUNK_SIZE_MAX: usize = 1 << 20;

impl List {
    const fn new() -> List {
        List { few: [const { Vec::new() }; FEW], len: 0, more: Vec::new() }
    }

    fn push(&mut self, chunk: Vec<u8>) {
        match self.few.get_mut(self.len) {
            Some(place) => *place = chunk,
            None => self.more.push(chunk),
        }
        self.len += 1;
    }

    fn get(&self, index: usize) -> Option<&Vec<u8>> {
        if index >= self.len { None } else { self.few.get(index).or_else(|| self.more.get(index - FEW)) }
    }

    /// Takes a chunk out and leaves nothing in its place.
    fn take(&mut self, index: usize) -> Vec<u8> {
        if index < FEW { mem::take(&mut self.few[index]) } else { mem::take(&mut self.more[index - FEW]) }
    }
}

impl Pool {
    /// An empty message that grows without moving what it holds; see [`ChunkedBuf`].
    ///
    /// Costs nothing before the first write.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = bytebufferpool::Pool::new();
    /// let mut message = pool.get_chunked();
    /// message.extend_from_slice(&[7; 1000]);
    /// assert_eq!(message.chunks().map(<[u8]>::len).sum::<usize>(), 1000);
    /// ```
    #[inline]
    pub fn get_chunked(&self) -> ChunkedBuf<&Pool> {
        ChunkedBuf::new(self)
    }

    /// [`get_chunked`](Pool::get_chunked) of a pool behind an `Arc`: `'static`, and it keeps its pool alive.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Arc::new(Pool::new());
    /// let mut message = pool.get_owned_chunked();
    /// std::thread::spawn(move || message.push(1)).join().unwrap();
    /// ```
    #[inline]
    pub fn get_owned_chunked(self: &Arc<Pool>) -> ChunkedBuf<Arc<Pool>> {
        ChunkedBuf::new(Arc::clone(self))
    }
}

impl<P: PoolRef> ChunkedBuf<P> {
    fn new(pool: P) -> ChunkedBuf<P> {
        ChunkedBuf { full: List::new(), last: Vec::new(), full_len: 0, peak: Some(0), pool }
    }

    /// How many bytes the message has. `O(1)`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut message = bytebufferpool::global().get_chunked();
    /// message.extend_from_slice(&[7; 100_000]);
    /// assert_eq!(message.len(), 100_000);
    /// ```
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.full_len + self.last.len()
    }

    /// Whether the message has no bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(bytebufferpool::global().get_chunked().is_empty());
    /// ```
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends `bytes`. One copy, and none of what is there.
    ///
    /// # Panics
    ///
    /// Memory exhaustion aborts, as with `Vec`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut message = bytebufferpool::global().get_chunked();
    /// message.extend_from_slice(b"hello");
    /// assert_eq!(message.chunks().next(), Some(&b"hello"[..]));
    /// ```
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        if bytes.len() > self.last.capacity() - self.last.len() {
            self.extend_over_chunks(bytes);
        } else {
            self.last.extend_from_slice(bytes);
        }
    }

    #[cold]
    fn extend_over_chunks(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.last.len() == self.last.capacity() {
                self.next_chunk();
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.last.capacity() - self.last.len()));
            self.last.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Begins another chunk.
    #[cold]
    fn next_chunk(&mut self) {
        let pool = self.pool.as_ref();
        let capacity = match self.last.capacity() {
            0 => pool.default_size(),
            last => {
                let first = self.full.get(0).map_or(last, Vec::capacity);
                (2 * last).min(first.max(CHUNK_SIZE_MAX.min(pool.max_size())))
            }
        };
        let full = mem::replace(&mut self.last, pool.op().get_or_abort(capacity));
        if full.capacity() > 0 {
            self.full_len += full.len();
            self.full.push(full);
        }
    }

    /// Appends one byte.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut message = bytebufferpool::global().get_chunked();
    /// message.push(b'\n');
    /// assert_eq!(message.len(), 1);
    /// ```
    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    /// Empties the message, and returns all its chunks but the first to the pool.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut message = bytebufferpool::global().get_chunked();
    /// message.extend_from_slice(&[7; 100_000]);
    /// message.clear();
    /// assert!(message.is_empty());
    /// ```
    pub fn clear(&mut self) {
        self.peak = self.peak.max(Some(self.len()));
        if self.full.len > 0 {
            let first = self.full.take(0);
            let last = mem::replace(&mut self.last, first);
            self.give_back(last, 0);
            for index in 1..self.full.len {
                let chunk = self.full.take(index);
                self.give_back(chunk, 0);
            }
            self.full.more.clear();
            self.full.len = 0;
            self.full_len = 0;
        }
        self.last.clear();
    }

    /// Returns a chunk to the pool; the use counts with `size` bytes, which is 0 but for one chunk of a message.
    fn give_back(&self, chunk: Vec<u8>, size: usize) {
        let written = chunk.len();
        self.pool.as_ref().op().finish(chunk, Use::asked(size), written);
    }

    /// The chunks in order, none of them empty.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut message = bytebufferpool::global().get_chunked();
    /// message.extend_from_slice(&[7; 100_000]);
    /// assert_eq!(message.chunks().map(<[u8]>::len).sum::<usize>(), 100_000);
    /// ```
    #[must_use]
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks { full: &self.full, last: &self.last, next: 0 }
    }

    fn chunk_at(&self, index: usize) -> &[u8] {
        self.full.get(index).unwrap_or(&self.last)
    }

    /// Writes the message to a writer that blocks, by `write_vectored` with up to 64 chunks a call.
    ///
    /// Partial writes are continued and `Interrupted` is retried; nothing is allocated.
    ///
    /// # Errors
    ///
    /// The writer's, and `WriteZero` if it takes nothing. How much was written is then unknown; for a writer that does not
    /// block advance a [reader](ChunkedBuf::into_reader) instead.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut message = bytebufferpool::global().get_chunked();
    /// message.extend_from_slice(b"hello");
    /// let mut out = Vec::new();
    /// message.write_to(&mut out)?;
    /// assert_eq!(out, b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_to<W: Write + ?Sized>(&self, writer: &mut W) -> io::Result<()> {
        let mut at = Position::default();
        while at.left(self) > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = at.fill(self, &mut slices);
            match writer.write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::WriteZero, "the writer takes no more of a message")),
                Ok(written) => at.advance(self, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A [`Buf`] over the message; [`Buf::reader`] makes a `Read` of it.
    ///
    /// [`Buf`]: https://docs.rs/bytes/1/bytes/buf/trait.Buf.html
    /// [`Buf::reader`]: https://docs.rs/bytes/1/bytes/buf/trait.Buf.html#method.reader
    ///
    /// # Examples
    ///
    /// ```
    /// use bytes::Buf;
    /// use std::io::Read;
    ///
    /// let mut message = bytebufferpool::global().get_chunked();
    /// message.extend_from_slice(b"hello");
    /// let mut text = String::new();
    /// message.into_reader().reader().read_to_string(&mut text)?;
    /// assert_eq!(text, "hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_reader(self) -> ChunkedReader<P> {
        ChunkedReader { message: self, at: Position::default() }
    }

    /// Appends the message to a buffer in one piece. One copy.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut message = bytebufferpool::global().get_chunked();
    /// message.extend_from_slice(b"hello");
    /// let mut buf = bytebufferpool::get();
    /// message.copy_to(&mut buf);
    /// assert_eq!(buf, b"hello");
    /// ```
    pub fn copy_to<Q: AsRef<Pool>>(&self, buf: &mut PooledBuf<Q>) {
        buf.make_room(self.len());
        self.chunks().for_each(|chunk| buf.extend_from_slice(chunk));
    }

    /// The message as pieces of [`Bytes`], one for each chunk and none of them empty, without a copy.
    ///
    /// One small allocation a chunk. Each chunk returns to the pool when the last clone of its piece is dropped; what is not
    /// taken from the iterator returns with it.
    ///
    /// [`Bytes`]: https://docs.rs/bytes/1/bytes/struct.Bytes.html
    ///
    /// # Examples
    ///
    /// ```
    /// let mut message = bytebufferpool::global().get_chunked();
    /// message.extend_from_slice(&[7; 100_000]);
    /// let pieces: Vec<bytes::Bytes> = message.freeze().collect();
    /// assert_eq!(pieces.iter().map(bytes::Bytes::len).sum::<usize>(), 100_000);
    /// ```
    pub fn freeze(self) -> FrozenChunks<P>
    where
        P: Send + 'static,
    {
        FrozenChunks { message: self, next: 0 }
    }

    /// The size with which the use counts; from now on it is counted, and its other chunks count with 0.
    fn take_size(&mut self) -> usize {
        self.peak.take().map_or(0, |peak| peak.max(self.len()))
    }
}

/// How many slices one call of `write_vectored` gets: a kilobyte of stack, and more than most systems' calls are quicker
/// for.
const SLICES_MAX: usize = 64;

impl<P: PoolRef> Drop for ChunkedBuf<P> {
    fn drop(&mut self) {
        let mut size = self.take_size();
        for index in 0..self.full.len {
            let chunk = self.full.take(index);
            if chunk.capacity() > 0 {
                self.give_back(chunk, mem::take(&mut size));
            }
        }
        let last = mem::take(&mut self.last);
        if last.capacity() > 0 {
            self.give_back(last, size);
        }
    }
}

/// The chunks of a message; see [`ChunkedBuf::chunks`].
#[derive(Clone)]
pub struct Chunks<'a> {
    full: &'a List,
    last: &'a Vec<u8>,
    next: usize,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let chunk: &[u8] = match self.full.get(self.next) {
            Some(chunk) => chunk,
            None if self.next == self.full.len && !self.last.is_empty() => self.last,
            None => return None,
        };
        self.next += 1;
        Some(chunk)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.full.len + usize::from(!self.last.is_empty())).saturating_sub(self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Chunks<'_> {}

impl fmt::Debug for Chunks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// How much of a message was read: whole chunks, and bytes of the next one.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    chunk: usize,
    offset: usize,
    read: usize,
}

impl Position {
    fn left<P: PoolRef>(self, message: &ChunkedBuf<P>) -> usize {
        message.len() - self.read
    }

    fn chunk<P: PoolRef>(self, message: &ChunkedBuf<P>) -> &[u8] {
        &message.chunk_at(self.chunk)[self.offset..]
    }

    /// What is left in slices, as far as there is room for them; how many.
    fn fill<'a, P: PoolRef>(self, message: &'a ChunkedBuf<P>, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        let mut at = self;
        while at.left(message) > 0 && count < slices.len() {
            let chunk = at.chunk(message);
            slices[count] = IoSlice::new(chunk);
            count += 1;
            at.advance(message, chunk.len());
        }
        count
    }

    fn advance<P: PoolRef>(&mut self, message: &ChunkedBuf<P>, count: usize) {
        assert!(count <= self.left(message), "advanced by {count} where {} bytes are left", self.left(message));
        let mut count = count;
        self.read += count;
        while count > 0 {
            let left = self.chunk(message).len();
            if count < left {
                self.offset += count;
                return;
            }
            count -= left;
            *self = Position { chunk: self.chunk + 1, offset: 0, read: self.read };
        }
    }
}

/// A message that is read: a [`Buf`]; see [`ChunkedBuf::into_reader`].
///
/// [`Buf::chunks_vectored`] gives as many chunks as there are slices for; after a writer has taken some of them
/// [`Buf::advance`] says how much. The chunks return to the pool when the reader ends.
///
/// [`Buf`]: https://docs.rs/bytes/1/bytes/buf/trait.Buf.html
/// [`Buf::chunks_vectored`]: https://docs.rs/bytes/1/bytes/buf/trait.Buf.html#method.chunks_vectored
/// [`Buf::advance`]: https://docs.rs/bytes/1/bytes/buf/trait.Buf.html#tymethod.advance
pub struct ChunkedReader<P: PoolRef = &'static Pool> {
    message: ChunkedBuf<P>,
    at: Position,
}

impl<P: PoolRef> Buf for ChunkedReader<P> {
    fn remaining(&self) -> usize {
        self.at.left(&self.message)
    }

    fn chunk(&self) -> &[u8] {
        if self.remaining() == 0 { &[] } else { self.at.chunk(&self.message) }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.at.fill(&self.message, slices)
    }

    fn advance(&mut self, count: usize) {
        self.at.advance(&self.message, count);
    }
}

impl<P: PoolRef> fmt::Debug for ChunkedReader<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkedReader").field("remaining", &self.remaining()).finish_non_exhaustive()
    }
}

/// The pieces of a frozen message; see [`ChunkedBuf::freeze`].
#[must_use = "the chunks that are not taken return to the pool"]
pub struct FrozenChunks<P: PoolRef = &'static Pool> {
    message: ChunkedBuf<P>,
    next: usize,
}

impl<P: PoolRef + Send + 'static> Iterator for FrozenChunks<P> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let message = &mut self.message;
        // The first piece carries the use of the whole message.
        let size = if self.next == 0 { message.take_size() } else { 0 };
        let chunk = if self.next < message.full.len {
            let chunk = message.full.take(self.next);
            message.full_len -= chunk.len();
            chunk
        } else if !message.last.is_empty() {
            mem::take(&mut message.last)
        } else {
            // An empty message: its use is counted where its chunk returns.
            message.peak = if self.next == 0 { Some(size) } else { None };
            return None;
        };
        self.next += 1;
        Some(Bytes::from_owner(FrozenChunk { chunk, usage: Use::asked(size), pool: message.pool.clone() }))
    }
}

impl<P: PoolRef> fmt::Debug for FrozenChunks<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrozenChunks").field("left", &self.message.len()).finish_non_exhaustive()
    }
}

struct FrozenChunk<P: PoolRef> {
    chunk: Vec<u8>,
    usage: Use,
    pool: P,
}

impl<P: PoolRef> AsRef<[u8]> for FrozenChunk<P> {
    fn as_ref(&self) -> &[u8] {
        &self.chunk
    }
}

impl<P: PoolRef> Drop for FrozenChunk<P> {
    fn drop(&mut self) {
        let chunk = mem::take(&mut self.chunk);
        let written = chunk.len();
        self.pool.as_ref().op().finish(chunk, self.usage, written);
    }
}

/// Never fails: there is always room, or the process is out of memory.
impl<P: PoolRef> Write for ChunkedBuf<P> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let before = self.len();
        slices.iter().for_each(|slice| self.extend_from_slice(slice));
        Ok(self.len() - before)
    }

    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<P: PoolRef> fmt::Write for ChunkedBuf<P> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

impl<P: PoolRef> Extend<u8> for ChunkedBuf<P> {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        bytes.into_iter().for_each(|byte| self.push(byte));
    }
}

impl<'a, P: PoolRef> Extend<&'a u8> for ChunkedBuf<P> {
    fn extend<I: IntoIterator<Item = &'a u8>>(&mut self, bytes: I) {
        self.extend(bytes.into_iter().copied());
    }
}

// SAFETY: the trait asks that `chunk_mut` gives memory that stays the same while no other method is called, and that the bytes
// which `advance_mut` adds are those written there. Both hold for the spare capacity of the last chunk: only `chunk_mut`
// begins another one, and only when it is full.
unsafe impl<P: PoolRef> BufMut for ChunkedBuf<P> {
    #[inline]
    fn remaining_mut(&self) -> usize {
        isize::MAX as usize - self.len()
    }

    #[inline]
    unsafe fn advance_mut(&mut self, count: usize) {
        let room = self.last.capacity() - self.last.len();
        assert!(count <= room, "advance_mut by {count} past the {room} bytes of room");
        // SAFETY: the new length is within the capacity (asserted above), and the caller promises that the `count` bytes
        // behind the old length are initialized.
        unsafe { self.last.set_len(self.last.len() + count) };
    }

    #[inline]
    fn chunk_mut(&mut self) -> &mut UninitSlice {
        if self.last.capacity() == self.last.len() {
            self.next_chunk();
        }
        self.last.spare_capacity_mut().into()
    }

    #[inline]
    fn put_slice(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn put_bytes(&mut self, byte: u8, count: usize) {
        let mut left = count;
        while left > 0 {
            if self.last.capacity() == self.last.len() {
                self.next_chunk();
            }
            let now = left.min(self.last.capacity() - self.last.len());
            self.last.resize(self.last.len() + now, byte);
            left -= now;
        }
    }
}

impl<P: PoolRef, Q: PoolRef> PartialEq<ChunkedBuf<Q>> for ChunkedBuf<P> {
    fn eq(&self, other: &ChunkedBuf<Q>) -> bool {
        self.len() == other.len() && self.chunks().flatten().eq(other.chunks().flatten())
    }
}

impl<P: PoolRef> Eq for ChunkedBuf<P> {}

/// As one byte string, `b"…"`.
impl<P: PoolRef> fmt::Debug for ChunkedBuf<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("b\"")?;
        self.chunks().try_for_each(|chunk| debug_bytes(chunk, f))?;
        f.write_str("\"")
    }
}
