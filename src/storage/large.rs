//! A slot for one large buffer, above 32 KiB, that its thread fills and that every thread can take from.
//!
//! One atomic word: no place leased, a leased and empty place, or a buffer. Only the owner turns one of the first two
//! into the other or into a buffer, so it does so by plain stores; taking the buffer out is a compare-exchange, as the
//! owner and others may want it at once. So a get + drop has one locked instruction. With a compare-exchange on both
//! sides, which would let others give up an empty place's lease, it took 29.6 ns instead of 20 where `malloc` + `free` of
//! a large block take 35; without any, a sleeping thread would strand megabytes.
//!
//! The locked instruction waits for all stores before it, so each of them may count: with the mark of use stored at every put,
//! and not only where it changes, a get + drop took 16.4 ns instead of 14.4 in a bare loop, and in that of `benches/compare` 16.4
//! instead of 16.1 (the locked instruction alone: 7.4). An owner's take by a swap, which is sound as nobody else fills a
//! place, takes 13.8 in the bare loop, and is a second way to take: refused.

use super::slot::Slot;
use crate::storage::cache::SMALL_CLASSES;
use crate::sync::{AtomicBool, AtomicPtr, Ordering};

#[derive(Debug)]
pub(crate) struct LargeSlot {
    class: u8,
    /// Whether a buffer was put here since the last trim.
    touched: AtomicBool,
    /// Null: not leased. `empty()`: leased. Else the buffer, and leased.
    word: AtomicPtr<u8>,
}

/// What became of a buffer that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LargePut {
    Kept,
    /// There is a buffer already, or its capacity is not the class's size.
    Full,
    /// The budget has to be charged first.
    NotLeased,
}

/// The address of something of ours, so that no allocation has it.
fn empty() -> *mut u8 {
    static EMPTY: u8 = 0;
    (&raw const EMPTY).cast_mut()
}

impl LargeSlot {
    /// The slot of the `index`-th class above 32 KiB.
    pub(super) fn new(index: usize) -> LargeSlot {
        LargeSlot { class: (SMALL_CLASSES + index) as u8, touched: AtomicBool::new(false), word: AtomicPtr::default() }
    }

    /// Takes the buffer; the place stays leased. One locked instruction, none if there is no buffer.
    #[inline]
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
        // Relaxed: only a guess, which the exchange checks.
        let ptr = self.word.load(Ordering::Relaxed);
        if ptr.is_null() || ptr == empty() {
            return None;
        }
        // Acquire: pairs with the Release in `put`; what the last user wrote is visible. Model:
        // loom_tests::large::a_large_buffer_has_one_owner.
        self.word.compare_exchange(ptr, empty(), Ordering::Acquire, Ordering::Relaxed).ok()?;
        // SAFETY: the exchange took the pointer out of the word, where only `put` puts one, from a Slot of this class;
        // whoever else read it fails its exchange. If the word left and came back between the load and the exchange,
        // then by way of `put` again, and the pointer stands for the Slot given there.
        Some(unsafe { Slot::from_ptr(ptr).into_vec(usize::from(self.class)) })
    }

    /// Offers a buffer: kept, it leaves an empty `Vec`. No locked instruction.
    ///
    /// # Safety
    ///
    /// The caller is the owner.
    #[inline]
    pub(super) unsafe fn put(&self, vec: &mut Vec<u8>) -> LargePut {
        // Relaxed: nothing comes out here, and what is empty stays so until the owner, the caller, fills it. Model:
        // loom_tests::large::a_large_buffer_is_taken_once.
        let found = self.word.load(Ordering::Relaxed);
        if found != empty() {
            return if found.is_null() { LargePut::NotLeased } else { LargePut::Full };
        }
        let Some(slot) = Slot::take(vec, usize::from(self.class)) else { return LargePut::Full };
        // Stored only where it changes: see above.
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
        // An empty place changes by the owner's hand only, so no buffer can be written over here.
        // Release: pairs with the Acquire in `take`. Model: loom_tests::large::
        // a_large_buffer_has_one_owner.
        self.word.store(slot.into_ptr(), Ordering::Release);
        LargePut::Kept
    }

    /// Notes that the budget was charged for a place here; only where there is none.
    ///
    /// # Safety
    ///
    /// The caller is the owner.
    pub(super) unsafe fn lease(&self) {
        // Relaxed: no memory passes. Model: loom_tests::large::a_large_buffer_has_one_owner.
        assert!(self.word.load(Ordering::Relaxed).is_null(), "a place that is not leased");
        self.word.store(empty(), Ordering::Relaxed);
    }

    /// Gives up the lease of an empty place; whether there was one.
    ///
    /// # Safety
    ///
    /// The caller is the owner.
    pub(super) unsafe fn release(&self) -> bool {
        // Relaxed: as in `lease`.
        let is_empty = self.word.load(Ordering::Relaxed) == empty();
        if is_empty {
            self.word.store(std::ptr::null_mut(), Ordering::Relaxed);
        }
        is_empty
    }

    /// Whether a buffer was put here since this was last asked; if not, what lies here has not been needed since.
    pub(crate) fn was_touched(&self) -> bool {
        // Two steps, as a trim at the same time as a put may take either for the first. Relaxed: a hint, on which no
        // memory hangs. Model: loom_tests::trim::trim_beside_get_and_put_of_large_buffers.
        let touched = self.touched.load(Ordering::Relaxed);
        if touched {
            self.touched.store(false, Ordering::Relaxed);
        }
        touched
    }

    pub(crate) fn is_full(&self) -> bool {
        let ptr = self.word.load(Ordering::Relaxed);
        !ptr.is_null() && ptr != empty()
    }
}

