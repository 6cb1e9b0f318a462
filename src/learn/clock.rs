//! When a trim interval is over, and how many uses may pass until somebody looks.
//!
//! Nothing of a pool runs by itself, so its uses are its clock. Reading the time costs 23 ns where a get and drop takes 5,
//! so each thread counts its uses down, and looks at the time when the count is over: a decrement and a branch on the hot
//! path. The next count follows from how fast uses came: as many as an eighth of an interval takes, but at most
//! [`LOOK_MAX`]. It grows only as far as uses have come in that time, and begins anew, at [`LOOK_FIRST`] or less, whenever
//! something comes to the shared part; so a pool that is used ten times a second looks at every use, also soon after a burst.
//! Paths that are slow anyway look too.
//!
//! The same count-down makes a thread merge its calls (see `calibrator.rs`), so that the hot path has one count and not two.

use std::time::Duration;

use crate::learn::counters::Counter;
use crate::sync::{AtomicU64, Ordering};

/// When the next trim interval is over.
#[derive(Debug)]
pub(crate) struct Clock {
    source: Source,
    interval_ns: u64,
    due_ns: AtomicU64,
}

impl Clock {
    pub(crate) fn new(interval: Duration) -> Clock {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Clock { source: Source::new(), interval_ns, due_ns: AtomicU64::new(interval_ns) }
    }

    /// Nanoseconds since the pool's first use.
    pub(crate) fn now_ns(&self) -> u64 {
        self.source.now_ns()
    }

    /// Whether an interval has gone by; says so once for each.
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        // Relaxed: the exchange lets one thread through for each interval, and no memory hangs on it. No model: loom
        // has no time.
        let due_ns = self.due_ns.load(Ordering::Relaxed);
        let next_ns = now_ns.saturating_add(self.interval_ns);
        now_ns >= due_ns && self.due_ns.compare_exchange(due_ns, next_ns, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// How long uses should take from one look to the next.
    fn eighth_ns(&self) -> u64 {
        self.interval_ns / 8
    }

    #[cfg(all(test, not(pool_loom)))]
    pub(crate) fn advance(&self, by: Duration) {
        self.source.by_hand_ns.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
    }
}

/// Tests drive the clock by hand: time passes when they say so.
#[cfg(all(test, not(pool_loom)))]
#[derive(Debug)]
struct Source {
    by_hand_ns: AtomicU64,
}

#[cfg(all(test, not(pool_loom)))]
impl Source {
    fn new() -> Source {
        Source { by_hand_ns: AtomicU64::new(0) }
    }

    fn now_ns(&self) -> u64 {
        self.by_hand_ns.load(Ordering::Relaxed)
    }
}

#[cfg(not(all(test, not(pool_loom))))]
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
#[derive(Debug)]
struct Source(std::time::Instant);

#[cfg(not(all(test, not(pool_loom))))]
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
impl Source {
    fn new() -> Source {
        Source(std::time::Instant::now())
    }

    fn now_ns(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// There is no clock, and asking for one panics: only `trim` passes intervals.
#[cfg(not(all(test, not(pool_loom))))]
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
#[derive(Debug)]
struct Source;

#[cfg(not(all(test, not(pool_loom))))]
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
impl Source {
    fn new() -> Source {
        Source
    }

    fn now_ns(&self) -> u64 {
        0
    }
}

/// At most so many uses of a thread pass between two of its looks, however fast they come: when they cease to, so many
/// are left.
pub(crate) const LOOK_MAX: u64 = 64;

/// After something came to the shared part a thread looks again after at most so many uses.
pub(crate) const LOOK_FIRST: u64 = 8;

/// How fast one thread uses one pool. Its owner alone writes it, and nobody else reads it.
#[derive(Debug)]
#[cfg_attr(pool_loom, derive(Default))]
pub(crate) struct Pace {
    /// Uses until the next look, as they were granted.
    granted: Counter,
    /// Uses until calls must be merged; 0 where that is not known.
    merge_in: Counter,
    /// When the speed of uses was last taken, and the uses since.
    since_ns: Counter,
    uses: Counter,
}

impl Pace {
    /// Takes note of the uses since the last look, of whose count `left` are left.
    pub(crate) fn stop(&self, left: u64) {
        let spent = self.granted.get() - left;
        self.granted.set(left);
        self.uses.set(self.uses.get() + spent);
        self.merge_in.set(self.merge_in.get().saturating_sub(spent));
    }

    pub(crate) fn is_merge_due(&self) -> bool {
        self.merge_in.get() == 0
    }

    pub(crate) fn merge_in(&self, uses: u64) {
        self.merge_in.set(uses);
    }

    /// The speed of uses so far says nothing of what comes.
    pub(crate) fn begin(&self, now_ns: u64) {
        self.since_ns.set(now_ns);
        self.uses.set(0);
    }

    /// How many uses may pass until the next look, at most `most` and at least 1. After [`stop`](Pace::stop).
    pub(crate) fn grant(&self, clock: &Clock, now_ns: u64, most: u64) -> u64 {
        let (uses, elapsed_ns) = (self.uses.get(), now_ns.saturating_sub(self.since_ns.get()));
        let uses = if elapsed_ns >= clock.eighth_ns() {
            self.begin(now_ns);
            uses.saturating_mul(clock.eighth_ns()) / elapsed_ns.max(1)
        } else {
            // As many as have come in less than an eighth will not take much longer.
            uses
        };
        self.allow(uses.min(most).min(self.merge_in.get()).max(1))
    }

    /// The next look comes after so many uses.
    pub(crate) fn allow(&self, uses: u64) -> u64 {
        self.granted.set(uses);
        uses
    }

    /// The thread ends; the next one of its index begins anew.
    pub(crate) fn reset(&self) {
        for counter in [&self.granted, &self.merge_in, &self.since_ns, &self.uses] {
            counter.set(0);
        }
    }
}
