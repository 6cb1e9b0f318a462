//! Several threads, deterministic outcomes: every figure asserted here is bounded whatever the scheduler does.
//!
//! A thread's hand-back runs in its thread-local destructors, so every thread is joined before the books are read
//! (`thread::scope` alone returns while destructors are still pending). Pools are `static` where a test's threads are
//! plain ones.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

#[path = "support/channel.rs"]
mod channel;
#[path = "support/identities.rs"]
mod identities;

use bytebufferpool::{DefaultSize, Pool, PooledBuf, Stats};
use channel::Channel;
use identities::assert_balanced;

/// No interval ends by itself.
const NEVER: Duration = Duration::from_secs(1 << 30);

const THREAD_CACHE_BYTES_MAX: usize = 128 << 10;

/// At rest, and everything idle within this thread's reach.
#[track_caller]
fn assert_nothing_is_stranded(pool: &Pool) {
    let stats = pool.stats();
    assert_balanced(&stats, "at rest");
    assert_eq!(stats.outstanding, 0, "{stats}");
    assert_eq!(pool.purge(), stats.retained_bytes, "{stats}");
    let stats = pool.stats();
    assert_eq!((stats.retained_bytes, stats.retained_buffers), (0, 0), "{stats}");
    assert_balanced(&stats, "at rest");
}

/// Misses and gets between two looks.
fn missed(before: &Stats, after: &Stats) -> (u64, u64) {
    (after.misses - before.misses, after.gets - before.gets)
}

#[track_caller]
fn assert_share(part: u64, whole: u64, percent_max: f64, what: &str) {
    let percent = part as f64 * 100.0 / whole as f64;
    assert!(percent <= percent_max, "{what}: {part} of {whole}, {percent:.2} %");
}

fn join_all(threads: Vec<thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("the thread's own assertions hold");
    }
}

// zeropool 0.7.0 kept one cache per thread whatever the pool: two pools on a thread had 0 % hits.
#[test]
fn two_pools_alternating_on_one_thread_hit_at_least_99_percent() {
    let pools = [(); 2].map(|()| Pool::builder().trim_interval(NEVER).build());
    for size in [100, 4000, 30_000, 100_000] {
        let before = pools.each_ref().map(Pool::stats);
        for use_no in 0..2000 {
            for pool in &pools {
                pool.get_with_capacity(size).push(use_no as u8);
            }
            let (mut a, mut b) = (pools[0].get_with_capacity(size), pools[1].get_with_capacity(size));
            a.push(1);
            b.push(2);
        }
        for (pool, before) in pools.iter().zip(&before) {
            let (misses, gets) = missed(before, &pool.stats());
            assert_eq!(gets, 4000);
            assert_share(misses, gets, 1.0, "misses");
        }
    }
    // Their buffers do not mix.
    for pool in &pools {
        assert_nothing_is_stranded(pool);
    }
}

#[test]
fn a_third_and_fourth_pool_on_the_thread_hit_as_well() {
    let pools: Vec<Pool> = (0..16).map(|_| Pool::builder().trim_interval(NEVER).build()).collect();
    for _ in 0..500 {
        for pool in &pools {
            pool.get().push(1);
        }
    }
    for pool in &pools {
        let stats = pool.stats();
        assert_eq!((stats.gets, stats.misses), (500, 1));
    }
}

// corefx#33084: consumers hoard what producers allocate.
#[test]
fn from_producer_to_consumer_misses_stay_below_2_percent_and_the_consumer_hoards_no_more_than_its_cache() {
    const MESSAGES: usize = 10_000;
    for size in [200, 4000, 30_000, 100_000] {
        let pool = Pool::builder().trim_interval(NEVER).thread_cache_bytes_max(THREAD_CACHE_BYTES_MAX).build();
        let channel = Channel::new(32);
        let (warm, counted, read) = (Barrier::new(2), Barrier::new(2), Barrier::new(2));
        // Figures are only taken in here and judged below: a panic beside a barrier would hang, not fail.
        let (before, after, hoarded, garbled) = thread::scope(|scope| {
            let consumer = scope.spawn(|| {
                let mut garbled = 0;
                for message in 0..2 * MESSAGES {
                    if message == MESSAGES {
                        warm.wait();
                    }
                    let buf: PooledBuf<&Pool> = channel.receive();
                    garbled += usize::from(buf != (message as u64).to_le_bytes());
                }
                counted.wait();
                // Alive with its cache until that was looked at.
                read.wait();
                garbled
            });
            let send = |message: usize| {
                let mut buf = pool.get_with_capacity(size);
                buf.extend_from_slice(&(message as u64).to_le_bytes());
                channel.send(buf);
            };
            (0..MESSAGES).for_each(send);
            warm.wait();
            let before = pool.stats();
            (MESSAGES..2 * MESSAGES).for_each(send);
            counted.wait();
            let after = pool.stats();
            // What this thread and the shared part held is gone; what is left is the consumer's.
            pool.purge();
            let hoarded = pool.stats().retained_bytes;
            read.wait();
            (before, after, hoarded, consumer.join().expect("no panic"))
        });
        assert_eq!(garbled, 0);
        assert_balanced(&after, "at rest");
        let (misses, gets) = missed(&before, &after);
        assert_eq!(gets, MESSAGES as u64);
        assert_share(misses, gets, 2.0, &format!("misses at {size} bytes"));
        assert!(hoarded <= THREAD_CACHE_BYTES_MAX, "{size}: the consumer keeps {hoarded} bytes");
        assert_nothing_is_stranded(&pool);
    }
}

