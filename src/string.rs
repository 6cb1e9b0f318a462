//! The guard for text: what it holds is UTF-8 by type, so that nobody checks it again.
//!
//! A [`PooledBuf`] whose contents are text costs a check at each `as_str`, 6 to 23 ns for a line. Here the invariant is
//! kept by what can be done: there is no `io::Write`, no `BufMut` and no mutable access to bytes.
#![allow(unsafe_code)]

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::TryReserveError;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::str::{self, Utf8Error};
use std::sync::Arc;

use bytes::Bytes;

use crate::buf::PooledBuf;
use crate::pool::Pool;
use crate::pool_ref::PoolRef;

/// A text borrowed from a [`Pool`]: a [`PooledBuf`] that always holds UTF-8.
///
/// It reads as `str` at no cost, is written by [`fmt::Write`], [`Extend`] or its own methods, and returns its buffer to the
/// pool when it ends. It grows as a `PooledBuf` does. Bytes that are not known to be text cannot be written to it:
///
/// ```compile_fail,E0277
/// let mut text = bytebufferpool::get_string();
/// serde_json::to_writer(&mut text, &[1, 2, 3]).unwrap();
/// ```
///
/// Write them to a `PooledBuf`, and check them once with [`PooledString::from_utf8`].
///
/// # Examples
///
/// ```
/// use bytebufferpool::Pool;
/// use std::fmt::Write;
///
/// static LINES: Pool = Pool::new();
///
/// let mut line = LINES.get_string();
/// write!(line, "user={} status={}", 4711, 200)?;
/// line.push('\n');
/// assert_eq!(line, "user=4711 status=200\n");
/// assert!(line.starts_with("user="));
/// # Ok::<(), std::fmt::Error>(())
/// ```
#[must_use = "a text that is dropped at once was fetched for nothing"]
pub struct PooledString<P: AsRef<Pool> = &'static Pool> {
    /// UTF-8: `from_utf8` checked it, and every other method adds whole characters or cuts between two.
    buf: PooledBuf<P>,
}

impl Pool {
    /// [`get`](Pool::get), for text.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = bytebufferpool::Pool::new();
    /// let mut text = pool.get_string();
    /// text.push_str("grün");
    /// assert_eq!(text.chars().count(), 4);
    /// ```
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn get_string(&self) -> PooledString<&Pool> {
        PooledString { buf: self.get() }
    }

    /// [`get_with_capacity`](Pool::get_with_capacity), for text of up to `capacity` bytes.
    ///
    /// # Panics
    ///
    /// As `get_with_capacity`.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(bytebufferpool::global().get_string_with_capacity(1000).capacity() >= 1000);
    /// ```
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn get_string_with_capacity(&self, capacity: usize) -> PooledString<&Pool> {
        PooledString { buf: self.get_with_capacity(capacity) }
    }

    /// [`try_get_with_capacity`](Pool::try_get_with_capacity), for text of up to `capacity` bytes.
    ///
    /// # Errors
    ///
    /// As `try_get_with_capacity`.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(bytebufferpool::global().try_get_string_with_capacity(usize::MAX).is_err());
    /// ```
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn try_get_string_with_capacity(&self, capacity: usize) -> Result<PooledString<&Pool>, TryReserveError> {
        Ok(PooledString { buf: self.try_get_with_capacity(capacity)? })
    }

    /// [`get_owned`](Pool::get_owned), for text.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Arc::new(Pool::new());
    /// let mut text = pool.get_owned_string();
    /// std::thread::spawn(move || text.push_str("sent")).join().unwrap();
    /// ```
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn get_owned_string(self: &Arc<Pool>) -> PooledString<Arc<Pool>> {
        PooledString { buf: self.get_owned() }
    }

    /// [`get_owned_with_capacity`](Pool::get_owned_with_capacity), for text of up to `capacity` bytes.
    ///
    /// # Panics
    ///
    /// As `get_with_capacity`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Arc::new(Pool::new());
    /// assert!(pool.get_owned_string_with_capacity(1000).capacity() >= 1000);
    /// ```
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn get_owned_string_with_capacity(self: &Arc<Pool>, capacity: usize) -> PooledString<Arc<Pool>> {
        PooledString { buf: self.get_owned_with_capacity(capacity) }
    }
}

