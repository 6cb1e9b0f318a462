//! A channel for counting heap operations across threads.
#![allow(dead_code, reason = "each binary that includes this file uses its own part of it")]

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};

/// A bounded channel that never allocates after `new`; std's own allocates when a thread blocks on it the first time.
pub struct Channel<T> {
    queue: Mutex<VecDeque<T>>,
    changed: Condvar,
    capacity: usize,
}

impl<T> Channel<T> {
    pub fn new(capacity: usize) -> Channel<T> {
        Channel { queue: Mutex::new(VecDeque::with_capacity(capacity)), changed: Condvar::new(), capacity }
    }

    pub fn send(&self, item: T) {
        let mut queue =
            self.changed.wait_while(self.queue.lock().unwrap(), |queue| queue.len() == self.capacity).unwrap();
        queue.push_back(item);
        self.changed.notify_all();
    }

    pub fn receive(&self) -> T {
        let mut queue = self.changed.wait_while(self.queue.lock().unwrap(), |queue| queue.is_empty()).unwrap();
        self.changed.notify_all();
        queue.pop_front().expect("waited for")
    }

    pub fn wait_until_full(&self) {
        drop(self.changed.wait_while(self.queue.lock().unwrap(), |queue| queue.len() < self.capacity).unwrap());
    }
}
