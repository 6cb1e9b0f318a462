//! No operation waits for a lock that is held while buffers are freed.
//!
//! A calibration that lowered the max size freed what was above it under the pool's lock, and other threads waited for that
//! lock inside their drops; a free of many MiB goes to the system and takes milliseconds. Here the allocator stops one thread
//! at the first buffer that it frees in an operation, for as long as another thread needs to go through every operation. If
//! that other thread waits for the first, neither goes on, until the first has lost patience; that is the failure. No time is
//! measured but that.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytebufferpool::{Pool, Registry};

#[global_allocator]
static HEAP: Stops = Stops;

struct Stops;

/// For one test at a time.
static TURN: Mutex<()> = Mutex::new(());
static STATE: AtomicU8 = AtomicU8::new(IDLE);

const IDLE: u8 = 0;
/// A thread is within a free.
const STOPPED: u8 = 1;
/// The other one has been through all it had to do.
const GO_ON: u8 = 2;
/// It has not, and what it waits for may be the stopped thread.
const IMPATIENT: u8 = 3;

const PATIENCE: Duration = Duration::from_secs(10);

thread_local! {
    // Constant and without a destructor: usable inside an allocator and on a dying thread.
    static STOPS_AT_A_FREE: Cell<bool> = const { Cell::new(false) };
}

fn is_buffer(layout: Layout) -> bool {
    layout.align() == 1 && layout.size() >= 64
}

