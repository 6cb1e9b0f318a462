//! The end of threads beside the end of pools, and beside other threads.

use loom::sync::Arc;

use super::ledger::{self, Contents};
use super::support::{assert_balanced, builder, check, spawn};

/// Two threads share a pool; each drops its share before it ends. So the pool ends on either, before, after or beside
/// the hand-back of the other. The stand-in for the shared part's box checks that nothing is used after it is freed,
/// and `check` that every buffer is freed.
#[test]
fn a_thread_ends_while_its_pool_is_dropped() {
    check(Some(2), || {
        let pool = Arc::new(builder().build());
        let threads = [(); 2].map(|()| {
            let pool = Arc::clone(&pool);
            spawn(move || {
                drop(pool.get());
                drop(pool);
            })
        });
        drop(pool);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// The index of a thread that ended, and with it the shard, goes to the next one: with all that was written to it.
#[test]
fn a_shard_passes_to_the_next_thread_of_its_index() {
    check(Some(3), || {
        let pool = Arc::new(builder().build());
        let contents = Contents::default();
        let threads = [64, 256].map(|capacity| {
            let (pool, contents) = (Arc::clone(&pool), contents.clone());
            spawn(move || {
                let buffer = pool.get_with_capacity(capacity);
                contents.write(buffer.as_ref());
                drop(buffer);
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        let stats = pool.stats();
        assert_balanced(&stats);
        assert_eq!(ledger::leased_bytes(), 0, "ended threads have no leases");
        let last = {
            let pool = Arc::clone(&pool);
            spawn(move || {
                let held = [pool.get_with_capacity(64), pool.get_with_capacity(256)];
                held.iter().for_each(|buffer| contents.write(buffer.as_ref()));
            })
        };
        last.join().unwrap();
        let stats = pool.stats();
        assert_eq!(stats.gets - stats.hits, stats.allocated, "{stats:?}");
        assert!(stats.hits >= 2, "what ended threads left is found: {stats:?}");
    });
}
