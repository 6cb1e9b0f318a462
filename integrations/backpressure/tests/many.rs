//! Many threads and tasks on one bounded pool, with a witness of its own beside the semaphore.

use std::collections::VecDeque;
use std::future::pending;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bounded_pool::{BoundedBuf, BoundedPool};
use bytebufferpool::Pool;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

#[path = "support/limited.rs"]
mod limited;

use limited::limited;

const IN_FLIGHT_BYTES_MAX: usize = 64 << 10;

/// Counts the bytes that are in use, from after a get to before the end of its buffer.
#[derive(Clone, Default)]
struct Witness(Arc<Counts>);

#[derive(Default)]
struct Counts {
    bytes: AtomicUsize,
    peak: AtomicUsize,
}

impl Witness {
    fn watch(&self, buf: BoundedBuf, capacity: usize) -> Watched {
        let now = self.0.bytes.fetch_add(capacity, Ordering::SeqCst) + capacity;
        self.0.peak.fetch_max(now, Ordering::SeqCst);
        Watched { buf, capacity, witness: self.clone() }
    }

    #[track_caller]
    fn assert_was_within(&self, bytes_max: usize) {
        let peak = self.0.peak.load(Ordering::SeqCst);
        assert!(peak <= bytes_max, "{peak} bytes were in use, {bytes_max} are allowed");
        assert!(peak > bytes_max / 2, "{peak} bytes: the bound never mattered");
        assert_eq!(self.0.bytes.load(Ordering::SeqCst), 0);
    }
}

struct Watched {
    buf: BoundedBuf,
    capacity: usize,
    witness: Witness,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.witness.0.bytes.fetch_sub(self.capacity, Ordering::SeqCst);
    }
}

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.buf
    }
}

/// The message of a number: up to 8 KiB, in buffers of six classes.
fn len_of(number: usize) -> usize {
    number * 2654435761 % 8192
}

fn capacity_of(len: usize) -> usize {
    len.max(64).next_power_of_two()
}

fn write(mut buf: BoundedBuf, number: usize) -> BoundedBuf {
    buf.write_all(&vec![number as u8; len_of(number)]).expect("it fits");
    buf
}

fn check(message: &[u8], number: usize) {
    assert!(message.len() == len_of(number) && message.iter().all(|&byte| byte == number as u8));
}

#[track_caller]
fn assert_at_rest(inner: &Pool, pool: &BoundedPool) {
    let stats = inner.stats();
    assert_eq!((pool.in_flight_bytes(), stats.outstanding), (0, 0), "{stats}");
    assert_eq!(stats.gets, stats.puts, "{stats}");
}

/// Six producers, one of whose messages in 16 ends in a panic; two slow consumers on other threads.
#[test]
fn threads_never_have_more_in_use_than_the_bound() {
    limited(|| {
        let (inner, witness) = (Arc::new(Pool::new()), Witness::default());
        let pool = BoundedPool::new(Arc::clone(&inner), IN_FLIGHT_BYTES_MAX);
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..2).map(|_| mpsc::channel::<(usize, Bytes)>()).unzip();
        let mut threads: Vec<_> = (0..6)
            .map(|producer| {
                let (pool, witness, senders) = (pool.clone(), witness.clone(), senders.clone());
                thread::spawn(move || {
                    for number in (0..500).map(|turn| producer + 6 * turn) {
                        let len = len_of(number);
                        let buf = pool.get_blocking(len).expect("it fits");
                        let watched = witness.watch(write(buf, number), capacity_of(len));
                        if number % 16 == 0 {
                            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                                let _dropped = watched;
                                std::panic::resume_unwind(Box::new("quietly"));
                            }));
                            assert!(panicked.is_err());
                            continue;
                        }
                        let message = Bytes::from_owner(watched);
                        for sender in &senders {
                            sender.send((number, message.clone())).expect("the consumer is there");
                        }
                    }
                })
            })
            .collect();
        drop(senders);
        for receiver in receivers {
            threads.push(thread::spawn(move || {
                for (number, message) in receiver {
                    check(&message, number);
                    if number % 64 == 1 {
                        thread::sleep(Duration::from_micros(500));
                    }
                }
            }));
        }
        while !threads.iter().all(|thread| thread.is_finished()) {
            assert!(pool.in_flight_bytes() <= IN_FLIGHT_BYTES_MAX);
            thread::yield_now();
        }
        threads.into_iter().for_each(|thread| thread.join().expect("its assertions hold"));
        witness.assert_was_within(IN_FLIGHT_BYTES_MAX);
        assert_at_rest(&inner, &pool);
    });
}

