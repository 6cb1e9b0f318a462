//! The depot: the shared part behind the table of places, a list of batches per size class.
//!
//! Threads exchange batches of up to 15 buffers, so that one operation serves many uses (Bonwick & Adams' depot). Each
//! class's list is behind a lock, and its links are in the cached buffers themselves. So a list has no limit but the
//! budget, takes no memory of its own, and moving a batch allocates nothing. The lock is held for two words. Batches
//! are put together and taken apart, and buffers are freed, outside of it.
//!
//! The last batch comes out first. A queue in front of the list was measured and refused: see docs/design.md.

use crate::class::{CLASSES, rolled};
use crate::storage::{BATCH_SLOTS, Batch, BatchList, Node};
use crate::sync::{AtomicUsize, Mutex, Ordering, lock};

#[derive(Debug)]
pub(crate) struct Depot {
    stocks: Vec<Stock>,
}

/// What the depot has of one class. On a cache line of its own, and not on a pair, because few operations touch it.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Stock {
    batches: Mutex<BatchList>,
    /// Buffers in the list; counted up before they are there, and down after they have left. Relaxed, as is `low`: no
    /// memory depends on them, as the lock publishes a batch and what is in it. Model: loom_tests::hand_over::
    /// a_batch_publishes_what_its_buffers_hold.
    buffers: AtomicUsize,
    /// The fewest buffers since the trim interval began.
    low: AtomicUsize,
}

impl Depot {
    pub(crate) fn new() -> Depot {
        Depot { stocks: rolled(0..CLASSES).map(Stock::new).collect() }
    }

    pub(crate) fn stock(&self, class: usize) -> &Stock {
        &self.stocks[class]
    }
}

impl Stock {
    fn new(class: usize) -> Stock {
        Stock { batches: Mutex::new(BatchList::new(class)), buffers: AtomicUsize::new(0), low: AtomicUsize::new(0) }
    }

    /// Adds a batch. Its bytes are charged.
    #[inline(never)]
    pub(crate) fn push(&self, mut batch: Batch) {
        let count = batch.len();
        debug_assert!(0 < count && count <= BATCH_SLOTS);
        self.buffers.fetch_add(count, Ordering::Relaxed);
        while let Some(node) = Node::of(&mut batch) {
            lock(&self.batches).push(node);
        }
    }

    /// Takes the batch that was added last.
    pub(crate) fn pop(&self) -> Option<Batch> {
        if self.len() == 0 {
            return None;
        }
        let node = lock(&self.batches).pop()?;
        let batch = node.into_batch();
        let left = self.buffers.fetch_sub(batch.len(), Ordering::Relaxed) - batch.len();
        if left < self.low.load(Ordering::Relaxed) {
            // Not a fetch_min: a mark that is too high for one interval only frees a few buffers early.
            self.low.store(left, Ordering::Relaxed);
        }
        Some(batch)
    }

    pub(crate) fn len(&self) -> usize {
        self.buffers.load(Ordering::Relaxed)
    }

    /// How many buffers were not needed in the interval that ends now.
    pub(crate) fn low(&self) -> usize {
        self.low.load(Ordering::Relaxed)
    }

    pub(crate) fn begin_interval(&self) {
        self.low.store(self.len(), Ordering::Relaxed);
    }
}
