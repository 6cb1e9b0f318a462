//! The byte budget: never more charged than it has, never more idle than charged.

use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::sync::Arc;

use super::ledger;
use super::support::{assert_balanced, builder, check, spawn};
use crate::Registry;
use crate::budget::Budget;
use crate::class::MIN_CLASS_SIZE;

/// Two threads want leases and charges of a budget with room for one lease and two buffers. The ledger compares at each
/// charge; that leases take no more than half is counted here, in the order in which it happens.
#[test]
fn charges_never_exceed_the_budget() {
    fn contend(budget: &Budget, leased: &AtomicUsize) {
        let has_lease = budget.lease(MIN_CLASS_SIZE, 0);
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
        assert!(budget.lease(MIN_CLASS_SIZE, 0) && budget.charge(MIN_CLASS_SIZE), "all of it is there again");
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

    check(Some(2), || {
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
    check(Some(1), move || {
        ledger::compare_with_budget(true);
        let pool = Arc::new(builder().retained_bytes_max(buffers * MIN_CLASS_SIZE).build());
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
        assert_eq!(pool.purge(), stats.retained_bytes);
        assert_eq!(ledger::charged_bytes(), 0, "what is not cached is not charged, once somebody wants it");
        assert_eq!(ledger::leased_bytes(), 0, "ended threads have no leases");
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

/// Two pools' budgets within one, each on a thread of its own that wants a charge and a lease. The common one has room
/// for one lease and one charge more; a thread drops its budget before it ends, with what it still has of it. The ledger
/// compares the common budget with each charge. What it refuses must be free again in the pool's own, or that pool never
/// gets it.
#[test]
fn what_a_common_budget_refuses_is_given_back() {
    fn contend(budget: &Budget, leased: &AtomicUsize) -> [bool; 2] {
        let has_lease = budget.lease(MIN_CLASS_SIZE, 0);
        if has_lease {
            let before = leased.fetch_add(1, Ordering::Relaxed);
            assert_eq!(before, 0, "half of the common budget has room for one lease");
        }
        let has_charge = budget.charge(MIN_CLASS_SIZE);
        if has_lease {
            leased.fetch_sub(1, Ordering::Relaxed);
            budget.unlease(MIN_CLASS_SIZE);
            budget.release(MIN_CLASS_SIZE);
        }
        if has_charge {
            budget.release(MIN_CLASS_SIZE);
        }
        [has_lease, has_charge]
    }

    check(None, || {
        let common = StdArc::new(Budget::new(2 * MIN_CLASS_SIZE));
        let leased = StdArc::new(AtomicUsize::new(0));
        let threads = [(); 2].map(|()| {
            let budget = Budget::within(2 * MIN_CLASS_SIZE, Some(StdArc::clone(&common)));
            let leased = StdArc::clone(&leased);
            spawn(move || (contend(&budget, &leased), budget))
        });
        let ended = threads.map(|thread| thread.join().unwrap());
        assert!(ended.iter().any(|(granted, _)| granted.contains(&true)), "the first to ask has it");
        assert_eq!(ledger::charged_bytes(), 0);
        for (_, budget) in &ended {
            assert!(budget.lease(MIN_CLASS_SIZE, 0) && budget.charge(MIN_CLASS_SIZE), "all of it is there for each");
            assert!(!budget.charge(1) && !budget.lease(1, 0));
            budget.unlease(MIN_CLASS_SIZE);
            budget.release(2 * MIN_CLASS_SIZE);
        }
    });
}

/// A budget that ends gives its share back once, beside another one that charges: never more than there is, and in the
/// end all of it.
#[test]
fn a_budget_that_ends_gives_its_share_back() {
    check(None, || {
        let common = StdArc::new(Budget::new(2 * MIN_CLASS_SIZE));
        let [ending, other] = [(); 2].map(|()| Budget::within(2 * MIN_CLASS_SIZE, Some(StdArc::clone(&common))));
        assert!(ending.lease(MIN_CLASS_SIZE, 0));
        let ending = spawn(move || {
            ending.charge(MIN_CLASS_SIZE);
            drop(ending);
        });
        let other = spawn(move || {
            if other.lease(MIN_CLASS_SIZE, 0) {
                other.unlease(MIN_CLASS_SIZE);
                other.release(MIN_CLASS_SIZE);
            }
            if other.charge(MIN_CLASS_SIZE) {
                other.release(MIN_CLASS_SIZE);
            }
        });
        ending.join().unwrap();
        other.join().unwrap();
        assert_eq!(ledger::charged_bytes(), 0);
        assert!(common.lease(MIN_CLASS_SIZE, 0) && common.charge(MIN_CLASS_SIZE), "all of it is there again");
    });
}

/// Two pools of a registry on two threads, with room for `buffers` buffers in all: what lies idle in both together is
/// compared with what the common budget has been charged.
fn idle_within_common(buffers: usize) {
    check(Some(2), move || {
        ledger::compare_with_budget(true);
        let registry = Registry::with_budget(buffers * MIN_CLASS_SIZE);
        let pools = ["one", "other"].map(|name| {
            let builder = builder().retained_bytes_max(2 * MIN_CLASS_SIZE);
            registry.get_or_create(name, builder).expect("values that are allowed")
        });
        let threads = pools.clone().map(|pool| {
            spawn(move || {
                drop(pool.get());
                drop(pool.get());
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        let stats = pools.each_ref().map(|pool| pool.stats());
        let retained = stats.each_ref().map(|stats| stats.retained_bytes);
        assert!(retained.iter().sum::<usize>() <= buffers * MIN_CLASS_SIZE, "{stats:?}");
        assert_eq!(retained.iter().sum::<usize>(), ledger::idle_bytes(), "{stats:?}");
        assert_eq!(ledger::charged_bytes(), ledger::idle_bytes(), "an empty place is not charged to a common budget");
        assert_eq!(ledger::leased_bytes(), 0, "ended threads have no leases");
        assert!(retained.iter().sum::<usize>() > 0, "who came first has kept a buffer: {stats:?}");
        // Whichever way a buffer is taken: the first by a thread that is new to the pool, the second by one that is not.
        for pool in &pools {
            for _ in 0..2 {
                let _held = pool.get();
                let leased = ledger::leased_bytes();
                assert!(leased > 0 || ledger::charged_bytes() == ledger::idle_bytes(), "nor one that was just emptied");
            }
        }
        // What one pool gives up, the other can have.
        for (pool, other) in [(&pools[0], &pools[1]), (&pools[1], &pools[0])] {
            other.purge();
            pool.purge();
            assert_eq!(pool.prefill(MIN_CLASS_SIZE, buffers), buffers, "all of the common budget is free again");
        }
    });
}

#[test]
fn two_pools_share_a_budget_of_one_buffer() {
    idle_within_common(1);
}

#[test]
fn two_pools_share_a_budget_of_one_lease() {
    idle_within_common(2);
}
