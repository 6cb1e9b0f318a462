//! A buffer is taken: from the thread's cache, the table, the depot or the heap; and growth, which takes a larger one.
//!
//! The hot path of `get` is one compare for the stamp, one for the stack's length, and a count. What is not inlined
//! takes and returns a `RawBuf`, in registers. See docs/design.md.

use std::collections::TryReserveError;

use super::lease::note_lease;
use super::shared::{Core, Op, Pool};
use crate::class::{LOOK_UP_CLASSES, MAX_CLASS_SIZE, class_of, class_or_none, size_of_class};
use crate::learn::counters::Reason;
use crate::scrub::{reserve, scrub, try_reserve, try_reserve_exact};
use crate::storage::{BATCH_SLOTS, Batch, Charge, Local, RawBuf, SMALL_CLASSES, Stamp, slots_max};

impl Pool {
    #[inline]
    pub(super) fn take_default(&self) -> Vec<u8> {
        self.take_cached(Stamp::tag).unwrap_or_else(|| self.take_slow(None).into_vec())
    }

    #[inline]
    pub(super) fn take(&self, capacity: usize) -> Vec<u8> {
        let cached = self.take_cached(|_| class_or_none(capacity));
        cached.unwrap_or_else(|| self.take_slow(Some(capacity)).into_vec())
    }

    #[inline]
    pub(super) fn try_take(&self, capacity: usize) -> Result<Vec<u8>, TryReserveError> {
        self.take_cached(|_| class_or_none(capacity)).map_or_else(|| self.try_take_slow(capacity), Ok)
    }

    /// For an empty guard: the room that it needs, and at least the default size.
    #[cold]
    #[inline(never)]
    pub(crate) fn take_at_least(&self, capacity: usize) -> Vec<u8> {
        self.op().get_or_abort(capacity.max(self.default_size()))
    }

    /// The same, or an error.
    #[cold]
    #[inline(never)]
    pub(crate) fn try_take_at_least(&self, capacity: usize) -> Result<Vec<u8>, TryReserveError> {
        self.op().get(capacity.max(self.default_size()))
    }

    /// From this thread's cache or its row of the table.
    #[inline]
    pub(super) fn take_cached(&self, class: impl FnOnce(Stamp) -> usize) -> Option<Vec<u8>> {
        let stamp = self.per_thread.stamp();
        let (local, class) = (self.per_thread.local(stamp)?, class(stamp));
        match local.pop(class) {
            Some(vec) => {
                local.counters.hits.add(1);
                Some(vec)
            }
            None => self.take_place(local, class).map(RawBuf::into_vec),
        }
    }

