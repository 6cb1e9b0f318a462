//! Buffers that are got by one thread and returned by another.

use std::sync::Arc;

use shuttle::sync::mpsc::sync_channel;

use super::support::{
    BUDGET, LARGE, SMALL, assert_at_rest, assert_budget_is_whole, builder, check, get, join_all, spawn,
};

/// Two producers, two consumers. What one thread returns the others find, so no more is allocated than twice what can be in
/// use at once.
#[test]
fn from_two_producers_to_two_consumers_nothing_is_lost() {
    const MESSAGES: usize = 12;
    check(BUDGET, || {
        let pool = Arc::new(builder().build());
        let (senders, receivers): (Vec<_>, Vec<_>) = [(); 2].map(|()| sync_channel(2)).into_iter().unzip();
        let consumers = receivers.into_iter().map(|receiver| spawn(move || receiver.iter().count()));
        let consumers: Vec<_> = consumers.collect();
        let producers = [0, 1].map(|producer| {
            let (pool, senders) = (Arc::clone(&pool), senders.clone());
            spawn(move || {
                for message in 0..MESSAGES {
                    let size = if message % 4 == 3 { LARGE } else { SMALL };
                    senders[(producer + message / 2) % 2].send(get(&pool, size)).expect("the consumer lives");
                }
            })
        });
        drop(senders);
        join_all(producers);
        assert_eq!(join_all(consumers).into_iter().sum::<usize>(), 2 * MESSAGES);
        assert_at_rest([&pool], BUDGET);
        let stats = pool.stats();
        // In each channel two, with each thread one, and one that is on its way back.
        let at_once = 2 * 2 + 2 * 4;
        assert!(stats.allocated <= 2 * at_once, "{stats}");
        assert_budget_is_whole(&pool, BUDGET);
    });
}
