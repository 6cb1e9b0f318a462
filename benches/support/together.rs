//! Several threads do the same thing at the same time, timed without their starting and ending.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Each of `threads` threads makes what it works with by `begin`, waits for the others, and does `work`. While all of
/// them are still alive, `look` is called. Returns the time from the first thread's start to the last one's end.
pub fn together<W, R>(
    threads: usize,
    begin: impl Fn() -> W + Sync,
    work: impl Fn(&mut W) + Sync,
    look: impl FnOnce() -> R,
) -> (Duration, R) {
    let started = Barrier::new(threads);
    let (worked, looked) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    let one = || {
        let mut worker = begin();
        started.wait();
        let start = Instant::now();
        work(&mut worker);
        let end = Instant::now();
        worked.wait();
        looked.wait();
        (start, end)
    };
    thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        worked.wait();
        let seen = look();
        looked.wait();
        // Joined one by one: a thread's destructors are over then, which a scope does not wait for.
        let spans: Vec<_> = handles.into_iter().map(|handle| handle.join().expect("no panic")).collect();
        let first = spans.iter().map(|span| span.0).min().expect("at least one thread");
        let last = spans.iter().map(|span| span.1).max().expect("at least one thread");
        (last - first, seen)
    })
}
