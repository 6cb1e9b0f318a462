//! The depot: the shared part, a shelf of batches per size class.
//!
//! Threads exchange batches of up to 15 buffers by value, so that one queue operation serves many uses and moving
//! allocates nothing (Bonwick & Adams' depot). A shelf is a row of `crossbeam_queue::ArrayQueue`s of growing length, each
//! made when those before it are full: the memory for shelves follows what lies on them, and it is bounded.

use crate::class::CLASSES;
use crate::storage::{BATCH_SLOTS, Batch};
use crate::sync::{ArrayQueue, AtomicUsize, OnceBox, Ordering, Padded};

#[derive(Debug)]
pub(crate) struct Depot {
    shelves: [Padded<Shelf>; CLASSES],
}

#[derive(Debug)]
pub(crate) struct Shelf {
    queues: [OnceBox<ArrayQueue<Batch>>; QUEUES],
    /// Buffers on the shelf; counted up before they are there, and down after they have left. Relaxed, as is `low`: no
    /// memory hangs on them, a batch and what is in it are published by the queue. Model: loom_tests::hand_over::
    /// a_batch_publishes_what_its_buffers_hold.
    buffers: AtomicUsize,
    /// The fewest buffers since the trim interval began.
    low: AtomicUsize,
}

const QUEUES: usize = if cfg!(pool_loom) { 1 } else { 6 };

/// 4, 32, 256, 2 048, 16 384 and 131 072 batches: single buffers of 64 KiB fill it with 9 GiB.
///
/// The queues are first in, first out, but the first is tried first and is short: what went around a moment ago goes
/// around again, and what a burst left behind lies still in the queues after it until it is trimmed. (With a first queue
/// of 16 batches, 4 KiB messages went through half a megabyte of buffers instead of an eighth.)
///
/// Refused, on 2026-11-21: the newest one, two or four batches before all others, each in a queue of one, so that what a
/// consumer gave back last is what the producer gets next. With the two threads on a core each, 4 KiB messages took 415 ns
/// as it is, 451 with one such queue, 454 with two; 100 KiB messages 6.4–7.0, 6.5–7.5 and 7.0–7.7 µs.
const fn queue_batches(queue: usize) -> usize {
    if cfg!(pool_loom) { 2 } else { 4 << (3 * queue) }
}

impl Depot {
    pub(crate) fn new() -> Depot {
        Depot {
            shelves: std::array::from_fn(|_| {
                Padded(Shelf {
                    queues: std::array::from_fn(|_| OnceBox::new()),
                    buffers: AtomicUsize::new(0),
                    low: AtomicUsize::new(0),
                })
            }),
        }
    }

    pub(crate) fn shelf(&self, class: usize) -> &Shelf {
        &self.shelves[class]
    }
}

impl Shelf {
    /// Lays a batch, whose bytes are charged, on the shelf; gives it back if that is full.
    // By value either way: a batch is moved, never boxed, so that moving it allocates nothing.
    #[allow(clippy::result_large_err)]
    pub(crate) fn push(&self, batch: Batch) -> Result<(), Batch> {
        let count = batch.len();
        debug_assert!(0 < count && count <= BATCH_SLOTS);
        self.buffers.fetch_add(count, Ordering::Relaxed);
        let mut batch = batch;
        for (index, queue) in self.queues.iter().enumerate() {
            let queue = queue.get_or_init(|| Box::new(ArrayQueue::new(queue_batches(index))));
            match queue.push(batch) {
                Ok(()) => return Ok(()),
                Err(back) => batch = back,
            }
        }
        self.buffers.fetch_sub(count, Ordering::Relaxed);
        Err(batch)
    }

    pub(crate) fn pop(&self) -> Option<Batch> {
        if self.len() == 0 {
            return None;
        }
        let batch = self.queues.iter().map_while(OnceBox::get).find_map(ArrayQueue::pop)?;
        let left = self.buffers.fetch_sub(batch.len(), Ordering::Relaxed) - batch.len();
        if left < self.low.load(Ordering::Relaxed) {
            // Not a fetch_min: a mark that is too high for one interval frees a few buffers early.
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
