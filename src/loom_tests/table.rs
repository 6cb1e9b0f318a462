//! The table of places: put, take, trim and the end of a charge at once.

use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

use loom::sync::Arc;

use super::ledger::Contents;
use super::support::{check, spawn};
use crate::class::size_of_class;
use crate::storage::{Charge, Put, SMALL_CLASSES, Table, Zeroed};

const CLASS: usize = SMALL_CLASSES;

/// A table and the contents of its buffers. Beside it is counted, in the order in which it happens, for how many buffers
/// the budget is charged, and how many there are.
#[derive(Clone)]
struct Parts {
    table: Arc<Box<Table>>,
    contents: Contents,
    charges: StdArc<AtomicUsize>,
    /// Below zero for a moment, where a buffer is taken before its put is counted.
    cached: StdArc<AtomicIsize>,
}

impl Parts {
    /// With one buffer in row 0.
    fn new() -> Parts {
        let (charges, cached) = Default::default();
        let parts = Parts { table: Arc::new(Table::boxed()), contents: Contents::default(), charges, cached };
        assert!(parts.put(0, Vec::with_capacity(size_of_class(CLASS))));
        parts
    }

    fn take(&self, charge: Charge) -> Option<Vec<u8>> {
        let vec = self.table.take(0, CLASS, charge)?;
        self.cached.fetch_sub(1, Ordering::Relaxed);
        self.contents.write(&vec);
        if charge == Charge::Leaves {
            self.release(1);
        }
        Some(vec)
    }

    /// Keeps a buffer as the pool does, but for its list; whether there was a place for it.
    fn put(&self, row: usize, mut vec: Vec<u8>) -> bool {
        self.contents.write(&vec);
        let mut put = self.table.put(row, &mut vec);
        if put == Put::NotCharged {
            self.charges.fetch_add(1, Ordering::Relaxed);
            if self.table.put_charged(row, CLASS, &mut vec) {
                put = Put::Kept;
            } else {
                self.release(1);
            }
        }
        if put == Put::Kept {
            self.cached.fetch_add(1, Ordering::Relaxed);
            self.check();
        }
        put == Put::Kept
    }

    fn release(&self, count: usize) {
        let before = self.charges.fetch_sub(count, Ordering::Relaxed);
        assert!(before >= count, "released what was not charged");
        self.check();
    }

    fn check(&self) {
        let (cached, charges) = (self.cached.load(Ordering::Relaxed), self.charges.load(Ordering::Relaxed));
        assert!(cached <= charges as isize, "{cached} cached, {charges} charged");
    }

    fn give_up_charges(&self) {
        let given_up = self.table.give_up_charges(CLASS);
        self.release(given_up);
    }

    /// Nobody operates any more: how many buffers there are. What is charged is what they and the empty places stand for.
    fn end(&self) -> usize {
        self.give_up_charges();
        let left = self.table.len(CLASS);
        assert_eq!(self.cached.load(Ordering::Relaxed), left as isize);
        assert_eq!(self.charges.load(Ordering::Relaxed), left);
        let taken = std::iter::from_fn(|| self.take(Charge::Leaves)).count();
        assert_eq!((taken, self.charges.load(Ordering::Relaxed)), (left, 0));
        left
    }
}

/// One buffer and three that want it: a user, who puts it back, a thief, and a trimmer, who also gives up what is charged
/// for nothing. It is in one place at the end, and each use has seen those before.
#[test]
fn a_buffer_has_one_owner() {
    check(Some(3), || {
        let parts = Parts::new();
        let user = {
            let parts = parts.clone();
            spawn(move || {
                for _ in 0..2 {
                    if let Some(vec) = parts.take(Charge::Stays) {
                        assert!(parts.put(0, vec), "nobody else fills the place");
                    }
                }
            })
        };
        let thief = {
            let parts = parts.clone();
            spawn(move || parts.take(Charge::Leaves))
        };
        let trimmer = {
            let parts = parts.clone();
            spawn(move || {
                let taken = if parts.table.was_used(0, CLASS) { None } else { parts.take(Charge::Leaves) };
                parts.give_up_charges();
                taken
            })
        };
        user.join().unwrap();
        let stolen = thief.join().unwrap().is_some();
        let trimmed = trimmer.join().unwrap().is_some();
        assert_eq!(usize::from(stolen) + usize::from(trimmed) + parts.end(), 1, "one buffer, one place");
    });
}

/// Two threads through all interleavings, with two buffers and one place.
#[test]
fn a_buffer_is_taken_once() {
    check(None, || {
        let parts = Parts::new();
        let threads = [Charge::Stays, Charge::Leaves].map(|charge| {
            let parts = parts.clone();
            spawn(move || {
                let mut own = vec![parts.take(charge)];
                let more = Vec::with_capacity(size_of_class(CLASS));
                let kept = charge == Charge::Leaves && parts.put(0, more);
                own.push(parts.take(charge));
                // Those that it has, and those that it has lost because the place was full.
                own.into_iter().flatten().count() + usize::from(charge == Charge::Leaves && !kept)
            })
        });
        let gone: usize = threads.map(|thread| thread.join().unwrap()).into_iter().sum();
        assert_eq!(gone + parts.end(), 2);
    });
}

/// Two threads give up the charges of empty places while a third puts its buffer back: each charge ends once.
#[test]
fn a_charge_is_given_up_once() {
    check(Some(3), || {
        let parts = Parts::new();
        let vec = parts.take(Charge::Stays).expect("it is there");
        let refused = [(); 2].map(|()| {
            let parts = parts.clone();
            spawn(move || parts.give_up_charges())
        });
        let user = {
            let parts = parts.clone();
            spawn(move || assert!(parts.put(0, vec), "nobody else fills the place"))
        };
        for thread in refused {
            thread.join().unwrap();
        }
        user.join().unwrap();
        assert_eq!(parts.end(), 1);
    });
}
