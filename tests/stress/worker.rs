//! One thread: a course of operations that follows from its name, until it ends and is started again.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice, Read, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use bytebufferpool::{MAX_CLASS_SIZE, Pool, PooledBuf};
use bytes::BufMut;

use crate::identities::assert_sizes;
use crate::item::{Item, Stamp, Stamped};
use crate::random::{Random, mix};
use crate::{Named, STATIC_POOL, World, replaceable_pool};

/// A thread slot of a round; the generation says how often it was started again.
pub struct Worker {
    handle: Option<JoinHandle<()>>,
    name: Name,
}

#[derive(Clone, Copy)]
struct Name {
    seed: u64,
    round: u64,
    index: usize,
    generation: u64,
}

impl Name {
    fn stream(self) -> u64 {
        [self.round, self.index as u64, self.generation].into_iter().fold(self.seed, |hash, part| mix(hash ^ mix(part)))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stress seed {:#x} round {} thread {}.{}", self.seed, self.round, self.index, self.generation)
    }
}

impl Worker {
    pub fn start(world: &Arc<World>, seed: u64, round: u64, index: usize) -> Worker {
        let mut worker = Worker { handle: None, name: Name { seed, round, index, generation: 0 } };
        worker.spawn(world);
        worker
    }

    fn spawn(&mut self, world: &Arc<World>) {
        let (name, world) = (self.name, Arc::clone(world));
        world.tally.threads_started.up();
        let thread = thread::Builder::new().name(name.to_string());
        self.handle = Some(thread.spawn(move || Life::new(&world, name).run()).expect("a thread"));
    }

    pub fn restart_if_ended(&mut self, world: &Arc<World>) {
        if self.handle.as_ref().is_some_and(JoinHandle::is_finished) {
            self.join_handle();
            self.name.generation += 1;
            self.spawn(world);
        }
    }

    pub fn join(mut self) {
        self.join_handle();
    }

    fn join_handle(&mut self) {
        // `join` returns after the thread's destructors, which the end of its closure alone does not.
        if let Some(Err(panic)) = self.handle.take().map(JoinHandle::join) {
            eprintln!("failed: {}", self.name);
            resume_unwind(panic);
        }
    }
}

thread_local! {
    // Two, so that a pool's own thread-local is registered before, between and after them, by turns.
    static STASH: RefCell<Vec<Item>> = const { RefCell::new(Vec::new()) };
    static OTHER_STASH: RefCell<Vec<Item>> = const { RefCell::new(Vec::new()) };
}

const HELD_ITEMS_MAX: usize = 12;
const STASHED_ITEMS_MAX: usize = 8;
const OPERATIONS_MAX: usize = 1000;

/// Runs code on the guard in an item, whichever pool it holds on to; does nothing to other items.
macro_rules! with_guard {
    ($item:expr, |$buf:ident, $stamp:ident| $code:expr) => {
        match $item {
            Item::Owned(guard) => {
                let ($stamp, $buf) = (guard.stamp, guard.data_mut());
                $code
            }
            Item::Static(guard) => {
                let ($stamp, $buf) = (guard.stamp, guard.data_mut());
                $code
            }
            Item::Frozen(_) | Item::Loose(_) => (),
        }
    };
}

/// A thread from its start to its end.
struct Life<'a> {
    world: &'a World,
    name: Name,
    random: Random,
    operations: u64,
    held: Vec<Item>,
}

