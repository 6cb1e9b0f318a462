//! Heap operations per use, counted: none once warm, exactly one for `freeze`.
//!
//! Every count is of one thread's own operations, so tests beside each other in this binary do not disturb.
// What leak-trace notes of the guards that it samples lies on the heap.
#![cfg(not(feature = "leak-trace"))]

#[path = "support/channel.rs"]
mod channel;
#[path = "support/counting.rs"]
mod counting;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytebufferpool::{CLASSES, Growth, MIN_CLASS_SIZE, Pool, PooledBuf};
use bytes::{BufMut, Bytes};
use channel::Channel;
use counting::{Operations, during, of_this_thread};

#[global_allocator]
static HEAP: counting::Counting = counting::Counting;

/// No interval ends by itself: what trim frees must be allocated again, which is its purpose.
const NEVER: Duration = Duration::from_secs(1 << 30);

const WARM_UP: usize = 200;
const USES: usize = 1000;

/// Repeats `one_use` until it is warm, then counts.
#[track_caller]
fn assert_no_heap_operation(what: &str, mut one_use: impl FnMut()) {
    for _ in 0..WARM_UP {
        one_use();
    }
    let operations = during(|| {
        for _ in 0..USES {
            one_use();
        }
    });
    assert_eq!(operations, Operations::NONE, "{what}: in {USES} uses");
}

fn pool() -> Pool {
    Pool::builder().trim_interval(NEVER).build()
}

#[test]
fn the_counter_counts() {
    let operations = during(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(100))));
    assert_eq!(operations, Operations { allocations: 1, frees: 1, reallocations: 0, allocated_bytes: 100 });
    let operations = during(|| {
        let mut vec = std::hint::black_box(Vec::<u8>::with_capacity(100));
        vec.reserve_exact(200);
    });
    assert_eq!(operations, Operations { allocations: 1, frees: 1, reallocations: 1, allocated_bytes: 200 });
}

#[test]
fn a_warm_use_of_any_class_touches_the_heap_0_times() {
    for class in 0..CLASSES {
        let pool = pool();
        let size = MIN_CLASS_SIZE << class;
        assert_no_heap_operation(&format!("asked for {size}"), || {
            let mut buf = pool.get_with_capacity(size);
            buf.push(1);
        });
        assert_no_heap_operation(&format!("one more than half of {size}"), || {
            let mut buf = pool.get_with_capacity(size / 2 + 1);
            buf.push(1);
        });
    }
}

#[test]
fn a_warm_use_of_every_class_in_turn_touches_the_heap_0_times() {
    // Up to 16 MiB, so that one of each fits the budget.
    let pool = pool();
    assert_no_heap_operation("one class after the other", || {
        for class in 0..CLASSES - 1 {
            pool.get_with_capacity(MIN_CLASS_SIZE << class).push(1);
        }
    });
}

#[test]
fn several_warm_buffers_at_once_touch_the_heap_0_times() {
    let pool = pool();
    assert_no_heap_operation("8 small, 2 large", || {
        let small: [_; 8] = std::array::from_fn(|i| pool.get_with_capacity(100 << i));
        let large = [pool.get_with_capacity(100_000), pool.get_with_capacity(100_000)];
        drop((small, large));
    });
}

#[test]
fn warm_growth_touches_the_heap_0_times() {
    for growth in [Growth::NextClass, Growth::MaxSize] {
        let pool = Pool::builder().growth(growth).trim_interval(NEVER).calibrate_calls_threshold(50).build();
        assert_no_heap_operation("10 appends of 21 bytes", || {
            let mut buf = pool.get();
            for _ in 0..10 {
                buf.extend_from_slice(b"twenty-one bytes long");
            }
        });
        let pool = Pool::builder().growth(growth).default_size_limit(64).trim_interval(NEVER).build();
        let chunk = [b'x'; 3000];
        assert_no_heap_operation("from 64 bytes past 100 000", || {
            let mut buf = pool.get_with_capacity(0);
            for _ in 0..40 {
                buf.extend_from_slice(&chunk);
            }
        });
    }
}

