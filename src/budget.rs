//! The byte budget: what may lie idle, charged before a buffer is laid down.
//!
//! Charging every put costs a locked instruction on a line that all threads share. So thread caches *lease* slots: the
//! budget is charged for a run of them at once, whether they are filled or not, and `push` only compares a length with
//! the lease. `charged` is therefore never less than the bytes that lie idle, and it never exceeds the maximum.

use crate::sync::{AtomicUsize, Ordering, Padded};

#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    /// Leases of thread caches take no more than this, half of the budget: the buffers that a sleeping thread holds
    /// cannot be reached, and must leave room for the threads that work.
    leased_bytes_max: usize,
    charged: Padded<AtomicUsize>,
    leased: Padded<AtomicUsize>,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Budget {
        Budget {
            bytes_max,
            leased_bytes_max: bytes_max / 2,
            charged: Padded(AtomicUsize::new(0)),
            leased: Padded(AtomicUsize::new(0)),
        }
    }

    /// Charges `bytes` if the budget has them. Model: loom_tests::charges_never_exceed_the_budget.
    pub(crate) fn charge(&self, bytes: usize) -> bool {
        let charged = add_up_to(&self.charged, bytes, self.bytes_max);
        #[cfg(pool_loom)]
        if charged {
            crate::loom_tests::ledger::charged(bytes, self.bytes_max);
        }
        charged
    }

    pub(crate) fn release(&self, bytes: usize) {
        // Relaxed: the counter guards no memory, only its own value.
        let before = self.charged.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "released {bytes} of {before} bytes charged");
        #[cfg(pool_loom)]
        crate::loom_tests::ledger::released(bytes);
    }

    /// Moves bytes that are charged already, of buffers that lie in the shared part, to a thread cache's leases.
    pub(crate) fn lease_charged(&self, bytes: usize) -> bool {
        add_up_to(&self.leased, bytes, self.leased_bytes_max)
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
        let before = self.leased.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "unleased {bytes} of {before} bytes leased");
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}

fn add_up_to(counter: &AtomicUsize, bytes: usize, max: usize) -> bool {
    // Relaxed: the counter guards no memory, only its own value.
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
            before.checked_add(bytes).filter(|&after| after <= max)
        })
        .is_ok()
}