/// Messages of one size, so that the pool's own figure says how many bytes are in use. It is exact while nothing moves: the
/// consumer has what there is, and every producer waits.
#[test]
fn producers_wait_for_a_consumer_that_holds_what_it_got() {
    limited(|| {
        const SIZE: usize = 4096;
        let inner = Arc::new(Pool::new());
        let pool = BoundedPool::new(Arc::clone(&inner), 5 * SIZE);
        let (sender, receiver) = mpsc::channel();
        let producers: Vec<_> = (0..8)
            .map(|_| {
                let (pool, sender) = (pool.clone(), sender.clone());
                thread::spawn(move || {
                    for _ in 0..10 {
                        let message = pool.get_blocking(SIZE).expect("it fits").freeze();
                        sender.send(message).expect("the consumer is there");
                    }
                })
            })
            .collect();
        drop(sender);
        let mut held: VecDeque<Bytes> = receiver.iter().take(5).collect();
        for _ in 5..80 {
            assert!(receiver.recv_timeout(Duration::from_millis(2)).is_err(), "a sixth is in flight");
            assert_eq!((inner.stats().outstanding, pool.in_flight_bytes()), (5, 5 * SIZE));
            drop(held.pop_front());
            held.push_back(receiver.recv().expect("one of the waiting goes on"));
        }
        producers.into_iter().for_each(|producer| producer.join().expect("no panic"));
        drop(held);
        assert_at_rest(&inner, &pool);
    });
}

/// Half of the tasks are dropped while they wait or hold, by a timeout or an abort.
#[test]
fn cancelled_tasks_leak_nothing() {
    limited(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_time().build().unwrap();
        let (inner, witness) = (Arc::new(Pool::new()), Witness::default());
        let pool = BoundedPool::new(Arc::clone(&inner), IN_FLIGHT_BYTES_MAX);
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for number in 0..2000 {
                let (pool, witness) = (pool.clone(), witness.clone());
                let task = tasks.spawn(async move {
                    let use_of_one = async {
                        let len = len_of(number);
                        let buf = pool.get(len).await.expect("it fits");
                        let message = Bytes::from_owner(witness.watch(write(buf, number), capacity_of(len)));
                        yield_now().await;
                        check(&message, number);
                        if number % 4 == 1 {
                            pending::<()>().await;
                        }
                    };
                    if number % 4 == 1 {
                        assert!(timeout(Duration::from_millis(number as u64 % 7), use_of_one).await.is_err());
                    } else {
                        use_of_one.await;
                    }
                });
                if number % 4 == 3 {
                    task.abort();
                }
            }
            let mut cancelled = 0;
            while let Some(result) = tasks.join_next().await {
                match result {
                    Ok(()) => {}
                    Err(error) if error.is_cancelled() => cancelled += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(cancelled > 0, "an abort came before the end of its task");
        });
        drop(runtime);
        witness.assert_was_within(IN_FLIGHT_BYTES_MAX);
        assert_at_rest(&inner, &pool);
    });
}

/// A reader that is ahead of the one who handles its messages waits for bytes, and not for a queue's place.
#[tokio::test]
async fn read_buf_stops_at_the_maximum() {
    let pool = BoundedPool::new(Arc::new(Pool::new()), 8192);
    let (mut near, mut far) = duplex(100);
    let writer = tokio::spawn(async move { near.write_all(&[7; 6000]).await });
    let mut first = pool.get(5000).await.unwrap();
    while far.read_buf(&mut first.buf_mut()).await.unwrap() > 0 {}
    assert_eq!(*first, [7; 5000]);
    let waiting = pool.get(5000);
    assert!(timeout(Duration::from_millis(20), waiting).await.is_err());
    drop(first);
    let mut second = pool.get(5000).await.unwrap();
    while far.read_buf(&mut second.buf_mut()).await.unwrap() > 0 {}
    assert_eq!(*second, [7; 1000]);
    writer.await.unwrap().unwrap();
}
