//! A guard that cannot be traced for want of memory is lent all the same: a `try_` call does not abort.
//!
//! The table of traced guards grew by an allocation that aborts when it is refused, inside `try_get_with_capacity` too. The
//! allocator here refuses everything but buffers on a thread that says so. It runs in a child process, as an abort would end
//! the other tests' reports.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::process::{Command, Stdio};

use bytebufferpool::Pool;

#[path = "support/identities.rs"]
mod identities;

use identities::assert_balanced;

#[global_allocator]
static HEAP: BuffersOnly = BuffersOnly;

struct BuffersOnly;

thread_local! {
    // Constant and without a destructor: usable inside an allocator.
    static REFUSES: Cell<bool> = const { Cell::new(false) };
    static REFUSED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to `System` or refused; nothing here unwinds.
unsafe impl GlobalAlloc for BuffersOnly {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > 1 && REFUSES.get() {
            REFUSED.set(REFUSED.get() + 1);
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on; `block` came from `System`, as everything does here.
        unsafe { System.dealloc(block, layout) }
    }
}

const GUARDS: usize = 10_000;

const CHILD_VARIABLE: &str = "BYTEBUFFERPOOL_TEST_CHILD";

fn hold_many_untraced() {
    let pool = Pool::builder().leak_sample_every(1).calibrate_calls_threshold(1 << 60).build();
    // Its own structures are made, and those of this thread.
    drop(pool.get_with_capacity(100));
    let mut held = Vec::with_capacity(GUARDS);
    REFUSES.set(true);
    for _ in 0..GUARDS {
        // An error would be right too; none is needed.
        if let Ok(buf) = pool.try_get_with_capacity(100) {
            held.push(buf);
        }
    }
    REFUSES.set(false);
    assert!(REFUSED.get() > 0, "the table did not grow");
    assert_eq!(held.len(), GUARDS, "a guard needs no trace");
    let (stats, report) = (pool.stats(), pool.outstanding_report());
    assert_balanced(&stats, "held");
    assert_eq!((stats.outstanding, report.outstanding), (GUARDS as u64, GUARDS as u64));
    // With memory again, it traces again, and what has not been traced ends like any other.
    let traced = |pool: &Pool| pool.outstanding_report().sites.iter().map(|site| site.traced).sum::<u64>();
    let before = traced(&pool);
    held.push(pool.get_with_capacity(100));
    assert_eq!(traced(&pool), before + 1);
    drop(held);
    assert_eq!((pool.stats().outstanding, traced(&pool)), (0, 0));
    assert_balanced(&pool.stats(), "dropped");
}

#[test]
fn a_guard_that_cannot_be_traced_is_lent_all_the_same() {
    if std::env::var_os(CHILD_VARIABLE).is_some() {
        hold_many_untraced();
        return;
    }
    let this_test = std::env::current_exe().expect("a test knows its own path");
    let output = Command::new(this_test)
        .args(["a_guard_that_cannot_be_traced_is_lent_all_the_same", "--exact", "--nocapture"])
        .env(CHILD_VARIABLE, "1")
        .stdout(Stdio::null())
        .output()
        .expect("a child");
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}
