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
use crate::announce::{Calibration, announce};
use crate::books::{Books, Counter, Reason};
use crate::budget::Budget;
use crate::builder::{Config, Growth};
use crate::calibration::{Sizes, Window, calibrate};
use crate::calibrator::{Calibrator, window_calls};
use crate::class::{CLASSES, MAX_CLASS_SIZE, class_below, class_of, class_of_capacity, size_of_class};
use crate::clock::Clock;
use crate::depot::Depot;
use crate::policy::Policy;
use crate::recorder::Recorder;
use crate::stats::{ClassStats, Dropped, Stats};
use crate::storage::{
    BATCH_SLOTS, Batch, LargePut, Local, SMALL_CLASSES, Shard, Shards, Shared, Tenant, shrink, slots_max,
};
use crate::sync::OnceBox;
use crate::usage::Use;

/// What the threads of a pool share.
#[derive(Debug)]
pub(crate) struct Core {
    config: Config,
    depot: Depot,
    calibrator: Calibrator,
    clock: Clock,
    /// The books of threads that have no shard any more, written by all of them.
    orphans: Books,
    /// Once the pool was recorded.
    recorder: OnceBox<Arc<Recorder>>,
    /// Last, as fields are dropped in order: buffers are freed before a common budget has their bytes again.
    budget: Budget,
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
            config: *config,
            depot: Depot::new(),
            calibrator: Calibrator::new(config.calibrate_calls_threshold),
            clock: Clock::new(config.trim_interval),
            orphans: Books::default(),
            recorder: OnceBox::new(),
            budget: Budget::within(config.retained_bytes_max, shared_budget),
        }
    }
}

impl Core {
    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        self.recorder.get_or_init(|| Box::new(Arc::new(Recorder::new())))
    }
}

impl Tenant for Core {
    fn hand_back(shared: &Shared<Core>, local: Local<'_>) {
        let core = &shared.tenant;
        core.empty_cache(local);
        for class in 0..CLASSES {
            core.calibrator.add(class, local.books.merge(class));
            local.books.allow(class, 1);
        }
        for class in SMALL_CLASSES..CLASSES {
            core.empty_large(local, class);
        }
    }
}

