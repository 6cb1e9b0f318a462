//! `Registry`: names, errors, and the budget over several pools.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use bytebufferpool::{Builder, Pool, Registry};

#[path = "support/identities.rs"]
mod identities;

use identities::assert_balanced;

const NEVER: Duration = Duration::from_secs(1 << 30);

fn builder() -> Builder {
    Pool::builder().trim_interval(NEVER)
}

#[test]
fn a_name_is_one_pool_with_its_own_configuration() {
    let registry = Registry::new();
    let small = registry.get_or_create("small", builder().default_size(100)).unwrap();
    let large = registry.get_or_create("large", builder().default_size(5000)).unwrap();
    assert_eq!((small.default_size(), large.default_size()), (128, 8192));
    let again = registry.get_or_create("small", builder().default_size(300)).unwrap();
    assert!(Arc::ptr_eq(&small, &again) && Arc::ptr_eq(&small, &registry.get("small").unwrap()));
    assert_eq!(registry.names(), ["large", "small"]);
    drop(small.get());
    assert_eq!(registry.stats("small").unwrap(), small.stats());
    assert_eq!(registry.all_stats(), [("large".to_owned(), large.stats()), ("small".to_owned(), small.stats())]);
}

#[test]
fn unknown_names_and_bad_values_are_errors_and_make_no_pool() {
    let registry = Registry::default();
    let unknown = registry.get("lines").unwrap_err();
    assert_eq!(unknown.name(), "lines");
    assert_eq!(unknown.to_string(), "there is no pool named \"lines\" in the registry");
    assert_eq!(registry.stats("lines").unwrap_err(), registry.remove("lines").unwrap_err());
    let error = registry.get_or_create("lines", builder().calibrate_calls_threshold(0)).unwrap_err();
    assert!(error.to_string().contains("calibrate_calls_threshold"));
    assert!(registry.names().is_empty());
    assert_eq!(format!("{registry:?}"), "Registry { budget: None, names: [] }");
}

const BUDGET: usize = 256 << 10;

/// How much a pool can take, and gives back again.
fn room(pool: &Pool) -> usize {
    pool.purge();
    let room = pool.prefill(4096, 1000) * 4096;
    assert_eq!(pool.purge(), room);
    room
}

#[test]
fn one_pool_may_take_all_of_the_budget_and_then_the_others_nothing() {
    let registry = Registry::with_budget(BUDGET);
    assert_eq!(registry.budget(), Some(BUDGET));
    let [a, b] = ["a", "b"].map(|name| registry.get_or_create(name, builder()).unwrap());
    assert_eq!(a.prefill(4096, 1000), BUDGET / 4096);
    for size in [64, 4096, 64 << 10] {
        assert_eq!(b.prefill(size, 1), 0);
        drop(b.get_with_capacity(size));
    }
    let stats = b.stats();
    assert_eq!((stats.retained_bytes, stats.dropped.over_budget), (0, 3));
    registry.trim();
    assert_eq!(registry.trim(), BUDGET, "unused for a whole interval");
    assert_eq!(a.stats().retained_bytes, 0);
    assert_eq!((room(&b), room(&a)), (BUDGET, BUDGET));
}

#[test]
fn a_pools_own_budget_holds_within_the_common_one() {
    let registry = Registry::with_budget(BUDGET);
    let pool = registry.get_or_create("a", builder().retained_bytes_max(8192)).unwrap();
    assert_eq!(room(&pool), 8192);
}

#[test]
fn a_pool_that_ends_gives_its_share_back() {
    let registry = Registry::with_budget(BUDGET);
    let [a, b] = ["a", "b"].map(|name| registry.get_or_create(name, builder()).unwrap());
    for size in [64, 4096, 32 << 10, 64 << 10] {
        drop(a.get_with_capacity(size));
    }
    assert!(a.stats().retained_bytes > 100 << 10);
    assert!(b.prefill(4096, 1000) < BUDGET / 4096);
    b.purge();
    drop(a);
    assert!(room(&b) < BUDGET, "the registry holds it still");
    drop(registry.remove("a").unwrap());
    assert_eq!(room(&b), BUDGET);
}

/// Threads work on three pools, pause together now and then, and end. At the pauses the sum of what each pool says, whose
/// own budget is far larger, is exact; `tests/budget_witness.rs` looks beside the threads. At the end nothing is missing in
/// the budget.
#[test]
fn the_sum_of_what_lies_idle_is_never_above_the_budget() {
    const THREADS: usize = 4;
    let registry = Registry::with_budget(BUDGET);
    let pools = ["a", "b", "c"]
        .map(|name| registry.get_or_create(name, Pool::builder().trim_interval(Duration::from_millis(1))).unwrap());
    let sum = || pools.iter().map(|pool| pool.stats().retained_bytes).sum::<usize>();
    let pause = Barrier::new(THREADS + 1);
    let mut greatest = 0;
    std::thread::scope(|scope| {
        for round in 0..15 {
            let workers: Vec<_> = (0..THREADS)
                .map(|worker| {
                    let (pools, pause) = (&pools, &pause);
                    scope.spawn(move || {
                        let mut random = (round * THREADS + worker + 1) as u64;
                        let mut held = Vec::new();
                        for _ in 0..200 {
                            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                            let pool = &pools[(random >> 33) as usize % 3];
                            let mut buf = pool.get();
                            buf.resize(1 << ((random >> 40) % 18), 1);
                            held.push(buf);
                            if held.len() > (random >> 50) as usize % 16 {
                                held.clear();
                            }
                        }
                        drop(held);
                        pause.wait();
                        // The main thread reads.
                        pause.wait();
                    })
                })
                .collect();
            pause.wait();
            let at_pause = sum();
            pause.wait();
            workers.into_iter().for_each(|worker| worker.join().expect("no panic"));
            greatest = greatest.max(at_pause);
            assert!(at_pause <= BUDGET, "{at_pause} bytes idle");
            assert!(sum() <= BUDGET, "{} bytes idle once threads have ended", sum());
        }
    });
    assert!(greatest > BUDGET / 2, "the budget never mattered: at most {greatest} bytes idle");
    pools.iter().for_each(|pool| assert_balanced(&pool.stats(), "at rest"));
    registry.purge();
    pools.iter().for_each(|pool| assert_eq!(room(pool), BUDGET));
}
