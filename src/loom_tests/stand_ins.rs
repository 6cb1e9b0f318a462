//! What loom cannot see into, rebuilt on its atomics: no more ordered than the originals promise.
//!
//! A `Mutex<VecDeque>` would be shorter, but it orders too much: after a failed `pop` its caller would have seen
//! everything that happened under the lock before, and a missing ordering elsewhere would stay hidden.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr;

use loom::cell::UnsafeCell;

use crate::Pool;
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

/// `once_cell::race::OnceBox`: the first to finish wins, and its box is published with release and acquire.
#[derive(Debug)]
pub(crate) struct OnceBox<T>(AtomicPtr<T>);

// SAFETY: as for the original: it owns a `Box<T>` and gives out `&T` on every thread.
unsafe impl<T: Send + Sync> Sync for OnceBox<T> {}

impl<T> OnceBox<T> {
    pub(crate) fn new() -> OnceBox<T> {
        OnceBox(AtomicPtr::new(ptr::null_mut()))
    }

    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: what is not null came from `Box::into_raw` below and is freed by the drop of `self` alone.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> Box<T>) -> &T {
        if let Some(made) = self.get() {
            return made;
        }
        let made = Box::into_raw(make());
        match self.0.compare_exchange(ptr::null_mut(), made, Ordering::Release, Ordering::Acquire) {
            // SAFETY: as in `get`.
            Ok(_) => unsafe { &*made },
            Err(first) => {
                // SAFETY: the exchange failed, so nobody else has seen the pointer.
                drop(unsafe { Box::from_raw(made) });
                // SAFETY: as in `get`.
                unsafe { &*first }
            }
        }
    }
}

impl<T> Drop for OnceBox<T> {
    fn drop(&mut self) {
        // loom checks here that every access happened before.
        let made = self.0.with_mut(|ptr| *ptr);
        if !made.is_null() {
            // SAFETY: as in `get`; `self` is borrowed exclusively.
            drop(unsafe { Box::from_raw(made) });
        }
    }
}

/// `crossbeam_queue::ArrayQueue`: bounded, and `pop` sees what happened before the `push` of what it gives. In no order,
/// as nothing here depends on one.
#[derive(Debug)]
pub(crate) struct ArrayQueue<T> {
    places: Box<[Place<T>]>,
    release: Ordering,
    acquire: Ordering,
}

#[derive(Debug)]
struct Place<T> {
    state: AtomicUsize,
    value: UnsafeCell<Option<T>>,
}

const EMPTY: usize = 0;
const FULL: usize = 1;
const BUSY: usize = 2;

// SAFETY: the state's exchange gives one thread at a time the value, which may be sent. That the orderings suffice is
// checked by loom.
unsafe impl<T: Send> Sync for ArrayQueue<T> {}

thread_local! {
    static WEAK: Cell<bool> = const { Cell::new(false) };
}

/// Queues that are made on this operating system thread from now on order nothing: models on them must fail.
pub(crate) fn weaken_queues(weak: bool) {
    WEAK.set(weak);
}

impl<T> ArrayQueue<T> {
    pub(crate) fn new(capacity: usize) -> ArrayQueue<T> {
        let places = (0..capacity).map(|_| Place { state: AtomicUsize::new(EMPTY), value: UnsafeCell::new(None) });
        let places = places.collect();
        let (release, acquire) =
            if WEAK.get() { (Ordering::Relaxed, Ordering::Relaxed) } else { (Ordering::Release, Ordering::Acquire) };
        ArrayQueue { places, release, acquire }
    }

    pub(crate) fn push(&self, value: T) -> Result<(), T> {
        let Some(place) = self.seize(EMPTY) else { return Err(value) };
        place.value.with_mut(|slot| {
            // SAFETY: the place is BUSY, and this thread made it so.
            unsafe { *slot = Some(value) }
        });
        place.state.store(FULL, self.release);
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<T> {
        let place = self.seize(FULL)?;
        let value = place.value.with_mut(|slot| {
            // SAFETY: the place is BUSY, and this thread made it so.
            unsafe { (*slot).take() }
        });
        place.state.store(EMPTY, self.release);
        value
    }

    fn seize(&self, state: usize) -> Option<&Place<T>> {
        let seized =
            |place: &&Place<T>| place.state.compare_exchange(state, BUSY, self.acquire, Ordering::Relaxed).is_ok();
        self.places.iter().find(seized)
    }
}

loom::lazy_static! {
    pub(crate) static ref GLOBAL: Pool = Pool::new();
}
