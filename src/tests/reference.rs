//! The pool as it is specified and nothing more: one state, idle buffers in a stack per class, no thread cache.
//!
//! Every method is the specification, written the slow way.

use std::collections::TryReserveError;

use crate::builder::{Config, Growth};
use crate::class::{CLASSES, MAX_CLASS_SIZE, class_below, class_of, class_of_capacity, size_of_class};
use crate::learn::sizing::{Sizes, Window, calibrate};
use crate::learn::usage::Use;
use crate::stats::{ClassStats, Dropped, Stats};

#[derive(Debug)]
pub(crate) struct Reference {
    config: Config,
    sizes: Sizes,
    window: Window,
    calibrations: u64,
    /// Uses above the max size since the last calibration.
    above: u64,
    shelves: [Shelf; CLASSES],
    hits: u64,
    misses: u64,
    puts: u64,
    detached: u64,
    donated: u64,
    growths: u64,
    allocated: u64,
    trimmed: u64,
    dropped: Dropped,
}

#[derive(Debug)]
struct Shelf {
    buffers: Vec<Vec<u8>>,
    /// The fewest buffers that lay here since the trim interval began: what was not needed in it.
    low_water: usize,
}

impl Reference {
    pub(crate) const fn new(config: Config) -> Reference {
        Reference {
            config,
            sizes: config.initial,
            window: Window { plain: [0; CLASSES], asked: [0; CLASSES] },
            calibrations: 0,
            above: 0,
            shelves: [const { Shelf { buffers: Vec::new(), low_water: 0 } }; CLASSES],
            hits: 0,
            misses: 0,
            puts: 0,
            detached: 0,
            donated: 0,
            growths: 0,
            allocated: 0,
            trimmed: 0,
            dropped: Dropped { discarded: 0, out_of_class: 0, over_ceiling: 0, over_budget: 0, depot_full: 0 },
        }
    }

    pub(crate) fn get(&mut self) -> Result<Vec<u8>, TryReserveError> {
        self.get_with_capacity(self.sizes.default_size())
    }

    pub(crate) fn get_with_capacity(&mut self, capacity: usize) -> Result<Vec<u8>, TryReserveError> {
        if let Some(vec) = self.take(capacity) {
            self.hits += 1;
            return Ok(vec);
        }
        let vec = self.allocate(capacity)?;
        self.misses += 1;
        Ok(vec)
    }

    /// A guard ended and its buffer comes back.
    pub(crate) fn finish(&mut self, vec: Vec<u8>, usage: Use) {
        self.puts += 1;
        self.count(usage);
        self.keep_used(vec, usage);
    }

    pub(crate) fn discard(&mut self, usage: Use) {
        self.puts += 1;
        self.count(usage);
        self.note_above(usage);
        self.dropped.discarded += 1;
    }

    pub(crate) fn detach(&mut self, usage: Use) {
        self.detached += 1;
        self.count(usage);
        self.note_above(usage);
    }

    pub(crate) fn put(&mut self, vec: Vec<u8>) {
        self.donated += 1;
        let usage = Use::donated(vec.len());
        self.count(usage);
        self.keep_used(vec, usage);
    }

    pub(crate) fn grow(&mut self, vec: &mut Vec<u8>, additional: usize) -> Result<(), TryReserveError> {
        let Some(needed) = vec.len().checked_add(additional).filter(|&needed| needed <= MAX_CLASS_SIZE) else {
            return vec.try_reserve(additional);
        };
        let limit = if self.calibrations > 0 { self.sizes.max_size() } else { self.sizes.max_size().min(1 << 20) };
        let mut target = size_of_class(class_of(needed));
        if target > limit {
            return vec.try_reserve_exact(target - vec.len());
        }
        if self.config.growth == Growth::MaxSize && self.calibrations > 0 {
            target = target.max(self.sizes.max_size().min(1 << 20));
        }
        let mut larger = match self.take(target) {
            Some(larger) => larger,
            None => self.allocate(target)?,
        };
        self.growths += 1;
        larger.extend_from_slice(vec);
        let smaller = std::mem::replace(vec, larger);
        self.keep(smaller);
        Ok(())
    }

    pub(crate) fn prefill(&mut self, capacity: usize, count: usize) -> usize {
        let mut taken = 0;
        while taken < count && capacity <= self.sizes.max_size() {
            let size = size_of_class(class_of(capacity));
            if self.retained_bytes() + size > self.config.retained_bytes_max {
                break;
            }
            let Ok(vec) = self.allocate(size) else { break };
            self.keep(vec);
            taken += 1;
        }
        taken
    }

    pub(crate) fn calibrate(&mut self) {
        let Some(sizes) = calibrate(&self.window, &self.config.limits, self.sizes) else { return };
        self.window = Window::default();
        self.above = 0;
        self.sizes = sizes;
        self.calibrations += 1;
        for class in sizes.max_class + 1..CLASSES {
            let freed = self.shelves[class].free(usize::MAX);
            self.trimmed += freed as u64;
        }
    }

    /// One trim interval passes.
    pub(crate) fn trim(&mut self) -> usize {
        self.free_from_shelves(|shelf| shelf.low_water)
    }

