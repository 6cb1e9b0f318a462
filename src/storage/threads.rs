//! What the threads and the pools of a process must agree on: thread indices, stamps, and which pools a thread has
//! used.
//!
//! All of it is behind one lock, the process-wide lock. It is held for a few loads and stores, or while one thread
//! hands back to one pool (at most some dozens of batches). Under it nothing is allocated or freed, and only code of
//! this crate runs: a global allocator may itself use a pool.
//!
//! A thread's shards, one for each pool that it has used, form a list that begins at the thread's [`Head`]. So a
//! thread's end visits the pools that it has used and no others, one at a time. A pool that is dropped takes its shards
//! out of their threads' lists. Both work under the lock, so neither sees the other half done.
//!
//! A thread ends in one thread-local destructor, ours, wherever it comes in the order of destructors (which is
//! unspecified). From then on the thread is *dead*: it has no shard, and works on the shared part.

use std::cell::Cell;
use std::ptr::{self, NonNull};

use super::shard::{HandBack, Shard};
use crate::sync::{Mutex, MutexGuard, lock, thread_local};

/// What a thread knows of itself. Constant and without a destructor, so that it exists before and after all other
/// thread-locals.
pub(super) struct Here {
    state: Cell<State>,
    memo: [Memo; MEMO_LEN],
}

#[derive(Clone, Copy)]
enum State {
    /// Has not used a pool yet.
    New,
    Alive(NonNull<Head>),
    Dead,
}

/// Where a thread's list of shards begins. On the heap and not in the thread-local itself, because a thread that is
/// killed runs no destructors, and its shards still point here.
pub(super) struct Head {
    index: usize,
    first: Cell<*const Shard>,
}

/// A pool's stamp: a tag of the pool's own in the highest bits, a number that is never issued twice, and the pool's
/// entry in the memos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

// The bits of a stamp from below: as many zeros as an entry's size has, so that a mask alone finds the entry; the
// entry; the number; the tag.
const ENTRY_SHIFT: u32 = 4;
const NUMBER_SHIFT: u32 = ENTRY_SHIFT + MEMO_LEN.ilog2();
const TAG_SHIFT: u32 = 59;

// No stamp that is issued is this or the 0 of an empty memo, because numbers begin at 1.
pub(super) const NOT_REGISTERED: u64 = 1;
const _: () = assert!(NOT_REGISTERED < 1 << NUMBER_SHIFT && MEMO_LEN.is_power_of_two());

impl Stamp {
    /// The stamp with that number.
    pub(super) fn new(tag: usize, number: u64, entry: usize) -> Stamp {
        let number = (number << NUMBER_SHIFT) & !(u64::MAX << TAG_SHIFT);
        Stamp(((tag as u64) << TAG_SHIFT) | number | ((entry as u64) << ENTRY_SHIFT))
    }

    pub(super) fn from_word(word: u64) -> Stamp {
        Stamp(word)
    }

    #[inline]
    pub(crate) fn tag(self) -> usize {
        (self.0 >> TAG_SHIFT) as usize
    }

    #[inline]
    pub(super) fn memo_entry(self) -> usize {
        (self.0 >> ENTRY_SHIFT) as usize % MEMO_LEN
    }

    #[inline]
    pub(super) fn word(self) -> u64 {
        self.0
    }
}

struct Memo {
    stamp: Cell<u64>,
    /// Dangling where the stamp is 0.
    shard: Cell<NonNull<Shard>>,
}

/// How many pools a thread can use in turn and find each by its memo. Up to this many living pools never share an
/// entry. With more, a get and a drop go out of line, where the thread attaches again and looks at the clock, without a
/// lock: 21 ns a use instead of 6 with 32 pools in turn (2026-11-24, 2-core x86-64 VM). 256 bytes per thread.
pub(super) const MEMO_LEN: usize = 16;

thread_local! {
    static HERE: Here = const {
        Here {
            state: Cell::new(State::New),
            memo: [const { Memo { stamp: Cell::new(0), shard: Cell::new(NonNull::dangling()) } }; MEMO_LEN],
        }
    };
}

// loom destroys all thread-locals at once, and its `join` does not wait for that: threads of models call `end_thread`.
#[cfg(not(pool_loom))]
thread_local! {
    static EXIT: Exit = const { Exit };
}

#[cfg(not(pool_loom))]
struct Exit;

#[cfg(not(pool_loom))]
impl Drop for Exit {
    fn drop(&mut self) {
        end_thread();
    }
}

/// The shard that this thread has noted under `stamp`.
#[inline]
pub(super) fn noted(stamp: Stamp) -> Option<NonNull<Shard>> {
    HERE.with(|here| {
        let memo = &here.memo[stamp.memo_entry()];
        let (noted, shard) = (memo.stamp.get(), memo.shard.get());
        if noted == stamp.word() { Some(shard) } else { None }
    })
}

pub(super) fn note(stamp: Stamp, shard: &Shard) {
    HERE.with(|here| {
        let memo = &here.memo[stamp.memo_entry()];
        memo.stamp.set(stamp.word());
        memo.shard.set(NonNull::from(shard));
    });
}