    #[inline(never)]
    pub(super) fn take_place(&self, local: Local<'_>, class: usize) -> Option<RawBuf> {
        let core = &self.per_thread.get_shared()?.tenant;
        let vec = core.take(local.row(), class)?;
        local.counters.hits.add(1);
        Some(RawBuf::of(vec))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn take_slow(&self, capacity: Option<usize>) -> RawBuf {
        let capacity = capacity.unwrap_or_else(|| self.default_size());
        RawBuf::of(self.op().get_or_abort(capacity))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn try_take_slow(&self, capacity: usize) -> Result<Vec<u8>, TryReserveError> {
        self.op().get(capacity)
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn grow(&self, vec: &mut Vec<u8>, additional: usize) {
        self.op().grow_or_abort(vec, additional);
    }

    #[inline]
    pub(crate) fn try_grow(&self, vec: &mut Vec<u8>, additional: usize) -> Result<(), TryReserveError> {
        self.op().grow(vec, additional)
    }
}

impl<'p> Op<'p> {
    /// A buffer for a get of at least `capacity` bytes.
    pub(super) fn get(self, capacity: usize) -> Result<Vec<u8>, TryReserveError> {
        let idle = if capacity <= MAX_CLASS_SIZE { self.take(class_of(capacity)) } else { None };
        if let Some(vec) = idle {
            self.add(|counters| &counters.hits, 1);
            return Ok(vec);
        }
        let vec = self.allocate(capacity)?;
        self.add(|counters| &counters.misses, 1);
        Ok(vec)
    }

    /// As `get`, but memory exhaustion aborts, and a capacity above `isize::MAX` panics, as with `Vec`.
    pub(crate) fn get_or_abort(self, capacity: usize) -> Vec<u8> {
        self.get(capacity).unwrap_or_else(|_| {
            // An allocator that has refused once is asked once more.
            let vec = self.allocate_or_abort(capacity);
            self.add(|counters| &counters.misses, 1);
            vec
        })
    }

    /// A cached buffer of `class`, or of one of the next `LOOK_UP_CLASSES` classes.
    #[inline]
    pub(super) fn take(self, class: usize) -> Option<Vec<u8>> {
        self.pop(class).or_else(|| self.search(class))
    }

    /// The same, where the thread's stack of the class is empty. Other threads' rows come last, for all classes: where
    /// sizes vary, one stack or another is always empty while the next one has a buffer.
    #[inline(never)]
    fn search(self, class: usize) -> Option<Vec<u8>> {
        // Nothing is cached above the max size, so a get above it need not search.
        let highest = (class + LOOK_UP_CLASSES).min(self.pool.epoch.load().max_class());
        let near = (class..=highest).find_map(|class| self.take_near(class));
        near.or_else(|| (class..=highest).find_map(|class| self.core.take_from_other_rows(self.row(), class)))
    }

    /// Of the thread's stack, its row, or the depot.
    fn take_near(self, class: usize) -> Option<Vec<u8>> {
        self.pop(class).or_else(|| self.core.take(self.row(), class)).or_else(|| self.take_from_depot(class))
    }

    /// Of the thread's stack, also below its mark.
    fn pop(self, class: usize) -> Option<Vec<u8>> {
        self.local.filter(|_| class < SMALL_CLASSES)?.pop_below_mark(class)
    }

    #[inline(never)]
    pub(super) fn take_from_depot(self, class: usize) -> Option<Vec<u8>> {
        let mut batch = self.core.depot.stock(class).pop()?;
        let vec = batch.pop()?;
        let mut uncharged = 1;
        if let (Some(local), true) = (self.local, class < SMALL_CLASSES) {
            uncharged += self.stow(local, &mut batch);
        }
        self.core.budget.release(uncharged * size_of_class(class));
        if batch.len() > 0 {
            self.core.depot.stock(class).push(batch);
        }
        self.look_at_clock();
        Some(vec)
    }

    /// Moves a batch's buffers to the stack, as far as leases go. Returns how many went to slots that were leased, and
    /// so charged, before.
    pub(super) fn stow(self, local: Local<'_>, batch: &mut Batch) -> usize {
        let class = batch.class();
        let free = local.leased(class) - local.len(class);
        let room = slots_max(class) - local.leased(class);
        let (before, wanted) = (batch.len().min(free), batch.len().saturating_sub(free).min(room));
        let bytes = wanted * size_of_class(class);
        let held = local.leased_bytes.get() as usize;
        if wanted > 0 && self.may_lease(held, bytes) && self.core.budget.lease_charged(bytes, held) {
            note_lease(local, class, wanted);
        }
        while local.len(class) < local.leased(class) {
            let Some(mut vec) = batch.pop() else { break };
            let pushed = local.push(&mut vec);
            debug_assert!(pushed, "a batch gives back exactly what it was given");
        }
        before
    }

    #[inline(never)]
    pub(super) fn allocate(self, capacity: usize) -> Result<Vec<u8>, TryReserveError> {
        let mut vec = Vec::new();
        vec.try_reserve_exact(size_to_allocate(capacity))?;
        self.add(|counters| &counters.allocated, 1);
        Ok(vec)
    }

    #[inline(never)]
    pub(super) fn allocate_or_abort(self, capacity: usize) -> Vec<u8> {
        let vec = Vec::with_capacity(size_to_allocate(capacity));
        self.add(|counters| &counters.allocated, 1);
        vec
    }

    /// Moves the contents of `vec` to a larger buffer, with room for `additional` bytes more.
    #[inline]
    pub(super) fn grow(self, vec: &mut Vec<u8>, additional: usize) -> Result<(), TryReserveError> {
        let needed = match vec.len().checked_add(additional) {
            Some(needed) if needed <= MAX_CLASS_SIZE => needed,
            _ => return try_reserve(vec, additional),
        };
        let least = class_of(needed);
        if least > self.highest_class_to_grow_in() {
            // Such a buffer is freed when it comes back, or is a giant before the first calibration. The allocator moves a
            // large block's pages instead of its bytes.
            return try_reserve_exact(vec, size_of_class(least) - vec.len());
        }
        let class = least.max(self.pool.epoch.load().jump_class());
        let larger = match self.take(class) {
            Some(larger) => larger,
            // The jump to a larger class is optional: try the class that is needed.
            None if class > least => {
                self.allocate(size_of_class(class)).or_else(|_| self.allocate(size_of_class(least)))?
            }
            None => self.allocate(size_of_class(least))?,
        };
        self.move_to(larger, vec);
        Ok(())
    }

    /// As `grow`, but memory exhaustion aborts, and a length above `isize::MAX` panics, as with `Vec`.
    pub(super) fn grow_or_abort(self, vec: &mut Vec<u8>, additional: usize) {
        if self.grow(vec, additional).is_ok() {
            return;
        }
        // An allocator that has refused once is asked once more.
        match vec.len().checked_add(additional) {
            Some(needed) if needed <= size_of_class(self.highest_class_to_grow_in()) => {
                let larger = self.allocate_or_abort(needed);
                self.move_to(larger, vec);
            }
            _ => reserve(vec, additional),
        }
    }

    /// Growth up to this class moves to another buffer of the pool. Before the first calibration everything is kept, and a
    /// giant that grew through all classes would leave a buffer in each.
    fn highest_class_to_grow_in(self) -> usize {
        let max_class = self.pool.epoch.load().max_class();
        if self.core.calibrator.calibrations() > 0 {
            max_class
        } else {
            max_class.min(class_of(UNCALIBRATED_GROWTH_MAX))
        }
    }

    pub(super) fn move_to(self, mut larger: Vec<u8>, vec: &mut Vec<u8>) {
        self.add(|counters| &counters.growths, 1);
        larger.extend_from_slice(vec);
        let mut smaller = std::mem::replace(vec, larger);
        let written = smaller.len();
        scrub(&mut smaller, written);
        self.keep(smaller);
    }

    pub(super) fn prefill(self, capacity: usize, count: usize) -> usize {
        let class = class_of(capacity);
        if capacity > MAX_CLASS_SIZE || class > self.pool.epoch.load().max_class() {
            return 0;
        }
        let mut taken = 0;
        while taken < count {
            let wanted = (count - taken).min(BATCH_SLOTS);
            let added = self.prefill_batch(class, wanted);
            taken += added;
            if added < wanted {
                break;
            }
        }
        taken
    }

    /// Adds up to `count` new buffers to the depot, as one batch.
    pub(super) fn prefill_batch(self, class: usize, count: usize) -> usize {
        let size = size_of_class(class);
        let mut batch = Batch::new(class);
        for _ in 0..count {
            if !self.charge(size) {
                break;
            }
            let Ok(mut vec) = self.allocate(size) else {
                self.core.budget.release(size);
                break;
            };
            if !batch.push(&mut vec) {
                self.core.budget.release(size);
                self.free(vec, Reason::OutOfClass);
                break;
            }
        }
        let added = batch.len();
        if added > 0 {
            self.push_to_depot(batch);
        }
        added
    }
}

impl Core {
    /// Takes the buffer of a place of the table. Under a common budget the place does not stay charged: no other pool could
    /// give up its charge.
    #[inline]
    pub(super) fn take(&self, row: usize, class: usize) -> Option<Vec<u8>> {
        if self.budget.is_shared() {
            return self.take_and_release(row, class);
        }
        self.table.take(row, class, Charge::Stays)
    }

    #[inline(never)]
    fn take_and_release(&self, row: usize, class: usize) -> Option<Vec<u8>> {
        let vec = self.table.take(row, class, Charge::Leaves)?;
        self.budget.release(size_of_class(class));
        Some(vec)
    }

    /// The same, of any row but this one.
    #[inline(never)]
    fn take_from_other_rows(&self, row: usize, class: usize) -> Option<Vec<u8>> {
        let leaves = self.budget.is_shared();
        let charge = if leaves { Charge::Leaves } else { Charge::Stays };
        let vec = self.table.take_from_other_rows(row, class, charge)?;
        if leaves {
            self.budget.release(size_of_class(class));
        }
        Some(vec)
    }
}

fn size_to_allocate(capacity: usize) -> usize {
    if capacity > MAX_CLASS_SIZE { capacity } else { size_of_class(class_of(capacity)) }
}

/// Above this size a buffer grows by the allocator's `realloc` until the pool has learned a max size, in bytes.
const UNCALIBRATED_GROWTH_MAX: usize = 1 << 20;
