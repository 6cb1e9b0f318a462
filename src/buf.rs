//! The guard: a borrowed buffer.
//!
//! The `Vec` is inline in the guard, not behind a pointer to the pool's slot: that would cost 1 ns per append. Writing
//! through the guard never reallocates. What no longer fits moves to a larger buffer of the pool, and the smaller one
//! is returned at once, so that no size class loses its buffers to the classes above it. [`PooledBuf::as_vec_mut`] is
//! the one way for code that wants a `Vec`.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::TryReserveError;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::mem::{self, ManuallyDrop, MaybeUninit};
use std::ops::{Deref, DerefMut, RangeBounds};
use std::str::Utf8Error;

use bytes::Bytes;

use crate::class::MAX_CLASS_SIZE;
use crate::leak_trace::Ticket;
use crate::learn::usage::Peak;
use crate::pool::Pool;
use crate::pool_ref::PoolRef;
use crate::storage::RawBuf;

/// A byte buffer borrowed from a [`Pool`]; dropping it returns the buffer.
///
/// It reads as `[u8]` and is written through [`io::Write`], [`fmt::Write`], [`Extend`], [`bytes::BufMut`] or its own
/// methods. `write!` needs one of the two `Write` traits in scope, and is ambiguous with both. All of them grow through the
/// pool: a write that does not fit takes a larger buffer, copies, and returns the smaller one.
///
/// `P` is how the guard refers to its pool: `&Pool`, or `Arc<Pool>` for a guard without a lifetime. A guard of `&Pool` that
/// must go to a spawned thread or task needs a `static` pool, or [`Pool::get_owned`]. The guard is `Send` and `Sync` where
/// `P` is, and may be dropped on any thread, while unwinding, and inside a thread-local's destructor.
///
/// The contents of the spare capacity are unspecified, and no safe method reads them.
///
/// [`bytes::BufMut`]: https://docs.rs/bytes/1/bytes/buf/trait.BufMut.html
///
/// # Examples
///
/// ```
/// use bytebufferpool::Pool;
/// use std::io::Write;
///
/// let pool = Pool::new();
/// let mut buf = pool.get();
/// write!(buf, "{}-{}", "id", 7)?;
/// buf.push(b'\n');
/// assert_eq!(buf, *b"id-7\n");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A guard does not outlive its pool; a guard of [`Pool::get_owned`] keeps the pool alive instead:
///
/// ```compile_fail,E0505
/// use bytebufferpool::Pool;
///
/// let pool = Pool::new();
/// let buf = pool.get();
/// drop(pool);
/// drop(buf);
/// ```
///
/// ```
/// use bytebufferpool::Pool;
/// use std::sync::Arc;
///
/// let pool = Arc::new(Pool::new());
/// let buf = pool.get_owned();
/// drop(pool);
/// drop(buf);
/// ```
///
/// A returned buffer cannot be read, neither through the guard nor through a slice of it:
///
/// ```compile_fail,E0382
/// let buf = bytebufferpool::get();
/// drop(buf);
/// assert!(buf.is_empty());
/// ```
///
/// ```compile_fail,E0505
/// let buf = bytebufferpool::get();
/// let slice = buf.as_slice();
/// drop(buf);
/// assert!(slice.is_empty());
/// ```
///
/// ```
/// let buf = bytebufferpool::get();
/// let slice = buf.as_slice();
/// assert!(slice.is_empty());
/// drop(buf);
/// ```
///
/// A guard that borrows its pool can be sent to threads that end before the pool does. It can be frozen only if the
/// pool is a `static` or behind an `Arc`:
///
/// ```compile_fail,E0597
/// use bytebufferpool::Pool;
///
/// let pool = Pool::new();
/// let buf = pool.get();
/// std::thread::spawn(move || drop(buf)).join().unwrap();
/// ```
///
/// ```compile_fail,E0597
/// use bytebufferpool::Pool;
///
/// let pool = Pool::new();
/// let frozen = pool.get().freeze();
/// ```
///
/// ```
/// use bytebufferpool::Pool;
///
/// static POOL: Pool = Pool::new();
/// let (buf, frozen) = (POOL.get(), POOL.get().freeze());
/// std::thread::spawn(move || drop((buf, frozen))).join().unwrap();
///
/// let pool = Pool::new();
/// let buf = pool.get();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(buf));
/// });
/// ```
#[must_use = "a buffer that is dropped at once was fetched for nothing; consider `prefill` to warm a pool up"]
pub struct PooledBuf<P: AsRef<Pool> = &'static Pool> {
    /// Taken by whatever ends the guard. It has no drop of its own, which would check its capacity every time.
    vec: ManuallyDrop<Vec<u8>>,
    peak: Peak,
    trace: Ticket,
    pool: P,
}

