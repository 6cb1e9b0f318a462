//! The byte budget: what may lie idle, charged before a buffer is laid down.
//!
//! Charging every put costs a locked instruction on a line that all threads share. So thread caches *lease* slots: the
//! budget is charged for a run of them at once, whether they are filled or not, and `push` only compares a length with
//! the lease. `charged` is therefore never less than the bytes that lie idle, and it never exceeds the maximum.

use std::sync::Arc;

use crate::sync::{AtomicUsize, Ordering, Padded};

#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    /// Leases of thread caches take no more than this, half of the budget: the buffers that a sleeping thread holds
    /// cannot be reached, and must leave room for the threads that work.
    leased_bytes_max: usize,
    charged: Padded<AtomicUsize>,
    leased: Padded<AtomicUsize>,
    /// A budget over several pools: everything is charged there too.
    parent: Option<Arc<Budget>>,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Budget {
        Budget {
            bytes_max,
            leased_bytes_max: bytes_max / 2,
            charged: Padded(AtomicUsize::new(0)),
            leased: Padded(AtomicUsize::new(0)),
            parent: None,
        }
    }

    /// A budget that is part of another one, or not.
    pub(crate) fn within(bytes_max: usize, parent: Option<Arc<Budget>>) -> Budget {
        let mut budget = Budget::new(bytes_max);
        budget.parent = parent;
        budget
    }

    /// Charges `bytes` if the budget has them. Model:
    /// loom_tests::budget::charges_never_exceed_the_budget.
    pub(crate) fn charge(&self, bytes: usize) -> bool {
        if !add_up_to(&self.charged, bytes, self.bytes_max) {
            return false;
        }
        #[cfg(pool_loom)]
        if self.parent.is_none() {
            crate::loom_tests::ledger::charged(bytes, self.bytes_max);
        }
        let granted = self.parent.as_ref().is_none_or(|parent| parent.charge(bytes));
        if !granted {
            // What the parent refuses must not stay here. Relaxed: as in `release`. Model: loom_tests::budget::
            // what_a_common_budget_refuses_is_given_back.
            self.charged.fetch_sub(bytes, Ordering::Relaxed);
        }
        granted
    }

    pub(crate) fn release(&self, bytes: usize) {
        // Relaxed: the counter guards no memory, only its own value. Model: loom_tests::budget::
        // a_budget_of_one_buffer_keeps_no_more.
        let before = self.charged.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "released {bytes} of {before} bytes charged");
        #[cfg(pool_loom)]
        if self.parent.is_none() {
            crate::loom_tests::ledger::released(bytes);
        }
        if let Some(parent) = &self.parent {
            parent.release(bytes);
        }
    }

    /// Moves bytes that are charged already, of buffers that lie in the shared part, to a thread cache's leases.
    pub(crate) fn lease_charged(&self, bytes: usize) -> bool {
        if !add_up_to(&self.leased, bytes, self.leased_bytes_max) {
            return false;
        }
        let granted = self.parent.as_ref().is_none_or(|parent| parent.lease_charged(bytes));
        if !granted {
            // As in `charge`.
            self.leased.fetch_sub(bytes, Ordering::Relaxed);
        }
        granted
    }

    /// Charges and leases `bytes`.
    pub(crate) fn lease(&self, bytes: usize) -> bool {
        if !self.lease_charged(bytes) {
            return false;
        }
        if !self.charge(bytes) {
            self.unlease(bytes);
            return false;
        }
        true
    }

    /// Takes bytes out of the leases; they stay charged.
    pub(crate) fn unlease(&self, bytes: usize) {
        // Relaxed, and model: as in `release`.
        let before = self.leased.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "unleased {bytes} of {before} bytes leased");
        if let Some(parent) = &self.parent {
            parent.unlease(bytes);
        }
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}

/// A pool ends with what lay in it; its share of the common budget is free again.
impl Drop for Budget {
    fn drop(&mut self) {
        if let Some(parent) = self.parent.take() {
            // Relaxed: nobody else has this budget any more. Model: loom_tests::budget::
            // a_budget_that_ends_gives_its_share_back.
            parent.unlease(self.leased.load(Ordering::Relaxed));
            parent.release(self.charged.load(Ordering::Relaxed));
        }
    }
}

fn add_up_to(counter: &AtomicUsize, bytes: usize, max: usize) -> bool {
    // Relaxed: the counter guards no memory, only its own value, and the exchange compares with the last. Model:
    // loom_tests::budget::charges_never_exceed_the_budget.
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
            before.checked_add(bytes).filter(|&after| after <= max)
        })
        .is_ok()
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_the_parent_refuses_is_not_charged_to_the_child() {
        let parent = Arc::new(Budget::new(100));
        let child = Budget::within(1000, Some(Arc::clone(&parent)));
        assert!(child.lease(50) && child.charge(50) && !child.charge(1) && !child.lease(1));
        assert_eq!((child.charged.load(Ordering::Relaxed), child.leased.load(Ordering::Relaxed)), (100, 50));
        child.release(1);
        assert!(!child.lease(1), "half of the parent is leased");
        child.unlease(1);
        assert!(child.lease(1));
        drop(child);
        assert_eq!((parent.charged.load(Ordering::Relaxed), parent.leased.load(Ordering::Relaxed)), (0, 0));
    }

    /// The figure itself, not one that was clamped.
    #[test]
    fn children_together_never_charge_more_than_the_parent_has() {
        let parent = Arc::new(Budget::new(1000));
        let children: [Budget; 3] = std::array::from_fn(|_| Budget::within(700, Some(Arc::clone(&parent))));
        let refused = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..6)
                .map(|worker| {
                    let child = &children[worker % children.len()];
                    scope.spawn(move || {
                        let mut refused = 0;
                        for round in 0..20_000 {
                            let bytes = 100 + (round * 37 + worker * 11) % 300;
                            if child.charge(bytes) {
                                std::thread::yield_now();
                                child.release(bytes);
                            } else {
                                refused += 1;
                            }
                        }
                        refused
                    })
                })
                .collect();
            while !workers.iter().all(|worker| worker.is_finished()) {
                assert!(parent.charged.load(Ordering::Relaxed) <= 1000);
            }
            workers.into_iter().map(|worker| worker.join().expect("no panic")).sum::<u64>()
        });
        assert!(refused > 0, "the budget never mattered");
        assert_eq!(parent.charged.load(Ordering::Relaxed), 0);
    }
}