    pub(crate) fn purge(&mut self) -> usize {
        self.free_from_shelves(|shelf| shelf.buffers.len())
    }

    fn free_from_shelves(&mut self, count: impl Fn(&Shelf) -> usize) -> usize {
        let mut freed_bytes = 0;
        for (class, shelf) in self.shelves.iter_mut().enumerate() {
            let freed = shelf.free(count(shelf));
            self.trimmed += freed as u64;
            freed_bytes += freed * size_of_class(class);
        }
        freed_bytes
    }

    pub(crate) fn retained_bytes(&self) -> usize {
        (0..CLASSES).map(|class| self.shelves[class].buffers.len() * size_of_class(class)).sum()
    }

    pub(crate) fn stats(&self) -> Stats {
        let gets = self.hits + self.misses;
        let classes = std::array::from_fn(|class| ClassStats {
            size: size_of_class(class),
            calls: self.window.calls(class),
            retained: self.shelves[class].buffers.len() as u64,
        });
        Stats {
            gets,
            hits: self.hits,
            misses: self.misses,
            puts: self.puts,
            detached: self.detached,
            outstanding: gets - self.puts - self.detached,
            donated: self.donated,
            growths: self.growths,
            allocated: self.allocated,
            dropped: self.dropped,
            trimmed: self.trimmed,
            calibrations: self.calibrations,
            default_size: self.sizes.default_size(),
            max_size: self.sizes.max_size(),
            retained_bytes: self.retained_bytes(),
            retained_buffers: classes.iter().map(|class| class.retained).sum(),
            classes,
        }
    }

    fn take(&mut self, capacity: usize) -> Option<Vec<u8>> {
        if capacity > MAX_CLASS_SIZE {
            return None;
        }
        let wanted = class_of(capacity);
        let highest = (wanted + crate::class::LOOK_UP_CLASSES).min(CLASSES - 1);
        self.shelves[wanted..=highest].iter_mut().find_map(Shelf::pop)
    }

    fn allocate(&mut self, capacity: usize) -> Result<Vec<u8>, TryReserveError> {
        let capacity = if capacity > MAX_CLASS_SIZE { capacity } else { size_of_class(class_of(capacity)) };
        let mut vec = Vec::new();
        vec.try_reserve_exact(capacity)?;
        self.allocated += 1;
        Ok(vec)
    }

    fn count(&mut self, usage: Use) {
        let Some(class) = usage.counted_class() else { return };
        let row = if usage.asked { &mut self.window.asked } else { &mut self.window.plain };
        row[class] += 1;
        if self.window.calls(class) > self.config.calibrate_calls_threshold {
            self.calibrate();
        }
    }

    /// Early calibration: only ever raises the max size, and takes no window.
    fn note_above(&mut self, usage: Use) {
        let Some(class) = usage.counted_class() else { return };
        let limits = &self.config.limits;
        if !self.config.calibrate_early || class <= self.sizes.max_class || class > limits.max_class_limit {
            return;
        }
        self.above += 1;
        if self.above < 65 || (self.above - 65) % 64 != 0 {
            return;
        }
        let calls: u64 = (0..CLASSES).map(|class| self.window.calls(class)).sum();
        if self.above as f64 > 2.0 * (1.0 - limits.max_percentile) * calls as f64 {
            if let Some(learnt) = calibrate(&self.window, limits, self.sizes) {
                self.sizes.max_class = self.sizes.max_class.max(learnt.max_class);
            }
        }
    }

    fn keep_used(&mut self, vec: Vec<u8>, usage: Use) {
        // Of a use whose buffer was exchanged for a smaller one of exactly a class's size nothing is said.
        let size = vec.capacity();
        let is_exchanged =
            (0..CLASSES).any(|class| size_of_class(class) == size && Some(class) < usage.counted_class());
        if !is_exchanged {
            self.note_above(usage);
        }
        self.keep(vec);
    }

    /// Keeps `vec`, or drops it for the first reason that applies.
    fn keep(&mut self, mut vec: Vec<u8>) {
        vec.clear();
        let Some(class) = class_below(vec.capacity()) else {
            self.dropped.out_of_class += 1;
            return;
        };
        let size = size_of_class(class);
        if class_of_capacity(vec.capacity(), CLASSES).is_none() {
            vec.shrink_to(size);
        }
        if vec.capacity() != size {
            self.dropped.out_of_class += 1;
        } else if class > self.sizes.max_class {
            self.dropped.over_ceiling += 1;
        } else if self.retained_bytes() + size > self.config.retained_bytes_max {
            self.dropped.over_budget += 1;
        } else {
            self.shelves[class].buffers.push(vec);
        }
    }
}

impl Shelf {
    fn pop(&mut self) -> Option<Vec<u8>> {
        let vec = self.buffers.pop()?;
        self.low_water = self.low_water.min(self.buffers.len());
        Some(vec)
    }

    /// Frees up to `count` buffers, those longest here first, and begins an interval.
    fn free(&mut self, count: usize) -> usize {
        let count = count.min(self.buffers.len());
        self.buffers.drain(..count);
        self.low_water = self.buffers.len();
        count
    }
}
