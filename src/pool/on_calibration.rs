//! Who is told of a calibration: the pool's callback, and with the feature `tracing` the subscribers.
//!
//! The callback is a `&'static dyn Fn`. A plain `fn` pointer could not capture (this one can, by `Box::leak`). An `Arc`
//! has a destructor, which would take the `const` from every setter of the `Builder`. The callback gets the pool as an
//! argument, because a pool behind an `Arc` does not exist yet when its builder is written.
//!
//! The callback is user code that runs within the drop of a guard. So no lock is held. A panic is caught, because it
//! may happen in a destructor, while unwinding. It does not run on a thread whose own destructor has run, where
//! thread-locals that it may use are destroyed. It may use pools and make them calibrate, this one too: that is not
//! announced on this thread again, because a threshold of 1 would never come to an end.

use std::cell::Cell;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::shared::Pool;
use crate::builder::Hook;
use crate::learn::sizing::Calibration;
use crate::sync::thread_local;

thread_local! {
    static ANNOUNCES: Cell<bool> = const { Cell::new(false) };
}

/// Tells of a calibration. The caller holds no lock, and its thread is not dead.
pub(crate) fn announce(pool: &Pool, hook: Hook, calibration: &Calibration) {
    if (hook.callback().is_none() && !cfg!(feature = "tracing")) || ANNOUNCES.with(|announces| announces.replace(true))
    {
        return;
    }
    keep_to_itself(|| emit(calibration));
    if let Some(callback) = hook.callback() {
        keep_to_itself(|| callback(pool, calibration));
    }
    ANNOUNCES.with(|announces| announces.set(false));
}

#[cfg(feature = "tracing")]
fn emit(calibration: &Calibration) {
    tracing::debug!(
        target: "bytebufferpool",
        number = calibration.number,
        default_size_before = calibration.default_size_before,
        default_size = calibration.default_size,
        max_size_before = calibration.max_size_before,
        max_size = calibration.max_size,
        "a pool has recalibrated its sizes"
    );
}

#[cfg(not(feature = "tracing"))]
fn emit(_: &Calibration) {}

fn keep_to_itself(user_code: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(user_code)) {
        // The payload's destructor is user code too. If it panics, that panic's payload is leaked.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        mem::forget(dropped);
    }
}