impl<P: PoolRef> PooledString<P> {
    /// A text without a buffer, as [`PooledBuf::empty`].
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::{Pool, PooledString};
    ///
    /// let pool = Pool::new();
    /// let mut text = PooledString::empty(&pool);
    /// assert_eq!((text.capacity(), pool.stats().gets), (0, 0));
    /// text.push('a');
    /// assert_eq!(pool.stats().gets, 1);
    /// ```
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn empty(pool: P) -> PooledString<P> {
        PooledString { buf: PooledBuf::empty(pool) }
    }
}

impl<P: AsRef<Pool>> PooledString<P> {
    /// The contents of `buf` as text. `O(n)`: checks them.
    ///
    /// # Errors
    ///
    /// When they are not UTF-8; [`FromUtf8Error::into_buf`] gives the buffer back.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::PooledString;
    ///
    /// let mut buf = bytebufferpool::get();
    /// serde_json::to_writer(&mut buf, &["a", "b"])?;
    /// assert_eq!(PooledString::from_utf8(buf)?, r#"["a","b"]"#);
    ///
    /// let mut buf = bytebufferpool::get();
    /// buf.push(0xff);
    /// let error = PooledString::from_utf8(buf).unwrap_err();
    /// assert_eq!(error.into_buf(), [0xff]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_utf8(buf: PooledBuf<P>) -> Result<PooledString<P>, FromUtf8Error<P>> {
        match str::from_utf8(&buf) {
            Ok(_) => Ok(PooledString { buf }),
            Err(error) => Err(FromUtf8Error { buf, error }),
        }
    }

    /// The contents. `O(1)`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut text = bytebufferpool::get_string();
    /// text.push_str("ab");
    /// assert_eq!(text.as_str(), "ab");
    /// ```
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> &str {
        // SAFETY: the invariant of the type.
        unsafe { str::from_utf8_unchecked(self.buf.as_slice()) }
    }

    /// How many bytes the buffer holds before it grows.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(bytebufferpool::global().get_string_with_capacity(100).capacity() >= 100);
    /// ```
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    /// Appends a character.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut text = bytebufferpool::get_string();
    /// text.push('ü');
    /// assert_eq!(text, "ü");
    /// ```
    #[inline]
    pub fn push(&mut self, c: char) {
        self.buf.push_str(c.encode_utf8(&mut [0; 4]));
    }

    /// Appends text. One copy; if it does not fit, the buffer grows first (a second copy).
    ///
    /// # Panics
    ///
    /// When the length would overflow `isize::MAX`. Memory exhaustion aborts, as with `String`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut text = bytebufferpool::get_string();
    /// text.push_str("grün");
    /// assert_eq!(text.len(), 5);
    /// ```
    #[inline]
    pub fn push_str(&mut self, text: &str) {
        self.buf.push_str(text);
    }

    /// Removes the last character and returns it.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut text = bytebufferpool::get_string();
    /// text.push_str("fü");
    /// assert_eq!((text.pop(), text.pop(), text.pop()), (Some('ü'), Some('f'), None));
    /// ```
    pub fn pop(&mut self) -> Option<char> {
        let c = self.as_str().chars().next_back()?;
        self.buf.truncate(self.buf.len() - c.len_utf8());
        Some(c)
    }

    /// Empties the text; the capacity stays. `O(1)`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut text = bytebufferpool::get_string();
    /// text.push_str("ab");
    /// text.clear();
    /// assert!(text.is_empty());
    /// ```
    #[inline]
    pub fn clear(&mut self) {
        self.buf.clear();
    }

    /// Shortens the text to `len` bytes; does nothing if it is shorter. `O(1)`.
    ///
    /// # Panics
    ///
    /// When `len` lies within a character.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut text = bytebufferpool::get_string();
    /// text.push_str("line\r\n");
    /// text.truncate(4);
    /// assert_eq!(text, "line");
    /// ```
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        if len <= self.buf.len() {
            assert!(self.as_str().is_char_boundary(len), "a length of {len} lies within a character");
            self.buf.truncate(len);
        }
    }

    /// Makes room for at least `additional` more bytes, as [`PooledBuf::reserve`].
    ///
    /// # Panics
    ///
    /// When the length would overflow `isize::MAX`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut text = bytebufferpool::get_string();
    /// text.reserve(1000);
    /// assert!(text.capacity() >= 1000);
    /// ```
    #[inline]
    pub fn reserve(&mut self, additional: usize) {
        self.buf.reserve(additional);
    }

    /// Makes room for at least `additional` more bytes, or says that it cannot.
    ///
    /// # Errors
    ///
    /// As [`PooledBuf::try_reserve`].
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(bytebufferpool::get_string().try_reserve(usize::MAX).is_err());
    /// ```
    #[inline]
    pub fn try_reserve(&mut self, additional: usize) -> Result<(), TryReserveError> {
        self.buf.try_reserve(additional)
    }

    /// The guard for bytes with the same buffer. `O(1)`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut text = bytebufferpool::get_string();
    /// text.push_str("text, and then ");
    /// let mut buf = text.into_buf();
    /// buf.push(0xff);
    /// assert_eq!(buf.len(), 16);
    /// ```
    #[inline]
    pub fn into_buf(self) -> PooledBuf<P> {
        self.buf
    }

    /// Takes the buffer out of the pool as a `String`. `O(1)`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut text = bytebufferpool::get_string();
    /// text.push_str("mine");
    /// let text: String = text.into_string();
    /// assert_eq!(text, "mine");
    /// ```
    #[must_use = "consider `discard` to free the buffer"]
    pub fn into_string(self) -> String {
        // SAFETY: the invariant of the type.
        unsafe { String::from_utf8_unchecked(self.buf.into_vec()) }
    }

    /// Makes the text immutable and shareable, as [`PooledBuf::freeze`].
    ///
    /// # Examples
    ///
    /// ```
    /// let mut text = bytebufferpool::get_string();
    /// text.push_str("status: ok");
    /// assert_eq!(text.freeze().slice(8..), "ok");
    /// ```
    #[must_use = "consider `drop` to return the buffer"]
    pub fn freeze(self) -> Bytes
    where
        P: Send + 'static,
    {
        self.buf.freeze()
    }

    /// Frees the buffer instead of returning it to the pool.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = bytebufferpool::Pool::new();
    /// pool.get_string().discard();
    /// assert_eq!(pool.stats().retained_buffers, 0);
    /// ```
    pub fn discard(self) {
        self.buf.discard();
    }
}

