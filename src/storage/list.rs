//! A list of batches without memory of its own: the links are in the cached buffers themselves.
//!
//! A batch becomes a *node*. The first words of one of its buffers, the head, hold the next node, the number of
//! buffers, and the pointers of the others. So a list has no limit, and neither growing nor shrinking allocates. A
//! batch costs one or two cache lines. What arrays outside the buffers cost, and a chain through all buffers: see
//! docs/design.md.
//!
//! A `Vec<u8>` has alignment 1, so words are read and written unaligned. Under `zeroize` they are wiped when a node is
//! taken.

use super::batch::{BATCH_SLOTS, Batch};
use super::idle::IdleBuf;
use crate::class::{CLASSES, MIN_CLASS_SIZE, size_of_class};

/// A batch in the form that a list links.
#[derive(Debug)]
pub(crate) struct Node {
    class: u8,
    head: *mut u8,
}

/// Nodes of one class, last in, first out.
#[derive(Debug)]
pub(crate) struct BatchList {
    class: u8,
    /// The last node's head, or null.
    first: *mut u8,
}

// SAFETY: both own the buffers that they link, as the Vec<u8>s these were made from did, and those are Send.
unsafe impl Send for Node {}
// SAFETY: as for Node.
unsafe impl Send for BatchList {}

/// The words of a node, by index.
const NEXT: usize = 0;
const COUNT: usize = 1;
const OTHERS: usize = 2;

/// How many buffers a node of `class` links: the head, and as many others as its words have room for after the first
/// two. On 64-bit targets 7 buffers of 64 B, and a whole batch of every other class.
const fn node_slots(class: usize) -> usize {
    let by_room = size_of_class(class) / size_of::<usize>() - OTHERS + 1;
    if by_room < BATCH_SLOTS { by_room } else { BATCH_SLOTS }
}

const _: () = assert!(MIN_CLASS_SIZE >= OTHERS * size_of::<usize>());

impl Node {
    /// Takes the last buffers of a batch, as many as a node links; `None` if it is empty.
    pub(crate) fn of(batch: &mut Batch) -> Option<Node> {
        let class = batch.class();
        let head = batch.pop_idle()?.into_ptr();
        let mut count = 1;
        while count < node_slots(class) {
            let Some(other) = batch.pop_idle() else { break };
            // SAFETY: the head is a buffer of `class` that this function owns, and the word is within it: the index is
            // below `OTHERS + node_slots - 1`, and so many words fit.
            unsafe { word(head, OTHERS + count - 1).write_unaligned(other.into_ptr()) };
            count += 1;
        }
        // SAFETY: as above, for a word that fits in the smallest class.
        unsafe { word(head, COUNT).cast::<usize>().write_unaligned(count) };
        Some(Node { class: class as u8, head })
    }

    pub(crate) fn into_batch(self) -> Batch {
        let node = std::mem::ManuallyDrop::new(self);
        let class = usize::from(node.class);
        // SAFETY: the head is a buffer that `of` has written this word to, and the node owns it.
        let count = unsafe { word(node.head, COUNT).cast::<usize>().read_unaligned() };
        let mut batch = Batch::new(class);
        for index in (0..count - 1).rev() {
            // SAFETY: as above: `of` has written `count - 1` pointers there, each of an IdleBuf of the class, and a node is
            // taken apart once.
            batch.push_idle(unsafe { IdleBuf::from_ptr(word(node.head, OTHERS + index).read_unaligned()) });
        }
        // SAFETY: the words that `of` and `push` wrote, all within the head, which this function owns.
        unsafe { wipe(node.head, (OTHERS + count - 1) * size_of::<usize>()) };
        // SAFETY: `of` took the pointer from an IdleBuf of the class, and the node was its only owner.
        batch.push_idle(unsafe { IdleBuf::from_ptr(node.head) });
        batch
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(Node { class: self.class, head: self.head }.into_batch());
    }
}

impl BatchList {
    pub(crate) fn new(class: usize) -> BatchList {
        assert!(class < CLASSES);
        BatchList { class: class as u8, first: std::ptr::null_mut() }
    }

    /// Links a node of the list's class. Writes two words.
    pub(crate) fn push(&mut self, node: Node) {
        assert!(node.class == self.class);
        let node = std::mem::ManuallyDrop::new(node);
        // SAFETY: the head is a buffer that the node owned, and its first word is free for the link.
        unsafe { word(node.head, NEXT).write_unaligned(self.first) };
        self.first = node.head;
    }

