//! A trim interval passes: what was not used is freed. And the end of a thread, which moves its cache to the depot.
//!
//! When threads look at the clock, and how soon memory is freed: see `learn/clock.rs` and docs/design.md.

use super::shared::{Core, Op};
use crate::class::{CLASSES, rolled, size_of_class};
use crate::learn::clock::{LOOK_FIRST, LOOK_MAX};
use crate::learn::epoch::Epoch;
use crate::storage::{BATCH_SLOTS, Charge, Local, ROWS, SMALL_CLASSES, Tenant};
use crate::sync::Ordering;

impl<'p> Op<'p> {
    /// One trim interval passes. Returns the bytes freed.
    pub(super) fn trim(self) -> usize {
        self.pool.epoch.next_interval();
        self.pool.renew_stamp();
        // Relaxed: see `may_have_unused`.
        self.core.unused.store(false, Ordering::Relaxed);
        let mut freed_bytes = 0;
        for class in rolled(0..CLASSES) {
            let stock = self.core.depot.stock(class);
            freed_bytes += self.free_from_depot(class, stock.low());
            stock.begin_interval();
            for row in rolled(0..ROWS) {
                if !self.core.table.was_used(row, class) {
                    freed_bytes += self.free_place(row, class);
                }
            }
            self.give_up_charges(class);
        }
        freed_bytes + self.catch_up()
    }

    /// Frees everything cached but other threads' caches. Returns the bytes freed.
    pub(super) fn purge(self) -> usize {
        let mut freed_bytes = 0;
        for class in rolled(0..CLASSES) {
            freed_bytes += self.purge_class(class);
        }
        let Some(local) = self.local else { return freed_bytes };
        for class in rolled(0..SMALL_CLASSES) {
            freed_bytes += self.free_from_cache(local, class, local.len(class));
        }
        self.release_unused_leases(local);
        freed_bytes
    }

    pub(super) fn flush(self) {
        if let Some(local) = self.local {
            self.core.empty_cache(local);
            self.note_unused();
        }
    }

    /// Lets a trim interval pass if one is over, and grants this thread the uses until it looks again.
    #[inline(never)]
    pub(super) fn look_at_clock(self) {
        let now_ns = self.pass_interval_if_due();
        self.grant(now_ns, LOOK_MAX);
    }

    /// As `look_at_clock`, but with a short count: how fast uses came so far says nothing about what comes.
    #[inline(never)]
    pub(super) fn begin_to_look(self) {
        let now_ns = self.pass_interval_if_due();
        self.grant(now_ns, LOOK_FIRST);
        if let Some(local) = self.local {
            local.pace.begin(now_ns);
        }
    }

    pub(super) fn pass_interval_if_due(self) -> u64 {
        let now_ns = self.core.clock.now_ns();
        if self.core.clock.is_due(now_ns) {
            self.trim();
        }
        now_ns
    }

    #[inline(never)]
    pub(super) fn grant(self, now_ns: u64, most: u64) {
        let Some(local) = self.local else { return };
        local.pace.stop(local.left());
        if local.pace.is_merge_due() {
            // The shard is new to this thread, which has no calls to merge.
            local.pace.merge_in(self.core.calibrator.merge_in());
        }
        // While the pool records, every use is noted.
        let most = if self.recorder().is_some() { 1 } else { most };
        local.set_left(local.pace.grant(&self.core.clock, now_ns, most));
    }

    /// A buffer came to the table or the depot. The first one since the last trim renews the stamp, so that every
    /// thread begins to look; later ones make this thread alone begin.
    #[inline(never)]
    pub(super) fn note_unused(self) {
        if !self.core.may_have_unused() && !self.core.unused.swap(true, Ordering::Relaxed) {
            self.pool.renew_stamp();
        }
        self.begin_to_look();
    }

    /// Does to this thread's cache what trim intervals that passed, or a max size that fell, require since its last
    /// operation. Returns the bytes freed.
    pub(super) fn catch_up(self) -> usize {
        let Some(local) = self.local else { return 0 };
        let epoch = self.pool.epoch.load();
        let seen = local.epoch_seen.get();
        if seen == epoch.word() {
            return 0;
        }
        local.epoch_seen.set(epoch.word());
        if seen == 0 {
            return 0;
        }
        let intervals = epoch.interval() - Epoch::from_word(seen).interval();
        let mut freed_bytes = 0;
        for class in rolled(0..SMALL_CLASSES) {
            let over_ceiling = class > epoch.max_class();
            let unused = match intervals {
                _ if over_ceiling => local.len(class),
                0 => continue,
                1 => local.low(class),
                // A whole interval has passed since this thread's last operation.
                _ => local.len(class),
            };
            freed_bytes += self.free_from_cache(local, class, unused);
            self.core.release_unused_lease(local, class);
            local.begin_interval(class);
        }
        // This thread may have put a buffer there after the calibration had looked and before it saw the new max size.
        // Model: loom_tests::ceiling::nothing_is_cached_above_a_ceiling_that_its_thread_has_seen.
        for class in epoch.max_class() + 1..CLASSES {
            freed_bytes += self.free_place(local.row(), class);
        }
        freed_bytes
    }

