//! What `.ci/icount` runs under callgrind: one workload, a given number of times, on a warm pool.
//!
//! Instructions are the same from run to run where times are not. The script runs each workload with N and with 2N
//! iterations: the difference, divided by N, is the cost of one, and start-up cancels.

use std::hint::black_box;
use std::sync::Arc;

use bytebufferpool::{Pool, PooledBuf};

const USAGE: &str = "usage: icount WORKLOAD ITERATIONS, with WORKLOAD one of:";

type Workload = (&'static str, fn(u64));

const WORKLOADS: [Workload; 11] = [
    ("get_drop_1k", |n| get_drop(1 << 10, n)),
    ("get_drop_16k", |n| get_drop(16 << 10, n)),
    ("get_drop_256k", |n| get_drop(256 << 10, n)),
    ("get_with_capacity_1k", get_with_capacity),
    ("get_owned_1k", get_owned),
    ("two_pools_1k", two_pools),
    ("log_line", log_line),
    ("write_200", write_200),
    ("growth_2k_to_4k", growth),
    ("get_2k_finds_4k", get_of_next_class),
    ("hand_over_4k", hand_over),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let iterations = arguments.next().and_then(|text| text.parse().ok());
    let workload = WORKLOADS.iter().find(|workload| workload.0 == name);
    let (Some((_, run)), Some(iterations)) = (workload, iterations) else {
        // The script reads the names from here.
        eprintln!("{USAGE}");
        WORKLOADS.iter().for_each(|workload| println!("{}", workload.0));
        std::process::exit(2);
    };
    run(iterations);
}

/// A pool whose plain `get` gives `size` bytes, and which does not calibrate by itself: a calibration in the one run
/// and not in the other would not cancel.
fn learned(size: usize) -> Pool {
    let pool = Pool::builder().calibrate_calls_threshold(u64::MAX).default_size_limit(32 << 20).build();
    pool.get().resize(size, 0);
    pool.calibrate();
    assert_eq!(pool.default_size(), size);
    drop((pool.get(), pool.get()));
    pool
}

fn get_drop(size: usize, iterations: u64) {
    let pool = learned(size);
    for _ in 0..iterations {
        black_box(&mut pool.get());
    }
}

fn get_with_capacity(iterations: u64) {
    let pool = learned(1024);
    for _ in 0..iterations {
        black_box(&mut pool.get_with_capacity(black_box(1024)));
    }
}

fn get_owned(iterations: u64) {
    let pool = Arc::new(learned(1024));
    for _ in 0..iterations {
        black_box(&mut pool.get_owned());
    }
}

fn two_pools(iterations: u64) {
    let [a, b] = [learned(1024), learned(1024)];
    for _ in 0..iterations / 2 {
        black_box(&mut a.get());
        black_box(&mut b.get());
    }
}

fn log_line(iterations: u64) {
    let pool = learned(256);
    for _ in 0..iterations {
        let mut buf = pool.get();
        for _ in 0..10 {
            buf.extend_from_slice(black_box(b" key=value-0123456789"));
        }
        black_box(buf.as_slice());
    }
}

fn write_200(iterations: u64) {
    let pool = learned(256);
    let payload = [b'x'; 200];
    for _ in 0..iterations {
        let mut buf = pool.get();
        buf.extend_from_slice(black_box(&payload));
        black_box(buf.as_slice());
    }
}

/// Each use takes the smaller buffer, moves to the larger one, and returns both.
fn growth(iterations: u64) {
    let builder = Pool::builder().calibrate_calls_threshold(u64::MAX).calibrate_early(false);
    let pool = builder.default_size(2048).max_size(4096).build();
    drop((pool.get(), pool.get_with_capacity(4096)));
    let payload = [b'x'; 2048];
    let before = pool.stats().growths;
    for _ in 0..iterations {
        let mut buf = pool.get();
        buf.extend_from_slice(black_box(&payload));
        buf.push(b'!');
        black_box(buf.as_slice());
    }
    assert_eq!(pool.stats().growths - before, iterations);
}

/// The class has no buffer, and the thread's stack of the next one has.
fn get_of_next_class(iterations: u64) {
    let pool = learned(4096);
    for _ in 0..iterations {
        assert_eq!(pool.get_with_capacity(black_box(2048)).capacity(), 4096);
    }
}

/// Producer and consumer, one strictly after the other, so that the count does not hang on the scheduler: this thread
/// takes a batch, another one drops it, and so on. The threads are made anew for each batch, so that each ends and hands
/// its cache back; starting them is counted, shared by the batch.
fn hand_over(iterations: u64) {
    const BATCH: u64 = 1000;
    let pool = learned(4096);
    for _ in 0..iterations.div_ceil(BATCH) {
        let batch: Vec<PooledBuf<&Pool>> = (0..BATCH).map(|_| pool.get()).collect();
        std::thread::scope(|scope| {
            scope.spawn(move || drop(black_box(batch))).join().expect("no panic");
        });
    }
}
