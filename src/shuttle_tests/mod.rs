//! Scenarios: a whole pool, used by three to five threads at once, under thousands of random schedules.
//!
//!     RUSTFLAGS="--cfg pool_shuttle -Cdebug-assertions=on" cargo test --release --lib shuttle_
//!
//! loom's models (`loom_tests`) go through all interleavings and all values that a relaxed load may see, and so must be
//! small. shuttle runs the crate as it is, with all its classes and rows, and tens of operations a thread. It knows
//! nothing of orderings: each access is sequentially consistent.
//!
//! A schedule follows from its seed, which a failure prints; `SHUTTLE_RANDOM_SEED=<seed>` begins with that one. Which
//! scenario catches which weakening of the code is listed in `docs/testing.md`.

pub(crate) mod stand_ins;

#[cfg(test)]
mod calibration;
#[cfg(test)]
mod hand_over;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod recorder;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod thread_end;
#[cfg(test)]
mod trim;
#[cfg(test)]
mod witness;

#[cfg(test)]
mod support {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use shuttle::thread::JoinHandle;
    use shuttle::{Config, FailurePersistence, Runner};

    use super::schedules::Bursts;
    use super::{stand_ins, witness};
    use crate::storage::end_thread;
    use crate::{Builder, OwnedBuf, Pool, Stats};

    const SCHEDULES: usize = 10_000;

    /// Sizes of which neither is found in a search for the other.
    pub(crate) const SMALL: usize = 1 << 10;
    pub(crate) const LARGE: usize = 64 << 10;

    /// Room for a few leases: a thread's lease is at most a sixteenth of what is left of half of it.
    pub(crate) const BUDGET: usize = 4 * LARGE;

    /// Runs `scenario`, whose pools may keep `budget` bytes in all, under `SCHEDULES` schedules.
    #[track_caller]
    pub(crate) fn check(budget: usize, scenario: impl Fn() + Send + Sync + 'static) {
        /// What is process-wide in the crate, threads of the system must not share with shuttle's.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock().expect("after another scenario failed, its threads are there still");
        let began = Instant::now();
        let mut config = Config::new();
        config.stack_size = 256 << 10;
        // The seed says the same in one line.
        config.failure_persistence = FailurePersistence::None;
        config.silence_warnings = true;
        let schedules = Runner::new(Bursts::new(SCHEDULES), config).run(move || {
            stand_ins::forget_thread_locals();
            witness::begin(budget);
            scenario();
            end_thread();
            witness::end(budget);
        });
        let name = std::thread::current().name().unwrap_or("").to_owned();
        eprintln!("{name}: {schedules} schedules, {:?}", began.elapsed());
    }

    /// A thread that has ended, and handed back what it had, when it is joined.
    pub(crate) fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        shuttle::thread::spawn(move || {
            let result = f();
            end_thread();
            result
        })
    }

    pub(crate) fn join_all<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    }

    /// A pool whose interval never passes by itself.
    pub(crate) fn builder() -> Builder {
        Pool::builder().retained_bytes_max(BUDGET).trim_interval(Duration::MAX)
    }

    /// A buffer in use, with a mark in it that must still be there when the use ends.
    pub(crate) struct Held {
        buf: Option<OwnedBuf>,
        size: usize,
        mark: u64,
    }

    /// `size` is a class's size. The buffer has exactly that, as no others are near.
    pub(crate) fn get(pool: &Arc<Pool>, size: usize) -> Held {
        let mark = witness::next_mark();
        witness::begin_use(size);
        let mut buf = pool.get_owned_with_capacity(size);
        assert!(buf.is_empty() && buf.capacity() == size, "{} bytes of {} for {size}", buf.len(), buf.capacity());
        buf.extend_from_slice(&mark.to_le_bytes());
        Held { buf: Some(buf), size, mark }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            let Some(buf) = self.buf.take() else { return };
            if !std::thread::panicking() {
                assert_eq!(buf, self.mark.to_le_bytes(), "two users have one buffer");
            }
            drop(buf);
            witness::end_use(self.size);
        }
    }

    /// No operation is in flight: the counters' identities hold, and what is cached are the blocks that the allocator
    /// knows of. Returns the sum of the cached bytes.
    pub(crate) fn assert_at_rest<'p>(pools: impl IntoIterator<Item = &'p Arc<Pool>>, budget: usize) -> usize {
        let retained = pools.into_iter().map(|pool| {
            let stats = pool.stats();
            assert_balanced(&stats);
            stats.retained_bytes
        });
        let retained = retained.sum();
        assert_eq!(witness::left(), budget as i64 - retained as i64, "cached and alive are the same");
        retained
    }

    /// With nothing in use.
    fn assert_balanced(stats: &Stats) {
        stats.assert_identities();
        assert_eq!(stats.outstanding, 0, "{stats}");
    }

    /// All of the budget can be had again: no charge is left for what is gone.
    pub(crate) fn assert_budget_is_whole(pool: &Arc<Pool>, budget: usize) {
        pool.purge();
        assert_eq!(pool.prefill(SMALL, usize::MAX) * SMALL, budget, "some of the budget is lost");
        pool.purge();
    }
}
