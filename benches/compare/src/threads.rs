//! Rows with more than one thread.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use crate::contenders::{Contender, Sealed};
use crate::run::{Body, Work};
use crate::sleepers::{self, Sleepers, WithSleepers};
use crate::together::together;
use crate::work::consume;

/// A new pool that has learned from the work, if it learns.
fn settled<C: Contender>(work: &impl Work) -> C {
    let pool = C::fresh(work.size_max());
    work.run::<C>(&mut pool.worker(), 8);
    pool.settle();
    pool
}

/// Several threads do the same work on one pool.
pub struct Parallel<C, W> {
    pool: C,
    work: W,
    threads: usize,
}

impl<C: Contender, W: Work> Parallel<C, W> {
    pub fn warm(work: W, threads: usize) -> Box<dyn Body> {
        let pool = settled::<C>(&work);
        Box::new(Parallel { pool, work, threads })
    }
}

impl<C: Contender, W: Work> Body for Parallel<C, W> {
    /// The wall-clock time in which all threads together did it `iterations` times.
    fn run(&mut self, iterations: u64) -> Duration {
        let each = iterations.div_ceil(self.threads as u64);
        let begin = || {
            let mut worker = self.pool.worker();
            self.work.run::<C>(&mut worker, 16);
            worker
        };
        let (elapsed, ()) = together(self.threads, begin, |worker| self.work.run::<C>(worker, each), || ());
        let done = each * self.threads as u64;
        elapsed.mul_f64(iterations as f64 / done as f64)
    }

    fn cached_bytes(&mut self) -> usize {
        self.pool.cached_bytes()
    }
}

/// Threads that come and go: one after another, each of them a few uses. The time has all of a thread in it, from its
/// start until it is joined with its destructors run, as that is what such a program pays.
pub struct ShortLived<C, W> {
    pool: C,
    work: W,
    uses: u64,
}

/// How many threads one iteration is.
pub const SHORT_LIVED_THREADS: u64 = 100;

impl<C: Contender, W: Work> ShortLived<C, W> {
    pub fn warm(work: W, uses: u64) -> Box<dyn Body> {
        let pool = settled::<C>(&work);
        Box::new(ShortLived { pool, work, uses })
    }
}

impl<C: Contender, W: Work> Body for ShortLived<C, W> {
    fn run(&mut self, iterations: u64) -> Duration {
        let start = Instant::now();
        for _ in 0..iterations * SHORT_LIVED_THREADS {
            let one = || self.work.run::<C>(&mut self.pool.worker(), self.uses);
            thread::scope(|scope| scope.spawn(one).join().expect("a row does not panic"));
        }
        start.elapsed()
    }

    fn cached_bytes(&mut self) -> usize {
        self.pool.cached_bytes()
    }
}

/// Messages pass from producers to consumers through a bounded channel.
pub struct HandOver<C> {
    pool: C,
    payload: Vec<u8>,
    route: Route,
}

/// How a hand-over is laid out.
#[derive(Clone, Copy)]
pub struct Route {
    pub producers: usize,
    pub consumers: usize,
    /// How many messages the channel holds. With few, one side waits for the other often: wake-ups weigh more than
    /// buffers, and a buffer is handed back while it is still in the processor's cache. With many, neither holds.
    pub depth: usize,
}

/// The larger messages in flight (25 MiB of 100 KiB) stay below the budget.
pub const DEPTHS: [usize; 2] = [16, 256];

/// Threads are started in every round: this many messages make that cost vanish.
pub const HAND_OVER_MESSAGES: u64 = 8_000;

