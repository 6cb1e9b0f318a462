//! Pools that share a budget.

use std::sync::Arc;

use super::support::{
    BUDGET, LARGE, SMALL, assert_at_rest, assert_budget_is_whole, builder, check, get, join_all, spawn,
};
use crate::Registry;

/// Two threads use both pools; one takes all that the common budget has left, now for one pool and now for the other; one
/// trims both. A third pool, the greediest, ends meanwhile with all it has.
#[test]
fn pools_together_keep_to_the_common_budget() {
    check(BUDGET, || {
        let registry = Arc::new(Registry::with_budget(BUDGET));
        let pools = ["a", "b", "c"].map(|name| registry.get_or_create(name, builder()).expect("allowed values"));
        let [a, b, c] = pools;
        let users = [[&a, &b], [&b, &a]].map(|pools| {
            let pools = pools.map(Arc::clone);
            spawn(move || {
                for turn in 0..4 {
                    let size = if turn % 2 == 0 { SMALL } else { LARGE };
                    drop(pools.each_ref().map(|pool| get(pool, size)));
                }
            })
        });
        let filler = {
            let (registry, pools) = (Arc::clone(&registry), [&a, &b].map(Arc::clone));
            spawn(move || {
                c.prefill(LARGE, 1);
                drop(get(&c, SMALL));
                drop(registry.remove("c"));
                // With everything in it.
                drop(c);
                for pool in &pools {
                    pool.prefill(LARGE, usize::MAX);
                    drop(get(pool, LARGE));
                }
            })
        };
        let trimmer = spawn(move || {
            registry.trim();
            registry.trim();
            registry
        });
        join_all(users.into_iter().chain([filler]));
        let registry = join_all([trimmer]);
        let retained = assert_at_rest([&a, &b], BUDGET);
        assert!(retained <= BUDGET);
        assert_eq!(registry[0].trim() + registry[0].trim(), retained, "nobody used it for two intervals");
        for (pool, other) in [(&a, &b), (&b, &a)] {
            other.purge();
            assert_budget_is_whole(pool, BUDGET);
        }
    });
}
