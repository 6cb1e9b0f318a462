//! Idle buffers and who may touch them: one of the two places with `unsafe`.
//!
//! An idle buffer is one word, the pointer to its memory: its capacity is exactly the size of the class it lies in, so
//! it need not be stored. Moving a 24-byte `Vec` in and out of a slot instead stalls on store forwarding (two 8-byte
//! stores read back as one 16-byte load): 13.3 ns a get + drop, against 4 for the one word; a `Box<Vec<u8>>` is one
//! word and safe, but adds a second allocation and a dependent load, 8.5–13.9 ns with counters.
//!
//! What this module guarantees to the others, which are all safe code:
//!
//! - [`slot`]: a `Vec<u8>` becomes a slot only if its capacity is its class's size, checked in release builds too.
//! - [`batch`], [`cache`], [`large`]: containers of slots, each tied to classes when it is made, so that a slot comes
//!   out with the class it went in with. Dropping a container frees its buffers.
//! - [`anchor`]: a [`Local`] is the proof of being the one thread that may touch a [`Shard`]'s stacks; it cannot
//!   leave its thread nor outlive its pool.
#![allow(unsafe_code)]

mod anchor;
mod batch;
mod cache;
mod large;
mod shard;
mod slot;

#[cfg(pool_loom)]
pub(crate) use anchor::end_thread;
pub(crate) use anchor::{Anchor, Local, Shards, Shared, Stamp, Tenant};
pub(crate) use batch::{BATCH_SLOTS, Batch};
pub(crate) use cache::{SMALL_CLASSES, slots_max};
pub(crate) use large::LargePut;
pub(crate) use shard::Shard;
pub(crate) use slot::{Bare, shrink};
