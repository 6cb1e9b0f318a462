//! The large slot: put, take, steal, trim and the end of a lease at once.

use loom::sync::Arc;

use super::ledger::Contents;
use super::support::{check, spawn};
use crate::class::size_of_class;
use crate::storage::{LargePut, Local, SMALL_CLASSES, Shard};

const CLASS: usize = SMALL_CLASSES;

/// A new buffer, written to, in a place that is leased for it.
fn filled(contents: &Contents) -> Arc<Shard> {
    let shard = Arc::new(Shard::default());
    let local = Local::of_model(&shard);
    let mut vec = Vec::with_capacity(size_of_class(CLASS));
    contents.write(&vec);
    assert_eq!(local.put_large(&mut vec), LargePut::NotLeased);
    local.lease_large(CLASS);
    assert_eq!(local.put_large(&mut vec), LargePut::Kept);
    shard
}

/// The owner takes what lies there, writes to it, and lays it down again. Whether it had it.
fn use_once(local: Local<'_>, contents: &Contents) -> bool {
    let Some(mut vec) = local.large(CLASS).take() else { return false };
    contents.write(&vec);
    assert_eq!(local.put_large(&mut vec), LargePut::Kept, "nobody else fills or gives up an empty place");
    true
}

/// One buffer and three that want it: its owner, who lays it down again and in the end gives up the lease of an empty
/// place, a thief, and a trimmer. It is in one place at the end, and each use has seen those before.
#[test]
fn a_large_buffer_has_one_owner() {
    check(Some(3), || {
        let contents = Contents::default();
        let shard = filled(&contents);
        let owner = {
            let (shard, contents) = (Arc::clone(&shard), contents.clone());
            spawn(move || {
                let local = Local::of_model(&shard);
                use_once(local, &contents);
                use_once(local, &contents);
                local.release_large(CLASS)
            })
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
                taken.inspect(|vec| contents.write(vec))
            })
        };
        let released = owner.join().unwrap();
        let stolen = thief.join().unwrap().is_some();
        let trimmed = trimmer.join().unwrap().is_some();
        let left = shard.large(CLASS).take().is_some();
        assert_eq!(u32::from(stolen) + u32::from(trimmed) + u32::from(left), 1, "one buffer, one place");
        assert!(!(released && left), "a place without a lease holds nothing");
        assert_eq!(Local::of_model(&shard).release_large(CLASS), !released, "a lease ends once");
    });
}

/// Two threads through all interleavings: an owner who lays down a second buffer once the first is gone, and a thief
/// of both.
#[test]
fn a_large_buffer_is_taken_once() {
    check(None, || {
        let contents = Contents::default();
        let shard = filled(&contents);
        let thief = {
            let (shard, contents) = (Arc::clone(&shard), contents.clone());
            spawn(move || {
                let taken = [shard.large(CLASS).take(), shard.large(CLASS).take()];
                taken.into_iter().flatten().inspect(|vec| contents.write(vec)).count()
            })
        };
        let owner = {
            let (shard, contents) = (Arc::clone(&shard), contents.clone());
            spawn(move || {
                let local = Local::of_model(&shard);
                use_once(local, &contents);
                let mut second = Vec::with_capacity(size_of_class(CLASS));
                contents.write(&second);
                usize::from(local.put_large(&mut second) != LargePut::Kept)
            })
        };
        let (stolen, kept) = (thief.join().unwrap(), owner.join().unwrap());
        let left = usize::from(shard.large(CLASS).take().is_some());
        assert_eq!(kept + stolen + left, 2);
    });
}
