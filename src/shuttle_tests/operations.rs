//! Any operations, in any order.

use std::sync::Arc;

use shuttle::rand::Rng;

use super::support::{
    BUDGET, Held, LARGE, SMALL, assert_at_rest, assert_budget_is_whole, builder, check, get, join_all, spawn,
};
use crate::Pool;
use crate::sync::{Mutex, lock};

/// Buffers that any thread may take over.
type Mailbox = Mutex<Vec<Held>>;

fn operate(pool: &Arc<Pool>, mailbox: &Mailbox) {
    let mut random = shuttle::rand::thread_rng();
    let mut held = Vec::new();
    for _ in 0..12 {
        match random.gen_range(0..16) {
            0..5 => held.push(get(pool, if random.gen_bool(0.5) { SMALL } else { LARGE })),
            5..8 => drop(held.pop()),
            8 => held.extend(lock(mailbox).pop()),
            9 => lock(mailbox).extend(held.pop()),
            10 => drop(pool.trim()),
            11 => drop(pool.purge()),
            12 => pool.flush_thread(),
            13 => pool.calibrate(),
            14 => drop(pool.prefill(SMALL, 20)),
            _ => drop(pool.prefill(LARGE, usize::MAX)),
        }
    }
}

#[test]
fn whatever_five_threads_do_the_budget_holds_and_nothing_is_lost() {
    check(BUDGET, || {
        // A window of all classes: the max size stays above what is used here.
        let pool = Arc::new(builder().max_percentile(1.0).build());
        let mailbox = Arc::new(Mailbox::new(Vec::new()));
        let threads = [(); 5].map(|()| {
            let (pool, mailbox) = (Arc::clone(&pool), Arc::clone(&mailbox));
            spawn(move || operate(&pool, &mailbox))
        });
        join_all(threads);
        drop(mailbox);
        let retained = assert_at_rest([&pool], BUDGET);
        assert_eq!(pool.purge(), retained, "ended threads withhold nothing");
        assert_at_rest([&pool], BUDGET);
        assert_budget_is_whole(&pool, BUDGET);
    });
}