#[test]
fn a_thousand_short_lived_threads_strand_nothing_and_the_next_thread_s_gets_hit() {
    static POOL: Pool = Pool::builder().trim_interval(NEVER).build();
    const SIZES: [usize; 8] = [64, 64, 100, 1000, 1000, 30_000, 32_768, 100_000];
    let one_life = || {
        thread::spawn(|| {
            // All at once, so that each thread wants the same buffers, none of them twice.
            let held = SIZES.map(|size| POOL.get_with_capacity(size));
            drop(held);
        })
    };
    one_life().join().expect("no panic");
    assert_eq!(POOL.stats().misses, SIZES.len() as u64);
    for life in 1..1000 {
        one_life().join().expect("no panic");
        let stats = POOL.stats();
        assert_eq!(stats.misses, SIZES.len() as u64, "thread {life} missed: {stats}");
        assert_eq!((stats.outstanding, stats.retained_buffers), (0, SIZES.len() as u64), "thread {life}: {stats}");
    }
    assert_nothing_is_stranded(&POOL);
}

#[test]
fn short_lived_threads_beside_each_other_strand_nothing() {
    static POOL: Pool = Pool::builder().trim_interval(NEVER).build();
    for _ in 0..40 {
        let threads = (0..8_usize).map(|i| {
            thread::spawn(move || {
                for round in 0..20_usize {
                    let size = 64 << ((i + round) % 11);
                    let mut held: Vec<_> = (0..3).map(|_| POOL.get_with_capacity(size)).collect();
                    held[0].extend_from_slice(&vec![7; size + 1]);
                }
            })
        });
        join_all(threads.collect());
        let stats = POOL.stats();
        assert_balanced(&stats, "at rest");
        assert_eq!(stats.outstanding, 0);
    }
    // 8 threads x 3 buffers (and one grown) of each of 12 classes is the most that was ever in use at once.
    let in_use_max = 8 * 4 * 12;
    assert!(POOL.stats().retained_buffers <= in_use_max, "{}", POOL.stats());
    assert_nothing_is_stranded(&POOL);
}

#[test]
fn a_buffer_dropped_on_another_thread_is_returned_there() {
    let pool = Arc::new(Pool::builder().trim_interval(NEVER).build());
    for size in [100, 100_000] {
        let buf = pool.get_owned_with_capacity(size);
        thread::spawn(move || drop(buf)).join().expect("no panic");
        let before = pool.stats();
        assert_eq!(before.outstanding, 0);
        assert_eq!(before.retained_buffers, if size == 100 { 1 } else { 2 });
        let again = pool.get_owned_with_capacity(size);
        assert_eq!(pool.stats().hits, before.hits + 1, "the ended thread's buffer is found");
        thread::spawn(move || drop(again)).join().expect("no panic");
    }
    assert_nothing_is_stranded(&pool);
}

#[test]
fn a_buffer_dropped_after_its_thread_ended_is_returned() {
    let pool = Arc::new(Pool::builder().trim_interval(NEVER).build());
    let there = Arc::clone(&pool);
    let buf = thread::spawn(move || there.get_owned_with_capacity(500)).join().expect("no panic");
    assert_eq!(pool.stats().outstanding, 1);
    drop(buf);
    let stats = pool.stats();
    assert_eq!((stats.outstanding, stats.retained_bytes), (0, 512));
    assert_nothing_is_stranded(&pool);
}

