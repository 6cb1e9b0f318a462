//! When to calibrate: counting calls towards the threshold, and taking a window once.
//!
//! Each thread merges its calls into shared counts, `merged`, in batches, and calibrates when one goes past the
//! threshold. Between two merges a thread makes at most as many uses as the class nearest to the threshold has calls
//! left. So on one thread the calibration happens at exactly the call that crosses it. With several threads it is late
//! by at most one batch for each other thread.
//!
//! `merged` only says when to look. The window itself is counted under the lock, from every thread's counters, as the
//! difference from what was taken before. So of two threads past the threshold at once, the second finds a window that
//! has just begun and leaves it alone. (Go's original calibrates twice, the second time from a handful of calls, and
//! the sizes collapse: valyala/bytebufferpool issue 15.)

use crate::class::{CLASSES, rolled};
use crate::learn::counters::Counters;
use crate::learn::sizing::Window;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};

#[derive(Debug)]
pub(crate) struct Calibrator {
    threshold: u64,
    merge_batch: u64,
    merged: [AtomicU64; CLASSES],
    /// Uses above the max size since the last calibration.
    above: AtomicU64,
    calibrations: AtomicU64,
    /// Held while a window is taken.
    taking: Mutex<()>,
}

/// Uses that a thread may make before it merges: 1/128 of a window, so that even 100 threads are late by less than one
/// window, and no more than this, as the cost of merging is negligible by then.
const MERGE_BATCH_MAX: u64 = 512;

impl Calibrator {
    pub(crate) fn new(threshold: u64) -> Calibrator {
        Calibrator {
            threshold,
            merge_batch: (threshold / 128).clamp(1, MERGE_BATCH_MAX),
            merged: std::array::from_fn(|_| AtomicU64::new(0)),
            above: AtomicU64::new(0),
            calibrations: AtomicU64::new(0),
            taking: Mutex::new(()),
        }
    }

    /// Merges a thread's calls. Returns whether a class is now past the threshold. `counters` are the caller's own.
    #[inline(never)]
    pub(crate) fn merge(&self, counters: &Counters) -> bool {
        let mut is_past = false;
        for class in rolled(0..CLASSES) {
            let calls = counters.merge(class);
            if calls > 0 {
                is_past |= self.add(class, calls) > self.threshold;
            }
        }
        is_past
    }

    /// How many uses a thread may make before it merges again.
    pub(crate) fn merge_in(&self) -> u64 {
        // Relaxed: what others merge at the same time only makes this thread's batch late.
        let most = rolled(0..CLASSES).map(|class| self.merged[class].load(Ordering::Relaxed)).max().unwrap_or(0);
        self.threshold.saturating_sub(most).saturating_add(1).min(self.merge_batch)
    }

    /// Adds calls to the shared count of a class. Returns the calls so far.
    pub(crate) fn add(&self, class: usize, calls: u64) -> u64 {
        // Release and Acquire, with each other and with the stores below: whoever brings the count past the threshold
        // then sees, when it looks at the counters, every call that is in the count. Relaxed, it may find too few, take
        // no window, and nobody else looks. Model: loom_tests::calibration::
        // two_threads_past_the_threshold_take_one_window.
        self.merged[class].fetch_add(calls, Ordering::AcqRel).saturating_add(calls)
    }

    /// Takes the window if one of its classes is past the threshold, or if `anyway`, and calls `then` with it. `None`
    /// if there was nothing to take. `then` runs under the calibrator's lock, so it may not free buffers or run user
    /// code.
    ///
    /// Model: loom_tests::calibration::two_threads_past_the_threshold_take_one_window.
    pub(crate) fn take_window<'a, R>(
        &self,
        counters: impl Iterator<Item = &'a Counters> + Clone,
        anyway: bool,
        then: impl FnOnce(&Window) -> R,
    ) -> Option<R> {
        let _taking = lock(&self.taking);
        if !anyway {
            let past = |class| window_calls(counters.clone(), class) > self.threshold;
            if !rolled(0..CLASSES).any(past) {
                self.correct(counters);
                return None;
            }
        }
        for class in rolled(0..CLASSES) {
            // Before the counters are read: calls merged after this may be counted twice, never missed, and a count
            // that is too high only makes somebody look. A swap, as a store would cut off what others released.
            // Acquire: see `add`; models: loom_tests::calibration::calls_beside_a_window_wait_for_the_next,
            // three_threads_miss_no_window. That it releases is for symmetry alone.
            self.merged[class].swap(0, Ordering::AcqRel);
        }
        let window = window(counters, Counters::take);
        if window.total() == 0 {
            return None;
        }
        // Relaxed: a count that decides when to look; no memory depends on it.
        self.above.store(0, Ordering::Relaxed);
        let result = then(&window);
        self.calibrations.store(self.calibrations() + 1, Ordering::Relaxed);
        Some(result)
    }

    /// Counts a use above the max size. Returns whether to look early now.
    pub(crate) fn is_early_look(&self) -> bool {
        // Relaxed: as in `take_window`.
        let above = self.above.fetch_add(1, Ordering::Relaxed) + 1;
        above > EARLY_LOOK_CALLS && above % EARLY_LOOK_CALLS == 1
    }

    /// Calls `then` with the running window, if more than `share` of its calls were above the max size. The window goes
    /// on.
    pub(crate) fn look_early<'a, R>(
        &self,
        counters: impl Iterator<Item = &'a Counters> + Clone,
        share: f64,
        then: impl FnOnce(&Window) -> R,
    ) -> Option<R> {
        let _taking = lock(&self.taking);
        let window = window(counters, Counters::running);
        let above = self.above.load(Ordering::Relaxed);
        if above as f64 > share * window.total() as f64 { Some(then(&window)) } else { None }
    }

    pub(crate) fn calibrations(&self) -> u64 {
        self.calibrations.load(Ordering::Relaxed)
    }

    /// The shared count of a class is too high: it has calls that the last calibration has taken already. Corrects this
    /// class and the others, while threads go on counting.
    fn correct<'a>(&self, counters: impl Iterator<Item = &'a Counters> + Clone) {
        for class in rolled(0..CLASSES) {
            let merged = &self.merged[class];
            // First to zero, then what is there: calls merged in between are counted twice, never missed. Acquire, so
            // that what the swap takes away is read below. Model: loom_tests::calibration::a_correction_misses_no_call.
            // That both also release, and the second acquires, is for symmetry alone: no model needs it, as a
            // read-modify-write passes on what others released.
            merged.swap(0, Ordering::AcqRel);
            merged.fetch_add(window_calls(counters.clone(), class), Ordering::AcqRel);
        }
    }
}

/// An early look comes after each so many uses above the max size: at the 65th first, so that a handful changes
/// nothing.
const EARLY_LOOK_CALLS: u64 = 64;

#[inline(never)]
fn window<'a>(counters: impl Iterator<Item = &'a Counters>, calls: fn(&Counters, usize, bool) -> u64) -> Window {
    let mut window = Window::default();
    for counters in counters {
        for class in rolled(0..CLASSES) {
            window.plain[class] += calls(counters, class, false);
            window.asked[class] += calls(counters, class, true);
        }
    }
    window
}

/// Calls of a class in the running window.
#[inline(never)]
pub(crate) fn window_calls<'a>(counters: impl Iterator<Item = &'a Counters>, class: usize) -> u64 {
    counters.map(|counters| counters.window(class)).sum()
}
