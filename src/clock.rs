//! When the next trim interval is over.

use std::time::{Duration, Instant};

use crate::sync::{AtomicU64, Ordering};

/// When the next trim interval is over.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    interval_ns: u64,
    due_ns: AtomicU64,
}

impl Clock {
    pub(crate) fn new(interval: Duration) -> Clock {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Clock { start: Instant::now(), interval_ns, due_ns: AtomicU64::new(interval_ns) }
    }

    /// Whether an interval has gone by; says so once for each.
    pub(crate) fn is_due(&self) -> bool {
        // Relaxed: the exchange lets one thread through for each interval, and no memory hangs on it. No model: loom
        // has no time.
        let now_ns = self.start.elapsed().as_nanos() as u64;
        let due_ns = self.due_ns.load(Ordering::Relaxed);
        now_ns >= due_ns
            && self
                .due_ns
                .compare_exchange(due_ns, now_ns.saturating_add(self.interval_ns), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}
