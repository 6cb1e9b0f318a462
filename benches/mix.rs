//! What does a heavy tail cost, in time and in memory? Cached bytes are printed beside each time.
//!
//! `cargo bench --bench mix`
// criterion's macros make public functions.
#![allow(missing_docs)]

use std::hint::black_box;

use bytebufferpool::{Pool, PooledBuf};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "support/workload.rs"]
mod workload;
use workload::{IN_FLIGHT, MIX_MESSAGES, MIX_PIECE_SIZE, hold_newest, mix_sizes, payload, places, write_message};

/// Every message written in appends, the newest of them held.
fn pass<'p>(pool: &'p Pool, sizes: &[usize], payload: &[u8], held: &mut [Option<PooledBuf<&'p Pool>>]) {
    hold_newest(sizes, held, |size| {
        let mut buf = pool.get();
        write_message(&mut buf, payload, size, MIX_PIECE_SIZE);
        black_box(buf.as_slice());
        buf
    });
}

fn mix(c: &mut Criterion) {
    let (sizes, payload) = (mix_sizes(MIX_MESSAGES), payload(MIX_PIECE_SIZE));
    let mut group = c.benchmark_group("mix");
    group.sample_size(20).throughput(Throughput::Elements(MIX_MESSAGES as u64));
    for in_flight in [1, IN_FLIGHT] {
        let pool = Pool::new();
        for _ in 0..2 {
            pass(&pool, &sizes, &payload, &mut places(in_flight));
            pool.calibrate();
        }
        group.bench_function(format!("calibrated, {in_flight} in flight"), |b| {
            b.iter(|| pass(&pool, &sizes, &payload, &mut places(in_flight)));
        });
        let stats = pool.stats();
        let growths = stats.growths as f64 / stats.gets as f64;
        println!("  {} B cached afterwards, {growths:.3} growths per use", stats.retained_bytes);
    }
    group.throughput(Throughput::Elements(1000));
    group.bench_function("first 1000 of a new pool, 64 in flight", |b| {
        b.iter(|| {
            let pool = Pool::new();
            pass(&pool, &sizes[..1000], &payload, &mut places(IN_FLIGHT));
        });
    });
    group.finish();
}

criterion_group!(benches, mix);
criterion_main!(benches);
