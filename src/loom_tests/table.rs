//! The table of places: put, take, trim and the end of a charge at once.

use loom::sync::Arc;

use super::ledger::{self, Contents};
use super::support::{check, spawn};
use crate::class::size_of_class;
use crate::storage::{Charge, Put, SMALL_CLASSES, Table, Zeroed};

const CLASS: usize = SMALL_CLASSES;

fn buffer() -> Vec<u8> {
    Vec::with_capacity(size_of_class(CLASS))
}

/// A table and the contents of its buffers. The ledger counts what the buffers in it and what is charged for them come to.
#[derive(Clone)]
struct Parts {
    table: Arc<Box<Table>>,
    contents: Contents,
}

impl Parts {
    fn new() -> Parts {
        ledger::compare_with_budget(true);
        Parts { table: Arc::new(Table::boxed()), contents: Contents::default() }
    }

    /// With one buffer in row 0.
    fn filled() -> Parts {
        let parts = Parts::new();
        assert!(parts.put(0, buffer()));
        parts
    }

    fn take(&self, charge: Charge) -> Option<Vec<u8>> {
        let vec = self.table.take(0, CLASS, charge)?;
        self.contents.write(&vec);
        if charge == Charge::Leaves {
            release(1);
        }
        Some(vec)
    }

    /// Keeps a buffer as the pool does, but for its list; whether there was a place for it.
    fn put(&self, row: usize, mut vec: Vec<u8>) -> bool {
        self.contents.write(&vec);
        let mut put = self.table.put(row, &mut vec);
        if put == Put::NotCharged {
            ledger::charged(size_of_class(CLASS), usize::MAX);
            if self.table.put_charged(row, CLASS, &mut vec) {
                put = Put::Kept;
            } else {
                release(1);
            }
        }
        put == Put::Kept
    }

    fn give_up_charges(&self) {
        release(self.table.give_up_charges(CLASS));
    }

    /// Nobody operates any more: how many buffers there are. What is charged is what they and the empty places stand for.
    fn end(&self) -> usize {
        self.give_up_charges();
        let left = self.table.len(CLASS);
        let bytes = left * size_of_class(CLASS);
        assert_eq!((ledger::idle_bytes(), ledger::charged_bytes()), (bytes, bytes));
        let taken = std::iter::from_fn(|| self.take(Charge::Leaves)).count();
        assert_eq!((taken, ledger::charged_bytes()), (left, 0));
        left
    }
}

fn release(charges: usize) {
    ledger::released(charges * size_of_class(CLASS));
}

/// One buffer and three that want it: a user, who puts it back, a thief, and a trimmer, who also gives up what is charged
/// for nothing. It is in one place at the end, and each use has seen those before.
#[test]
fn a_buffer_has_one_owner() {
    check(Some(3), || {
        let parts = Parts::filled();
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
        let parts = Parts::filled();
        let threads = [Charge::Stays, Charge::Leaves].map(|charge| {
            let parts = parts.clone();
            spawn(move || {
                let mut own = vec![parts.take(charge)];
                let kept = charge == Charge::Leaves && parts.put(0, buffer());
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
        let parts = Parts::filled();
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

/// Two threads have a buffer for a place that is not charged: one buffer is kept, and is there.
#[test]
fn a_place_is_filled_once() {
    check(None, || {
        let parts = Parts::new();
        let threads = [(); 2].map(|()| {
            let parts = parts.clone();
            spawn(move || parts.put(0, buffer()))
        });
        let kept = threads.map(|thread| thread.join().unwrap()).into_iter().filter(|&kept| kept).count();
        assert_eq!((kept, parts.end()), (1, 1));
    });
}
