//! Memory exhaustion and absurd sizes: the `try_` functions say so, nothing changes, and the pool works on.
//!
//! The allocator fails the n-th *buffer* of the current thread, for every n that a path has. The pool's own fixed
//! structures (lists, queues, a thread's cache) are built on first use and may abort like `Box::new`; they are not
//! failed here.

use std::collections::TryReserveError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytebufferpool::{Growth, MAX_CLASS_SIZE, MIN_CLASS_SIZE, Pool, Stats};
use bytes::BufMut;

#[path = "support/identities.rs"]
mod identities;
#[path = "support/stress_alloc.rs"]
mod stress_alloc;

use identities::assert_balanced;
use stress_alloc::{Ledger, failing_after};

#[global_allocator]
static LEDGER: Ledger = Ledger;

const CAPACITIES: [usize; 8] = [0, 64, 65, 1000, 40_000, 1 << 20, MAX_CLASS_SIZE, MAX_CLASS_SIZE + 1];

/// Runs `path` on a new pool for every n, with the n-th buffer allocation failing; `path` must return an error exactly
/// then. Returns how many places to fail it had.
fn for_every_failure(path: impl Fn(&Arc<Pool>) -> Result<(), TryReserveError>) -> u64 {
    for successes in 0.. {
        let pool = Arc::new(Pool::new());
        let (result, failed) = failing_after(successes, || path(&pool));
        assert_eq!(result.is_err(), failed, "failing the buffer after {successes}");
        assert_works(&pool);
        if !failed {
            return successes;
        }
    }
    unreachable!("a path that allocates without end")
}

#[track_caller]
fn assert_works(pool: &Pool) {
    assert_balanced(&pool.stats(), "after a failure");
    assert_eq!(pool.stats().outstanding, 0);
    for capacity in CAPACITIES {
        let mut buf = pool.get_with_capacity(capacity);
        assert!(buf.is_empty() && buf.capacity() >= capacity);
        buf.extend_from_slice(b"works");
        assert_eq!(buf, *b"works");
    }
    assert_balanced(&pool.stats(), "in use after a failure");
}

#[track_caller]
fn unchanged(pool: &Pool, before: &Stats) {
    assert_eq!(&pool.stats(), before, "a failure changed the books");
}

#[test]
fn a_get_that_finds_no_memory_is_an_error_and_changes_no_figure() {
    for capacity in CAPACITIES {
        let places = for_every_failure(|pool| {
            let before = pool.stats();
            let error = pool.try_get_with_capacity(capacity).map(drop);
            if error.is_err() {
                unchanged(pool, &before);
            }
            error
        });
        assert_eq!(places, 1, "capacity {capacity}");
    }
}

#[test]
fn an_owned_get_that_finds_no_memory_is_an_error_and_keeps_no_reference() {
    for capacity in CAPACITIES {
        let places = for_every_failure(|pool| {
            let before = pool.stats();
            let error = pool.try_get_owned_with_capacity(capacity).map(drop);
            assert_eq!(Arc::strong_count(pool), 1);
            if error.is_err() {
                unchanged(pool, &before);
            }
            error
        });
        assert_eq!(places, 1, "capacity {capacity}");
    }
}

/// A use by a function that does not return errors, with its first, second … buffer allocation refused once, until it has
/// no more of them; returns how many it had. `get` panicked then, though the allocator would have given memory at the
/// next attempt. It attempts a second time in order to fail as `Vec` does, and so what that gives counts.
fn refused_once_everywhere(start: impl Fn(&Arc<Pool>), path: impl Fn(&Arc<Pool>)) -> u64 {
    for successes in 0.. {
        let pool = Arc::new(Pool::new());
        start(&pool);
        let ((), failed) = failing_after(successes, || path(&pool));
        assert_works(&pool);
        if !failed {
            return successes;
        }
    }
    unreachable!("a path that allocates without end")
}

