//! The cold half of every operation: what happens when the thread cache alone cannot serve it.
//!
//! A buffer travels so: `get` pops it off the thread's stack for its class; failing that, a batch comes in from the
//! depot; failing that, one or two classes above are searched the same way; failing that, it is allocated. A write that
//! does not fit takes a larger buffer by the same way, copies, and puts the smaller one back. `put` pushes it on the
//! thread's stack; if no leased slot is free the lease is extended, then the cold end of the stack moves to the depot,
//! and only when the budget has nothing left is the buffer freed. A buffer above 32 KiB lies in its thread's large slot,
//! where others can take it, or in the depot.
//!
//! On one thread this keeps and finds exactly what the plain locked pool does (`locked.rs`): before a buffer is freed
//! for want of budget, every lease that covers nothing is given up.

use std::collections::TryReserveError;
use std::sync::Arc;

use super::Pool;
use crate::budget::Budget;
use crate::builder::{Config, Growth};
use crate::class::{CLASSES, LOOK_UP_CLASSES, MAX_CLASS_SIZE, class_below, class_of, class_of_capacity, size_of_class};
use crate::depot::Depot;
use crate::learn::calibrator::{Calibrator, window_calls};
use crate::learn::clock::{Clock, LOOK_FIRST, LOOK_MAX};
use crate::learn::counters::{Books, Counter, Reason};
use crate::learn::epoch::Policy;
use crate::learn::sizing::{Sizes, Window, calibrate};
use crate::learn::usage::Use;
use crate::pool::on_calibration::{Calibration, announce};
use crate::recorder::Recorder;
use crate::stats::{ClassStats, Dropped, Stats};
use crate::storage::{
    BATCH_SLOTS, Batch, Charge, Local, Put, ROWS, SMALL_CLASSES, Shard, Shards, Shared, Table, Tenant, Zeroed, shrink,
    slots_max,
};
use crate::sync::{AtomicBool, OnceBox, Ordering};

/// What the threads of a pool share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(super) table: Box<Table>,
    depot: Depot,
    calibrator: Calibrator,
    pub(crate) clock: Clock,
    /// Whether something came to the table or the depot since the last trim.
    unused: AtomicBool,
    /// The counters of threads that have no shard, written by all of them; made when there is one.
    threadless: OnceBox<Books>,
    /// Once the pool was recorded.
    recorder: OnceBox<Arc<Recorder>>,
    /// Last, as fields are dropped in order: buffers are freed before a common budget has their bytes again.
    pub(super) budget: Budget,
}

/// One operation: a pool's parts, and the shard of the thread that operates.
#[derive(Clone, Copy)]
pub(crate) struct Op<'p> {
    pool: &'p Pool,
    core: &'p Core,
    shards: &'p Shards,
    /// `None` on a thread whose destructor has run.
    local: Option<Local<'p>>,
}

impl Core {
    pub(crate) fn new(config: &Config, shared_budget: Option<Arc<Budget>>) -> Core {
        Core {
            table: Table::boxed(),
            depot: Depot::new(),
            calibrator: Calibrator::new(config.calibrate_calls_threshold),
            clock: Clock::new(config.trim_interval),
            unused: AtomicBool::new(false),
            threadless: OnceBox::new(),
            recorder: OnceBox::new(),
            budget: Budget::within(config.retained_bytes_max, shared_budget),
        }
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        self.recorder.get_or_init(|| Box::new(Arc::new(Recorder::new())))
    }

    /// Whether something came to the shared part since the last trim, so that every thread knows to look at the clock.
    #[inline]
    pub(super) fn may_have_unused(&self) -> bool {
        // Relaxed: a hint; a thread that misses it looks at the clock a few uses later.
        self.unused.load(Ordering::Relaxed)
    }

    fn threadless(&self) -> &Books {
        self.threadless.get_or_init(Books::boxed)
    }

