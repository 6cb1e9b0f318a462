//! Do threads get in each other's way? The log line on one pool with 1, 2, 8 and 64 threads.
//!
//! `cargo bench --bench parallel`: time per log line of all threads together; more threads than processors are
//! oversubscribed on purpose.
// criterion's macros make public functions.
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use bytebufferpool::Pool;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "support/workload.rs"]
mod workload;
use workload::{LOG_PIECE, LOG_PIECES};

fn log_lines(pool: &Pool, count: u64) {
    for _ in 0..count {
        let mut buf = pool.get();
        for _ in 0..LOG_PIECES {
            buf.extend_from_slice(black_box(LOG_PIECE));
        }
        black_box(buf.as_slice());
    }
}

/// From the first thread's start to the last one's end, without the starting of threads.
fn together(pool: &Pool, threads: usize, count: u64) -> Duration {
    let barrier = Barrier::new(threads);
    let one = || {
        log_lines(pool, 16);
        barrier.wait();
        let start = Instant::now();
        log_lines(pool, count.div_ceil(threads as u64));
        (start, Instant::now())
    };
    let spans: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        handles.into_iter().map(|handle| handle.join().expect("no panic")).collect()
    });
    let first = spans.iter().map(|span| span.0).min().expect("at least one thread");
    spans.iter().map(|span| span.1 - first).max().expect("at least one thread")
}

fn parallel(c: &mut Criterion) {
    let mut group = c.benchmark_group("parallel");
    group.sample_size(20).throughput(Throughput::Elements(1));
    for threads in [1, 2, 8, 64] {
        let pool = Pool::new();
        log_lines(&pool, 16);
        pool.calibrate();
        group.bench_function(format!("log line/{threads} threads"), |b| {
            b.iter_custom(|count| together(&pool, threads, count));
        });
    }
    group.finish();
}

criterion_group!(benches, parallel);
criterion_main!(benches);