impl<P: AsRef<Pool>> PooledBuf<P> {
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub(crate) fn new(vec: Vec<u8>, peak: Peak, pool: P) -> PooledBuf<P> {
        debug_assert!(vec.is_empty());
        PooledBuf { vec: ManuallyDrop::new(vec), peak, trace: pool.as_ref().begin_trace(), pool }
    }

    /// The buffer itself, for trait implementations that only append within the capacity.
    #[inline]
    pub(crate) fn inner_mut(&mut self) -> &mut Vec<u8> {
        &mut self.vec
    }

    /// How many bytes the buffer holds before it grows.
    ///
    /// # Examples
    ///
    /// ```
    /// let buf = bytebufferpool::global().get_with_capacity(1000);
    /// assert!(buf.capacity() >= 1000);
    /// ```
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.vec.capacity()
    }

    /// The contents. `O(1)`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// buf.push_str("ab");
    /// assert_eq!(buf.as_slice(), b"ab");
    /// ```
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.vec
    }

    /// The contents as text. `O(n)`: checks that they are UTF-8.
    ///
    /// # Errors
    ///
    /// When the contents are not UTF-8.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// buf.push_str("grün");
    /// assert_eq!(buf.as_str(), Ok("grün"));
    /// buf.truncate(3);
    /// assert!(buf.as_str().is_err());
    /// ```
    pub fn as_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.vec)
    }

    /// Empties the buffer; the capacity stays. `O(1)`.
    ///
    /// The length until now still counts as the size of the use.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// buf.push(1);
    /// buf.clear();
    /// assert!(buf.is_empty());
    /// ```
    #[inline]
    pub fn clear(&mut self) {
        self.peak.raise(self.vec.len());
        self.vec.clear();
    }

    /// Shortens the contents to `len` bytes; does nothing if they are shorter. `O(1)`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// buf.push_str("line\r\n");
    /// buf.truncate(4);
    /// assert_eq!(buf, *b"line");
    /// ```
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.peak.raise(self.vec.len());
        self.vec.truncate(len);
    }

    /// Appends `bytes`. One copy; if they do not fit, the buffer grows first (a second copy).
    ///
    /// # Panics
    ///
    /// When the length would overflow `isize::MAX`. Memory exhaustion aborts, as with `Vec`; see
    /// [`try_reserve`](PooledBuf::try_reserve).
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// buf.extend_from_slice(&[7; 100_000]);
    /// assert_eq!(buf.len(), 100_000);
    /// ```
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        // Not `reserve` and then the rest: after a growth the compiler does not know that there is room.
        if bytes.len() > self.vec.capacity() - self.vec.len() {
            self.grow_and_extend(bytes);
        } else {
            self.vec.extend_from_slice(bytes);
        }
    }

    /// Appends a copy of the range `src` of the contents. One copy; a second one if the buffer grows.
    ///
    /// # Panics
    ///
    /// When the range is not within the contents.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// buf.push_str("ab");
    /// buf.extend_from_within(..1);
    /// assert_eq!(buf, *b"aba");
    /// ```
    pub fn extend_from_within<R: RangeBounds<usize>>(&mut self, src: R) {
        let range = range_within(src, self.vec.len());
        self.make_room(range.len());
        self.vec.extend_from_within(range);
    }

    /// Appends one byte.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// buf.push(b'\n');
    /// assert_eq!(buf, *b"\n");
    /// ```
    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    /// Appends text.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// buf.push_str("text");
    /// assert_eq!(buf, *b"text");
    /// ```
    #[inline]
    pub fn push_str(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }

    /// Makes room for at least `additional` more bytes.
    ///
    /// The pool learns from it: the use counts with at least the length that was reserved, even if that room was there
    /// already or is not filled. So `get` learns to give that room. The use does not become one with an explicit
    /// capacity. Costs a copy if the buffer grows.
    ///
    /// # Panics
    ///
    /// When the length would overflow `isize::MAX`; see [`try_reserve`](PooledBuf::try_reserve).
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// buf.reserve(1000);
    /// assert!(buf.capacity() >= 1000);
    /// ```
    #[inline]
    pub fn reserve(&mut self, additional: usize) {
        self.make_room(additional);
        self.peak.reserve(self.vec.len() + additional);
    }

    /// `reserve`, from which the pool learns nothing.
    #[inline]
    pub(crate) fn make_room(&mut self, additional: usize) {
        if additional > self.vec.capacity() - self.vec.len() {
            self.grow(additional);
        }
    }

    /// Moves to a larger buffer; an empty guard gets its buffer here.
    #[cold]
    fn grow(&mut self, additional: usize) {
        if self.peak == Peak::NO_USE {
            *self.vec = self.pool.as_ref().take_at_least(additional);
            self.peak = Peak::PLAIN;
        } else {
            self.pool.as_ref().grow(&mut self.vec, additional);
        }
    }

    /// Out of line, so that there is nothing but a call at the many places where a serializer appends: see
    /// docs/design.md.
    #[cold]
    #[inline(never)]
    fn grow_and_extend(&mut self, bytes: &[u8]) {
        self.grow(bytes.len());
        self.vec.extend_from_slice(bytes);
    }

    /// Makes room for at least `additional` more bytes, or returns an error. Counts as [`reserve`](PooledBuf::reserve)
    /// does.
    ///
    /// # Errors
    ///
    /// When the length would overflow `isize::MAX` or the allocator has no memory. The buffer and the pool's statistics
    /// are then as before; a trim interval that was over may pass, as in every operation.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// assert!(buf.try_reserve(usize::MAX).is_err());
    /// assert!(buf.try_reserve(1000).is_ok() && buf.capacity() >= 1000);
    /// ```
    #[inline]
    pub fn try_reserve(&mut self, additional: usize) -> Result<(), TryReserveError> {
        if additional > self.vec.capacity() - self.vec.len() {
            if self.peak == Peak::NO_USE {
                *self.vec = self.pool.as_ref().try_take_at_least(additional)?;
                self.peak = Peak::PLAIN;
            } else {
                self.pool.as_ref().try_grow(&mut self.vec, additional)?;
            }
        }
        self.peak.reserve(self.vec.len() + additional);
        Ok(())
    }

    /// Changes the length to `len`; new bytes are `value`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// buf.resize(3, b'x');
    /// assert_eq!(buf, *b"xxx");
    /// ```
    pub fn resize(&mut self, len: usize, value: u8) {
        self.peak.raise(self.vec.len());
        self.make_room(len.saturating_sub(self.vec.len()));
        self.vec.resize(len, value);
    }

    /// Appends the contents of `other`, which is left empty with its capacity. One copy.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// let mut tail = b"tail".to_vec();
    /// buf.append(&mut tail);
    /// assert!(buf == *b"tail" && tail.is_empty());
    /// ```
    pub fn append(&mut self, other: &mut Vec<u8>) {
        self.extend_from_slice(other);
        other.clear();
    }

    /// Removes the last byte and returns it. `O(1)`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// buf.push_str("[1,2,");
    /// assert_eq!(buf.pop(), Some(b','));
    /// ```
    #[inline]
    pub fn pop(&mut self) -> Option<u8> {
        self.peak.raise(self.vec.len());
        self.vec.pop()
    }

    /// The spare capacity, for code that writes into it and then calls [`set_len`](PooledBuf::set_len).
    ///
    /// It may be empty: call [`reserve`](PooledBuf::reserve) first. What it holds is unspecified, and another user's bytes may
    /// be among them, so it must not be handed on as `&mut [u8]`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// buf.reserve(3);
    /// for (place, byte) in buf.spare_capacity_mut().iter_mut().zip(*b"abc") {
    ///     place.write(byte);
    /// }
    /// // SAFETY: three bytes were written.
    /// unsafe { buf.set_len(3) };
    /// assert_eq!(buf, *b"abc");
    /// ```
    #[inline]
    #[doc(alias = "split")]
    pub fn spare_capacity_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        if self.peak == Peak::NO_USE {
            self.grow(1);
        }
        self.vec.spare_capacity_mut()
    }

    /// Sets the length, for bytes that were written by way of [`spare_capacity_mut`](PooledBuf::spare_capacity_mut).
    ///
    /// # Safety
    ///
    /// `len` is at most the [`capacity`](PooledBuf::capacity), and the first `len` bytes are initialized.
    ///
    /// # Examples
    ///
    /// See [`spare_capacity_mut`](PooledBuf::spare_capacity_mut).
    #[allow(unsafe_code)]
    #[inline]
    #[doc(alias = "advance")]
    pub unsafe fn set_len(&mut self, len: usize) {
        self.peak.raise(self.vec.len());
        debug_assert!(len <= self.vec.capacity(), "a length of {len} in a capacity of {}", self.vec.capacity());
        // SAFETY: the caller's promise.
        unsafe { self.vec.set_len(len) };
    }

    /// Replaces the contents by `bytes`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// buf.push(1);
    /// buf.set(b"new");
    /// assert_eq!(buf, *b"new");
    /// ```
    pub fn set(&mut self, bytes: &[u8]) {
        self.clear();
        self.extend_from_slice(bytes);
    }

    /// Appends everything that `reader` gives until its end; returns how many bytes.
    ///
    /// The reader never gets memory with another user's bytes in it. `Interrupted` is retried.
    ///
    /// # Errors
    ///
    /// The reader's. What was read before it stays in the buffer.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// assert_eq!(buf.read_from(&mut &b"from anywhere"[..])?, 13);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_from<R: Read + ?Sized>(&mut self, reader: &mut R) -> io::Result<usize> {
        let before = self.vec.len();
        loop {
            let room = self.vec.capacity() - self.vec.len();
            if room == 0 {
                // A few bytes on the stack: an input that fits exactly must not grow the buffer only to find its end.
                let mut probe = [0; 32];
                match reader.read(&mut probe) {
                    Ok(0) => break,
                    Ok(read) => self.extend_from_slice(&probe[..read]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            } else if (&mut *reader).take(room as u64).read_to_end(&mut self.vec)? < room {
                // `read_to_end` zeroes what a `Read::read` would otherwise see, and retries `Interrupted`. It does not
                // make the `Vec` grow, because the reader that it sees ends where the room ends.
                break;
            }
        }
        Ok(self.vec.len() - before)
    }

    /// Writes the contents to `writer`.
    ///
    /// # Errors
    ///
    /// The writer's.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// buf.push_str("out");
    /// let mut out = Vec::new();
    /// buf.write_to(&mut out)?;
    /// assert_eq!(out, b"out");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_to<W: Write + ?Sized>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(&self.vec)
    }

    /// The `Vec` inside, for code that wants one. What is in it when the guard ends is returned to the pool.
    ///
    /// A `Vec` grows by itself: it reallocates, and a non-power-of-two capacity is cut down to a size class when the
    /// buffer is returned. Prefer the guard's own methods where there is a choice.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// buf.as_vec_mut().splice(.., *b"spliced");
    /// assert_eq!(buf, *b"spliced");
    /// ```
    #[inline]
    pub fn as_vec_mut(&mut self) -> &mut Vec<u8> {
        if self.peak == Peak::NO_USE {
            self.grow(1);
        }
        self.peak.raise(self.vec.len());
        &mut self.vec
    }

    /// Takes the buffer out of the pool, with its contents. `O(1)`.
    ///
    /// [`Pool::put`] gives it, or any other `Vec`, to the pool.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = bytebufferpool::Pool::new();
    /// let vec = pool.get().into_vec();
    /// assert_eq!(pool.stats().detached, 1);
    /// pool.put(vec);
    /// ```
    #[must_use = "consider `discard` to free the buffer"]
    pub fn into_vec(mut self) -> Vec<u8> {
        if self.peak != Peak::NO_USE {
            self.pool.as_ref().detach(self.peak, self.vec.len());
            self.peak = Peak::NO_USE;
        }
        mem::take(&mut *self.vec)
    }

    /// Makes the contents immutable and shareable. `O(1)`, no copy, and exactly one small allocation.
    ///
    /// The buffer is returned to the pool when the last clone is dropped, on whichever thread. Slices and splits of the
    /// result keep the whole buffer in use. The allocation is the reference count that the clones share.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut buf = bytebufferpool::get();
    /// buf.push_str("status: ok");
    /// let frozen = buf.freeze();
    /// let value = frozen.slice(8..);
    /// drop(frozen);
    /// assert_eq!(value, "ok");
    /// ```
    #[must_use = "consider `drop` to return the buffer"]
    pub fn freeze(self) -> Bytes
    where
        P: Send + 'static,
    {
        if self.peak == Peak::NO_USE { Bytes::new() } else { Bytes::from_owner(self) }
    }

    /// Frees the buffer instead of returning it to the pool.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = bytebufferpool::Pool::new();
    /// pool.get().discard();
    /// assert_eq!(pool.stats().retained_buffers, 0);
    /// ```
    pub fn discard(mut self) {
        if self.peak != Peak::NO_USE {
            let vec = mem::take(&mut *self.vec);
            self.pool.as_ref().discard(vec, self.peak);
            self.peak = Peak::NO_USE;
        }
    }
}

