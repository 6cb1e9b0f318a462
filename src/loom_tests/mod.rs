//! Models: every protocol of ours that crosses threads, run by loom through all its interleavings.
//!
//!     RUSTFLAGS="--cfg pool_loom -Cdebug-assertions=on" cargo test --release --lib loom_
//!
//! Under `--cfg pool_loom` the crate is the same but for its sizes (four classes, stacks of two slots, a table of two
//! rows, as each atomic costs every interleaving), for what loom cannot see into ([`stand_ins`]), and for the end of
//! threads, which models call by hand. `LOOM_MAX_PREEMPTIONS` bounds every model; without it those of parts run
//! through all interleavings, and those of a whole pool through all with at most as many preemptions as each says.
//!
//! Which model catches which weakening of the code is listed in `docs/testing.md`.

pub(crate) mod ledger;
pub(crate) mod stand_ins;

#[cfg(test)]
mod budget;
#[cfg(test)]
mod calibration;
#[cfg(test)]
mod ceiling;
#[cfg(test)]
mod hand_over;
#[cfg(test)]
mod recorder;
#[cfg(test)]
mod stamp;
#[cfg(test)]
mod table;
#[cfg(test)]
mod thread_end;
#[cfg(test)]
mod trim;

#[cfg(test)]
mod support {
    use std::sync::Arc as StdArc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use loom::thread::JoinHandle;

    use super::ledger;
    use crate::storage::end_thread;
    use crate::{Builder, Pool, Stats};

    /// Runs `model` through every interleaving; or, if `preemptions` are given or set by the environment, through those
    /// with at most so many.
    #[track_caller]
    pub(crate) fn check(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.max_branches = 20_000;
        builder.preemption_bound = match (preemptions, builder.preemption_bound) {
            (Some(own), Some(set)) => Some(own.min(set)),
            (own, set) => own.or(set),
        };
        let interleavings = StdArc::new(AtomicU64::new(0));
        let counted = StdArc::clone(&interleavings);
        let bound = builder.preemption_bound;
        let began = std::time::Instant::now();
        builder.check(move || {
            ledger::begin();
            counted.fetch_add(1, Ordering::Relaxed);
            model();
            ledger::end();
        });
        let name = std::thread::current().name().unwrap_or("").to_owned();
        eprintln!("{name}: {interleavings:?} interleavings, preemptions {bound:?}, {:?}", began.elapsed());
    }

    /// A thread that has ended, destructors and all, when it is joined.
    pub(crate) fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let body = move || {
            let result = f();
            end_thread();
            result
        };
        // In words: a pool's parts are built on the stack.
        loom::thread::Builder::new().stack_size(32 << 10).spawn(body).expect("loom spawns")
    }

    /// A pool whose interval never passes by itself, as time has no place in a model.
    pub(crate) fn builder() -> Builder {
        Pool::builder().trim_interval(Duration::MAX)
    }

    pub(crate) fn assert_balanced(stats: &Stats) {
        stats.assert_identities();
        assert_eq!(stats.retained_bytes, ledger::idle_bytes(), "{stats:?}");
    }
}