impl<P: AsRef<Pool>> Deref for PooledString<P> {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<P: AsRef<Pool>> DerefMut for PooledString<P> {
    #[inline]
    fn deref_mut(&mut self) -> &mut str {
        // SAFETY: the invariant of the type, which safe code cannot break through a `&mut str`.
        unsafe { str::from_utf8_unchecked_mut(&mut self.buf) }
    }
}

impl<P: AsRef<Pool>> AsRef<str> for PooledString<P> {
    #[inline]
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl<P: AsRef<Pool>> AsRef<[u8]> for PooledString<P> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.buf.as_slice()
    }
}

impl<P: AsRef<Pool>> Borrow<str> for PooledString<P> {
    #[inline]
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl<P: AsRef<Pool>> fmt::Display for PooledString<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl<P: AsRef<Pool>> fmt::Debug for PooledString<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Never fails: there is always room, or the process is out of memory.
impl<P: AsRef<Pool>> fmt::Write for PooledString<P> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }

    #[inline]
    fn write_char(&mut self, c: char) -> fmt::Result {
        self.push(c);
        Ok(())
    }
}

impl<P: AsRef<Pool>> Extend<char> for PooledString<P> {
    fn extend<I: IntoIterator<Item = char>>(&mut self, chars: I) {
        chars.into_iter().for_each(|c| self.push(c));
    }
}

