//! Drives a real pool and a naive one by the same operations, and compares after every step.
//!
//! The naive side is [`Reference`] (the specification written the slow way) plus a [`Mirror`] per live guard: a plain
//! `Vec<u8>` that does what the guard is documented to do, with its own idea of the peak. Beside both, the driver
//! keeps tallies of what it did, so that a mistake shared by pool and model still shows.
#![allow(unsafe_code)]

use std::collections::TryReserveError;
use std::fmt;
use std::io::{self, IoSlice, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use proptest::prelude::*;

use crate::builder::Config;
use crate::class::LOOK_UP_CLASSES;
use crate::learn::sizing::{Limits, Sizes};
use crate::learn::usage::Use;
use crate::tests::reference::Reference;
use crate::{CLASSES, DefaultSize, Growth, MAX_CLASS_SIZE, MIN_CLASS_SIZE, Pool, PooledBuf, Stats};

/// The class of `len`, by search: not the crate's arithmetic.
pub(super) fn class_by_search(len: usize) -> usize {
    (0..CLASSES).find(|&class| MIN_CLASS_SIZE << class >= len).unwrap_or(CLASSES - 1)
}

pub(super) fn is_class_size(size: usize) -> bool {
    (0..CLASSES).any(|class| MIN_CLASS_SIZE << class == size)
}

/// What `stats()` promises with no operation in flight.
#[track_caller]
pub(super) fn assert_identities(stats: &Stats, retained_bytes_max: usize) {
    stats.assert_identities();
    assert!(stats.retained_bytes <= retained_bytes_max, "over the budget: {stats:?}");
    assert!(stats.default_size <= stats.max_size, "{stats:?}");
    assert!(is_class_size(stats.default_size) && is_class_size(stats.max_size), "{stats:?}");
    for (class, row) in stats.classes.iter().enumerate() {
        assert_eq!(row.size, MIN_CLASS_SIZE << class);
    }
}

/// The least of which no allocator has so much. Where pointers have 32 bits, `isize::MAX` bytes can be had.
const TOO_MUCH: usize = isize::MAX as usize + (usize::BITS == 32) as usize;

/// A configuration, buildable for both sides.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub threshold: u64,
    pub max_percentile: f64,
    pub policy: DefaultSize,
    pub growth: Growth,
    pub calibrate_early: bool,
    pub default_size: usize,
    pub max_size: usize,
    pub default_size_limit: usize,
    pub max_size_limit: usize,
    pub retained_bytes_max: usize,
    pub thread_cache_bytes_max: usize,
}

/// No interval ends by itself in a test.
pub(super) const NEVER: Duration = Duration::from_secs(1 << 30);

impl Setup {
    pub(super) fn pool(&self) -> Pool {
        Pool::builder()
            .calibrate_calls_threshold(self.threshold)
            .max_percentile(self.max_percentile)
            .default_policy(self.policy)
            .growth(self.growth)
            .calibrate_early(self.calibrate_early)
            .default_size(self.default_size)
            .max_size(self.max_size)
            .default_size_limit(self.default_size_limit)
            .max_size_limit(self.max_size_limit)
            .retained_bytes_max(self.retained_bytes_max)
            .thread_cache_bytes_max(self.thread_cache_bytes_max)
            .trim_interval(NEVER)
            .build()
    }

    fn locked(&self) -> Reference {
        Reference::new(Config {
            calibrate_calls_threshold: self.threshold,
            limits: Limits {
                max_percentile: self.max_percentile,
                default_policy: self.policy,
                default_class_limit: class_by_search(self.default_size_limit),
                max_class_limit: class_by_search(self.max_size_limit),
            },
            growth: self.growth,
            calibrate_early: self.calibrate_early,
            initial: Sizes {
                default_class: class_by_search(self.default_size),
                max_class: class_by_search(self.max_size),
            },
            retained_bytes_max: self.retained_bytes_max,
            thread_cache_bytes_max: self.thread_cache_bytes_max,
            trim_interval: NEVER,
            on_calibration: crate::builder::Hook::NONE,
            leak_sample_every: 1,
        })
    }
}

