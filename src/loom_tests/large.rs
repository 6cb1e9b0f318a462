//! The large slot: put, take, steal, trim and the end of a lease at once.

use loom::sync::Arc;

use super::ledger::Contents;
use super::support::{check, spawn};
use crate::class::size_of_class;
use crate::storage::{LargePut, SMALL_CLASSES, Shard};

const CLASS: usize = SMALL_CLASSES;

fn buffer() -> Vec<u8> {
    Vec::with_capacity(size_of_class(CLASS))
}

/// Takes what lies there, writes to it, and lays it down again if there is still a place. What is left in hand.
fn use_once(shard: &Shard, contents: &Contents) -> Option<Vec<u8>> {
    let mut vec = shard.large(CLASS).take()?;
    contents.write(&vec);
    match shard.large(CLASS).put(&mut vec) {
        LargePut::Kept => None,
        LargePut::Full | LargePut::NotLeased => Some(vec),
    }
}

/// One buffer and three that want it: its owner, who lays it down again, a thief, and a trimmer, who also gives up the
/// lease. It is in one place at the end, each use has seen those before, and the lease was given up at most once.
#[test]
fn a_large_buffer_has_one_owner() {
    check(Some(3), || {
        let shard = Arc::new(Shard::default());
        let contents = Contents::default();
        let mut vec = buffer();
        contents.write(&vec);
        assert_eq!(shard.large(CLASS).put_with_lease(&mut vec), LargePut::Kept);
        let owner = {
            let (shard, contents) = (Arc::clone(&shard), contents.clone());
            spawn(move || [use_once(&shard, &contents), use_once(&shard, &contents)])
        };
        let thief = {
            let (shard, contents) = (Arc::clone(&shard), contents.clone());
            spawn(move || shard.large(CLASS).take().inspect(|vec| contents.write(vec)))
        };
        let trimmer = {
            let (shard, contents) = (Arc::clone(&shard), contents.clone());
            spawn(move || {
                let untouched = !shard.large(CLASS).was_touched();
                let taken = if untouched { shard.large(CLASS).take() } else { None };
                let taken = taken.inspect(|vec| contents.write(vec));
                (taken, shard.large(CLASS).release())
            })
        };
        let kept = owner.join().unwrap().into_iter().flatten().count();
        let stolen = thief.join().unwrap().is_some();
        let (trimmed, released) = trimmer.join().unwrap();
        let left = shard.large(CLASS).take();
        let holders = kept + usize::from(stolen) + usize::from(trimmed.is_some()) + usize::from(left.is_some());
        assert_eq!(holders, 1, "one buffer, one place");
        assert!(!(released && left.is_some()), "a place without a lease holds nothing");
        assert_eq!(shard.large(CLASS).release(), !released, "a lease ends once");
    });
}

/// The same for two threads through all interleavings: an owner who lays down a second buffer, and a thief.
#[test]
fn a_large_buffer_is_taken_once() {
    check(None, || {
        let shard = Arc::new(Shard::default());
        let contents = Contents::default();
        let mut vec = buffer();
        contents.write(&vec);
        assert_eq!(shard.large(CLASS).put_with_lease(&mut vec), LargePut::Kept);
        let thief = {
            let (shard, contents) = (Arc::clone(&shard), contents.clone());
            spawn(move || {
                let taken = [shard.large(CLASS).take(), shard.large(CLASS).take()];
                taken.into_iter().flatten().inspect(|vec| contents.write(vec)).count()
            })
        };
        let owner = {
            let shard = Arc::clone(&shard);
            spawn(move || {
                let kept = use_once(&shard, &contents).is_some();
                let mut second = buffer();
                contents.write(&second);
                let full = shard.large(CLASS).put(&mut second) != LargePut::Kept;
                usize::from(kept) + usize::from(full)
            })
        };
        let (stolen, kept) = (thief.join().unwrap(), owner.join().unwrap());
        let left = usize::from(shard.large(CLASS).take().is_some());
        assert_eq!(kept + stolen + left, 2);
    });
}
