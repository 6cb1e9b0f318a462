//! Size classes: 20 powers of two from 64 B to 32 MiB.
//!
//! Go's bytebufferpool starts at 64 B because that is a cache line on the machines it was written for, and ends at
//! 32 MiB. Both are the same here, so that its test vectors hold (`index(65) == 1`, `index(2^25) == 19`). A class is an
//! index, and `64 << class` is its size in bytes. The two never share a variable.

use std::hint::black_box;
use std::ops::Range;

/// The size of the smallest class, in bytes: 64.
pub const MIN_CLASS_SIZE: usize = 64;

/// The size of the largest class, in bytes: 32 MiB. Larger buffers are allocated when asked for, and never cached.
#[cfg(not(pool_loom))]
pub const MAX_CLASS_SIZE: usize = 32 << 20;

/// Few classes make few atomics, so that models come to an end.
#[cfg(pool_loom)]
pub const MAX_CLASS_SIZE: usize = 512;

/// How many size classes there are: 20, `MIN_CLASS_SIZE << 0` to `MIN_CLASS_SIZE << 19`.
#[cfg(not(pool_loom))]
pub const CLASSES: usize = 20;

/// Two classes with stacks and two without.
#[cfg(pool_loom)]
pub const CLASSES: usize = 4;

/// How many classes above the wanted one a `get` looks in before it allocates.
///
/// Each step up uses a cached buffer of twice the size instead of allocating one. This was a setting from 0 to 2, and
/// no value of it was worth the choice: over eight traces and eight policies it moved the time by at most 2 % and the
/// cached bytes by at most 7 % (2026-11-21, docs/policy.md). The models look in one class only, since each further one
/// multiplies their interleavings.
pub(crate) const LOOK_UP_CLASSES: usize = if cfg!(pool_loom) { 0 } else { 2 };

const _: () = assert!(MIN_CLASS_SIZE.is_power_of_two());
const _: () = assert!(MIN_CLASS_SIZE << (CLASSES - 1) == MAX_CLASS_SIZE);

const MIN_CLASS_BITS: u32 = MIN_CLASS_SIZE.trailing_zeros();

/// A range whose length the optimiser does not see. It would write a loop over the classes or the rows of the table out,
/// once for each, and most of these loops are not hot: that alone was 12 KiB of a program's code.
#[inline]
pub(crate) fn rolled(range: Range<usize>) -> Range<usize> {
    black_box(range)
}

/// The size of `class` in bytes.
#[inline]
pub(crate) const fn size_of_class(class: usize) -> usize {
    MIN_CLASS_SIZE << class
}

/// The smallest class whose buffers hold `len` bytes; the largest class for everything above it.
#[inline]
pub(crate) const fn class_of(len: usize) -> usize {
    if len > MAX_CLASS_SIZE {
        return CLASSES - 1;
    }
    class_or_none(if len == 0 { 1 } else { len })
}

/// [`class_of`] for 1 B to 32 MiB; for everything else some number that is no class. Three instructions, for the hot
/// path.
#[inline]
pub(crate) const fn class_or_none(len: usize) -> usize {
    usize::BITS as usize - MIN_CLASS_BITS as usize - leading_zeros_of_size(len)
}

/// The leading zeros of `len - 1`, or of 63 if that is more; each class has a number of its own.
///
/// `(len - 1) | 63` has its highest bit at 5 for every length from 1 to 64, which saves a branch for small lengths.
#[inline]
pub(crate) const fn leading_zeros_of_size(len: usize) -> usize {
    (len.wrapping_sub(1) | (MIN_CLASS_SIZE - 1)).leading_zeros() as usize
}

/// The class whose size is exactly `capacity`, if there is one below `classes`.
#[inline]
pub(crate) const fn class_of_capacity(capacity: usize, classes: usize) -> Option<usize> {
    // A class's size becomes `1 << class`; anything below the smallest wraps to the top, zero stays zero.
    let bit = capacity.rotate_right(MIN_CLASS_BITS);
    let below = bit.wrapping_sub(1);
    if below >= (1 << classes) - 1 {
        return None;
    }
    if bit & below != 0 {
        return None;
    }
    Some(bit.trailing_zeros() as usize)
}

/// The class whose size `capacity` is, if it is a class's size; for everything else some number, of a class or of none.
#[inline]
pub(crate) const fn class_if_size(capacity: usize) -> usize {
    (capacity.trailing_zeros() as usize).wrapping_sub(MIN_CLASS_BITS as usize)
}

/// The largest class that a buffer of `capacity` bytes can be cut down to; `None` below the smallest class and above
/// the largest.
pub(crate) const fn class_below(capacity: usize) -> Option<usize> {
    if capacity < MIN_CLASS_SIZE || capacity > MAX_CLASS_SIZE {
        return None;
    }
    Some((capacity.ilog2() - MIN_CLASS_BITS) as usize)
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    /// Section by section what "class" means, written the slow way.
    fn class_by_search(len: usize) -> usize {
        (0..CLASSES).find(|&class| size_of_class(class) >= len).unwrap_or(CLASSES - 1)
    }

    #[test]
    fn every_length_to_65600_and_both_sides_of_every_edge_have_the_class_of_the_definition() {
        let edges = (0..usize::BITS).flat_map(|bit| {
            let edge = 1_usize << bit;
            [edge - 1, edge, edge.saturating_add(1)]
        });
        for len in (0..=65_600).chain(edges).chain([usize::MAX - 1, usize::MAX]) {
            let class = class_of(len);
            assert_eq!(class, class_by_search(len), "length {len}");
            let fits = (1..=MAX_CLASS_SIZE).contains(&len);
            assert!(if fits { class_or_none(len) == class } else { class_or_none(len) >= CLASSES }, "length {len}");
            assert!(len > MAX_CLASS_SIZE || size_of_class(class) >= len, "length {len}");
            assert!(class == 0 || size_of_class(class - 1) < len, "length {len}");
        }
    }

    #[test]
    fn a_capacity_has_a_class_exactly_when_it_is_a_class_size() {
        let edges = (0..usize::BITS).flat_map(|bit| {
            let edge = 1_usize << bit;
            [edge - 1, edge, edge.saturating_add(1)]
        });
        for capacity in (0..=65_600).chain(edges).chain([usize::MAX]) {
            let by_search = (0..CLASSES).find(|&class| size_of_class(class) == capacity);
            assert_eq!(class_of_capacity(capacity, CLASSES), by_search, "capacity {capacity}");
            assert!(by_search.is_none_or(|class| class_if_size(capacity) == class), "capacity {capacity}");
            let below = (0..CLASSES).rev().find(|&class| size_of_class(class) <= capacity);
            let below = below.filter(|_| capacity <= MAX_CLASS_SIZE);
            assert_eq!(class_below(capacity), below, "capacity {capacity}");
        }
    }

    #[test]
    fn the_vectors_of_the_go_original_hold() {
        for (len, class) in [
            (0, 0),
            (64, 0),
            (65, 1),
            (128, 1),
            (129, 2),
            (4096, 6),
            (4097, 7),
            (1 << 24, 18),
            ((1 << 24) + 1, 19),
            (1 << 25, 19),
        ] {
            assert_eq!(class_of(len), class, "length {len}");
        }
    }
}
