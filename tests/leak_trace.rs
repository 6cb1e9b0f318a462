//! Feature `leak-trace`: every way to begin and to end a guard is traced.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytebufferpool::{Pool, PooledBuf};

/// The system's allocator, which a thread can make refuse, or make use a pool itself.
struct Moody;

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Willing,
    Refusing,
    /// Gets and drops a buffer at every allocation, but not within that.
    UsingAPool,
}

thread_local! {
    static MOOD: Cell<Mood> = const { Cell::new(Mood::Willing) };
}

#[global_allocator]
static MOODY: Moody = Moody;

static OF_THE_ALLOCATOR: Pool = Pool::builder().leak_sample_every(1).build();
static WAS_USED: AtomicBool = AtomicBool::new(false);

// SAFETY: a block is the system's, with the layout asked for, or there is none.
unsafe impl GlobalAlloc for Moody {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match MOOD.get() {
            Mood::Willing => {}
            Mood::Refusing => return std::ptr::null_mut(),
            Mood::UsingAPool => {
                MOOD.set(Mood::Willing);
                drop(OF_THE_ALLOCATOR.get());
                WAS_USED.store(true, Ordering::Relaxed);
                MOOD.set(Mood::UsingAPool);
            }
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above; every block is the system's.
        unsafe { System.dealloc(block, layout) }
    }
}

fn in_mood<T>(mood: Mood, work: impl FnOnce() -> T) -> T {
    MOOD.set(mood);
    let done = work();
    MOOD.set(Mood::Willing);
    done
}

fn pool() -> Arc<Pool> {
    Arc::new(Pool::builder().leak_sample_every(1).build())
}

/// The lines of this file at which the outstanding guards were made, with their numbers.
fn lines(pool: &Pool) -> Vec<(u32, u64)> {
    let report = pool.outstanding_report();
    assert!(report.sites.iter().all(|site| site.location.file() == file!()), "{report}");
    let mut lines: Vec<_> = report.sites.iter().map(|site| (site.location.line(), site.traced)).collect();
    lines.sort_unstable();
    lines
}

#[track_caller]
fn line() -> u32 {
    Location::caller().line()
}

#[test]
fn every_get_notes_the_line_of_its_caller_cold_and_warm() {
    let pool = pool();
    for round in 0..3 {
        let begin = line();
        let a = pool.get();
        let b = pool.get_with_capacity(100_000);
        let c = pool.try_get_with_capacity(10).unwrap();
        let d = pool.get_owned();
        let e = pool.get_owned_with_capacity(20);
        let f = pool.try_get_owned_with_capacity(30).unwrap();
        assert_eq!(lines(&pool), (1..=6).map(|n| (begin + n, 1)).collect::<Vec<_>>(), "round {round}");
        drop((a, b, c, d, e, f));
        assert_eq!(lines(&pool), []);
    }
}

#[test]
fn every_end_ends_the_trace() {
    let pool = pool();
    let ends: [fn(PooledBuf<Arc<Pool>>); 5] = [
        |buf| drop(buf),
        |buf| drop(buf.into_vec()),
        |buf| buf.discard(),
        |buf| drop(std::thread::spawn(move || drop(buf)).join()),
        |buf| {
            let frozen = buf.freeze();
            drop((frozen.clone(), frozen));
        },
    ];
    for end in ends {
        let mut buf = pool.get_owned();
        buf.resize(100_000, 1);
        assert_eq!(lines(&pool).len(), 1, "growth changes nothing");
        end(buf);
        assert_eq!(lines(&pool), []);
    }
    let frozen = pool.get_owned().freeze();
    assert_eq!(lines(&pool).len(), 1);
    drop(frozen);
    assert_eq!(lines(&pool), []);
}

#[test]
fn the_report_counts_by_site_with_ages_and_prints_them() {
    let pool = pool();
    // Not forgotten, which a leak check would find.
    let lost = pool.get();
    std::thread::sleep(Duration::from_millis(20));
    let held: Vec<_> = (0..3).map(|_| pool.get()).collect();
    let report = pool.outstanding_report();
    assert_eq!((report.outstanding, report.sample_every, report.sites.len()), (4, 1, 2));
    let [most, forgotten] = [report.sites[0], report.sites[1]];
    assert_eq!((most.traced, forgotten.traced), (3, 1));
    assert!(forgotten.oldest >= Duration::from_millis(20) && forgotten.oldest > most.oldest);
    assert!(most.oldest >= most.youngest);
    let text = report.to_string();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains(&format!("{}:{}:", file!(), forgotten.location.line())), "{text}");
    drop((held, lost));
}

