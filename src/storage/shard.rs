//! What a pool has per thread.

use super::cache::{Cache, SMALL_CLASSES};
use super::large::LargeSlot;
use crate::books::{Books, Counter};
use crate::class::CLASSES;

/// One thread's part of one pool: its cache, its large slots, its counters.
///
/// It stays with the pool when the thread ends, emptied, and serves the next thread that gets the same index; so a
/// thousand short-lived threads make as many shards as ever lived at once. 128-byte aligned: no two threads write one
/// cache line, nor two that a prefetcher pairs.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Shard {
    /// The policy word that the owner acted on last.
    pub(crate) policy_seen: Counter,
    /// The bytes of the slots that the cache's leases cover.
    pub(crate) leased_bytes: Counter,
    /// Not to be touched but through a [`super::Local`], except for lengths.
    pub(super) cache: Cache,
    pub(crate) books: Books,
    pub(super) large: [LargeSlot; CLASSES - SMALL_CLASSES],
}

impl Default for Shard {
    fn default() -> Shard {
        Shard {
            // No word is all ones, so the first operation looks at the policy.
            policy_seen: {
                let counter = Counter::default();
                counter.set(u64::MAX);
                counter
            },
            leased_bytes: Counter::default(),
            cache: Cache::default(),
            books: Books::default(),
            large: std::array::from_fn(LargeSlot::new),
        }
    }
}

impl Shard {
    /// The slot of a class above 32 KiB.
    #[inline]
    pub(crate) fn large(&self, class: usize) -> &LargeSlot {
        &self.large[class - SMALL_CLASSES]
    }

    /// How many buffers of `class` lie here; of another thread's shard, a moment ago.
    pub(crate) fn retained(&self, class: usize) -> usize {
        if class < SMALL_CLASSES { self.cache.len(class) } else { usize::from(self.large(class).is_full()) }
    }
}
