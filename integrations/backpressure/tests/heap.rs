//! Memory in flight, by what the heap says: producers outrun a consumer, behind a queue without a bound.

use std::io::Write;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use bounded_pool::BoundedPool;
use bytebufferpool::Pool;
use bytes::Bytes;

#[path = "../../../tests/support/counting.rs"]
mod counting;

#[path = "support/limited.rs"]
mod limited;

use limited::limited;

#[global_allocator]
static HEAP: counting::Counting = counting::Counting;

/// The figures are those of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

const MESSAGE_BYTES: usize = 64 << 10;
const IN_FLIGHT_BYTES_MAX: usize = 10 * MESSAGE_BYTES;
const CACHED_BYTES_MAX: usize = 2 * MESSAGE_BYTES;
/// Threads, the queue, the pool's own structures, a count for each frozen buffer: less than one message.
const OTHER_BYTES_MAX: usize = MESSAGE_BYTES - 1;
const PRODUCERS: usize = 3;
const MESSAGES: usize = 60;

/// The highest that the heap was above where it began, in bytes, while three producers fill the queue. The consumer lags
/// until they have got `gets` messages, which is all that they get without it.
fn heap_bytes_peak(pool: &Arc<Pool>, gets: usize, get: impl Fn() -> Bytes + Clone + Send + 'static) -> usize {
    let (before, peak) = (counting::live_bytes(), Arc::new(AtomicI64::new(0)));
    let (sender, receiver) = mpsc::channel::<Bytes>();
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|_| {
            let (sender, get, peak) = (sender.clone(), get.clone(), Arc::clone(&peak));
            thread::spawn(move || {
                for _ in 0..MESSAGES {
                    let message = get();
                    peak.fetch_max(counting::live_bytes() - before, Ordering::Relaxed);
                    sender.send(message).expect("the consumer is there");
                }
            })
        })
        .collect();
    drop(sender);
    while pool.stats().gets < gets as u64 {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(50));
    assert_eq!(pool.stats().gets, gets as u64);
    let received = receiver.into_iter().filter(|message| message.len() == MESSAGE_BYTES).count();
    assert_eq!(received, PRODUCERS * MESSAGES);
    producers.into_iter().for_each(|producer| producer.join().expect("no panic"));
    assert_eq!(pool.stats().outstanding, 0);
    peak.load(Ordering::Relaxed) as usize
}

fn pool() -> Arc<Pool> {
    Arc::new(Pool::builder().retained_bytes_max(CACHED_BYTES_MAX).build())
}

#[test]
fn the_heap_stays_within_the_bound_where_the_pool_alone_does_not() {
    limited(|| {
        let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let allowed = IN_FLIGHT_BYTES_MAX + CACHED_BYTES_MAX + OTHER_BYTES_MAX;

        let inner = pool();
        let bounded = BoundedPool::new(Arc::clone(&inner), IN_FLIGHT_BYTES_MAX);
        let with_bound = heap_bytes_peak(&inner, IN_FLIGHT_BYTES_MAX / MESSAGE_BYTES, move || {
            let mut buf = bounded.get_blocking(MESSAGE_BYTES).expect("it fits");
            buf.write_all(&[7; MESSAGE_BYTES]).expect("it fits");
            buf.freeze()
        });

        let inner = pool();
        let without = heap_bytes_peak(&inner, PRODUCERS * MESSAGES, {
            let inner = Arc::clone(&inner);
            move || {
                let mut buf = inner.get_owned_with_capacity(MESSAGE_BYTES);
                buf.extend_from_slice(&[7; MESSAGE_BYTES]);
                buf.freeze()
            }
        });
        println!("the heap's peak: {with_bound} with a bound, {allowed} allowed, {without} without");
        assert!(with_bound <= allowed, "{with_bound} of {allowed}");
        assert!(with_bound > IN_FLIGHT_BYTES_MAX - MESSAGE_BYTES, "the bound is used: {with_bound}");
        assert!(without > 2 * allowed, "the witness sees what it should: {without}");
    });
}

#[test]
fn a_warm_get_touches_the_heap_0_times_and_freeze_once() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // No interval ends by itself: what trim frees must be allocated again.
    let inner = Arc::new(Pool::builder().trim_interval(Duration::from_secs(1 << 30)).build());
    let pool = BoundedPool::new(inner, IN_FLIGHT_BYTES_MAX);
    let message = || {
        let mut buf = pool.get_blocking(MESSAGE_BYTES).expect("it fits");
        buf.write_all(b"a message").expect("it fits");
        buf
    };
    (0..100).for_each(|_| drop(message()));
    assert_eq!(counting::during(|| (0..100).for_each(|_| drop(message()))), counting::Operations::NONE);
    assert_eq!(counting::during(|| (0..100).for_each(|_| drop(message().freeze()))).allocations, 100);
}
