//! A thread that does nothing withholds nothing from the others but its small cache.
//!
//! Before, a thread kept the place of a large buffer charged to the budget for as long as it lived, empty or not, and
//! as much of the budget as small caches asked for. Where threads sleep (a server's pool of workers at night) the next
//! thread found the budget spent by nobody: its small buffers went through the shared part at 152 ns instead of 4, and its
//! large ones were freed. That a thread has a cache can be seen from outside: what lies there is out of the others' reach.

use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

use bytebufferpool::{Pool, Registry};

/// What may be freed is freed by the calls below alone.
const NEVER: Duration = Duration::from_secs(1 << 30);
/// Nor does a calibration free what is above the sizes of a test.
const NO_CALIBRATION: u64 = 1 << 60;

/// Many threads must fit an address space of 32 bits too.
const STACK_BYTES: usize = 256 << 10;

const MIB: usize = 1 << 20;
const BUDGET: usize = 64 * MIB;
const THREAD_CACHE_BYTES_MAX: usize = 128 << 10;
/// Classes up to 32 KiB, which a thread caches.
const SMALL: [usize; 10] = [64, 128, 256, 512, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10];

const USES: u64 = 1000;

/// The default configuration in all that matters here.
fn pool() -> Pool {
    Pool::builder().trim_interval(NEVER).calibrate_calls_threshold(NO_CALIBRATION).build()
}

