//! What every operation must know, in one word: default size, max size, growth jump, and the number of the trim
//! interval.
//!
//! One word cannot be read torn. (Go's original keeps default and max apart.) A thread remembers the word it acted on
//! last. While it is unchanged, sizes and interval are as they were, and nothing that depends on them need be looked
//! at. That a thread compares in time is the stamp's part: see `storage/per_thread.rs`.

use crate::class::CLASSES;
use crate::learn::sizing::Sizes;
use crate::sync::{AtomicU64, Ordering, const_unless_loom};

#[derive(Debug)]
pub(crate) struct AtomicEpoch(AtomicU64);

/// The word: default class, max class and jump class in a byte each, the number of the interval in the 40 bits above.
///
/// Intervals are counted from 1, so that no word is 0. At one a second they wrap after 34 000 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

const MAX_SHIFT: u32 = 8;
const JUMP_SHIFT: u32 = 16;
const INTERVAL_SHIFT: u32 = 24;
const CLASS_MASK: u64 = 0xff;

const _: () = assert!((CLASSES as u64) <= CLASS_MASK);

impl Epoch {
    pub(crate) const fn new(sizes: Sizes) -> Epoch {
        Epoch(1 << INTERVAL_SHIFT).with_sizes(sizes, 0)
    }

    pub(crate) const fn from_word(word: u64) -> Epoch {
        Epoch(word)
    }

    #[inline]
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn default_class(self) -> usize {
        (self.0 & CLASS_MASK) as usize
    }

    #[inline]
    pub(crate) fn max_class(self) -> usize {
        (self.0 >> MAX_SHIFT & CLASS_MASK) as usize
    }

    /// The least class that a growth moves to.
    #[inline]
    pub(crate) fn jump_class(self) -> usize {
        (self.0 >> JUMP_SHIFT & CLASS_MASK) as usize
    }

    pub(crate) fn sizes(self) -> Sizes {
        Sizes { default_class: self.default_class(), max_class: self.max_class() }
    }

    /// The number of the trim interval.
    pub(crate) fn interval(self) -> u64 {
        self.0 >> INTERVAL_SHIFT
    }

    const fn with_sizes(self, sizes: Sizes, jump_class: usize) -> Epoch {
        let epoch = self.0 >> INTERVAL_SHIFT << INTERVAL_SHIFT;
        let classes =
            sizes.default_class as u64 | ((sizes.max_class as u64) << MAX_SHIFT) | ((jump_class as u64) << JUMP_SHIFT);
        Epoch(epoch | classes)
    }
}

impl AtomicEpoch {
    const_unless_loom! {
        pub(crate) const fn new(sizes: Sizes) -> AtomicEpoch {
            AtomicEpoch(AtomicU64::new(Epoch::new(sizes).0))
        }
    }

    /// Relaxed, as are the writes: the word holds everything that it stands for. That a thread looks at it in time is
    /// the stamp's part. Model: loom_tests::stamp::a_thread_that_sees_the_stamp_sees_the_policy.
    #[inline]
    pub(crate) fn load(&self) -> Epoch {
        Epoch(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn set_sizes(&self, sizes: Sizes, jump_class: usize) {
        let update = |word| Some(Epoch(word).with_sizes(sizes, jump_class).0);
        // The closure never returns `None`.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
    }

    /// A trim interval passes.
    pub(crate) fn next_interval(&self) {
        self.0.fetch_add(1 << INTERVAL_SHIFT, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn sizes_jump_and_epoch_do_not_touch_each_other() {
        let cell = AtomicEpoch::new(Sizes { default_class: 3, max_class: 19 });
        cell.next_interval();
        cell.set_sizes(Sizes { default_class: 19, max_class: 7 }, 5);
        cell.next_interval();
        let epoch = cell.load();
        assert_eq!(epoch.sizes(), Sizes { default_class: 19, max_class: 7 });
        assert_eq!((epoch.jump_class(), epoch.interval()), (5, 3));
        assert_eq!(Epoch::from_word(epoch.word()), epoch);
    }
}