#[test]
fn a_get_that_is_refused_once_works() {
    type Get = fn(&Arc<Pool>, usize);
    let gets: [(&str, Get); 4] = [
        ("get", |pool, _| drop(pool.get())),
        ("get_owned", |pool, _| drop(pool.get_owned())),
        ("get_with_capacity", |pool, capacity| {
            let mut buf = pool.get_with_capacity(capacity);
            assert!(buf.is_empty() && buf.capacity() >= capacity);
            buf.extend_from_slice(b"works");
            assert_eq!(buf, *b"works");
        }),
        ("get_owned_with_capacity", |pool, capacity| drop(pool.get_owned_with_capacity(capacity))),
    ];
    for (name, get) in gets {
        for capacity in CAPACITIES {
            let places = refused_once_everywhere(
                |_| (),
                |pool| {
                    get(pool, capacity);
                    let stats = pool.stats();
                    assert_eq!((stats.gets, stats.misses, stats.allocated), (1, 1, 1), "{name}({capacity}): {stats}");
                },
            );
            assert!(places >= 1, "{name}({capacity}): nothing was refused");
        }
    }
}

#[test]
fn a_get_that_is_refused_once_after_others_works() {
    let places = refused_once_everywhere(
        |pool| drop(pool.get_with_capacity(1000)),
        |pool| {
            let held: Vec<_> = CAPACITIES.map(|capacity| pool.get_with_capacity(capacity)).into();
            drop(held);
        },
    );
    assert_eq!(places, CAPACITIES.len() as u64 - 1, "all but the one of 1 KiB are misses");
}

#[test]
fn a_growth_that_is_refused_once_works() {
    type Grow = fn(&mut bytebufferpool::PooledBuf<&Pool>);
    let grows: [(&str, Grow); 7] = [
        ("extend_from_slice", |buf| buf.extend_from_slice(&[7; 5000])),
        ("extend_from_slice, past the largest class", |buf| buf.extend_from_slice(&[7; MAX_CLASS_SIZE])),
        ("push", |buf| (0..100).for_each(|_| buf.push(7))),
        ("resize", |buf| buf.resize(50_000, 7)),
        ("reserve", |buf| buf.reserve(50_000)),
        ("extend", |buf| buf.extend([7; 500])),
        ("put_bytes", |buf| buf.put_bytes(7, 500)),
    ];
    for (name, grow) in grows {
        let places = refused_once_everywhere(
            |pool| drop(pool.get_with_capacity(64)),
            |pool| {
                let mut buf = pool.get_with_capacity(64);
                buf.extend_from_slice(&[3; 60]);
                grow(&mut buf);
                assert!(buf.starts_with(&[3; 60]), "{name}");
                assert!(buf[60..].iter().all(|byte| *byte == 7), "{name}");
                // As if nothing had been refused.
                let (capacity, growths) = (buf.capacity(), pool.stats().growths);
                let is_class_size = capacity.is_power_of_two() && growths > 0;
                assert!(is_class_size || capacity > MAX_CLASS_SIZE, "{name}: {capacity} bytes, {growths} growths");
            },
        );
        assert!(places >= 1, "{name}: nothing was refused");
    }
}

/// Before the first calibration the allocator extends such a buffer, at its second try too.
#[test]
fn a_growth_above_1_mib_that_is_refused_once_leaves_no_buffer_behind() {
    let pool = Pool::new();
    let mut buf = pool.get_with_capacity(1 << 20);
    let ((), failed) = failing_after(0, || buf.reserve(2 << 20));
    assert!(failed && buf.capacity() >= 2 << 20);
    assert_eq!((pool.stats().growths, pool.stats().retained_buffers), (0, 0));
}

#[test]
fn a_hit_needs_no_memory() {
    let pool = Pool::new();
    drop(pool.get_with_capacity(1000));
    let (result, failed) = failing_after(0, || pool.try_get_with_capacity(1000).map(drop));
    assert!(result.is_ok() && !failed);
    assert_eq!(pool.stats().hits, 1);
}