#[test]
fn a_frozen_buffer_comes_home_from_the_thread_of_its_last_clone() {
    let pool = Arc::new(Pool::builder().trim_interval(NEVER).build());
    let mut buf = pool.get_owned();
    buf.extend_from_slice(b"shared");
    let frozen = buf.freeze();
    let clones = (0..8).map(|i| {
        let clone = frozen.slice(i % 6..);
        thread::spawn(move || assert!(b"shared".ends_with(&clone)))
    });
    let threads = clones.collect();
    drop(frozen);
    join_all(threads);
    let stats = pool.stats();
    assert_eq!((stats.outstanding, stats.puts, stats.retained_bytes), (0, 1, 64));
}

/// In thread-locals: guards that die with the thread, and a value whose destructor uses a pool.
mod held_by_a_thread_local {
    use super::*;

    /// What dies with the thread.
    #[derive(Default)]
    struct Held {
        guards: Vec<PooledBuf<&'static Pool>>,
        at_the_end: Option<fn()>,
    }

    impl Drop for Held {
        fn drop(&mut self) {
            if let Some(at_the_end) = self.at_the_end {
                at_the_end();
            }
        }
    }

    thread_local! {
        static HELD: RefCell<Held> = RefCell::new(Held::default());
        static HELD_TOO: RefCell<Held> = RefCell::new(Held::default());
    }

    /// Runs `hold` on a thread of its own, with `HELD` registered before the pool's first use there or after.
    fn on_a_thread(pool: &'static Pool, held_first: bool, hold: fn(&'static Pool, &mut Held)) {
        thread::spawn(move || {
            if held_first {
                HELD.with(|_| ());
                drop(pool.get());
            } else {
                drop(pool.get());
                HELD.with(|_| ());
            }
            HELD.with(|held| hold(pool, &mut held.borrow_mut()));
            // One more, registered last of all: it dies first on Linux.
            HELD_TOO.with(|held| hold(pool, &mut held.borrow_mut()));
        })
        .join()
        .expect("the thread ends in peace");
    }

    #[test]
    fn guards_are_returned_by_the_dying_thread_in_both_registration_orders() {
        static POOLS: [Pool; 2] = [const { Pool::builder().trim_interval(NEVER).build() }; 2];
        const SIZES: [usize; 5] = [10, 1000, 1000, 32_768, 100_000];
        for (pool, held_first) in POOLS.iter().zip([true, false]) {
            on_a_thread(pool, held_first, |pool, held| {
                held.guards.extend(SIZES.map(|size| pool.get_with_capacity(size)));
                held.guards[1].extend_from_slice(&[7; 900]);
            });
            let stats = pool.stats();
            assert_balanced(&stats, "at rest");
            assert_eq!(stats.outstanding, 0, "held first: {held_first}; {stats}");
            assert_eq!(stats.dropped.total(), 0, "there is budget for all: {stats}");
            let before = stats;
            let again: Vec<_> =
                [SIZES, SIZES].as_flattened().iter().map(|&size| pool.get_with_capacity(size)).collect();
            assert_eq!(pool.stats().misses, before.misses, "all of them lie within reach");
            drop(again);
            assert_nothing_is_stranded(pool);
        }
    }

    #[test]
    fn get_put_and_freeze_work_inside_a_thread_local_destructor_in_both_registration_orders() {
        static POOL: Pool = Pool::builder().trim_interval(NEVER).build();
        static ENDS: AtomicU64 = AtomicU64::new(0);
        fn use_everything() {
            for size in [10, 5000, 100_000] {
                let mut buf = POOL.get_with_capacity(size);
                assert!(buf.is_empty() && buf.capacity() >= size);
                buf.extend_from_slice(&vec![7; size + 100]);
                let mut other = POOL.get();
                other.extend_from_slice(&buf);
                assert_eq!(other, buf);
                let frozen = other.freeze();
                drop(buf);
                assert_eq!(frozen.slice(..5), [7; 5][..]);
                POOL.put(Vec::with_capacity(size));
                POOL.get().discard();
                POOL.put(POOL.get().into_vec());
            }
            assert!(POOL.try_get_with_capacity(usize::MAX).is_err());
            POOL.flush_thread();
            POOL.calibrate();
            POOL.trim();
            POOL.prefill(1000, 2);
            assert!(POOL.stats().gets > 0);
            ENDS.fetch_add(1, Ordering::SeqCst);
        }
        for held_first in [true, false] {
            on_a_thread(&POOL, held_first, |pool, held| {
                held.guards.push(pool.get_with_capacity(3000));
                held.at_the_end = Some(use_everything);
            });
        }
        assert_eq!(ENDS.load(Ordering::SeqCst), 4, "each destructor ran to its end");
        assert_nothing_is_stranded(&POOL);
    }

    #[test]
    fn a_pool_first_used_inside_a_thread_local_destructor_works() {
        static POOL: Pool = Pool::builder().trim_interval(NEVER).build();
        static OTHER: Pool = Pool::new();
        on_a_thread(&OTHER, true, |_, held| {
            held.at_the_end = Some(|| POOL.get().extend_from_slice(&[7; 200]));
        });
        let stats = POOL.stats();
        assert_eq!((stats.gets, stats.puts, stats.outstanding), (2, 2, 0));
        assert_nothing_is_stranded(&POOL);
    }

    thread_local! {
        static OWNED: RefCell<Vec<PooledBuf<Arc<Pool>>>> = const { RefCell::new(Vec::new()) };
    }

    #[test]
    fn the_last_owned_guard_may_take_its_pool_along_inside_a_thread_local_destructor() {
        for held_first in [true, false] {
            let pool = Arc::new(Pool::builder().trim_interval(NEVER).build());
            let gone = Arc::downgrade(&pool);
            thread::spawn(move || {
                if held_first {
                    OWNED.with(|_| ());
                }
                let bufs = [10, 1000, 100_000].map(|size| pool.get_owned_with_capacity(size));
                drop(pool.get_owned_with_capacity(2000));
                OWNED.with(|owned| owned.borrow_mut().extend(bufs));
            })
            .join()
            .expect("the thread ends in peace");
            assert!(gone.upgrade().is_none(), "held first: {held_first}");
        }
    }

    #[test]
    fn a_guard_is_returned_when_its_thread_panics() {
        static POOL: Pool = Pool::builder().trim_interval(NEVER).build();
        let ended = thread::spawn(|| {
            let mut buf = POOL.get_with_capacity(1000);
            HELD.with(|held| held.borrow_mut().guards.push(POOL.get_with_capacity(50)));
            buf.push(1);
            panic!("on purpose");
        })
        .join();
        assert!(ended.is_err());
        let stats = POOL.stats();
        assert_eq!((stats.outstanding, stats.puts, stats.retained_bytes), (0, 2, 1024 + 64), "{stats}");
        assert_nothing_is_stranded(&POOL);
    }
}