/// Configurations where thresholds are crossed, budgets fill and limits bind within a few dozen operations.
pub(super) fn setups() -> impl Strategy<Value = Setup> {
    let class_size = |classes: std::ops::Range<usize>| classes.prop_map(|class| MIN_CLASS_SIZE << class);
    let policy = prop_oneof![
        3 => Just(DefaultSize::Mode),
        1 => Just(DefaultSize::Percentile(0.5)),
        1 => Just(DefaultSize::Percentile(0.75)),
        1 => Just(DefaultSize::Percentile(0.95)),
        1 => Just(DefaultSize::Percentile(1.0)),
    ];
    let retained = prop_oneof![
        1 => Just(0),
        4 => (1..40_usize).prop_map(|buffers| buffers * 64),
        3 => 64..100_000_usize,
        4 => Just(64 << 20),
        1 => Just(usize::MAX),
    ];
    let cache = prop_oneof![
        2 => Just(0),
        2 => Just(64),
        2 => 65..5000_usize,
        3 => Just(128 << 10),
        1 => Just(usize::MAX),
    ];
    let learning = (
        prop_oneof![3 => 1..12_u64, 1 => Just(42_000)],
        prop_oneof![Just(0.95), Just(0.5), Just(1.0), Just(0.05)],
        policy,
        prop_oneof![Just(Growth::NextClass), Just(Growth::MaxSize)],
        any::<bool>(),
    );
    let initial = prop_oneof![
        4 => Just((64, 32 << 20)),
        2 => (class_size(0..6), class_size(5..20)),
        1 => (class_size(0..3), class_size(2..6)),
    ];
    let limits = prop_oneof![
        3 => Just((1 << 20, 32 << 20)),
        1 => (class_size(0..6), class_size(5..20)),
    ];
    (learning, initial, limits, retained, cache).prop_map(|(learning, initial, limits, retained, cache)| Setup {
        threshold: learning.0,
        max_percentile: learning.1,
        policy: learning.2,
        growth: learning.3,
        calibrate_early: learning.4,
        default_size: initial.0.min(limits.0),
        max_size: initial.1.max(initial.0).min(limits.1.max(limits.0)),
        default_size_limit: limits.0,
        max_size_limit: limits.1.max(limits.0),
        retained_bytes_max: retained,
        thread_cache_bytes_max: cache,
    })
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Get { owned: bool },
    GetWithCapacity { capacity: usize, owned: bool, fallible: bool },
    GetTooMuch { owned: bool },
    Write { slot: u8, write: Write },
    Put { slot: u8 },
    Donate { capacity: usize, len: usize },
    IntoVec { slot: u8, donate: bool },
    Discard { slot: u8 },
    Freeze { slot: u8 },
    FrozenClone { slot: u8, holder: u8 },
    FrozenSlice { slot: u8, holder: u8, from: u16, len: u16 },
    FrozenDrop { slot: u8, holder: u8 },
    Purge,
    Calibrate,
    Prefill { capacity: usize, count: usize },
    FlushThread,
    Trim { twice: bool },
}

