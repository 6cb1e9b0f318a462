//! Feature `zeroize`: no buffer that came back holds what was written to it, neither idle nor freed.
//!
//! Two witnesses. The spare capacity of the next `get` is read. And the allocator looks through every block that is
//! freed or moved while `without_a_trace` runs on this thread: if one holds the secret, somebody forgot to wipe.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use bytebufferpool::{Growth, Pool, PooledBuf};
use bytes::BufMut;

struct Inspector;

const SECRET: [u8; 8] = *b"\xA7s3cr3t\xA7";

/// Not in a `Vec`, which would be freed with the secret in it.
static SECRETS: [[u8; 8]; 512] = [SECRET; 512];

const ZEROS: [u8; 4096] = [0; 4096];

thread_local! {
    static INSPECTS: Cell<bool> = const { Cell::new(false) };
    static FOUND: Cell<usize> = const { Cell::new(0) };
    static FREED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is the system's; a block is read before it is given up.
unsafe impl GlobalAlloc for Inspector {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeroed, so that all of a block may be read; what the inspector finds was written after.
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the block is whole and initialized, see `alloc`.
        unsafe { inspect(ptr, layout) };
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(ptr, layout) };
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract; old blocks are moved always, and inspected as they are freed.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(ptr, new, size.min(layout.size()));
                self.dealloc(ptr, layout);
            }
            new
        }
    }
}

/// # Safety
///
/// The block is allocated and initialized.
unsafe fn inspect(ptr: *const u8, layout: Layout) {
    if INSPECTS.get() {
        // SAFETY: the caller's contract.
        let bytes = unsafe { std::slice::from_raw_parts(ptr, layout.size()) };
        FREED.set(FREED.get() + 1);
        FOUND.set(FOUND.get() + usize::from(holds_the_secret(bytes)));
    }
}