/// 64 threads with warm caches asleep; one other works. Returns its misses and gets.
fn beside_64_sleepers(pool: &'static Pool, size: usize) -> (u64, u64) {
    let (warm, ready, wake) = (Arc::new(Barrier::new(64)), Arc::new(Barrier::new(65)), Arc::new(Barrier::new(65)));
    let sleepers: Vec<_> = (0..64)
        .map(|_| {
            let (warm, ready, wake) = (Arc::clone(&warm), Arc::clone(&ready), Arc::clone(&wake));
            thread::spawn(move || {
                for _ in 0..3 {
                    // All hold at once, so that each warms its cache with buffers of its own.
                    let held: Vec<_> = (0..4).map(|_| pool.get_with_capacity(size)).collect();
                    warm.wait();
                    drop(held);
                    warm.wait();
                }
                ready.wait();
                wake.wait();
            })
        })
        .collect();
    ready.wait();
    let one_use = || {
        let mut held = [(); 4].map(|()| pool.get_with_capacity(size));
        held[0].push(1);
    };
    (0..50).for_each(|_| one_use());
    let before = pool.stats();
    (0..2000).for_each(|_| one_use());
    let after = pool.stats();
    assert_balanced(&after, "at rest");
    wake.wait();
    join_all(sleepers);
    missed(&before, &after)
}

#[test]
fn sixty_four_sleeping_threads_do_not_push_an_active_one_into_misses() {
    static POOLS: [Pool; 4] = [const { Pool::builder().trim_interval(NEVER).build() }; 4];
    for (pool, size) in POOLS.iter().zip([64, 1000, 32_768, 100_000]) {
        let (misses, gets) = beside_64_sleepers(pool, size);
        assert_share(misses, gets, 1.0, &format!("misses at {size} bytes"));
        assert_nothing_is_stranded(pool);
    }
}