impl<P: PoolRef> PooledBuf<P> {
    /// A guard without a buffer: it gets one of the pool with the first byte that it needs room for.
    ///
    /// Costs nothing until then, and nothing at all if it is not written to. The first write that is not empty,
    /// [`reserve`](PooledBuf::reserve), [`as_vec_mut`](PooledBuf::as_vec_mut),
    /// [`spare_capacity_mut`](PooledBuf::spare_capacity_mut) or `chunk_mut` is the get, with room for what is written and at
    /// least the default size; the statistics know nothing of the guard before.
    ///
    /// # Examples
    ///
    /// A field gives its buffer away:
    ///
    /// ```
    /// use bytebufferpool::{Pool, PooledBuf};
    ///
    /// struct Lines<'p> {
    ///     pool: &'p Pool,
    ///     line: PooledBuf<&'p Pool>,
    /// }
    ///
    /// impl<'p> Lines<'p> {
    ///     fn take(&mut self) -> PooledBuf<&'p Pool> {
    ///         std::mem::replace(&mut self.line, PooledBuf::empty(self.pool))
    ///     }
    /// }
    ///
    /// let pool = Pool::new();
    /// let mut lines = Lines { pool: &pool, line: PooledBuf::empty(&pool) };
    /// assert_eq!(pool.stats().gets, 0);
    /// lines.line.push_str("a line");
    /// assert_eq!(lines.take(), *b"a line");
    /// assert_eq!((pool.stats().gets, lines.line.capacity()), (1, 0));
    /// ```
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn empty(pool: P) -> PooledBuf<P> {
        PooledBuf { vec: ManuallyDrop::new(Vec::new()), peak: Peak::NO_USE, trace: pool.as_ref().begin_trace(), pool }
    }
}

