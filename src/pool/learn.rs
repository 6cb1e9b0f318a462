//! A use is counted; a window is full: new sizes, buffers above the max size, the callback.
//!
//! Sizes are computed and published under the calibrator's lock. Buffers are freed after it, as other threads wait for
//! it inside their drops. The callback runs last. See docs/design.md.

use super::on_calibration::announce;
use super::shared::Op;
use crate::builder::{Config, Growth};
use crate::class::{class_of, size_of_class};
use crate::learn::sizing::{Calibration, Sizes, Window, calibrate};
use crate::learn::usage::Use;
use crate::storage::Shard;

impl<'p> Op<'p> {
    pub(super) fn count(self, usage: Use) {
        let class = usage.counted_class();
        let Some(local) = self.local else {
            self.core.threadless().count_shared(usage);
            let Some(class) = class else { return };
            if let Some(recorder) = self.recorder() {
                recorder.note(usage.peak, 0);
            }
            if self.core.calibrator.add(class, 1) > self.pool.config.calibrate_calls_threshold {
                self.take_window(false);
            }
            return;
        };
        match class {
            Some(class) => local.counters.count(size_of_class(class), usage.asked),
            None => local.counters.count_empty(),
        }
        if local.count_down() {
            self.look(usage);
        }
    }

    /// This thread's count-down is over. `usage`, the last use, has been counted.
    pub(super) fn look(self, usage: Use) {
        let Some(local) = self.local else { return };
        local.pace.stop(local.left());
        // Until the next count is granted: a use that ends in between, in a callback, must find a count above zero.
        local.set_left(local.pace.allow(1));
        if let (Some(recorder), Some(_)) = (self.recorder(), usage.counted_class()) {
            let shard: &Shard = &local;
            recorder.note(usage.peak, std::ptr::from_ref(shard) as usize / size_of::<Shard>());
        }
        let mut learnt = None;
        if local.pace.is_merge_due() {
            if self.core.calibrator.merge(&local.counters) {
                learnt = self.take_window(false);
            }
            local.pace.merge_in(self.core.calibrator.merge_in());
        }
        self.look_at_clock();
        self.announce(learnt);
    }

    /// Recalibrates from the calls so far.
    pub(super) fn calibrate(self) {
        let learnt = self.take_window(true);
        self.look_at_clock();
        self.announce(learnt);
    }

    pub(super) fn take_window(self, anyway: bool) -> Option<Calibration> {
        let learnt = self.core.calibrator.take_window(self.counters(), anyway, |window| self.learn(window)).flatten();
        if learnt.is_some() {
            self.purge_above_ceiling();
        }
        self.catch_up();
        learnt
    }

    /// Under the calibrator's lock.
    pub(super) fn learn(self, window: &Window) -> Option<Calibration> {
        let before = self.pool.epoch.load().sizes();
        let sizes = calibrate(window, &self.pool.config.limits, before)?;
        self.pool.epoch.set_sizes(sizes, jump_class(&self.pool.config, sizes));
        self.pool.renew_stamp();
        Some(Calibration::new(self.core.calibrator.calibrations() + 1, before, sizes))
    }

    /// A use of `class` ended. If the class is above the max size, it may be time to look whether the max size is too
    /// low.
    pub(super) fn note_above(self, class: Option<usize>) {
        let (Some(class), config) = (class, &self.pool.config) else { return };
        let is_above = self.pool.epoch.load().max_class() < class && class <= config.limits.max_class_limit;
        if config.calibrate_early && is_above && self.core.calibrator.is_early_look() {
            let share = 2.0 * (1.0 - config.limits.max_percentile);
            self.core.calibrator.look_early(self.counters(), share, |window| self.raise(window));
        }
    }

    /// Raises the max size to what the running window gives; nothing else changes. Under the calibrator's lock.
    pub(super) fn raise(self, window: &Window) {
        let before = self.pool.epoch.load().sizes();
        let Some(learnt) = calibrate(window, &self.pool.config.limits, before) else { return };
        if learnt.max_class > before.max_class {
            let sizes = Sizes { max_class: learnt.max_class, ..before };
            let is_calibrated = self.core.calibrator.calibrations() > 0;
            let jump_class = if is_calibrated { jump_class(&self.pool.config, sizes) } else { 0 };
            self.pool.epoch.set_sizes(sizes, jump_class);
            self.pool.renew_stamp();
        }
    }

    pub(super) fn announce(self, learnt: Option<Calibration>) {
        if let (Some(calibration), Some(_)) = (learnt, self.local) {
            announce(self.pool, self.pool.config.on_calibration, &calibration);
        }
    }
}

fn jump_class(config: &Config, sizes: Sizes) -> usize {
    match config.growth {
        Growth::NextClass => 0,
        Growth::MaxSize => sizes.max_class.min(class_of(GROWTH_JUMP_SIZE_MAX)),
    }
}

/// A growth that follows the max size takes no buffer larger than this, in bytes.
const GROWTH_JUMP_SIZE_MAX: usize = 1 << 20;
