//! Calibration: from the calls of one window to the default size and the max size.
//!
//! The algorithm is valyala/bytebufferpool's (`pool.go`, `calibrate`). It orders the size classes by their calls. The
//! most called class is the default size; the largest of those that cover the percentile is the max size. Two things
//! are fixed that the original leaves open or gets wrong. Ties go to the smaller class (its sort is unstable). And uses
//! with an explicit capacity count for the max size only: what one caller asks for must not move what every other
//! caller gets.
//!
//! This module is arithmetic: it owns no counter and takes no lock.

use crate::class::{CLASSES, class_of, rolled, size_of_class};

/// How a calibration chooses the default size, the least capacity of a plain `get`.
///
/// # Examples
///
/// ```
/// use bytebufferpool::{DefaultSize, Pool};
///
/// static LINES: Pool = Pool::builder().default_policy(DefaultSize::Percentile(0.99)).build();
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum DefaultSize {
    /// The size class with the most calls, as in Go's bytebufferpool.
    ///
    /// Right when most messages have about one size. With widely spread sizes, every message above the most common one
    /// makes its buffer grow.
    Mode,
    /// The smallest size class that holds at least this share of the calls, above 0 and at most 1.
    ///
    /// A high share means fewer growths and larger buffers.
    Percentile(f64),
}

/// The calls of one window: how many uses of each class ended in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// Uses of a plain `get`, and donations.
    pub(crate) plain: [u64; CLASSES],
    /// Uses with an explicit capacity.
    pub(crate) asked: [u64; CLASSES],
}

impl Window {
    pub(crate) fn calls(&self, class: usize) -> u64 {
        self.plain[class] + self.asked[class]
    }

    #[inline(never)]
    pub(crate) fn total(&self) -> u64 {
        rolled(0..CLASSES).map(|class| self.calls(class)).sum()
    }
}

/// The limits of a calibration; sizes as classes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_percentile: f64,
    pub(crate) default_policy: DefaultSize,
    pub(crate) default_class_limit: usize,
    pub(crate) max_class_limit: usize,
}

/// The sizes in force, as classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) default_class: usize,
    pub(crate) max_class: usize,
}

impl Sizes {
    pub(crate) const fn of_bytes(default_size: usize, max_size: usize) -> Sizes {
        Sizes { default_class: class_of(default_size), max_class: class_of(max_size) }
    }

    pub(crate) const fn default_size(self) -> usize {
        size_of_class(self.default_class)
    }

    pub(crate) const fn max_size(self) -> usize {
        size_of_class(self.max_class)
    }
}

/// What a pool has learned in one calibration; see [`Builder::on_calibration`](crate::Builder::on_calibration).
///
/// Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Calibration {
    /// The pool's first calibration is number 1.
    pub number: u64,
    /// The default size before: the least capacity of a plain `get`.
    pub default_size_before: usize,
    /// The default size from now on.
    pub default_size: usize,
    /// The max size before: larger buffers are freed when they are returned.
    pub max_size_before: usize,
    /// The max size from now on.
    pub max_size: usize,
}

impl Calibration {
    pub(crate) fn new(number: u64, before: Sizes, after: Sizes) -> Calibration {
        Calibration {
            number,
            default_size_before: before.default_size(),
            default_size: after.default_size(),
            max_size_before: before.max_size(),
            max_size: after.max_size(),
        }
    }
}

/// The sizes that follow from `window`; `None` when nothing was counted.
pub(crate) fn calibrate(window: &Window, limits: &Limits, before: Sizes) -> Option<Sizes> {
    let total = window.total();
    if total == 0 {
        return None;
    }
    let max_class = covering_class(window, total, limits.max_percentile).min(limits.max_class_limit);
    let learned = match limits.default_policy {
        DefaultSize::Mode => most_called_class(&window.plain),
        DefaultSize::Percentile(share) => class_at_share(&window.plain, share),
    };
    let default_class = learned.unwrap_or(before.default_class).min(limits.default_class_limit);
    Some(Sizes { default_class, max_class: max_class.max(default_class) })
}

/// The largest class among the most called ones that are taken while those before cover no more than the percentile.
fn covering_class(window: &Window, total: u64, max_percentile: f64) -> usize {
    // In range: total is a count of calls and the percentile at most 1.
    let covered_max = (total as f64 * max_percentile) as u64;
    let mut left = [0; CLASSES];
    rolled(0..CLASSES).for_each(|class| left[class] = window.calls(class));
    let mut covered = 0;
    let mut largest = 0;
    // One class after the other and not a sort, which is three kilobytes of code for twenty numbers.
    while covered <= covered_max {
        let Some(class) = most_called_class(&left) else { break };
        covered += left[class];
        left[class] = 0;
        largest = largest.max(class);
    }
    largest
}

