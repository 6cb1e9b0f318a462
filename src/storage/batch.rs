//! A batch: up to 15 cached buffers of one class that move between threads together, by value.
//!
//! It is the magazine of Bonwick & Adams, "Magazines and Vmem" (USENIX 2001). In the depot it takes another form,
//! without memory of its own: see [`super::list`].

use super::idle::IdleBuf;
use crate::class::CLASSES;

/// How many buffers a batch holds: with the class and the length, 128 bytes, two cache lines.
pub(crate) const BATCH_SLOTS: usize = 15;

const _: () = assert!(size_of::<usize>() != 8 || size_of::<Batch>() == 128);
const _: () = assert!(CLASSES <= u8::MAX as usize);

// `repr(C)` for this order of fields: another takes 136 bytes.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Batch {
    /// The class of every buffer; set once, in `new`.
    class: u8,
    len: u8,
    slots: [Option<IdleBuf>; BATCH_SLOTS],
}

impl Batch {
    #[inline(never)]
    pub(crate) fn new(class: usize) -> Batch {
        assert!(class < CLASSES);
        Batch { class: class as u8, len: 0, slots: [const { None }; BATCH_SLOTS] }
    }

    pub(crate) fn class(&self) -> usize {
        usize::from(self.class)
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Adds the buffer of `vec` and leaves an empty `Vec`. Does nothing if the batch is full or the capacity is not the
    /// class's size.
    #[inline(never)]
    pub(crate) fn push(&mut self, vec: &mut Vec<u8>) -> bool {
        let slot = if self.len() < BATCH_SLOTS { IdleBuf::take(vec, self.class()) } else { None };
        let pushed = slot.is_some();
        if let Some(slot) = slot {
            self.push_idle(slot);
        }
        pushed
    }

    /// The caller has made sure that the buffer is of the batch's class and that there is room.
    pub(super) fn push_idle(&mut self, slot: IdleBuf) {
        self.slots[self.len()] = Some(slot);
        self.len += 1;
    }

    /// The buffer that was added last.
    pub(crate) fn pop(&mut self) -> Option<Vec<u8>> {
        // SAFETY: every IdleBuf in here was made with the class of this batch: by `push`, or by one of the two callers
        // of `push_idle`, `Local::take_cold` and `Node::into_batch`, which make the batch for the stack or the node
        // they empty.
        self.pop_idle().map(|slot| unsafe { slot.into_vec(self.class()) })
    }

    pub(super) fn pop_idle(&mut self) -> Option<IdleBuf> {
        self.len = self.len.checked_sub(1)?;
        self.slots[self.len()].take()
    }
}

impl Drop for Batch {
    #[inline(never)]
    fn drop(&mut self) {
        while let Some(vec) = self.pop() {
            drop(vec);
        }
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;
    use crate::class::size_of_class;

    #[test]
    fn a_batch_gives_back_what_was_added_last_and_frees_the_rest() {
        let mut batch = Batch::new(2);
        let mut addresses = Vec::new();
        for _ in 0..BATCH_SLOTS {
            let mut vec = Vec::with_capacity(size_of_class(2));
            addresses.push(vec.as_ptr());
            assert!(batch.push(&mut vec));
        }
        let mut one_more = Vec::with_capacity(size_of_class(2));
        assert!(!batch.push(&mut one_more) && one_more.capacity() == size_of_class(2), "a full batch takes nothing");
        for _ in 0..5 {
            let mut vec = batch.pop().expect("there are more");
            assert_eq!(Some(vec.as_ptr()), addresses.pop());
            vec.resize(size_of_class(2), 9);
        }
        assert_eq!((batch.len(), batch.class()), (BATCH_SLOTS - 5, 2));
        drop(batch);
    }

    #[test]
    fn a_batch_takes_only_its_class() {
        let mut batch = Batch::new(0);
        for capacity in [0, 63, 65, 128] {
            let mut vec = Vec::with_capacity(capacity);
            assert!(!batch.push(&mut vec) && vec.capacity() == capacity);
        }
        assert!(batch.pop().is_none());
    }
}
