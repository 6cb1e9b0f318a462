//! Early calibration beside the model, over traces that are long enough for it.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::driver::{Driver, Op, Setup};
use crate::{DefaultSize, Growth, MAX_CLASS_SIZE, Pool};

fn setups() -> impl Strategy<Value = Setup> {
    let learning =
        (prop_oneof![Just(100_u64), Just(500), Just(100_000)], prop_oneof![Just(0.95), Just(0.8), Just(0.5)]);
    let sizes = (prop_oneof![Just(64_usize), Just(256)], prop_oneof![Just(1 << 20), Just(4096_usize)]);
    let growth = prop_oneof![Just(Growth::NextClass), Just(Growth::MaxSize)];
    (learning, sizes, growth, any::<bool>()).prop_map(|((threshold, max_percentile), sizes, growth, early)| Setup {
        threshold,
        max_percentile,
        policy: DefaultSize::Percentile(0.95),
        growth,
        calibrate_early: early,
        default_size: 64,
        max_size: sizes.0,
        default_size_limit: 64.max(sizes.1 / 4),
        max_size_limit: sizes.1.min(MAX_CLASS_SIZE),
        retained_bytes_max: 64 << 20,
        thread_cache_bytes_max: 128 << 10,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Messages of one size, then of another, and so on, ended in every way that ends a use.
    #[test]
    fn sizes_that_shift_raise_the_max_size_as_the_model_says(
        setup in setups(),
        phases in vec((1_usize..6000, 20_usize..220, 0_u8..5), 2..5),
    ) {
        let pool = Arc::new(setup.pool());
        let operations: Vec<Op> = phases
            .into_iter()
            .flat_map(|(len, count, end)| (0..count).flat_map(move |_| Op::use_once(len, end)))
            .collect();
        Driver::new(&setup, &pool, true).run(&operations);
    }
}

fn use_times(pool: &Pool, size: usize, uses: u64) {
    (0..uses).for_each(|_| drop(pool.get_with_capacity(size)));
}

/// As a growth follows what the last calibration has learned.
#[test]
fn a_growth_jumps_to_a_max_size_that_was_raised_early() {
    let pool = Pool::builder().growth(Growth::MaxSize).build();
    use_times(&pool, 64, 100);
    pool.calibrate();
    use_times(&pool, 1000, 100);
    assert_eq!((pool.stats().calibrations, pool.max_size()), (1, 1024));
    pool.purge();
    let mut buf = pool.get();
    buf.extend_from_slice(&[7; 65]);
    assert_eq!(buf.capacity(), 1024);
}

/// The share is twice that of the calls which `max_percentile` leaves out: here a half.
#[test]
fn a_share_that_is_reached_and_not_exceeded_raises_nothing() {
    for (below, raised) in [(64, true), (65, false)] {
        let pool = Pool::builder().max_percentile(0.75).max_size(64).build();
        use_times(&pool, 64, below);
        use_times(&pool, 1000, 65);
        assert_eq!(pool.max_size(), if raised { 1024 } else { 64 }, "{below} calls below, 65 above");
    }
}
