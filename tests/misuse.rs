//! The claims of the example `misuse`, in a binary of their own for the sake of the counting allocator.
// What leak-trace notes of the guards that it samples lies on the heap.
#![cfg(not(feature = "leak-trace"))]

#[path = "../examples/misuse.rs"]
#[allow(dead_code, reason = "the example's `main`")]
mod example;

use std::sync::{Arc, Mutex};

use bytebufferpool::{Pool, PooledBuf};

use example::ledger::Count;
use example::*;

#[test]
#[cfg_attr(feature = "leak-trace", ignore = "a guard that is traced allocates")]
fn ten_thousand_gets_and_puts_keep_the_heap_constant() {
    let usage = get_and_put();
    assert_put_is_constant(&usage);
    // One buffer of each class on the way from 64 B to 32 KiB, whatever the number of records.
    assert!(usage.buffers_allocated <= 20, "{usage:?}");
}

#[test]
fn ten_thousand_gets_without_a_put_grow_without_end() {
    assert_never_put_grows(&get_and_never_put());
}

#[test]
fn a_guard_that_never_ends_is_counted_as_outstanding_and_costs_one_buffer() {
    // In a static, which is never dropped: forgotten for the pool, but not a leak to leak checkers.
    static FORGOTTEN: Mutex<Option<PooledBuf<Arc<Pool>>>> = Mutex::new(None);
    let pool = Arc::new(Pool::new());
    let (forgotten, buf) = Count::of(|| pool.get_owned_with_capacity(1000));
    assert!(forgotten.live_bytes() >= 1024);
    *FORGOTTEN.lock().unwrap() = Some(buf);
    assert_eq!(pool.stats().outstanding, 1);
    drop(pool.get_with_capacity(1000));
    assert_eq!(pool.stats().outstanding, 1);
}

#[test]
fn one_giant_is_not_kept_whether_it_comes_before_or_after_the_max_size_is_learned() {
    for giant_at in GIANT_POSITIONS {
        assert_giant_is_gone(one_giant_in_this_pool(giant_at));
    }
}

#[test]
fn a_pool_without_bounds_keeps_the_giant_for_ever() {
    for giant_at in GIANT_POSITIONS {
        assert_giant_is_kept(one_giant_in_an_unbounded_pool(giant_at));
    }
}
