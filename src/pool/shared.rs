//! What the threads of a pool share, one operation on it, and its statistics.
//!
//! A pool itself is small: a stamp, the sizes, the configuration. Its shared part is built on the heap by the first
//! operation, so that `Pool::new` is a `const fn`. See docs/design.md.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use crate::budget::Budget;
use crate::builder::Config;
use crate::class::{CLASSES, size_of_class};
use crate::depot::Depot;
use crate::leak_trace;
use crate::learn::calibrator::{Calibrator, window_calls};
use crate::learn::clock::Clock;
use crate::learn::counters::{Counter, Counters, Reason};
use crate::learn::epoch::{AtomicEpoch, Epoch};
use crate::recorder::{Recorder, Stripes};
use crate::stats::{ClassStats, Dropped, Stats};
use crate::storage::{Local, PerThread, Shards, Shared, Table, Zeroed};
#[cfg(all(test, not(pool_loom)))]
use crate::storage::{SMALL_CLASSES, Shard};
use crate::sync::{AtomicBool, OnceBox, Ordering, const_unless_loom};

/// A pool of byte buffers in power-of-two size classes, 64 B to 32 MiB, that learns its sizes.
///
/// Made once and shared: a `static`, a field, or behind an `Arc`. All methods take `&self` and may be called on any
/// thread. Cached buffers are in a small cache per thread, up to 32 KiB each, and in a part that all threads share. All
/// of them together take no more than the budget ([`Builder::retained_bytes_max`](crate::Builder::retained_bytes_max),
/// 64 MiB by default). Dropping the pool frees them all at once, those in other threads' caches too.
///
/// The pool takes about 6 KiB when it is first used, and about 6 KiB for each thread that uses it at the same time.
/// Buffers in the shared part take no memory beside themselves.
///
/// The thread caches and their exchange of batches with the shared part follow Bonwick & Adams, "Magazines and Vmem"
/// (USENIX 2001). A thread's share of the budget follows Choudhury & Hahne, "Dynamic queue length thresholds for
/// shared-memory packet switches" (1998). Trimming by the low-water mark follows Bonwick's slab allocator (USENIX
/// 1994); what was unused for two intervals is freed, as in Go's `sync.Pool`. The calibration is
/// valyala/bytebufferpool's.
///
/// # Examples
///
/// ```
/// use bytebufferpool::Pool;
///
/// static POOL: Pool = Pool::new();
///
/// let mut buf = POOL.get();
/// buf.extend_from_slice(b"some bytes");
/// drop(buf);
/// assert_eq!(POOL.stats().puts, 1);
/// ```
// Aligned so that nobody writes next to the stamp and the epoch, which every operation reads: not the reference
// counts of an `Arc<Pool>`, and not a neighbour in memory.
#[repr(align(128))]
pub struct Pool {
    pub(crate) per_thread: PerThread<Core>,
    pub(crate) epoch: AtomicEpoch,
    pub(super) config: Config,
    /// The common budget of the registry that made the pool, if it has one.
    pub(super) shared_budget: Option<Arc<Budget>>,
    pub(super) leak_trace: leak_trace::Table,
}

impl UnwindSafe for Pool {}
impl RefUnwindSafe for Pool {}

/// What the threads of a pool share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(super) table: Box<Table>,
    pub(super) depot: Depot,
    pub(super) calibrator: Calibrator,
    pub(crate) clock: Clock,
    /// Whether a buffer came to the table or the depot since the last trim.
    pub(super) unused: AtomicBool,
    /// The counters of all threads that have no shard; made when there is such a thread.
    pub(super) threadless: OnceBox<Counters>,
    /// Made when the pool is first recorded.
    pub(super) recorder: OnceBox<Arc<dyn Recorder>>,
    /// Last, because fields are dropped in order: buffers are freed before a common budget gets their bytes back.
    pub(super) budget: Budget,
}

/// One operation: a pool's parts, and the shard of the thread that operates.
#[derive(Clone, Copy)]
pub(crate) struct Op<'p> {
    pub(super) pool: &'p Pool,
    pub(super) core: &'p Core,
    pub(super) shards: &'p Shards,
    /// `None` on a thread whose destructor has run, or that got no index.
    pub(super) local: Option<Local<'p>>,
}

impl Pool {
    const_unless_loom! {
        pub(crate) const fn with_config(config: Config) -> Pool {
            Pool {
                per_thread: PerThread::new(),
                epoch: AtomicEpoch::new(config.initial),
                config,
                shared_budget: None,
                leak_trace: leak_trace::Table::new(),
            }
        }
    }