#[inline(never)]
fn most_called_class(calls: &[u64; CLASSES]) -> Option<usize> {
    // Of two with as many calls, the later one is the greater of the reversed: ties go to the smaller class.
    rolled(0..CLASSES).rev().max_by_key(|&class| calls[class]).filter(|&class| calls[class] > 0)
}

fn class_at_share(calls: &[u64; CLASSES], share: f64) -> Option<usize> {
    let total: u64 = calls.iter().sum();
    if total == 0 {
        return None;
    }
    let mut below = 0;
    rolled(0..CLASSES).find(|&class| {
        below += calls[class];
        below > 0 && below as f64 >= total as f64 * share
    })
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    const MODE: Limits = Limits {
        max_percentile: 0.95,
        default_policy: DefaultSize::Mode,
        default_class_limit: CLASSES - 1,
        max_class_limit: CLASSES - 1,
    };
    const SMALLEST: Sizes = Sizes { default_class: 0, max_class: 0 };

    fn window(plain: &[(usize, u64)], asked: &[(usize, u64)]) -> Window {
        let mut window = Window::default();
        for &(class, calls) in plain {
            window.plain[class] += calls;
        }
        for &(class, calls) in asked {
            window.asked[class] += calls;
        }
        window
    }

    #[test]
    fn an_empty_window_teaches_nothing() {
        assert_eq!(calibrate(&Window::default(), &MODE, SMALLEST), None);
    }

    #[test]
    fn the_go_workload_settles_at_1024_and_16384() {
        // Its TestPoolCalibrate: 1004 bytes, every 15th call random below 15 234.
        let window = window(&[(4, 39_200 + 180), (5, 188), (6, 376), (7, 752), (8, 1_304)], &[]);
        let sizes = calibrate(&window, &MODE, SMALLEST).unwrap();
        assert_eq!((sizes.default_size(), sizes.max_size()), (1024, 16_384));
    }

    #[test]
    fn asking_moves_the_max_size_but_never_the_default() {
        let before = Sizes { default_class: 3, max_class: 5 };
        let sizes = calibrate(&window(&[], &[(7, 10)]), &MODE, before).unwrap();
        assert_eq!(sizes, Sizes { default_class: 3, max_class: 7 });
        let sizes = calibrate(&window(&[(2, 1)], &[(7, 10)]), &MODE, before).unwrap();
        assert_eq!(sizes, Sizes { default_class: 2, max_class: 7 });
    }

    #[test]
    fn ties_go_to_the_smaller_class() {
        let sizes = calibrate(&window(&[(4, 5), (2, 5)], &[]), &MODE, SMALLEST).unwrap();
        assert_eq!(sizes.default_class, 2);
    }

    #[test]
    fn a_class_is_taken_while_the_calls_before_it_are_within_the_percentile() {
        let with = |max_percentile| Limits { max_percentile, ..MODE };
        let window = window(&[(0, 95), (9, 5)], &[]);
        // 95 of 100 calls come before class 9: taken at 0.95 exactly, not below.
        assert_eq!(calibrate(&window, &with(0.95), SMALLEST).unwrap().max_class, 9);
        assert_eq!(calibrate(&window, &with(0.94), SMALLEST).unwrap().max_class, 0);
    }

    #[test]
    fn limits_bind_and_the_max_size_never_falls_below_the_default() {
        let limits = Limits { default_class_limit: 6, max_class_limit: 4, ..MODE };
        let sizes = calibrate(&window(&[(12, 9)], &[]), &limits, SMALLEST).unwrap();
        assert_eq!(sizes, Sizes { default_class: 6, max_class: 6 });
    }

    #[test]
    fn a_percentile_default_is_the_smallest_class_that_holds_the_share() {
        let with = |share| Limits { default_policy: DefaultSize::Percentile(share), ..MODE };
        let window = window(&[(1, 50), (4, 40), (8, 10)], &[]);
        let default_at = |share| calibrate(&window, &with(share), SMALLEST).unwrap().default_class;
        assert_eq!(
            [default_at(0.5), default_at(0.51), default_at(0.9), default_at(0.91), default_at(1.0)],
            [1, 4, 4, 8, 8]
        );
        assert_eq!(default_at(f64::MIN_POSITIVE), 1);
    }
}
