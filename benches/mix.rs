//! What does a heavy tail cost, in time and in memory? Idle bytes are printed beside each time.
//!
//! `cargo bench --bench mix`
// criterion's macros make public functions.
#![allow(missing_docs)]

use std::hint::black_box;

use bytebufferpool::{Pool, PooledBuf};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "support/workload.rs"]
mod workload;
use workload::{IN_FLIGHT, MIX_MESSAGES, MIX_PIECE_SIZE, mix_sizes, payload, pieces};

/// Every message written in appends, the newest of them held.
fn pass<'p>(pool: &'p Pool, sizes: &[usize], payload: &[u8], held: &mut [Option<PooledBuf<&'p Pool>>]) {
    for (index, &size) in sizes.iter().enumerate() {
        let place = index % held.len();
        held[place] = None;
        let mut buf = pool.get();
        for piece in pieces(payload, size, MIX_PIECE_SIZE) {
            buf.extend_from_slice(black_box(piece));
        }
        held[place] = Some(buf);
    }
}

fn places<'p>(count: usize) -> Vec<Option<PooledBuf<&'p Pool>>> {
    (0..count).map(|_| None).collect()
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
        println!("  {} B idle afterwards, {growths:.3} growths per use", stats.retained_bytes);
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