impl<P: AsRef<Pool>> Drop for PooledBuf<P> {
    #[inline]
    fn drop(&mut self) {
        self.pool.as_ref().end_trace(self.trace);
        let vec = mem::take(&mut *self.vec);
        let len = vec.len();
        self.pool.as_ref().finish(len, RawBuf::of(vec), self.peak);
    }
}

/// What `Vec::extend_from_within` checks, before anything is reserved.
#[track_caller]
fn range_within(range: impl RangeBounds<usize>, len: usize) -> std::ops::Range<usize> {
    use std::ops::Bound;
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&start) => start.checked_add(1).expect("range start overflows usize"),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&end) => end.checked_add(1).expect("range end overflows usize"),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => len,
    };
    assert!(start <= end && end <= len, "range {start}..{end} is not within a buffer of {len} bytes");
    start..end
}

impl<P: AsRef<Pool>> Deref for PooledBuf<P> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.vec
    }
}

impl<P: AsRef<Pool>> DerefMut for PooledBuf<P> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.vec
    }
}

impl<P: AsRef<Pool>> AsRef<[u8]> for PooledBuf<P> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.vec
    }
}

impl<P: AsRef<Pool>> AsMut<[u8]> for PooledBuf<P> {
    #[inline]
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.vec
    }
}

