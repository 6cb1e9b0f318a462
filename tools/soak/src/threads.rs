//! The threads of the service.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;
use hdrhistogram::Histogram;

use crate::day::{Day, Phase};
use crate::pools::{Frozen, Kind, Lent};
use crate::witness::InUse;

const TICKS_PER_SECOND: u32 = 100;
const TICK: Duration = Duration::from_millis(1000 / TICKS_PER_SECOND as u64);
const HANDLERS: u64 = 2;
const CONSUMERS: usize = 2;
const SLEEPERS: u64 = 8;

pub struct Service<'a> {
    pub day: &'a Day,
    pub kinds: &'a [Kind; 3],
    pub latency: Latency,
}

impl Service<'_> {
    /// Each thread has its own seed, made of the one given.
    pub fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        seed: u64,
    ) -> Vec<ScopedJoinHandle<'scope, ()>> {
        let mut seeds = Rng::with_seed(seed);
        let mut threads = Vec::new();
        for _ in 0..HANDLERS {
            let rng = seeds.fork();
            threads.push(scope.spawn(|| self.handle(rng)));
        }
        for _ in 0..SLEEPERS {
            let rng = seeds.fork();
            threads.push(scope.spawn(|| self.sleep(rng)));
        }
        let mut senders = Vec::new();
        for _ in 0..CONSUMERS {
            let (sender, receiver) = sync_channel(64);
            senders.push(sender);
            threads.push(scope.spawn(|| self.consume(receiver)));
        }
        let (producing, coming_and_going) = (seeds.fork(), seeds.fork());
        threads.push(scope.spawn(|| self.produce(senders, producing)));
        threads.push(scope.spawn(|| self.come_and_go(coming_and_going)));
        threads.push(scope.spawn(|| self.probe()));
        threads
    }

    /// Calls `step` once a tick, with the gate held, until the day is over.
    fn each_tick(&self, mut step: impl FnMut(&'static Phase)) {
        while !self.day.is_over() {
            {
                let _operating = self.day.operate();
                step(self.day.phase());
            }
            thread::sleep(TICK);
        }
        // What `step` holds ends outside of a rest, too.
    }

    /// Messages as the phase has them, with giants among them.
    fn handle(&self, mut rng: Rng) {
        let mut held: [Vec<Lent>; 3] = Default::default();
        self.each_tick(|phase| {
            for ((kind, work), held) in self.kinds.iter().zip(&phase.work).zip(&mut held) {
                for _ in 0..due(work.rate, &mut rng) {
                    if held.len() >= work.held {
                        held.clear();
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
                let bodies = &self.kinds[2];
                drop(bodies.message(bytebufferpool::MAX_CLASS_SIZE, &mut rng));
            }
        });
        let _operating = self.day.operate();
        drop(held);
    }

    /// Fills this thread's caches once a period, and then sleeps on them.
    fn sleep(&self, mut rng: Rng) {
        let mut filled_in = None;
        self.each_tick(|phase| {
            let now = Some(self.day.period_number());
            if phase.sleepers_wake && filled_in != now {
                filled_in = now;
                for (kind, work) in self.kinds.iter().zip(&phase.work).take(2) {
                    let held: Vec<_> = (0..96).map(|_| kind.message(length(work.len, &mut rng), &mut rng)).collect();
                    drop(held);
                }
            }
        });
    }

    /// Threads that live for a few uses. An end is an operation: it is over when `join` returns.
    fn come_and_go(&self, mut rng: Rng) {
        self.each_tick(|phase| {
            if phase.threads_come_and_go {
                let rngs = [rng.fork(), rng.fork(), rng.fork()];
                thread::scope(|scope| {
                    let threads = rngs.map(|rng| scope.spawn(|| self.live_briefly(phase, rng)));
                    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
                });
            }
        });
    }

    fn live_briefly(&self, phase: &Phase, mut rng: Rng) {
        for (kind, work) in self.kinds.iter().zip(&phase.work) {
            let held: Vec<_> = (0..8).map(|_| kind.message(length(work.len, &mut rng), &mut rng)).collect();
            drop(held);
        }
    }

    /// Sends records and now and then a body: a guard to one consumer, or a frozen buffer to all.
    fn produce(&self, consumers: Vec<SyncSender<Parcel>>, mut rng: Rng) {
        while !self.day.is_over() {
            for _ in 0..due(self.day.phase().handed_over, &mut rng) {
                let parcels = {
                    let _operating = self.day.operate();
                    self.parcels(&mut rng)
                };
                // Not with the gate held: the consumer may stand before it.
                for (consumer, parcel) in consumers.iter().zip(parcels) {
                    parcel.into_iter().for_each(|parcel| consumer.send(parcel).expect("consumers end last"));
                }
            }
            thread::sleep(TICK);
        }
    }

    fn parcels(&self, rng: &mut Rng) -> [Option<Parcel>; CONSUMERS] {
        let which = if rng.u8(..) < 8 { 2 } else { 1 };
        let message = self.kinds[which].message(length(self.day.phase().work[which].len, rng), rng);
        if rng.bool() {
            let mut parcels = [const { None }; CONSUMERS];
            parcels[rng.usize(..CONSUMERS)] = Some(Parcel::Guard(message));
            parcels
        } else {
            let frozen = message.freeze();
            [(); CONSUMERS].map(|()| Some(Parcel::Frozen(frozen.clone())))
        }
    }

    /// Drops what comes, some 16 messages later.
    fn consume(&self, parcels: Receiver<Parcel>) {
        let mut backlog = Vec::with_capacity(16);
        for parcel in parcels {
            let _operating = self.day.operate();
            if let Parcel::Frozen(frozen) = &parcel {
                assert!(frozen.bytes.iter().step_by(512).all(|&byte| byte == 0xaa), "somebody else wrote here");
            }
            if backlog.len() == backlog.capacity() {
                backlog.clear();
            }
            backlog.push(parcel);
        }
        let _operating = self.day.operate();
        drop(backlog);
    }

    /// Times batches of its own: get + drop of the smallest line, nothing written.
    fn probe(&self) {
        while !self.day.is_over() {
            {
                let _operating = self.day.operate();
                let lines = &self.kinds[0];
                let _one_at_a_time = InUse::announce(lines.budget, crate::witness::SIZE_MIN);
                let began = Instant::now();
                for _ in 0..Latency::BATCH {
                    drop(std::hint::black_box(lines.pool.get_with_capacity(crate::witness::SIZE_MIN)));
                }
                self.latency.record(began.elapsed());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

enum Parcel {
    Guard(#[expect(dead_code, reason = "it is only ended")] Lent),
    Frozen(Frozen),
}

/// Uses that are due in one tick; the rest of the division by chance.
fn due(rate: u32, rng: &mut Rng) -> u32 {
    rate / TICKS_PER_SECOND + u32::from(rng.u32(..TICKS_PER_SECOND) < rate % TICKS_PER_SECOND)
}

/// Evenly over the logarithm, as lengths of messages rather are.
fn length((least, greatest): (usize, usize), rng: &mut Rng) -> usize {
    (least as f64 * (greatest as f64 / least as f64).powf(rng.f64())) as usize
}

/// Times of a batch, since they were last read.
pub struct Latency(Mutex<Histogram<u64>>);

impl Latency {
    const BATCH: u32 = 64;

    pub fn new() -> Latency {
        // To a minute, in three digits.
        Latency(Mutex::new(Histogram::new_with_max(60_000_000_000, 3).expect("valid")))
    }

    fn record(&self, batch: Duration) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.saturating_record(batch.as_nanos() as u64);
    }

    /// The 99th percentile of the batches since the last call, in nanoseconds per get + drop.
    pub fn take_p99(&self) -> f64 {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let p99 = times.value_at_quantile(0.99) as f64 / f64::from(Self::BATCH);
        times.reset();
        p99
    }
}
