//! Recording: the sizes of a pool's real uses, for a tuner to replay. What threads share while a pool records.
//!
//! While a pool records, each thread's count-down of uses is 1, so that every use takes the path that merges calls, and
//! is noted there. A pool that does not record thus pays nothing. Threads notice by the stamp, as they do any other
//! change.
//!
//! A use appends to one of a few buffers, each behind a lock that threads seldom share. A full buffer goes to a thread
//! that formats and writes. Nobody waits for the disk: when the writer is too far behind, a buffer is thrown away and
//! its uses are counted as lost. What was refused: see docs/design.md.

use std::fmt;
use std::mem;
use std::sync::mpsc::{SyncSender, TrySendError};

use crate::sync::{AtomicBool, Mutex, Ordering, Padded, lock};

/// The recording part of a pool; made when it is first recorded.
///
/// A trait, so that a pool names only the vtable, and a program that records nothing does not link a channel: 16 KiB.
pub(crate) trait Recorder: fmt::Debug + Send + Sync {
    fn records(&self) -> bool;

    /// Claims the pool for a recording; `false` if one is in progress.
    fn open(&self) -> bool;

    /// The pool may be recorded again.
    fn close(&self);

    /// Notes a use of `size` bytes; `place` tells threads apart.
    ///
    /// Nothing is allocated or freed under a lock: a global allocator may use the pool that is recorded, and comes by
    /// here again.
    fn note(&self, size: usize, place: usize);

    fn start(&self, full: &SyncSender<Vec<usize>>);

    /// Sends what is noted to the writer, and lets the writer end; returns how many uses were lost.
    fn stop(&self) -> u64;
}

/// The recorder: a few stripes, each behind a lock of its own.
#[derive(Debug)]
pub(crate) struct Stripes {
    records: AtomicBool,
    stripes: [Padded<Mutex<Option<Stripe>>>; STRIPES],
}

#[derive(Debug)]
struct Stripe {
    /// Never full when the lock is free.
    sizes: Vec<usize>,
    /// What takes the place of `sizes` when that is sent; without a capacity while there is none.
    spare: Vec<usize>,
    full: SyncSender<Vec<usize>>,
    /// Uses that were thrown away. Here, because the next recording would set one counter beside the stripes to zero
    /// before the last recording has read it. Model: loom_tests::recorder::a_recording_counts_its_own_losses.
    lost: u64,
}

// Under loom one, because a thread's stripe follows from an address.
const STRIPES: usize = if cfg!(pool_loom) { 1 } else { 8 };
/// 32 KiB, a few tens of microseconds to format.
const CHUNK_SIZES: usize = if cfg!(pool_loom) { 2 } else { 4096 };
/// 2 MiB may wait for the writer.
pub(crate) const CHUNKS_WAITING_MAX: usize = 64;

impl Stripes {
    #[inline]
    pub(crate) fn new() -> Stripes {
        Stripes { records: AtomicBool::new(false), stripes: std::array::from_fn(|_| Padded(Mutex::new(None))) }
    }
}

impl Recorder for Stripes {
    #[inline]
    fn records(&self) -> bool {
        // Relaxed: that a thread sees it in time is the stamp's part (model: loom_tests::recorder::
        // who_sees_the_stamp_is_recorded), and everything else is behind the stripe's lock.
        self.records.load(Ordering::Relaxed)
    }

    #[inline]
    fn open(&self) -> bool {
        // Relaxed: one exchange wins, and no memory depends on it. Model: loom_tests::recorder::
        // a_recording_counts_its_own_losses.
        !self.records.swap(true, Ordering::Relaxed)
    }

    #[inline]
    fn close(&self) {
        // Relaxed: the stripes were emptied under their locks. Model: as for `open`.
        self.records.store(false, Ordering::Relaxed);
    }

    #[inline]
    fn note(&self, size: usize, place: usize) {
        let mut fresh = Vec::new();
        loop {
            // After `fresh`, so that what is left of that is freed when the lock is free again.
            let mut stripe = lock(&self.stripes[place % STRIPES]);
            let Some(stripe) = stripe.as_mut() else { return };
            if stripe.spare.capacity() == 0 {
                mem::swap(&mut stripe.spare, &mut fresh);
            }
            if stripe.spare.capacity() > 0 {
                return stripe.note(size);
            }
            fresh = Vec::with_capacity(CHUNK_SIZES);
        }
    }

    #[inline]
    fn start(&self, full: &SyncSender<Vec<usize>>) {
        for stripe in &self.stripes {
            let (sizes, spare) = (Vec::with_capacity(CHUNK_SIZES), Vec::new());
            *lock(stripe) = Some(Stripe { sizes, spare, full: full.clone(), lost: 0 });
        }
    }

    #[inline]
    fn stop(&self) -> u64 {
        let mut lost = 0;
        for stripe in &self.stripes {
            // Not sent under the lock: this may wait, and a use must not.
            let stripe = lock(stripe).take();
            if let Some(stripe) = stripe {
                let rest = stripe.sizes.len() as u64;
                lost += stripe.lost + if stripe.full.send(stripe.sizes).is_ok() { 0 } else { rest };
            }
        }
        lost
    }
}

impl Stripe {
    /// There is a spare one.
    #[inline]
    fn note(&mut self, size: usize) {
        self.sizes.push(size);
        if self.sizes.len() < CHUNK_SIZES {
            return;
        }
        let chunk = mem::replace(&mut self.sizes, mem::take(&mut self.spare));
        if let Err(TrySendError::Full(mut chunk) | TrySendError::Disconnected(mut chunk)) = self.full.try_send(chunk) {
            self.lost += CHUNK_SIZES as u64;
            chunk.clear();
            self.spare = chunk;
        }
    }
}

#[cfg(all(test, not(any(pool_loom, pool_shuttle))))]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;

    fn recording() -> (Stripes, Receiver<Vec<usize>>) {
        let recorder = Stripes::new();
        let (full, chunks) = sync_channel(CHUNKS_WAITING_MAX);
        assert!(recorder.open());
        recorder.start(&full);
        (recorder, chunks)
    }

    /// So no use allocates under the lock, where an allocator that uses the pool would wait for itself.
    #[test]
    fn a_stripe_has_room_for_the_next_size_at_any_time() {
        let (recorder, _chunks) = recording();
        for _ in 0..2 * CHUNK_SIZES + 1 {
            recorder.note(1, 0);
            let stripe = lock(&recorder.stripes[0]);
            let sizes = &stripe.as_ref().expect("it records").sizes;
            assert!(sizes.len() < sizes.capacity());
        }
    }

    #[test]
    fn what_a_writer_that_is_gone_did_not_take_is_lost() {
        let (recorder, chunks) = recording();
        (1..=3).for_each(|size| recorder.note(size, 0));
        drop(chunks);
        assert_eq!(recorder.stop(), 3);
    }
}
