//! Who is told of a calibration: the pool's callback, and with the feature `tracing` whoever subscribes.
//!
//! The callback is a `&'static dyn Fn` and not a plain `fn` pointer, so that it may capture (`Box::leak`), and not an
//! `Arc`, whose destructor would take the `const` from every setter of the `Builder`. It is handed the pool, because
//! that of an `Arc` does not exist yet when its builder is written.
//!
//! It is user code that runs in the middle of a buffer's end, so: no lock is held; a panic goes no further (it may be
//! in a destructor, while unwinding); and it does not run on a thread whose own destructor has run, where thread-locals
//! that it may use are gone. What it does with pools may make them calibrate, also this one: that is not announced on
//! this thread again, or a threshold of 1 would never come to an end.

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
        // The payload's destructor is user code as well; of a panic in it, the payload is leaked.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        mem::forget(dropped);
    }
}