impl Op {
    /// A use of `len` bytes, ended in the `end`-th way.
    pub(super) fn use_once(len: usize, end: u8) -> Vec<Op> {
        let write = |how| Op::Write { slot: 0, write: Write { how, len, by: 0, salt: 1 } };
        match end {
            0 => vec![Op::Get { owned: false }, write(How::ExtendFromSlice), Op::Put { slot: 0 }],
            1 => vec![Op::GetWithCapacity { capacity: len, owned: false, fallible: false }, Op::Put { slot: 0 }],
            2 => vec![Op::Get { owned: false }, write(How::VecExtend), Op::IntoVec { slot: 0, donate: true }],
            3 => vec![Op::Get { owned: true }, write(How::PutSlice), Op::Discard { slot: 0 }],
            _ => vec![Op::Get { owned: false }, write(How::Reserve), Op::Put { slot: 0 }],
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Write {
    how: How,
    /// A length or a capacity.
    len: usize,
    /// A second, smaller number: a chunk, a start, a split.
    by: usize,
    salt: u8,
}

macro_rules! enum_with_all {
    ($all:ident: enum $name:ident { $($variant:ident,)+ }) => {
        #[derive(Clone, Copy, Debug)]
        enum $name {
            $($variant,)+
        }

        const $all: &[$name] = &[$($name::$variant),+];
    };
}

enum_with_all! {
    EVERY_HOW: enum How {
        ExtendFromSlice,
        ExtendFromWithin,
        Push,
        PushStr,
        IoWrite,
        IoWriteAll,
        IoWriteVectored,
        IoWriteFmt,
        FmtWriteStr,
        FmtWriteChar,
        FmtWriteFmt,
        Extend,
        ExtendWithoutHint,
        ExtendRefs,
        Reserve,
        TryReserve,
        TryReserveTooMuch,
        Resize,
        Truncate,
        Clear,
        Append,
        Set,
        ReadFrom,
        ReadFromInterrupted,
        ReadFromFailing,
        PutSlice,
        PutBytes,
        PutU64,
        PutBuf,
        ChunkAndAdvance,
        Overwrite,
        VecPush,
        VecExtend,
        VecReserveExact,
        VecShrinkToFit,
        VecTruncate,
        VecTake,
        VecReplace,
    }
}

/// One byte around the size of a class.
fn edges(classes: std::ops::Range<usize>) -> impl Strategy<Value = usize> {
    (classes, 0..3_usize).prop_map(|(class, side)| (MIN_CLASS_SIZE << class) + side - 1)
}

fn capacities() -> impl Strategy<Value = usize> {
    prop_oneof![
        60 => 0..=200_usize,
        30 => edges(0..9),
        8 => 0..=100_000_usize,
        4 => edges(9..20),
        1 => Just(MAX_CLASS_SIZE + 1),
        1 => Just(40 << 20),
    ]
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![60 => 0..=200_usize, 20 => edges(0..7), 2 => edges(7..11), 2 => 0..=70_000_usize]
}

fn writes() -> impl Strategy<Value = Write> {
    (prop::sample::select(EVERY_HOW), lengths(), 0..=200_usize, any::<u8>()).prop_map(|(how, len, by, salt)| Write {
        how,
        len,
        by,
        salt,
    })
}

pub(super) fn operations(with_trim: bool) -> impl Strategy<Value = Op> {
    let slot = any::<u8>;
    prop_oneof![
        16 => any::<bool>().prop_map(|owned| Op::Get { owned }),
        14 => (capacities(), any::<bool>(), any::<bool>())
            .prop_map(|(capacity, owned, fallible)| Op::GetWithCapacity { capacity, owned, fallible }),
        1 => any::<bool>().prop_map(|owned| Op::GetTooMuch { owned }),
        60 => (slot(), writes()).prop_map(|(slot, write)| Op::Write { slot, write }),
        24 => slot().prop_map(|slot| Op::Put { slot }),
        6 => (capacities(), lengths()).prop_map(|(capacity, len)| Op::Donate { capacity, len }),
        5 => (slot(), any::<bool>()).prop_map(|(slot, donate)| Op::IntoVec { slot, donate }),
        3 => slot().prop_map(|slot| Op::Discard { slot }),
        5 => slot().prop_map(|slot| Op::Freeze { slot }),
        4 => (slot(), slot()).prop_map(|(slot, holder)| Op::FrozenClone { slot, holder }),
        4 => (slot(), slot(), any::<u16>(), any::<u16>())
            .prop_map(|(slot, holder, from, len)| Op::FrozenSlice { slot, holder, from, len }),
        8 => (slot(), slot()).prop_map(|(slot, holder)| Op::FrozenDrop { slot, holder }),
        2 => Just(Op::Purge),
        2 => Just(Op::Calibrate),
        2 => (capacities(), 0..4_usize).prop_map(|(capacity, count)| Op::Prefill { capacity, count }),
        2 => Just(Op::FlushThread),
        6 => any::<bool>().prop_map(move |twice| if with_trim { Op::Trim { twice } } else { Op::FlushThread }),
    ]
}

pub(super) struct Driver<'a> {
    pool: &'a Arc<Pool>,
    locked: Reference,
    setup: &'a Setup,
    /// Counters and capacities are compared with the model. Not once something was trimmed: the real pool may free less.
    exact: bool,
    live: Vec<(Guard<'a>, Mirror)>,
    frozen: Vec<Frozen>,
    tally: Tally,
    /// The fewest idle buffers per class at the end of any operation since the last trim.
    low_water: [u64; CLASSES],
}

#[derive(Debug, Default)]
struct Tally {
    gets: u64,
    puts: u64,
    detached: u64,
    donated: u64,
    discarded: u64,
}

enum Guard<'a> {
    Borrowed(PooledBuf<&'a Pool>),
    Owned(PooledBuf<Arc<Pool>>),
}

macro_rules! with {
    ($guard:expr, $buf:ident => $body:expr) => {
        match $guard {
            Guard::Borrowed($buf) => $body,
            Guard::Owned($buf) => $body,
        }
    };
}

/// A frozen buffer: whatever still holds it, with the range of the contents that each shows.
struct Frozen {
    holders: Vec<(Bytes, std::ops::Range<usize>)>,
    mirror: Mirror,
}

const LIVE_MAX: usize = 24;

impl<'a> Driver<'a> {
    pub(super) fn new(setup: &'a Setup, pool: &'a Arc<Pool>, exact: bool) -> Driver<'a> {
        Driver {
            pool,
            locked: setup.locked(),
            setup,
            exact,
            live: Vec::new(),
            frozen: Vec::new(),
            tally: Tally::default(),
            low_water: [0; CLASSES],
        }
    }

    pub(super) fn run(mut self, operations: &[Op]) {
        for (step, op) in operations.iter().enumerate() {
            self.apply(op);
            self.compare_books();
            if step % 16 == 0 {
                self.compare_contents();
            }
        }
        self.compare_contents();
        while let Some((guard, mirror)) = self.live.pop() {
            drop(guard);
            self.locked.finish_mirror(mirror);
            self.tally.puts += 1;
            self.compare_books();
        }
        while let Some(frozen) = self.frozen.pop() {
            drop(frozen.holders);
            self.locked.finish_mirror(frozen.mirror);
            self.tally.puts += 1;
            self.compare_books();
        }
        assert_eq!(self.pool.stats().outstanding, 0);
    }

    fn apply(&mut self, op: &Op) {
        if self.live.len() >= LIVE_MAX {
            self.put(0);
        }
        match *op {
            Op::Get { owned } => self.get(None, owned, false),
            Op::GetWithCapacity { capacity, owned, fallible } => self.get(Some(capacity), owned, fallible),
            Op::GetTooMuch { owned } => {
                for capacity in [usize::MAX, TOO_MUCH, isize::MAX as usize + 1] {
                    let refused = match owned {
                        true => self.pool.try_get_owned_with_capacity(capacity).err(),
                        false => self.pool.try_get_with_capacity(capacity).err(),
                    };
                    assert!(refused.is_some());
                }
            }
            Op::Prefill { capacity, count } => {
                let took = self.pool.prefill(capacity, count);
                let expected = self.locked.prefill(capacity, count);
                assert!(took <= count);
                assert!(!self.exact || took == expected, "prefill took {took}, not {expected}");
            }
            Op::Donate { capacity, len } => {
                let mut vec = Vec::with_capacity(capacity);
                vec.extend_from_slice(&content(len.min(capacity), 7));
                let mut same = Vec::with_capacity(capacity);
                same.extend_from_slice(&vec);
                self.pool.put(vec);
                self.locked.put(same);
                self.tally.donated += 1;
            }
            Op::Purge => {
                let before = self.pool.stats().retained_bytes;
                let freed = self.pool.purge();
                let expected = self.locked.purge();
                assert_eq!(freed, before, "one thread reaches everything");
                assert_eq!(self.pool.stats().retained_bytes, 0);
                assert!(!self.exact || freed == expected);
            }
            Op::Calibrate => {
                self.pool.calibrate();
                self.locked.calibrate();
            }
            Op::FlushThread => self.pool.flush_thread(),
            Op::Trim { twice } => self.trim(twice),
            Op::FrozenClone { .. } | Op::FrozenSlice { .. } | Op::FrozenDrop { .. } => self.apply_to_frozen(op),
            Op::Write { slot, .. }
            | Op::Put { slot }
            | Op::IntoVec { slot, .. }
            | Op::Discard { slot }
            | Op::Freeze { slot } => {
                if !self.live.is_empty() {
                    self.apply_to_live(op, slot as usize % self.live.len());
                }
            }
        }
    }

    fn get(&mut self, capacity: Option<usize>, owned: bool, fallible: bool) {
        let pool = self.pool;
        let default_size = pool.default_size();
        let guard = match (capacity, owned, fallible) {
            (None, false, _) => Guard::Borrowed(pool.get()),
            (None, true, _) => Guard::Owned(pool.get_owned()),
            (Some(n), false, false) => Guard::Borrowed(pool.get_with_capacity(n)),
            (Some(n), false, true) => Guard::Borrowed(pool.try_get_with_capacity(n).expect("memory")),
            (Some(n), true, false) => Guard::Owned(pool.get_owned_with_capacity(n)),
            (Some(n), true, true) => Guard::Owned(pool.try_get_owned_with_capacity(n).expect("memory")),
        };
        self.tally.gets += 1;
        let wanted = capacity.unwrap_or(default_size);
        let (len, room) = with!(&guard, buf => (buf.len(), buf.capacity()));
        assert_eq!(len, 0, "a buffer comes empty");
        assert!(room >= wanted, "room for {room} where {wanted} were asked for");
        if wanted <= MAX_CLASS_SIZE {
            assert!(is_class_size(room), "{room} is no class size");
            let steps = class_by_search(room) - class_by_search(wanted);
            assert!(steps <= LOOK_UP_CLASSES, "{steps} classes above the wanted one");
        }
        let vec = match capacity {
            Some(capacity) => self.locked.get_with_capacity(capacity),
            None => self.locked.get(),
        };
        self.live.push((guard, Mirror { vec: vec.expect("memory"), peak: 0, asked: capacity }));
    }

    fn put(&mut self, slot: usize) {
        let (guard, mirror) = self.live.swap_remove(slot);
        drop(guard);
        self.locked.finish_mirror(mirror);
        self.tally.puts += 1;
    }

    fn apply_to_live(&mut self, op: &Op, slot: usize) {
        match op {
            Op::Write { write, .. } => {
                let (guard, mirror) = &mut self.live[slot];
                with!(guard, buf => write_to_guard(buf, write));
                mirror.write(&mut self.locked, write);
                compare_one(guard, mirror, self.exact);
            }
            Op::Put { .. } => self.put(slot),
            Op::IntoVec { donate, .. } => {
                let (guard, mirror) = self.live.swap_remove(slot);
                let vec = with!(guard, buf => buf.into_vec());
                assert_eq!(vec, mirror.vec);
                self.locked.detach(mirror.finished());
                self.tally.detached += 1;
                if *donate {
                    self.pool.put(vec);
                    self.locked.put(mirror.vec);
                    self.tally.donated += 1;
                }
            }
            Op::Discard { .. } => {
                let (guard, mirror) = self.live.swap_remove(slot);
                with!(guard, buf => buf.discard());
                self.locked.discard(mirror.finished());
                self.tally.puts += 1;
                self.tally.discarded += 1;
            }
            Op::Freeze { .. } => {
                // Only what owns its pool may be frozen; a borrowed guard stays.
                if matches!(self.live[slot].0, Guard::Owned(_)) {
                    let (guard, mirror) = self.live.swap_remove(slot);
                    let Guard::Owned(buf) = guard else { unreachable!("just seen") };
                    let bytes = if mirror.vec.len() % 2 == 0 { buf.freeze() } else { Bytes::from(buf) };
                    let all = 0..mirror.vec.len();
                    self.frozen.push(Frozen { holders: vec![(bytes, all)], mirror });
                }
            }
            _ => unreachable!("no operation on a live guard"),
        }
    }

    fn apply_to_frozen(&mut self, op: &Op) {
        let (Op::FrozenClone { slot, holder } | Op::FrozenSlice { slot, holder, .. } | Op::FrozenDrop { slot, holder }) =
            *op
        else {
            unreachable!("no operation on a frozen buffer")
        };
        if self.frozen.is_empty() {
            return;
        }
        let slot = slot as usize % self.frozen.len();
        let frozen = &mut self.frozen[slot];
        let holder = holder as usize % frozen.holders.len();
        let (bytes, range) = &frozen.holders[holder];
        assert_eq!(*bytes, frozen.mirror.vec[range.clone()]);
        match *op {
            Op::FrozenClone { .. } => {
                let clone = (bytes.clone(), range.clone());
                frozen.holders.push(clone);
            }
            Op::FrozenSlice { from, len, .. } => {
                let start = from as usize % (range.len() + 1);
                let end = start + len as usize % (range.len() - start + 1);
                let slice = (bytes.slice(start..end), range.start + start..range.start + end);
                assert_eq!(slice.0, frozen.mirror.vec[slice.1.clone()]);
                // An empty slice of `Bytes` holds on to nothing.
                if start < end {
                    frozen.holders.push(slice);
                }
            }
            _ => {
                frozen.holders.swap_remove(holder);
                if frozen.holders.is_empty() {
                    let frozen = self.frozen.swap_remove(slot);
                    self.locked.finish_mirror(frozen.mirror);
                    self.tally.puts += 1;
                }
            }
        }
    }

    fn trim(&mut self, twice: bool) {
        self.exact = false;
        self.locked.trim();
        self.trim_once();
        if twice {
            self.locked.trim();
            self.trim_once();
            assert_eq!(self.pool.stats().retained_bytes, 0, "idle for two intervals, with no operation between them");
        }
    }

    fn trim_once(&mut self) {
        let before = self.pool.stats();
        let freed = self.pool.trim();
        let after = self.pool.stats();
        assert_eq!(before.retained_bytes - after.retained_bytes, freed);
        assert_eq!(before.retained_buffers - after.retained_buffers, after.trimmed - before.trimmed);
        for class in 0..CLASSES {
            let gone = before.classes[class].retained - after.classes[class].retained;
            let unused = self.low_water[class];
            assert!(gone <= unused, "class {class}: {gone} freed where {unused} lay unused");
            self.low_water[class] = after.classes[class].retained;
        }
    }

    #[track_caller]
    fn compare_books(&mut self) {
        let stats = self.pool.stats();
        assert_identities(&stats, self.setup.retained_bytes_max);
        let charged = self.pool.charged_bytes();
        assert!(stats.retained_bytes <= charged && charged <= self.setup.retained_bytes_max, "{charged} bytes charged");
        for leased in self.pool.leased_bytes() {
            assert!(leased <= charged.min(self.setup.thread_cache_bytes_max), "{leased} of {charged} bytes leased");
        }
        assert_eq!(stats.outstanding, (self.live.len() + self.frozen.len()) as u64);
        let Tally { gets, puts, detached, donated, discarded } = self.tally;
        assert_eq!(
            [stats.gets, stats.puts, stats.detached, stats.donated, stats.dropped.discarded],
            [gets, puts, detached, donated, discarded],
        );
        assert_eq!((stats.default_size, stats.max_size), (self.pool.default_size(), self.pool.max_size()));
        if self.exact {
            assert_eq!(stats, self.locked.stats(), "left: the pool; right: the model");
        } else {
            // Which buffers idle does not move what is learned.
            let model = self.locked.stats();
            assert_eq!((stats.default_size, stats.max_size), (model.default_size, model.max_size));
            assert_eq!(stats.calibrations, model.calibrations);
            for class in 0..CLASSES {
                assert_eq!(stats.classes[class].calls, model.classes[class].calls, "class {class}");
            }
        }
        for class in 0..CLASSES {
            self.low_water[class] = self.low_water[class].min(stats.classes[class].retained);
        }
    }

    fn compare_contents(&self) {
        for (guard, mirror) in &self.live {
            compare_one(guard, mirror, self.exact);
        }
        for frozen in &self.frozen {
            for (bytes, range) in &frozen.holders {
                assert_eq!(*bytes, frozen.mirror.vec[range.clone()]);
            }
        }
    }
}

#[track_caller]
fn compare_one(guard: &Guard<'_>, mirror: &Mirror, exact: bool) {
    with!(guard, buf => {
        assert!(buf.as_slice() == mirror.vec, "contents differ: {} and {} bytes", buf.len(), mirror.vec.len());
        assert!(!exact || buf.capacity() == mirror.vec.capacity(), "{} {}", buf.capacity(), mirror.vec.capacity());
    });
}

impl Reference {
    fn finish_mirror(&mut self, mirror: Mirror) {
        let usage = mirror.finished();
        self.finish(mirror.vec, usage);
    }
}

/// What a guard is, written the slow way.
struct Mirror {
    vec: Vec<u8>,
    peak: usize,
    asked: Option<usize>,
}

impl Mirror {
    fn finished(&self) -> Use {
        let held = self.peak.max(self.vec.len());
        Use::of(held.max(self.asked.unwrap_or(0)), self.asked.is_some())
    }

    fn look(&mut self) {
        self.peak = self.peak.max(self.vec.len());
    }

    fn try_reserve(&mut self, locked: &mut Reference, additional: usize) -> Result<(), TryReserveError> {
        if self.vec.capacity() - self.vec.len() < additional {
            locked.grow(&mut self.vec, additional)?;
        }
        Ok(())
    }

    fn extend(&mut self, locked: &mut Reference, bytes: &[u8]) {
        self.try_reserve(locked, bytes.len()).expect("memory");
        self.vec.extend_from_slice(bytes);
    }

    fn extend_bytewise(&mut self, locked: &mut Reference, bytes: &[u8], hint: usize) {
        self.try_reserve(locked, hint).expect("memory");
        for &byte in bytes {
            self.extend(locked, &[byte]);
        }
    }

    fn read(&mut self, locked: &mut Reference, mut bytes: &[u8], chunk: usize) {
        loop {
            let room = self.vec.capacity() - self.vec.len();
            let read = if room == 0 { bytes.len().min(chunk).min(32) } else { bytes.len().min(room) };
            self.extend(locked, &bytes[..read]);
            bytes = &bytes[read..];
            if bytes.is_empty() {
                return;
            }
        }
    }

    /// By way of the spare capacity.
    fn fill(&mut self, locked: &mut Reference, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.vec.len() == self.vec.capacity() {
                self.try_reserve(locked, 1).expect("memory");
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.vec.capacity() - self.vec.len()));
            self.vec.extend_from_slice(now);
            bytes = later;
        }
    }