/// Growing a buffer of `len` bytes by `additional`, failed at every place.
fn growth_failed_everywhere(len: usize, additional: usize) -> u64 {
    let content: Vec<u8> = (0..len).map(|i| i as u8 ^ 0x5a).collect();
    for successes in 0.. {
        let pool = Pool::new();
        let mut buf = pool.get_with_capacity(len);
        buf.extend_from_slice(&content);
        let (before, capacity, address) = (pool.stats(), buf.capacity(), buf.as_ptr());
        let (result, failed) = failing_after(successes, || buf.try_reserve(additional));
        assert_eq!(result.is_err(), failed);
        assert_eq!(buf, content);
        if failed {
            unchanged(&pool, &before);
            assert_eq!((buf.capacity(), buf.as_ptr()), (capacity, address));
        } else {
            assert!(buf.capacity() - buf.len() >= additional);
        }
        drop(buf);
        assert_works(&pool);
        if !failed {
            return successes;
        }
    }
    unreachable!("a growth that allocates without end")
}

#[test]
fn a_growth_that_finds_no_memory_leaves_contents_capacity_and_books() {
    for (len, additional) in [
        (0, 65),
        (1, 64),
        (64, 1),
        (1000, 40_000),
        (4096, 4096),
        (40_000, MAX_CLASS_SIZE - 40_000),
        // Past the largest class the `Vec` grows by itself.
        (40_000, MAX_CLASS_SIZE),
        (MAX_CLASS_SIZE, 1),
    ] {
        assert_eq!(growth_failed_everywhere(len, additional), 1, "{len} + {additional}");
    }
}

/// A growth that jumps to the max size needs no more than its own size class.
#[test]
fn a_growth_whose_jump_finds_no_memory_takes_what_it_needs() {
    let pool = Pool::builder().growth(Growth::MaxSize).build();
    drop(pool.get_with_capacity(100_000));
    pool.calibrate();
    pool.purge();
    let mut buf = pool.get_with_capacity(64);
    let (result, failed) = failing_after(0, || buf.try_reserve(100));
    assert!(result.is_ok() && failed, "the first buffer is refused, and the second is granted");
    assert_eq!(buf.capacity(), 128);
    buf.extend_from_slice(&[7; 128]);
    buf.push(7);
    assert_eq!(buf.capacity(), 1 << 17, "the next one jumps");
}

#[test]
fn a_reserve_that_fits_needs_no_memory() {
    let pool = Pool::new();
    let mut buf = pool.get_with_capacity(64);
    let (result, failed) = failing_after(0, || buf.try_reserve(64));
    assert!(result.is_ok() && !failed);
}

#[test]
fn a_prefill_that_runs_out_of_memory_says_how_far_it_came() {
    for capacity in [1, 1000, 40_000, 1 << 20] {
        for successes in 0..=5_u64 {
            let pool = Pool::new();
            let (filled, failed) = failing_after(successes, || pool.prefill(capacity, 5));
            assert_eq!((filled as u64, failed), (successes, successes < 5), "capacity {capacity}");
            let stats = pool.stats();
            assert_balanced(&stats, "after prefill");
            assert_eq!((stats.retained_buffers, stats.allocated), (successes, successes));
            assert_works(&pool);
        }
    }
}

const ODD_CAPACITIES: [usize; 5] = [65, 100, 1000, 40_000, 3 << 20];

/// Refitting an odd capacity to its class may need memory; without it the buffer is freed, which needs none.
fn assert_freed_as_out_of_class(pool: &Pool, give_back: impl FnOnce()) {
    let ((), failed) = failing_after(0, give_back);
    assert!(failed, "no refit was tried");
    let stats = pool.stats();
    assert_balanced(&stats, "after a failed refit");
    assert_eq!((stats.dropped.out_of_class, stats.retained_buffers), (1, 0));
    assert_works(pool);
}

