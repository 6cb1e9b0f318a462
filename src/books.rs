//! Counters: per thread, written by their owner alone, readable by all.
//!
//! A shared counter costs a locked instruction per use (2.1 ns where a whole get + drop takes 4). So each thread adds
//! to its own with a plain load and store, and readers sum over the threads. A window of calls is a difference: the
//! calibrator notes in `taken` how far it has read each counter, and never resets one.
//!
//! A thread counts towards the threshold without looking at the others' counters: it adds its calls to the pool's
//! merged count in batches (see [`crate::calibrator`]), and each of its counters has a limit at which the next batch
//! is due. On the hot path that is one compare with a value beside the counter.

use crate::class::CLASSES;
use crate::sync::{AtomicU64, Ordering};
use crate::usage::Use;

/// A counter with one writer. Relaxed throughout: whoever needs another thread's figures exactly has waited for that
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

    /// Adds as the only writer.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    /// Adds as one of many writers.
    pub(crate) fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
}

/// One thread's figures of one pool.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) detached: Counter,
    pub(crate) donated: Counter,
    pub(crate) growths: Counter,
    pub(crate) allocated: Counter,
    pub(crate) trimmed: Counter,
    pub(crate) dropped: [Counter; Reason::COUNT],
    /// Finished uses by class, those with a size asked for in the second half.
    uses: [UseCount; 2 * CLASSES],
    /// Finished uses that neither asked for nor held anything: no call, but an end.
    silent: Counter,
    /// How many of a class's calls were merged.
    merged: [Counter; CLASSES],
    /// How far the calibrator has read `uses`; written under its lock.
    taken: [Counter; 2 * CLASSES],
}

#[derive(Debug, Default)]
struct UseCount {
    calls: Counter,
    /// Calls at which the class's next batch is to be merged.
    due: Counter,
}

/// Why a buffer that came back was freed; the order is that of precedence.
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

impl Default for Books {
    fn default() -> Books {
        Books {
            hits: Counter::default(),
            misses: Counter::default(),
            detached: Counter::default(),
            donated: Counter::default(),
            growths: Counter::default(),
            allocated: Counter::default(),
            trimmed: Counter::default(),
            dropped: Default::default(),
            uses: std::array::from_fn(|_| UseCount::default()),
            silent: Counter::default(),
            merged: std::array::from_fn(|_| Counter::default()),
            taken: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl Books {
    /// Counts a finished use of `class` as the only writer; returns whether a batch of the class is now to be merged.
    #[inline]
    #[must_use]
    pub(crate) fn count(&self, class: usize, asked: bool) -> bool {
        let row = &self.uses[row_of(class, asked)];
        let calls = row.calls.get() + 1;
        row.calls.set(calls);
        calls >= row.due.get()
    }

    /// Counts a finished use that neither asked for nor held anything, as the only writer.
    #[inline]
    pub(crate) fn count_silent(&self) {
        self.silent.add(1);
    }

    /// Counts a finished use as one of many writers.
    pub(crate) fn count_shared(&self, usage: Use) {
        match usage.counted_class() {
            Some(class) => self.uses[row_of(class, usage.asked)].calls.add_shared(1),
            None => self.silent.add_shared(1),
        }
    }

    /// All ends of guards and donations.
    pub(crate) fn ends(&self) -> u64 {
        self.silent.get() + self.uses.iter().map(|row| row.calls.get()).sum::<u64>()
    }

    /// Calls of a class since they were last merged or taken, by the counters' owner; they are merged with this.
    pub(crate) fn merge(&self, class: usize) -> u64 {
        let calls = self.rows(class).map(|row| self.uses[row].calls.get()).sum::<u64>();
        let taken = self.rows(class).map(|row| self.taken[row].get()).sum();
        let unmerged = calls - self.merged[class].get().max(taken);
        self.merged[class].set(calls);
        unmerged
    }

    /// The owner may count `calls` more of `class`, whether asked or not, before the next merge is due.
    pub(crate) fn allow(&self, class: usize, calls: u64) {
        for row in self.rows(class) {
            let row = &self.uses[row];
            row.due.set(row.calls.get().saturating_add(calls));
        }
    }

    fn rows(&self, class: usize) -> std::array::IntoIter<usize, 2> {
        [row_of(class, false), row_of(class, true)].into_iter()
    }

    /// Calls of the class that no calibration has taken.
    pub(crate) fn window(&self, class: usize) -> u64 {
        self.rows(class).map(|row| self.uses[row].calls.get().saturating_sub(self.taken[row].get())).sum()
    }

    /// Takes the calls of a class, those asked for or the others, for a calibration; under the calibrator's lock.
    pub(crate) fn take(&self, class: usize, asked: bool) -> u64 {
        let row = row_of(class, asked);
        let calls = self.uses[row].calls.get();
        let window = calls - self.taken[row].get();
        self.taken[row].set(calls);
        window
    }
}

#[inline]
fn row_of(class: usize, asked: bool) -> usize {
    if asked { class + CLASSES } else { class }
}