    fn write(&mut self, locked: &mut Reference, write: &Write) {
        let &Write { how, len, by, salt } = write;
        let bytes = content(len, salt);
        match how {
            How::ExtendFromSlice
            | How::PushStr
            | How::IoWrite
            | How::IoWriteAll
            | How::IoWriteVectored
            | How::FmtWriteStr
            | How::Append
            | How::PutSlice => self.extend(locked, &bytes),
            How::PutBytes => self.extend(locked, &vec![salt; len]),
            How::ExtendFromWithin => {
                let again = self.vec[within(self.vec.len(), by, len)].to_vec();
                self.extend(locked, &again);
            }
            How::Push => self.extend(locked, &[salt]),
            How::IoWriteFmt | How::FmtWriteFmt => {
                fmt::write(&mut Formatted(self, locked), format_args!("{}{by:>9}{}", salt as char, text(&bytes)))
                    .expect("never fails");
            }
            How::FmtWriteChar => self.extend(locked, (salt as char).encode_utf8(&mut [0; 4]).as_bytes()),
            How::Extend | How::ExtendRefs => self.extend_bytewise(locked, &bytes, len),
            How::ExtendWithoutHint => self.extend_bytewise(locked, &bytes, 0),
            How::Reserve | How::TryReserve => {
                self.try_reserve(locked, len).expect("memory");
                self.peak = self.peak.max(self.vec.len() + len);
            }
            How::TryReserveTooMuch => {}
            How::Resize => {
                self.look();
                self.try_reserve(locked, len.saturating_sub(self.vec.len())).expect("memory");
                self.vec.resize(len, salt);
            }
            How::Truncate => {
                self.look();
                self.vec.truncate(by);
            }
            How::Clear => {
                self.look();
                self.vec.clear();
            }
            How::Set => {
                self.look();
                self.vec.clear();
                self.extend(locked, &bytes);
            }
            How::ReadFrom | How::ReadFromInterrupted | How::ReadFromFailing => self.read(locked, &bytes, by + 1),
            How::PutU64 => self.extend(locked, &(len as u64).to_be_bytes()),
            How::PutBuf => {
                let (first, second) = bytes.split_at(by.min(len));
                self.extend(locked, first);
                self.extend(locked, second);
            }
            How::ChunkAndAdvance => self.fill(locked, &bytes),
            How::Overwrite => self.vec.iter_mut().for_each(|byte| *byte ^= salt),
            How::VecPush
            | How::VecExtend
            | How::VecReserveExact
            | How::VecShrinkToFit
            | How::VecTruncate
            | How::VecTake
            | How::VecReplace => {
                self.look();
                write_to_vec(&mut self.vec, write);
            }
        }
    }
}