    /// Cached buffers are charged to `budget` too. To be called before the first operation.
    pub(crate) fn share_budget(&mut self, budget: Arc<Budget>) {
        debug_assert!(self.per_thread.get_shared().is_none());
        self.shared_budget = Some(budget);
    }

    #[inline]
    pub(crate) fn recorder(&self) -> Arc<dyn Recorder> {
        // Attaches, because only a pool that has a stamp can renew it.
        let op = self.op();
        Arc::clone(op.core.recorder.get_or_init(|| Box::new(Arc::new(Stripes::new()))))
    }

    pub(crate) fn shared(&self) -> &Shared<Core> {
        self.per_thread.shared(|| Core::new(&self.config, self.shared_budget.clone()))
    }

    /// A trim interval passes, if one is over. A pool without an operation so far has no buffers.
    pub(crate) fn trim_if_due(&self) {
        if self.per_thread.get_shared().is_some() {
            self.op().look_at_clock();
        }
    }

    pub(crate) fn op(&self) -> Op<'_> {
        let shared = self.shared();
        match self.per_thread.local(self.per_thread.stamp()) {
            Some(local) => Op::new(self, shared, Some(local)),
            None => self.attach(shared),
        }
    }

    #[cfg(all(test, not(pool_loom)))]
    pub(crate) fn advance_clock(&self, by: std::time::Duration) {
        self.shared().tenant.clock.advance(by);
    }

    #[cfg(all(test, not(pool_loom)))]
    pub(crate) fn charged_bytes(&self) -> usize {
        self.shared().tenant.budget.charged_bytes()
    }

    /// What each thread has leased, in bytes.
    #[cfg(all(test, not(pool_loom)))]
    pub(crate) fn leased_bytes(&self) -> Vec<usize> {
        let leased = |shard: &Shard| {
            let bytes = (0..SMALL_CLASSES).map(|class| shard.leased(class) * size_of_class(class)).sum::<usize>();
            assert_eq!(shard.leased_bytes.get(), bytes as u64, "the sum that the thread keeps");
            bytes
        };
        self.shared().shards.iter().map(leased).collect()
    }

    #[cold]
    pub(crate) fn attach<'p>(&'p self, shared: &'p Shared<Core>) -> Op<'p> {
        let attached = self.per_thread.attach(shared, || self.tag());
        let op = Op::new(self, shared, attached.map(|(local, _)| local));
        if attached.is_none_or(|(_, is_new)| is_new) {
            op.catch_up();
            op.begin_to_look();
        }
        op
    }

    /// An operation that builds nothing: neither the shared part of a pool that was never used, nor a shard of a thread
    /// that never used the pool.
    pub(crate) fn upkeep(&self) -> Option<Op<'_>> {
        let shared = self.per_thread.get_shared()?;
        let op = Op::new(self, shared, self.per_thread.find(shared));
        op.catch_up();
        Some(op)
    }

    /// Something changed that every thread must notice.
    #[inline(never)]
    pub(crate) fn renew_stamp(&self) {
        self.per_thread.renew(|| self.tag());
    }

    /// What the stamp carries for the hot path of a plain `get`: the default class.
    pub(crate) fn tag(&self) -> usize {
        self.epoch.load().default_class()
    }
}

impl Core {
    pub(crate) fn new(config: &Config, shared_budget: Option<Arc<Budget>>) -> Core {
        Core {
            table: Table::boxed(),
            depot: Depot::new(),
            calibrator: Calibrator::new(config.calibrate_calls_threshold),
            clock: Clock::new(config.trim_interval),
            unused: AtomicBool::new(false),
            threadless: OnceBox::new(),
            recorder: OnceBox::new(),
            budget: Budget::within(config.retained_bytes_max, shared_budget),
        }
    }

    /// Whether a buffer came to the shared part since the last trim; if so, the stamp was renewed, and threads begin to
    /// look.
    #[inline]
    pub(super) fn may_have_unused(&self) -> bool {
        // Relaxed: a hint. A thread that misses it looks at the clock some uses later.
        self.unused.load(Ordering::Relaxed)
    }

    #[cold]
    #[inline(never)]
    pub(super) fn threadless(&self) -> &Counters {
        self.threadless.get_or_init(Counters::boxed)
    }
}

