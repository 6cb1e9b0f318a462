//! What one use was: how large it got, and whether it had an explicit capacity.

use crate::class::{MAX_CLASS_SIZE, class_of};

/// The running record of a use, one word in its guard.
///
/// The low bits say whether the capacity was explicit, and whether the peak was reserved and not reached. Above them is
/// the peak length so far; with an explicit capacity it is at least that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peak(usize);

const ASKED: usize = 1;
const RESERVED: usize = 2;
const FLAGS: usize = ASKED | RESERVED;
const PEAK_SHIFT: u32 = 2;

impl Peak {
    /// A use of a plain `get`.
    pub(crate) const PLAIN: Peak = Peak(0);

    /// There is no use: it has not begun, or it was counted and its buffer is gone. No use reaches this: a buffer of so many
    /// bytes cannot exist, as the address space also holds this program.
    pub(crate) const NO_USE: Peak = Peak(usize::MAX);

    /// A use with an explicit capacity.
    #[inline]
    pub(crate) const fn asked(capacity: usize) -> Peak {
        Peak(Peak::peak_bits(capacity) | ASKED)
    }

    /// The contents were `len` bytes long at some time.
    #[inline]
    pub(crate) fn raise(&mut self, len: usize) {
        if len >= self.len() {
            self.0 = Peak::peak_bits(len) | (self.0 & ASKED);
        }
    }

    /// Room for `len` bytes in all was reserved.
    #[inline]
    pub(crate) fn reserve(&mut self, len: usize) {
        if len > self.len() {
            self.0 = Peak::peak_bits(len) | (self.0 & ASKED) | RESERVED;
        }
    }

    /// The finished use, with `len` bytes at its end.
    #[inline]
    pub(crate) fn finish(self, len: usize) -> Use {
        Use { peak: self.len().max(len), asked: self.0 & ASKED != 0, is_peak_written: self.0 & FLAGS == 0 }
    }

    #[inline]
    const fn len(self) -> usize {
        self.0 >> PEAK_SHIFT
    }

    /// On 32-bit targets a peak stops below 1 GiB, far above the largest class, and short of `NO_USE`.
    #[inline]
    const fn peak_bits(len: usize) -> usize {
        const PEAK_MAX: usize = (usize::MAX >> PEAK_SHIFT) - 1;
        let peak = if usize::BITS < 64 && len > PEAK_MAX { PEAK_MAX } else { len };
        peak << PEAK_SHIFT
    }
}

/// A finished use, as calibration counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// The largest length that was held, reserved or asked for. Zero says nothing, and is no call.
    pub(crate) peak: usize,
    pub(crate) asked: bool,
    is_peak_written: bool,
}

impl Use {
    /// A donated buffer.
    pub(crate) fn donated(len: usize) -> Use {
        Peak::PLAIN.finish(len)
    }

    /// A use that counts with `size` bytes as asked for.
    pub(crate) fn asked(size: usize) -> Use {
        Peak::asked(size).finish(0)
    }

    #[cfg(all(test, not(pool_loom)))]
    pub(crate) fn of(peak: usize, asked: bool) -> Use {
        Use { peak, asked, is_peak_written: false }
    }

    /// How many bytes of a buffer that ends with `len` bytes were written, as far as the guard knows. What was asked
    /// for or reserved need not have been written.
    #[inline]
    pub(crate) fn written(self, len: usize) -> usize {
        if self.is_peak_written { self.peak } else { len }
    }

    /// Whether it held or asked for something that has a class.
    #[inline]
    pub(crate) fn has_class(self) -> bool {
        // One comparison for both exceptions: nothing, and more than the largest class.
        self.peak.wrapping_sub(1) < MAX_CLASS_SIZE
    }

    /// The class it counts in; the largest class for everything larger.
    pub(crate) fn counted_class(self) -> Option<usize> {
        Use::class_of_peak(self.peak)
    }

    pub(crate) fn class_of_peak(peak: usize) -> Option<usize> {
        if peak == 0 { None } else { Some(class_of(peak)) }
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_counts_not_the_end() {
        let mut peak = Peak::PLAIN;
        peak.raise(900);
        peak.raise(10);
        assert_eq!(peak.finish(5), Use { peak: 900, asked: false, is_peak_written: true });
        assert_eq!(peak.finish(901), Use { peak: 901, asked: false, is_peak_written: true });
    }

    /// So that the bytes of a longer contents before are made useless too.
    #[test]
    fn what_was_written_stays_written_when_no_more_is_reserved() {
        let mut peak = Peak::PLAIN;
        peak.raise(900);
        peak.reserve(900);
        assert_eq!(peak.finish(10).written(10), 900);
        peak.reserve(901);
        assert_eq!(peak.finish(10).written(10), 10, "what was only reserved may never have been written");
    }

    #[test]
    fn an_asked_size_counts_at_least_as_asked_and_stays_marked() {
        let mut peak = Peak::asked(4096);
        assert_eq!(peak.finish(0), Use::of(4096, true));
        peak.raise(5000);
        assert_eq!(peak.finish(3), Use::of(5000, true));
    }

    #[test]
    fn what_was_reserved_counts_as_held_but_not_as_written() {
        let mut peak = Peak::PLAIN;
        peak.raise(100);
        peak.reserve(50);
        assert_eq!(peak.finish(3).written(3), 100);
        peak.reserve(4000);
        peak.raise(200);
        let usage = peak.finish(3);
        assert_eq!((usage.peak, usage.asked, usage.written(3)), (4000, false, 3));
        peak.raise(4001);
        assert_eq!((peak.finish(3).peak, peak.finish(3).written(3)), (4001, 4001));
    }

    #[test]
    fn nothing_asked_and_nothing_held_is_not_counted() {
        assert_eq!(Peak::PLAIN.finish(0).counted_class(), None);
        assert_eq!(Peak::asked(0).finish(0).counted_class(), None);
        assert_eq!(Peak::asked(0).finish(1).counted_class(), Some(0));
        assert_eq!(Peak::PLAIN.finish(MAX_CLASS_SIZE + 1).counted_class(), Some(19));
    }
}