    /// The node that was linked last. Reads two words.
    pub(crate) fn pop(&mut self) -> Option<Node> {
        let head = self.first;
        if head.is_null() {
            return None;
        }
        // SAFETY: `push` put this head here and wrote its first word; the list owns it.
        self.first = unsafe { word(head, NEXT).read_unaligned() };
        Some(Node { class: self.class, head })
    }
}

impl Drop for BatchList {
    #[inline(never)]
    fn drop(&mut self) {
        while let Some(node) = self.pop() {
            drop(node);
        }
    }
}

/// # Safety
///
/// The `index`-th word lies within the buffer at `head`.
unsafe fn word(head: *mut u8, index: usize) -> *mut *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { head.add(index * size_of::<usize>()).cast() }
}

/// Links are wiped where contents are.
///
/// # Safety
///
/// The caller owns the `len` bytes at `start`.
#[cfg(feature = "zeroize")]
unsafe fn wipe(start: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { start.write_bytes(0, len) };
    // SAFETY: as above, and they are initialized now.
    zeroize::optimization_barrier(unsafe { std::slice::from_raw_parts(start, len) });
}

#[cfg(not(feature = "zeroize"))]
unsafe fn wipe(_: *mut u8, _: usize) {}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    /// A batch of `count` buffers that are full of `byte`, and their addresses.
    fn batch_of(class: usize, count: usize, byte: u8) -> (Batch, Vec<*const u8>) {
        let mut batch = Batch::new(class);
        let addresses = (0..count).map(|_| {
            let mut vec = vec![byte; size_of_class(class)];
            let address = vec.as_ptr();
            assert!(batch.push(&mut vec));
            address
        });
        let addresses = addresses.collect();
        (batch, addresses)
    }

    fn link(list: &mut BatchList, mut batch: Batch) -> usize {
        std::iter::from_fn(|| Node::of(&mut batch)).map(|node| list.push(node)).count()
    }

    fn addresses_of(list: &mut BatchList) -> Vec<*const u8> {
        let mut addresses = Vec::new();
        while let Some(node) = list.pop() {
            let mut batch = node.into_batch();
            while let Some(vec) = batch.pop() {
                assert_eq!(vec.capacity(), size_of_class(batch.class()));
                addresses.push(vec.as_ptr());
            }
        }
        addresses
    }

    #[test]
    fn every_number_of_buffers_of_every_class_comes_out_as_it_went_in() {
        for class in [0, 1, 2, CLASSES - 1] {
            for count in 1..=BATCH_SLOTS {
                let mut list = BatchList::new(class);
                let (batch, mut expected) = batch_of(class, count, 0);
                assert_eq!(link(&mut list, batch), count.div_ceil(node_slots(class)));
                let mut found = addresses_of(&mut list);
                found.sort();
                expected.sort();
                assert_eq!(found, expected, "{count} of class {class}");
                if class == CLASSES - 1 && count > 2 {
                    break;
                }
            }
        }
        if size_of::<usize>() == 8 {
            assert_eq!((node_slots(0), node_slots(1)), (7, BATCH_SLOTS));
        }
    }

    #[test]
    fn the_last_node_comes_first_and_a_list_that_ends_frees_the_rest() {
        let mut list = BatchList::new(1);
        for byte in 0..3 {
            link(&mut list, batch_of(1, 4, byte).0);
        }
        for _ in 0..2 {
            assert_eq!(list.pop().map(|node| node.into_batch().len()), Some(4));
        }
        drop(list.pop());
        link(&mut list, batch_of(1, 9, 9).0);
        drop(list);
    }

    #[test]
    #[cfg(feature = "zeroize")]
    fn the_links_are_wiped_when_a_node_is_taken() {
        for class in [0, 1] {
            let mut list = BatchList::new(class);
            link(&mut list, batch_of(class, node_slots(class), 0).0);
            link(&mut list, batch_of(class, node_slots(class), 0).0);
            while let Some(node) = list.pop() {
                let mut batch = node.into_batch();
                while let Some(mut vec) = batch.pop() {
                    // SAFETY: `batch_of` has written all of it.
                    unsafe { vec.set_len(vec.capacity()) };
                    assert!(vec.iter().all(|&byte| byte == 0), "{vec:?}");
                }
            }
        }
    }
}