impl<P: AsRef<Pool>> Borrow<[u8]> for PooledBuf<P> {
    #[inline]
    fn borrow(&self) -> &[u8] {
        &self.vec
    }
}

/// As a byte string, `b"…"`, as `Bytes` does.
impl<P: AsRef<Pool>> fmt::Debug for PooledBuf<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("b\"")?;
        debug_bytes(self.as_slice(), f)?;
        f.write_str("\"")
    }
}

/// The inside of a byte string.
pub(crate) fn debug_bytes(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for &byte in bytes {
        match byte {
            b'\n' => f.write_str("\\n")?,
            b'\r' => f.write_str("\\r")?,
            b'\t' => f.write_str("\\t")?,
            b'\0' => f.write_str("\\0")?,
            b'\\' | b'"' => write!(f, "\\{}", byte as char)?,
            0x20..0x7f => write!(f, "{}", byte as char)?,
            _ => write!(f, "\\x{byte:02x}")?,
        }
    }
    Ok(())
}

impl<P: AsRef<Pool>> From<PooledBuf<P>> for Vec<u8> {
    /// [`PooledBuf::into_vec`].
    fn from(buf: PooledBuf<P>) -> Vec<u8> {
        buf.into_vec()
    }
}

impl<P: AsRef<Pool> + Send + 'static> From<PooledBuf<P>> for Bytes {
    /// [`PooledBuf::freeze`].
    fn from(buf: PooledBuf<P>) -> Bytes {
        buf.freeze()
    }
}

