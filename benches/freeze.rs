//! What does a frozen buffer cost, with none, one and many in flight?
//!
//! `cargo bench --bench freeze`: a message of 1000 B, frozen, the newest few held; beside a guard that is held as it is.
// criterion's macros make public functions.
#![allow(missing_docs)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;

use bytebufferpool::Pool;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

#[path = "support/workload.rs"]
mod workload;

/// Runs `message` with the last `in_flight` of what it gave held.
fn holding<T>(b: &mut criterion::Bencher<'_>, in_flight: usize, message: impl Fn() -> T) {
    let mut held: VecDeque<T> = (0..in_flight).map(|_| message()).collect();
    b.iter(|| {
        held.push_back(black_box(message()));
        held.pop_front()
    });
}

fn freeze(c: &mut Criterion) {
    let mut group = c.benchmark_group("freeze");
    let payload = workload::payload(1000);
    for in_flight in [0, 1, 16, 64] {
        let pool = Arc::new(Pool::new());
        let write = || {
            let mut buf = pool.get_owned();
            buf.extend_from_slice(black_box(&payload));
            buf
        };
        drop(write());
        pool.calibrate();
        group.bench_function(BenchmarkId::new("guard", in_flight), |b| holding(b, in_flight, write));
        group.bench_function(BenchmarkId::new("frozen", in_flight), |b| holding(b, in_flight, || write().freeze()));
        group.bench_function(BenchmarkId::new("frozen, with two slices", in_flight), |b| {
            holding(b, in_flight, || {
                let frozen = write().freeze();
                (frozen.slice(..100), frozen.slice(100..))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, freeze);
criterion_main!(benches);
