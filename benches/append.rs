//! What does writing cost? A log line in ten pieces, one short write, many tiny ones, and `write!`.
//!
//! `cargo bench --bench append`; the figures beside a hand-reused `Vec` are the distance to the limit.
// criterion's macros make public functions.
#![allow(missing_docs)]

use std::hint::black_box;

use bytebufferpool::Pool;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "support/workload.rs"]
mod workload;
use workload::{JSON_PIECE_SIZE, JSON_SIZE, payload, write_log_line, write_pieces};

/// Writes with the pool and with one `Vec`, by the same code: `$buf` is a mutable reference to either.
macro_rules! pool_and_vec {
    ($group:expr, $name:literal, |$buf:ident| $write:expr) => {
        let pool = Pool::new();
        let with_pool = || {
            let mut guard = pool.get();
            let $buf = &mut guard;
            $write;
            black_box(guard.as_slice());
        };
        for _ in 0..3 {
            with_pool();
            pool.calibrate();
        }
        $group.bench_function(concat!($name, "/pool"), |b| b.iter(with_pool));
        let mut vec: Vec<u8> = Vec::new();
        $group.bench_function(concat!($name, "/one reused Vec"), |b| {
            b.iter(|| {
                vec.clear();
                let $buf = &mut vec;
                $write;
                black_box(vec.as_slice());
            });
        });
    };
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    pool_and_vec!(group, "log line of 10 x 21 B", |buf| write_log_line(buf));
    let once = payload(200);
    pool_and_vec!(group, "one write of 200 B", |buf| write_pieces(buf, &once, 1));
    pool_and_vec!(group, "write!", |buf| {
        #[allow(unused_imports)] // the guard needs no trait for `write!`, the `Vec` does
        use std::io::Write;
        write!(buf, "id={} name={:>12} ratio={:.3}", black_box(7), "bytes", 0.25).expect("memory")
    });
    let tiny = payload(JSON_PIECE_SIZE);
    group.throughput(Throughput::Bytes(JSON_SIZE as u64));
    pool_and_vec!(group, "8 KiB in appends of 16 B", |buf| write_pieces(buf, &tiny, JSON_SIZE / JSON_PIECE_SIZE));
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
