//! A buffer is returned: it is scrubbed, its use is counted, and it is cached or freed.
//!
//! In this order: the thread's stack, its own row of the table, the depot, the heap. The hot path of a guard's end is
//! one compare for the stamp, one for sizes without a class, one for the count-down, and three for the stack. See
//! docs/design.md.

use super::shared::{Core, Op, Pool};
use crate::class::{CLASSES, class_below, class_of, class_of_capacity, size_of_class};
use crate::learn::counters::Reason;
use crate::learn::usage::{Peak, Use};
use crate::scrub::scrub;
use crate::storage::{BATCH_SLOTS, Batch, Local, Put, RawBuf, SMALL_CLASSES, shrink};

impl Pool {
    /// A guard ended, with `len` bytes in its buffer, which this takes.
    ///
    /// The arguments are in the order in which the tail calls want them.
    #[inline]
    pub(crate) fn finish(&self, len: usize, raw: RawBuf, peak: Peak) {
        let Some(local) = self.per_thread.local(self.per_thread.stamp()) else {
            return self.finish_slow(len, raw, peak);
        };
        let usage = peak.finish(len);
        if usage.has_class() {
            local.counters.count(usage.peak, usage.asked);
        } else if usage.peak == 0 {
            local.counters.count_empty();
        } else {
            // More than the largest class; or a use that has ended already.
            return self.finish_slow(len, raw, peak);
        }
        if local.count_down() {
            return self.look_and_keep(local, raw, peak, len);
        }
        let mut vec = raw.into_vec();
        scrub(&mut vec, usage.written(len));
        if !local.push(&mut vec) {
            self.keep(local, RawBuf::of(vec), usage.peak);
        }
    }

    /// The use is counted, with `size` bytes, but the thread cache has no room for its buffer: it is large, or its
    /// capacity is no class's size, or the lease is used up.
    #[inline(never)]
    fn keep(&self, local: Local<'_>, raw: RawBuf, size: usize) {
        let mut vec = raw.into_vec();
        if let Some(shared) = self.per_thread.get_shared() {
            let core = &shared.tenant;
            if core.may_have_unused() && vec.capacity() <= self.max_size() && core.put(local.row(), &mut vec) {
                return;
            }
        }
        self.keep_slow(RawBuf::of(vec), size);
    }

    #[cold]
    #[inline(never)]
    fn keep_slow(&self, raw: RawBuf, size: usize) {
        self.op().keep_used(raw.into_vec(), Use::class_of_peak(size));
    }

    #[cold]
    #[inline(never)]
    fn look_and_keep(&self, local: Local<'_>, raw: RawBuf, peak: Peak, len: usize) {
        let (usage, mut vec) = (peak.finish(len), raw.into_vec());
        Op::new(self, self.shared(), Some(local)).look(usage);
        scrub(&mut vec, usage.written(len));
        if !local.push(&mut vec) {
            self.keep(local, RawBuf::of(vec), usage.peak);
        }
    }

    #[cold]
    #[inline(never)]
    fn finish_slow(&self, len: usize, raw: RawBuf, peak: Peak) {
        if peak != Peak::NO_USE {
            let usage = peak.finish(len);
            self.op().finish(raw.into_vec(), usage, usage.written(len));
        }
    }

    pub(crate) fn detach(&self, peak: Peak, len: usize) {
        self.op().detach(peak.finish(len));
    }

    pub(crate) fn discard(&self, vec: Vec<u8>, peak: Peak) {
        let usage = peak.finish(vec.len());
        self.op().discard(vec, usage);
    }
}

impl<'p> Op<'p> {
    /// A guard ended, and its buffer is returned.
    pub(crate) fn finish(self, mut vec: Vec<u8>, usage: Use, written: usize) {
        self.count(usage);
        scrub(&mut vec, written);
        self.keep_used(vec, usage.counted_class());
    }

    pub(super) fn donate(self, vec: Vec<u8>) {
        self.add(|counters| &counters.donated, 1);
        let (usage, written) = (Use::donated(vec.len()), vec.len());
        self.finish(vec, usage, written);
    }

    pub(super) fn detach(self, usage: Use) {
        self.add(|counters| &counters.detached, 1);
        self.count(usage);
        self.note_above(usage.counted_class());
    }

    pub(super) fn discard(self, mut vec: Vec<u8>, usage: Use) {
        self.count(usage);
        self.note_above(usage.counted_class());
        let written = usage.written(vec.len());
        scrub(&mut vec, written);
        self.free(vec, Reason::Discarded);
    }

