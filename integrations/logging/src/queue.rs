//! The queue between the threads that log and the one that writes: lines in blocks, behind one lock.
//!
//! A line is copied into the last block under the lock; the worker takes all blocks at once. What was refused, and the
//! figures, stand in `lib.rs`.
//!
//! No code of the user runs under the lock: a pool tells of a calibration only when a buffer is returned, and blocks are
//! returned by the worker, which does not hold the lock then.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use bytebufferpool::{OwnedBuf, Pool};

use crate::{Counts, WhenFull};

pub(crate) struct Queue {
    pub(crate) pool: Arc<Pool>,
    bytes_max: usize,
    when_full: WhenFull,
    state: Mutex<State>,
    /// Where the worker waits for lines.
    work: Condvar,
    /// Where threads that log wait for room.
    room: Condvar,
    /// Where threads wait for lines to be written.
    settled: Condvar,
}

struct State {
    waiting: Batch,
    worker: Option<ThreadId>,
    sleep: Sleep,
    waits: Waits,
    /// No line is accepted any more.
    is_closed: bool,
    /// Lines that the queue took.
    accepted: u64,
    /// Those of them that are written, or that the output did not take.
    settled: u64,
    /// Somebody waits until this many are settled.
    settle_at_once: u64,
    written: u64,
    dropped: u64,
    batches: u64,
    errors: u64,
}

/// How many threads wait. A `notify_all` is a system call even where nobody does.
#[derive(Default)]
struct Waits {
    for_room: usize,
    for_settled: usize,
}

/// What the worker waits for; whoever brings it about wakes it, once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleep {
    Awake,
    UntilALine,
    UntilHalfFull,
}

/// Lines in the order in which they came.
///
/// A line never crosses blocks: an output without its own `write_vectored` takes one slice a call, and a file that is
/// rotated between two calls must end with a whole line.
pub(crate) struct Batch {
    pub(crate) blocks: Vec<OwnedBuf>,
    /// Where each line ends, in bytes from the start of the batch.
    pub(crate) ends: Vec<usize>,
    bytes: usize,
}

impl Batch {
    /// The lists have room for what a queue of `bytes_max` bytes takes, so that they never grow.
    fn new(bytes_max: usize) -> Batch {
        // A new block begins when a line does not fit, so two blocks in a row hold more than one block's size.
        let blocks = 2 * (bytes_max / BLOCK_SIZE + 1);
        let lines = bytes_max / (LINE_COST + 1) + 1;
        Batch { blocks: Vec::with_capacity(blocks), ends: Vec::with_capacity(lines), bytes: 0 }
    }

    fn push(&mut self, pool: &Arc<Pool>, line: &[u8]) {
        match self.blocks.last_mut() {
            Some(block) if line.len() <= block.capacity() - block.len() => {
                block.extend_from_slice(line);
                self.end_line(line.len());
            }
            _ => self.push_block(block_of(pool, line)),
        }
    }

    /// Adds a block that holds one line.
    fn push_block(&mut self, block: OwnedBuf) {
        self.end_line(block.len());
        self.blocks.push(block);
    }

    fn end_line(&mut self, len: usize) {
        self.bytes += len;
        self.ends.push(self.bytes);
    }

    /// What the batch counts towards the bound of the queue.
    fn cost(&self) -> usize {
        self.bytes + self.ends.len() * LINE_COST
    }

    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
        self.ends.clear();
        self.bytes = 0;
    }
}

fn block_of(pool: &Arc<Pool>, line: &[u8]) -> OwnedBuf {
    let mut block = pool.get_owned_with_capacity(line.len().max(BLOCK_SIZE));
    block.extend_from_slice(line);
    block
}

/// In bytes. Larger than what a pool caches for one thread alone (32 KiB), as these go from the threads that log to the
/// one that writes.
pub(crate) const BLOCK_SIZE: usize = 64 << 10;

/// What a line costs beside its own bytes: an entry of `Batch::ends`.
pub(crate) const LINE_COST: usize = size_of::<usize>();

impl Queue {
    pub(crate) fn new(pool: Arc<Pool>, bytes_max: usize, when_full: WhenFull) -> Queue {
        let state = State {
            waiting: Batch::new(bytes_max),
            worker: None,
            sleep: Sleep::Awake,
            waits: Waits::default(),
            is_closed: false,
            accepted: 0,
            settled: 0,
            settle_at_once: 0,
            written: 0,
            dropped: 0,
            batches: 0,
            errors: 0,
        };
        Queue {
            pool,
            bytes_max,
            when_full,
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Condvar::new(),
            settled: Condvar::new(),
        }
    }