#[test]
fn one_in_so_many_is_traced() {
    let pool = Pool::builder().leak_sample_every(10).build();
    let held: Vec<_> = (0..10_000).map(|_| pool.get()).collect();
    let traced = pool.outstanding_report().sites[0].traced;
    assert!((800..1200).contains(&traced), "{traced} of 10 000");
    drop(held);
    assert!(pool.outstanding_report().sites.is_empty());

    let none = Pool::builder().leak_sample_every(0).build();
    let held = none.get();
    assert!(none.outstanding_report().sites.is_empty());
    drop(held);
}

/// With a table that grew by `BTreeMap::insert` the `try_` call ended the process.
#[test]
fn a_guard_for_which_the_table_has_no_memory_is_not_traced() {
    const GUARDS: usize = 300;
    for traced_before in [0, 1, 200] {
        let pool = pool();
        assert_eq!(pool.prefill(64, 2 * GUARDS), 2 * GUARDS);
        let before: Vec<_> = (0..traced_before).map(|_| pool.get()).collect();
        let mut held = Vec::with_capacity(GUARDS);
        in_mood(Mood::Refusing, || {
            for _ in 0..GUARDS {
                held.push(pool.try_get_with_capacity(64));
            }
        });
        assert!(held.iter().all(Result::is_ok), "each of them is a hit");
        let traced = || pool.outstanding_report().sites.iter().map(|site| site.traced).sum::<u64>();
        let traced_with_them = traced();
        assert!((traced_before as u64..GUARDS as u64).contains(&traced_with_them), "{traced_with_them} are traced");
        assert_eq!(pool.outstanding_report().outstanding, (traced_before + GUARDS) as u64);
        // There is memory again.
        let after: Vec<_> = (0..GUARDS).map(|_| pool.get()).collect();
        assert_eq!(traced(), traced_with_them + GUARDS as u64);
        drop((before, held, after));
        assert_eq!(lines(&pool), []);
    }
}

#[test]
fn an_allocator_may_use_the_pool_whose_table_grows() {
    assert_eq!(OF_THE_ALLOCATOR.prefill(64, 1000), 1000);
    let (sender, done) = mpsc::channel();
    thread::spawn(move || {
        // The thread's own structures, made before.
        drop(OF_THE_ALLOCATOR.get());
        let mut held = Vec::with_capacity(500);
        in_mood(Mood::UsingAPool, || {
            for _ in 0..500 {
                held.push(OF_THE_ALLOCATOR.get());
            }
        });
        assert!(WAS_USED.load(Ordering::Relaxed), "the table did not grow");
        assert_eq!(lines(&OF_THE_ALLOCATOR).iter().map(|line| line.1).sum::<u64>(), 500);
        in_mood(Mood::UsingAPool, || drop(OF_THE_ALLOCATOR.outstanding_report()));
        drop(held);
        assert_eq!(lines(&OF_THE_ALLOCATOR), []);
        sender.send(()).unwrap();
    });
    done.recv_timeout(Duration::from_secs(20)).expect("a lock of the table was held while memory was allocated");
}

#[test]
fn rows_are_used_again_and_a_guard_ends_only_its_own() {
    let pool = pool();
    let mut held = Vec::new();
    for round in 0..5 {
        let begin = line() + 1;
        held.extend((0..100 * (round + 1)).map(|_| pool.get()));
        let of_this_line = |pool| lines(pool).into_iter().find(|found| found.0 == begin).map(|found| found.1);
        let expected = (held.len() as u64, Some(held.len() as u64));
        assert_eq!((pool.outstanding_report().outstanding, of_this_line(&pool)), expected, "round {round}");
        // Not in the order in which they were made.
        let mut odd = false;
        held.retain(|_| {
            odd = !odd;
            odd
        });
        assert_eq!(of_this_line(&pool), Some(held.len() as u64));
    }
    drop(held);
    assert_eq!(lines(&pool), []);
}