impl Core {
    /// Gives what lies in a thread's cache to the depot, and its leases back.
    fn empty_cache(&self, local: Local<'_>) {
        for class in 0..SMALL_CLASSES {
            while local.len(class) > 0 {
                let batch = local.take_cold(class, BATCH_SLOTS);
                // The bytes leave the lease but stay charged, for the batch.
                let count = batch.len();
                self.shrink_lease(local, class, local.leased(class) - count);
                self.hand_over(local, batch);
            }
            self.release_unused_lease(local, class);
        }
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

    /// Gives what lies in a thread's large slot to the depot, and its lease back.
    fn empty_large(&self, local: Local<'_>, class: usize) {
        let Some(mut vec) = local.large(class).take() else {
            return self.release_large(local, class);
        };
        local.release_large(class);
        self.budget.unlease(size_of_class(class));
        let mut batch = Batch::new(class);
        let pushed = batch.push(&mut vec);
        debug_assert!(pushed, "a large slot gives back exactly what it was given");
        self.hand_over(local, batch);
    }

    /// `shelve` at a thread's end or flush.
    fn hand_over(&self, local: Local<'_>, batch: Batch) {
        local.books.dropped[Reason::DepotFull as usize].add(self.shelve(batch));
    }

    /// Lays a charged batch on its shelf, or frees it; how many buffers were freed.
    fn shelve(&self, batch: Batch) -> u64 {
        let (class, count) = (batch.class(), batch.len());
        match self.depot.shelf(class).push(batch) {
            Ok(()) => 0,
            Err(batch) => {
                self.budget.release(count * size_of_class(class));
                drop(batch);
                count as u64
            }
        }
    }

    /// Gives up the lease of this thread's large slot if that is empty.
    fn release_large(&self, local: Local<'_>, class: usize) {
        if local.release_large(class) {
            let size = size_of_class(class);
            self.budget.unlease(size);
            self.budget.release(size);
        }
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

    /// A guard ended and its buffer comes back.
    pub(crate) fn finish(self, vec: Vec<u8>, usage: Use, written: usize) {
        self.count(usage);
        self.keep(vec, written);
    }

    pub(crate) fn discard(self, mut vec: Vec<u8>, usage: Use) {
        self.count(usage);
        let written = usage.written(vec.len());
        scrub(&mut vec, written);
        self.free(vec, Reason::Discarded);
    }

    pub(crate) fn detach(self, usage: Use) {
        self.add(|books| &books.detached, 1);
        self.count(usage);
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
            _ => return crate::wipe::try_reserve(vec, additional),
            #[cfg(not(feature = "zeroize"))]
            _ => return vec.try_reserve(additional),
        };
        let least = class_of(needed);
        let class = least.max(self.pool.policy.load().jump_class());
        let mut larger = match self.take(class) {
            Some(larger) => larger,
            // A jump is a convenience; what is needed may still be had.
            None if class > least => {
                self.allocate(size_of_class(class)).or_else(|_| self.allocate(size_of_class(least)))?
            }
            None => self.allocate(size_of_class(least))?,
        };
        self.add(|books| &books.growths, 1);
        larger.extend_from_slice(vec);
        let smaller = std::mem::replace(vec, larger);
        let written = smaller.len();
        self.keep(smaller, written);
        Ok(())
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

    /// Up to `count` new buffers on the shelf, as one batch.
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
        if added == 0 || !self.shelve(batch) { 0 } else { added }
    }

    /// Recalibrates from what has been counted.
    pub(crate) fn calibrate(self) {
        self.take_window(true);
    }

    /// One trim interval passes. Returns the bytes freed.
    pub(crate) fn trim(self) -> usize {
        self.pool.policy.next_epoch();
        self.pool.renew_stamp();
        let mut freed_bytes = 0;
        for class in 0..CLASSES {
            let shelf = self.core.depot.shelf(class);
            freed_bytes += self.free_from_shelf(class, shelf.low());
            shelf.begin_interval();
        }
        for shard in self.shards.iter() {
            for class in SMALL_CLASSES..CLASSES {
                if !shard.large(class).was_touched() {
                    freed_bytes += self.free_large(shard, class);
                }
            }
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
            None => counter(&self.core.orphans).add_shared(n),
        }
    }

    fn count(self, usage: Use) {
        let class = usage.counted_class();
        match (self.local, class) {
            (Some(local), Some(class)) => {
                if local.books.count(class, usage.asked) {
                    self.merge(usage);
                }
            }
            (Some(local), None) => local.books.count_silent(),
            (None, _) => {
                self.core.orphans.count_shared(usage);
                let Some(class) = class else { return };
                if self.records() {
                    self.core.recorder().note(usage.peak, 0);
                }
                if self.core.calibrator.add(class, 1) > self.core.config.calibrate_calls_threshold {
                    self.take_window(false);
                }
            }
        }
    }

    /// A batch of this thread's calls is due, of the class that `usage`, the last of them, was counted in.
    pub(crate) fn merge(self, usage: Use) {
        let (Some(local), Some(class)) = (self.local, usage.counted_class()) else { return };
        let is_past = self.core.calibrator.merge(&local.books, class);
        if self.records() {
            let shard: &Shard = &local;
            self.core.recorder().note(usage.peak, std::ptr::from_ref(shard) as usize / size_of::<Shard>());
            local.books.allow(class, 1);
        }
        if is_past {
            self.take_window(false);
        }
    }

    fn records(self) -> bool {
        self.core.recorder.get().is_some_and(|recorder| recorder.records())
    }

    /// While the pool records, every call is due, and noted.
    pub(crate) fn follow_recording(self) {
        if let (Some(local), true) = (self.local, self.records()) {
            (0..CLASSES).for_each(|class| local.books.allow(class, 1));
        }
    }

    fn take_window(self, anyway: bool) {
        let books = self.books();
        let mut learnt = None;
        self.core.calibrator.take_window(books, anyway, |window| learnt = self.learn(window));
        self.follow_policy();
        self.pass_interval_if_due();
        if let (Some(calibration), Some(_)) = (learnt, self.local) {
            announce(self.pool, self.core.config.on_calibration, &calibration);
        }
    }

    fn learn(self, window: &Window) -> Option<Calibration> {
        let before = self.pool.policy.load().sizes();
        let sizes = calibrate(window, &self.core.config.limits, before)?;
        self.pool.policy.set_sizes(sizes, jump_class(&self.core.config, sizes));
        self.pool.renew_stamp();
        for class in sizes.max_class + 1..CLASSES {
            self.purge_class(class);
        }
        Some(Calibration::new(self.core.calibrator.calibrations() + 1, before, sizes))
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
        let highest = (class + crate::class::LOOK_UP_CLASSES).min(self.pool.policy.load().max_class());
        (class..=highest).find_map(|class| self.take_of_class(class))
    }

    fn take_of_class(self, class: usize) -> Option<Vec<u8>> {
        if class < SMALL_CLASSES {
            let top = self.local.and_then(|local| local.pop_below_mark(class));
            return top.or_else(|| self.take_from_depot(class));
        }
        let own = self.local.and_then(|local| local.large(class).take());
        own.or_else(|| self.take_from_depot(class)).or_else(|| self.steal(class))
    }

    fn take_from_depot(self, class: usize) -> Option<Vec<u8>> {
        let mut batch = self.core.depot.shelf(class).pop()?;
        let vec = batch.pop()?;
        let mut uncharged = 1;
        if let (Some(local), true) = (self.local, class < SMALL_CLASSES) {
            uncharged += self.stow(local, &mut batch);
        }
        self.core.budget.release(uncharged * size_of_class(class));
        if batch.len() > 0 {
            self.shelve(batch);
        }
        self.pass_interval_if_due();
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
        if wanted > 0 && self.may_lease(local, bytes) && self.core.budget.lease_charged(bytes) {
            extend_lease(local, class, wanted);
        }
        while local.len(class) < local.leased(class) {
            let Some(mut vec) = batch.pop() else { break };
            let pushed = local.push(&mut vec);
            debug_assert!(pushed, "a batch gives back exactly what it was given");
        }
        before
    }

    /// From another thread's large slot.
    fn steal(self, class: usize) -> Option<Vec<u8>> {
        self.shards.iter().find_map(|shard| shard.large(class).take())
    }

    fn allocate(self, capacity: usize) -> Result<Vec<u8>, TryReserveError> {
        let capacity = if capacity > MAX_CLASS_SIZE { capacity } else { size_of_class(class_of(capacity)) };
        let mut vec = Vec::new();
        vec.try_reserve_exact(capacity)?;
        self.add(|books| &books.allocated, 1);
        Ok(vec)
    }

    // Keeping.

    /// Keeps `vec`, whose first `written` bytes were written, or frees it for the first reason that applies.
    pub(crate) fn keep(self, mut vec: Vec<u8>, written: usize) {
        scrub(&mut vec, written);
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
            Some(local) => self.keep_large(local, class, vec),
            None => self.keep_in_depot(class, vec),
        }
    }

