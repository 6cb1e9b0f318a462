//! The calibration window: counted by many, taken once.

use std::sync::Mutex as StdMutex;

use loom::sync::Arc;

use super::support::{builder, check, spawn};
use crate::class::size_of_class;
use crate::learn::calibrator::Calibrator;
use crate::learn::counters::Counters;
use crate::storage::Zeroed;

const THRESHOLD: u64 = 2;
const CLASS: usize = 0;

struct Parts {
    calibrator: Calibrator,
    counters: [Box<Counters>; 3],
    /// Calls of each window that was taken, in order.
    windows: StdMutex<Vec<u64>>,
}

impl Parts {
    fn new() -> Parts {
        let calibrator = Calibrator::new(THRESHOLD);
        assert_eq!(calibrator.merge_in(), 1);
        Parts { calibrator, counters: std::array::from_fn(|_| Counters::boxed()), windows: StdMutex::default() }
    }

    /// One use ends on the thread that owns `counters[own]`.
    fn count(&self, own: usize) {
        self.count_in(CLASS, own);
    }

    fn count_in(&self, class: usize, own: usize) {
        let counters = &self.counters[own];
        counters.count(size_of_class(class), false);
        // With this threshold each call is to be merged at once.
        if self.calibrator.merge(counters) {
            self.calibrator.take_window(self.counters.iter().map(|counters| &**counters), false, |window| {
                self.windows.lock().unwrap().push(window.calls(class));
            });
        }
    }
}

/// Threads count calls at once. Every window is past the threshold, what no window took is not, and each call is used
/// once.
fn windows_of<const THREADS: usize>(preemptions: Option<usize>, calls: u64) {
    check(preemptions, move || {
        let parts = Arc::new(Parts::new());
        let threads: [_; THREADS] = std::array::from_fn(|own| {
            let parts = Arc::clone(&parts);
            spawn(move || (0..calls).for_each(|_| parts.count(own)))
        });
        for thread in threads {
            thread.join().unwrap();
        }
        let windows = parts.windows.lock().unwrap();
        let left: u64 = parts.counters.iter().map(|counters| counters.window(CLASS)).sum();
        assert!(windows.iter().all(|&calls| calls > THRESHOLD), "windows of {windows:?} calls");
        assert!(left <= THRESHOLD, "windows of {windows:?} calls, {left} left and nobody looks");
        assert_eq!(windows.iter().sum::<u64>() + left, THREADS as u64 * calls, "each call is used once");
        assert_eq!(parts.calibrator.calibrations(), windows.len() as u64);
    });
}

/// Two calls each, so that there is exactly one window, of three or four calls.
#[test]
fn two_threads_past_the_threshold_take_one_window() {
    windows_of::<2>(None, 2);
}

/// Three calls each: while one takes a window, the other counts on.
#[test]
fn calls_beside_a_window_wait_for_the_next() {
    windows_of::<2>(Some(3), 3);
}

#[test]
fn three_threads_miss_no_window() {
    windows_of::<3>(Some(2), 2);
}

/// One class's merged count is one too high, by a call that a window took before its thread had merged it. So a thread
/// looks too early, finds too few calls, and corrects the counts of all classes, while another counts on in a second
/// class. No count may end lower than the calls that are there, or these would go past the threshold and nobody looks.
/// (Too high only makes somebody look.)
#[test]
fn a_correction_misses_no_call() {
    const OTHER_CLASS: usize = 1;
    check(None, || {
        let parts = Arc::new(Parts::new());
        parts.calibrator.add(CLASS, 1);
        let threads = [CLASS, OTHER_CLASS].map(|class| {
            let parts = Arc::clone(&parts);
            spawn(move || (0..2).for_each(|_| parts.count_in(class, class)))
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(parts.calibrator.calibrations(), 0);
        for class in [CLASS, OTHER_CLASS] {
            let merged = parts.calibrator.add(class, 0);
            assert!(merged >= 2, "class {class}: 2 calls, {merged} merged");
        }
        assert_eq!(parts.calibrator.add(CLASS, 0), 2, "it was corrected");
    });
}

/// One window by the whole pool: both threads use 128 B and one learns it; the other, a moment later, does not learn
/// from what little has been counted since. (Go's original does: its issue 15.)
#[test]
fn sizes_do_not_collapse() {
    check(Some(1), || {
        let pool = Arc::new(builder().calibrate_calls_threshold(1).build());
        let threads = [(); 2].map(|()| {
            let pool = Arc::clone(&pool);
            spawn(move || drop(pool.get_with_capacity(128)))
        });
        for thread in threads {
            thread.join().unwrap();
        }
        let stats = pool.stats();
        assert_eq!((stats.calibrations, stats.max_size), (1, 128));
    });
}
