//! Trim, purge and flush beside use.

use std::sync::Arc;

use super::support::{
    BUDGET, LARGE, SMALL, assert_at_rest, assert_budget_is_whole, builder, check, get, join_all, spawn,
};

/// Two threads use buffers of both sizes; one frees whatever it can reach, in all ways; one takes all that the budget has
/// left, again and again, so that bytes which are released early have a taker. Then two intervals free everything.
#[test]
fn beside_trim_and_purge_the_budget_holds() {
    check(BUDGET, || {
        let pool = Arc::new(builder().build());
        let users = [SMALL, LARGE].map(|size| {
            let pool = Arc::clone(&pool);
            spawn(move || {
                for _ in 0..4 {
                    let held = [get(&pool, size), get(&pool, size), get(&pool, SMALL)];
                    drop(held);
                }
            })
        });
        let trimmer = {
            let pool = Arc::clone(&pool);
            spawn(move || {
                pool.trim();
                drop(get(&pool, SMALL));
                pool.purge();
                pool.flush_thread();
                pool.trim();
            })
        };
        let filler = {
            let pool = Arc::clone(&pool);
            spawn(move || {
                for _ in 0..4 {
                    pool.prefill(LARGE, usize::MAX);
                    drop(get(&pool, LARGE));
                }
            })
        };
        join_all(users.into_iter().chain([trimmer, filler]));
        let retained = assert_at_rest([&pool], BUDGET);
        assert_eq!(pool.trim() + pool.trim(), retained, "nobody used it for two intervals");
        assert_eq!(assert_at_rest([&pool], BUDGET), 0);
        assert_budget_is_whole(&pool, BUDGET);
    });
}

/// An interval that is over by the clock passes once, however many threads look at the same time. What was unused for two
/// is freed.
#[test]
fn intervals_pass_by_use_once_for_all_threads() {
    check(BUDGET, || {
        let interval = std::time::Duration::from_secs(1);
        let pool = Arc::new(builder().trim_interval(interval).build());
        assert_eq!(pool.prefill(LARGE, 2), 2);
        pool.advance_clock(interval);
        let users = [(); 3].map(|()| {
            let pool = Arc::clone(&pool);
            spawn(move || (0..4).for_each(|_| drop(get(&pool, SMALL))))
        });
        join_all(users);
        let first = pool.epoch.load().interval();
        assert_eq!(first, 2, "the interval passed once, however many threads looked");
        assert_at_rest([&pool], BUDGET);
        pool.advance_clock(interval);
        (0..4).for_each(|_| drop(get(&pool, SMALL)));
        assert_eq!(pool.epoch.load().interval(), 3);
        assert_eq!(pool.stats().classes.iter().find(|row| row.size == LARGE).map(|row| row.retained), Some(0));
        assert_at_rest([&pool], BUDGET);
    });
}
