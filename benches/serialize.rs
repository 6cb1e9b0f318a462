//! What remains of the pool's cost in real work? serde_json documents, prost messages and a log formatter.
//!
//! `cargo bench --bench serialize`
// criterion's macros make public functions.
#![allow(missing_docs)]

use std::hint::black_box;

use bytebufferpool::Pool;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;

#[path = "support/messages.rs"]
mod messages;
#[path = "support/workload.rs"]
mod workload;
use messages::catalog;
use workload::{document, format_record, records};

fn json(c: &mut Criterion) {
    let mut group = c.benchmark_group("serialize");
    for items in [4, 60, 800] {
        let document = document(items);
        let len = document.to_string().len();
        group.throughput(Throughput::Bytes(len as u64));
        let pool = Pool::new();
        let write = || {
            let mut buf = pool.get();
            serde_json::to_writer(&mut buf, black_box(&document)).expect("memory");
            black_box(buf.as_slice());
        };
        write();
        pool.calibrate();
        group.bench_function(BenchmarkId::new("serde_json, pool", len), |b| b.iter(write));
        group.bench_function(BenchmarkId::new("serde_json, new Vec", len), |b| {
            b.iter(|| {
                let mut vec = Vec::new();
                serde_json::to_writer(&mut vec, black_box(&document)).expect("memory");
                black_box(vec.as_slice());
            });
        });
    }
    group.finish();
}

fn protobuf(c: &mut Criterion) {
    let mut group = c.benchmark_group("serialize");
    for items in [4, 60, 800] {
        let message = catalog(items);
        let len = message.encoded_len();
        group.throughput(Throughput::Bytes(len as u64));
        let pool = Pool::new();
        let write = || {
            let mut buf = pool.get();
            black_box(&message).encode(&mut buf).expect("memory");
            black_box(buf.as_slice());
        };
        write();
        pool.calibrate();
        group.bench_function(BenchmarkId::new("prost, pool", len), |b| b.iter(write));
        group.bench_function(BenchmarkId::new("prost, new Vec", len), |b| {
            b.iter(|| black_box(black_box(&message).encode_to_vec()));
        });
    }
    group.finish();
}

fn log_record(c: &mut Criterion) {
    let mut group = c.benchmark_group("serialize");
    let records = records(256);
    group.throughput(Throughput::Elements(records.len() as u64));
    let pool = Pool::new();
    let write = || {
        for record in &records {
            let mut buf = pool.get();
            format_record(&mut buf, black_box(record)).expect("memory");
            black_box(buf.as_slice());
        }
    };
    write();
    pool.calibrate();
    group.bench_function("log record, pool", |b| b.iter(write));
    group.bench_function("log record, new String", |b| {
        b.iter(|| {
            for record in &records {
                let mut text = String::new();
                format_record(&mut text, black_box(record)).expect("memory");
                black_box(text.as_str());
            }
        });
    });
    group.finish();
}

criterion_group!(benches, json, protobuf, log_record);
criterion_main!(benches);
