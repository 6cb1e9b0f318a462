//! Trim, purge and flush beside get and put.

use loom::sync::Arc;

use super::ledger::{self, Contents};
use super::support::{assert_balanced, builder, check, spawn};
use crate::Pool;

fn beside_use(capacity: usize, disturb: fn(&Pool)) {
    check(Some(2), move || {
        ledger::compare_with_budget(capacity <= 128);
        let pool = Arc::new(builder().retained_bytes_max(2 * capacity).build());
        let contents = Contents::default();
        let user = {
            let (pool, contents) = (Arc::clone(&pool), contents.clone());
            spawn(move || {
                for _ in 0..2 {
                    let buffer = pool.get_with_capacity(capacity);
                    contents.write(buffer.as_ref());
                    drop(buffer);
                }
            })
        };
        let disturber = {
            let (pool, contents) = (Arc::clone(&pool), contents.clone());
            spawn(move || {
                disturb(&pool);
                let buffer = pool.get_with_capacity(capacity);
                contents.write(buffer.as_ref());
                drop(buffer);
                disturb(&pool);
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
    beside_use(64, |pool| {
        pool.trim();
    });
}

#[test]
fn trim_beside_get_and_put_of_large_buffers() {
    beside_use(256, |pool| {
        pool.trim();
    });
}

#[test]
fn purge_beside_get_and_put_of_large_buffers() {
    beside_use(256, |pool| {
        pool.purge();
    });
}

#[test]
fn flush_beside_get_and_put_of_small_buffers() {
    beside_use(64, Pool::flush_thread);
}
