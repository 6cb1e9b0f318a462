//! The byte budget: never more charged than it has, never more idle than charged.

use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::sync::Arc;

use super::ledger;
use super::support::{assert_balanced, builder, check, spawn};
use crate::budget::Budget;
use crate::class::MIN_CLASS_SIZE;

/// Two threads want leases and charges of a budget with room for one lease and two buffers. The ledger compares at each
/// charge; that leases take no more than half is counted here, in the order in which it happens.
#[test]
fn charges_never_exceed_the_budget() {
    fn contend(budget: &Budget, leased: &AtomicUsize) {
        let has_lease = budget.lease(MIN_CLASS_SIZE);
        if has_lease {
            let before = leased.fetch_add(1, Ordering::Relaxed);
            assert_eq!(before, 0, "half of the budget has room for one lease");
        }
        if budget.charge(MIN_CLASS_SIZE) {
            budget.release(MIN_CLASS_SIZE);
        }
        if has_lease {
            leased.fetch_sub(1, Ordering::Relaxed);
            budget.unlease(MIN_CLASS_SIZE);
            budget.release(MIN_CLASS_SIZE);
        }
    }

    check(None, || {
        let budget = Arc::new(Budget::new(2 * MIN_CLASS_SIZE));
        let leased = StdArc::new(AtomicUsize::new(0));
        let threads = [(); 2].map(|()| {
            let (budget, leased) = (Arc::clone(&budget), StdArc::clone(&leased));
            spawn(move || contend(&budget, &leased))
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(ledger::charged_bytes(), 0);
        assert!(budget.lease(MIN_CLASS_SIZE) && budget.charge(MIN_CLASS_SIZE), "all of it is there again");
    });
}

/// Three threads, one buffer: at most one of them has it charged at a time.
#[test]
fn three_threads_share_a_budget_of_one_buffer() {
    fn contend(budget: &Budget) {
        for _ in 0..2 {
            if budget.charge(MIN_CLASS_SIZE) {
                budget.release(MIN_CLASS_SIZE);
            }
        }
    }

    check(Some(3), || {
        let budget = Arc::new(Budget::new(MIN_CLASS_SIZE));
        let threads = [(); 3].map(|()| {
            let budget = Arc::clone(&budget);
            spawn(move || contend(&budget))
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(budget.charge(MIN_CLASS_SIZE), "nothing stays charged");
    });
}

/// Two threads use a pool that may keep `buffers` buffers; the sum of what lies in slots is compared with what is
/// charged whenever a buffer is laid down and whenever a charge is released.
fn idle_within_charged(buffers: usize) {
    check(Some(2), move || {
        ledger::compare_with_budget(true);
        let pool = Arc::new(builder().retained_bytes_max(buffers * MIN_CLASS_SIZE).look_up_classes(0).build());
        let threads = [(); 2].map(|()| {
            let pool = Arc::clone(&pool);
            spawn(move || {
                let first = pool.get();
                drop(pool.get());
                drop(first);
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        let stats = pool.stats();
        assert_balanced(&stats);
        assert!(stats.retained_bytes <= buffers * MIN_CLASS_SIZE);
        assert_eq!(ledger::charged_bytes(), ledger::idle_bytes(), "ended threads hold no leases");
    });
}

#[test]
fn a_budget_of_one_buffer_keeps_no_more() {
    idle_within_charged(1);
}

#[test]
fn a_budget_of_one_lease_keeps_no_more() {
    idle_within_charged(2);
}