/// The formatting machinery hands over pieces; both sides must see the same ones.
struct Formatted<'a>(&'a mut Mirror, &'a mut Reference);

impl fmt::Write for Formatted<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend(self.1, text.as_bytes());
        Ok(())
    }
}

fn write_to_guard<P: AsRef<Pool>>(buf: &mut PooledBuf<P>, write: &Write) {
    let &Write { how, len, by, salt } = write;
    let bytes = content(len, salt);
    let before = buf.len();
    match how {
        How::ExtendFromSlice => buf.extend_from_slice(&bytes),
        How::ExtendFromWithin => buf.extend_from_within(within(before, by, len)),
        How::Push => buf.push(salt),
        How::PushStr => buf.push_str(text(&bytes)),
        How::IoWrite => assert_eq!(io::Write::write(buf, &bytes).expect("never fails"), len),
        How::IoWriteAll => {
            io::Write::write_all(buf, &bytes).expect("never fails");
            io::Write::flush(buf).expect("never fails");
        }
        How::IoWriteVectored => {
            let (first, second) = bytes.split_at(by.min(len));
            let slices = [IoSlice::new(first), IoSlice::new(&[]), IoSlice::new(second)];
            assert_eq!(io::Write::write_vectored(buf, &slices).expect("never fails"), len);
        }
        How::IoWriteFmt => {
            io::Write::write_fmt(buf, format_args!("{}{by:>9}{}", salt as char, text(&bytes))).expect("never fails");
        }
        How::FmtWriteStr => fmt::Write::write_str(buf, text(&bytes)).expect("never fails"),
        How::FmtWriteChar => fmt::Write::write_char(buf, salt as char).expect("never fails"),
        How::FmtWriteFmt => {
            fmt::Write::write_fmt(buf, format_args!("{}{by:>9}{}", salt as char, text(&bytes))).expect("never fails");
        }
        How::Extend => buf.extend(bytes.iter().copied()),
        // A filter cannot know how much it lets through.
        How::ExtendWithoutHint => buf.extend(bytes.iter().copied().filter(|_| true)),
        How::ExtendRefs => buf.extend(bytes.iter()),
        How::Reserve => buf.reserve(len),
        How::TryReserve => buf.try_reserve(len).expect("memory"),
        How::TryReserveTooMuch => {
            assert!(buf.try_reserve(usize::MAX).is_err());
            assert!(buf.try_reserve(TOO_MUCH).is_err());
        }
        How::Resize => buf.resize(len, salt),
        How::Truncate => buf.truncate(by),
        How::Clear => buf.clear(),
        How::Append => {
            let mut other = bytes.clone();
            let capacity = other.capacity();
            buf.append(&mut other);
            assert!(other.is_empty() && other.capacity() == capacity);
        }
        How::Set => buf.set(&bytes),
        How::ReadFrom | How::ReadFromInterrupted | How::ReadFromFailing => {
            let interrupting = matches!(how, How::ReadFromInterrupted);
            let failing = matches!(how, How::ReadFromFailing);
            let mut feed = Feed { left: &bytes, chunk: by + 1, interrupting, failing, interrupt_now: true };
            match buf.read_from(&mut feed) {
                Ok(read) => assert!(!failing && read == len),
                Err(error) => assert!(failing && error.to_string() == "worn out"),
            }
            assert_eq!(buf.len(), before + len, "what was read stays");
        }
        How::PutSlice => buf.put_slice(&bytes),
        How::PutBytes => buf.put_bytes(salt, len),
        How::PutU64 => buf.put_u64(len as u64),
        How::PutBuf => {
            let (first, second) = bytes.split_at(by.min(len));
            buf.put(Buf::chain(first, second));
        }
        How::ChunkAndAdvance => {
            let mut left = &bytes[..];
            while !left.is_empty() {
                let chunk = buf.chunk_mut();
                let (now, later) = left.split_at(left.len().min(chunk.len()));
                chunk[..now.len()].copy_from_slice(now);
                // SAFETY: the first `now.len()` bytes of the chunk were written just now.
                unsafe { buf.advance_mut(now.len()) };
                left = later;
            }
        }
        How::Overwrite => buf.iter_mut().for_each(|byte| *byte ^= salt),
        How::VecPush
        | How::VecExtend
        | How::VecReserveExact
        | How::VecShrinkToFit
        | How::VecTruncate
        | How::VecTake
        | How::VecReplace => write_to_vec(buf.as_vec_mut(), write),
    }
}