    pub(super) fn purge_above_ceiling(self) {
        for class in self.pool.epoch.load().max_class() + 1..CLASSES {
            self.purge_class(class);
        }
    }

    /// Frees every buffer of a class in the shared part.
    #[inline(never)]
    pub(super) fn purge_class(self, class: usize) -> usize {
        let mut freed_bytes = self.free_from_depot(class, self.core.depot.stock(class).len());
        freed_bytes += rolled(0..ROWS).map(|row| self.free_place(row, class)).sum::<usize>();
        self.give_up_charges(class);
        freed_bytes
    }

    /// Frees the buffer of a place, if there is one.
    #[inline(never)]
    pub(super) fn free_place(self, row: usize, class: usize) -> usize {
        let Some(vec) = self.core.table.take(row, class, Charge::Leaves) else { return 0 };
        drop(vec);
        self.core.budget.release(size_of_class(class));
        self.add(|counters| &counters.trimmed, 1);
        size_of_class(class)
    }

    /// Frees up to `count` buffers of the depot.
    pub(super) fn free_from_depot(self, class: usize, count: usize) -> usize {
        let stock = self.core.depot.stock(class);
        let mut freed = 0;
        while freed < count {
            let Some(mut batch) = stock.pop() else { break };
            let surplus = batch.len().min(count - freed);
            for _ in 0..surplus {
                drop(batch.pop());
            }
            freed += surplus;
            self.core.budget.release(surplus * size_of_class(class));
            if batch.len() > 0 {
                stock.push(batch);
            }
        }
        self.add(|counters| &counters.trimmed, freed as u64);
        freed * size_of_class(class)
    }

    /// Frees the `count` coldest buffers of a stack. Their slots stay leased.
    #[inline(never)]
    pub(super) fn free_from_cache(self, local: Local<'_>, class: usize, count: usize) -> usize {
        let mut freed = 0;
        while freed < count {
            let batch = local.take_cold(class, count - freed);
            if batch.len() == 0 {
                // A global allocator that uses this pool has trimmed it meanwhile, within a free of this loop.
                break;
            }
            freed += batch.len();
            self.add(|counters| &counters.trimmed, batch.len() as u64);
        }
        freed * size_of_class(class)
    }
}

impl Core {
    /// Moves a thread's cache to the depot, and gives up its leases. Allocates and frees nothing.
    pub(super) fn empty_cache(&self, local: Local<'_>) {
        for class in rolled(0..SMALL_CLASSES) {
            while local.len(class) > 0 {
                let batch = local.take_cold(class, BATCH_SLOTS);
                // The bytes leave the lease but stay charged, for the batch.
                self.shrink_lease(local, class, local.leased(class) - batch.len());
                self.depot.stock(class).push(batch);
            }
            self.release_unused_lease(local, class);
        }
    }
}

impl Tenant for Core {
    fn hand_back(&self, local: Local<'_>) {
        self.empty_cache(local);
        self.calibrator.merge(&local.counters);
        local.forget_stamp();
        local.pace.reset();
        local.set_left(0);
    }
}

#[cfg(all(test, not(any(pool_loom, pool_shuttle))))]
mod tests {
    use super::*;
    use crate::pool::Pool;

    /// A put may come between the calibration's look at a place and the moment at which its thread sees the new max size.
    #[test]
    fn what_was_put_above_a_max_size_before_its_thread_saw_it_is_freed_and_counted() {
        const CLASS: usize = SMALL_CLASSES;
        let pool = Pool::new();
        drop(pool.get());
        let op = pool.op();
        let local = op.local.expect("a thread that lives");
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                pool.get().push(1);
                pool.calibrate();
            });
            other.join().expect("no panic");
        });
        assert_eq!(pool.max_size(), 64);
        assert!(op.charge(size_of_class(CLASS)));
        assert!(op.core.table.put_charged(local.row(), CLASS, &mut vec![0; size_of_class(CLASS)]));
        assert_eq!(op.catch_up(), size_of_class(CLASS));
        assert_eq!(pool.stats().classes[CLASS].retained, 0);
    }

    #[test]
    fn freeing_ends_when_the_stack_was_emptied_meanwhile() {
        let pool = Pool::new();
        drop([pool.get(), pool.get()]);
        let op = pool.op();
        let local = op.local.expect("a thread that lives");
        assert_eq!(op.free_from_cache(local, 0, 20), 2 * 64);
        assert_eq!(pool.stats().trimmed, 2);
    }

    /// Also where they are more than one batch.
    #[test]
    fn no_more_of_a_stack_is_freed_than_was_said() {
        let pool = Pool::new();
        drop([(); 40].map(|()| pool.get()));
        let op = pool.op();
        let local = op.local.expect("a thread that lives");
        assert_eq!((op.free_from_cache(local, 0, 20), local.len(0)), (20 * 64, 20));
    }
}