/// Never fails: there is always room, or memory exhaustion aborts.
impl<P: AsRef<Pool>> Write for PooledBuf<P> {
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

    /// Fails only when a `Display` or other formatting implementation does; writing itself does not fail.
    #[inline]
    fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
        fmt::Write::write_fmt(self, args).map_err(|_| io::Error::other("a formatting trait returned an error"))
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        // Saturates: `make_room` then refuses overlapping slices that together are longer than memory.
        let len = slices.iter().fold(0, |len: usize, slice| len.saturating_add(slice.len()));
        self.make_room(len);
        for slice in slices {
            self.vec.extend_from_slice(slice);
        }
        Ok(len)
    }

    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<P: AsRef<Pool>> fmt::Write for PooledBuf<P> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }

    #[inline]
    fn write_char(&mut self, c: char) -> fmt::Result {
        self.push_str(c.encode_utf8(&mut [0; 4]));
        Ok(())
    }
}

impl<P: AsRef<Pool>> Extend<u8> for PooledBuf<P> {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        let bytes = bytes.into_iter();
        // A size hint may be wrong, so it must not cause an allocation of any size.
        self.make_room(bytes.size_hint().0.min(MAX_CLASS_SIZE));
        for byte in bytes {
            self.push(byte);
        }
    }
}

impl<'a, P: AsRef<Pool>> Extend<&'a u8> for PooledBuf<P> {
    fn extend<I: IntoIterator<Item = &'a u8>>(&mut self, bytes: I) {
        self.extend(bytes.into_iter().copied());
    }
}

impl<P: AsRef<Pool>, Q: AsRef<Pool>> PartialEq<PooledBuf<Q>> for PooledBuf<P> {
    fn eq(&self, other: &PooledBuf<Q>) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<P: AsRef<Pool>> Eq for PooledBuf<P> {}

impl<P: AsRef<Pool>, Q: AsRef<Pool>> PartialOrd<PooledBuf<Q>> for PooledBuf<P> {
    fn partial_cmp(&self, other: &PooledBuf<Q>) -> Option<Ordering> {
        self.as_slice().partial_cmp(other.as_slice())
    }
}

impl<P: AsRef<Pool>> Ord for PooledBuf<P> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl<P: AsRef<Pool>> Hash for PooledBuf<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

macro_rules! eq_with_bytes {
    ($([$($generics:tt)*] $other:ty),* $(,)?) => {$(
        impl<$($generics)* P: AsRef<Pool>> PartialEq<$other> for PooledBuf<P> {
            fn eq(&self, other: &$other) -> bool {
                self.as_slice() == AsRef::<[u8]>::as_ref(other)
            }
        }

        impl<$($generics)* P: AsRef<Pool>> PartialEq<PooledBuf<P>> for $other {
            fn eq(&self, other: &PooledBuf<P>) -> bool {
                AsRef::<[u8]>::as_ref(self) == other.as_slice()
            }
        }
    )*};
}

eq_with_bytes!([] [u8], [] &[u8], [const N: usize,] [u8; N], [const N: usize,] &[u8; N], [] Vec<u8>, [] Bytes, [] str, [] &str);
