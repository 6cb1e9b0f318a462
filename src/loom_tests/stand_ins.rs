//! What loom cannot see into, rebuilt on its atomics: no more ordered than the original promises.
#![allow(unsafe_code)]

use std::ptr;

use crate::Pool;
use crate::sync::{AtomicPtr, Ordering};

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

loom::lazy_static! {
    pub(crate) static ref GLOBAL: Pool = Pool::new();
}