#[test]
fn sixty_four_sleeping_threads_leave_an_active_one_half_of_a_budget_of_1_mib() {
    static POOLS: [Pool; 4] = [const { Pool::builder().retained_bytes_max(1 << 20).trim_interval(NEVER).build() }; 4];
    for (pool, size) in POOLS.iter().zip([64, 1000, 32_768, 100_000]) {
        let (misses, gets) = beside_64_sleepers(pool, size);
        assert_share(misses, gets, 1.0, &format!("misses at {size} bytes"));
        assert_nothing_is_stranded(pool);
    }
}

#[test]
fn trim_after_a_burst_returns_the_memory_in_two_intervals() {
    let pool = Pool::builder().trim_interval(NEVER).build();
    for size in [100, 1000, 16_384, 100_000, 1 << 20] {
        let burst: Vec<_> = (0..20).map(|_| pool.get_with_capacity(size)).collect();
        drop(burst);
        assert!(pool.stats().retained_bytes >= 20 * size);
        let freed = pool.trim() + pool.trim();
        assert!(freed >= 20 * size, "freed {freed}");
        let stats = pool.stats();
        assert_eq!(stats.retained_bytes, 0, "{stats}");
        assert_balanced(&stats, "at rest");
    }
}

#[test]
fn trim_after_a_burst_of_threads_that_ended_or_flushed_returns_all_of_it() {
    static POOL: Pool = Pool::builder().trim_interval(NEVER).build();
    let (idle, wake) = (Arc::new(Barrier::new(5)), Arc::new(Barrier::new(5)));
    let burst = || {
        for size in [100, 1000, 16_384, 100_000] {
            drop([(); 20].map(|()| POOL.get_with_capacity(size)));
        }
    };
    join_all((0..4).map(|_| thread::spawn(burst)).collect());
    let flushed: Vec<_> = (0..4)
        .map(|_| {
            let (idle, wake) = (Arc::clone(&idle), Arc::clone(&wake));
            thread::spawn(move || {
                burst();
                POOL.flush_thread();
                idle.wait();
                wake.wait();
            })
        })
        .collect();
    idle.wait();
    assert!(POOL.stats().retained_bytes > 0);
    POOL.trim();
    POOL.trim();
    let stats = POOL.stats();
    wake.wait();
    join_all(flushed);
    assert_eq!(stats.retained_bytes, 0, "{stats}");
    assert_nothing_is_stranded(&POOL);
}

#[test]
fn what_live_threads_keep_through_trims_is_bounded_and_goes_at_their_next_operation() {
    static POOL: Pool = Pool::builder().trim_interval(NEVER).thread_cache_bytes_max(THREAD_CACHE_BYTES_MAX).build();
    const THREADS: usize = 4;
    let steps = Arc::new(Barrier::new(THREADS + 1));
    let threads = (0..THREADS)
        .map(|_| {
            let steps = Arc::clone(&steps);
            thread::spawn(move || {
                for size in [100, 1000, 16_384, 32_768, 100_000, 1 << 20] {
                    drop([(); 10].map(|()| POOL.get_with_capacity(size)));
                }
                steps.wait();
                // Meanwhile two intervals pass.
                steps.wait();
                drop(POOL.get_with_capacity(64));
                steps.wait();
                steps.wait();
            })
        })
        .collect();
    steps.wait();
    POOL.trim();
    POOL.trim();
    let asleep = POOL.stats();
    steps.wait();
    steps.wait();
    let after_one_use = POOL.stats();
    steps.wait();
    join_all(threads);
    assert!(asleep.retained_bytes <= THREADS * THREAD_CACHE_BYTES_MAX, "{asleep}");
    let large: u64 = asleep.classes.iter().filter(|class| class.size > 32 << 10).map(|class| class.retained).sum();
    assert_eq!(large, 0, "a large idle buffer is within every trim's reach: {asleep}");
    // Each used one buffer just now (of at most two classes above), and nothing else is left.
    assert!(after_one_use.retained_buffers <= THREADS as u64, "{after_one_use}");
    assert!(after_one_use.retained_bytes <= THREADS * 256, "{after_one_use}");
    assert_nothing_is_stranded(&POOL);
}

#[test]
fn intervals_pass_by_themselves_with_calibrations() {
    let interval = Duration::from_millis(20);
    let pool = Pool::builder().trim_interval(interval).build();
    drop([(); 40].map(|()| pool.get_with_capacity(16_384)));
    for _ in 0..4 {
        thread::sleep(interval * 2);
        pool.get_with_capacity(16_384).push(1);
        pool.calibrate();
    }
    let stats = pool.stats();
    assert!(stats.retained_buffers <= 2, "one is in use now and then, 39 are not: {stats}");
    assert_balanced(&stats, "at rest");
}