impl<C: Contender> HandOver<C>
where
    for<'p> C::Held<'p>: Send,
{
    pub fn warm(payload: Vec<u8>, route: Route) -> Box<dyn Body> {
        let mut lane = HandOver { pool: C::fresh(payload.len()), payload, route };
        lane.run(1);
        lane.pool.settle();
        Box::new(lane)
    }

    fn produce<'p>(&'p self, messages: u64, mut send: impl FnMut(C::Held<'p>)) {
        let mut worker = self.pool.worker();
        for _ in 0..messages {
            let guard = C::write_once(&mut worker, black_box(&self.payload));
            send(C::seal(guard));
        }
    }

    /// Returns how many messages all consumers saw.
    ///
    /// Producers and consumers keep to cores of their own. Left to the scheduler, a round now and then has both on one
    /// core, where nothing is handed over: it is then the fastest of all, by a factor of three, and the row a draw.
    fn pass(&self, messages: u64) -> u64 {
        let (sender, receiver) = crossbeam_channel::bounded::<C::Held<'_>>(self.route.depth);
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for _ in 0..self.route.consumers {
                let receiver = receiver.clone();
                threads.push(scope.spawn(move || {
                    keep_to(last_core());
                    count(receiver.iter())
                }));
            }
            for _ in 0..self.route.producers {
                let sender = sender.clone();
                let share = messages / self.route.producers as u64;
                threads.push(scope.spawn(move || {
                    keep_to(0);
                    self.produce(share, |held| sender.send(held).expect("the consumers stay to the end"));
                    0
                }));
            }
            drop((sender, receiver));
            threads.into_iter().map(|thread| thread.join().expect("a row does not panic")).sum()
        })
    }
}

/// Binds the thread to a core, counted round; on a machine that has but one, to none.
pub fn keep_to(core: usize) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if cores.len() > 1 {
        core_affinity::set_for_current(cores[core % cores.len()]);
    }
}

/// As far from the first as there is.
fn last_core() -> usize {
    core_affinity::get_core_ids().map_or(0, |cores| cores.len().saturating_sub(1))
}

fn count(messages: impl Iterator<Item = impl Sealed>) -> u64 {
    let mut seen = 0;
    for held in messages {
        black_box(consume(&held));
        seen += 1;
    }
    seen
}

impl<C: Contender> Body for HandOver<C>
where
    for<'p> C::Held<'p>: Send,
{
    fn run(&mut self, iterations: u64) -> Duration {
        let start = Instant::now();
        let seen = self.pass(iterations * HAND_OVER_MESSAGES);
        let elapsed = start.elapsed();
        assert_eq!(seen, iterations * HAND_OVER_MESSAGES, "a message was lost");
        elapsed
    }

    fn cached_bytes(&mut self) -> usize {
        self.pool.cached_bytes()
    }
}

/// One thread takes from two pools in turn.
pub struct Alternating<C> {
    pools: [C; 2],
    size: usize,
}

impl<C: Contender> Alternating<C> {
    pub fn warm(size: usize, pool: impl Fn() -> C) -> Box<dyn Body> {
        let mut lane = Alternating { pools: [pool(), pool()], size };
        lane.run(16);
        Box::new(lane)
    }
}

impl<C: Contender> Body for Alternating<C> {
    fn run(&mut self, iterations: u64) -> Duration {
        let size = black_box(self.size);
        let [a, b] = &self.pools;
        let (mut a, mut b) = (a.worker(), b.worker());
        let start = Instant::now();
        for _ in 0..iterations.div_ceil(2) {
            C::pair(&mut a, size);
            C::pair(&mut b, size);
        }
        start.elapsed().mul_f64(iterations as f64 / (2 * iterations.div_ceil(2)) as f64)
    }

    fn cached_bytes(&mut self) -> usize {
        self.pools.iter().map(C::cached_bytes).sum()
    }
}

/// A small use while other threads of its pool sleep.
pub struct BesideSleepers(WithSleepers);

impl BesideSleepers {
    pub fn warm((_, count, work): Sleepers) -> Box<dyn Body> {
        let mut lane = BesideSleepers(WithSleepers::new(count, work));
        lane.run(1000);
        Box::new(lane)
    }
}

impl Body for BesideSleepers {
    fn run(&mut self, iterations: u64) -> Duration {
        let pool = &*self.0.pool;
        let start = Instant::now();
        (0..iterations).for_each(|_| sleepers::use_small(pool));
        start.elapsed()
    }

    fn cached_bytes(&mut self) -> usize {
        self.0.pool.stats().retained_bytes
    }
}
