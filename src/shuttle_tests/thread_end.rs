//! The end of threads beside use, beside each other, and beside the end of their pool.

use std::sync::Arc;

use super::support::{
    BUDGET, LARGE, SMALL, assert_at_rest, assert_budget_is_whole, builder, check, get, join_all, spawn,
};
use crate::storage::end_thread;

/// Threads that each hold several buffers and end, twice over, so that shards pass from one to the next; one of them
/// returns a buffer after its end. Whatever ended threads had is there for the last one.
#[test]
fn what_ended_threads_had_is_found() {
    check(BUDGET, || {
        let pool = Arc::new(builder().build());
        let life = |pool: &Arc<_>| {
            let pool = Arc::clone(pool);
            spawn(move || drop([get(&pool, SMALL), get(&pool, SMALL), get(&pool, LARGE)]))
        };
        let late = {
            let pool = Arc::clone(&pool);
            spawn(move || {
                let held = [get(&pool, SMALL), get(&pool, LARGE)];
                end_thread();
                drop(held);
                drop(get(&pool, SMALL));
            })
        };
        let starter = {
            let pool = Arc::clone(&pool);
            spawn(move || {
                life(&pool).join().expect("no panic");
                life(&pool).join().expect("no panic");
            })
        };
        let threads = [life(&pool), life(&pool), late, starter];
        join_all(threads);
        assert_at_rest([&pool], BUDGET);
        let before = pool.stats();
        let held: Vec<_> = before
            .classes
            .iter()
            .flat_map(|row| std::iter::repeat_n(row.size, row.retained as usize))
            .map(|size| get(&pool, size))
            .collect();
        let after = pool.stats();
        assert_eq!((after.misses, after.retained_buffers), (before.misses, 0), "out of reach: {before}");
        drop(held);
        end_thread();
        assert_at_rest([&pool], BUDGET);
        assert_budget_is_whole(&pool, BUDGET);
    });
}

/// Four threads share a pool and drop it, each with buffers in its cache; the last one frees the pool, beside the ends of
/// the others. One also has a second pool, whose shard is on the same thread's list.
#[test]
fn a_pool_ends_beside_the_ends_of_its_threads() {
    check(2 * BUDGET, || {
        let pools = [(); 2].map(|()| Arc::new(builder().build()));
        let threads = [0, 1, 0, 1].map(|first| {
            let mut pools = [Arc::clone(&pools[first]), Arc::clone(&pools[1 - first])];
            spawn(move || {
                drop(pools.each_ref().map(|pool| [get(pool, SMALL), get(pool, LARGE)]));
                pools.swap(0, 1);
                drop(pools);
            })
        });
        drop(pools);
        join_all(threads);
    });
}
