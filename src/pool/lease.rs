//! What is charged to the budget: leases of thread caches, and buffers in the shared part.
//!
//! A thread leases slots before it fills them, so that the hot path need not look at the budget. Before a buffer is
//! freed for want of budget, everything that is charged and covers nothing is given up. See docs/design.md.

use super::shared::{Core, Op};
use crate::class::{CLASSES, rolled, size_of_class};
use crate::storage::{Local, SMALL_CLASSES, slots_max};

impl<'p> Op<'p> {
    pub(super) fn may_lease(self, held: usize, bytes: usize) -> bool {
        held + bytes <= self.pool.config.thread_cache_bytes_max
    }

    /// Leases as many slots again, or one if there is no budget for so many.
    pub(super) fn extend_lease(self, local: Local<'_>, class: usize) -> bool {
        let leased = local.leased(class);
        let room = slots_max(class) - leased;
        let first = (FIRST_LEASE_BYTES / size_of_class(class)).max(1);
        let run = leased.max(first).min(room);
        let held = local.leased_bytes.get() as usize;
        [run, run.min(1)].into_iter().any(|slots| {
            let bytes = slots * size_of_class(class);
            let is_leased = slots > 0 && self.may_lease(held, bytes) && self.core.budget.lease(bytes, held);
            if is_leased {
                note_lease(local, class, slots);
            }
            is_leased
        })
    }

    /// Charges the budget. If it refuses, this gives up what is charged and covers nothing, and tries once more.
    #[inline(never)]
    pub(super) fn charge(self, bytes: usize) -> bool {
        if self.core.budget.charge(bytes) {
            return true;
        }
        if bytes > self.core.budget.bytes_max() {
            return false;
        }
        if let Some(local) = self.local {
            self.release_unused_leases(local);
        }
        rolled(0..CLASSES).for_each(|class| self.give_up_charges(class));
        self.core.budget.charge(bytes)
    }

    #[inline(never)]
    pub(super) fn release_unused_leases(self, local: Local<'_>) {
        rolled(0..SMALL_CLASSES).for_each(|class| self.core.release_unused_lease(local, class));
    }

    /// Gives up the charges of a class's empty places.
    #[inline(never)]
    pub(super) fn give_up_charges(self, class: usize) {
        let given_up = self.core.table.give_up_charges(class);
        if given_up > 0 {
            self.core.budget.release(given_up * size_of_class(class));
        }
    }
}

impl Core {
    /// Takes slots out of a lease. Their bytes stay charged.
    #[inline(never)]
    pub(super) fn shrink_lease(&self, local: Local<'_>, class: usize, leased: usize) {
        let bytes = (local.leased(class) - leased) * size_of_class(class);
        local.set_leased(class, leased);
        local.leased_bytes.set(local.leased_bytes.get() - bytes as u64);
        self.budget.unlease(bytes);
    }

    #[inline(never)]
    pub(super) fn release_unused_lease(&self, local: Local<'_>, class: usize) {
        let unused = local.leased(class) - local.len(class);
        if unused > 0 {
            self.shrink_lease(local, class, local.len(class));
            self.budget.release(unused * size_of_class(class));
        }
    }
}

pub(super) fn note_lease(local: Local<'_>, class: usize, slots: usize) {
    local.set_leased(class, local.leased(class) + slots);
    local.leased_bytes.add((slots * size_of_class(class)) as u64);
}

/// The first lease of a class: 4 KiB of small buffers, or one larger buffer.
const FIRST_LEASE_BYTES: usize = 4 << 10;