/// This thread's index, if it has used a pool and has not ended.
pub(super) fn my_index() -> Option<usize> {
    HERE.with(|here| match here.state.get() {
        // SAFETY: this thread's own, which `end_thread` frees after it has changed the state.
        State::Alive(head) => Some(unsafe { head.as_ref() }.index),
        State::New | State::Dead => None,
    })
}

/// This thread's index; takes one if it has none yet. `None` once its destructor has run, and when all indices are
/// taken.
pub(super) fn take_my_index() -> Option<usize> {
    HERE.with(|here| {
        if let State::New = here.state.get() {
            // Registers the destructor, or says that it has run.
            #[cfg(not(pool_loom))]
            EXIT.try_with(|_| ()).ok()?;
            // Before the lock, because an allocator may use a pool. After the destructor is registered, which may
            // allocate.
            let mut head = Box::new(Head { index: 0, first: Cell::new(ptr::null()) });
            if let State::New = here.state.get() {
                let Some(index) = with_threads(|threads| threads.indices.take()) else {
                    // As many threads as can have an index live: this one works on the shared part for good.
                    here.state.set(State::Dead);
                    return None;
                };
                head.index = index;
                here.state.set(State::Alive(NonNull::from(Box::leak(head))));
            }
        }
        my_index()
    })
}

/// Puts a shard on this thread's list. The thread has the shard's index.
///
/// # Safety
///
/// `shared` is the shared part of the shard's pool. `hand_back` is made for it. It is alive until the shard is
/// unlinked.
pub(super) unsafe fn link(shard: &Shard, shared: *const (), hand_back: HandBack) {
    let State::Alive(head) = HERE.with(|here| here.state.get()) else { return };
    with_threads(|_| {
        // SAFETY: this thread's own, which `end_thread` frees after it has changed the state.
        let at: *const Cell<*const Shard> = unsafe { &raw const (*head.as_ptr()).first };
        let links = &shard.links;
        links.shared.set(shared);
        links.hand_back.set(Some(hand_back));
        // SAFETY: a living head's.
        let next = unsafe { (*at).replace(shard) };
        links.next.set(next);
        links.pointed_by.set(at);
        // SAFETY: what is linked is alive, as its pool unlinks it under this lock before it is freed.
        if let Some(next) = unsafe { next.as_ref() } {
            next.links.pointed_by.set(&raw const links.next);
        }
    });
    shard.set_linked(true);
}

/// Takes a shard out of its thread's list, as its pool is dropped or its thread ends. Under the lock.
fn unlink(shard: &Shard) {
    let links = &shard.links;
    let (next, pointed_by) = (links.next.replace(ptr::null()), links.pointed_by.replace(ptr::null()));
    // SAFETY: what is linked is pointed to by a living head or a living shard: each is taken out under this lock before
    // it is freed.
    unsafe { (*pointed_by).set(next) };
    // SAFETY: as above.
    if let Some(next) = unsafe { next.as_ref() } {
        next.links.pointed_by.set(pointed_by);
    }
    shard.set_linked(false);
}

/// After this no thread hands back to the pool of `shards`. Waits for threads that do now.
pub(super) fn unlink_all<'a>(shards: impl Iterator<Item = &'a Shard>) {
    for shard in shards {
        // One at a time, so that the lock is free in between.
        with_threads(|_| {
            if shard.is_linked() {
                unlink(shard);
            }
        });
    }
}

/// Hands back to every pool what this thread has of it. After this the thread is dead.
pub(crate) fn end_thread() {
    let state = HERE.with(|here| {
        for memo in &here.memo {
            memo.stamp.set(0);
        }
        here.state.replace(State::Dead)
    });
    let State::Alive(head) = state else { return };
    // One pool at a time, so that the lock is free in between.
    // SAFETY: this thread's own, freed below.
    while with_threads(|threads| hand_back_first(unsafe { head.as_ref() }, threads)) {}
    // SAFETY: `take_my_index` leaked a box, no other place frees it, and nothing is linked to it any more.
    drop(unsafe { Box::from_raw(head.as_ptr()) });
}

/// Hands back to the first pool of a thread's list. If there is none, gives the thread's index back and returns false.
fn hand_back_first(head: &Head, threads: &mut Threads) -> bool {
    // SAFETY: what is linked is alive, as its pool unlinks it under this lock before it is freed.
    let Some(shard) = (unsafe { head.first.get().as_ref() }) else {
        threads.indices.give(head.index);
        return false;
    };
    if let Some(hand_back) = shard.links.hand_back.get() {
        // SAFETY: the shard is linked, so its pool is alive; `link` had the two belong together. This thread has the
        // shard's index until it is given away, and no Local: the memos are wiped, and none lives across a thread's
        // destructors.
        unsafe { hand_back(shard.links.shared.get(), shard) };
    }
    unlink(shard);
    true
}