impl<'a, P: AsRef<Pool>> Extend<&'a str> for PooledString<P> {
    fn extend<I: IntoIterator<Item = &'a str>>(&mut self, texts: I) {
        texts.into_iter().for_each(|text| self.push_str(text));
    }
}

impl<P: AsRef<Pool>> From<PooledString<P>> for PooledBuf<P> {
    /// [`PooledString::into_buf`].
    fn from(text: PooledString<P>) -> PooledBuf<P> {
        text.into_buf()
    }
}

impl<P: AsRef<Pool>> From<PooledString<P>> for String {
    /// [`PooledString::into_string`].
    fn from(text: PooledString<P>) -> String {
        text.into_string()
    }
}

impl<P: AsRef<Pool> + Send + 'static> From<PooledString<P>> for Bytes {
    /// [`PooledString::freeze`].
    fn from(text: PooledString<P>) -> Bytes {
        text.freeze()
    }
}

impl<P: AsRef<Pool>> TryFrom<PooledBuf<P>> for PooledString<P> {
    type Error = FromUtf8Error<P>;

    /// [`PooledString::from_utf8`].
    fn try_from(buf: PooledBuf<P>) -> Result<PooledString<P>, FromUtf8Error<P>> {
        PooledString::from_utf8(buf)
    }
}

impl<P: AsRef<Pool>, Q: AsRef<Pool>> PartialEq<PooledString<Q>> for PooledString<P> {
    fn eq(&self, other: &PooledString<Q>) -> bool {
        self.as_str() == other.as_str()
    }
}

impl<P: AsRef<Pool>> Eq for PooledString<P> {}

impl<P: AsRef<Pool>, Q: AsRef<Pool>> PartialOrd<PooledString<Q>> for PooledString<P> {
    fn partial_cmp(&self, other: &PooledString<Q>) -> Option<Ordering> {
        self.as_str().partial_cmp(other.as_str())
    }
}

impl<P: AsRef<Pool>> Ord for PooledString<P> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl<P: AsRef<Pool>> Hash for PooledString<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

macro_rules! eq_with_text {
    ($($other:ty),*) => {$(
        impl<P: AsRef<Pool>> PartialEq<$other> for PooledString<P> {
            fn eq(&self, other: &$other) -> bool {
                self.as_str() == AsRef::<str>::as_ref(other)
            }
        }

        impl<P: AsRef<Pool>> PartialEq<PooledString<P>> for $other {
            fn eq(&self, other: &PooledString<P>) -> bool {
                AsRef::<str>::as_ref(self) == other.as_str()
            }
        }
    )*};
}

eq_with_text!(str, &str, String);

/// The contents of a [`PooledBuf`] were not UTF-8; see [`PooledString::from_utf8`].
///
/// # Examples
///
/// ```
/// use bytebufferpool::PooledString;
///
/// let mut buf = bytebufferpool::get();
/// buf.extend_from_slice(b"ab\xff");
/// let error = PooledString::from_utf8(buf).unwrap_err();
/// assert_eq!(error.utf8_error().valid_up_to(), 2);
/// assert_eq!(error.into_buf(), *b"ab\xff");
/// ```
pub struct FromUtf8Error<P: AsRef<Pool> = &'static Pool> {
    buf: PooledBuf<P>,
    error: Utf8Error,
}

impl<P: AsRef<Pool>> FromUtf8Error<P> {
    /// The buffer, as it was.
    pub fn into_buf(self) -> PooledBuf<P> {
        self.buf
    }

    /// Where the contents cease to be UTF-8.
    #[must_use]
    pub fn utf8_error(&self) -> Utf8Error {
        self.error
    }
}

impl<P: AsRef<Pool>> fmt::Debug for FromUtf8Error<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromUtf8Error").field("buf", &self.buf).field("error", &self.error).finish()
    }
}

impl<P: AsRef<Pool>> fmt::Display for FromUtf8Error<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<P: AsRef<Pool>> std::error::Error for FromUtf8Error<P> {}
