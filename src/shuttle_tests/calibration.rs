//! Calibration windows that several threads fill at once.

use std::sync::Arc;

use super::support::{BUDGET, builder, check, join_all, spawn};
use crate::DefaultSize;

/// Of each thread's uses most have one size, and few another. No window of more than the threshold's calls can have the
/// few in the majority; one of less, taken by a second thread that was past the threshold too, could. And what one window
/// has, another has not.
#[test]
fn a_window_is_full_when_it_is_taken() {
    const THRESHOLD: usize = 6;
    const THREADS: usize = 3;
    const MANY: (usize, usize) = (1000, 9);
    const FEW: (usize, usize) = (60, 1);
    const { assert!(THREADS * FEW.1 < THRESHOLD) };
    check(BUDGET, || {
        let builder = builder().default_policy(DefaultSize::Mode).calibrate_calls_threshold(THRESHOLD as u64);
        let pool = Arc::new(builder.default_size(1024).calibrate_early(false).build());
        let threads = [(); THREADS].map(|()| {
            let pool = Arc::clone(&pool);
            spawn(move || {
                for turn in 0..MANY.1 + FEW.1 {
                    let is_one_of_few = turn % (MANY.1 / FEW.1) == 3 && turn < MANY.1;
                    pool.get().resize(if is_one_of_few { FEW.0 } else { MANY.0 }, 1);
                    assert_eq!(pool.default_size(), 1024, "from an almost empty window");
                }
            })
        });
        join_all(threads);
        // A thread that finds too few calls corrects the shared counts. The call that fills the window meanwhile is seen
        // by the next one.
        pool.get().resize(MANY.0, 1);
        let stats = pool.stats();
        let left: u64 = stats.classes.iter().map(|row| row.calls).sum();
        let taken = (THREADS * (MANY.1 + FEW.1)) as u64 + 1 - left;
        assert!((1..=taken / (THRESHOLD as u64 + 1)).contains(&stats.calibrations), "{taken} calls taken: {stats}");
        assert!(stats.classes.iter().all(|row| row.calls <= THRESHOLD as u64), "full, and nobody looks: {stats}");
    });
}