fn holds_the_secret(bytes: &[u8]) -> bool {
    // The tests write it at multiples of its length. What is all zeros is compared in large steps, for debug builds.
    let suspicious = bytes.chunks(ZEROS.len()).filter(|chunk| !is_zero(chunk));
    suspicious.flat_map(|chunk| chunk.chunks_exact(SECRET.len())).any(|word| word == SECRET)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

#[global_allocator]
static INSPECTOR: Inspector = Inspector;

/// Runs `work`; no block that it frees or moves on this thread holds the secret. Returns how many those were.
#[track_caller]
fn without_a_trace(work: impl FnOnce()) -> usize {
    let before = (FREED.get(), FOUND.get());
    INSPECTS.set(true);
    work();
    INSPECTS.set(false);
    assert_eq!(FOUND.get(), before.1, "a freed block holds the secret");
    FREED.get() - before.0
}

fn pool() -> Pool {
    Pool::builder().trim_interval(Duration::from_secs(1 << 30)).build()
}

/// The secret all over the buffer, behind the length too.
fn fill(buf: &mut PooledBuf<&Pool>) {
    while buf.capacity() - buf.len() >= SECRET.len() {
        let count = SECRETS.as_flattened().len().min((buf.capacity() - buf.len()) / SECRET.len() * SECRET.len());
        buf.extend_from_slice(&SECRETS.as_flattened()[..count]);
    }
    buf.truncate(buf.len() / 2);
}

/// Every idle buffer of the pool is zeros.
#[track_caller]
fn assert_wiped(pool: &Pool) {
    let stats = pool.stats();
    let mut idle = Vec::new();
    for class in stats.classes.iter().filter(|class| class.retained > 0) {
        for _ in 0..class.retained {
            let mut buf = pool.get_with_capacity(class.size);
            let spare = buf.as_vec_mut().spare_capacity_mut();
            // SAFETY: this binary's allocator gives initialized memory only.
            let bytes = unsafe { std::slice::from_raw_parts(spare.as_ptr().cast::<u8>(), spare.len()) };
            assert!(is_zero(bytes), "an idle buffer of {} bytes is not wiped", class.size);
            idle.push(buf);
        }
    }
    assert_eq!(pool.stats().hits - stats.hits, stats.retained_buffers, "not all that is idle was looked at");
}

#[test]
fn the_inspector_finds_what_is_not_wiped() {
    let found = FOUND.get();
    let vec = SECRET.repeat(10);
    INSPECTS.set(true);
    drop(vec);
    let mut grows = SECRET.repeat(10);
    grows.reserve_exact(1000);
    INSPECTS.set(false);
    assert_eq!(FOUND.get(), found + 2);
}

#[test]
fn a_kept_buffer_of_any_class_is_wiped() {
    let pool = pool();
    for size in [64, 1000, 4096, 32 << 10, 64 << 10, 1 << 20, 32 << 20] {
        without_a_trace(|| {
            let mut buf = pool.get_with_capacity(size);
            fill(&mut buf);
        });
    }
    assert_eq!(pool.stats().retained_buffers, 7);
    assert_wiped(&pool);
}

/// By the short way, on which a thread is after its first few uses.
#[test]
fn a_buffer_that_is_used_again_and_again_is_wiped_every_time() {
    let pool = pool();
    for _ in 0..20 {
        without_a_trace(|| fill(&mut pool.get()));
        assert_wiped(&pool);
    }
    assert_eq!(pool.stats().misses, 1);
}

/// The bytes between the length and the capacity too, though the guard never knew of them.
#[test]
fn what_was_written_behind_the_length_is_wiped() {
    let pool = pool();
    let mut buf = pool.get_with_capacity(1024);
    let chunk = buf.chunk_mut();
    for index in 0..chunk.len() {
        chunk.write_byte(index, SECRET[index % SECRET.len()]);
    }
    without_a_trace(|| drop(buf));
    assert_wiped(&pool);
}

#[test]
fn the_buffer_that_growth_leaves_behind_is_wiped() {
    for growth in [Growth::NextClass, Growth::MaxSize] {
        let pool = Pool::builder().growth(growth).build();
        without_a_trace(|| {
            let mut buf = pool.get();
            for _ in 0..20_000 {
                buf.extend_from_slice(&SECRET);
            }
        });
        assert!(pool.stats().growths > 3);
        assert_wiped(&pool);
    }
}

#[test]
fn growth_past_the_largest_class_leaves_nothing_behind() {
    let pool = pool();
    let freed = without_a_trace(|| {
        let mut buf = pool.get_with_capacity(32 << 20);
        fill(&mut buf);
        buf.reserve(33 << 20);
        assert_eq!(buf[..8], SECRET);
        buf.extend_from_slice(&SECRET);
        buf.try_reserve(70 << 20).expect("memory");
    });
    assert!(freed >= 3, "two left behind and one out of class: {freed}");
}

#[test]
fn a_buffer_is_wiped_before_it_is_refitted() {
    let pool = pool();
    let mut buf = pool.get();
    *buf.as_vec_mut() = Vec::with_capacity(5000);
    fill(&mut buf);
    assert_eq!(without_a_trace(|| drop(buf)), 1, "moved to 4 KiB");
    assert_eq!(pool.stats().classes[6].retained, 1);
    assert_wiped(&pool);
}

#[test]
fn a_freed_buffer_is_wiped_whatever_the_reason() {
    let discarded = pool();
    let mut buf = discarded.get();
    fill(&mut buf);
    assert_eq!(without_a_trace(|| buf.discard()), 1);

    let over_ceiling = Pool::builder().max_size(1024).build();
    let mut buf = over_ceiling.get_with_capacity(4096);
    fill(&mut buf);
    assert_eq!(without_a_trace(|| drop(buf)), 1);
    assert_eq!(over_ceiling.stats().dropped.over_ceiling, 1);

    let over_budget = Pool::builder().retained_bytes_max(0).build();
    for size in [64, 1 << 20] {
        let mut buf = over_budget.get_with_capacity(size);
        fill(&mut buf);
        assert_eq!(without_a_trace(|| drop(buf)), 1);
    }
    assert_eq!(over_budget.stats().dropped.over_budget, 2);

    let out_of_class = pool();
    let mut buf = out_of_class.get_with_capacity((32 << 20) + 1);
    fill(&mut buf);
    assert!(without_a_trace(|| drop(buf)) >= 1);
    let mut buf = out_of_class.get();
    *buf.as_vec_mut() = SECRET.to_vec();
    assert_eq!(without_a_trace(|| drop(buf)), 1);
    assert_eq!(out_of_class.stats().dropped.out_of_class, 2);
}

#[test]
fn a_donated_buffer_is_wiped() {
    let pool = pool();
    for donated in [SECRET.repeat(8), SECRET.repeat(10_000), SECRET.to_vec()] {
        without_a_trace(|| pool.put(donated));
    }
    assert_eq!((pool.stats().retained_buffers, pool.stats().dropped.out_of_class), (2, 1));
    assert_wiped(&pool);
}

#[test]
fn a_buffer_that_came_back_from_outside_is_wiped() {
    let pool = pool();
    let mut buf = pool.get();
    fill(&mut buf);
    let vec = buf.into_vec();
    without_a_trace(|| pool.put(vec));
    assert_wiped(&pool);
}

#[test]
fn a_buffer_dropped_by_a_panic_is_wiped() {
    let pool = pool();
    let mut buf = pool.get();
    fill(&mut buf);
    let address = buf.as_ptr();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _buf = buf;
        panic!("on purpose");
    }))
    .expect_err("a panic");
    assert_wiped(&pool);
    assert_eq!(pool.get().as_ptr(), address);
}

