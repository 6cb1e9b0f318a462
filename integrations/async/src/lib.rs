//! Reading into guards and writing from them: one frame at a time over any tokio stream, many at a time, and by a socket's
//! own `recv`.
//!
//! These are the examples of the cookbook's page on async code; the tests of this package hold guards across awaits, cancel
//! tasks, and compare frozen buffers with plain `BytesMut`.
#![warn(missing_docs)]

mod batches;
mod receive;

pub use batches::{Batch, FrameBatches, put_frame};
pub use receive::receive;

use std::io;

use bytebufferpool::{Pool, PooledBuf};
use bytes::Buf;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

#[cfg(doctest)]
#[doc = include_str!("../../../docs/cookbook/async.md")]
struct Cookbook;

/// Longer frames are refused before anything is allocated for them.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// Writes the length and then the frame, in as few calls as the stream takes it.
///
/// # Errors
///
/// The stream's; a frame longer than [`FRAME_BYTES_MAX`].
pub async fn write_frame<W: AsyncWrite + Unpin>(stream: &mut W, frame: &[u8]) -> io::Result<()> {
    let len = (check_len(frame.len())? as u32).to_be_bytes();
    stream.write_all_buf(&mut Buf::chain(&len[..], frame)).await
}

/// The next frame, in a buffer that holds it whole; `None` at the end of the stream.
///
/// Dropping the future half way returns the buffer, and loses what was read: as with `read_exact`, the stream is then
/// only good to be closed.
///
/// # Errors
///
/// The stream's; an end within a frame; a frame longer than [`FRAME_BYTES_MAX`]; no memory for it.
pub async fn read_frame<'pool, R: AsyncRead + Unpin>(
    stream: &mut R,
    pool: &'pool Pool,
) -> io::Result<Option<PooledBuf<&'pool Pool>>> {
    let mut len = [0; 4];
    if stream.read(&mut len[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut len[1..]).await?;
    let len = check_len(u32::from_be_bytes(len) as usize)?;
    // Both come from outside: a capacity that may fail, and not a byte read of what follows the frame.
    let mut buf = pool.try_get_with_capacity(len)?;
    let mut frame = stream.take(len as u64);
    while buf.len() < len {
        if frame.read_buf(&mut buf).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(buf))
}

fn check_len(len: usize) -> io::Result<usize> {
    if len > FRAME_BYTES_MAX {
        let what = format!("a frame of {len} bytes, and {FRAME_BYTES_MAX} are the most");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(len)
}
