//! Buffers with a stamp: which bytes they must hold, by who wrote them.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use bytebufferpool::{Pool, PooledBuf};
use bytes::Bytes;

use crate::random::mix;

/// Who wrote a buffer; every byte of it follows from this and its position.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Shown when a check fails.
    #[allow(dead_code)]
    pub writer: u64,
    cookie: u64,
}

impl Stamp {
    pub fn new(writer: u64) -> Stamp {
        Stamp { writer, cookie: mix(writer) }
    }

    /// Never zero, so that zeroed memory is told from written, and ASCII, so that it can be formatted.
    pub fn byte(self, position: usize) -> u8 {
        let shifted = self.cookie.rotate_left((position % 8) as u32 * 8);
        (position as u8 ^ shifted as u8) & 0x7f | 1
    }

    /// The bytes that belong at `position` and after it.
    pub fn fill(self, position: usize, bytes: &mut [u8]) {
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = self.byte(position + i);
        }
    }

    pub fn check(self, position: usize, bytes: &[u8]) {
        let wrong = bytes.iter().enumerate().find(|&(i, &byte)| byte != self.byte(position + i));
        assert!(
            wrong.is_none(),
            "a foreign byte: (index, byte) {wrong:?} of {} bytes from position {position}, stamp {self:x?}",
            bytes.len()
        );
    }
}

/// Contents that are checked when they are read and when they end.
pub struct Stamped<T: AsRef<[u8]>> {
    /// `None` when it was taken out.
    data: Option<T>,
    pub stamp: Stamp,
    position: usize,
}

impl<T: AsRef<[u8]>> Stamped<T> {
    pub fn new(data: T, stamp: Stamp) -> Stamped<T> {
        Stamped { data: Some(data), stamp, position: 0 }
    }

    pub fn check(&self) {
        if let Some(data) = &self.data {
            self.stamp.check(self.position, data.as_ref());
        }
    }

    pub fn data_mut(&mut self) -> &mut T {
        self.check();
        self.data.as_mut().expect("taken only at the end")
    }

    /// The contents, checked for the last time.
    pub fn take(mut self) -> T {
        self.check();
        self.data.take().expect("taken only at the end")
    }

    fn map<U: AsRef<[u8]>>(self, f: impl FnOnce(T) -> U) -> Stamped<U> {
        let (stamp, position) = (self.stamp, self.position);
        Stamped { data: Some(f(self.take())), stamp, position }
    }
}

impl Stamped<Bytes> {
    pub fn slice(&self, start: usize, end: usize) -> Stamped<Bytes> {
        let data = self.data.as_ref().expect("taken only at the end").slice(start..end);
        Stamped { data: Some(data), stamp: self.stamp, position: self.position + start }
    }

    pub fn len(&self) -> usize {
        self.data.as_ref().map_or(0, Bytes::len)
    }
}

impl<T: AsRef<[u8]>> Drop for Stamped<T> {
    fn drop(&mut self) {
        self.check();
    }
}

/// What travels between threads.
pub enum Item {
    Owned(Stamped<PooledBuf<Arc<Pool>>>),
    Static(Stamped<PooledBuf<&'static Pool>>),
    Frozen(Stamped<Bytes>),
    Loose(Stamped<Vec<u8>>),
}

impl Item {
    pub fn check(&self) {
        match self {
            Item::Owned(item) => item.check(),
            Item::Static(item) => item.check(),
            Item::Frozen(item) => item.check(),
            Item::Loose(item) => item.check(),
        }
    }

    /// What is still a guard, frozen.
    pub fn freeze(self) -> Result<Stamped<Bytes>, Item> {
        match self {
            Item::Owned(item) => Ok(item.map(PooledBuf::freeze)),
            Item::Static(item) => Ok(item.map(Bytes::from)),
            Item::Frozen(item) => Ok(item),
            Item::Loose(_) => Err(self),
        }
    }

    /// What is still a guard, out of its pool.
    pub fn detach(self) -> Result<Stamped<Vec<u8>>, Item> {
        match self {
            Item::Owned(item) => Ok(item.map(PooledBuf::into_vec)),
            Item::Static(item) => Ok(item.map(PooledBuf::into_vec)),
            Item::Loose(item) => Ok(item),
            Item::Frozen(_) => Err(self),
        }
    }
}

/// A channel that every thread may send to and take from.
pub struct Mailbox {
    sender: SyncSender<Item>,
    receiver: Mutex<Receiver<Item>>,
}

const MAILBOX_ITEMS_MAX: usize = 16;

impl Mailbox {
    pub fn new() -> Mailbox {
        let (sender, receiver) = sync_channel(MAILBOX_ITEMS_MAX);
        Mailbox { sender, receiver: Mutex::new(receiver) }
    }

    /// Gives the item back when the box is full.
    pub fn send(&self, item: Item) -> Result<(), Item> {
        self.sender.try_send(item).map_err(|error| match error {
            std::sync::mpsc::TrySendError::Full(item) | std::sync::mpsc::TrySendError::Disconnected(item) => item,
        })
    }

    pub fn take(&self) -> Option<Item> {
        self.receiver.lock().unwrap().try_recv().ok()
    }
}