#[test]
fn a_frozen_buffer_is_wiped_when_the_last_clone_drops() {
    let pool = Arc::new(pool());
    let mut buf = pool.get_owned();
    buf.extend_from_slice(&SECRET.repeat(4));
    let frozen = buf.freeze();
    let slice = frozen.slice(8..);
    drop(frozen);
    assert!(holds_the_secret(&slice));
    without_a_trace(|| drop(slice));
    assert_wiped(&pool);
}

/// A full stack, a due merge, the depot, a dead thread: the slow ways in.
#[test]
fn a_buffer_is_wiped_by_whichever_way_it_comes_back() {
    let pool = Arc::new(Pool::builder().calibrate_calls_threshold(3).build());
    without_a_trace(|| {
        let mut many: Vec<_> = (0..300).map(|_| pool.get()).collect();
        many.iter_mut().for_each(fill);
        drop(many);
    });
    assert_wiped(&pool);

    struct AtExit(Option<PooledBuf<Arc<Pool>>>, Arc<Pool>);
    impl Drop for AtExit {
        fn drop(&mut self) {
            without_a_trace(|| drop(self.0.take()));
            let mut late = self.1.get_owned();
            late.extend_from_slice(&SECRET);
            without_a_trace(|| drop(late));
        }
    }
    thread_local!(static HELD: Cell<Option<AtExit>> = const { Cell::new(None) });
    for pool_first in [false, true] {
        let pool = Arc::clone(&pool);
        let ended = std::thread::spawn(move || {
            if pool_first {
                drop(pool.get());
            }
            HELD.set(None);
            let mut buf = pool.get_owned();
            buf.extend_from_slice(&SECRET.repeat(5));
            HELD.set(Some(AtExit(Some(buf), pool)));
        });
        ended.join().expect("no panic");
    }
    assert_wiped(&pool);
}

#[test]
fn no_secret_is_freed_with_the_pool_or_by_trim() {
    without_a_trace(|| {
        let pool = pool();
        for size in [64, 4096, 1 << 20] {
            fill(&mut pool.get_with_capacity(size));
        }
        pool.trim();
        pool.trim();
        fill(&mut pool.get());
        drop(pool);
    });
}
