//! What does one use cost when nothing is written? get + drop at every class, and with two pools in turn.
//!
//! `cargo bench --bench pair`
// criterion's macros make public functions.
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Arc;

use bytebufferpool::{CLASSES, MIN_CLASS_SIZE, Pool};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

#[path = "support/workload.rs"]
mod workload;

fn learned(size: usize) -> Pool {
    workload::learned(Pool::builder(), size)
}

fn every_class(c: &mut Criterion) {
    let mut group = c.benchmark_group("pair");
    for size in (0..CLASSES).map(|class| MIN_CLASS_SIZE << class) {
        let pool = learned(size);
        group.bench_function(BenchmarkId::new("get", size), |b| {
            b.iter(|| {
                black_box(&mut pool.get());
            });
        });
        group.bench_function(BenchmarkId::new("get_with_capacity", size), |b| {
            b.iter(|| {
                black_box(&mut pool.get_with_capacity(black_box(size)));
            });
        });
    }
    group.finish();
}

fn other_doors(c: &mut Criterion) {
    let mut group = c.benchmark_group("pair");
    let owned = Arc::new(learned(1024));
    group.bench_function("get_owned/1024", |b| {
        b.iter(|| {
            black_box(&mut owned.get_owned());
        });
    });
    group.bench_function("global get", |b| {
        b.iter(|| {
            black_box(&mut bytebufferpool::get());
        });
    });
    group.bench_function("into_vec and put/1024", |b| {
        b.iter(|| owned.put(black_box(owned.get().into_vec())));
    });
    let [a, b] = [learned(1024), learned(1024)];
    group.bench_function("two pools alternating/1024", |bencher| {
        bencher.iter(|| {
            black_box(&mut a.get());
            black_box(&mut b.get());
        });
    });
    group.finish();
}

criterion_group!(benches, every_class, other_doors);
criterion_main!(benches);
