//! Idle buffers and who may touch them: one of the two places with `unsafe`.
//!
//! An idle buffer is one word, the pointer to its memory: its capacity is exactly the size of the class it lies in, so
//! it need not be stored. Moving a 24-byte `Vec` in and out of a slot instead stalls on store forwarding (two 8-byte
//! stores read back as one 16-byte load): 13.3 ns a get + drop, against 4 for the one word; a `Box<Vec<u8>>` is one
//! word and safe, but adds a second allocation and a dependent load, 8.5–13.9 ns with counters.
//!
//! What this module guarantees to the others, which are all safe code:
//!
//! - [`idle`]: a `Vec<u8>` becomes a slot only if its capacity is its class's size, checked in release builds too.
//! - [`batch`], [`list`], [`thread_cache`], [`table`]: containers of slots, each tied to classes when it is made, so that a slot
//!   comes out with the class it went in with. Dropping a container frees its buffers.
//! - [`per_thread`], [`threads`]: a [`Local`] is the proof of being the one thread that may touch a [`Shard`]'s stacks; it
//!   cannot leave its thread nor outlive its pool.
//! - [`zeroed`]: structures that are built on the heap and never on a stack.
#![allow(unsafe_code)]

mod batch;
mod idle;
mod list;
mod per_thread;
mod shard;
mod table;
mod thread_cache;
mod threads;
mod zeroed;

pub(crate) use batch::{BATCH_SLOTS, Batch};
pub(crate) use idle::{RawBuf, shrink};
pub(crate) use list::{BatchList, Node};
pub(crate) use per_thread::{Local, PerThread, Shards, Shared, Tenant};
pub(crate) use shard::Shard;
pub(crate) use table::{Charge, Put, ROWS, Table};
pub(crate) use thread_cache::{SMALL_CLASSES, slots_max};
pub(crate) use threads::Stamp;
#[cfg(any(pool_loom, test))]
pub(crate) use threads::end_thread;
pub(crate) use zeroed::Zeroed;

/// What this thread has done, for tests that count.
#[cfg(all(test, not(pool_loom)))]
pub(crate) mod tally {
    use std::cell::Cell;

    thread_local! {
        static LOCKS: Cell<u64> = const { Cell::new(0) };
        static PLACES: Cell<u64> = const { Cell::new(0) };
    }

    /// The times that it took the process-wide lock.
    pub(crate) fn locks() -> u64 {
        LOCKS.get()
    }

    /// The places of tables that it tried to take a buffer from.
    pub(crate) fn places() -> u64 {
        PLACES.get()
    }

    pub(super) fn count_lock() {
        LOCKS.set(LOCKS.get() + 1);
    }

    pub(super) fn count_place() {
        PLACES.set(PLACES.get() + 1);
    }
}
