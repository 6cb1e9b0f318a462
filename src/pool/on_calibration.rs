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
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};

use crate::Pool;
use crate::learn::sizing::Sizes;
use crate::sync::thread_local;

/// What a pool has learnt in one calibration; see [`Builder::on_calibration`](crate::Builder::on_calibration). Sizes are
/// in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Calibration {
    /// The pool's first calibration is number 1.
    pub number: u64,
    /// The least room of a plain `get`, before.
    pub default_size_before: usize,
    /// The least room of a plain `get`, from now on.
    pub default_size: usize,
    /// The ceiling before.
    pub max_size_before: usize,
    /// The ceiling from now on: larger buffers are freed when they come back.
    pub max_size: usize,
}

impl Calibration {
    pub(crate) fn new(number: u64, before: Sizes, after: Sizes) -> Calibration {
        Calibration {
            number,
            default_size_before: before.default_size(),
            default_size: after.default_size(),
            max_size_before: before.max_size(),
            max_size: after.max_size(),
        }
    }
}

type Callback = &'static (dyn Fn(&Pool, &Calibration) + Send + Sync);

/// The callback of a configuration, if it has one.
#[derive(Clone, Copy)]
pub(crate) struct Hook(Option<Callback>);

// A panic of the callback is caught, and nothing of ours is in its hands.
impl UnwindSafe for Hook {}
impl RefUnwindSafe for Hook {}

impl Hook {
    pub(crate) const NONE: Hook = Hook(None);

    pub(crate) const fn new(callback: Callback) -> Hook {
        Hook(Some(callback))
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Some(..)" } else { "None" })
    }
}

thread_local! {
    static ANNOUNCES: Cell<bool> = const { Cell::new(false) };
}

/// Tells of a calibration. The caller holds no lock, and its thread is not dead.
pub(crate) fn announce(pool: &Pool, hook: Hook, calibration: &Calibration) {
    if (hook.0.is_none() && !cfg!(feature = "tracing")) || ANNOUNCES.with(|announces| announces.replace(true)) {
        return;
    }
    #[cfg(feature = "tracing")]
    keep_to_itself(|| emit(calibration));
    if let Some(callback) = hook.0 {
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

fn keep_to_itself(user_code: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(user_code)) {
        // The payload's destructor is user code as well; of a panic in it, the payload is leaked.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        mem::forget(dropped);
    }
}
