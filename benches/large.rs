//! What do large buffers cost, written whole? Memory that is kept need not be mapped and zeroed again.
//!
//! `cargo bench --bench large`: beside a reused `Vec` (the limit) and a fresh one (what is saved). The ratio to the fresh
//! one depends on /sys/kernel/mm/transparent_hugepage/enabled.
// criterion's macros make public functions.
#![allow(missing_docs)]

use std::hint::black_box;

use bytebufferpool::Pool;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

#[path = "support/workload.rs"]
mod workload;

fn large(c: &mut Criterion) {
    let mut group = c.benchmark_group("large");
    group.sample_size(10);
    for mib in [1, 8, 32] {
        let payload = workload::payload(mib << 20);
        group.throughput(Throughput::Bytes(payload.len() as u64));
        let pool = Pool::new();
        group.bench_function(BenchmarkId::new("pool", mib), |b| {
            b.iter(|| {
                let mut buf = pool.get_with_capacity(payload.len());
                buf.extend_from_slice(black_box(&payload));
                black_box(buf.as_slice());
            });
        });
        let mut vec: Vec<u8> = Vec::new();
        group.bench_function(BenchmarkId::new("one reused Vec", mib), |b| {
            b.iter(|| {
                vec.clear();
                vec.extend_from_slice(black_box(&payload));
                black_box(vec.as_slice());
            });
        });
        group.bench_function(BenchmarkId::new("a fresh Vec", mib), |b| {
            b.iter(|| {
                let mut vec = Vec::with_capacity(payload.len());
                vec.extend_from_slice(black_box(&payload));
                black_box(vec.as_slice());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, large);
criterion_main!(benches);
