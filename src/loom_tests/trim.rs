//! Trim, purge and flush beside get and put.

use loom::sync::Arc;

use super::ledger::{self, Contents};
use super::support::{assert_balanced, builder, check, spawn};
use crate::Pool;

/// A thread that has a buffer idle uses it once more, while another disturbs and then wants one too.
fn beside_use(capacity: usize, preemptions: usize, disturb: fn(&Pool)) {
    check(Some(preemptions), move || {
        ledger::compare_with_budget(capacity <= 128);
        let pool = Arc::new(builder().retained_bytes_max(2 * capacity).look_up_classes(0).build());
        let contents = Contents::default();
        let use_once = move |pool: &Pool| {
            let buffer = pool.get_with_capacity(capacity);
            contents.write(buffer.as_ref());
            drop(buffer);
        };
        let user = {
            let (pool, use_once) = (Arc::clone(&pool), use_once.clone());
            spawn(move || {
                use_once(&pool);
                use_once(&pool);
            })
        };
        let disturber = {
            let pool = Arc::clone(&pool);
            spawn(move || {
                disturb(&pool);
                use_once(&pool);
            })
        };
        user.join().unwrap();
        disturber.join().unwrap();
        let stats = pool.stats();
        assert_balanced(&stats);
        assert!(stats.retained_bytes <= 2 * capacity);
    });
}

#[test]
fn trim_beside_get_and_put_of_small_buffers() {
    beside_use(64, 2, |pool| {
        pool.trim();
    });
}

#[test]
fn trim_beside_get_and_put_of_large_buffers() {
    beside_use(256, 1, |pool| {
        pool.trim();
    });
}

#[test]
fn purge_beside_get_and_put_of_large_buffers() {
    beside_use(256, 1, |pool| {
        pool.purge();
    });
}

#[test]
fn flush_beside_get_and_put_of_small_buffers() {
    beside_use(64, 2, Pool::flush_thread);
}