/// Runs `work` on `count` threads, one after the other, and `between` after each on this one; then `meanwhile`, with all of
/// them asleep.
fn with_sleepers(count: usize, work: impl Fn() + Sync, mut between: impl FnMut(), meanwhile: impl FnOnce() + Send) {
    let asleep_until = Barrier::new(count + 1);
    thread::scope(|scope| {
        for _ in 0..count {
            let (tell, worked) = mpsc::channel::<()>();
            let (work, asleep_until) = (&work, &asleep_until);
            let sleeper = move || {
                work();
                drop(tell);
                asleep_until.wait();
            };
            thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, sleeper).expect("a thread");
            // An error when the sleeper is done: it sends nothing.
            worked.recv().expect_err("nothing is sent");
            between();
        }
        // Its own thread, so that a panic is reported and not waited upon by those asleep.
        let result = scope.spawn(meanwhile).join();
        asleep_until.wait();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

fn use_once(pool: &Pool, size: usize) {
    drop(pool.get_with_capacity(size));
}

/// Whether a small buffer that this thread drops stays in its own cache: then no other thread can get it.
fn has_a_cache(pool: &Pool) -> bool {
    pool.purge();
    (0..8).for_each(|_| use_once(pool, 64));
    let misses = pool.stats().misses;
    // It ends before the next line; what it got goes back, or it is its own.
    thread::scope(|scope| scope.spawn(|| drop(pool.get_with_capacity(64).into_vec())).join().expect("no panic"));
    let out_of_reach = pool.stats().misses == misses + 1;
    pool.purge();
    out_of_reach
}

/// Warm, small uses are hits, and nothing is freed or allocated.
#[track_caller]
fn assert_all_hits(pool: &Pool, what: &str) {
    use_once(pool, 64);
    let before = pool.stats();
    (0..USES).for_each(|_| use_once(pool, 64));
    let after = pool.stats();
    assert_eq!(after.hits - before.hits, USES, "{what}: {after}");
    assert_eq!(after.allocated, before.allocated, "{what}: {after}");
    assert_eq!(after.dropped.total() + after.trimmed, before.dropped.total() + before.trimmed, "{what}: {after}");
}

/// That the whole budget is there: 64 buffers of 1 MiB, held and dropped, are all kept.
#[track_caller]
fn assert_whole_budget(pool: &Pool, what: &str) {
    pool.purge();
    assert_eq!(pool.prefill(MIB, 64), 64, "{what}: prefill; {}", pool.stats());
    let over_budget = pool.stats().dropped.over_budget;
    let held: Vec<_> = (0..64).map(|_| pool.get_with_capacity(MIB)).collect();
    drop(held);
    assert_eq!(pool.stats().dropped.over_budget, over_budget, "{what}: held and dropped; {}", pool.stats());
    assert_eq!(pool.purge(), BUDGET, "{what}: {}", pool.stats());
}

#[test]
fn a_sleeper_that_dropped_32_mib_withholds_nothing() {
    let pool = pool();
    with_sleepers(
        1,
        || use_once(&pool, 32 * MIB),
        || {},
        || {
            assert_all_hits(&pool, "its buffer is cached");
            assert!(has_a_cache(&pool), "its buffer was cached, and then purged");
            assert_all_hits(&pool, "its place is empty");
            for _ in 0..3 {
                pool.trim();
            }
            assert!(has_a_cache(&pool), "after three trims");
            assert_all_hits(&pool, "after three trims");
            pool.purge();
            assert_all_hits(&pool, "after a purge");
            pool.flush_thread();
            assert_whole_budget(&pool, "after all that");
        },
    );
}

#[test]
fn a_sleepers_large_buffer_taken_by_another_thread_leaves_nothing_charged() {
    let pool = pool();
    with_sleepers(
        1,
        || use_once(&pool, 32 * MIB),
        || {},
        || {
            let buf = pool.get_with_capacity(32 * MIB);
            assert_eq!(pool.stats().hits, 1, "it can be reached");
            buf.discard();
            assert_whole_budget(&pool, "its buffer was taken");
        },
    );
}

#[test]
fn sleepers_of_every_large_class_withhold_nothing() {
    for size in (0..10).map(|class| (64 << 10) << class) {
        let pool = pool();
        with_sleepers(
            32,
            || use_once(&pool, size),
            || {},
            || {
                assert!(has_a_cache(&pool), "32 dropped {size} B each");
                assert_all_hits(&pool, &format!("32 dropped {size} B each"));
                pool.flush_thread();
                assert_whole_budget(&pool, &format!("32 dropped {size} B each"));
            },
        );
    }
}

#[test]
fn a_sleeper_withholds_nothing_from_the_other_pools_of_a_registry() {
    let registry = Registry::with_budget(BUDGET);
    let builder = || Pool::builder().trim_interval(NEVER).calibrate_calls_threshold(NO_CALIBRATION);
    let [ours, theirs] = ["ours", "theirs"].map(|name| registry.get_or_create(name, builder()).expect("a new pool"));
    with_sleepers(
        1,
        || use_once(&theirs, 32 * MIB),
        || {},
        || {
            assert_all_hits(&ours, "a sibling's buffer is cached");
            // The sibling is used by others too: what a sleeper left in it must not stay charged once it is taken.
            let buf = theirs.get_with_capacity(32 * MIB);
            assert_eq!(theirs.stats().hits, 1, "it can be reached");
            drop(buf.into_vec());
            assert!(has_a_cache(&ours), "the sibling's buffer was taken");
            ours.flush_thread();
            assert_whole_budget(&ours, "the sibling's buffer was taken");
            drop(theirs.get_with_capacity(32 * MIB));
            registry.purge();
            for _ in 0..3 {
                registry.trim();
            }
            assert!(has_a_cache(&ours), "after three trims");
            ours.flush_thread();
            assert_whole_budget(&ours, "after three trims");
        },
    );
}

/// More of each class than a cache takes, so that it is full. The shared part gets the rest, and is purged by the caller.
fn fill_cache(pool: &Pool) {
    let held: Vec<_> = SMALL.iter().flat_map(|&size| (0..40).map(move |_| pool.get_with_capacity(size))).collect();
    drop(held);
}

/// With `count` sleepers whose caches are full; `meanwhile` is told the bytes that these hold.
fn with_full_sleepers(count: usize, meanwhile: impl FnOnce(&Pool) + Send) {
    let pool = pool();
    let mut first = 0;
    with_sleepers(
        count,
        || fill_cache(&pool),
        || {
            pool.purge();
            let retained = pool.stats().retained_bytes;
            if first == 0 {
                first = retained;
                assert!(first > THREAD_CACHE_BYTES_MAX / 2, "a cache was not filled: {first} bytes");
            }
            assert!(retained <= BUDGET / 2, "all small caches together take at most half: {retained} bytes");
        },
        || meanwhile(&pool),
    );
}

#[track_caller]
fn assert_no_buffer_is_freed(pool: &Pool, what: &str) {
    let dropped = pool.stats().dropped;
    for size in SMALL {
        (0..8).for_each(|_| use_once(pool, size));
        let held: Vec<_> = (0..8).map(|_| pool.get_with_capacity(size)).collect();
        drop(held);
    }
    assert_eq!(pool.stats().dropped, dropped, "{what}: a refused lease is never a freed buffer");
}

#[test]
fn after_250_sleepers_with_full_caches_the_next_thread_has_one_too() {
    with_full_sleepers(250, |pool| {
        assert!(has_a_cache(pool), "the 251st thread: {}", pool.stats());
        assert_all_hits(pool, "the 251st thread");
        assert_no_buffer_is_freed(pool, "the 251st thread");
        for _ in 0..3 {
            pool.trim();
        }
        assert_all_hits(pool, "the 251st thread, after three trims");
        // Half of the budget is for what no thread caches.
        pool.purge();
        assert!(pool.prefill(MIB, 64) >= 31, "the sleepers took more than half: {}", pool.stats());
    });
}

#[test]
fn after_400_sleepers_the_next_threads_small_buffers_are_still_hits_and_none_is_freed() {
    with_full_sleepers(400, |pool| {
        assert_all_hits(pool, "the 401st thread");
        assert_no_buffer_is_freed(pool, "the 401st thread");
        for _ in 0..3 {
            pool.trim();
        }
        pool.purge();
        assert_all_hits(pool, "the 401st thread, after three trims and a purge");
        assert!(pool.prefill(MIB, 64) >= 31, "the sleepers took more than half: {}", pool.stats());
    });
}

#[test]
fn a_tiny_budget_is_shared_as_hits_when_sleepers_have_their_part_of_it() {
    let pool = Pool::builder()
        .trim_interval(NEVER)
        .calibrate_calls_threshold(NO_CALIBRATION)
        .retained_bytes_max(64 << 10)
        .build();
    with_sleepers(
        32,
        || fill_cache(&pool),
        || {
            pool.purge();
        },
        || {
            let stats = pool.stats();
            assert!(stats.retained_bytes <= 32 << 10, "all small caches together take at most half: {stats}");
            assert_all_hits(&pool, "32 sleepers and 64 KiB");
            pool.purge();
            pool.flush_thread();
            assert!(pool.prefill(1 << 10, 64) >= 32, "the sleepers took more than half: {}", pool.stats());
        },
    );
}
