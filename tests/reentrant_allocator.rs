//! A global allocator may itself use a pool, as one that records allocations into log lines does.
//!
//! It deadlocked when a thread ended: the thread's hand-back allocated a queue of the depot under the lock of all pools, and
//! the allocator's own use of a pool wanted that lock. Nothing may be allocated, freed or called under it. The allocator
//! here uses a pool at each allocation and each free of the process, with its own guard against recursion, while threads
//! start, use other pools and end, and pools are dropped. It all runs in a child process, which is killed if it hangs.
#![allow(unsafe_code)]
// Its table is on the heap, under a lock of its own.
#![cfg(not(feature = "leak-trace"))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use bytebufferpool::{Pool, Registry};

#[global_allocator]
static HEAP: UsesAPool = UsesAPool;

struct UsesAPool;

/// Its interval is short, so that it is trimmed within the allocator too.
static POOL: Pool = Pool::builder().trim_interval(Duration::from_millis(1)).calibrate_calls_threshold(500).build();

/// Off until the child's part begins: the test harness's own threads are not what is tested.
static ARMED: AtomicBool = AtomicBool::new(false);
static USES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // Constant and without a destructor: usable at any time of a thread's life, and it allocates nothing.
    static WITHIN: Cell<bool> = const { Cell::new(false) };
}

/// A use of the pool, unless it is the pool that allocates within one.
fn use_pool() {
    if !ARMED.load(Relaxed) || WITHIN.replace(true) {
        return;
    }
    let nth = USES.fetch_add(1, Relaxed);
    // Small ones as a rule; each eighth is large, each 64th grows.
    let mut buf = POOL.get_with_capacity(if nth % 8 == 7 { 100_000 } else { 64 << (nth % 4) });
    buf.extend_from_slice(b"a line about this allocation");
    if nth % 64 == 63 {
        buf.resize(5000, 0);
    }
    drop(buf);
    WITHIN.set(false);
}

