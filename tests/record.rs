//! `Pool::record`: every use is written once, with its size, and the pool behaves as if nothing watched.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::Duration;

use bytebufferpool::{Pool, PooledBuf, Recorded};

/// A file in memory.
#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Tape {
    fn sizes(&self) -> Vec<usize> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).expect("text");
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(|line| line.parse().expect("a decimal number")).collect()
    }
}

fn of(recorded: Recorded) -> (u64, u64) {
    (recorded.written, recorded.lost)
}

#[test]
fn every_kind_of_use_is_written_in_order_with_its_peak() {
    let pool = Arc::new(Pool::new());
    // Warm: the hot path must notice that a recording began.
    (0..100).for_each(|_| pool.get().resize(50, 0));
    let tape = Tape::default();
    let recording = pool.record(tape.clone()).unwrap();
    for _ in 0..3 {
        pool.get().resize(1000, 0);
    }
    let mut cleared = pool.get();
    cleared.resize(700, 0);
    cleared.clear();
    drop(cleared);
    drop(pool.get());
    drop(pool.get_with_capacity(300));
    pool.get_with_capacity(300).resize(301, 0);
    pool.get_owned_with_capacity(100_000).discard();
    pool.put(vec![0; 77]);
    let mut detached = pool.get();
    detached.push(1);
    drop(detached.into_vec());
    let mut frozen = pool.get_owned();
    frozen.resize(5000, 0);
    drop(frozen.freeze());
    drop(pool.get_with_capacity((32 << 20) + 1));
    assert_eq!(of(recording.finish().unwrap()), (11, 0));
    let expected = [1000, 1000, 1000, 700, 300, 301, 100_000, 77, 1, 5000, (32 << 20) + 1];
    assert_eq!(tape.sizes(), expected);
    pool.get().resize(9, 0);
    assert_eq!(tape.sizes().len(), 11, "the recording is over");
}

#[test]
fn a_recorded_pool_does_what_another_does() {
    let figures = |recorded: bool| {
        // A trim interval that ends in one of the two would show in the books.
        let pool = Pool::builder().calibrate_calls_threshold(500).trim_interval(Duration::from_secs(1 << 20)).build();
        (0..300).for_each(|_| pool.get().resize(50, 0));
        let recording = recorded.then(|| pool.record(io::sink()).unwrap());
        let mut figures = Vec::new();
        for n in 0..5000_usize {
            pool.get().resize(n * 7919 % 3000, 0);
            if n % 3 == 0 {
                drop(pool.get_with_capacity(n));
            }
            figures.push((pool.stats().calibrations, pool.default_size(), pool.max_size()));
        }
        if let Some(recording) = recording {
            // The one plain use of no bytes in 3000, and the one capacity of 0, say nothing.
            assert_eq!(recording.finish().unwrap().written, 5000 + 1667 - 2 - 1);
        }
        (0..2000).for_each(|_| pool.get().resize(50, 0));
        (figures, pool.stats())
    };
    assert_eq!(figures(true), figures(false));
}

/// Threads that were warm before, threads that start, threads that end with a buffer in a thread-local.
#[test]
fn the_uses_of_all_threads_are_written_each_once() {
    struct Late(Option<PooledBuf<Arc<Pool>>>, Arc<Pool>, usize);
    impl Drop for Late {
        fn drop(&mut self) {
            drop(self.1.get_owned_with_capacity(self.2));
            drop(self.0.take());
        }
    }
    thread_local!(static LATE: RefCell<Option<Late>> = const { RefCell::new(None) });
    const THREADS: usize = 4;
    const USES: usize = 10_000;
    let pool = Arc::new(Pool::builder().calibrate_calls_threshold(1000).build());
    let (warm, begun) = (Arc::new(Barrier::new(THREADS + 1)), Arc::new(Barrier::new(THREADS + 1)));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (pool, warm, begun) = (Arc::clone(&pool), Arc::clone(&warm), Arc::clone(&begun));
            std::thread::spawn(move || {
                if thread % 2 == 0 {
                    // The pool's thread-local is registered later than this one, and destroyed before.
                    LATE.set(None);
                    (0..1000).for_each(|_| pool.get().resize(50, 0));
                }
                warm.wait();
                begun.wait();
                for n in 0..USES {
                    pool.get().resize(100 * (thread + 1) + n % 10, 0);
                }
                let mut buf = pool.get_owned();
                buf.resize(2000 + thread, 0);
                LATE.set(Some(Late(Some(buf), pool, 3000 + thread)));
            })
        })
        .collect();
    warm.wait();
    let tape = Tape::default();
    let recording = pool.record(tape.clone()).unwrap();
    begun.wait();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    assert_eq!(of(recording.finish().unwrap()), ((THREADS * (USES + 2)) as u64, 0));
    let mut expected = Vec::new();
    for thread in 0..THREADS {
        expected.extend((0..USES).map(|n| 100 * (thread + 1) + n % 10));
        expected.extend([2000 + thread, 3000 + thread]);
    }
    let mut sizes = tape.sizes();
    sizes.sort_unstable();
    expected.sort_unstable();
    assert_eq!(sizes, expected);
}

#[test]
fn a_writer_that_stands_still_costs_uses_and_no_time() {
    struct Gate(Arc<(Mutex<bool>, Condvar)>, Tape);
    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (open, opened) = &*self.0;
            drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let pool = Pool::new();
    let (gate, tape) = (Arc::new((Mutex::new(false), Condvar::new())), Tape::default());
    let recording = pool.record(Gate(Arc::clone(&gate), tape.clone())).unwrap();
    const USES: u64 = 500_000;
    (0..USES).for_each(|_| pool.get().push(1));
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    let recorded = recording.finish().unwrap();
    assert!(recorded.lost > 0 && recorded.written > 0, "{recorded:?}");
    assert_eq!(recorded.written + recorded.lost, USES);
    assert_eq!(tape.sizes().len() as u64, recorded.written);
}

#[test]
fn a_writers_error_and_panic_are_reported_and_the_pool_works_on() {
    struct Fails(bool);
    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            assert!(!self.0, "on purpose");
            Err(io::Error::other("no space left"))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let pool = Pool::new();
    for panics in [false, true] {
        let recording = pool.record(Fails(panics)).unwrap();
        (0..100_000).for_each(|_| pool.get().push(1));
        let message = recording.finish().unwrap_err().to_string();
        assert_eq!(message, if panics { "the writer of a recording panicked" } else { "no space left" });
    }
    let tape = Tape::default();
    let recording = pool.record(tape.clone()).unwrap();
    pool.get().push(1);
    drop(recording);
    assert_eq!(tape.sizes(), [1]);
}

#[test]
fn one_recording_at_a_time() {
    let (a, b) = (Pool::new(), Pool::new());
    let recording = a.record(io::sink()).unwrap();
    assert_eq!(format!("{recording:?}"), "Recording { .. }");
    assert_eq!(a.record(io::sink()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    let other = b.record(io::sink()).unwrap();
    a.get().push(1);
    assert_eq!(of(recording.finish().unwrap()), (1, 0));
    assert_eq!(of(a.record(io::sink()).unwrap().finish().unwrap()), (0, 0));
    drop(a);
    drop(b);
    assert_eq!(of(other.finish().unwrap()), (0, 0), "the pool may go first");
}
