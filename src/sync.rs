//! The one gate to atomics, locks and thread-locals: `std`'s, loom's under `--cfg pool_loom`, or shuttle's under
//! `--cfg pool_shuttle`.
//!
//! Nothing else in the crate names `std::sync::atomic` or `std::thread_local`, so that every model sees every access.
//! loom's types cannot be built in constants: where the public surface promises a `const fn`, `const_unless_loom!`
//! drops the promise for the models only. loom cannot see into what others built on atomics (a box that is made once).
//! The models have a stand-in for it that orders no more than the original promises.

#[cfg(pool_loom)]
mod imp {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use loom::sync::{Mutex, MutexGuard};

    /// loom's macro has no `const` blocks.
    macro_rules! of_loom {
        ($(static $name:ident: $type:ty = const { $value:expr };)*) => {
            loom::thread_local! { $(static $name: $type = $value;)* }
        };
    }
    pub(crate) use of_loom as thread_local;

    pub(crate) use crate::loom_tests::ledger;
    pub(crate) use crate::loom_tests::stand_ins::OnceBox;
}

#[cfg(pool_shuttle)]
mod imp {
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};

    pub(crate) use crate::shuttle_tests::stand_ins::{
        AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, OnceBox, Ordering, of_shuttle as thread_local,
    };
}

#[cfg(not(any(pool_loom, pool_shuttle)))]
mod imp {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use std::sync::{Mutex, MutexGuard};
    pub(crate) use std::thread_local;

    pub(crate) use once_cell::race::OnceBox;
}

pub(crate) use imp::*;

use std::sync::PoisonError;

/// Locks `mutex`, also after a panic under it: each critical section of this crate leaves its data valid at every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps what one thread writes off the cache lines of what others write: 128 bytes, because Intel's prefetcher fetches
/// lines in pairs and Apple's lines are that long.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> std::ops::Deref for Padded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// A `const fn`; under loom, whose atomics have no constant constructors, a plain one.
macro_rules! const_unless_loom {
    ($(#[$attribute:meta])* $visibility:vis const fn $($rest:tt)*) => {
        #[cfg(not(pool_loom))]
        $(#[$attribute])*
        $visibility const fn $($rest)*

        #[cfg(pool_loom)]
        $(#[$attribute])*
        $visibility fn $($rest)*
    };
}
pub(crate) use const_unless_loom;