impl<'p> Op<'p> {
    pub(crate) fn new(pool: &'p Pool, shared: &'p Shared<Core>, local: Option<Local<'p>>) -> Op<'p> {
        #[cfg(all(test, not(any(pool_loom, pool_shuttle))))]
        crate::storage::tally::count_slow_step();
        Op { pool, core: &shared.tenant, shards: &shared.shards, local }
    }

    pub(super) fn add(self, counter: impl Fn(&Counters) -> &Counter, n: u64) {
        match self.local {
            Some(local) => counter(&local.counters).add(n),
            None => counter(self.core.threadless()).add_shared(n),
        }
    }

    /// The recorder, while the pool is recorded.
    pub(super) fn recorder(self) -> Option<&'p dyn Recorder> {
        self.core.recorder.get().map(|recorder| &**recorder).filter(|recorder| recorder.records())
    }

    pub(super) fn counters(self) -> impl Iterator<Item = &'p Counters> + Clone {
        counters(self.core, self.shards)
    }

    pub(super) fn row(self) -> usize {
        self.local.map_or(0, |local| local.row())
    }
}

/// The statistics of a pool; `shared` is `None` before its first operation.
pub(crate) fn stats(shared: Option<&Shared<Core>>, epoch: Epoch) -> Stats {
    let mut stats = Stats {
        default_size: epoch.sizes().default_size(),
        max_size: epoch.sizes().max_size(),
        classes: std::array::from_fn(|class| ClassStats { size: size_of_class(class), ..ClassStats::default() }),
        ..Stats::default()
    };
    let Some(shared) = shared else { return stats };
    let (core, shards) = (&shared.tenant, &shared.shards);
    let sum = |figure: &dyn Fn(&Counters) -> u64| counters(core, shards).map(figure).sum::<u64>();
    let dropped = |reason: Reason| sum(&|counters| counters.dropped[reason as usize].get());

    // Ends are read before beginnings. So a guard that ends meanwhile may look outstanding, but no difference is
    // negative.
    let ends = sum(&Counters::ends);
    stats.detached = sum(&|counters| counters.detached.get());
    stats.donated = sum(&|counters| counters.donated.get());
    stats.puts = ends.saturating_sub(stats.detached + stats.donated);
    stats.hits = sum(&|counters| counters.hits.get());
    stats.misses = sum(&|counters| counters.misses.get());
    stats.gets = stats.hits + stats.misses;
    stats.outstanding = stats.gets.saturating_sub(stats.puts + stats.detached);
    stats.growths = sum(&|counters| counters.growths.get());
    stats.allocated = sum(&|counters| counters.allocated.get());
    stats.trimmed = sum(&|counters| counters.trimmed.get());
    stats.dropped = Dropped {
        discarded: dropped(Reason::Discarded),
        out_of_class: dropped(Reason::OutOfClass),
        over_ceiling: dropped(Reason::OverCeiling),
        over_budget: dropped(Reason::OverBudget),
        depot_full: dropped(Reason::DepotFull),
    };
    stats.calibrations = core.calibrator.calibrations();
    for (class, row) in stats.classes.iter_mut().enumerate() {
        row.calls = window_calls(counters(core, shards), class);
        let cached: usize = shards.iter().map(|shard| shard.retained(class)).sum();
        let shared = core.depot.stock(class).len() + core.table.len(class);
        row.retained = (cached + shared) as u64;
    }
    bound_stats(&mut stats, core.budget.bytes_max());
    stats
}

/// Sums up what is cached, but no more than a budget of `bytes_max` allows.
pub(crate) fn bound_stats(stats: &mut Stats, bytes_max: usize) {
    bound_retained(&mut stats.classes, bytes_max);
    stats.retained_buffers = stats.classes.iter().map(|class| class.retained).sum();
    stats.retained_bytes = stats.classes.iter().map(retained_bytes).sum();
}

fn counters<'p>(core: &'p Core, shards: &'p Shards) -> impl Iterator<Item = &'p Counters> + Clone {
    shards.iter().map(|shard| &shard.counters).chain(core.threadless.get())
}

fn retained_bytes(class: &ClassStats) -> usize {
    class.size * class.retained as usize
}

/// A buffer that moves while it is counted may be counted at both ends. The cached bytes never exceed the budget,
/// because they are charged first. So what the figure has above the budget was counted twice, and is left out. With no
/// operation in flight there is no such excess.
fn bound_retained(classes: &mut [ClassStats; CLASSES], bytes_max: usize) {
    let mut excess = classes.iter().map(retained_bytes).sum::<usize>().saturating_sub(bytes_max);
    for class in classes.iter_mut().rev() {
        let twice = excess.div_ceil(class.size).min(class.retained as usize);
        class.retained -= twice as u64;
        excess = excess.saturating_sub(twice * class.size);
    }
}
