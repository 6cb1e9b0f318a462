//! When a trim interval is over, and how many uses may pass until a thread looks.
//!
//! Nothing of a pool runs by itself, so its uses are its clock. Reading the time costs 23 ns where a get + drop
//! takes 5. So each thread counts its uses down and looks at the time when the count is over: a decrement and a branch
//! on the hot path. Paths that are slow anyway look too.
//!
//! The next count follows from how fast uses came: as many as an eighth of an interval takes, at most [`LOOK_MAX`], and
//! at first no more than came so far. It begins anew, at [`LOOK_FIRST`] or less, when a thread notices a new stamp or
//! brings a buffer to the shared part out of line. So a pool that is used ten times a second looks at every use, also
//! soon after a burst.
//!
//! The same count-down makes a thread merge its calls (see `calibrator.rs`). So the hot path has one count and not two.
//! What is promised, and what other counts cost: see docs/design.md.

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

    /// Whether an interval is over. Returns true once for each interval.
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        // Relaxed: the exchange lets one thread through for each interval; no memory depends on it. No model: loom has
        // no time.
        let due_ns = self.due_ns.load(Ordering::Relaxed);
        let next_ns = now_ns.saturating_add(self.interval_ns);
        now_ns >= due_ns && self.due_ns.compare_exchange(due_ns, next_ns, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// How long it should take from one look to the next.
    fn eighth_ns(&self) -> u64 {
        self.interval_ns / 8
    }

    #[cfg(all(test, not(pool_loom)))]
    pub(crate) fn advance(&self, by: Duration) {
        self.source.by_hand_ns.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
    }
}

/// In tests time passes by hand.
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

/// This target has no clock, and asking for one panics. Only `trim` passes intervals here.
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

/// The most uses of a thread between two looks, however fast they come. A thread that slows down may have so many left:
/// 6.4 s at ten a second. At full speed a look every 64 uses costs 0.5 ns a use, and every 32 it costs 0.85
/// (2026-11-24, 2-core x86-64 VM).
pub(crate) const LOOK_MAX: u64 = 64;

/// The most uses until the next look of a thread that begins anew, because buffers came to the shared part.
pub(crate) const LOOK_FIRST: u64 = 8;

/// How fast one thread uses one pool. Its owner alone writes it, and nobody else reads it.
#[derive(Debug)]
#[cfg_attr(pool_loom, derive(Default))]
pub(crate) struct Pace {
    /// Uses until the next look, as they were granted.
    granted: Counter,
    /// Uses until calls must be merged; 0 if that is not known.
    merge_in: Counter,
    /// When the present measurement of speed began, and the uses since.
    since_ns: Counter,
    uses: Counter,
}

impl Pace {
    /// Notes the uses since the last look, whose count has `left` left.
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

    /// Measures the speed of uses anew from now on.
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
            // Less than an eighth has passed: as many uses again will not take much longer.
            uses
        };
        self.allow(uses.min(most).min(self.merge_in.get()).max(1))
    }

    /// Grants exactly so many uses until the next look.
    pub(crate) fn allow(&self, uses: u64) -> u64 {
        self.granted.set(uses);
        uses
    }

    /// The thread ends, and the next one with its index begins anew.
    pub(crate) fn reset(&self) {
        for counter in [&self.granted, &self.merge_in, &self.since_ns, &self.uses] {
            counter.set(0);
        }
    }
}
