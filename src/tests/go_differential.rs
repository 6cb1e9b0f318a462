//! The original's algorithm beside ours: with `DefaultSize::Mode` and only `get` and `put` they agree.
//!
//! [`GoPool`] is valyala/bytebufferpool's `pool.go` in its own words, from what is known of it: the index by
//! shifting, the counters, the sort by calls, the sum that stops the scan.

use proptest::collection::vec;
use proptest::prelude::*;

use super::driver::NEVER;
use crate::{DefaultSize, Growth, MAX_CLASS_SIZE, Pool};

const MIN_BIT_SIZE: u32 = 6;
const STEPS: usize = 20;
const MIN_SIZE: u64 = 1 << MIN_BIT_SIZE;
const MAX_PERCENTILE: f64 = 0.95;

struct GoPool {
    calibrate_calls_threshold: u64,
    calls: [u64; STEPS],
    default_size: u64,
    max_size: u64,
    calibrations: u64,
    /// The last sort had classes with equally many calls, which the original orders at random.
    had_tie: bool,
}

impl GoPool {
    fn new(calibrate_calls_threshold: u64) -> GoPool {
        GoPool {
            calibrate_calls_threshold,
            calls: [0; STEPS],
            default_size: 0,
            max_size: 0,
            calibrations: 0,
            had_tie: false,
        }
    }

    fn put(&mut self, len: usize) {
        let index = index(len as i64);
        self.calls[index] += 1;
        if self.calls[index] > self.calibrate_calls_threshold {
            self.calibrate();
        }
    }

    fn calibrate(&mut self) {
        let mut sizes: Vec<(u64, u64)> = Vec::new();
        let mut calls_sum = 0;
        for i in 0..STEPS {
            let calls = std::mem::take(&mut self.calls[i]);
            calls_sum += calls;
            sizes.push((calls, MIN_SIZE << i));
        }
        sizes.sort_by_key(|&(calls, _)| std::cmp::Reverse(calls));
        self.had_tie = sizes.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].0 > 0);

        let default_size = sizes[0].1;
        let mut max_size = default_size;
        let max_sum = (calls_sum as f64 * MAX_PERCENTILE) as u64;
        calls_sum = 0;
        for (calls, size) in sizes {
            if calls_sum > max_sum {
                break;
            }
            calls_sum += calls;
            if size > max_size {
                max_size = size;
            }
        }
        self.default_size = default_size;
        self.max_size = max_size;
        self.calibrations += 1;
    }
}

fn index(mut n: i64) -> usize {
    n -= 1;
    n >>= MIN_BIT_SIZE;
    let mut index = 0;
    while n > 0 {
        n >>= 1;
        index += 1;
    }
    index.min(STEPS - 1)
}

/// Ours without what the original has not: no limit of its own on the default size, no early look at a window.
fn pool(threshold: u64, growth: Growth) -> Pool {
    Pool::builder()
        .calibrate_calls_threshold(threshold)
        .default_policy(DefaultSize::Mode)
        .calibrate_early(false)
        .default_size_limit(MAX_CLASS_SIZE)
        .growth(growth)
        .trim_interval(NEVER)
        .build()
}

fn assert_agree(pool: &Pool, go: &GoPool) {
    assert_eq!(pool.stats().calibrations, go.calibrations);
    if go.calibrations > 0 && !go.had_tie {
        assert_eq!((pool.default_size() as u64, pool.max_size() as u64), (go.default_size, go.max_size));
    }
}

#[test]
fn the_port_has_the_vectors_of_the_original() {
    let vectors = [(0, 0), (64, 0), (65, 1), (128, 1), (129, 2), (4096, 6), (4097, 7)];
    for (len, class) in vectors.into_iter().chain([(1 << 24, 18), ((1 << 24) + 1, 19), (1 << 25, 19), (1 << 40, 19)]) {
        assert_eq!(index(len), class, "length {len}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn ours_learns_what_the_original_learns(
        threshold in prop_oneof![1..10_u64, 10..60_u64],
        growth in prop_oneof![Just(Growth::NextClass), Just(Growth::MaxSize)],
        // The original counts a use of no bytes in class 0, we count none.
        lens in vec((prop_oneof![6 => 1..=200_usize, 3 => 1..=3000_usize, 1 => 1..=40_000_usize], any::<bool>()), 1..400),
    ) {
        let pool = pool(threshold, growth);
        let mut go = GoPool::new(threshold);
        for (len, donated) in lens {
            if donated {
                pool.put(vec![0; len]);
            } else {
                pool.get().resize(len, 0);
            }
            go.put(len);
            assert_agree(&pool, &go);
        }
    }
}

/// The original's `TestPoolCalibrate`: 1004 bytes, every 15th call random below 15 234.
#[test]
fn the_original_s_own_workload_settles_at_1024_and_16384_with_the_real_threshold() {
    let pool = pool(42_000, Growth::NextClass);
    let mut go = GoPool::new(42_000);
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for call in 0..STEPS as u64 * 42_000 / 4 {
        let mut len = 1004;
        if call % 15 == 0 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Not zero: see above.
            len = ((random >> 33) % 15_234).max(1) as usize;
        }
        pool.get().resize(len, 0);
        go.put(len);
        if call % 1000 == 0 {
            assert_agree(&pool, &go);
        }
    }
    assert_agree(&pool, &go);
    assert!(go.calibrations >= 4);
    assert_eq!((pool.default_size(), pool.max_size()), (1024, 16_384));
}