    /// Gives what a thread's cache holds to the depot, and its leases back.
    fn empty_cache(&self, local: Local<'_>) {
        for class in 0..SMALL_CLASSES {
            while local.len(class) > 0 {
                let batch = local.take_cold(class, BATCH_SLOTS);
                // The bytes leave the lease but stay charged, for the batch.
                self.shrink_lease(local, class, local.leased(class) - batch.len());
                self.depot.stock(class).push(batch);
            }
            self.release_unused_lease(local, class);
        }
        self.unused.store(true, Ordering::Relaxed);
    }

    /// Takes slots out of a lease; their bytes stay charged.
    fn shrink_lease(&self, local: Local<'_>, class: usize, leased: usize) {
        let bytes = (local.leased(class) - leased) * size_of_class(class);
        local.set_leased(class, leased);
        local.leased_bytes.set(local.leased_bytes.get() - bytes as u64);
        self.budget.unlease(bytes);
    }

    fn release_unused_lease(&self, local: Local<'_>, class: usize) {
        let unused = local.leased(class) - local.len(class);
        if unused > 0 {
            self.shrink_lease(local, class, local.len(class));
            self.budget.release(unused * size_of_class(class));
        }
    }
}

impl Tenant for Core {
    fn hand_back(&self, local: Local<'_>) {
        self.empty_cache(local);
        self.calibrator.merge(&local.books);
        local.pace.reset();
        local.set_left(0);
    }
}