#[test]
fn a_donation_that_cannot_be_refitted_is_freed() {
    for capacity in ODD_CAPACITIES {
        let (pool, vec) = (Pool::new(), Vec::with_capacity(capacity));
        assert_freed_as_out_of_class(&pool, || pool.put(vec));
    }
}

#[test]
fn a_guard_that_cannot_be_refitted_is_freed() {
    for capacity in ODD_CAPACITIES {
        let pool = Pool::new();
        let mut buf = pool.get();
        *buf.as_vec_mut() = Vec::with_capacity(capacity);
        assert_freed_as_out_of_class(&pool, || drop(buf));
    }
}

#[test]
fn growth_past_an_odd_buffer_that_cannot_be_refitted_still_grows() {
    let pool = Pool::new();
    let mut buf = pool.get();
    *buf.as_vec_mut() = Vec::with_capacity(1000);
    buf.extend_from_slice(&[7; 1000]);
    // The larger buffer is the first allocation, the refit of the one left behind the second.
    let (result, failed) = failing_after(1, || buf.try_reserve(1));
    assert!(result.is_ok() && failed);
    assert_eq!(buf, [7; 1000]);
    drop(buf);
    assert_eq!(pool.stats().dropped.out_of_class, 1);
    assert_works(&pool);
}

#[test]
fn a_vec_that_fails_to_grow_by_itself_leaves_the_guard_whole() {
    let pool = Pool::new();
    let mut buf = pool.get_with_capacity(64);
    buf.extend_from_slice(&[3; 60]);
    let (result, failed) = failing_after(0, || buf.as_vec_mut().try_reserve_exact(1000));
    assert!(result.is_err() && failed);
    assert_eq!(buf, [3; 60]);
    drop(buf);
    assert_works(&pool);
}

/// Sizes that no allocator gives: past `isize::MAX`, at it, and just below, where rounding up would pass it.
const ABSURD: [usize; 6] = [
    usize::MAX,
    usize::MAX - 63,
    isize::MAX as usize + 1,
    isize::MAX as usize,
    isize::MAX as usize - 15,
    (isize::MAX as usize >> 1) + 1,
];

#[test]
fn capacity_overflow_is_an_error_and_changes_no_figure() {
    let pool = Arc::new(Pool::new());
    drop(pool.get_with_capacity(1000));
    let before = pool.stats();
    for capacity in ABSURD {
        assert!(pool.try_get_with_capacity(capacity).is_err(), "{capacity}");
        assert!(pool.try_get_owned_with_capacity(capacity).is_err(), "{capacity}");
        assert_eq!(pool.prefill(capacity, 3), 0, "{capacity}");
    }
    unchanged(&pool, &before);
    assert_works(&pool);
}

#[test]
fn capacity_overflow_without_try_panics_and_changes_no_figure() {
    let pool = Pool::new();
    drop(pool.get_with_capacity(1000));
    let before = pool.stats();
    for capacity in [usize::MAX, isize::MAX as usize + 1] {
        let panic = catch_unwind(|| drop(pool.get_with_capacity(capacity))).unwrap_err();
        let message = panic.downcast_ref::<&str>().copied().unwrap_or_default();
        assert!(message.contains("capacity overflow"), "{message}");
    }
    unchanged(&pool, &before);
    assert_works(&pool);
}

#[test]
fn growth_to_a_length_near_isize_max_is_an_error_and_leaves_contents_and_books() {
    for content in [&b""[..], b"kept"] {
        let pool = Pool::new();
        let mut buf = pool.get();
        buf.extend_from_slice(content);
        let before = pool.stats();
        for additional in ABSURD.into_iter().flat_map(|size| [size, size - content.len()]) {
            assert!(buf.try_reserve(additional).is_err(), "{additional}");
            assert_eq!(buf, *content);
        }
        unchanged(&pool, &before);
        drop(buf);
        assert_works(&pool);
    }
}

