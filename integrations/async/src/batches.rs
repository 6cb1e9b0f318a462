//! Streams of small frames: many of them in one buffer, written by one call or frozen once.

use std::io;
use std::mem;
use std::sync::Arc;

use bytebufferpool::{Pool, PooledBuf};
use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::check_len;

/// Appends a frame, its length before it, to a batch of them.
///
/// # Errors
///
/// A frame longer than [`FRAME_BYTES_MAX`](crate::FRAME_BYTES_MAX); the batch is then as it was.
pub fn put_frame<P: AsRef<Pool>>(batch: &mut PooledBuf<P>, frame: &[u8]) -> io::Result<()> {
    let len = check_len(frame.len())? as u32;
    batch.extend_from_slice(&len.to_be_bytes());
    batch.extend_from_slice(frame);
    Ok(())
}

/// How many bytes a frame has in front: its length.
const HEADER_BYTES: usize = 4;

/// What a new buffer has room for, in bytes: some hundred small frames.
const READ_BYTES: usize = 8 << 10;

/// The frames of a stream, as many at a time as have arrived.
///
/// A batch is one buffer, frozen once: its frames are slices of it, and it returns to the pool when the last of them is
/// dropped. What follows the last whole frame is copied to the next buffer.
#[derive(Debug)]
pub struct FrameBatches<R> {
    stream: R,
    pool: Arc<Pool>,
    unread: PooledBuf<Arc<Pool>>,
}

impl<R: AsyncRead + Unpin> FrameBatches<R> {
    /// Reads nothing yet, and holds no buffer.
    pub fn new(stream: R, pool: Arc<Pool>) -> FrameBatches<R> {
        FrameBatches { stream, unread: PooledBuf::empty(Arc::clone(&pool)), pool }
    }

    /// The whole frames that have arrived, at least one; `None` at the end of the stream.
    ///
    /// Cancel safe: what was read is kept for the next call.
    ///
    /// # Errors
    ///
    /// The stream's; an end within a frame; a frame longer than [`FRAME_BYTES_MAX`](crate::FRAME_BYTES_MAX); no memory for it.
    pub async fn next_batch(&mut self) -> io::Result<Option<Batch>> {
        loop {
            let whole = whole_frames(&self.unread)?;
            if whole > 0 {
                return self.take(whole).map(Some);
            }
            self.make_room()?;
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return if self.unread.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// For a first read, or for the rest of a frame that has begun.
    fn make_room(&mut self) -> io::Result<()> {
        if self.unread.capacity() == 0 {
            self.unread = self.pool.try_get_owned_with_capacity(READ_BYTES)?;
        } else if let Some(len) = frame_len(&self.unread)? {
            self.unread.try_reserve(HEADER_BYTES + len - self.unread.len())?;
        }
        Ok(())
    }

    fn take(&mut self, whole: usize) -> io::Result<Batch> {
        let mut next = PooledBuf::empty(Arc::clone(&self.pool));
        let begun = &self.unread[whole..];
        if !begun.is_empty() {
            next = self.pool.try_get_owned_with_capacity(READ_BYTES.max(begun.len()))?;
            next.extend_from_slice(begun);
        }
        let mut frames = mem::replace(&mut self.unread, next);
        frames.truncate(whole);
        Ok(Batch { frames: frames.freeze() })
    }
}

/// How many bytes the whole frames at the start of `bytes` have. What is wrong behind them is the next call's error.
fn whole_frames(bytes: &[u8]) -> io::Result<usize> {
    let mut whole = 0;
    loop {
        let left = &bytes[whole..];
        match frame_len(left) {
            Ok(Some(len)) if HEADER_BYTES + len <= left.len() => whole += HEADER_BYTES + len,
            Err(error) if whole == 0 => return Err(error),
            _ => return Ok(whole),
        }
    }
}

/// The length of the frame that begins here, if all of it has arrived that says so.
fn frame_len(bytes: &[u8]) -> io::Result<Option<usize>> {
    bytes.first_chunk().map(|len| check_len(u32::from_be_bytes(*len) as usize)).transpose()
}

/// Whole frames of one buffer, in order.
#[derive(Debug)]
pub struct Batch {
    frames: Bytes,
}

impl Iterator for Batch {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.frames.is_empty() {
            return None;
        }
        let len = self.frames.get_u32() as usize;
        Some(self.frames.split_to(len))
    }
}