    fn keep_small(self, local: Local<'p>, class: usize, mut vec: Vec<u8>) {
        if local.push(&mut vec) {
            return;
        }
        let has_room = self.extend_lease(local, class) || self.make_room(local, class);
        if !(has_room && local.push(&mut vec)) {
            self.keep_in_depot(class, vec);
        }
    }

    /// Leases more slots: as many again, or at least one.
    fn extend_lease(self, local: Local<'_>, class: usize) -> bool {
        let leased = local.leased(class);
        let room = slots_max(class) - leased;
        let first = (FIRST_LEASE_BYTES / size_of_class(class)).max(1);
        let run = leased.max(first).min(room);
        [run, run.min(1)].into_iter().any(|slots| {
            let bytes = slots * size_of_class(class);
            let leased = slots > 0 && self.may_lease(local, bytes) && self.core.budget.lease(bytes);
            if leased {
                extend_lease(local, class, slots);
            }
            leased
        })
    }

    fn may_lease(self, local: Local<'_>, bytes: usize) -> bool {
        local.leased_bytes.get() as usize + bytes <= self.core.config.thread_cache_bytes_max
    }

    /// Moves the colder half of a full stack, a batch at most, to the depot.
    fn make_room(self, local: Local<'_>, class: usize) -> bool {
        let count = (local.len(class) / 2).min(BATCH_SLOTS);
        if count == 0 || !self.core.budget.charge(count * size_of_class(class)) {
            return false;
        }
        self.shelve(local.take_cold(class, count));
        self.pass_interval_if_due();
        true
    }

    fn keep_large(self, local: Local<'_>, class: usize, mut vec: Vec<u8>) {
        let mut put = local.put_large(&mut vec);
        if put == LargePut::NotLeased && self.core.budget.lease(size_of_class(class)) {
            local.lease_large(class);
            put = local.put_large(&mut vec);
        }
        if put != LargePut::Kept {
            self.keep_in_depot(class, vec);
        }
    }