#[test]
fn growth_overflow_without_try_panics_and_leaves_contents_and_books() {
    type Grow = fn(&mut bytebufferpool::PooledBuf<&Pool>);
    let grows: [(&str, Grow); 3] = [
        ("reserve", |buf| buf.reserve(usize::MAX)),
        ("resize", |buf| buf.resize(usize::MAX, 1)),
        ("put_bytes", |buf| buf.put_bytes(1, usize::MAX)),
    ];
    let pool = Pool::new();
    for (name, grow) in grows {
        let mut buf = pool.get();
        buf.extend_from_slice(b"kept");
        let before = pool.stats();
        assert!(catch_unwind(AssertUnwindSafe(|| grow(&mut buf))).is_err(), "{name}");
        assert_eq!(buf, *b"kept", "{name}");
        unchanged(&pool, &before);
        assert_eq!(buf.remaining_mut(), isize::MAX as usize - 4);
    }
    assert_works(&pool);
}

#[test]
fn an_iterator_that_claims_to_be_endless_is_not_believed() {
    struct Claims(std::ops::Range<u8>);
    impl Iterator for Claims {
        type Item = u8;
        fn next(&mut self) -> Option<u8> {
            self.0.next()
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (usize::MAX, None)
        }
    }
    let pool = Pool::new();
    let mut buf = pool.get();
    buf.extend(Claims(0..100));
    assert_eq!(buf, (0..100).collect::<Vec<u8>>());
    assert!(buf.capacity() <= MAX_CLASS_SIZE);
    drop(buf);
    assert_works(&pool);
}

#[test]
fn zero_capacity_is_the_smallest_class() {
    let pool = Arc::new(Pool::new());
    assert_eq!(pool.get_with_capacity(0).capacity(), MIN_CLASS_SIZE);
    assert_eq!(pool.try_get_with_capacity(0).unwrap().capacity(), MIN_CLASS_SIZE);
    assert_eq!(pool.try_get_owned_with_capacity(0).unwrap().capacity(), MIN_CLASS_SIZE);
    assert_eq!(pool.prefill(0, 3), 3);
    assert_eq!(pool.prefill(1000, 0), 0);
    let stats = pool.stats();
    assert_eq!((stats.classes[0].calls, stats.misses, stats.hits), (0, 1, 2), "nothing asked, nothing held");
    assert_works(&pool);
}

#[test]
fn a_donated_vec_without_capacity_is_counted_and_not_kept() {
    let pool = Pool::new();
    pool.put(Vec::new());
    pool.put(Vec::with_capacity(63));
    let stats = pool.stats();
    assert_eq!((stats.donated, stats.dropped.out_of_class, stats.retained_buffers), (2, 2, 0));
    assert_balanced(&stats, "after empty donations");
}

#[test]
fn a_guard_emptied_through_its_vec_ends_as_out_of_class() {
    let pool = Pool::new();
    let mut buf = pool.get();
    let taken = std::mem::take(buf.as_vec_mut());
    assert!(taken.capacity() >= MIN_CLASS_SIZE);
    // It grows again through the pool, from nothing.
    buf.push(1);
    assert_eq!(buf, [1]);
    buf.as_vec_mut().clear();
    *buf.as_vec_mut() = Vec::new();
    drop(buf);
    let stats = pool.stats();
    assert_eq!((stats.puts, stats.outstanding), (1, 0));
    assert_balanced(&stats, "after an emptied guard");
}

#[test]
fn zero_sized_requests_on_a_guard_do_nothing() {
    let pool = Pool::new();
    let mut buf = pool.get_with_capacity(64);
    let before = pool.stats();
    let (result, failed) = failing_after(0, || {
        buf.reserve(0);
        buf.resize(0, 1);
        buf.extend_from_slice(b"");
        buf.try_reserve(0)
    });
    assert!(result.is_ok() && !failed);
    unchanged(&pool, &before);
}
