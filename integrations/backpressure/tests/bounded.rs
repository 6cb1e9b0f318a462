//! What a bounded pool promises, step by step: who waits, who is next, and when bytes are released.

use std::future::Future;
use std::io::{ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use bounded_pool::{BoundedBuf, BoundedPool};
use bytebufferpool::{MAX_CLASS_SIZE, Pool};
use bytes::BufMut;

const KIB: usize = 1 << 10;

fn bounded(in_flight_bytes_max: usize) -> (Arc<Pool>, BoundedPool) {
    let pool = Arc::new(Pool::new());
    (Arc::clone(&pool), BoundedPool::new(pool, in_flight_bytes_max))
}

/// A get that must not wait.
#[track_caller]
fn get(pool: &BoundedPool, bytes_max: usize) -> BoundedBuf {
    match poll(pin!(pool.get(bytes_max))) {
        Poll::Ready(result) => result.expect("it fits"),
        Poll::Pending => panic!("{} bytes are in flight", pool.in_flight_bytes()),
    }
}

/// One step of a future that nobody wakes.
fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn is_ready<F: Future>(future: Pin<&mut F>) -> bool {
    poll(future).is_ready()
}

#[test]
fn a_get_waits_until_enough_bytes_are_released() {
    let (_, pool) = bounded(3 * KIB);
    let (one, two) = (get(&pool, KIB), get(&pool, KIB));
    let mut waiting = pin!(pool.get(2 * KIB));
    assert!(!is_ready(waiting.as_mut()), "one of two KiB is free");
    drop(one);
    assert!(is_ready(waiting.as_mut()), "both are free");
    drop(two);
    assert_eq!(pool.in_flight_bytes(), 0, "the future that is over holds nothing");
}

#[test]
fn a_blocked_thread_goes_on_when_another_thread_drops_its_guard() {
    let (_, pool) = bounded(KIB);
    let held = get(&pool, KIB);
    let (sender, receiver) = mpsc::channel();
    let waiter = thread::spawn({
        let pool = pool.clone();
        move || sender.send(pool.get_blocking(KIB).map(|buf| buf.len())).expect("the test waits for it")
    });
    assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err(), "it must wait");
    drop(held);
    let got = receiver.recv_timeout(Duration::from_secs(60)).expect("it goes on");
    assert_eq!(got.expect("it fits"), 0);
    waiter.join().expect("no panic");
}

#[test]
fn the_last_clone_or_slice_releases_the_bytes() {
    let (inner, pool) = bounded(4 * KIB);
    let mut buf = get(&pool, 3000);
    buf.write_all(b"status: ok").expect("there is room");
    let frozen = buf.freeze();
    let (clone, slice) = (frozen.clone(), frozen.slice(8..));
    drop(frozen);
    drop(clone);
    assert_eq!((pool.in_flight_bytes(), inner.stats().outstanding), (4 * KIB, 1));
    assert_eq!(slice, "ok");
    thread::spawn(move || drop(slice)).join().expect("no panic");
    assert_eq!((pool.in_flight_bytes(), inner.stats().outstanding), (0, 0));
}

/// An empty guard that is frozen is still a buffer in use.
#[test]
fn an_empty_frozen_guard_holds_its_bytes() {
    let (inner, pool) = bounded(KIB);
    let frozen = get(&pool, KIB).freeze();
    assert_eq!((pool.in_flight_bytes(), inner.stats().outstanding), (KIB, 1));
    drop(frozen);
    assert_eq!((pool.in_flight_bytes(), inner.stats().outstanding), (0, 0));
}

/// Otherwise there would be more buffers in use than bytes for them. What is seen in the waker is what the next get finds.
#[test]
fn a_buffer_is_returned_before_its_bytes_are_released() {
    struct Witness(Arc<Pool>, AtomicU64);
    impl Wake for Witness {
        fn wake(self: Arc<Self>) {
            self.1.store(self.0.stats().outstanding, Ordering::Relaxed);
        }
    }
    let (inner, pool) = bounded(KIB);
    for is_frozen in [false, true] {
        let held = get(&pool, KIB);
        let witness = Arc::new(Witness(Arc::clone(&inner), AtomicU64::new(u64::MAX)));
        let mut waiting = pin!(pool.get(KIB));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&Arc::clone(&witness).into())).is_pending());
        if is_frozen {
            drop(held.freeze())
        } else {
            drop(held)
        }
        assert_eq!(witness.1.load(Ordering::Relaxed), 0, "frozen: {is_frozen}");
    }
}

#[test]
fn a_large_message_is_not_overtaken_by_small_ones() {
    let (_, pool) = bounded(8 * KIB);
    let held = get(&pool, 4 * KIB);
    let (mut large, mut small) = (pin!(pool.get(8 * KIB)), pin!(pool.get(64)));
    assert!(!is_ready(large.as_mut()));
    assert!(!is_ready(small.as_mut()), "four KiB are free, and belong to the one before");
    drop(held);
    assert!(!is_ready(small.as_mut()));
    let Poll::Ready(Ok(granted)) = poll(large.as_mut()) else { panic!("all is free") };
    assert!(!is_ready(small.as_mut()));
    drop(granted);
    assert!(is_ready(small.as_mut()));
}