/// What users do to a `Vec` that they were lent.
fn write_to_vec(vec: &mut Vec<u8>, write: &Write) {
    let &Write { how, len, by, salt } = write;
    match how {
        How::VecPush => vec.push(salt),
        How::VecExtend => vec.extend_from_slice(&content(len, salt)),
        How::VecReserveExact => vec.reserve_exact(len),
        How::VecShrinkToFit => vec.shrink_to_fit(),
        How::VecTruncate => vec.truncate(by),
        How::VecTake => drop(std::mem::take(vec)),
        How::VecReplace => {
            let mut other = Vec::with_capacity(len + by);
            other.extend_from_slice(&content(len, salt));
            drop(std::mem::replace(vec, other));
        }
        _ => unreachable!("not through the Vec"),
    }
}

fn within(len: usize, start: usize, count: usize) -> std::ops::Range<usize> {
    let start = start.min(len);
    start..start + count.min(len - start)
}

/// Text, so that every way of writing can carry it.
fn content(len: usize, salt: u8) -> Vec<u8> {
    const PATTERN: [u8; 256] = {
        let mut pattern = [0; 256];
        let mut i = 0;
        while i < 256 {
            pattern[i] = b'!' + (i * 7 % 90) as u8;
            i += 1;
        }
        pattern
    };
    let mut bytes = Vec::with_capacity(len);
    let mut start = salt as usize;
    while bytes.len() < len {
        let piece = &PATTERN[start..];
        bytes.extend_from_slice(&piece[..piece.len().min(len - bytes.len())]);
        start = bytes.len() % 251;
    }
    bytes
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the content is ASCII")
}

struct Feed<'a> {
    left: &'a [u8],
    chunk: usize,
    interrupting: bool,
    failing: bool,
    interrupt_now: bool,
}

impl Read for Feed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.interrupt_now = !self.interrupt_now;
        if self.interrupting && !self.interrupt_now {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let read = into.len().min(self.chunk).min(self.left.len());
        if read == 0 && self.failing && !into.is_empty() {
            return Err(io::Error::other("worn out"));
        }
        into[..read].copy_from_slice(&self.left[..read]);
        self.left = &self.left[read..];
        Ok(read)
    }
}
