//! A test of threads that wait must not wait for ever for what never comes.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Runs `test` on a thread of its own, for a minute at most.
pub fn limited(test: impl FnOnce() + Send + 'static) {
    let (ends, is_over) = channel::<()>();
    let thread = thread::spawn(move || {
        let _ends = ends;
        test();
    });
    if is_over.recv_timeout(Duration::from_secs(60)) == Err(RecvTimeoutError::Timeout) {
        panic!("it hangs");
    }
    thread.join().unwrap_or_else(|panic| resume_unwind(panic));
}