#[test]
fn calibration_touches_the_heap_0_times() {
    let pool = Pool::builder().calibrate_calls_threshold(10).trim_interval(NEVER).build();
    assert_no_heap_operation("a calibration every 11 uses", || pool.get().resize(500, 0));
    assert!(pool.stats().calibrations > 50);
}

#[test]
fn every_way_of_writing_touches_the_heap_0_times() {
    let pool = pool();
    assert_no_heap_operation("write!", || {
        let mut buf = pool.get();
        write!(buf, "{}-{:>8.3}-{:?}", 7, 1.5, "text").expect("never fails");
    });
    assert_no_heap_operation("as io::Write", || {
        let mut buf = pool.get();
        let writer: &mut dyn std::io::Write = &mut buf;
        writer.write_all(&[7; 300]).expect("never fails");
        write!(writer, "{:04}", 42).expect("never fails");
    });
    assert_no_heap_operation("as fmt::Write", || {
        let mut buf = pool.get();
        let writer: &mut dyn std::fmt::Write = &mut buf;
        writer.write_str("some text").expect("never fails");
        writer.write_char('ü').expect("never fails");
    });
    assert_no_heap_operation("as BufMut", || {
        let mut buf = pool.get();
        buf.put_u64(7);
        buf.put_bytes(0, 100);
        buf.put(&[1_u8; 200][..]);
    });
    assert_no_heap_operation("the rest", || {
        let mut buf = pool.get();
        buf.push_str("text");
        buf.extend([1_u8, 2, 3]);
        buf.extend(&[1_u8, 2, 3]);
        buf.extend_from_within(..4);
        buf.resize(500, 1);
        buf.truncate(3);
        buf.set(b"set");
        buf.read_from(&mut &[5_u8; 700][..]).expect("never fails");
        buf.as_vec_mut().clear();
    });
}

#[test]
fn a_warm_owned_guard_touches_the_heap_0_times() {
    let pool = Arc::new(pool());
    assert_no_heap_operation("get_owned", || pool.get_owned().extend_from_slice(b"a line"));
    assert_no_heap_operation("get_owned_with_capacity", || pool.get_owned_with_capacity(5000).push(1));
}

#[test]
fn a_warm_fallible_get_and_the_process_wide_pool_touch_the_heap_0_times() {
    let pool = pool();
    assert_no_heap_operation("try_get_with_capacity", || {
        pool.try_get_with_capacity(900).expect("memory").push(1);
    });
    assert_no_heap_operation("bytebufferpool::get", || bytebufferpool::get().push(1));
}

#[test]
fn into_vec_and_put_touch_the_heap_0_times() {
    let pool = pool();
    assert_no_heap_operation("detached and donated", || {
        let mut buf = pool.get_with_capacity(700);
        buf.push(1);
        pool.put(buf.into_vec());
    });
}

#[test]
fn two_pools_alternating_touch_the_heap_0_times() {
    let (first, second) = (pool(), pool());
    for size in [64, 1000, 30_000, 100_000] {
        assert_no_heap_operation(&format!("{size} bytes from two pools in turn"), || {
            first.get_with_capacity(size).push(1);
            second.get_with_capacity(size).push(1);
        });
    }
    assert_no_heap_operation("both at once", || {
        let (mut a, mut b) = (first.get(), second.get());
        a.extend_from_slice(&[1; 200]);
        b.extend_from_slice(&a);
    });
}

#[test]
fn without_thread_caches_a_warm_use_touches_the_heap_0_times() {
    let pool = Pool::builder().thread_cache_bytes_max(0).trim_interval(NEVER).build();
    for size in [64, 1000, 30_000, 100_000] {
        assert_no_heap_operation(&format!("{size} bytes"), || pool.get_with_capacity(size).push(1));
    }
}

