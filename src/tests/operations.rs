//! Any sequence of operations, on one thread: the pool beside the model.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::driver::{Driver, Op, Setup, operations, setups};

fn run(setup: &Setup, operations: &[Op], exact: bool) {
    let pool = Arc::new(setup.pool());
    Driver::new(setup, &pool, exact).run(operations);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_books_contents_and_capacities_are_those_of_the_model(
        setup in setups(),
        operations in vec(operations(false), 1..150),
    ) {
        run(&setup, &operations, true);
    }

    #[test]
    fn with_trims_between_the_books_balance_and_only_the_unused_is_freed(
        setup in setups(),
        operations in vec(operations(true), 1..150),
    ) {
        run(&setup, &operations, true);
    }
}