impl Drop for LargeSlot {
    fn drop(&mut self) {
        drop(self.take());
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;
    use crate::class::size_of_class;

    fn buffer() -> Vec<u8> {
        vec![0; size_of_class(SMALL_CLASSES)]
    }

    #[test]
    fn a_place_is_leased_filled_emptied_and_given_up_in_this_order() {
        let slot = LargeSlot::new(0);
        let mut vec = buffer();
        let address = vec.as_ptr();
        // SAFETY: nobody else has the slot.
        unsafe {
            assert!(!slot.release(), "nothing is leased");
            assert_eq!(slot.put(&mut vec), LargePut::NotLeased);
            assert_eq!(vec.capacity(), size_of_class(SMALL_CLASSES), "a buffer that is refused stays");
            slot.lease();
            assert!(slot.take().is_none() && !slot.is_full());
            assert_eq!(slot.put(&mut vec), LargePut::Kept);
            assert!(vec.capacity() == 0 && slot.is_full() && !slot.release());
            let mut second = buffer();
            assert_eq!(slot.put(&mut second), LargePut::Full);
            assert_eq!(second.capacity(), size_of_class(SMALL_CLASSES));
        }
        let mut taken = slot.take().expect("it is full");
        assert_eq!((taken.as_ptr(), taken.capacity()), (address, size_of_class(SMALL_CLASSES)));
        taken.resize(size_of_class(SMALL_CLASSES), 1);
        assert!(slot.take().is_none());
        // SAFETY: nobody else has the slot.
        unsafe { assert!(slot.release() && !slot.release()) };
    }

    #[test]
    fn a_buffer_of_another_size_is_refused() {
        let slot = LargeSlot::new(1);
        // SAFETY: nobody else has the slot.
        unsafe {
            slot.lease();
            let mut vec = buffer();
            assert_eq!(slot.put(&mut vec), LargePut::Full);
            assert_eq!(vec.len(), size_of_class(SMALL_CLASSES));
        }
    }

    #[test]
    fn a_put_touches_and_a_full_slot_frees_its_buffer() {
        let slot = LargeSlot::new(0);
        // SAFETY: nobody else has the slot.
        unsafe {
            slot.lease();
            assert!(!slot.was_touched());
            assert_eq!(slot.put(&mut buffer()), LargePut::Kept);
        }
        assert!(slot.was_touched() && !slot.was_touched());
        drop(slot);
    }
}
