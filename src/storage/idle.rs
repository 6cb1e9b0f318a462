//! From a `Vec` to one word and back.
//!
//! A cached buffer is one pointer: its capacity is the size of its class. An empty `Vec` between functions is two
//! words. Why not the `Vec` itself, with figures: see docs/design.md.

use std::alloc::{Layout, realloc};
use std::mem::{self, ManuallyDrop};
use std::ptr::NonNull;

use crate::class::size_of_class;

/// A cached buffer: the memory of a `Vec<u8>` whose capacity is exactly the size of its class.
///
/// It owns the memory but does not know its class, so it has no `Drop`. The container that holds it frees it.
#[derive(Debug)]
pub(super) struct IdleBuf(NonNull<u8>);

// SAFETY: an IdleBuf owns its memory as the Vec<u8> it was made from did, and that is Send.
unsafe impl Send for IdleBuf {}

impl IdleBuf {
    /// Takes the memory of `vec` and leaves it empty; `None` if its capacity is not the class's size.
    ///
    /// By reference, because a `Vec` that is passed to and fro in a `Result` moves 24 bytes twice on the hot path.
    #[inline]
    pub(super) fn take(vec: &mut Vec<u8>, class: usize) -> Option<IdleBuf> {
        // std promises only "at least" for a capacity, so release builds check this too.
        if vec.capacity() == size_of_class(class) { Some(IdleBuf::of(vec)) } else { None }
    }

    /// `take`, after the caller has found the class by the capacity: `into_vec` with any other is not sound.
    #[inline]
    pub(super) fn of(vec: &mut Vec<u8>) -> IdleBuf {
        #[cfg(pool_loom)]
        crate::sync::ledger::laid_down(vec.capacity());
        let mut vec = ManuallyDrop::new(mem::take(vec));
        // SAFETY: a Vec's pointer is never null.
        IdleBuf(unsafe { NonNull::new_unchecked(vec.as_mut_ptr()) })
    }

    /// The buffer again, empty.
    ///
    /// # Safety
    ///
    /// `class` is the class that the IdleBuf was made with.
    #[inline]
    pub(super) unsafe fn into_vec(self, class: usize) -> Vec<u8> {
        // SAFETY: the caller's promise.
        unsafe { self.into_vec_of(size_of_class(class)) }
    }

    /// As `into_vec`, by the size of the class.
    ///
    /// # Safety
    ///
    /// `size` is the size of the class that the IdleBuf was made with.
    #[inline]
    pub(super) unsafe fn into_vec_of(self, size: usize) -> Vec<u8> {
        #[cfg(pool_loom)]
        crate::sync::ledger::picked_up(size);
        // SAFETY: `take` took the memory from a Vec<u8> of exactly this capacity, and an IdleBuf is not Clone, so this
        // is its only owner. `take` and `from_ptr` are the only places that make one.
        unsafe { Vec::from_raw_parts(self.0.as_ptr(), 0, size) }
    }

    #[inline]
    pub(super) fn into_ptr(self) -> *mut u8 {
        self.0.as_ptr()
    }

    /// # Safety
    ///
    /// `ptr` came from `into_ptr`, and no other IdleBuf was made from it since.
    #[inline]
    pub(super) unsafe fn from_ptr(ptr: *mut u8) -> IdleBuf {
        // SAFETY: `into_ptr` gave a non-null pointer.
        IdleBuf(unsafe { NonNull::new_unchecked(ptr) })
    }
}

/// An empty `Vec<u8>` in two words.
///
/// A function that is not inlined takes and returns two words in registers. The three words of a `Vec` go through
/// memory, and the guard around them too, whose next move then stalls on store forwarding.
#[derive(Debug)]
pub(crate) struct RawBuf {
    memory: NonNull<u8>,
    capacity: usize,
}

impl RawBuf {
    /// Forgets what `vec` holds.
    #[inline]
    pub(crate) fn of(vec: Vec<u8>) -> RawBuf {
        let mut vec = ManuallyDrop::new(vec);
        // SAFETY: a Vec's pointer is never null.
        RawBuf { memory: unsafe { NonNull::new_unchecked(vec.as_mut_ptr()) }, capacity: vec.capacity() }
    }