/// What the lock protects.
pub(super) struct Threads {
    indices: Indices,
    /// How many stamps were issued. 2^51 last for 70 years at one a microsecond.
    stamps: u64,
    /// How many living pools have each entry of the memos.
    pools: [u32; MEMO_LEN],
}

impl Threads {
    const fn new() -> Threads {
        Threads { indices: Indices { taken: [0; INDEX_WORDS], free_from: 0 }, stamps: 0, pools: [0; MEMO_LEN] }
    }

    /// A number that no stamp had before.
    pub(super) fn next_stamp(&mut self) -> u64 {
        self.stamps += 1;
        self.stamps
    }

    /// The memo entry of a new pool: one that as few living pools as possible have.
    pub(super) fn take_entry(&mut self) -> usize {
        let entry = (0..MEMO_LEN).min_by_key(|&entry| self.pools[entry]).unwrap_or(0);
        self.pools[entry] += 1;
        entry
    }

    pub(super) fn give_entry(&mut self, entry: usize) {
        self.pools[entry] -= 1;
    }
}

/// How many threads can have an index at the same time: 32 768. One more has no thread cache, and works on the shared
/// part.
pub(super) const INDICES: usize = INDEX_WORDS * u64::BITS as usize;

/// 4 KiB of zeroed static memory. Few programs touch more than its beginning.
const INDEX_WORDS: usize = if cfg!(pool_loom) { 1 } else { 512 };

/// A set of small numbers, a bit for each. Of fixed size, because nothing may be allocated under the lock.
struct Indices {
    taken: [u64; INDEX_WORDS],
    /// No word before this one has a free bit.
    free_from: usize,
}

impl Indices {
    /// Takes the least number that is free.
    fn take(&mut self) -> Option<usize> {
        let word = (self.free_from..INDEX_WORDS).find(|&word| self.taken[word] != u64::MAX);
        self.free_from = word.unwrap_or(INDEX_WORDS);
        let word = word?;
        let bit = self.taken[word].trailing_ones() as usize;
        self.taken[word] |= 1 << bit;
        Some(word * u64::BITS as usize + bit)
    }

    fn give(&mut self, index: usize) {
        let word = index / u64::BITS as usize;
        self.taken[word] &= !(1 << (index % u64::BITS as usize));
        self.free_from = self.free_from.min(word);
    }
}

pub(super) fn with_threads<R>(f: impl FnOnce(&mut Threads) -> R) -> R {
    f(&mut lock_threads())
}

#[cfg(not(pool_loom))]
#[inline(never)]
fn lock_threads() -> MutexGuard<'static, Threads> {
    static THREADS: Mutex<Threads> = Mutex::new(Threads::new());
    #[cfg(test)]
    super::tally::count_lock();
    lock(&THREADS)
}

#[cfg(pool_loom)]
fn lock_threads() -> MutexGuard<'static, Threads> {
    loom::lazy_static! {
        static ref THREADS: Mutex<Threads> = Mutex::new(Threads::new());
    }
    lock(&THREADS)
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::CLASSES;

    #[test]
    fn an_index_is_the_least_that_is_free_and_there_is_an_end_of_them() {
        let mut indices = Indices { taken: [0; INDEX_WORDS], free_from: 0 };
        for index in 0..INDICES {
            assert_eq!(indices.take(), Some(index));
        }
        assert_eq!((indices.take(), indices.take()), (None, None));
        for index in [INDICES - 1, 70, 3, 64] {
            indices.give(index);
        }
        assert_eq!([3, 64, 70, INDICES - 1].map(Some), [(); 4].map(|()| indices.take()));
        assert_eq!(indices.take(), None);
    }

    /// Of all 2^51 numbers; those with one bit and those with all bits up to one stand for the rest.
    #[test]
    fn no_two_stamps_are_alike_and_each_tells_its_tag_and_its_entry() {
        let mut words = HashSet::from([0, NOT_REGISTERED]);
        let numbers: HashSet<u64> = (0..51).flat_map(|bit| [1 << bit, (2 << bit) - 1]).collect();
        for number in numbers {
            for tag in 0..CLASSES {
                for entry in 0..MEMO_LEN {
                    let stamp = Stamp::new(tag, number, entry);
                    assert_eq!((stamp.tag(), stamp.memo_entry()), (tag, entry), "number {number}");
                    assert!(words.insert(stamp.word()), "number {number}, tag {tag}, entry {entry}");
                }
            }
        }
    }

    #[test]
    fn as_many_pools_as_a_memo_has_entries_share_none_whatever_came_before() {
        let mut threads = Threads::new();
        let mut entries: Vec<usize> = (0..MEMO_LEN).map(|_| threads.take_entry()).collect();
        for round in 0..100 {
            let ended = entries.remove(round * 7 % MEMO_LEN);
            threads.give_entry(ended);
            entries.push(threads.take_entry());
            let mut sorted = entries.clone();
            sorted.sort();
            assert_eq!(sorted, (0..MEMO_LEN).collect::<Vec<_>>());
        }
    }
}
