//! Do threads get in each other's way? The log line on one pool with 1, 2, 8 and 64 threads.
//!
//! `cargo bench --bench parallel`: time per log line of all threads together; more threads than processors are
//! oversubscribed on purpose.
// criterion's macros make public functions.
#![allow(missing_docs)]

use bytebufferpool::Pool;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "support/together.rs"]
mod together;
#[path = "support/workload.rs"]
mod workload;
use together::together;
use workload::log_lines;

fn parallel(c: &mut Criterion) {
    let mut group = c.benchmark_group("parallel");
    group.sample_size(20).throughput(Throughput::Elements(1));
    for threads in [1, 2, 8, 64] {
        let pool = Pool::new();
        log_lines(&pool, 16);
        pool.calibrate();
        group.bench_function(format!("log line/{threads} threads"), |b| {
            b.iter_custom(|count| {
                let each = count.div_ceil(threads as u64);
                together(threads, || log_lines(&pool, 16), |()| log_lines(&pool, each), || ()).0
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parallel);
criterion_main!(benches);
