//! Counters: per thread, written by their owner alone, readable by all.
//!
//! A shared counter costs a locked instruction per use, 2.1 ns where a whole get + drop takes 4. So each thread adds to
//! its own with a plain load and store, and readers sum over the threads. A window of calls is a difference: the
//! calibrator notes in `taken` how far it has read each counter, and never resets one.
//!
//! A thread counts towards the threshold without looking at other threads' counters. It adds its calls to the pool's
//! merged counts in batches, when its count-down of uses is over (see [`crate::learn::calibrator`] and
//! [`crate::learn::clock`]).

use crate::class::{CLASSES, MAX_CLASS_SIZE, leading_zeros_of_size};
use crate::learn::usage::Use;
use crate::sync::{AtomicU64, Ordering};

/// A counter with one writer. Relaxed throughout: whoever needs another thread's counters exactly has waited for that
/// thread, or, to calibrate, has acquired its calls with the merged count (`Calibrator::add`). Model:
/// loom_tests::calibration::two_threads_past_the_threshold_take_one_window.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds, as the only writer.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    /// Adds, as one of many writers.
    pub(crate) fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
}

/// One thread's counters of one pool.
#[derive(Debug)]
#[cfg_attr(pool_loom, derive(Default))]
pub(crate) struct Counters {
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) detached: Counter,
    pub(crate) donated: Counter,
    pub(crate) growths: Counter,
    pub(crate) allocated: Counter,
    pub(crate) trimmed: Counter,
    pub(crate) dropped: [Counter; Reason::COUNT],
    /// Finished uses by class; see `row_of`.
    uses: [Counter; ROWS],
    /// Finished uses that neither asked for nor held anything. They are no calls, but ends of guards.
    empty_uses: Counter,
    /// How many of a class's calls have been merged.
    merged: [Counter; CLASSES],
    /// How far the calibrator has read `uses`; written under its lock.
    taken: [Counter; ROWS],
}

/// Why a returned buffer was freed. The order is that of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Discarded,
    OutOfClass,
    OverCeiling,
    OverBudget,
    DepotFull,
}

impl Reason {
    pub(crate) const COUNT: usize = Reason::DepotFull as usize + 1;
}

impl Counters {
    /// Counts a finished use of 1 to `MAX_CLASS_SIZE` bytes as the only writer.
    #[inline]
    pub(crate) fn count(&self, size: usize, asked: bool) {
        self.uses[row_of_size(size, asked)].add(1);
    }

    /// Counts a finished use that neither asked for nor held anything, as the only writer.
    #[inline]
    pub(crate) fn count_empty(&self) {
        self.empty_uses.add(1);
    }

    /// Counts a finished use as one of many writers.
    pub(crate) fn count_shared(&self, usage: Use) {
        match usage.counted_class() {
            Some(class) => self.uses[row_of(class, usage.asked)].add_shared(1),
            None => self.empty_uses.add_shared(1),
        }
    }

    /// All ends of guards and donations.
    pub(crate) fn ends(&self) -> u64 {
        self.empty_uses.get() + self.uses.iter().map(Counter::get).sum::<u64>()
    }

    /// Marks a class's calls as merged; returns those since they were last merged or taken. By the counters' owner.
    pub(crate) fn merge(&self, class: usize) -> u64 {
        let calls = self.rows(class).map(|row| self.uses[row].get()).sum::<u64>();
        let merged = self.merged[class].get();
        if calls == merged {
            return 0;
        }
        let taken = self.rows(class).map(|row| self.taken[row].get()).sum();
        let unmerged = calls - merged.max(taken);
        self.merged[class].set(calls);
        unmerged
    }

    fn rows(&self, class: usize) -> std::array::IntoIter<usize, 2> {
        [row_of(class, false), row_of(class, true)].into_iter()
    }

    /// Calls of the class that no calibration has taken.
    pub(crate) fn window(&self, class: usize) -> u64 {
        self.running(class, false) + self.running(class, true)
    }

    /// Calls of the class, those asked for or the others, that no calibration has taken.
    pub(crate) fn running(&self, class: usize, asked: bool) -> u64 {
        let row = row_of(class, asked);
        self.uses[row].get().saturating_sub(self.taken[row].get())
    }

    /// Takes the calls of a class, those asked for or the others, for a calibration; under the calibrator's lock.
    pub(crate) fn take(&self, class: usize, asked: bool) -> u64 {
        let row = row_of(class, asked);
        let calls = self.uses[row].get();
        let window = calls - self.taken[row].get();
        self.taken[row].set(calls);
        window
    }
}

/// Two rows a class, the second for uses with an explicit capacity. The largest class comes first, so that on the hot
/// path the row is a number of leading zeros and an offset.
#[inline]
fn row_of_size(size: usize, asked: bool) -> usize {
    2 * (leading_zeros_of_size(size) - LEADING_ZEROS_OF_LARGEST) % ROWS + usize::from(asked)
}

fn row_of(class: usize, asked: bool) -> usize {
    2 * (CLASSES - 1 - class) + usize::from(asked)
}

const ROWS: usize = 2 * CLASSES;
const LEADING_ZEROS_OF_LARGEST: usize = leading_zeros_of_size(MAX_CLASS_SIZE);
