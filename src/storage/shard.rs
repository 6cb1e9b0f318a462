//! What a pool has for each thread: a cache, counters, the count-down of uses, and a place in the thread's list of
//! shards.

use std::cell::Cell;

use super::table::ROWS;
use super::thread_cache::{SMALL_CLASSES, ThreadCache};
use super::zeroed::Zeroed;
use crate::learn::clock::Pace;
use crate::learn::counters::{Counter, Counters};
use crate::sync::{AtomicBool, Ordering};

/// One thread's part of one pool: its cache and its counters.
///
/// When the thread ends the shard is emptied, stays with the pool, and serves the next thread that gets the same index.
/// So a thousand short-lived threads make as many shards as ever lived at once. 128-byte aligned, so that no two
/// threads write to one cache line, nor to two that a prefetcher pairs.
#[derive(Debug)]
#[cfg_attr(pool_loom, derive(Default))]
#[repr(C, align(128))]
pub(crate) struct Shard {
    /// To be touched through a [`super::Local`] only, except for lengths. First, so that a class's stack is found by a
    /// shift.
    pub(super) cache: ThreadCache,
    /// Uses until the owner looks at the clock.
    pub(super) left: Owned<u64>,
    pub(crate) pace: Pace,
    /// The epoch that the owner acted on last, as a word; 0, which no epoch is, before its first operation.
    pub(crate) epoch_seen: Counter,
    /// The bytes of all leased slots.
    pub(crate) leased_bytes: Counter,
    pub(crate) counters: Counters,
    /// The stamp under which the owner attached last.
    pub(super) stamp_seen: Counter,
    /// The thread's row in the table of places.
    row: Counter,
    /// Whether the shard is on its thread's list. Written by its owner, or when its pool is dropped.
    linked: AtomicBool,
    pub(super) links: Links,
}

// SAFETY: integers, null pointers, `false` and `None` of a function pointer, for all of which zeros are valid, in
// atomics and cells, which have their contents' representation: an empty cache without leases, of no thread.
unsafe impl Zeroed for Shard {}

impl Shard {
    /// How many buffers of `class` the cache has. Of another thread's shard this is how many it had a moment ago.
    pub(crate) fn retained(&self, class: usize) -> usize {
        if class < SMALL_CLASSES { self.cache.len(class) } else { 0 }
    }

    #[cfg(all(test, not(pool_loom)))]
    pub(crate) fn leased(&self, class: usize) -> usize {
        self.cache.leased(class)
    }

    #[inline]
    pub(crate) fn row(&self) -> usize {
        self.row.get() as usize
    }

    pub(super) fn set_row(&self, index: usize) {
        self.row.set((index % ROWS) as u64);
    }

    /// The thread ends; the next owner attaches anew.
    pub(crate) fn forget_stamp(&self) {
        self.stamp_seen.set(0);
    }

    pub(super) fn is_linked(&self) -> bool {
        self.linked.load(Ordering::Relaxed)
    }

    pub(super) fn set_linked(&self, linked: bool) {
        self.linked.store(linked, Ordering::Relaxed);
    }
}

/// A shard's place in its thread's list; empty if the shard has no thread. Read and written under the process-wide
/// lock.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) next: Cell<*const Shard>,
    /// The pointer that points to this shard: the head's, or the `next` of the shard before it.
    pub(super) pointed_by: Cell<*const Cell<*const Shard>>,
    /// The shared part of the shard's pool, and how the thread hands back to it.
    pub(super) shared: Cell<*const ()>,
    pub(super) hand_back: Cell<Option<HandBack>>,
}

// SAFETY: the cells are used under the lock of `threads::with_threads` only; `linked` in `Shard` is what may be read
// without it.
unsafe impl Send for Links {}
// SAFETY: as above.
unsafe impl Sync for Links {}

#[cfg(pool_loom)]
impl Default for Links {
    fn default() -> Links {
        Links {
            next: Cell::new(std::ptr::null()),
            pointed_by: Cell::new(std::ptr::null()),
            shared: Cell::new(std::ptr::null()),
            hand_back: Cell::new(None),
        }
    }
}

/// Hands back what a thread has in one pool. The pointer is to the pool's shared part.
///
/// # Safety
///
/// The pool is alive, the shard belongs to it, and the calling thread owns the shard and has no `Local` of it.
pub(super) type HandBack = unsafe fn(*const (), &Shard);

/// A value that only the shard's owner reads and writes. Not an atomic: a count-down of one is two instructions more.
#[derive(Debug)]
#[cfg_attr(pool_loom, derive(Default))]
pub(super) struct Owned<T: Copy>(Cell<T>);

// SAFETY: only `get` and `set` look at the cell, and by their contract on the owner's thread. The shard changes its
// owner under the process-wide lock.
unsafe impl<T: Copy + Send> Sync for Owned<T> {}

impl<T: Copy> Owned<T> {
    /// # Safety
    ///
    /// The caller is the owner.
    #[inline]
    pub(super) unsafe fn get(&self) -> T {
        self.0.get()
    }

    /// # Safety
    ///
    /// The caller is the owner.
    #[inline]
    pub(super) unsafe fn set(&self, value: T) {
        self.0.set(value);
    }
}
