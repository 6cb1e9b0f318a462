//! Trim, purge and flush beside get and put.

use loom::sync::Arc;

use super::ledger::{self, Contents};
use super::support::{assert_balanced, builder, check, spawn};
use crate::Pool;

/// One buffer is in the depot, unused since an interval began, so that a trim would free it. One thread uses it, or a
/// new one, twice, beside what another does, which is handed such a use too. Each buffer has one owner; what is cached is
/// compared with what is charged at each step; afterwards nothing is lost, no lease is left, and two intervals free all
/// of it.
fn beside_use(capacity: usize, preemptions: usize, disturb: fn(&Pool, &dyn Fn(&Pool))) {
    check(Some(preemptions), move || {
        ledger::compare_with_budget(true);
        let pool = Arc::new(builder().retained_bytes_max(2 * capacity).build());
        assert_eq!(pool.prefill(capacity, 1), 1);
        assert_eq!(pool.trim(), 0, "it was not there when the interval began");
        let contents = Contents::default();
        let use_once = move |pool: &Pool| {
            let buffer = pool.get_with_capacity(capacity);
            contents.write(buffer.as_ref());
            drop(buffer);
        };
        let user = {
            let (pool, use_once) = (Arc::clone(&pool), use_once.clone());
            spawn(move || {
                use_once(&pool);
                use_once(&pool);
            })
        };
        let disturber = {
            let pool = Arc::clone(&pool);
            spawn(move || disturb(&pool, &use_once))
        };
        user.join().unwrap();
        disturber.join().unwrap();
        let stats = pool.stats();
        assert_balanced(&stats);
        assert!(stats.retained_bytes <= 2 * capacity);
        assert_eq!(ledger::leased_bytes(), 0, "ended threads have no leases");
        let freed_bytes = pool.trim() + pool.trim();
        assert_eq!(freed_bytes, stats.retained_bytes, "two intervals free what is idle, and say so");
        assert_balanced(&pool.stats());
        assert_eq!(ledger::charged_bytes(), 0);
    });
}

#[test]
fn trim_beside_get_and_put_of_small_buffers() {
    beside_use(64, 2, |pool, _| {
        pool.trim();
    });
}

#[test]
fn trim_beside_get_and_put_of_large_buffers() {
    beside_use(256, 2, |pool, _| {
        pool.trim();
    });
}

#[test]
fn purge_beside_get_and_put_of_large_buffers() {
    beside_use(256, 1, |pool, use_once| {
        pool.purge();
        use_once(pool);
    });
}

#[test]
fn flush_beside_get_and_put_of_small_buffers() {
    beside_use(64, 2, |pool, use_once| {
        use_once(pool);
        pool.flush_thread();
    });
}

/// Two threads let an interval pass at once. The owner of a cache that saw neither knows that two have passed, and frees
/// what it did not need since.
#[test]
fn two_trims_at_once_are_two_intervals() {
    check(Some(3), || {
        let pool = Arc::new(builder().retained_bytes_max(2 * 64).build());
        drop(pool.get());
        let trimmers = [(); 2].map(|()| {
            let pool = Arc::clone(&pool);
            spawn(move || pool.trim())
        });
        for trimmer in trimmers {
            assert_eq!(trimmer.join().unwrap(), 0, "a small buffer in another thread's cache is out of reach");
        }
        assert_eq!(pool.stats().retained_buffers, 1);
        pool.op();
        let stats = pool.stats();
        assert_balanced(&stats);
        assert_eq!((stats.retained_buffers, stats.trimmed), (0, 1));
        assert_eq!(ledger::charged_bytes(), 0, "its lease is given up");
    });
}

/// A calibration and a trim write the same word at once, and neither undoes the other.
#[test]
fn a_trim_beside_a_calibration_loses_neither() {
    check(Some(3), || {
        let pool = Arc::new(builder().build());
        drop(pool.get_with_capacity(128));
        let trimmer = {
            let pool = Arc::clone(&pool);
            spawn(move || pool.trim())
        };
        let calibrator = {
            let pool = Arc::clone(&pool);
            spawn(move || pool.calibrate())
        };
        trimmer.join().unwrap();
        calibrator.join().unwrap();
        let epoch = pool.epoch.load();
        assert_eq!((epoch.interval(), pool.max_size()), (2, 128));
    });
}