// SAFETY: every call is passed on to `System`, which keeps `GlobalAlloc`'s promises; nothing here unwinds.
unsafe impl GlobalAlloc for Stops {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_buffer(layout) && STOPS_AT_A_FREE.replace(false) {
            STATE.store(STOPPED, SeqCst);
            let start = Instant::now();
            while STATE.load(SeqCst) == STOPPED {
                if start.elapsed() > PATIENCE {
                    let _ = STATE.compare_exchange(STOPPED, IMPATIENT, SeqCst, SeqCst);
                }
                thread::sleep(Duration::from_micros(100));
            }
        }
        // SAFETY: the caller's promise, passed on; `block` came from `System`, as everything does here.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Runs `operation` on a thread that stops at its first free of a buffer, and meanwhile `others` on this one.
#[track_caller]
fn assert_nobody_waits(what: &str, operation: impl FnOnce() + Send, others: &[(&str, &dyn Fn())]) {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    STATE.store(IDLE, SeqCst);
    let mut waited = None;
    let mut stopped = true;
    thread::scope(|scope| {
        let slow = scope.spawn(|| {
            STOPS_AT_A_FREE.set(true);
            operation();
            STOPS_AT_A_FREE.set(false);
        });
        while STATE.load(SeqCst) == IDLE && stopped {
            stopped = !slow.is_finished();
            thread::yield_now();
        }
        for (name, other) in others {
            if STATE.load(SeqCst) == STOPPED {
                other();
                if STATE.load(SeqCst) == IMPATIENT {
                    waited.get_or_insert(*name);
                }
            }
        }
        STATE.store(GO_ON, SeqCst);
        slow.join().expect("no panic");
    });
    assert!(stopped, "{what} freed no buffer");
    assert_eq!(waited, None, "{what} frees a buffer, and another thread waits for it");
}

/// Calibrates with every second use, so that `others` come to the pool's lock inside their drops. Intervals pass by the
/// test's own trims alone, or an instrument that slows it down would leave nothing to free.
fn pool() -> Arc<Pool> {
    Arc::new(Pool::builder().calibrate_calls_threshold(1).max_percentile(1.0).trim_interval(Duration::MAX).build())
}

/// Some of each class; nothing of it is written, so that nothing is learned.
fn fill(pool: &Pool) {
    for size in [64, 1 << 10, 32 << 10, 64 << 10, 1 << 20] {
        pool.prefill(size, 20);
    }
}

/// All that other threads do with the pool meanwhile.
fn assert_nobody_waits_on(pool: &Arc<Pool>, what: &str, operation: impl FnOnce() + Send) {
    let use_pool = || {
        for size in [64, 1000, 30_000, 100_000] {
            let mut buf = pool.get_with_capacity(size);
            buf.extend_from_slice(b"used");
        }
        pool.get().extend_from_slice(&[7; 500]);
    };
    assert_nobody_waits(
        what,
        operation,
        &[
            ("a get and a drop", &use_pool),
            ("a drop that calibrates", &|| (0..10).for_each(|_| use_pool())),
            ("drops that overflow the cache", &|| {
                drop((0..200).map(|_| pool.get_with_capacity(1000)).collect::<Vec<_>>());
            }),
            ("large drops", &|| drop((0..30).map(|_| pool.get_with_capacity(100_000)).collect::<Vec<_>>())),
            ("put", &|| pool.put(Vec::with_capacity(1 << 10))),
            ("stats", &|| drop(pool.stats())),
            ("flush_thread", &|| pool.flush_thread()),
            ("prefill", &|| {
                pool.prefill(1000, 20);
            }),
            ("trim", &|| {
                pool.trim();
            }),
            ("calibrate", &|| pool.calibrate()),
            ("purge", &|| {
                pool.purge();
            }),
            ("a thread's start and end", &|| {
                thread::scope(|scope| scope.spawn(use_pool).join().expect("no panic"));
            }),
            ("another pool's first use and drop", &|| drop(Pool::new().get())),
        ],
    );
}

#[test]
fn nobody_waits_while_a_trim_frees() {
    let pool = pool();
    fill(&pool);
    pool.trim();
    assert_nobody_waits_on(&pool, "trim", || {
        pool.trim();
        pool.trim();
    });
}

#[test]
fn nobody_waits_while_a_purge_frees() {
    let pool = pool();
    fill(&pool);
    assert_nobody_waits_on(&pool, "purge", || {
        pool.purge();
    });
}

#[test]
fn nobody_waits_while_a_calibration_within_a_drop_frees_what_is_above_the_new_max_size() {
    let pool = pool();
    fill(&pool);
    assert_nobody_waits_on(&pool, "a drop that calibrates", || {
        (0..3).for_each(|_| pool.get_with_capacity(64).extend_from_slice(b"small"));
    });
}

#[test]
fn nobody_waits_while_calibrate_frees_what_is_above_the_new_max_size() {
    let pool = Arc::new(Pool::builder().calibrate_calls_threshold(1 << 60).build());
    fill(&pool);
    assert_nobody_waits_on(&pool, "calibrate", || {
        pool.get().extend_from_slice(b"small");
        pool.calibrate();
    });
}

#[test]
fn nobody_waits_while_a_discard_frees() {
    let pool = pool();
    fill(&pool);
    assert_nobody_waits_on(&pool, "a discard", || pool.get_with_capacity(1000).discard());
}

/// The lock of all pools: that a pool is dropped keeps no thread of another pool from starting and ending.
#[test]
fn nobody_waits_while_a_pool_that_is_dropped_frees() {
    let other = pool();
    fill(&other);
    let dropped = Pool::new();
    fill(&dropped);
    for size in [64, 1000, 100_000] {
        drop(dropped.get_with_capacity(size));
    }
    assert_nobody_waits_on(&other, "the drop of another pool", move || drop(dropped));
}

#[test]
fn nobody_waits_while_a_registry_is_purged_and_trimmed() {
    for purge in [true, false] {
        let registry = Registry::with_budget(64 << 20);
        let [first, second] =
            ["first", "second"].map(|name| registry.get_or_create(name, Pool::builder()).expect("a new pool"));
        fill(&first);
        fill(&second);
        let others = |name: &str| drop(registry.get(name).map(|pool| pool.get().extend_from_slice(b"used")));
        assert_nobody_waits(
            "a registry",
            || {
                if purge {
                    registry.purge();
                } else {
                    registry.trim();
                    registry.trim();
                }
            },
            &[
                ("get", &|| others("first")),
                ("get of the other pool", &|| others("second")),
                ("get_or_create", &|| drop(registry.get_or_create("third", Pool::builder()))),
                ("all_stats", &|| drop(registry.all_stats())),
                ("remove", &|| drop(registry.remove("third"))),
            ],
        );
    }
}
