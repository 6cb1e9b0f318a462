//! Cached buffers and who may touch them: most of the crate's `unsafe` is here.
//!
//! A cached buffer is one word, the pointer to its memory. Its capacity is exactly the size of the class it is cached
//! in, so it need not be stored. A 24-byte `Vec` that moves in and out of a slot stalls on store forwarding: see
//! docs/design.md.
//!
//! What this module guarantees to the others, which are all safe code:
//!
//! - [`idle`]: a `Vec<u8>` becomes a cached buffer only if its capacity is its class's size. Release builds check this
//!   too.
//! - [`batch`], [`list`], [`thread_cache`], [`table`]: containers of cached buffers. Each is tied to its classes when
//!   it is made, so that a buffer comes out with the class it went in with. Dropping a container frees its buffers.
//! - [`per_thread`], [`threads`], [`shard`]: a [`Local`] is the proof of being the one thread that may touch a
//!   [`Shard`]'s stacks. It cannot leave its thread nor outlive its pool.
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

/// For tests that count: what this thread has done.
#[cfg(all(test, not(pool_loom)))]
pub(crate) mod tally {
    use std::cell::Cell;

    thread_local! {
        static LOCKS: Cell<u64> = const { Cell::new(0) };
        static PLACES: Cell<u64> = const { Cell::new(0) };
        static SLOW_STEPS: Cell<u64> = const { Cell::new(0) };
    }

    /// How often it took the process-wide lock.
    pub(crate) fn locks() -> u64 {
        LOCKS.get()
    }

    /// From how many places of tables it tried to take a buffer.
    pub(crate) fn places() -> u64 {
        PLACES.get()
    }

    /// How often a use went out of line, for more than its own thread's cache and row.
    pub(crate) fn slow_steps() -> u64 {
        SLOW_STEPS.get()
    }

    pub(super) fn count_lock() {
        LOCKS.set(LOCKS.get() + 1);
    }

    pub(super) fn count_place() {
        PLACES.set(PLACES.get() + 1);
    }

    pub(crate) fn count_slow_step() {
        SLOW_STEPS.set(SLOW_STEPS.get() + 1);
    }
}
