//! Batches that move between threads by way of the depot.

use loom::sync::Arc;

use super::ledger::{self, Contents};
use super::support::{assert_balanced, builder, check, spawn};
use crate::class::size_of_class;
use crate::depot::{Depot, Stock};
use crate::storage::Batch;

const CLASS: usize = 0;

/// Writes to `count` buffers and adds them as one batch.
fn lay_down(stock: &Stock, contents: &Contents, count: usize) {
    let mut batch = Batch::new(CLASS);
    for _ in 0..count {
        let mut vec = Vec::with_capacity(size_of_class(CLASS));
        contents.write(&vec);
        assert!(batch.push(&mut vec));
    }
    stock.push(batch);
}

/// Takes a batch, if there is one, and writes to its buffers; how many there were.
fn pick_up(stock: &Stock, contents: &Contents) -> usize {
    let Some(mut batch) = stock.pop() else { return 0 };
    let buffers = std::iter::from_fn(|| batch.pop());
    buffers.map(|vec| contents.write(&vec)).count()
}

/// Two batches of different sizes, so that a count that does not match what is there falls below zero.
#[test]
fn a_batch_publishes_what_its_buffers_hold() {
    check(None, || {
        let depot = Arc::new(Depot::new());
        let contents = Contents::default();
        let threads = [1, 2].map(|count| {
            let (depot, contents) = (Arc::clone(&depot), contents.clone());
            spawn(move || {
                let stock = depot.stock(CLASS);
                lay_down(stock, &contents, count);
                pick_up(stock, &contents)
            })
        });
        let mut picked_up: usize = threads.map(|thread| thread.join().unwrap()).into_iter().sum();
        let stock = depot.stock(CLASS);
        assert_eq!(stock.len(), 3 - picked_up, "nothing is lost");
        while picked_up < 3 {
            let count = pick_up(stock, &contents);
            assert!(count > 0, "what is counted is there");
            picked_up += count;
        }
    });
}

/// One thread's stack overflows to the depot, while another takes a batch of two from there. What is cached, in stacks
/// and in the depot, is compared with what is charged at each step, and so are leases that end with what was leased.
#[test]
fn batches_between_stacks_and_the_depot_are_charged() {
    check(Some(2), || {
        ledger::compare_with_budget(true);
        let pool = Arc::new(builder().retained_bytes_max(8 * 64).build());
        assert_eq!(pool.prefill(64, 2), 2);
        let threads = [3, 1].map(|count| {
            let pool = Arc::clone(&pool);
            spawn(move || drop((0..count).map(|_| pool.get()).collect::<Vec<_>>()))
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(ledger::leased_bytes(), 0, "ended threads have no leases");
        let stats = pool.stats();
        assert_balanced(&stats);
        assert_eq!(pool.purge(), stats.retained_bytes);
        assert_eq!(ledger::charged_bytes(), 0);
    });
}
