//! What one use was: how large it got, and whether its size was asked for.

use crate::class::{MAX_CLASS_SIZE, class_of};

/// The running record of a use, carried by its guard in one word.
///
/// The low bit says whether a capacity was asked for; above it stands the peak length so far (of a use that asked, at
/// least what it asked for). Lengths stop at `isize::MAX`, so they fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(usize);

impl Mark {
    /// A use that began without a size.
    pub(crate) const PLAIN: Mark = Mark(0);

    /// The use was counted and its buffer is gone. No use reaches it: a buffer of `isize::MAX` bytes cannot exist, as
    /// the address space also holds this program.
    pub(crate) const ENDED: Mark = Mark(usize::MAX);

    /// A use that asked for `capacity` bytes, of which there cannot be more than `isize::MAX`.
    #[inline]
    pub(crate) const fn asked(capacity: usize) -> Mark {
        Mark((capacity << 1) | 1)
    }

    /// The contents were `len` bytes long at some time.
    #[inline]
    pub(crate) fn raise(&mut self, len: usize) {
        self.0 = ((self.0 >> 1).max(len) << 1) | (self.0 & 1);
    }

    /// The finished use, with `len` bytes at its end.
    #[inline]
    pub(crate) fn finish(self, len: usize) -> Use {
        Use { peak: (self.0 >> 1).max(len), asked: self.0 & 1 != 0 }
    }
}

/// A finished use, as calibration counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// The largest length that was held or asked for. Zero says nothing, and is not counted.
    pub(crate) peak: usize,
    pub(crate) asked: bool,
}

impl Use {
    /// A donated buffer.
    pub(crate) fn donated(len: usize) -> Use {
        Mark::PLAIN.finish(len)
    }

    /// How many bytes of a buffer that ends with `len` bytes were written, as far as the guard knows: what was asked for
    /// need not have been.
    #[inline]
    pub(crate) fn written(self, len: usize) -> usize {
        if self.asked { len } else { self.peak }
    }

    /// The class it counts in, if it held or asked for something that has a class.
    #[inline]
    pub(crate) fn class(self) -> Option<usize> {
        // One comparison for both odd cases: nothing, and more than the largest class.
        if self.peak.wrapping_sub(1) < MAX_CLASS_SIZE { Some(class_of(self.peak)) } else { None }
    }

    /// The class it counts in; the largest for all that is larger.
    pub(crate) fn counted_class(self) -> Option<usize> {
        if self.peak == 0 { None } else { Some(class_of(self.peak)) }
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_counts_not_the_end() {
        let mut mark = Mark::PLAIN;
        mark.raise(900);
        mark.raise(10);
        assert_eq!(mark.finish(5), Use { peak: 900, asked: false });
        assert_eq!(mark.finish(901), Use { peak: 901, asked: false });
    }

    #[test]
    fn an_asked_size_counts_at_least_as_asked_and_stays_marked() {
        let mut mark = Mark::asked(4096);
        assert_eq!(mark.finish(0), Use { peak: 4096, asked: true });
        mark.raise(5000);
        assert_eq!(mark.finish(3), Use { peak: 5000, asked: true });
    }

    #[test]
    fn nothing_asked_and_nothing_held_is_not_counted() {
        assert_eq!(Mark::PLAIN.finish(0).counted_class(), None);
        assert_eq!(Mark::asked(0).finish(0).counted_class(), None);
        assert_eq!(Mark::asked(0).finish(1).counted_class(), Some(0));
        assert_eq!(Mark::PLAIN.finish(MAX_CLASS_SIZE + 1).counted_class(), Some(19));
    }
}
