//! A dropped pool leaves nothing behind, measured by the heap itself: the ledger returns to what it was before.
//!
//! One test in a binary of its own: the ledger is the process's, and another test beside it would disturb. Threads wait
//! at barriers, which allocate nothing.

#[path = "support/counting.rs"]
mod counting;

use std::sync::{Arc, Barrier, RwLock};
use std::thread;
use std::time::Duration;

use bytebufferpool::Pool;
use counting::{live_blocks, live_bytes};

#[global_allocator]
static HEAP: counting::Counting = counting::Counting;

const THREADS: usize = 8;
const NEVER: Duration = Duration::from_secs(1 << 30);

fn use_every_class(pool: &Pool) {
    for round in 0..3 {
        for size in [64, 64, 200, 1000, 5000, 32_768, 100_000, 1 << 20] {
            let mut held = [(); 4].map(|()| pool.get_with_capacity(size));
            held[0].extend_from_slice(&[round; 300]);
        }
        pool.get().extend_from_slice(&[7; 5000]);
        pool.put(Vec::with_capacity(3000));
    }
}

/// What the live threads work on when the barrier opens.
struct Stage {
    pool: RwLock<Option<Arc<Pool>>>,
    begin: Barrier,
    end: Barrier,
}

impl Stage {
    /// All threads use `pool`, drop what they hold of it and wait, alive.
    fn play(&self, pool: Arc<Pool>) {
        *self.pool.write().unwrap() = Some(pool);
        self.begin.wait();
        self.end.wait();
        *self.pool.write().unwrap() = None;
    }

    fn work(&self) {
        loop {
            self.begin.wait();
            let Some(pool) = self.pool.read().unwrap().clone() else { return };
            use_every_class(&pool);
            drop(pool);
            self.end.wait();
        }
    }
}

#[test]
fn a_pool_dropped_while_8_threads_that_used_it_live_on_leaves_nothing_of_it_in_any_thread() {
    let stage =
        Arc::new(Stage { pool: RwLock::new(None), begin: Barrier::new(THREADS + 1), end: Barrier::new(THREADS + 1) });
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let stage = Arc::clone(&stage);
            thread::spawn(move || stage.work())
        })
        .collect();
    let new_pool = || Arc::new(Pool::builder().trim_interval(NEVER).build());

    // What a thread needs once for all pools to come (and libtest's own) is there after the first.
    for _ in 0..2 {
        let pool = new_pool();
        use_every_class(&pool);
        stage.play(pool);
    }

    let baseline = (live_blocks(), live_bytes());
    for round in 0..50 {
        let pool = new_pool();
        use_every_class(&pool);
        stage.play(Arc::clone(&pool));
        let kept = pool.stats();
        assert!(kept.retained_bytes > 100_000 && live_bytes() - baseline.1 >= kept.retained_bytes as i64, "{kept}");
        // The test's is the last handle; the 8 threads wait at the barrier with whatever they cached.
        assert_eq!(Arc::strong_count(&pool), 1);
        drop(pool);
        assert_eq!((live_blocks(), live_bytes()), baseline, "blocks, bytes; round {round}");
    }

    // Several pools at once, dropped in another order than they were made.
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let mut pools = [(); 3].map(|()| Some(new_pool()));
        for pool in pools.iter().flatten() {
            stage.play(Arc::clone(pool));
        }
        for i in order {
            pools[i] = None;
        }
        // A list of a thread's pools may have grown to three; the next round must not add to it.
        drop(pools);
        let after = (live_blocks(), live_bytes());
        assert!(after.0 <= baseline.0 + THREADS as i64, "{after:?}, before {baseline:?}");
        assert!(after.1 <= baseline.1 + 512 * THREADS as i64, "{after:?}, before {baseline:?}");
    }

    // The threads end after their pools did.
    stage.begin.wait();
    for thread in threads {
        thread.join().expect("ends in peace");
    }
    assert!(live_bytes() <= baseline.1, "the threads took their own along");

    threads_ending_beside_the_pool_leave_nothing();
}

/// The last handle goes in whichever thread is last, beside threads whose destructors hand their caches back.
fn threads_ending_beside_the_pool_leave_nothing() {
    let round = || {
        let pool = Arc::new(Pool::builder().trim_interval(NEVER).build());
        let start = Arc::new(Barrier::new(5));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (pool, start) = (Arc::clone(&pool), Arc::clone(&start));
                thread::spawn(move || {
                    drop([(); 4].map(|()| pool.get_owned_with_capacity(1000)));
                    start.wait();
                    drop(pool.get_owned_with_capacity(100_000));
                })
            })
            .collect();
        start.wait();
        drop((pool, start));
        for thread in threads {
            thread.join().expect("ends in peace");
        }
    };
    (0..5).for_each(|_| round());
    let baseline = (live_blocks(), live_bytes());
    for number in 0..200 {
        round();
        assert_eq!((live_blocks(), live_bytes()), baseline, "blocks, bytes; round {number}");
    }
}