#[test]
fn freeze_is_exactly_one_allocation_and_its_end_exactly_one_free() {
    let pool = Arc::new(pool());
    for size in [64, 1000, 30_000, 100_000] {
        for _ in 0..WARM_UP {
            drop(pool.get_owned_with_capacity(size).freeze());
        }
        let mut buf = pool.get_owned_with_capacity(size);
        buf.extend_from_slice(b"some contents");
        let mut frozen = None;
        let operations = during(|| frozen = Some(buf.freeze()));
        assert_eq!((operations.allocations, operations.frees, operations.reallocations), (1, 0, 0));
        assert!(operations.allocated_bytes <= 128, "one small box, not a copy: {operations:?}");

        let frozen = frozen.expect("just made");
        let operations = during(|| drop((frozen.clone(), frozen.slice(2..5))));
        assert_eq!(operations, Operations::NONE, "clones and slices share the box");
        let operations = during(|| drop(frozen));
        assert_eq!((operations.allocations, operations.frees), (0, 1), "the box; the buffer came home");
    }
}

/// Both threads' heap operations while `messages` go from one to the other, after as many to warm up.
fn producer_to_consumer<T: Send>(
    messages: usize,
    produce: impl Fn() -> T + Sync,
    consume: impl Fn(T) + Sync,
) -> [Operations; 2] {
    let channel = Channel::new(32);
    let (produce, consume, channel) = (&produce, &consume, &channel);
    std::thread::scope(|scope| {
        let producer = scope.spawn(move || {
            (0..messages).for_each(|_| channel.send(produce()));
            during(|| (0..messages).for_each(|_| channel.send(produce())))
        });
        let consumer = scope.spawn(move || {
            (0..messages).for_each(|_| consume(channel.receive()));
            during(|| (0..messages).for_each(|_| consume(channel.receive())))
        });
        [producer.join().unwrap(), consumer.join().unwrap()]
    })
}

#[test]
fn from_producer_to_consumer_a_warm_use_touches_the_heap_0_times() {
    for size in [200, 4000, 30_000, 100_000] {
        let pool = pool();
        // How far the producer gets ahead is the scheduler's choice. Enough lies ready for the farthest (the channel,
        // both caches, a batch under way), so that the count does not depend on it.
        let ready = ((8 << 20) / size).clamp(64, 1024);
        assert_eq!(pool.prefill(size, ready), ready);
        // Judged afterwards: a panic in one thread would leave the other waiting for ever.
        let garbled = AtomicBool::new(false);
        let operations = producer_to_consumer(
            5000,
            || {
                let mut buf: PooledBuf<&Pool> = pool.get_with_capacity(size);
                buf.extend_from_slice(b"a message");
                buf
            },
            |buf| {
                garbled.fetch_or(buf != *b"a message", Relaxed);
            },
        );
        assert!(!garbled.load(Relaxed));
        assert_eq!(operations, [Operations::NONE; 2], "{size} bytes: producer, consumer; {}", pool.stats());
    }
}

/// One use after the other touched the heap 0 times, but a burst did when it ended: prefill had put its buffers into the
/// shared part in full batches, the burst's drops gave them back in batches of two, and these needed a longer queue, which a
/// drop allocated (2 allocations, 35 200 bytes). The same fault made the producer and consumer above allocate now and then,
/// for 30 000 bytes, with all 10 000 gets hits.
#[test]
fn a_burst_within_what_was_prefilled_touches_the_heap_0_times() {
    const SIZE: usize = 32 << 10;
    let pool = pool();
    assert_eq!(pool.prefill(SIZE, 300), 300);
    for _ in 0..USES {
        pool.get_with_capacity(SIZE).push(1);
    }
    let mut held = Vec::with_capacity(250);
    for burst in [8, 60, 250] {
        let operations = during(|| {
            held.extend((0..burst).map(|_| pool.get_with_capacity(SIZE)));
            held.clear();
        });
        assert_eq!(operations, Operations::NONE, "{burst} held at once; {}", pool.stats());
    }
}