    /// Nothing panics under the lock, so what it guards is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line, or counts it as dropped. An empty one is none.
    pub(crate) fn push(&self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        // A large line is copied before the lock, as all other threads would wait for it. Declared before `state`, so that a
        // line that is dropped returns its buffer after the lock.
        let large = (line.len() > BLOCK_SIZE).then(|| block_of(&self.pool, line));
        let mut state = self.lock();
        if self.is_full(&state) && self.when_full == WhenFull::Block {
            state = self.wait_for_room(state);
        }
        if state.is_closed || self.is_full(&state) {
            state.dropped += 1;
            return;
        }
        state.accepted += 1;
        match large {
            Some(block) => state.waiting.push_block(block),
            None => state.waiting.push(&self.pool, line),
        }
        let wakes = match state.sleep {
            Sleep::Awake => false,
            Sleep::UntilALine => true,
            Sleep::UntilHalfFull => self.is_half_full(&state),
        };
        if wakes {
            state.sleep = Sleep::Awake;
            drop(state);
            self.work.notify_one();
        }
    }

    #[cold]
    fn wait_for_room<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        // An output may log, and so may a callback of the pool: the worker must not wait for itself.
        if state.worker == Some(thread::current().id()) {
            return state;
        }
        state.waits.for_room += 1;
        while self.is_full(&state) && !state.is_closed {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waits.for_room -= 1;
        state
    }

    /// A line is taken whatever its length, if the queue was not full before.
    fn is_full(&self, state: &State) -> bool {
        state.waiting.cost() >= self.bytes_max
    }

    fn is_half_full(&self, state: &State) -> bool {
        state.waiting.cost() >= self.bytes_max / 2
    }

    /// Returns when every line that was taken before is written or counted as dropped.
    pub(crate) fn flush(&self) {
        let mut state = self.lock();
        let target = state.accepted;
        if state.settled >= target || state.worker == Some(thread::current().id()) {
            return;
        }
        state.settle_at_once = target;
        state.sleep = Sleep::Awake;
        self.work.notify_one();
        state.waits.for_settled += 1;
        while state.settled < target {
            state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waits.for_settled -= 1;
    }

    /// From now on no line is taken; the worker ends when it has written those that were.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.work.notify_one();
        self.room.notify_all();
    }

    pub(crate) fn counts(&self) -> Counts {
        let state = self.lock();
        Counts {
            written: state.written,
            dropped: state.dropped,
            waiting: state.accepted - state.settled,
            batches: state.batches,
            errors: state.errors,
        }
    }

    // What the worker calls.

    pub(crate) fn begin(&self) -> Batch {
        self.lock().worker = Some(thread::current().id());
        Batch::new(self.bytes_max)
    }

    /// Gathers lines for so long, unless the queue is half full before or somebody flushes; waits for one if there is none
    /// then; and exchanges them for `batch`, which is empty. False: the queue is closed and all is written.
    pub(crate) fn next(&self, batch: &mut Batch, gather: Duration) -> bool {
        let state = self.lock();
        let gathers = |state: &mut State| {
            let waits = !state.is_closed && state.settled >= state.settle_at_once && !self.is_half_full(state);
            state.sleep = if waits { Sleep::UntilHalfFull } else { Sleep::Awake };
            waits
        };
        let (state, _) = self.work.wait_timeout_while(state, gather, gathers).unwrap_or_else(PoisonError::into_inner);
        let is_idle = |state: &mut State| {
            let waits = !state.is_closed && state.waiting.ends.is_empty();
            state.sleep = if waits { Sleep::UntilALine } else { Sleep::Awake };
            waits
        };
        let mut state = self.work.wait_while(state, is_idle).unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut state.waiting, batch);
        if state.waits.for_room > 0 {
            self.room.notify_all();
        }
        !batch.ends.is_empty()
    }

    /// The worker is done with a batch of `lines`, of which the output took the first `written` whole.
    pub(crate) fn settle(&self, lines: usize, written: usize, errors: u64) {
        let mut state = self.lock();
        state.settled += lines as u64;
        state.written += written as u64;
        state.dropped += (lines - written) as u64;
        state.batches += 1;
        state.errors += errors;
        if state.waits.for_settled > 0 {
            self.settled.notify_all();
        }
    }

    /// The worker writes no more, for whatever reason. What it was not done with is dropped, and nobody waits for it.
    pub(crate) fn end(&self) {
        let mut left = Batch::new(0);
        let mut state = self.lock();
        state.is_closed = true;
        state.dropped += state.accepted - state.settled;
        // All of them, and none is accepted any more: this also ends every flush.
        state.settled = state.accepted;
        mem::swap(&mut state.waiting, &mut left);
        drop(state);
        self.room.notify_all();
        self.settled.notify_all();
    }
}
