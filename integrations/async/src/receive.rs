//! Reading by `recv` into memory that nobody has zeroed.

use std::io;

use bytebufferpool::{Pool, PooledBuf};
use socket2::Socket;

/// Receives once, into the spare capacity of `buf`, and says how many bytes were appended: 0 at the end of the stream.
///
/// A full guard grows first. A datagram that is longer than the spare capacity is cut off there.
///
/// # Errors
///
/// The socket's, `WouldBlock` and `Interrupted` among them; `buf` holds what it held before.
#[allow(unsafe_code, reason = "the length of what was received is known to nobody else")]
pub fn receive<P: AsRef<Pool>>(socket: &Socket, buf: &mut PooledBuf<P>) -> io::Result<usize> {
    if buf.spare_capacity_mut().is_empty() {
        // Into no room 0 bytes are received, as at the end of the stream.
        buf.reserve(1);
    }
    let count = socket.recv(buf.spare_capacity_mut())?;
    let len = buf.len() + count;
    // SAFETY: `recv(2)` without flags says how many bytes it has written to the start of the slice that it was given, never
    // more than the slice has. That slice is the spare capacity of the same buffer, as nothing was written to the guard in
    // between: so `len` is within the capacity, and the bytes up to it are those before and those received.
    unsafe { buf.set_len(len) };
    Ok(count)
}