    fn keep_in_depot(self, class: usize, mut vec: Vec<u8>) {
        if !self.charge(size_of_class(class)) {
            return self.free(vec, Reason::OverBudget);
        }
        let mut batch = Batch::new(class);
        if !batch.push(&mut vec) {
            self.core.budget.release(size_of_class(class));
            return self.free(vec, Reason::OutOfClass);
        }
        self.shelve(batch);
        self.pass_interval_if_due();
    }

    /// Lays a charged batch on its shelf, or frees it; whether it lies there.
    fn shelve(self, batch: Batch) -> bool {
        let freed = self.core.shelve(batch);
        if freed > 0 {
            self.add(|books| &books.dropped[Reason::DepotFull as usize], freed);
        }
        freed == 0
    }

    /// Charges the budget, if need be after giving up every lease that covers nothing.
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
        self.core.budget.charge(bytes)
    }

    fn release_unused_leases(self, local: Local<'_>) {
        (0..SMALL_CLASSES).for_each(|class| self.core.release_unused_lease(local, class));
        (SMALL_CLASSES..CLASSES).for_each(|class| self.core.release_large(local, class));
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
        if seen == u64::MAX {
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
        for class in SMALL_CLASSES..CLASSES {
            let over_ceiling = class > policy.max_class();
            if over_ceiling {
                // Put here after the calibration had looked, by a thread that had not seen it yet.
                freed_bytes += self.free_large(&local, class);
            }
            // Above the ceiling no place is leased from here on, so the hot path need not compare with it. Model:
            // loom_tests::ceiling::nothing_lies_above_a_ceiling_that_its_thread_has_seen.
            if over_ceiling || intervals > 0 {
                self.core.release_large(local, class);
            }
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

    /// Frees up to `count` buffers of a shelf, those that came first.
    fn free_from_shelf(self, class: usize, count: usize) -> usize {
        let shelf = self.core.depot.shelf(class);
        let mut freed = 0;
        while freed < count {
            let Some(mut batch) = shelf.pop() else { break };
            let surplus = batch.len().min(count - freed);
            for _ in 0..surplus {
                drop(batch.pop());
            }
            freed += surplus;
            self.core.budget.release(surplus * size_of_class(class));
            if batch.len() > 0 {
                self.shelve(batch);
            }
        }
        self.add(|books| &books.trimmed, freed as u64);
        freed * size_of_class(class)
    }

    /// Frees what lies in a large slot. The place stays leased until its owner operates again.
    fn free_large(self, shard: &Shard, class: usize) -> usize {
        let vec = shard.large(class).take();
        let freed = usize::from(vec.is_some());
        self.add(|books| &books.trimmed, freed as u64);
        freed * size_of_class(class)
    }

    /// Frees every idle buffer of a class that all threads can reach.
    fn purge_class(self, class: usize) -> usize {
        let mut freed_bytes = self.free_from_shelf(class, self.core.depot.shelf(class).len());
        if class >= SMALL_CLASSES {
            freed_bytes += self.shards.iter().map(|shard| self.free_large(shard, class)).sum::<usize>();
        }
        freed_bytes
    }

    pub(crate) fn pass_interval_if_due(self) {
        if self.core.clock.is_due() {
            self.trim();
        }
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
        row.retained = (cached + core.depot.shelf(class).len()) as u64;
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
    shards.iter().map(|shard| &shard.books).chain(std::iter::once(&core.orphans))
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

fn jump_class(config: &Config, sizes: Sizes) -> usize {
    match config.growth {
        Growth::NextClass => 0,
        Growth::MaxSize => sizes.max_class.min(class_of(GROWTH_JUMP_SIZE_MAX)),
    }
}

fn extend_lease(local: Local<'_>, class: usize, slots: usize) {
    local.set_leased(class, local.leased(class) + slots);
    local.leased_bytes.add((slots * size_of_class(class)) as u64);
}

/// Empties a buffer that comes back. In debug builds, overwrites its first `written` bytes, so that a use of stale bytes
/// shows; not the untouched rest, which would commit pages. With the feature `zeroize`, wipes all of it instead.
#[inline]
pub(crate) fn scrub(vec: &mut Vec<u8>, written: usize) {
    #[cfg(feature = "zeroize")]
    crate::wipe::wipe(vec);
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