    /// Caches the buffer of a finished use of `class`, or frees it for the first reason that applies. It has been
    /// scrubbed.
    pub(super) fn keep_used(self, vec: Vec<u8>, class: Option<usize>) {
        // Only `as_vec_mut` can leave a buffer of a size class below the use's own. Such a buffer may go to the thread
        // cache and never come by here. So it is not counted here either.
        if class.is_none_or(|class| class_of_capacity(vec.capacity(), class).is_none()) {
            self.note_above(class);
        }
        self.keep(vec);
    }

    /// Caches a buffer, or frees it for the first reason that applies; no use is counted. It has been scrubbed.
    pub(super) fn keep(self, mut vec: Vec<u8>) {
        let max_class = self.pool.epoch.load().max_class();
        let Some(class) = class_below(vec.capacity()) else {
            return self.free(vec, Reason::OutOfClass);
        };
        if class > max_class {
            return self.free(vec, Reason::OverCeiling);
        }
        if class_of_capacity(vec.capacity(), CLASSES).is_none() {
            shrink(&mut vec, size_of_class(class));
            if vec.capacity() != size_of_class(class) {
                return self.free(vec, Reason::OutOfClass);
            }
        }
        match self.local {
            Some(local) if class < SMALL_CLASSES => self.keep_small(local, class, vec),
            _ => self.keep_in_shared(class, vec),
        }
    }

    pub(super) fn keep_small(self, local: Local<'p>, class: usize, mut vec: Vec<u8>) {
        if local.push(&mut vec) {
            return;
        }
        let has_room = self.extend_lease(local, class) || self.make_room(local, class);
        if !(has_room && local.push(&mut vec)) {
            self.keep_in_shared(class, vec);
        }
    }

    /// Moves the colder half of a full stack, at most a batch, to the depot.
    pub(super) fn make_room(self, local: Local<'_>, class: usize) -> bool {
        let count = (local.len(class) / 2).min(BATCH_SLOTS);
        if count == 0 || !self.core.budget.charge(count * size_of_class(class)) {
            return false;
        }
        self.push_to_depot(local.take_cold(class, count));
        true
    }

    /// Caches a buffer where every thread finds it: in this thread's row of the table, or in the depot.
    pub(super) fn keep_in_shared(self, class: usize, mut vec: Vec<u8>) {
        if self.core.put(self.row(), &mut vec) {
            return self.note_unused();
        }
        if !self.charge(size_of_class(class)) {
            return self.free(vec, Reason::OverBudget);
        }
        if self.core.table.put_charged(self.row(), class, &mut vec) {
            return self.note_unused();
        }
        let mut batch = Batch::new(class);
        if !batch.push(&mut vec) {
            self.core.budget.release(size_of_class(class));
            return self.free(vec, Reason::OutOfClass);
        }
        self.push_to_depot(batch);
    }

    /// Adds a batch to the depot. Its bytes are charged.
    #[inline(never)]
    pub(super) fn push_to_depot(self, batch: Batch) {
        self.core.depot.stock(batch.class()).push(batch);
        self.note_unused();
    }

    #[inline(never)]
    pub(super) fn free(self, vec: Vec<u8>, reason: Reason) {
        self.add(|counters| &counters.dropped[reason as usize], 1);
        drop(vec);
    }
}

impl Core {
    /// Puts a buffer into its place of the table; not if the place is taken or the capacity is no class's size. Charges the
    /// budget for a large buffer if that is still to be done and the budget agrees. A small one belongs into the thread's
    /// cache, which may still get a lease.
    #[inline]
    fn put(&self, row: usize, vec: &mut Vec<u8>) -> bool {
        match self.table.put(row, vec) {
            Put::Kept => true,
            Put::Full => false,
            Put::NotCharged => {
                let size = vec.capacity();
                if size < size_of_class(SMALL_CLASSES) || !self.budget.charge(size) {
                    return false;
                }
                let kept = self.table.put_charged(row, class_of(size), vec);
                if !kept {
                    self.budget.release(size);
                }
                kept
            }
        }
    }
}

#[cfg(all(test, not(any(pool_loom, pool_shuttle))))]
mod tests {
    use super::*;

    /// Also the first one of an interval, which goes out of line: the next get of its thread need not search.
    #[test]
    fn a_threads_large_buffer_lies_in_its_own_row() {
        let class = SMALL_CLASSES;
        let pool = Pool::new();
        // Side by side, so that they have rows of their own.
        let both = std::sync::Barrier::new(2);
        let on_thread = || {
            drop(pool.get());
            both.wait();
            drop(pool.get_with_capacity(size_of_class(class)));
            let op = pool.op();
            op.core.take(op.local.expect("a thread that lives").row(), class).is_some()
        };
        let found = std::thread::scope(|scope| {
            [scope.spawn(on_thread), scope.spawn(on_thread)].map(|thread| thread.join().expect("no panic"))
        });
        assert_eq!(found, [true; 2]);
    }
}
