//! Threads that have used a pool and then sleep, shared by the bench and the comparison.
#![allow(dead_code)] // each binary uses its own part

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use bytebufferpool::{Builder, Pool};

pub const MIB: usize = 1 << 20;
pub const STACK_BYTES: usize = 256 << 10;

/// No interval ends by itself, and no calibration frees what sleepers left.
pub fn builder() -> Builder {
    Pool::builder().trim_interval(Duration::from_secs(1 << 30)).calibrate_calls_threshold(1 << 60)
}

pub fn use_small(pool: &Pool) {
    black_box(&mut pool.get_with_capacity(black_box(64)));
}

pub fn fill_cache(pool: &Pool) {
    let held: Vec<_> = (0..400).map(|nth| pool.get_with_capacity(64 << (nth % 10))).collect();
    drop(held);
}

/// Who sleeps, how many, and what each of them did before.
pub type Sleepers = (&'static str, usize, fn(&Pool));

/// The first row is what the others are compared with.
pub const JUDGED: [Sleepers; 4] = [
    ("nobody", 0, |_| ()),
    ("1 after 32 MiB", 1, |pool| drop(pool.get_with_capacity(32 * MIB))),
    ("32 after 1 MiB each", 32, |pool| drop(pool.get_with_capacity(MIB))),
    ("250 after filling their caches", 250, fill_cache),
];

/// A pool and threads that have used it and sleep until it is dropped.
pub struct WithSleepers {
    pub pool: Arc<Pool>,
    end: Arc<Barrier>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl WithSleepers {
    pub fn new(count: usize, work: fn(&Pool)) -> WithSleepers {
        let pool = Arc::new(builder().build());
        let end = Arc::new(Barrier::new(count + 1));
        let sleeper = || {
            let worked = Arc::new(Barrier::new(2));
            let (pool, theirs, end) = (Arc::clone(&pool), Arc::clone(&worked), Arc::clone(&end));
            let sleep = move || {
                work(&pool);
                drop(pool);
                theirs.wait();
                end.wait();
            };
            let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(sleep).expect("a thread");
            worked.wait();
            thread
        };
        let threads = (0..count).map(|_| sleeper()).collect();
        // What overflowed their caches is not what is measured.
        pool.purge();
        WithSleepers { pool, end, threads }
    }
}

impl Drop for WithSleepers {
    fn drop(&mut self) {
        self.end.wait();
        self.threads.drain(..).for_each(|thread| thread.join().expect("no panic"));
    }
}