#[test]
fn a_cancelled_wait_takes_nothing_and_lets_the_next_one_pass() {
    let (inner, pool) = bounded(8 * KIB);
    drop(pool.get(8 * KIB));
    assert_eq!(pool.in_flight_bytes(), 0, "never polled");

    let held = get(&pool, 4 * KIB);
    let mut cancelled = Box::pin(pool.get(8 * KIB));
    let mut next = pin!(pool.get(KIB));
    assert!(!is_ready(cancelled.as_mut()) && !is_ready(next.as_mut()));
    assert_eq!(pool.in_flight_bytes(), 8 * KIB, "what is free is set aside for the first");
    drop(cancelled);
    assert!(is_ready(next.as_mut()));
    assert_eq!(pool.in_flight_bytes(), 4 * KIB);

    let mut granted = Box::pin(pool.get(8 * KIB));
    assert!(!is_ready(granted.as_mut()));
    drop(held);
    assert_eq!(pool.in_flight_bytes(), 8 * KIB, "granted, and not polled since");
    drop(granted);
    assert_eq!((pool.in_flight_bytes(), inner.stats().outstanding), (0, 0));
}

#[test]
fn a_write_past_the_maximum_is_an_error_and_keeps_the_contents() {
    let (_, pool) = bounded(8 * KIB);
    // Not the capacity of 8192 is the limit, but what was stated.
    let mut buf = get(&pool, 5000);
    let address = buf.as_ptr();
    buf.write_all(&[7; 4990]).expect("there is room");
    let error = buf.write_all(&[8; 11]).expect_err("one too many");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(error.to_string(), "11 bytes more, and 10 of 5000 are left");
    assert_eq!(*buf, [7; 4990]);
    let (fits, does_not) = (12345, 678901);
    assert!(write!(buf, "{fits}{does_not}").is_err());
    assert!(buf.ends_with(b"12345") && buf.len() == 4995, "the pieces of a write! that fitted stay");
    buf.truncate(4990);
    buf.write_all(&[9; 10]).expect("it fits exactly");
    assert!(buf.write_all(b"").is_ok() && buf.write_all(b"x").is_err());
    assert_eq!((buf.len(), buf.as_ptr()), (5000, address), "it never moved");
}

#[test]
fn the_view_as_buf_mut_ends_at_the_maximum() {
    let (inner, pool) = bounded(8 * KIB);
    let mut buf = get(&pool, 5000);
    buf.buf_mut().put_bytes(7, 4990);
    assert_eq!(buf.buf_mut().remaining_mut(), 10);
    let too_long: [fn(&mut dyn BufMut); 3] =
        [|view| view.put_slice(&[8; 11]), |view| view.put_bytes(8, 11), |view| view.put_u128(8)];
    for put in too_long {
        assert!(catch_unwind(AssertUnwindSafe(|| put(&mut buf.buf_mut()))).is_err());
        assert_eq!(*buf, [7; 4990]);
    }
    buf.buf_mut().put_slice(&[9; 10]);
    assert_eq!(buf.len(), 5000);
    let mut view = buf.buf_mut();
    assert_eq!((view.remaining_mut(), view.chunk_mut().len()), (0, 0));
    drop(view);
    drop(buf);
    assert_eq!((inner.stats().growths, pool.in_flight_bytes()), (0, 0));
}

#[test]
fn what_can_never_fit_is_refused_at_once_and_takes_nothing() {
    let (inner, pool) = bounded(6000);
    let held = get(&pool, 4096);
    for bytes_max in [4097, 8 * KIB, MAX_CLASS_SIZE + 1, u32::MAX as usize, usize::MAX] {
        let Poll::Ready(Err(error)) = poll(pin!(pool.get(bytes_max))) else { panic!("{bytes_max} does not fit") };
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), format!("a message of {bytes_max} bytes, and 6000 may be in flight"));
    }
    assert_eq!((pool.in_flight_bytes(), inner.stats().gets), (4096, 1));
    drop(held);
}

/// The pool looks up to two classes higher before it allocates. That must not put more in flight than was acquired.
#[test]
fn a_larger_cached_buffer_is_cut_to_what_was_acquired() {
    let (inner, pool) = bounded(8 * KIB);
    drop(inner.get_with_capacity(4096));
    drop(get(&pool, 1000));
    let stats = inner.stats();
    assert_eq!((stats.hits, stats.allocated, stats.retained_bytes), (1, 1, 1024), "{stats}");
}

#[test]
fn bytes_are_counted_by_capacity() {
    let (_, pool) = bounded(MAX_CLASS_SIZE + 1);
    for (bytes_max, capacity) in
        [(0, 64), (64, 64), (65, 128), (MAX_CLASS_SIZE, MAX_CLASS_SIZE), (MAX_CLASS_SIZE + 1, MAX_CLASS_SIZE + 1)]
    {
        let mut buf = get(&pool, bytes_max);
        assert_eq!((pool.in_flight_bytes(), buf.buf_mut().remaining_mut()), (capacity, bytes_max));
    }
}

#[test]
fn a_panic_releases_the_bytes_once() {
    let (inner, pool) = bounded(KIB);
    for _ in 0..3 {
        let in_thread = pool.clone();
        let panicked = thread::spawn(move || {
            let mut buf = get(&in_thread, KIB);
            buf.write_all(b"half a message").expect("there is room");
            panic!("the test's own panic");
        });
        assert!(panicked.join().is_err());
        assert_eq!((pool.in_flight_bytes(), inner.stats().outstanding), (0, 0));
    }
}
