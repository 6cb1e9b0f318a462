//! The byte budget: what may be cached, charged before a buffer is.
//!
//! To charge every put would cost a locked instruction on a line that all threads share. So thread caches *lease*
//! slots: a run of them is charged at once, whether they are filled or not, and `push` only compares a length with the
//! lease. `charged` is therefore never less than the cached bytes, and it never exceeds the maximum. See
//! docs/design.md.

use std::sync::Arc;

use crate::sync::{AtomicUsize, Ordering, Padded};

#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    /// All leases together take no more than this, half of the budget. Nobody can reach the cache of a sleeping thread,
    /// so there must be room left for the threads that work.
    leased_bytes_max: usize,
    charged: Padded<AtomicUsize>,
    leased: Padded<AtomicUsize>,
    /// A common budget of several pools: everything is charged there too.
    parent: Option<Arc<Budget>>,
}

impl Budget {
    #[inline]
    pub(crate) fn new(bytes_max: usize) -> Budget {
        Budget {
            bytes_max,
            leased_bytes_max: bytes_max / 2,
            charged: Padded(AtomicUsize::new(0)),
            leased: Padded(AtomicUsize::new(0)),
            parent: None,
        }
    }

    /// A budget within `parent`, if there is one.
    #[inline]
    pub(crate) fn within(bytes_max: usize, parent: Option<Arc<Budget>>) -> Budget {
        let mut budget = Budget::new(bytes_max);
        budget.parent = parent;
        budget
    }

    /// Charges `bytes` if the budget has them. Model:
    /// loom_tests::budget::charges_never_exceed_the_budget.
    #[inline(never)]
    pub(crate) fn charge(&self, bytes: usize) -> bool {
        if !add_if(&self.charged, bytes, |after| after <= self.bytes_max) {
            return false;
        }
        #[cfg(pool_loom)]
        if self.parent.is_none() {
            crate::sync::ledger::charged(bytes, self.bytes_max);
        }
        let granted = self.parent.as_ref().is_none_or(|parent| parent.charge(bytes));
        if !granted {
            // What the parent refuses must not stay charged here. Relaxed: as in `release`. Model: loom_tests::budget::
            // what_a_common_budget_refuses_is_given_back.
            self.charged.fetch_sub(bytes, Ordering::Relaxed);
        }
        granted
    }

    #[inline(never)]
    pub(crate) fn release(&self, bytes: usize) {
        // Relaxed: the counter guards no memory, only its own value. Model: loom_tests::budget::
        // a_budget_of_one_buffer_keeps_no_more.
        let before = self.charged.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "released {bytes} of {before} bytes charged");
        #[cfg(pool_loom)]
        if self.parent.is_none() {
            crate::sync::ledger::released(bytes);
        }
        if let Some(parent) = &self.parent {
            parent.release(bytes);
        }
    }

    /// Moves bytes that are charged already, for buffers in the shared part, to the leases of a thread that has leased
    /// `held` bytes.
    ///
    /// A thread may lease at most a sixteenth of what all leases leave of their half: the dynamic threshold of
    /// Choudhury & Hahne ("Dynamic queue length thresholds for shared-memory packet switches", IEEE/ACM Transactions on
    /// Networking, 1998). So with the default budget some 240 threads can have full caches, and the 250th still finds a lease of 68 KiB.
    #[inline(never)]
    pub(crate) fn lease_charged(&self, bytes: usize, held: usize) -> bool {
        let is_within = |after: usize| {
            let left = self.leased_bytes_max.checked_sub(after - bytes);
            left.is_some_and(|left| held.saturating_add(bytes) <= left / LEASE_SHARE)
        };
        if !add_if(&self.leased, bytes, is_within) {
            return false;
        }
        #[cfg(pool_loom)]
        if self.parent.is_none() {
            crate::sync::ledger::leased(bytes);
        }
        let granted = self.parent.as_ref().is_none_or(|parent| parent.lease_charged(bytes, held));
        if !granted {
            // As in `charge`.
            self.leased.fetch_sub(bytes, Ordering::Relaxed);
        }
        granted
    }

    /// Charges `bytes` and leases them to a thread that has leased `held`.
    #[inline]
    pub(crate) fn lease(&self, bytes: usize, held: usize) -> bool {
        if !self.lease_charged(bytes, held) {
            return false;
        }
        if !self.charge(bytes) {
            self.unlease(bytes);
            return false;
        }
        true
    }

    /// Takes bytes out of the leases. They stay charged.
    #[inline(never)]
    pub(crate) fn unlease(&self, bytes: usize) {
        // Relaxed, and model: as in `release`.
        let before = self.leased.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "unleased {bytes} of {before} bytes leased");
        #[cfg(pool_loom)]
        if self.parent.is_none() {
            crate::sync::ledger::unleased(bytes);
        }
        if let Some(parent) = &self.parent {
            parent.unlease(bytes);
        }
    }

    /// Whether there is a common budget that other pools charge too.
    #[inline]
    pub(crate) fn is_shared(&self) -> bool {
        self.parent.is_some()
    }

    #[inline]
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    #[cfg(all(test, not(pool_loom)))]
    pub(crate) fn charged_bytes(&self) -> usize {
        self.charged.load(Ordering::Relaxed)
    }
}