#[test]
fn intervals_pass_by_themselves_with_exchanges_between_a_cache_and_the_shared_part() {
    let interval = Duration::from_millis(20);
    // Far from any calibration: the exchanges must do it.
    let pool = Pool::builder().trim_interval(interval).build();
    drop([(); 300].map(|()| pool.get_with_capacity(16_384)));
    for _ in 0..5 {
        thread::sleep(interval * 2);
        // 16 at once overflow 128 KiB, again and again.
        for _ in 0..4 {
            drop([(); 16].map(|()| pool.get_with_capacity(16_384)));
        }
    }
    let stats = pool.stats();
    assert!(stats.retained_buffers <= 2 * 16, "16 are in use, 284 are not: {stats}");
    assert!(stats.trimmed >= 300 - 2 * 16, "all 300 were kept, and then trimmed: {stats}");
    assert_balanced(&stats, "at rest");
}

#[test]
fn a_large_buffer_put_by_one_thread_is_found_by_another_and_by_trim_and_purge() {
    static POOL: Pool = Pool::builder().trim_interval(NEVER).build();
    let steps = Arc::new(Barrier::new(2));
    let there = Arc::clone(&steps);
    let thread = thread::spawn(move || {
        for _ in 0..3 {
            drop([POOL.get_with_capacity(100_000), POOL.get_with_capacity(5 << 20)]);
            there.wait();
            // The other thread takes them, while this one lives.
            there.wait();
        }
    });
    steps.wait();
    let before = POOL.stats();
    let found = [POOL.get_with_capacity(100_000), POOL.get_with_capacity(5 << 20)];
    assert_eq!(POOL.stats().hits, before.hits + 2, "{before}");
    for buf in found {
        buf.discard();
    }
    steps.wait();
    steps.wait();
    let freed = POOL.trim() + POOL.trim();
    assert_eq!((freed, POOL.stats().retained_bytes), ((128 << 10) + (8 << 20), 0));
    steps.wait();
    steps.wait();
    assert_eq!((POOL.purge(), POOL.stats().retained_bytes), ((128 << 10) + (8 << 20), 0));
    steps.wait();
    thread.join().expect("no panic");
    assert_nothing_is_stranded(&POOL);
}

#[test]
fn a_flushed_small_buffer_is_found_by_another_thread() {
    static POOL: Pool = Pool::builder().trim_interval(NEVER).build();
    let (flushed, taken) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (there_flushed, there_taken) = (Arc::clone(&flushed), Arc::clone(&taken));
    let thread = thread::spawn(move || {
        drop([(); 3].map(|()| POOL.get_with_capacity(1000)));
        POOL.flush_thread();
        there_flushed.wait();
        there_taken.wait();
    });
    flushed.wait();
    let held = [(); 3].map(|()| POOL.get_with_capacity(1000));
    let stats = POOL.stats();
    drop(held);
    taken.wait();
    thread.join().expect("no panic");
    assert_eq!((stats.hits, stats.misses), (3, 3), "{stats}");
    assert_nothing_is_stranded(&POOL);
}

#[test]
fn two_threads_past_the_threshold_use_a_window_once() {
    // Go's issue #15: the second thread calibrated an almost empty window, and the sizes collapsed.
    // The mode, as in Go: a percentile would stand on an edge here.
    static POOL: Pool =
        Pool::builder().default_policy(DefaultSize::Mode).calibrate_calls_threshold(500).trim_interval(NEVER).build();
    let threads = (0..4).map(|_| {
        thread::spawn(|| {
            for use_no in 0..20_000 {
                // Of every 20 uses one is large: 5 %, within what the max size covers.
                let len = if use_no % 20 == 7 { 6000 } else { 900 };
                POOL.get().resize(len, 7);
                if use_no > 5000 {
                    assert_eq!(POOL.default_size(), 1024);
                }
            }
        })
    });
    join_all(threads.collect());
    let stats = POOL.stats();
    // 80 000 uses, of which each window took at least 500 of 900 bytes.
    assert!((20..=76_000 / 500).contains(&stats.calibrations), "{stats}");
    assert_eq!(stats.default_size, 1024);
    assert_nothing_is_stranded(&POOL);
}
