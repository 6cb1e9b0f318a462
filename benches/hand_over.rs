//! What does it cost when buffers are filled on one thread and dropped on another?
//!
//! `cargo bench --bench hand_over`: 1 -> 1, 2 -> 1 and 1 -> 2 threads, one message per element.
// criterion's macros make public functions.
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::{Mutex, mpsc};
use std::thread;

use bytebufferpool::{Pool, PooledBuf};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

#[path = "support/workload.rs"]
mod workload;

/// Threads are started in every iteration: this many messages make that cost vanish.
const MESSAGES: usize = 20_000;
/// Deep enough that neither side waits for the other at every message.
const CHANNEL_MESSAGES: usize = 256;

fn pass(pool: &Pool, payload: &[u8], producers: usize, consumers: usize) {
    let (sender, receiver) = mpsc::sync_channel::<PooledBuf<&Pool>>(CHANNEL_MESSAGES);
    let receiver = Mutex::new(receiver);
    thread::scope(|scope| {
        for _ in 0..producers {
            let sender = sender.clone();
            scope.spawn(move || {
                for _ in 0..MESSAGES / producers {
                    let mut buf = pool.get_with_capacity(payload.len());
                    buf.extend_from_slice(black_box(payload));
                    sender.send(buf).expect("the consumers stay to the end");
                }
            });
        }
        drop(sender);
        for _ in 0..consumers {
            scope.spawn(|| {
                // With one consumer nobody contends for the lock.
                while let Ok(buf) = { receiver.lock().expect("no panic").recv() } {
                    black_box(buf[0]);
                }
            });
        }
    });
}

fn hand_over(c: &mut Criterion) {
    let mut group = c.benchmark_group("hand_over");
    group.sample_size(10).throughput(Throughput::Elements(MESSAGES as u64));
    for (producers, consumers) in [(1, 1), (2, 1), (1, 2)] {
        for size in [200, 4096, 102_400] {
            let (pool, payload) = (Pool::new(), workload::payload(size));
            let id = BenchmarkId::new(format!("{producers} -> {consumers}"), size);
            group.bench_function(id, |b| b.iter(|| pass(&pool, &payload, producers, consumers)));
        }
    }
    group.finish();
}

criterion_group!(benches, hand_over);
criterion_main!(benches);
