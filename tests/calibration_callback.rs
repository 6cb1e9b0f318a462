//! `Builder::on_calibration`: what it is told, and that it may do as it likes.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use bytebufferpool::{Builder, Calibration, Pool, PooledBuf};

#[path = "support/identities.rs"]
mod identities;

use identities::assert_balanced;

type Callback = dyn Fn(&Pool, &Calibration) + Send + Sync;

fn with(callback: impl Fn(&Pool, &Calibration) + Send + Sync + 'static) -> Builder {
    // Where a leak check finds them.
    static LEAKED: Mutex<Vec<&Callback>> = Mutex::new(Vec::new());
    let callback: &'static Callback = Box::leak(Box::new(callback));
    LEAKED.lock().expect("no panic").push(callback);
    Pool::builder().calibrate_calls_threshold(3).on_calibration(callback)
}

/// A callback that notes what it is told.
fn noting() -> (Builder, Arc<Mutex<Vec<Calibration>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&told);
    (with(move |_, calibration| noted.lock().expect("no panic").push(*calibration)), told)
}

fn uses(pool: &Pool, count: usize, len: usize) {
    for _ in 0..count {
        pool.get().resize(len, 0);
    }
}

#[test]
fn each_calibration_is_told_once_with_sizes_before_and_after() {
    let (builder, told) = noting();
    let pool = builder.build();
    uses(&pool, 3, 1000);
    assert!(told.lock().unwrap().is_empty());
    uses(&pool, 1, 1000);
    uses(&pool, 1, 100);
    pool.calibrate();
    // Nothing was counted: no calibration.
    pool.calibrate();
    let told = told.lock().unwrap();
    let figures: Vec<_> =
        told.iter().map(|c| (c.number, c.default_size_before, c.default_size, c.max_size_before, c.max_size)).collect();
    assert_eq!(figures, [(1, 64, 1024, 32 << 20, 1024), (2, 1024, 128, 1024, 128)]);
    assert_eq!(pool.stats().calibrations, 2);
}

/// The pool's every operation, with the first threshold past which a callback that is called by its own uses would call
/// itself for ever.
#[test]
fn it_may_use_the_pool() {
    static CALLED: AtomicU64 = AtomicU64::new(0);
    let pool = with(|pool, calibration| {
        CALLED.fetch_add(1, Relaxed);
        assert_eq!(pool.default_size(), calibration.default_size);
        uses(pool, 20, 5000);
        pool.put(vec![0; 777]);
        pool.get().discard();
        drop(pool.get().into_vec());
        pool.prefill(100, 3);
        pool.calibrate();
        pool.trim();
        pool.flush_thread();
        pool.purge();
    })
    .calibrate_calls_threshold(1)
    .build();
    for _ in 0..100 {
        uses(&pool, 1, 10);
        pool.put(vec![0; 10]);
        pool.get_with_capacity(100_000).discard();
    }
    assert!(CALLED.load(Relaxed) >= 100);
    let stats = pool.stats();
    assert_eq!(stats.outstanding, 0);
    assert_balanced(&stats, "at rest");
}

#[test]
fn its_panic_is_caught() {
    struct PanicsAgain;
    impl Drop for PanicsAgain {
        fn drop(&mut self) {
            // On purpose; with a payload that takes no memory, as nobody frees it.
            panic_any(());
        }
    }
    static CALLED: AtomicU64 = AtomicU64::new(0);
    let pool = with(|_, _| {
        CALLED.fetch_add(1, Relaxed);
        panic_any(PanicsAgain);
    })
    .calibrate_calls_threshold(1)
    .build();
    uses(&pool, 4, 10);
    assert_eq!(CALLED.load(Relaxed), 2);
    // While unwinding, where a panic that is not caught aborts.
    for _ in 0..2 {
        let mut buf = pool.get();
        buf.push(1);
        let panic = catch_unwind(AssertUnwindSafe(move || {
            let _buf = buf;
            panic!("on purpose");
        }));
        assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
    }
    assert_eq!(CALLED.load(Relaxed), 3);
    let stats = pool.stats();
    assert_eq!((stats.outstanding, stats.gets, stats.retained_buffers), (0, 6, 1));
}

#[test]
fn no_lock_is_held() {
    // Another thread does all that takes a lock, and the callback waits for it. That thread's own calibration is
    // announced there, so only the first one does it.
    static CALLED: AtomicU64 = AtomicU64::new(0);
    let pool = with(|pool, _| {
        if CALLED.fetch_add(1, Relaxed) > 0 {
            return;
        }
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                uses(pool, 1, 10);
                pool.calibrate();
                pool.trim();
                pool.stats()
            });
            other.join().expect("no panic");
        });
    })
    .build();
    uses(&pool, 8, 10);
    assert!(CALLED.load(Relaxed) > 1);
}

#[test]
fn a_dying_thread_calls_nothing() {
    // A thread-local whose destructor runs after the pool's, or before, by the order of first use: in either case the
    // callback runs only where the pool's thread-local lives, which this witnesses by one that it finds usable.
    thread_local! {
        static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
        static DEAD: Cell<bool> = const { Cell::new(false) };
    }
    struct Late(Arc<Pool>);
    impl Drop for Late {
        fn drop(&mut self) {
            DEAD.set(true);
            for _ in 0..8 {
                let mut buf: PooledBuf<_> = self.0.get_owned();
                buf.push(1);
            }
        }
    }
    static AFTER: AtomicUsize = AtomicUsize::new(0);
    let pool = Arc::new(
        with(|_, _| {
            AFTER.fetch_add(usize::from(DEAD.get()), Relaxed);
        })
        .build(),
    );
    let before = pool.stats().calibrations;
    let late = Arc::clone(&pool);
    let ended = std::thread::spawn(move || {
        // First use before the pool's: its destructor runs last on Linux.
        LATE.set(None);
        uses(&late, 1, 1);
        LATE.set(Some(Late(late)));
    });
    ended.join().expect("no panic");
    assert!(pool.stats().calibrations > before, "the dead thread's uses count");
    if cfg!(target_os = "linux") {
        assert_eq!(AFTER.load(Relaxed), 0);
    }
}

#[test]
fn the_builder_stays_what_it_was() {
    fn marked<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe + Clone + std::fmt::Debug>() {}
    marked::<Builder>();
    static POOL: Pool = Pool::builder().on_calibration(&|_, _| ()).build();
    uses(&POOL, 1, 1);
    assert!(format!("{:?}", Pool::builder()).contains("on_calibration: None"));
}
