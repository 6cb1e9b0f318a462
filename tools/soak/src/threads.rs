//! The threads of the service.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;
use hdrhistogram::Histogram;

use crate::day::{Day, Phase};
use crate::pools::{Frozen, Kind, Lent};
use crate::witness::{InUse, SIZE_MIN};

const TICKS_PER_SECOND: u32 = 100;
const TICK: Duration = Duration::from_millis(1000 / TICKS_PER_SECOND as u64);
const HANDLERS: usize = 2;
const SLEEPERS: usize = 8;
const CONSUMERS: usize = 2;
/// Messages between the producer and one of its consumers, and those that a consumer keeps.
const CHANNEL: usize = 64;
const BACKLOG: usize = 16;
/// Uses that the probe times together.
const BATCH: u32 = 64;

pub struct Service<'a> {
    pub day: &'a Day,
    pub kinds: &'a [Kind; 3],
    /// Nanoseconds of the probe's batches since they were last read.
    batches: Mutex<Histogram<u64>>,
}

impl<'a> Service<'a> {
    pub fn new(day: &'a Day, kinds: &'a [Kind; 3]) -> Service<'a> {
        // Up to a minute, in three digits.
        let batches = Histogram::new_with_max(60_000_000_000, 3).expect("valid");
        Service { day, kinds, batches: Mutex::new(batches) }
    }

    /// Each thread has its own seed, made of the one given.
    pub fn start<'s>(&'s self, scope: &'s Scope<'s, '_>, seed: u64) -> Vec<ScopedJoinHandle<'s, ()>> {
        let mut seeds = Rng::with_seed(seed);
        let mut threads = Vec::new();
        for rng in [(); HANDLERS].map(|()| seeds.fork()) {
            threads.push(scope.spawn(|| self.handle(rng)));
        }
        for rng in [(); SLEEPERS].map(|()| seeds.fork()) {
            threads.push(scope.spawn(|| self.sleep(rng)));
        }
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..CONSUMERS).map(|_| sync_channel(CHANNEL)).unzip();
        for receiver in receivers {
            threads.push(scope.spawn(|| self.consume(receiver)));
        }
        let [producing, coming] = [(); 2].map(|()| seeds.fork());
        threads.push(scope.spawn(|| self.produce(senders, producing)));
        threads.push(scope.spawn(|| self.come_and_go(coming)));
        threads.push(scope.spawn(|| self.probe()));
        threads
    }

    /// The 99th percentile of the probe's batches since the last call, in nanoseconds per get + drop.
    pub fn take_p99(&self) -> f64 {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        let p99 = batches.value_at_quantile(0.99);
        batches.reset();
        p99 as f64 / f64::from(BATCH)
    }

    /// Calls `step` once a tick, with the gate held, until the day is over.
    fn each_tick(&self, mut step: impl FnMut(&'static Phase)) {
        while !self.day.is_over() {
            let operating = self.day.operate();
            step(self.day.phase());
            drop(operating);
            thread::sleep(TICK);
        }
    }

    /// Messages as the phase has them, with giants among them.
    fn handle(&self, mut rng: Rng) {
        let mut held: [Vec<Lent>; 3] = Default::default();
        self.each_tick(|phase| {
            for ((kind, work), held) in self.kinds.iter().zip(&phase.work).zip(&mut held) {
                for _ in 0..due(work.rate, &mut rng) {
                    while held.len() >= work.held {
                        drop(held.drain(..held.len().div_ceil(2)));
                    }
                    let len = length(work.len, &mut rng);
                    let message = kind.message(len, &mut rng);
                    match rng.u8(..) {
                        0 => message.detach(),
                        1 => message.discard(),
                        2 => kind.donate(len),
                        _ => held.push(message),
                    }
                }
            }
            if phase.giants && due(2, &mut rng) > 0 {
                drop(self.kinds[2].message(bytebufferpool::MAX_CLASS_SIZE, &mut rng));
            }
        });
    }

    /// Fills this thread's caches once a period, and then sleeps on them.
    fn sleep(&self, mut rng: Rng) {
        let mut filled_in = None;
        self.each_tick(|phase| {
            let now = Some(self.day.period_number());
            if phase.sleepers_wake && filled_in != now {
                filled_in = now;
                self.hold_at_once(96, phase, &mut rng);
            }
        });
    }

    /// Threads that live for a few uses. An end is an operation: it is over when `join` returns.
    fn come_and_go(&self, mut rng: Rng) {
        self.each_tick(|phase| {
            if phase.threads_come_and_go {
                let rngs = [(); 3].map(|()| rng.fork());
                thread::scope(|scope| {
                    let threads = rngs.map(|mut rng| scope.spawn(move || self.hold_at_once(8, phase, &mut rng)));
                    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
                });
            }
        });
    }

    /// Messages of the two kinds that thread caches keep.
    fn hold_at_once(&self, count: usize, phase: &Phase, rng: &mut Rng) {
        for (kind, work) in self.kinds.iter().zip(&phase.work).take(2) {
            let held: Vec<_> = (0..count).map(|_| kind.message(length(work.len, rng), rng)).collect();
            drop(held);
        }
    }

    fn produce(&self, consumers: Vec<SyncSender<Parcel>>, mut rng: Rng) {
        while !self.day.is_over() {
            for _ in 0..due(self.day.phase().handed_over, &mut rng) {
                let operating = self.day.operate();
                let parcels = self.parcels(&mut rng);
                // A consumer that makes the producer wait may itself wait for the gate.
                drop(operating);
                for (consumer, parcel) in consumers.iter().zip(parcels) {
                    parcel.into_iter().for_each(|parcel| consumer.send(parcel).expect("consumers end last"));
                }
            }
            thread::sleep(TICK);
        }
    }

    /// A record, or now and then a body: a guard for one consumer, or a frozen buffer for all.
    fn parcels(&self, rng: &mut Rng) -> [Option<Parcel>; CONSUMERS] {
        let which = if rng.u8(..) < 8 { 2 } else { 1 };
        let message = self.kinds[which].message(length(self.day.phase().work[which].len, rng), rng);
        if rng.bool() {
            let frozen = message.freeze();
            return [(); CONSUMERS].map(|()| Some(Parcel::Frozen(frozen.clone())));
        }
        let mut parcels = [const { None }; CONSUMERS];
        parcels[rng.usize(..CONSUMERS)] = Some(Parcel::Guard(message));
        parcels
    }

    fn consume(&self, parcels: Receiver<Parcel>) {
        let mut backlog = Vec::with_capacity(BACKLOG);
        for parcel in parcels {
            let _operating = self.day.operate();
            if backlog.len() == BACKLOG {
                backlog.clear();
            }
            backlog.push(parcel);
        }
    }

    /// Times get + drop of the smallest line, in batches of its own, with nothing written.
    fn probe(&self) {
        let lines = &self.kinds[0];
        while !self.day.is_over() {
            let operating = self.day.operate();
            let one_at_a_time = InUse::announce(lines.budget, SIZE_MIN);
            let began = Instant::now();
            for _ in 0..BATCH {
                drop(std::hint::black_box(lines.pool.get_with_capacity(SIZE_MIN)));
            }
            let nanoseconds = began.elapsed().as_nanos() as u64;
            self.batches.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(nanoseconds);
            drop((one_at_a_time, operating));
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// They are only ended.
enum Parcel {
    Guard(#[expect(dead_code)] Lent),
    Frozen(#[expect(dead_code)] Frozen),
}

/// Uses that are due in one tick; the rest of the division by chance.
fn due(rate: u32, rng: &mut Rng) -> u32 {
    rate / TICKS_PER_SECOND + u32::from(rng.u32(..TICKS_PER_SECOND) < rate % TICKS_PER_SECOND)
}

/// Even over the logarithm: small messages are more frequent than large ones.
fn length((least, greatest): (usize, usize), rng: &mut Rng) -> usize {
    (least as f64 * (greatest as f64 / least as f64).powf(rng.f64())) as usize
}
