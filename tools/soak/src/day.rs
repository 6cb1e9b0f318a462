//! The day: which phase it is, and the gate at which everybody stops for a rest.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

/// What a handler does with one pool.
pub struct Work {
    /// Uses per second.
    pub rate: u32,
    /// The least and the greatest length of a message in bytes.
    pub len: (usize, usize),
    /// So many buffers are held, and then half of them dropped at once.
    pub held: usize,
}

pub struct Phase {
    pub name: &'static str,
    /// Sixtieths of a period: seconds, where a period is a minute.
    pub parts: u32,
    /// For lines, records and bodies.
    pub work: [Work; 3],
    /// Messages per second from the producer to its consumers.
    pub handed_over: u32,
    pub giants: bool,
    pub sleepers_wake: bool,
    pub threads_come_and_go: bool,
}

const fn work(rate: u32, len: (usize, usize), held: usize) -> Work {
    Work { rate, len, held }
}

const KIB: usize = 1 << 10;
const STEADY: Phase = Phase {
    name: "steady",
    parts: 8,
    work: [work(8_000, (600, 2_000), 8), work(800, (5_000, 16_000), 8), work(80, (40_000, 200_000), 4)],
    handed_over: 400,
    giants: false,
    sleepers_wake: false,
    threads_come_and_go: false,
};
pub const PHASES: [Phase; 8] = [
    STEADY,
    Phase {
        name: "burst",
        parts: 7,
        work: [
            work(20_000, (600, 4 * KIB), 3_000),
            work(2_000, (5_000, 32 * KIB), 500),
            work(400, (40_000, 1 << 20), 150),
        ],
        ..STEADY
    },
    Phase {
        name: "lull",
        parts: 10,
        work: [work(10, (600, 2_000), 1), work(10, (5_000, 16_000), 1), work(10, (40_000, 200_000), 1)],
        handed_over: 10,
        ..STEADY
    },
    Phase {
        name: "larger",
        parts: 8,
        work: [work(8_000, (2_500, 4 * KIB), 16), work(800, (20_000, 32 * KIB), 16), work(160, (200_000, 1 << 20), 6)],
        ..STEADY
    },
    Phase { name: "giants", parts: 8, giants: true, ..STEADY },
    Phase { name: "sleepers", parts: 6, sleepers_wake: true, ..STEADY },
    Phase { name: "come and go", parts: 6, threads_come_and_go: true, ..STEADY },
    Phase { name: "hand-over", parts: 7, handed_over: 8_000, ..STEADY },
];
/// Samples, and sixtieths, of a period.
pub const PARTS: u32 = 60;
const _: () = {
    let (mut parts, mut phase) = (0, 0);
    while phase < PHASES.len() {
        parts += PHASES[phase].parts;
        phase += 1;
    }
    assert!(parts == PARTS);
};

pub struct Day {
    began: Instant,
    period: Duration,
    over: AtomicBool,
    /// A thread that operates holds it for reading; who wants a rest writes.
    gate: RwLock<()>,
}

impl Day {
    pub fn begin(period: Duration) -> Day {
        Day { began: Instant::now(), period, over: AtomicBool::new(false), gate: RwLock::new(()) }
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn sleep_until(&self, at: Duration) {
        thread::sleep(at.saturating_sub(self.elapsed()));
    }

    /// The first is 0.
    pub fn period_number(&self) -> u64 {
        (self.elapsed().as_nanos() / self.period.as_nanos()) as u64
    }

    pub fn phase_index(&self) -> usize {
        let part = self.elapsed().as_nanos() % self.period.as_nanos() * u128::from(PARTS) / self.period.as_nanos();
        let ends = PHASES.iter().scan(0, |end, phase| {
            *end += u128::from(phase.parts);
            Some(*end)
        });
        ends.take_while(|&end| end <= part).count()
    }

    pub fn phase(&self) -> &'static Phase {
        &PHASES[self.phase_index()]
    }

    /// For a few operations that wait for nobody; waits while there is a rest.
    pub fn operate(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every thread stands between two operations, and keeps them there.
    pub fn rest(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    pub fn end(&self) {
        self.over.store(true, Relaxed);
    }
}