/// A logger's lines wait in a queue for the thread that writes them. What the shared part needed for 20 000 buffers that
/// come back from another thread must be there after the first rounds: a structure of fixed length would free some of them
/// each time, and one that trim frees would be allocated again in a drop, so an interval passes in each round.
#[test]
fn a_queue_of_20_000_lines_filled_and_drained_again_and_again_touches_the_heap_0_times() {
    const LINES: usize = 20_000;
    const ROUNDS: usize = 12;
    // In these the consumer's cache fills, out of the producer's reach.
    const FIRST_ROUNDS: usize = 6;
    let pool = pool();
    let (queue, drained) = (Channel::new(LINES), Channel::new(1));
    let (pool, queue, drained) = (&pool, &queue, &drained);
    // Judged afterwards: a panic in one thread would leave the other waiting for ever.
    let [producer, consumer] = std::thread::scope(|scope| {
        let producer = scope.spawn(move || {
            [(); ROUNDS].map(|()| {
                during(|| {
                    for _ in 0..LINES {
                        let mut line = pool.get_with_capacity(200);
                        line.resize(200, b'x');
                        queue.send(line);
                    }
                    drained.receive();
                })
            })
        });
        let consumer = scope.spawn(move || {
            // Only a full queue is drained, so each round holds all lines at once.
            [(); ROUNDS].map(|()| {
                during(|| {
                    queue.wait_until_full();
                    (0..LINES).for_each(|_| drop(queue.receive()));
                    // What was used in this interval or the last one is not freed.
                    pool.trim();
                    drained.send(());
                })
            })
        });
        [producer.join().unwrap(), consumer.join().unwrap()]
    });
    let stats = pool.stats();
    for (who, rounds) in [("producer", producer), ("consumer", consumer)] {
        let later = &rounds[FIRST_ROUNDS..];
        assert!(later.iter().all(|round| *round == Operations::NONE), "{who}: {later:?}; {stats}");
    }
    assert_eq!((stats.dropped.total(), stats.trimmed), (0, 0), "{stats}");
}

#[test]
fn from_producer_to_consumer_a_frozen_buffer_costs_its_one_box() {
    let pool = Arc::new(pool());
    assert_eq!(pool.prefill(4000, 1024), 1024);
    let messages = 5000;
    let garbled = AtomicBool::new(false);
    let [producer, consumer] = producer_to_consumer(
        messages,
        || {
            let mut buf = pool.get_owned_with_capacity(4000);
            buf.extend_from_slice(b"a message");
            buf.freeze()
        },
        |message: Bytes| {
            garbled.fetch_or(message != b"a message"[..], Relaxed);
        },
    );
    assert!(!garbled.load(Relaxed));
    assert_eq!((producer.allocations, producer.frees), (messages as u64, 0));
    assert_eq!((consumer.allocations, consumer.frees), (0, messages as u64));
}

#[test]
fn a_pool_allocates_nothing_before_its_first_use() {
    let before = of_this_thread();
    let pool = pool();
    assert_eq!(of_this_thread().since(before), Operations::NONE);
    drop(pool);
    assert_eq!(of_this_thread().since(before), Operations::NONE);
}

#[test]
fn a_chunked_message_of_16_chunks_touches_the_heap_no_time_once_warm() {
    let pool = Pool::builder().trim_interval(NEVER).calibrate_calls_threshold(u64::MAX).build();
    // The first eleven double from 64 B, those after that double to 1 MiB.
    let message_of = |chunks: usize| {
        let mut message = pool.get_chunked();
        while message.chunks().len() < chunks {
            message.extend_from_slice(&[7; 64]);
        }
        let mut written = 0;
        message.chunks().for_each(|chunk| written += chunk.len());
        assert_eq!(written, message.len());
        message.write_to(&mut std::io::sink()).expect("a sink takes all");
    };
    for _ in 0..5 {
        message_of(16);
    }
    assert_eq!(during(|| (0..5).for_each(|_| message_of(16))), Operations::NONE);
    assert!(during(|| message_of(17)).allocations > 0, "the list of chunks has 16 places");
}

#[test]
fn texts_and_empty_guards_touch_the_heap_no_time_once_warm() {
    let pool = pool();
    assert_no_heap_operation("a text", || {
        let mut text = pool.get_string();
        std::fmt::Write::write_fmt(&mut text, format_args!("{}-{}", 1, "two")).expect("never fails");
        assert_eq!(text, "1-two");
    });
    let mut field = PooledBuf::empty(&pool);
    assert_no_heap_operation("an empty guard in a field", || {
        field.extend_from_slice(b"some bytes");
        drop(std::mem::replace(&mut field, PooledBuf::empty(&pool)));
    });
}