    #[inline]
    pub(crate) fn into_vec(self) -> Vec<u8> {
        let raw = ManuallyDrop::new(self);
        // SAFETY: `of` took both from a Vec<u8> that was not dropped, and a RawBuf is not Clone, so this is their only
        // owner.
        unsafe { Vec::from_raw_parts(raw.memory.as_ptr(), 0, raw.capacity) }
    }
}

impl Drop for RawBuf {
    fn drop(&mut self) {
        // SAFETY: as in `into_vec`; nothing uses the fields after this.
        drop(unsafe { Vec::from_raw_parts(self.memory.as_ptr(), 0, self.capacity) });
    }
}

// SAFETY: a RawBuf owns what the Vec<u8> it was made from did, and that is Send.
unsafe impl Send for RawBuf {}

/// Cuts the capacity of `vec` down to `capacity` and empties it. Leaves it unchanged if the allocator refuses.
///
/// `Vec::shrink_to` would abort then, and this runs in destructors.
pub(crate) fn shrink(vec: &mut Vec<u8>, capacity: usize) {
    if capacity == 0 || capacity >= vec.capacity() {
        return;
    }
    let Ok(layout) = Layout::array::<u8>(vec.capacity()) else { return };
    // SAFETY: a Vec<u8> with a capacity above zero was allocated by the global allocator with this layout; the new
    // size is above zero (checked above) and below a size that was valid.
    let memory = unsafe { realloc(vec.as_mut_ptr(), layout, capacity) };
    if memory.is_null() {
        // The old memory is untouched and still the Vec's.
        return;
    }
    // The old memory is the allocator's again, so the old Vec is forgotten.
    mem::forget(mem::take(vec));
    // SAFETY: `memory` is `capacity` bytes of the global allocator with alignment 1, owned by nobody else.
    *vec = unsafe { Vec::from_raw_parts(memory, 0, capacity) };
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;
    use crate::class::CLASSES;

    /// A buffer of `class`, every byte of it written.
    fn written(class: usize, byte: u8) -> Vec<u8> {
        let mut vec = Vec::with_capacity(size_of_class(class));
        vec.resize(size_of_class(class), byte);
        vec
    }

    #[test]
    fn a_slot_comes_back_empty_with_the_capacity_of_its_class_and_the_same_memory() {
        for class in 0..CLASSES {
            let mut vec = written(class, 1);
            let address = vec.as_ptr();
            let slot = IdleBuf::take(&mut vec, class).expect("exactly the class's size");
            assert_eq!(vec.capacity(), 0);
            // SAFETY: the pointer is used once, with the class it was made with.
            let vec = unsafe { IdleBuf::from_ptr(slot.into_ptr()).into_vec(class) };
            assert_eq!((vec.len(), vec.capacity(), vec.as_ptr()), (0, size_of_class(class), address));
        }
    }

    #[test]
    fn a_vec_of_another_capacity_is_not_taken_and_stays_as_it_is() {
        for capacity in [0, 1, 63, 65, 127, 256] {
            let mut vec = Vec::with_capacity(capacity);
            vec.resize(capacity, 7);
            assert!(IdleBuf::take(&mut vec, 1).is_none());
            assert_eq!(vec, vec![7; capacity]);
        }
    }

    #[test]
    fn shrink_cuts_to_exactly_what_is_asked_and_the_memory_is_whole() {
        for (from, to) in [(65, 64), (1000, 512), (5000, 4096), (70_000, 65_536), (300_000, 64)] {
            let mut vec = vec![3; from];
            shrink(&mut vec, to);
            assert_eq!((vec.len(), vec.capacity()), (0, to));
            vec.resize(to, 4);
            assert!(vec.iter().all(|&byte| byte == 4));
        }
    }

    #[test]
    fn shrink_to_nothing_or_to_more_leaves_the_buffer_as_it_is() {
        for to in [0, 100, 101, usize::MAX] {
            let mut vec = vec![5; 100];
            shrink(&mut vec, to);
            assert_eq!((&vec[..], vec.capacity()), (&[5; 100][..], 100));
        }
        let mut empty = Vec::new();
        shrink(&mut empty, 64);
        assert_eq!(empty.capacity(), 0);
    }
}
