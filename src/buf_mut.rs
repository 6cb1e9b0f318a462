//! `bytes::BufMut` for the guard: one of the places with `unsafe`, see docs/design.md.
#![allow(unsafe_code)]

use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut};

use crate::buf::PooledBuf;
use crate::pool::Pool;

/// Grows through the pool. `remaining_mut` is `isize::MAX` less the length.
///
/// # Panics
///
/// `put_slice` and `put_bytes`, when the length would overflow `isize::MAX`.
// SAFETY: the trait asks that `chunk_mut` gives memory that stays the same while no other method is called, and that
// the bytes which `advance_mut` adds are those written there. Both hold for the spare capacity of the inner `Vec`:
// only `chunk_mut` makes it grow, and only when it is empty, so an `advance_mut` never spans two buffers.
unsafe impl<P: AsRef<Pool>> BufMut for PooledBuf<P> {
    #[inline]
    fn remaining_mut(&self) -> usize {
        isize::MAX as usize - self.len()
    }

    #[inline]
    unsafe fn advance_mut(&mut self, count: usize) {
        let vec = self.inner_mut();
        let room = vec.capacity() - vec.len();
        assert!(count <= room, "advance_mut by {count} past the {room} bytes of room");
        // SAFETY: the new length is within the capacity (asserted above), and the caller promises that the `count`
        // bytes behind the old length are initialized.
        unsafe { vec.set_len(vec.len() + count) };
    }

    #[inline]
    fn chunk_mut(&mut self) -> &mut UninitSlice {
        if self.capacity() == self.len() {
            self.make_room(1);
        }
        self.inner_mut().spare_capacity_mut().into()
    }

    /// The trait's own `put` would fill one size class after the other.
    #[inline]
    fn put<B: Buf>(&mut self, mut source: B) {
        while source.has_remaining() {
            let chunk = source.chunk();
            self.extend_from_slice(chunk);
            let count = chunk.len();
            source.advance(count);
        }
    }

    #[inline]
    fn put_slice(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn put_bytes(&mut self, byte: u8, count: usize) {
        self.make_room(count);
        let vec = self.inner_mut();
        vec.resize(vec.len() + count, byte);
    }
}
