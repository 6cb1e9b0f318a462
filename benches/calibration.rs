//! What does learning cost, and how soon does it follow a workload that shifts?
//!
//! `cargo bench --bench calibration`: first a table of the shift (uses until the pool has settled, growths per use before
//! and after), then the time of one calibration, and of a use before and after the shift.
// criterion's macros make public functions.
#![allow(missing_docs)]

use std::hint::black_box;

use bytebufferpool::{Pool, Stats};
use criterion::{Criterion, criterion_group, criterion_main};

#[path = "support/workload.rs"]
mod workload;
use workload::{LOG_PIECE, Rng, write_pieces};

fn message(pool: &Pool, size: usize) {
    let mut buf = pool.get();
    write_pieces(&mut buf, LOG_PIECE, size.div_ceil(LOG_PIECE.len()));
    black_box(buf.as_slice());
}

fn small(rng: &mut Rng) -> usize {
    150 + rng.below(300)
}

fn large(rng: &mut Rng) -> usize {
    6_000 + rng.below(8_000)
}

/// Uses in one phase until the pool stops changing its sizes, and the growths per use before and after that.
fn phase(pool: &Pool, name: &str, size: fn(&mut Rng) -> usize, threshold: u64) {
    let mut rng = Rng(1);
    let uses = 6 * threshold;
    let start = pool.stats();
    let mut settled = (0, start.clone());
    for index in 1..=uses {
        message(pool, size(&mut rng));
        if (pool.default_size(), pool.max_size()) != (settled.1.default_size, settled.1.max_size) {
            settled = (index, pool.stats());
        }
    }
    let end = pool.stats();
    let growths = |from: &Stats, to: &Stats| (to.growths - from.growths) as f64 / (to.gets - from.gets).max(1) as f64;
    println!(
        "{name:>22}: settled after {:>6} uses at {} / {} B; growths per use {:.3} before, {:.3} after",
        settled.0,
        end.default_size,
        end.max_size,
        growths(&start, &settled.1),
        growths(&settled.1, &end)
    );
}

fn shift_table() {
    for threshold in [1_000, 42_000] {
        println!("threshold {threshold}:");
        let pool = Pool::builder().calibrate_calls_threshold(threshold).build();
        phase(&pool, "150 to 449 B", small, threshold);
        phase(&pool, "shift to 6 to 14 KB", large, threshold);
        phase(&pool, "and back", small, threshold);
    }
}

fn calibration(c: &mut Criterion) {
    shift_table();
    let mut group = c.benchmark_group("calibration");
    let pool = Pool::new();
    group.bench_function("one use and calibrate()", |b| {
        b.iter(|| {
            message(&pool, 100);
            pool.calibrate();
        });
    });
    for (name, learned_from) in [("before it has learned", None), ("learned", Some(10_000))] {
        let pool = Pool::new();
        if let Some(size) = learned_from {
            message(&pool, size);
            pool.calibrate();
        }
        // An explicit capacity does not move the default, so that the pool stays as it is.
        group.bench_function(format!("10 kB message, {name}"), |b| {
            b.iter(|| {
                let mut buf = if learned_from.is_some() { pool.get() } else { pool.get_with_capacity(64) };
                write_pieces(&mut buf, LOG_PIECE, 10_000 / LOG_PIECE.len());
                black_box(buf.as_slice());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, calibration);
criterion_main!(benches);