impl<'a> Life<'a> {
    fn new(world: &'a World, name: Name) -> Life<'a> {
        Life { world, name, random: Random::new(name.stream()), operations: 0, held: Vec::new() }
    }

    fn run(mut self) {
        self.register_stashes();
        for _ in 0..self.random.below(OPERATIONS_MAX) {
            if self.world.stop.load(Ordering::Relaxed) {
                break;
            }
            self.operations += 1;
            self.world.tally.operations.up();
            self.operate();
        }
        if self.random.one_in(3) {
            self.world.tally.flushes.up();
            self.named_pool().pool.flush_thread();
        }
    }

    /// Touches the thread-locals in an order of its own, before the first pool is used or not at all yet.
    fn register_stashes(&mut self) {
        match self.random.below(4) {
            0 => STASH.with(|_| ()),
            1 => OTHER_STASH.with(|_| ()),
            2 => OTHER_STASH.with(|_| STASH.with(|_| ())),
            _ => (),
        }
    }

    fn operate(&mut self) {
        match self.random.below(100) {
            0..14 => self.get(),
            14..22 => self.get_with_capacity(),
            22..25 => self.be_refused(),
            25..37 => self.use_borrowed(),
            37..47 => self.write_to_held(),
            47..51 => self.edit_held(),
            51..59 => self.end_held(),
            59..67 => self.send_held(),
            67..75 => self.receive(),
            75..79 => self.freeze_held(),
            79..83 => self.detach_or_donate(),
            83..85 => self.swap_vec(),
            85..87 => self.stash(),
            87..93 => self.inject_fault(),
            93 => self.replace_pool(),
            _ => self.keep_house(),
        }
    }

    fn stamp(&self) -> Stamp {
        let Name { round, index, generation, .. } = self.name;
        Stamp::new(round << 48 | (index as u64) << 40 | generation << 20 | self.operations)
    }

    /// Any of the round's pools, the replaceable one included.
    fn named_pool(&mut self) -> Named {
        let pools = &self.world.pools;
        let choice = self.random.below(pools.len() + 1);
        pools
            .get(choice)
            .cloned()
            .unwrap_or_else(|| Named { name: "replaced", pool: Arc::clone(&self.world.replaced.lock().unwrap()) })
    }

    fn pool(&mut self) -> Arc<Pool> {
        self.named_pool().pool
    }

    /// Holds `item`; with full hands it ends one of those held.
    fn hold(&mut self, item: Item) {
        if self.held.len() >= HELD_ITEMS_MAX {
            let index = self.random.below(self.held.len());
            drop(self.held.swap_remove(index));
        }
        self.held.push(item);
    }

    fn any_held(&mut self) -> Option<Item> {
        if self.held.is_empty() {
            return None;
        }
        let index = self.random.below(self.held.len());
        Some(self.held.swap_remove(index))
    }

    fn get(&mut self) {
        self.world.tally.gets.up();
        let (pool, stamp) = (self.pool(), self.stamp());
        let item = if self.world.with_static && self.random.one_in(5) {
            Item::Static(self.written(STATIC_POOL.get(), stamp))
        } else {
            Item::Owned(self.written(pool.get_owned(), stamp))
        };
        self.hold(item);
    }

    fn get_with_capacity(&mut self) {
        self.world.tally.gets_with_capacity.up();
        let (pool, stamp) = (self.pool(), self.stamp());
        // Now and then more than a pool keeps; its memory stays untouched.
        let capacity = if self.random.one_in(200) { MAX_CLASS_SIZE + 1 } else { self.random.len() };
        let buf = if self.random.one_in(2) {
            pool.get_owned_with_capacity(capacity)
        } else {
            pool.try_get_owned_with_capacity(capacity).expect("memory")
        };
        assert!(buf.capacity() >= capacity, "{} bytes of room for {capacity}", buf.capacity());
        let item = Item::Owned(self.written(buf, stamp));
        self.hold(item);
    }

    fn be_refused(&mut self) {
        self.world.tally.gets_refused.up();
        let pool = self.pool();
        let absurd = usize::MAX >> self.random.below(3);
        assert!(pool.try_get_with_capacity(absurd).is_err());
        assert!(pool.try_get_owned_with_capacity(absurd).is_err());
    }

    /// Guards that borrow their pool, one inside the other's life.
    fn use_borrowed(&mut self) {
        self.world.tally.borrowed_uses.up();
        let (pool, stamp) = (self.pool(), self.stamp());
        let outer = self.written(pool.get(), stamp);
        let capacity = self.random.len();
        let inner = pool.try_get_with_capacity(capacity).expect("memory");
        let inner = self.written(inner, stamp);
        match self.random.below(4) {
            0 => drop((outer, inner)),
            1 => {
                let text = outer.take();
                let mut copy = inner.take();
                copy.set(&text);
                drop(text);
                stamp.check(0, &copy);
            }
            2 => {
                self.world.tally.discarded.up();
                outer.take().discard();
                inner.check();
            }
            _ => {
                self.world.tally.detached.up();
                let loose = inner.take().into_vec();
                drop(outer);
                self.hold(Item::Loose(Stamped::new(loose, stamp)));
            }
        }
    }

    fn written<P: AsRef<Pool>>(&mut self, mut buf: PooledBuf<P>, stamp: Stamp) -> Stamped<PooledBuf<P>> {
        assert!(buf.is_empty(), "a buffer with {} bytes in it", buf.len());
        let len = self.random.len();
        self.write(&mut buf, stamp, len);
        Stamped::new(buf, stamp)
    }

    fn write_to_held(&mut self) {
        let Some(mut item) = self.any_held() else { return };
        let len = self.random.len();
        with_guard!(&mut item, |buf, stamp| self.write(buf, stamp, len));
        self.hold(item);
    }

    /// Appends `len` stamped bytes by one of the ways there are.
    fn write<P: AsRef<Pool>>(&mut self, buf: &mut PooledBuf<P>, stamp: Stamp, len: usize) {
        self.world.tally.writes.up();
        let before = buf.len();
        let mut bytes = vec![0; len];
        stamp.fill(before, &mut bytes);
        match self.random.below(11) {
            0 => buf.extend_from_slice(&bytes),
            1 => buf.write_all(&bytes).expect("infallible"),
            2 => buf.put_slice(&bytes),
            3 => buf.put(&bytes[..]),
            4 => buf.extend(&bytes),
            5 => buf.push_str(std::str::from_utf8(&bytes).expect("ASCII")),
            6 => buf.append(&mut bytes.clone()),
            7 => {
                let (head, tail) = bytes.split_at(len / 2);
                let written = buf.write_vectored(&[IoSlice::new(head), IoSlice::new(tail)]).expect("infallible");
                assert_eq!(written, len);
            }
            8 => {
                let read = buf.read_from(&mut Source::sound(stamp, before, len)).expect("a sound source");
                assert_eq!(read, len);
            }
            9 => write!(buf, "{}", Text { stamp, position: before, len, fault: None }).expect("infallible"),
            _ => {
                self.world.tally.growths_reserved.up();
                if self.random.one_in(2) {
                    buf.reserve(len)
                } else {
                    buf.try_reserve(len).expect("memory")
                }
                assert!(buf.capacity() - before >= len);
                bytes.iter().for_each(|&byte| buf.push(byte));
            }
        }
        assert_eq!(buf.len(), before + len);
    }

    fn edit_held(&mut self) {
        self.world.tally.edits.up();
        let Some(mut item) = self.any_held() else { return };
        let (choice, keep) = (self.random.below(5), self.random.len());
        with_guard!(&mut item, |buf, stamp| match choice {
            0 => buf.clear(),
            1 => buf.truncate(keep),
            2 => {
                let len = buf.len();
                buf.resize(len + keep, 1);
                stamp.fill(len, &mut buf[len..]);
            }
            3 => {
                // Eight bytes before a multiple of the stamp's period they stand again, but for the position in them.
                let copied = buf.len().min(64);
                let len = buf.len();
                buf.extend_from_within(..copied);
                assert!((0..copied).all(|i| buf[i] == buf[len + i]));
                stamp.fill(len, &mut buf[len..]);
            }
            _ => {
                let mut bytes = vec![0; keep.min(4096)];
                stamp.fill(0, &mut bytes);
                buf.set(&bytes);
            }
        });
        self.hold(item);
    }

    fn end_held(&mut self) {
        let Some(item) = self.any_held() else { return };
        self.world.tally.checks.up();
        item.check();
        match item {
            Item::Owned(guard) if self.random.one_in(6) => {
                self.world.tally.discarded.up();
                guard.take().discard();
            }
            item => drop(item),
        }
    }

    fn send_held(&mut self) {
        let Some(item) = self.any_held() else { return };
        let index = self.random.below(self.world.mailboxes.len());
        match self.world.mailboxes[index].send(item) {
            Ok(()) => self.world.tally.sent.up(),
            Err(item) => {
                self.world.tally.mailbox_full.up();
                self.hold(item);
            }
        }
    }

    fn receive(&mut self) {
        let index = self.random.below(self.world.mailboxes.len());
        let Some(item) = self.world.mailboxes[index].take() else { return };
        self.world.tally.received.up();
        item.check();
        if self.random.one_in(2) {
            self.hold(item);
        }
    }

    /// Freezes a buffer and scatters slices of it; the last one that ends, on whichever thread, brings it home.
    fn freeze_held(&mut self) {
        let Some(item) = self.any_held() else { return };
        let frozen = match item.freeze() {
            Ok(frozen) => frozen,
            Err(item) => return self.hold(item),
        };
        self.world.tally.frozen.up();
        for _ in 0..self.random.below(4) {
            self.world.tally.sliced.up();
            let end = self.random.below(frozen.len() + 1);
            let slice = Item::Frozen(frozen.slice(self.random.below(end + 1), end));
            let index = self.random.below(self.world.mailboxes.len());
            if let Err(slice) = self.world.mailboxes[index].send(slice) {
                slice.check();
            }
        }
        if self.random.one_in(2) {
            self.hold(Item::Frozen(frozen));
        }
    }

    /// Takes a buffer out of its pool, or gives one to any pool, which need not be the one it came from.
    fn detach_or_donate(&mut self) {
        let Some(item) = self.any_held() else { return };
        let was_loose = matches!(item, Item::Loose(_));
        let loose = match item.detach() {
            Ok(loose) => loose,
            Err(item) => return self.hold(item),
        };
        if !was_loose {
            self.world.tally.detached.up();
        }
        if self.random.one_in(3) {
            return self.hold(Item::Loose(loose));
        }
        let mut vec = loose.take();
        match self.random.below(4) {
            0 => vec.shrink_to_fit(),
            1 => vec.reserve_exact(self.random.below(1000)),
            _ => (),
        }
        self.world.tally.donated.up();
        if self.world.with_static && self.random.one_in(5) { STATIC_POOL.put(vec) } else { self.pool().put(vec) }
    }

    /// What code with a `Vec` in its hands may do to it.
    fn swap_vec(&mut self) {
        let Some(mut item) = self.any_held() else { return };
        self.world.tally.vec_swapped.up();
        let (choice, extra) = (self.random.below(5), self.random.below(3000));
        with_guard!(&mut item, |buf, _stamp| {
            let vec = buf.as_vec_mut();
            match choice {
                0 => *vec = Vec::new(),
                1 => vec.shrink_to_fit(),
                2 => vec.reserve_exact(extra),
                3 => *vec = vec.clone(),
                _ => drop(std::mem::replace(vec, Vec::with_capacity(extra))),
            }
        });
        self.hold(item);
    }

    /// Leaves buffers for the destructors of this thread.
    fn stash(&mut self) {
        let Some(item) = self.any_held() else { return };
        self.world.tally.stashed_in_thread_locals.up();
        let stash = if self.random.one_in(2) { &STASH } else { &OTHER_STASH };
        let over = stash.with_borrow_mut(|stash| {
            stash.push(item);
            if stash.len() > STASHED_ITEMS_MAX { Some(stash.remove(0)) } else { None }
        });
        if let Some(item) = over {
            self.hold(item);
        }
    }

    fn inject_fault(&mut self) {
        let Some(mut item) = self.any_held() else { return };
        let (choice, len) = (self.random.below(6), self.random.len() + 1);
        let fault_at = self.random.below(len);
        let tally = &self.world.tally;
        let pool = self.pool();
        with_guard!(&mut item, |buf, stamp| {
            let position = buf.len();
            let text = |fault| Text { stamp, position, len, fault: Some((fault_at, fault)) };
            let source =
                |fault| Source { fault: Some((position + fault_at, fault)), ..Source::sound(stamp, position, len) };
            match choice {
                0 => {
                    tally.display_panics.up();
                    survive(|| write!(buf, "{}", text(Fault::Panic)).expect("it panics"));
                }
                1 => {
                    tally.display_errors.up();
                    assert!(write!(buf, "{}", text(Fault::Error)).is_err());
                }
                2 => {
                    tally.reader_panics.up();
                    survive(|| drop(buf.read_from(&mut source(Fault::Panic))));
                }
                3 => {
                    tally.reader_errors.up();
                    assert!(buf.read_from(&mut source(Fault::Error)).is_err());
                    assert_eq!(buf.len(), position + fault_at, "what was read before the error stays");
                }
                4 => {
                    tally.iterator_panics.up();
                    survive(|| buf.extend(faulty_iterator(stamp, position, len, fault_at)));
                    assert_eq!(buf.len(), position + fault_at, "what was written before the panic stays");
                }
                _ => {
                    tally.panics_with_a_guard.up();
                    survive(|| {
                        // Both come home while unwinding.
                        let _owned = pool.get_owned_with_capacity(len);
                        let mut borrowed = pool.get();
                        write!(borrowed, "{}", text(Fault::Panic)).expect("it panics");
                    });
                }
            }
        });
        item.check();
        self.hold(item);
    }

    fn replace_pool(&mut self) {
        self.world.tally.pools_replaced.up();
        let new = replaceable_pool();
        let old = std::mem::replace(&mut *self.world.replaced.lock().unwrap(), new);
        if self.random.one_in(50) {
            self.world.retired.lock().unwrap().push(old);
        }
    }

    fn keep_house(&mut self) {
        let tally = &self.world.tally;
        let Named { name, pool } = self.named_pool();
        match self.random.below(8) {
            0 => {
                tally.trims.up();
                pool.trim();
            }
            1 => {
                tally.purges.up();
                pool.purge();
            }
            2 => {
                tally.flushes.up();
                pool.flush_thread();
            }
            3 => {
                tally.calibrations.up();
                pool.calibrate();
            }
            4 => {
                tally.prefills.up();
                let (capacity, count) = (self.random.len(), self.random.below(4));
                assert!(pool.prefill(capacity, count) <= count);
            }
            5 if self.world.with_static => {
                tally.trims.up();
                STATIC_POOL.trim();
            }
            _ => {
                tally.books_read.up();
                let stats = pool.stats();
                assert_sizes(&stats, name);
                assert!(pool.default_size().is_power_of_two() && pool.max_size().is_power_of_two());
            }
        }
    }
}

/// What the injected panics carry. They are resumed, not raised, so that no hook prints them.
struct Injected;

fn inject() -> ! {
    resume_unwind(Box::new(Injected))
}

/// Runs `f`, which must end in an injected panic and in no other.
fn survive(f: impl FnOnce()) {
    let panic: Box<dyn Any + Send> = catch_unwind(AssertUnwindSafe(f)).expect_err("the injected panic comes through");
    if !panic.is::<Injected>() {
        resume_unwind(panic);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Panic,
    Error,
}

/// Stamped text that a formatter is given in pieces, with a fault before the byte at an offset.
struct Text {
    stamp: Stamp,
    position: usize,
    len: usize,
    fault: Option<(usize, Fault)>,
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut piece = [0; 24];
        let end = self.fault.map_or(self.len, |(at, _)| at);
        for start in (0..end).step_by(piece.len()) {
            let piece = &mut piece[..24.min(end - start)];
            self.stamp.fill(self.position + start, piece);
            f.write_str(std::str::from_utf8(piece).expect("ASCII"))?;
        }
        match self.fault {
            None => Ok(()),
            Some((_, Fault::Error)) => Err(fmt::Error),
            Some((_, Fault::Panic)) => inject(),
        }
    }
}

/// A reader of stamped bytes that gives few at a time, is interrupted now and then, and looks at what it is handed.
struct Source {
    stamp: Stamp,
    position: usize,
    end: usize,
    fault: Option<(usize, Fault)>,
    reads: usize,
}

impl Source {
    fn sound(stamp: Stamp, position: usize, len: usize) -> Source {
        Source { stamp, position, end: position + len, fault: None, reads: 0 }
    }
}

impl Read for Source {
    fn read(&mut self, memory: &mut [u8]) -> io::Result<usize> {
        assert!(memory.iter().all(|&byte| byte == 0), "a reader was handed stale bytes");
        self.reads += 1;
        if self.reads % 5 == 3 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let end = match self.fault {
            Some((at, Fault::Error)) if at == self.position => return Err(io::Error::other("injected")),
            Some((at, Fault::Panic)) if at == self.position => inject(),
            Some((at, _)) => at,
            None => self.end,
        };
        let read = memory.len().min(end - self.position).min(1 + self.reads * 100);
        self.stamp.fill(self.position, &mut memory[..read]);
        self.position += read;
        Ok(read)
    }
}

/// Stamped bytes, then a panic; the hint promises anything.
fn faulty_iterator(stamp: Stamp, position: usize, len: usize, fault_at: usize) -> impl Iterator<Item = u8> {
    (0..len).map(move |i| if i == fault_at { inject() } else { stamp.byte(position + i) })
}
