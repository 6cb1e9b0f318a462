//! Batches that move between threads by way of a shelf.

use loom::sync::Arc;

use super::ledger::Contents;
use super::stand_ins::weaken_queues;
use super::support::{check, spawn};
use crate::class::size_of_class;
use crate::depot::{Depot, Shelf};
use crate::storage::Batch;

const CLASS: usize = 0;

/// Writes to a buffer and lays it down; `false` if the shelf is full.
fn lay_down(shelf: &Shelf, contents: &Contents) -> bool {
    let mut vec = Vec::with_capacity(size_of_class(CLASS));
    contents.write(&vec);
    let mut batch = Batch::new(CLASS);
    assert!(batch.push(&mut vec));
    shelf.push(batch).is_ok()
}

/// Takes a buffer, if there is one, and writes to it.
fn pick_up(shelf: &Shelf, contents: &Contents) -> bool {
    let Some(mut batch) = shelf.pop() else { return false };
    let vec = batch.pop().expect("a batch on a shelf is not empty");
    contents.write(&vec);
    true
}

fn hand_over(weak: bool) {
    // Queues are made on first use.
    weaken_queues(weak);
    let depot = Arc::new(Depot::new());
    let contents = Contents::default();
    let threads = [(); 2].map(|()| {
        let (depot, contents) = (Arc::clone(&depot), contents.clone());
        spawn(move || {
            let shelf = depot.shelf(CLASS);
            assert!(lay_down(shelf, &contents), "there is room for two");
            pick_up(shelf, &contents)
        })
    });
    let picked_up = threads.map(|thread| thread.join().unwrap()).into_iter().filter(|&picked_up| picked_up).count();
    let shelf = depot.shelf(CLASS);
    assert_eq!(shelf.len(), 2 - picked_up, "nothing is lost");
    for _ in picked_up..2 {
        assert!(pick_up(shelf, &contents), "what is counted is there");
    }
}

#[test]
fn a_batch_publishes_what_its_buffers_hold() {
    check(None, || hand_over(false));
}

/// The model can fail: the same on a queue whose every ordering is relaxed.
#[test]
#[should_panic(expected = "Causality violation")]
fn a_queue_without_orderings_publishes_nothing() {
    check(None, || hand_over(true));
}
