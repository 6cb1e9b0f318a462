//! The budget at every instant, by a witness that can fail: the allocator of `support/witness.rs`.

// Blocks are counted, not buffers that leak-trace has a table of.
#![cfg(not(feature = "leak-trace"))]

use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use bytebufferpool::{Builder, Pool, Registry};

#[path = "support/identities.rs"]
mod identities;
#[path = "support/witness.rs"]
mod witness;

use identities::assert_balanced;
use witness::{LEAST_SIZE, Witness, end, get, grow};

#[global_allocator]
static HEAP: Witness = Witness;

const BUDGET: usize = 1 << 20;

/// Of the sizes none is found in a search for another, so that what is in use is known before it is got.
const SIZES: [usize; 4] = [LEAST_SIZE, LEAST_SIZE << 3, LEAST_SIZE << 6, LEAST_SIZE << 9];

const THREADS: u64 = 64;
const LIVES: u64 = 4 * THREADS;

/// A window of all classes: the max size stays above what is used here.
fn builder() -> Builder {
    Pool::builder().max_percentile(1.0).trim_interval(Duration::MAX)
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// A thread's life, of 50 to 150 rounds.
fn work(pools: &[&Pool], seed: u64) {
    let mut random = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut held = VecDeque::new();
    for _ in 0..50 + next(&mut random) % 100 {
        let pool = pools[next(&mut random) as usize % pools.len()];
        let size = next(&mut random) as usize % SIZES.len();
        let mut buf = get(pool, SIZES[size]);
        if size + 1 < SIZES.len() && next(&mut random) % 16 == 0 {
            grow(&mut buf, SIZES[size + 1]);
        }
        held.push_back(buf);
        while held.len() > next(&mut random) as usize % 6 {
            held.pop_front().into_iter().for_each(end);
        }
        match next(&mut random) % 40 {
            0 => pool.flush_thread(),
            1 => drop(pool.prefill(SIZES[0], 40)),
            2 => drop(pool.prefill(SIZES[1], 20)),
            3 => drop(pool.trim()),
            4 => drop(pool.purge()),
            5 => pool.calibrate(),
            6 => {
                // Cut to a size of ours.
                witness::begin_use(SIZES[1]);
                pool.put(Vec::with_capacity(SIZES[1] + 100));
                witness::end_use(SIZES[1]);
            }
            _ => {}
        }
    }
    held.into_iter().for_each(end);
}

/// Runs all lives, 64 of them beside each other: when one ends the next begins.
fn live(life: impl Fn(u64) + Sync) {
    thread::scope(|scope| {
        let begin = |number| {
            let life = &life;
            scope.spawn(move || life(number))
        };
        let mut living: VecDeque<_> = (0..THREADS).map(begin).collect();
        for number in THREADS..LIVES {
            living.pop_front().into_iter().for_each(|life| life.join().expect("no panic"));
            living.push_back(begin(number));
        }
        living.into_iter().for_each(|life| life.join().expect("no panic"));
    });
}

/// No thread operates any more.
#[track_caller]
fn assert_kept_within(budget: usize, pools: &[&Pool]) {
    let all: Vec<_> = pools.iter().map(|pool| pool.stats()).collect();
    all.iter().for_each(|stats| assert_balanced(stats, "at rest"));
    let refused: u64 = all.iter().map(|stats| stats.dropped.over_budget).sum();
    assert!(refused > 0 && all.iter().all(|stats| stats.hits > 0), "the budget was never reached: {all:?}");
    let retained: usize = all.iter().map(|stats| stats.retained_bytes).sum();
    assert_eq!(witness::left(), budget as i64 - retained as i64, "at rest both agree: {all:?}");
    let least = witness::least_left();
    assert!(least >= 0, "{} bytes above the budget and what is in use", -least);
}

#[test]
fn beside_64_threads_no_more_is_alive_than_the_budget_and_what_is_in_use() {
    let _alone = witness::watch(BUDGET);
    let pool = builder().retained_bytes_max(BUDGET).build();
    live(|life| work(&[&pool], life));
    assert_kept_within(BUDGET, &[&pool]);
}

/// Two pools, one of which has a smaller budget of its own; and others that begin and end, full, all the time.
#[test]
fn beside_64_threads_the_pools_of_a_registry_keep_to_its_budget() {
    let _alone = witness::watch(BUDGET);
    let registry = Registry::with_budget(BUDGET);
    let a = registry.get_or_create("a", builder()).expect("allowed values");
    let b = registry.get_or_create("b", builder().retained_bytes_max(BUDGET / 2)).expect("allowed values");
    live(|life| {
        work(&[&a, &b], life);
        let name = life.to_string();
        let own = registry.get_or_create(&name, builder()).expect("allowed values");
        work(&[&a, &own], life + LIVES);
        if life % 8 == 0 {
            registry.trim();
        }
        own.prefill(SIZES[2], usize::MAX);
        drop(registry.remove(&name));
        drop(own);
    });
    assert_eq!(registry.names(), ["a", "b"]);
    assert_kept_within(BUDGET, &[&a, &b]);
    registry.purge();
    let room = a.prefill(SIZES[0], usize::MAX) * SIZES[0];
    assert_eq!((room, witness::left()), (BUDGET, 0), "all of the budget can be had again");
}

const FULL_BUDGET: usize = 4 << 20;

static FULL: Pool = Pool::builder().retained_bytes_max(FULL_BUDGET).trim_interval(Duration::MAX).build();

/// Before a block is free, another thread takes all that the budget has left.
fn fill_up() {
    let fill = || [64 << 10, LEAST_SIZE].map(|size| FULL.prefill(size, usize::MAX));
    thread::scope(|scope| scope.spawn(fill).join().expect("no panic"));
}

type Named<F> = (&'static str, F);

/// The bytes of a buffer are free again when it is freed, and not before: in a thread's cache, in a place and in the depot.
#[test]
fn a_buffer_is_freed_before_its_bytes_are_released() {
    let prepare: [Named<fn()>; 3] = [
        ("a thread's cache", || end(get(&FULL, LEAST_SIZE))),
        ("a place", || end(get(&FULL, 64 << 10))),
        ("the depot", || assert_eq!(FULL.prefill(64 << 10, 1), 1)),
    ];
    let free: [Named<fn() -> usize>; 2] = [("purge", || FULL.purge()), ("trim", || FULL.trim() + FULL.trim())];
    for (place, prepare) in prepare {
        for (how, free) in free {
            let _alone = witness::watch(FULL_BUDGET);
            prepare();
            witness::before_next_free(fill_up);
            assert!(free() > 0 && witness::has_freed(), "{place}, {how}: nothing was freed");
            FULL.purge();
            let least = witness::least_left();
            assert!(least >= 0, "{place}, {how}: {} bytes above the budget", -least);
            assert!(least < FULL_BUDGET as i64 / 2, "{place}, {how}: the budget was not filled");
        }
    }
}
