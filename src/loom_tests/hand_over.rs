//! Batches that move between threads by way of the depot.

use loom::sync::Arc;

use super::ledger::Contents;
use super::support::{check, spawn};
use crate::class::size_of_class;
use crate::depot::{Depot, Stock};
use crate::storage::Batch;

const CLASS: usize = 0;

/// Writes to a buffer and adds it.
fn lay_down(stock: &Stock, contents: &Contents) {
    let mut vec = Vec::with_capacity(size_of_class(CLASS));
    contents.write(&vec);
    let mut batch = Batch::new(CLASS);
    assert!(batch.push(&mut vec));
    stock.push(batch);
}

/// Takes a buffer, if there is one, and writes to it.
fn pick_up(stock: &Stock, contents: &Contents) -> bool {
    let Some(mut batch) = stock.pop() else { return false };
    let vec = batch.pop().expect("a batch in the depot is not empty");
    contents.write(&vec);
    true
}

#[test]
fn a_batch_publishes_what_its_buffers_hold() {
    check(None, || {
        let depot = Arc::new(Depot::new());
        let contents = Contents::default();
        let threads = [(); 2].map(|()| {
            let (depot, contents) = (Arc::clone(&depot), contents.clone());
            spawn(move || {
                let stock = depot.stock(CLASS);
                lay_down(stock, &contents);
                pick_up(stock, &contents)
            })
        });
        let picked_up = threads.map(|thread| thread.join().unwrap()).into_iter().filter(|&picked_up| picked_up).count();
        let stock = depot.stock(CLASS);
        assert_eq!(stock.len(), 2 - picked_up, "nothing is lost");
        for _ in picked_up..2 {
            assert!(pick_up(stock, &contents), "what is counted is there");
        }
    });
}