impl<'p> Op<'p> {
    pub(crate) fn new(pool: &'p Pool, shared: &'p Shared<Core>, local: Option<Local<'p>>) -> Op<'p> {
        Op { pool, core: &shared.tenant, shards: &shared.shards, local }
    }

    /// A buffer for a get of at least `capacity` bytes.
    pub(crate) fn get(self, capacity: usize) -> Result<Vec<u8>, TryReserveError> {
        let idle = if capacity <= MAX_CLASS_SIZE { self.take(class_of(capacity)) } else { None };
        if let Some(vec) = idle {
            self.add(|books| &books.hits, 1);
            return Ok(vec);
        }
        let vec = self.allocate(capacity)?;
        self.add(|books| &books.misses, 1);
        Ok(vec)
    }

    /// The same, as a `Vec` has it: memory exhaustion aborts, and a capacity above `isize::MAX` panics.
    pub(crate) fn get_or_abort(self, capacity: usize) -> Vec<u8> {
        self.get(capacity).unwrap_or_else(|_| {
            // An allocator that has refused once is tried once more.
            let vec = self.allocate_or_abort(capacity);
            self.add(|books| &books.misses, 1);
            vec
        })
    }

    /// A guard ended and its buffer comes back.
    pub(crate) fn finish(self, mut vec: Vec<u8>, usage: Use, written: usize) {
        self.count(usage);
        scrub(&mut vec, written);
        self.keep_used(vec, usage.counted_class());
    }

    pub(crate) fn discard(self, mut vec: Vec<u8>, usage: Use) {
        self.count(usage);
        self.note_above(usage.counted_class());
        let written = usage.written(vec.len());
        scrub(&mut vec, written);
        self.free(vec, Reason::Discarded);
    }

    pub(crate) fn detach(self, usage: Use) {
        self.add(|books| &books.detached, 1);
        self.count(usage);
        self.note_above(usage.counted_class());
    }

    pub(crate) fn donate(self, vec: Vec<u8>) {
        self.add(|books| &books.donated, 1);
        let (usage, written) = (Use::donated(vec.len()), vec.len());
        self.finish(vec, usage, written);
    }

    /// Moves the contents of `vec` to a buffer with room for `additional` bytes more.
    #[inline]
    pub(crate) fn grow(self, vec: &mut Vec<u8>, additional: usize) -> Result<(), TryReserveError> {
        let needed = match vec.len().checked_add(additional) {
            Some(needed) if needed <= MAX_CLASS_SIZE => needed,
            #[cfg(feature = "zeroize")]
            _ => return crate::scrub::try_reserve(vec, additional),
            #[cfg(not(feature = "zeroize"))]
            _ => return vec.try_reserve(additional),
        };
        let least = class_of(needed);
        let class = least.max(self.pool.policy.load().jump_class());
        let larger = match self.take(class) {
            Some(larger) => larger,
            // A jump is a convenience; what is needed may still be had.
            None if class > least => {
                self.allocate(size_of_class(class)).or_else(|_| self.allocate(size_of_class(least)))?
            }
            None => self.allocate(size_of_class(least))?,
        };
        self.move_to(larger, vec);
        Ok(())
    }

    /// The same, by the way a `Vec` has: memory exhaustion aborts, and a length above `isize::MAX` panics.
    pub(crate) fn grow_or_abort(self, vec: &mut Vec<u8>, additional: usize) {
        if self.grow(vec, additional).is_ok() {
            return;
        }
        // An allocator that has refused once is tried once more.
        match vec.len().checked_add(additional) {
            Some(needed) if needed <= MAX_CLASS_SIZE => {
                let larger = self.allocate_or_abort(size_of_class(class_of(needed)));
                self.move_to(larger, vec);
            }
            #[cfg(feature = "zeroize")]
            _ => crate::scrub::reserve(vec, additional),
            #[cfg(not(feature = "zeroize"))]
            _ => vec.reserve(additional),
        }
    }

    fn move_to(self, mut larger: Vec<u8>, vec: &mut Vec<u8>) {
        self.add(|books| &books.growths, 1);
        larger.extend_from_slice(vec);
        let mut smaller = std::mem::replace(vec, larger);
        let written = smaller.len();
        scrub(&mut smaller, written);
        self.keep(smaller);
    }

    pub(crate) fn prefill(self, capacity: usize, count: usize) -> usize {
        let class = class_of(capacity);
        if capacity > MAX_CLASS_SIZE || class > self.pool.policy.load().max_class() {
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

    /// Up to `count` new buffers in the depot, as one batch.
    fn prefill_batch(self, class: usize, count: usize) -> usize {
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

    /// Recalibrates from what has been counted.
    pub(crate) fn calibrate(self) {
        let learnt = self.take_window(true);
        self.look_at_clock();
        self.announce(learnt);
    }

    /// One trim interval passes. Returns the bytes freed.
    pub(crate) fn trim(self) -> usize {
        self.pool.policy.next_epoch();
        self.pool.renew_stamp();
        // Relaxed: see `may_have_unused`.
        self.core.unused.store(false, Ordering::Relaxed);
        let mut freed_bytes = 0;
        for class in 0..CLASSES {
            let stock = self.core.depot.stock(class);
            freed_bytes += self.free_from_depot(class, stock.low());
            stock.begin_interval();
            for row in 0..ROWS {
                if !self.core.table.was_used(row, class) {
                    freed_bytes += self.free_place(row, class);
                }
            }
            self.give_up_charges(class);
        }
        freed_bytes + self.follow_policy()
    }

    /// Frees everything idle but other threads' caches. Returns the bytes freed.
    pub(crate) fn purge(self) -> usize {
        let mut freed_bytes = 0;
        for class in 0..CLASSES {
            freed_bytes += self.purge_class(class);
        }
        let Some(local) = self.local else { return freed_bytes };
        for class in 0..SMALL_CLASSES {
            freed_bytes += self.free_from_cache(local, class, local.len(class));
        }
        self.release_unused_leases(local);
        freed_bytes
    }

    pub(crate) fn flush(self) {
        if let Some(local) = self.local {
            self.core.empty_cache(local);
        }
    }

    // Counting.

    fn add(self, counter: impl Fn(&Books) -> &Counter, n: u64) {
        match self.local {
            Some(local) => counter(&local.books).add(n),
            None => counter(self.core.threadless()).add_shared(n),
        }
    }

    fn count(self, usage: Use) {
        let class = usage.counted_class();
        let Some(local) = self.local else {
            self.core.threadless().count_shared(usage);
            let Some(class) = class else { return };
            if self.records() {
                self.core.recorder().note(usage.peak, 0);
            }
            if self.core.calibrator.add(class, 1) > self.pool.config.calibrate_calls_threshold {
                self.take_window(false);
            }
            return;
        };
        match class {
            Some(class) => local.books.count(size_of_class(class), usage.asked),
            None => local.books.count_silent(),
        }
        if local.count_down() {
            self.look(usage);
        }
    }

    /// This thread's count-down is over, with `usage`, which has been counted.
    pub(crate) fn look(self, usage: Use) {
        let Some(local) = self.local else { return };
        local.pace.stop(local.left());
        // Whatever comes before the next count is granted, a use of a callback too, finds one.
        local.set_left(local.pace.allow(1));
        if self.records() && usage.counted_class().is_some() {
            let shard: &Shard = &local;
            self.core.recorder().note(usage.peak, std::ptr::from_ref(shard) as usize / size_of::<Shard>());
        }
        let mut learnt = None;
        if local.pace.is_merge_due() {
            if self.core.calibrator.merge(&local.books) {
                learnt = self.take_window(false);
            }
            local.pace.merge_in(self.core.calibrator.merge_in());
        }
        self.look_at_clock();
        self.announce(learnt);
    }

    /// Lets a trim interval pass if one is over, and allows this thread some uses until it looks again.
    pub(crate) fn look_at_clock(self) {
        let now_ns = self.pass_interval_if_due();
        self.grant(now_ns, LOOK_MAX);
    }

    /// The same, where how fast uses came so far says nothing of what comes.
    pub(crate) fn begin_to_look(self) {
        let now_ns = self.pass_interval_if_due();
        self.grant(now_ns, LOOK_FIRST);
        if let Some(local) = self.local {
            local.pace.begin(now_ns);
        }
    }

    fn pass_interval_if_due(self) -> u64 {
        let now_ns = self.core.clock.now_ns();
        if self.core.clock.is_due(now_ns) {
            self.trim();
        }
        now_ns
    }

    fn grant(self, now_ns: u64, most: u64) {
        let Some(local) = self.local else { return };
        local.pace.stop(local.left());
        if local.pace.is_merge_due() {
            // The shard is new to this thread, which has no calls to merge yet.
            local.pace.merge_in(self.core.calibrator.merge_in());
        }
        // While the pool records, every use is noted.
        let most = if self.records() { 1 } else { most };
        local.set_left(local.pace.grant(&self.core.clock, now_ns, most));
    }

    /// Something came to the table or the depot: every thread must look at the clock soon.
    fn note_unused(self) {
        if !self.core.may_have_unused() && !self.core.unused.swap(true, Ordering::Relaxed) {
            self.pool.renew_stamp();
        }
        self.begin_to_look();
    }

    fn records(self) -> bool {
        self.core.recorder.get().is_some_and(|recorder| recorder.records())
    }

    fn take_window(self, anyway: bool) -> Option<Calibration> {
        let learnt = self.core.calibrator.take_window(self.books(), anyway, |window| self.learn(window)).flatten();
        if learnt.is_some() {
            self.purge_above_ceiling();
        }
        self.follow_policy();
        learnt
    }

    /// Under the calibrator's lock.
    fn learn(self, window: &Window) -> Option<Calibration> {
        let before = self.pool.policy.load().sizes();
        let sizes = calibrate(window, &self.pool.config.limits, before)?;
        self.pool.policy.set_sizes(sizes, jump_class(&self.pool.config, sizes));
        self.pool.renew_stamp();
        Some(Calibration::new(self.core.calibrator.calibrations() + 1, before, sizes))
    }

    fn purge_above_ceiling(self) {
        for class in self.pool.policy.load().max_class() + 1..CLASSES {
            self.purge_class(class);
        }
    }

    /// A use of `class` ended. If that is above the max size, it may be time to look whether the max size is too low.
    fn note_above(self, class: Option<usize>) {
        let (Some(class), config) = (class, &self.pool.config) else { return };
        let is_above = self.pool.policy.load().max_class() < class && class <= config.limits.max_class_limit;
        if config.calibrate_early && is_above && self.core.calibrator.is_early_look() {
            let share = 2.0 * (1.0 - config.limits.max_percentile);
            self.core.calibrator.look_early(self.books(), share, |window| self.raise(window));
        }
    }

    /// Raises the max size to what the running window teaches; nothing else changes. Under the calibrator's lock.
    fn raise(self, window: &Window) {
        let before = self.pool.policy.load().sizes();
        let Some(learnt) = calibrate(window, &self.pool.config.limits, before) else { return };
        if learnt.max_class > before.max_class {
            let sizes = Sizes { max_class: learnt.max_class, ..before };
            let is_calibrated = self.core.calibrator.calibrations() > 0;
            let jump_class = if is_calibrated { jump_class(&self.pool.config, sizes) } else { 0 };
            self.pool.policy.set_sizes(sizes, jump_class);
            self.pool.renew_stamp();
        }
    }

    fn announce(self, learnt: Option<Calibration>) {
        if let (Some(calibration), Some(_)) = (learnt, self.local) {
            announce(self.pool, self.pool.config.on_calibration, &calibration);
        }
    }

    fn books(self) -> impl Iterator<Item = &'p Books> + Clone {
        books(self.core, self.shards)
    }

    // Taking.

    /// An idle buffer of `class`, or of a class above within look-up distance.
    #[inline]
    fn take(self, class: usize) -> Option<Vec<u8>> {
        if let Some(local) = self.local {
            if let Some(vec) = local.pop(class) {
                return Some(vec);
            }
        }
        // Nothing lies above the ceiling, so a get above it need not search.
        let highest = (class + LOOK_UP_CLASSES).min(self.pool.policy.load().max_class());
        (class..=highest).find_map(|class| self.take_of_class(class))
    }

    fn take_of_class(self, class: usize) -> Option<Vec<u8>> {
        let local = self.local.filter(|_| class < SMALL_CLASSES);
        let own = local.and_then(|local| local.pop_below_mark(class));
        own.or_else(|| self.take_place(self.row(), class))
            .or_else(|| self.take_from_depot(class))
            .or_else(|| (1..ROWS).find_map(|distance| self.take_place(self.row() + distance, class)))
    }

    fn row(self) -> usize {
        self.local.map_or(0, |local| local.row())
    }

    fn take_place(self, row: usize, class: usize) -> Option<Vec<u8>> {
        if !self.core.budget.is_shared() {
            return self.core.table.take(row, class, Charge::Stays);
        }
        // No pool can give up an empty place's charge in another one of its budget.
        let vec = self.core.table.take(row, class, Charge::Leaves)?;
        self.core.budget.release(size_of_class(class));
        Some(vec)
    }

    fn take_from_depot(self, class: usize) -> Option<Vec<u8>> {
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

    /// Lays a batch's buffers on the stack, as far as leases go. Returns how many lie on slots that were leased, and so
    /// charged, before.
    fn stow(self, local: Local<'_>, batch: &mut Batch) -> usize {
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

    fn allocate(self, capacity: usize) -> Result<Vec<u8>, TryReserveError> {
        let mut vec = Vec::new();
        vec.try_reserve_exact(size_to_allocate(capacity))?;
        self.add(|books| &books.allocated, 1);
        Ok(vec)
    }

    fn allocate_or_abort(self, capacity: usize) -> Vec<u8> {
        let vec = Vec::with_capacity(size_to_allocate(capacity));
        self.add(|books| &books.allocated, 1);
        vec
    }

    // Keeping.

    /// Keeps the buffer of a finished use of `class`, or frees it for the first reason that applies. It has been scrubbed.
    pub(crate) fn keep_used(self, vec: Vec<u8>, class: Option<usize>) {
        // A buffer of a size class below the use's own, which only `as_vec_mut` can put there, may never come by here, and so
        // does not count.
        if class.is_none_or(|class| class_of_capacity(vec.capacity(), class).is_none()) {
            self.note_above(class);
        }
        self.keep(vec);
    }

    /// Keeps a buffer that was no use, or frees it for the first reason that applies. It has been scrubbed.
    fn keep(self, mut vec: Vec<u8>) {
        let max_class = self.pool.policy.load().max_class();
        let Some(class) = class_below(vec.capacity()) else {
            return self.free(vec, Reason::OutOfClass);
        };
        if class > max_class {
            return self.free(vec, Reason::OverCeiling);
        }
        if class_of_capacity(vec.capacity(), CLASSES).is_none() {
            match shrink(vec, size_of_class(class)) {
                Ok(cut) if cut.capacity() == size_of_class(class) => vec = cut,
                Ok(other) | Err(other) => return self.free(other, Reason::OutOfClass),
            }
        }
        match self.local {
            Some(local) if class < SMALL_CLASSES => self.keep_small(local, class, vec),
            _ => self.keep_in_shared(class, vec),
        }
    }

    fn keep_small(self, local: Local<'p>, class: usize, mut vec: Vec<u8>) {
        if local.push(&mut vec) {
            return;
        }
        let has_room = self.extend_lease(local, class) || self.make_room(local, class);
        if !(has_room && local.push(&mut vec)) {
            self.keep_in_shared(class, vec);
        }
    }

    /// Leases more slots: as many again, or at least one.
    fn extend_lease(self, local: Local<'_>, class: usize) -> bool {
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

    fn may_lease(self, held: usize, bytes: usize) -> bool {
        held + bytes <= self.pool.config.thread_cache_bytes_max
    }

    /// Moves the colder half of a full stack, a batch at most, to the depot.
    fn make_room(self, local: Local<'_>, class: usize) -> bool {
        let count = (local.len(class) / 2).min(BATCH_SLOTS);
        if count == 0 || !self.core.budget.charge(count * size_of_class(class)) {
            return false;
        }
        self.push_to_depot(local.take_cold(class, count));
        true
    }

    /// Keeps a buffer where every thread finds it: in this thread's row of the table, or in the depot.
    fn keep_in_shared(self, class: usize, mut vec: Vec<u8>) {
        let put = self.core.table.put(self.row(), &mut vec);
        if put == Put::Kept {
            return self.note_unused();
        }
        if !self.charge(size_of_class(class)) {
            return self.free(vec, Reason::OverBudget);
        }
        if put == Put::NotCharged && self.core.table.put_charged(self.row(), class, &mut vec) {
            return self.note_unused();
        }
        let mut batch = Batch::new(class);
        if !batch.push(&mut vec) {
            self.core.budget.release(size_of_class(class));
            return self.free(vec, Reason::OutOfClass);
        }
        self.push_to_depot(batch);
    }

    /// Adds a batch, whose bytes are charged, to the depot.
    fn push_to_depot(self, batch: Batch) {
        self.core.depot.stock(batch.class()).push(batch);
        self.note_unused();
    }

    /// Charges the budget, if need be after giving up what is charged and covers nothing.
    fn charge(self, bytes: usize) -> bool {
        if self.core.budget.charge(bytes) {
            return true;
        }
        if bytes > self.core.budget.bytes_max() {
            return false;
        }
        if let Some(local) = self.local {
            self.release_unused_leases(local);
        }
        (0..CLASSES).for_each(|class| self.give_up_charges(class));
        self.core.budget.charge(bytes)
    }

    fn release_unused_leases(self, local: Local<'_>) {
        (0..SMALL_CLASSES).for_each(|class| self.core.release_unused_lease(local, class));
    }

    /// Gives up what empty places of a class are charged for.
    fn give_up_charges(self, class: usize) {
        let given_up = self.core.table.give_up_charges(class);
        if given_up > 0 {
            self.core.budget.release(given_up * size_of_class(class));
        }
    }

    // Freeing.

    fn free(self, vec: Vec<u8>, reason: Reason) {
        self.add(|books| &books.dropped[reason as usize], 1);
        drop(vec);
    }

    /// Does what changed since this thread's last operation: trim intervals that passed, a ceiling that fell. Returns the
    /// bytes freed.
    pub(crate) fn follow_policy(self) -> usize {
        let Some(local) = self.local else { return 0 };
        let policy = self.pool.policy.load();
        let seen = local.policy_seen.get();
        if seen == policy.word() {
            return 0;
        }
        local.policy_seen.set(policy.word());
        if seen == 0 {
            return 0;
        }
        let intervals = policy.epoch() - Policy::from_word(seen).epoch();
        let mut freed_bytes = 0;
        for class in 0..SMALL_CLASSES {
            let over_ceiling = class > policy.max_class();
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
        // Put there after the calibration had looked, by this thread, which had not seen it yet. Model:
        // loom_tests::ceiling::nothing_is_cached_above_a_ceiling_that_its_thread_has_seen.
        for class in policy.max_class() + 1..CLASSES {
            freed_bytes += self.free_place(local.row(), class);
        }
        freed_bytes
    }

    /// Frees the coldest `count` buffers of a stack; their slots stay leased.
    fn free_from_cache(self, local: Local<'_>, class: usize, count: usize) -> usize {
        let mut left = count;
        while left > 0 {
            let batch = local.take_cold(class, left);
            left -= batch.len();
            self.add(|books| &books.trimmed, batch.len() as u64);
        }
        count * size_of_class(class)
    }

    /// Frees up to `count` buffers of the depot.
    fn free_from_depot(self, class: usize, count: usize) -> usize {
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
        self.add(|books| &books.trimmed, freed as u64);
        freed * size_of_class(class)
    }

    /// Frees the buffer of a place, if there is one.
    fn free_place(self, row: usize, class: usize) -> usize {
        let Some(vec) = self.core.table.take(row, class, Charge::Leaves) else { return 0 };
        drop(vec);
        self.core.budget.release(size_of_class(class));
        self.add(|books| &books.trimmed, 1);
        size_of_class(class)
    }

    /// Frees every idle buffer of a class in the shared part.
    fn purge_class(self, class: usize) -> usize {
        let mut freed_bytes = self.free_from_depot(class, self.core.depot.stock(class).len());
        freed_bytes += (0..ROWS).map(|row| self.free_place(row, class)).sum::<usize>();
        self.give_up_charges(class);
        freed_bytes
    }
}

/// The figures of a pool; `None` before its first operation.
pub(crate) fn stats(shared: Option<&Shared<Core>>, policy: Policy) -> Stats {
    let mut stats = Stats {
        default_size: policy.sizes().default_size(),
        max_size: policy.sizes().max_size(),
        classes: std::array::from_fn(|class| ClassStats { size: size_of_class(class), ..ClassStats::default() }),
        ..Stats::default()
    };
    let Some(shared) = shared else { return stats };
    let (core, shards) = (&shared.tenant, &shared.shards);
    let sum = |figure: &dyn Fn(&Books) -> u64| books(core, shards).map(figure).sum::<u64>();
    let dropped = |reason: Reason| sum(&|books| books.dropped[reason as usize].get());

    // Ends before beginnings: a guard that ends meanwhile may look outstanding, but no count falls below zero.
    let ends = sum(&Books::ends);
    stats.detached = sum(&|books| books.detached.get());
    stats.donated = sum(&|books| books.donated.get());
    stats.puts = ends.saturating_sub(stats.detached + stats.donated);
    stats.hits = sum(&|books| books.hits.get());
    stats.misses = sum(&|books| books.misses.get());
    stats.gets = stats.hits + stats.misses;
    stats.outstanding = stats.gets.saturating_sub(stats.puts + stats.detached);
    stats.growths = sum(&|books| books.growths.get());
    stats.allocated = sum(&|books| books.allocated.get());
    stats.trimmed = sum(&|books| books.trimmed.get());
    stats.dropped = Dropped {
        discarded: dropped(Reason::Discarded),
        out_of_class: dropped(Reason::OutOfClass),
        over_ceiling: dropped(Reason::OverCeiling),
        over_budget: dropped(Reason::OverBudget),
        depot_full: dropped(Reason::DepotFull),
    };
    stats.calibrations = core.calibrator.calibrations();
    for (class, row) in stats.classes.iter_mut().enumerate() {
        row.calls = window_calls(books(core, shards), class);
        let cached: usize = shards.iter().map(|shard| shard.retained(class)).sum();
        let shared = core.depot.stock(class).len() + core.table.len(class);
        row.retained = (cached + shared) as u64;
    }
    bound_stats(&mut stats, core.budget.bytes_max());
    stats
}

/// Sums up what lies idle, but no more than a budget of `bytes_max` allows.
pub(crate) fn bound_stats(stats: &mut Stats, bytes_max: usize) {
    bound_retained(&mut stats.classes, bytes_max);
    stats.retained_buffers = stats.classes.iter().map(|class| class.retained).sum();
    stats.retained_bytes = stats.classes.iter().map(retained_bytes).sum();
}

fn books<'p>(core: &'p Core, shards: &'p Shards) -> impl Iterator<Item = &'p Books> + Clone {
    shards.iter().map(|shard| &shard.books).chain(core.threadless.get())
}

fn retained_bytes(class: &ClassStats) -> usize {
    class.size * class.retained as usize
}

/// A buffer that moves while it is counted may be counted at both ends. What lies idle never exceeds the budget (it is
/// charged first), so neither may the figure: the excess was counted twice. With no operation in flight there is none.
fn bound_retained(classes: &mut [ClassStats; CLASSES], bytes_max: usize) {
    let mut excess = classes.iter().map(retained_bytes).sum::<usize>().saturating_sub(bytes_max);
    for class in classes.iter_mut().rev() {
        let twice = excess.div_ceil(class.size).min(class.retained as usize);
        class.retained -= twice as u64;
        excess = excess.saturating_sub(twice * class.size);
    }
}

fn size_to_allocate(capacity: usize) -> usize {
    if capacity > MAX_CLASS_SIZE { capacity } else { size_of_class(class_of(capacity)) }
}

fn jump_class(config: &Config, sizes: Sizes) -> usize {
    match config.growth {
        Growth::NextClass => 0,
        Growth::MaxSize => sizes.max_class.min(class_of(GROWTH_JUMP_SIZE_MAX)),
    }
}

fn note_lease(local: Local<'_>, class: usize, slots: usize) {
    local.set_leased(class, local.leased(class) + slots);
    local.leased_bytes.add((slots * size_of_class(class)) as u64);
}

/// Empties a buffer that comes back. In debug builds, overwrites its first `written` bytes, so that a use of stale bytes
/// shows; not the untouched rest, which would commit pages. With the feature `zeroize`, wipes all of it instead.
#[inline]
pub(crate) fn scrub(vec: &mut Vec<u8>, written: usize) {
    #[cfg(feature = "zeroize")]
    crate::scrub::wipe(vec);
    if cfg!(debug_assertions) && !cfg!(feature = "zeroize") {
        // By slices, as `resize` goes byte by byte in the very builds that do this.
        const STALE: [u8; 4096] = [0xDB; 4096];
        let written = written.min(vec.capacity());
        vec.clear();
        while vec.len() < written {
            vec.extend_from_slice(&STALE[..STALE.len().min(written - vec.len())]);
        }
        vec.clear();
    }
}

/// A growth that follows the max size jumps no further than this, in bytes.
const GROWTH_JUMP_SIZE_MAX: usize = 1 << 20;

/// The first lease of a class: a page's worth of small buffers, one of the larger ones.
const FIRST_LEASE_BYTES: usize = 4 << 10;