// SAFETY: every call is passed on to `System`, which keeps `GlobalAlloc`'s promises. The pool that is used beside does not
// unwind, and the allocations that it makes come back here and go to `System` alone.
unsafe impl GlobalAlloc for UsesAPool {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        use_pool();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        use_pool();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        use_pool();
        // SAFETY: the caller's promise, passed on; `block` came from `System`, as everything does here.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        use_pool();
        // SAFETY: the caller's promise, passed on; `block` came from `System`, as everything does here.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Enough of each class that a thread's end has batches to hand back.
fn use_up(pool: &Pool) {
    let held: Vec<_> = (0..200).map(|nth| pool.get_with_capacity(64 << (nth % 12))).collect();
    drop(held);
}

/// Threads of which each uses pools and ends; none is alive at the end.
fn on_threads(count: usize, work: impl Fn() + Sync) {
    let all_began = Barrier::new(count);
    thread::scope(|scope| {
        let one = || {
            all_began.wait();
            work();
        };
        let running: Vec<_> = (0..count).map(|_| scope.spawn(one)).collect();
        running.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
}

const STEPS: [(&str, fn()); 10] = [
    ("the allocator's own pool is recorded", || {
        let recording = POOL.record(std::io::sink()).expect("a thread");
        (0..10).for_each(|_| use_up(&POOL));
        drop(recording);
        on_threads(2, || use_up(&Pool::new()));
    }),
    ("a thread uses a pool and ends", || {
        let pool = Pool::new();
        for _ in 0..20 {
            on_threads(1, || use_up(&pool));
        }
    }),
    ("threads use a pool and end together", || {
        let pool = Pool::new();
        for _ in 0..20 {
            on_threads(4, || use_up(&pool));
        }
    }),
    ("threads use pools that are dropped while they live", || {
        on_threads(4, || {
            for _ in 0..20 {
                use_up(&Pool::new());
            }
        });
    }),
    ("a pool is dropped after its threads, and by one of them", || {
        for _ in 0..20 {
            let pool = Arc::new(Pool::new());
            on_threads(4, || use_up(&Arc::clone(&pool)));
            let last = thread::spawn(move || use_up(&pool));
            last.join().expect("no panic");
        }
    }),
    // Its recursion guard does not know of these uses, so it comes back into an operation that is under way.
    ("the allocator's own pool is used by this thread too", || {
        for _ in 0..20 {
            use_up(&POOL);
            POOL.trim();
            POOL.purge();
        }
    }),
    ("a use of the allocator's own pool frees what is above the max size that it learns", || {
        assert_eq!(POOL.prefill(1 << 20, 4), 4);
        (0..600).for_each(|_| drop(POOL.get_with_capacity(64)));
        assert!(POOL.max_size() < 1 << 20);
        on_threads(2, || use_up(&Pool::new()));
    }),
    ("the allocator's own pool is used by threads that end", || {
        for _ in 0..20 {
            on_threads(4, || use_up(&POOL));
            POOL.purge();
        }
    }),
    ("many pools are used by a thread that ends", || {
        let pools: Vec<_> = (0..200).map(|_| Pool::new()).collect();
        on_threads(2, || pools.iter().for_each(|pool| drop(pool.get())));
        drop(pools);
    }),
    ("a registry's pools are trimmed, purged, calibrated and flushed while threads end", || {
        let registry = Registry::with_budget(1 << 20);
        let pools = ["a", "b"].map(|name| registry.get_or_create(name, Pool::builder()).expect("a new pool"));
        for _ in 0..20 {
            on_threads(4, || {
                for pool in &pools {
                    use_up(pool);
                    pool.trim();
                    pool.calibrate();
                    pool.flush_thread();
                    drop(pool.get());
                    pool.purge();
                }
                drop(registry.all_stats());
            });
        }
    }),
];

/// The step for a child of this test, by its place in `STEPS`.
const STEP_VARIABLE: &str = "BYTEBUFFERPOOL_TEST_STEP";
/// A step takes a tenth of a second; an emulator or an instrument takes more.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether the step of this index ends by itself, and well.
fn ends_well(step: usize) -> Result<(), String> {
    let this_test = std::env::current_exe().expect("a test knows its own path");
    let mut child = Command::new(this_test)
        .args(["a_global_allocator_may_use_a_pool", "--exact", "--nocapture"])
        .env(STEP_VARIABLE, step.to_string())
        .stdout(Stdio::null())
        .spawn()
        .expect("a child");
    let start = Instant::now();
    loop {
        match child.try_wait().expect("our own child") {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(status.to_string()),
            None if start.elapsed() > PATIENCE => {
                child.kill().expect("our own child");
                child.wait().expect("it was killed");
                return Err(format!("hangs, killed after {PATIENCE:?}"));
            }
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
}

// One test, so that the child runs nothing beside its step.
#[test]
fn a_global_allocator_may_use_a_pool() {
    if let Ok(step) = std::env::var(STEP_VARIABLE) {
        let step: usize = step.parse().expect("set by the parent");
        ARMED.store(true, Relaxed);
        STEPS[step].1();
        ARMED.store(false, Relaxed);
        assert!(USES.load(Relaxed) > 100, "the allocator used its pool");
        let stats = POOL.stats();
        assert_eq!(stats.gets, stats.puts, "{stats}");
        return;
    }
    thread::scope(|scope| {
        // All at the same time: a hang is waited for once.
        let running: Vec<_> = (0..STEPS.len()).map(|step| scope.spawn(move || ends_well(step))).collect();
        let results = running.into_iter().map(|thread| thread.join().expect("no panic"));
        let failed: Vec<_> = STEPS
            .iter()
            .zip(results)
            .filter_map(|((name, _), result)| result.err().map(|error| format!("{name}: {error}")))
            .collect();
        assert!(failed.is_empty(), "{failed:#?}");
    });
}