/// A pool is dropped with everything in it: its share of the common budget is free again.
impl Drop for Budget {
    #[inline]
    fn drop(&mut self) {
        if let Some(parent) = self.parent.take() {
            // Relaxed: nobody else has this budget any more. Model: loom_tests::budget::
            // a_budget_that_ends_gives_its_share_back.
            parent.unlease(self.leased.load(Ordering::Relaxed));
            parent.release(self.charged.load(Ordering::Relaxed));
        }
    }
}

#[inline]
fn add_if(counter: &AtomicUsize, bytes: usize, is_within: impl Fn(usize) -> bool) -> bool {
    // Relaxed: the counter guards no memory, only its own value, and the exchange compares with the last. Model:
    // loom_tests::budget::charges_never_exceed_the_budget.
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
            before.checked_add(bytes).filter(|&after| is_within(after))
        })
        .is_ok()
}

/// One thread's leases are at most this part of what is left: a sixteenth. So seventeen greedy threads take about two
/// thirds of the half and not all of it. In models it is all, so that two threads find the end of it.
const LEASE_SHARE: usize = if cfg!(pool_loom) { 1 } else { 16 };

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    fn figures(budget: &Budget) -> (usize, usize) {
        (budget.charged_bytes(), budget.leased.load(Ordering::Relaxed))
    }

    #[test]
    fn what_the_parent_refuses_is_not_charged_to_the_child() {
        let parent = Arc::new(Budget::new(1000));
        let child = Budget::within(10_000, Some(Arc::clone(&parent)));
        assert!(child.lease(30, 0) && child.charge(970) && !child.charge(1) && !child.lease(1, 0));
        assert_eq!((figures(&child), figures(&parent)), ((1000, 30), (1000, 30)));
        child.release(1);
        assert!(!child.lease(1, 30), "with 30 leased a thread has its sixteenth of what is left of 500");
        assert_eq!(
            (figures(&child), figures(&parent)),
            ((999, 30), (999, 30)),
            "a lease that is refused leaves nothing"
        );
        child.unlease(30);
        assert!(child.lease(1, 0));
        drop(child);
        assert_eq!(figures(&parent), (0, 0));
    }

    #[test]
    fn a_thread_leases_a_sixteenth_of_what_is_left_and_the_next_ones_find_some() {
        let budget = Budget::new(2 << 20);
        let mut leased = Vec::new();
        for _ in 0..40 {
            let mut held = 0;
            while budget.lease(64, held) {
                held += 64;
            }
            leased.push(held);
        }
        // x = (half - x) / 16 is half / 17, to a slot.
        assert!((leased[0] as isize - (1 << 20) / 17).abs() <= 64, "{leased:?}");
        assert!(leased.is_sorted_by(|one, next| one >= next) && leased[39] > 4096, "{leased:?}");
        assert!(leased.iter().sum::<usize>() <= 1 << 20);
        let tiny = Budget::new(64 * 33);
        assert!(tiny.lease(64, 0) && !tiny.lease(64, 64) && !Budget::new(64 * 31).lease(64, 0));
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
                assert!(parent.charged_bytes() <= 1000);
            }
            workers.into_iter().map(|worker| worker.join().expect("no panic")).sum::<u64>()
        });
        assert!(refused > 0, "the budget never mattered");
        assert_eq!(parent.charged_bytes(), 0);
    }
}
