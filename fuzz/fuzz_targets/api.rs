//! Drives the whole API from bytes, on one thread, against a model that knows only the specification.
//!
//! The model holds every buffer's contents and every figure that is specified exactly (loans, donations, growths,
//! calls per class, calibrations and both sizes). Which gets are hits, and what is freed for which reason, is left to
//! the pool; for those the identities and the bounds must hold.
#![no_main]

use std::io::{IoSlice, Read, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytebufferpool::{CLASSES, DefaultSize, Growth, MAX_CLASS_SIZE, MIN_CLASS_SIZE, Pool, PooledBuf, Stats};
use bytes::{BufMut, Bytes};
use libfuzzer_sys::fuzz_target;

mod quiet;

#[derive(Debug, Arbitrary)]
struct Input {
    config: Config,
    steps: Vec<Step>,
}

#[derive(Debug, Arbitrary)]
struct Config {
    threshold: u8,
    percentile: u8,
    default_percentile: Option<u8>,
    jump: bool,
    default_class: u8,
    max_class: u8,
    default_limit_class: u8,
    max_limit_class: u8,
    budget: u8,
    thread_cache: u8,
    interval_is_zero: bool,
}

/// `u8` fields choose one of the live guards, by remainder.
#[derive(Debug, Arbitrary)]
enum Step {
    Get { owned: bool },
    GetWithCapacity { owned: bool, capacity: Size },
    TryGet { owned: bool, capacity: Size },
    TryGetAbsurd { owned: bool, below: u8 },
    Write { guard: u8, how: Way, len: Len, byte: u8 },
    Reserve { guard: u8, additional: Size, try_it: bool },
    ReserveAbsurd { guard: u8, below: u8 },
    Resize { guard: u8, len: Len, byte: u8 },
    Clear { guard: u8 },
    Truncate { guard: u8, len: Len },
    Within { guard: u8, start: u16, end: u16 },
    Overwrite { guard: u8, at: u16, byte: u8 },
    Vec { guard: u8, what: OnVec, len: Len },
    Compare { guard: u8, other: u8 },
    WriteTo { guard: u8 },
    Drop { guard: u8 },
    Discard { guard: u8 },
    IntoVec { guard: u8 },
    Freeze { guard: u8 },
    Slice { frozen: u8, start: u16, end: u16 },
    DropFrozen { frozen: u8 },
    PutDetached { vec: u8 },
    Put { capacity: Size, len: Len },
    Prefill { capacity: Size, count: u8 },
    Calibrate,
    Trim,
    Purge,
    FlushThread,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Way {
    Slice,
    Write,
    WriteAll,
    Vectored,
    Format,
    FormatChar,
    Push,
    PushStr,
    Extend,
    ExtendUnhinted,
    Append,
    Set,
    PutSlice,
    PutBytes,
    PutBuf,
    ReadFrom { piece: u8 },
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum OnVec {
    Look,
    Take,
    Shrink,
    ReserveExact,
    Push,
    Replace,
    ShortenAfterwards,
}

/// Any capacity up to a little over the largest class, mostly at the edges of classes.
#[derive(Debug, Clone, Copy)]
struct Size(usize);

impl<'a> Arbitrary<'a> for Size {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Size> {
        let kind: u8 = u.arbitrary()?;
        Ok(Size(match kind {
            // Seldom, as these are slow under a sanitizer: 256 KiB to 64 MiB. A byte that libFuzzer does not favour.
            171 => (MIN_CLASS_SIZE << (12 + u.arbitrary::<u8>()? % 9)) + 1 - usize::from(u.arbitrary::<bool>()?),
            0..=99 => kind as usize * 3,
            100..=219 => (MIN_CLASS_SIZE << (kind as usize % 12)) + kind as usize % 3 - 1,
            220.. => usize::from(u.arbitrary::<u16>()?),
        }))
    }
}

/// A length that is really written.
#[derive(Debug, Clone, Copy)]
struct Len(usize);

impl<'a> Arbitrary<'a> for Len {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Len> {
        let kind: u8 = u.arbitrary()?;
        Ok(Len(match kind {
            0..=149 => kind as usize,
            171 => usize::from(u.arbitrary::<u16>()?),
            _ => (MIN_CLASS_SIZE << (kind as usize % 7)) + kind as usize % 3 - 1,
        }))
    }
}

impl Config {
    fn rules(&self) -> Rules {
        let class = |byte: u8| byte as usize % CLASSES;
        // No class is above its limit, and no default above a max: such a configuration is refused.
        let max_limit = class(self.max_limit_class);
        let default_limit = class(self.default_limit_class).min(max_limit);
        let max_class = class(self.max_class).min(max_limit);
        Rules {
            threshold: u64::from(self.threshold) + 1,
            percentile: f64::from(self.percentile % 100 + 1) / 100.0,
            default_percentile: self.default_percentile.map(|percent| f64::from(percent % 100 + 1) / 100.0),
            default_class: class(self.default_class).min(max_class).min(default_limit),
            max_class,
            default_limit,
            max_limit,
            budget: match self.budget % 6 {
                0 => 0,
                1 => 1000,
                2 => 64 << 10,
                3 => 1 << 20,
                4 => 33 << 20,
                _ => 64 << 20,
            },
        }
    }

    fn pool(&self, rules: &Rules) -> Pool {
        Pool::builder()
            .calibrate_calls_threshold(rules.threshold)
            .max_percentile(rules.percentile)
            .default_policy(rules.default_percentile.map_or(DefaultSize::Mode, DefaultSize::Percentile))
            .growth(if self.jump { Growth::MaxSize } else { Growth::NextClass })
            .calibrate_early(false)
            .default_size(size_of(rules.default_class))
            .max_size(size_of(rules.max_class))
            .default_size_limit(size_of(rules.default_limit))
            .max_size_limit(size_of(rules.max_limit))
            .retained_bytes_max(rules.budget)
            .thread_cache_bytes_max([0, 4096, 128 << 10][self.thread_cache as usize % 3])
            .trim_interval(if self.interval_is_zero { Duration::ZERO } else { Duration::from_secs(3600) })
            .try_build()
            .expect("a sound configuration")
    }
}

fn size_of(class: usize) -> usize {
    MIN_CLASS_SIZE << class
}

/// By the definition, not by arithmetic.
fn class_of(len: usize) -> usize {
    (0..CLASSES).find(|&class| size_of(class) >= len).unwrap_or(CLASSES - 1)
}

struct Rules {
    threshold: u64,
    percentile: f64,
    default_percentile: Option<f64>,
    default_class: usize,
    max_class: usize,
    default_limit: usize,
    max_limit: usize,
    budget: usize,
}

/// The figures that the specification fixes.
struct Model {
    rules: Rules,
    default_class: usize,
    max_class: usize,
    plain: [u64; CLASSES],
    asked: [u64; CLASSES],
    calibrations: u64,
    gets: u64,
    puts: u64,
    detached: u64,
    donated: u64,
    discarded: u64,
    growths: u64,
    /// The last step grew an unspecified number of times: taken over from the pool.
    growths_open: bool,
}

impl Model {
    fn new(rules: Rules) -> Model {
        Model {
            default_class: rules.default_class,
            max_class: rules.max_class,
            rules,
            plain: [0; CLASSES],
            asked: [0; CLASSES],
            calibrations: 0,
            gets: 0,
            puts: 0,
            detached: 0,
            donated: 0,
            discarded: 0,
            growths: 0,
            growths_open: false,
        }
    }

    fn calls(&self, class: usize) -> u64 {
        self.plain[class] + self.asked[class]
    }

    /// Growth to more than this is the allocator's, and not counted.
    fn growth_max(&self) -> usize {
        let max_size = size_of(self.max_class);
        if self.calibrations > 0 { max_size } else { max_size.min(1 << 20) }
    }

    fn end_use(&mut self, usage: Usage, len: usize) {
        let peak = usage.peak.max(len);
        if peak == 0 {
            return;
        }
        let class = class_of(peak);
        let row = if usage.asked { &mut self.asked } else { &mut self.plain };
        row[class] += 1;
        if self.calls(class) > self.rules.threshold {
            self.calibrate();
        }
    }

    fn calibrate(&mut self) {
        let total: u64 = (0..CLASSES).map(|class| self.calls(class)).sum();
        if total == 0 {
            return;
        }
        let mut order: Vec<usize> = (0..CLASSES).filter(|&class| self.calls(class) > 0).collect();
        order.sort_by_key(|&class| (u64::MAX - self.calls(class), class));
        let covered_max = (total as f64 * self.rules.percentile).trunc() as u64;
        let mut before = 0;
        let mut max_class = 0;
        for class in order {
            if before <= covered_max {
                max_class = max_class.max(class);
            }
            before += self.calls(class);
        }
        if let Some(learned) = self.learned_default() {
            self.default_class = learned;
        }
        self.default_class = self.default_class.min(self.rules.default_limit);
        self.max_class = max_class.min(self.rules.max_limit).max(self.default_class);
        (self.plain, self.asked) = ([0; CLASSES], [0; CLASSES]);
        self.calibrations += 1;
    }

    fn learned_default(&self) -> Option<usize> {
        let total: u64 = self.plain.iter().sum();
        if total == 0 {
            return None;
        }
        match self.rules.default_percentile {
            None => (0..CLASSES).rev().max_by_key(|&class| self.plain[class]),
            Some(share) => (0..CLASSES).find(|&class| {
                let within: u64 = self.plain[..=class].iter().sum();
                within > 0 && within as f64 >= total as f64 * share
            }),
        }
    }

    fn check(&self, stats: &Stats) {
        assert_eq!(
            (stats.gets, stats.puts, stats.detached, stats.donated, stats.dropped.discarded, stats.growths),
            (self.gets, self.puts, self.detached, self.donated, self.discarded, self.growths),
            "gets, puts, detached, donated, discarded, growths"
        );
        assert_eq!(stats.outstanding, self.gets - self.puts - self.detached);
        assert_eq!(stats.gets, stats.hits + stats.misses);
        // `stats` leaves out what is above the budget, so that this fails if something is.
        assert_eq!(
            stats.allocated + stats.donated,
            stats.retained_buffers + stats.outstanding + stats.detached + stats.dropped.total() + stats.trimmed,
            "one fate each"
        );
        assert_eq!(stats.calibrations, self.calibrations, "calibrations");
        assert_eq!((stats.default_size, stats.max_size), (size_of(self.default_class), size_of(self.max_class)));
        let mut bytes = 0;
        for (class, row) in stats.classes.iter().enumerate() {
            assert_eq!((row.size, row.calls), (size_of(class), self.calls(class)), "class {class}");
            bytes += row.size * row.retained as usize;
        }
        assert_eq!(stats.retained_bytes, bytes);
        assert_eq!(stats.retained_buffers, stats.classes.iter().map(|row| row.retained).sum::<u64>());
    }
}

/// What a use has been so far.
#[derive(Clone, Copy)]
struct Usage {
    peak: usize,
    asked: bool,
}

impl Usage {
    fn raise(&mut self, len: usize) {
        self.peak = self.peak.max(len);
    }
}

enum Guard<'a> {
    Borrowed(PooledBuf<&'a Pool>),
    Owned(PooledBuf<Arc<Pool>>),
}

/// Runs the same code on either kind of guard.
macro_rules! each {
    ($guard:expr, $buf:ident => $code:expr) => {
        match $guard {
            Guard::Borrowed($buf) => $code,
            Guard::Owned($buf) => $code,
        }
    };
}

struct Live<'a> {
    guard: Guard<'a>,
    content: Vec<u8>,
    usage: Usage,
}

/// The slices of one frozen buffer.
struct Frozen {
    slices: Vec<(Bytes, std::ops::Range<usize>)>,
    content: Vec<u8>,
    usage: Usage,
}

struct World<'a> {
    pool: &'a Arc<Pool>,
    model: Model,
    live: Vec<Live<'a>>,
    frozen: Vec<Frozen>,
    detached: Vec<Vec<u8>>,
}

const LIVE_MAX: usize = 8;
const STEPS_MAX: usize = 200;
const CONTENT_BYTES_MAX: usize = 1 << 16;
const BYTE_BY_BYTE_MAX: usize = 1500;

impl<'a> World<'a> {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Get { owned } => self.get(owned, None, false),
            Step::GetWithCapacity { owned, capacity } => self.get(owned, Some(capacity.0), false),
            Step::TryGet { owned, capacity } => self.get(owned, Some(capacity.0), true),
            Step::TryGetAbsurd { owned, below } => self.try_get_absurd(owned, below),
            Step::Put { capacity, len } => self.put_new(capacity.0, len.0),
            Step::PutDetached { vec } => {
                if let Some(vec) = take(&mut self.detached, vec) {
                    self.put(vec);
                }
            }
            Step::Prefill { capacity, count } => self.prefill(capacity.0, count as usize % 5),
            Step::Calibrate => {
                self.pool.calibrate();
                self.model.calibrate();
            }
            Step::Trim => self.free(Pool::trim),
            Step::Purge => {
                self.free(Pool::purge);
                assert_eq!(self.pool.stats().retained_bytes, 0, "nothing is out of this thread's reach");
            }
            Step::FlushThread => {
                let before = self.pool.stats().retained_bytes;
                self.pool.flush_thread();
                assert!(self.pool.stats().retained_bytes <= before);
            }
            Step::Drop { guard } => {
                if let Some(live) = take(&mut self.live, guard) {
                    self.end(live);
                }
            }
            Step::Discard { guard } => {
                if let Some(live) = take(&mut self.live, guard) {
                    self.model.puts += 1;
                    self.model.discarded += 1;
                    self.model.end_use(live.usage, live.content.len());
                    each!(live.guard, buf => buf.discard());
                }
            }
            Step::IntoVec { guard } => self.into_vec(guard),
            Step::Freeze { guard } => self.freeze(guard),
            Step::Slice { frozen, start, end } => self.slice(frozen, start, end),
            Step::DropFrozen { frozen } => self.drop_frozen(frozen),
            Step::Compare { guard, other } => self.compare(guard, other),
            Step::Write { guard, how, len, byte } => {
                self.with(guard, |live, model| live.write(model, how, len.0, byte))
            }
            Step::Reserve { guard, additional, try_it } => {
                self.with(guard, |live, model| live.reserve(model, additional.0, try_it));
            }
            Step::ReserveAbsurd { guard, below } => self.with(guard, |live, _| live.reserve_absurd(below)),
            Step::Resize { guard, len, byte } => self.with(guard, |live, model| live.resize(model, len.0, byte)),
            Step::Clear { guard } => self.with(guard, |live, _| {
                live.usage.raise(live.content.len());
                live.content.clear();
                each!(&mut live.guard, buf => buf.clear());
            }),
            Step::Truncate { guard, len } => self.with(guard, |live, _| {
                live.usage.raise(live.content.len());
                live.content.truncate(len.0);
                each!(&mut live.guard, buf => buf.truncate(len.0));
            }),
            Step::Within { guard, start, end } => self.with(guard, |live, model| live.within(model, start, end)),
            Step::Overwrite { guard, at, byte } => self.with(guard, |live, _| {
                if let Some(index) = usize::from(at).checked_rem(live.content.len()) {
                    live.content[index] = byte;
                    each!(&mut live.guard, buf => buf[index] = byte);
                }
            }),
            Step::Vec { guard, what, len } => self.with(guard, |live, _| live.on_vec(what, len.0)),
            Step::WriteTo { guard } => self.with(guard, |live, _| {
                let mut copy = Vec::new();
                each!(&live.guard, buf => buf.write_to(&mut copy)).expect("a Vec takes all");
                assert_eq!(copy, live.content);
            }),
        }
    }

    fn with(&mut self, guard: u8, f: impl FnOnce(&mut Live<'a>, &mut Model)) {
        let Some(index) = usize::from(guard).checked_rem(self.live.len()) else { return };
        let live = &mut self.live[index];
        f(live, &mut self.model);
        live.check();
    }

    fn get(&mut self, owned: bool, capacity: Option<usize>, try_it: bool) {
        if self.live.len() >= LIVE_MAX {
            return;
        }
        let pool = self.pool;
        let guard = match (owned, capacity, try_it) {
            (false, None, _) => Guard::Borrowed(pool.get()),
            (true, None, _) => Guard::Owned(pool.get_owned()),
            (false, Some(n), false) => Guard::Borrowed(pool.get_with_capacity(n)),
            (true, Some(n), false) => Guard::Owned(pool.get_owned_with_capacity(n)),
            (false, Some(n), true) => Guard::Borrowed(pool.try_get_with_capacity(n).expect("memory")),
            (true, Some(n), true) => Guard::Owned(pool.try_get_owned_with_capacity(n).expect("memory")),
        };
        self.model.gets += 1;
        let wanted = capacity.unwrap_or(size_of(self.model.default_class));
        let (len, room) = each!(&guard, buf => (buf.len(), buf.capacity()));
        assert_eq!(len, 0);
        assert!(room >= wanted, "room {room} for {wanted}");
        if wanted <= MAX_CLASS_SIZE {
            assert!(room.is_power_of_two() && room <= 4 * size_of(class_of(wanted)), "room {room} for {wanted}");
        }
        let usage = Usage { peak: capacity.unwrap_or(0), asked: capacity.is_some() };
        self.live.push(Live { guard, content: Vec::new(), usage });
    }

    fn try_get_absurd(&mut self, owned: bool, below: u8) {
        let before = self.pool.stats();
        for absurd in [usize::MAX - usize::from(below), isize::MAX as usize + 1 + usize::from(below)] {
            let refused = if owned {
                self.pool.try_get_owned_with_capacity(absurd).is_err()
            } else {
                self.pool.try_get_with_capacity(absurd).is_err()
            };
            assert!(refused);
        }
        // A trim that was due may have passed, and moves cached buffers to the trimmed ones; nothing else.
        let (mut after, before) = (self.pool.stats(), before);
        assert_eq!(after.retained_buffers + after.trimmed, before.retained_buffers + before.trimmed);
        (after.trimmed, after.retained_bytes) = (before.trimmed, before.retained_bytes);
        after.retained_buffers = before.retained_buffers;
        for (row, row_before) in after.classes.iter_mut().zip(&before.classes) {
            row.retained = row_before.retained;
        }
        assert_eq!(after, before);
    }

    fn put(&mut self, vec: Vec<u8>) {
        self.model.donated += 1;
        self.model.end_use(Usage { peak: 0, asked: false }, vec.len());
        self.pool.put(vec);
    }

    fn put_new(&mut self, capacity: usize, len: usize) {
        let mut vec = Vec::with_capacity(capacity);
        vec.resize(len.min(capacity), 0xee);
        self.put(vec);
    }

    fn prefill(&mut self, capacity: usize, count: usize) {
        let before = self.pool.stats();
        let filled = self.pool.prefill(capacity, count);
        let after = self.pool.stats();
        assert!(filled <= count);
        // An interval may have passed, which frees.
        assert!(after.retained_buffers + after.trimmed >= before.retained_buffers + before.trimmed);
        if filled > 0 {
            assert!(capacity <= after.max_size, "prefilled above the ceiling");
        }
    }

    fn free(&mut self, free: fn(&Pool) -> usize) {
        let before = self.pool.stats();
        let freed = free(self.pool);
        let after = self.pool.stats();
        assert_eq!(before.retained_bytes - after.retained_bytes, freed);
        assert_eq!(before.retained_buffers - after.retained_buffers, after.trimmed - before.trimmed);
    }

    fn end(&mut self, live: Live<'a>) {
        self.model.puts += 1;
        self.model.end_use(live.usage, live.content.len());
        drop(live.guard);
    }

    fn into_vec(&mut self, guard: u8) {
        let Some(live) = take(&mut self.live, guard) else { return };
        self.model.detached += 1;
        self.model.end_use(live.usage, live.content.len());
        let vec = each!(live.guard, buf => buf.into_vec());
        assert_eq!(vec, live.content);
        if self.detached.len() < LIVE_MAX {
            self.detached.push(vec);
        }
    }

    fn freeze(&mut self, guard: u8) {
        let Some(live) = take(&mut self.live, guard) else { return };
        match live.guard {
            Guard::Owned(buf) if self.frozen.len() < LIVE_MAX => {
                let frozen = buf.freeze();
                assert_eq!(frozen, live.content);
                let slices = vec![(frozen, 0..live.content.len())];
                self.frozen.push(Frozen { slices, content: live.content, usage: live.usage });
            }
            guard => self.end(Live { guard, ..live }),
        }
    }

    fn slice(&mut self, frozen: u8, start: u16, end: u16) {
        let Some(index) = usize::from(frozen).checked_rem(self.frozen.len()) else { return };
        let frozen = &mut self.frozen[index];
        let (whole, range) = &frozen.slices[0];
        let end = usize::from(end) % (whole.len() + 1);
        let start = usize::from(start) % (end + 1);
        let slice = (whole.slice(start..end), range.start + start..range.start + end);
        if frozen.slices.len() < LIVE_MAX {
            frozen.slices.push(slice);
        }
        for (slice, range) in &frozen.slices {
            assert_eq!(slice, &frozen.content[range.clone()]);
        }
    }

    /// One slice of it; the last one ends the use.
    fn drop_frozen(&mut self, frozen: u8) {
        let Some(index) = usize::from(frozen).checked_rem(self.frozen.len()) else { return };
        let outstanding = self.pool.stats().outstanding;
        let frozen = &mut self.frozen[index];
        // An empty slice may let go of its buffer early: `bytes` keeps no reference for one.
        let before = frozen.slices.len();
        frozen.slices.swap_remove(before - 1);
        if before == 1 {
            let frozen = self.frozen.swap_remove(index);
            self.model.puts += 1;
            self.model.end_use(frozen.usage, frozen.content.len());
            assert_eq!(self.pool.stats().outstanding, outstanding - 1);
        }
    }

    fn compare(&self, guard: u8, other: u8) {
        let Some(first) = usize::from(guard).checked_rem(self.live.len()) else { return };
        let (a, b) = (&self.live[first], &self.live[usize::from(other) % self.live.len()]);
        each!(&a.guard, x => each!(&b.guard, y => {
            assert_eq!(x == y, a.content == b.content);
            assert_eq!(x.partial_cmp(y), a.content.partial_cmp(&b.content));
        }));
        each!(&a.guard, x => {
            assert_eq!(x.as_str().is_ok(), std::str::from_utf8(&a.content).is_ok());
            assert_eq!(format!("{x:?}"), format!("{:?}", Bytes::from(a.content.clone())), "as `Bytes` shows it");
        });
    }
}

impl Live<'_> {
    fn check(&self) {
        each!(&self.guard, buf => {
            assert_eq!(buf.as_slice(), self.content);
            assert!(buf.capacity() >= buf.len());
        });
    }

    fn capacity(&self) -> usize {
        each!(&self.guard, buf => buf.capacity())
    }

    /// What one reservation of `additional` bytes does to the books.
    fn expect_reservation(&self, model: &mut Model, len: usize, additional: usize) {
        if additional > self.capacity() - len && len + additional <= model.growth_max() {
            model.growths += 1;
        }
    }

    fn write(&mut self, model: &mut Model, how: Way, len: usize, byte: u8) {
        let byte_by_byte = matches!(how, Way::Push | Way::FormatChar | Way::ExtendUnhinted | Way::ReadFrom { .. });
        let len_max =
            if byte_by_byte { BYTE_BY_BYTE_MAX } else { CONTENT_BYTES_MAX.saturating_sub(self.content.len()) };
        let len = len.min(len_max);
        let bytes: Vec<u8> = (0..len).map(|i| byte.wrapping_add(i as u8)).collect();
        let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        let reserved_len = if matches!(how, Way::Set) { 0 } else { self.content.len() };
        let added: &[u8] = match how {
            Way::Format | Way::PushStr => text.as_bytes(),
            _ => &bytes,
        };
        // The ways that write in one piece grow once; the others are counted below, from what they did.
        let in_pieces =
            matches!(how, Way::Push | Way::FormatChar | Way::ExtendUnhinted | Way::ReadFrom { .. } | Way::PutBuf);
        if !in_pieces {
            self.expect_reservation(model, reserved_len, added.len());
        }
        let mut capacities = vec![self.capacity()];
        if matches!(how, Way::Set) {
            self.usage.raise(self.content.len());
            self.content.clear();
        }
        each!(&mut self.guard, buf => match how {
            Way::Slice => buf.extend_from_slice(&bytes),
            Way::Write => assert_eq!(std::io::Write::write(buf, &bytes).unwrap(), len),
            Way::WriteAll => buf.write_all(&bytes).unwrap(),
            Way::Vectored => {
                let (head, tail) = bytes.split_at(len / 3);
                assert_eq!(buf.write_vectored(&[IoSlice::new(head), IoSlice::new(tail)]).unwrap(), len);
            }
            Way::Format => write!(buf, "{text}").unwrap(),
            Way::FormatChar => for &byte in &bytes {
                std::fmt::Write::write_char(buf, char::from(byte & 0x7f)).unwrap();
                capacities.push(buf.capacity());
            },
            Way::Push => for &byte in &bytes {
                buf.push(byte);
                capacities.push(buf.capacity());
            },
            Way::PushStr => buf.push_str(&text),
            Way::Extend => buf.extend(&bytes),
            Way::ExtendUnhinted => {
                let mut rest = bytes.iter();
                buf.extend(std::iter::from_fn(|| rest.next().copied()));
            }
            Way::Append => {
                let mut other = bytes.clone();
                buf.append(&mut other);
                assert!(other.is_empty());
            }
            Way::Set => buf.set(&bytes),
            Way::PutSlice => buf.put_slice(&bytes),
            Way::PutBytes => buf.put_bytes(byte, len),
            Way::PutBuf => buf.put(&bytes[..]),
            Way::ReadFrom { piece } => {
                let mut reader = Pieces { bytes: &bytes, piece: usize::from(piece) + 1, reads: 0 };
                assert_eq!(buf.read_from(&mut reader).unwrap(), len);
            }
        });
        match how {
            Way::PutBytes => self.content.resize(self.content.len() + len, byte),
            Way::FormatChar => self.content.extend(bytes.iter().map(|byte| byte & 0x7f)),
            _ => self.content.extend_from_slice(added),
        }
        if in_pieces {
            match how {
                Way::Push | Way::FormatChar => {
                    let most = model.growth_max();
                    let is_growth = |pair: &&[usize]| pair[1] > pair[0] && pair[0] < most;
                    model.growths += capacities.windows(2).filter(is_growth).count() as u64;
                }
                _ => model.growths_open = true,
            }
        }
    }

    fn reserve(&mut self, model: &mut Model, additional: usize, try_it: bool) {
        self.expect_reservation(model, self.content.len(), additional);
        each!(&mut self.guard, buf => if try_it { buf.try_reserve(additional).expect("memory") } else { buf.reserve(additional) });
        assert!(self.capacity() - self.content.len() >= additional);
        self.usage.raise(self.content.len() + additional);
    }

    fn reserve_absurd(&mut self, below: u8) {
        let (capacity, absurd) = (self.capacity(), usize::MAX - usize::from(below));
        each!(&mut self.guard, buf => {
            assert!(buf.try_reserve(absurd).is_err());
            // Sizes that reach the allocator before they fail are in tests/alloc_failure.rs: sanitizers stop at them.
            assert!(buf.try_reserve(isize::MAX as usize + 1).is_err());
            assert!(catch_unwind(AssertUnwindSafe(|| buf.reserve(absurd))).is_err());
        });
        assert_eq!(self.capacity(), capacity);
    }

    fn resize(&mut self, model: &mut Model, len: usize, byte: u8) {
        self.usage.raise(self.content.len());
        self.expect_reservation(model, self.content.len(), len.saturating_sub(self.content.len()));
        self.content.resize(len, byte);
        each!(&mut self.guard, buf => buf.resize(len, byte));
    }

    fn within(&mut self, model: &mut Model, start: u16, end: u16) {
        let (start, end) = (usize::from(start), usize::from(end));
        let sound = start <= end && end <= self.content.len();
        if sound && self.content.len() >= CONTENT_BYTES_MAX {
            return;
        }
        if sound {
            self.expect_reservation(model, self.content.len(), end - start);
            self.content.extend_from_within(start..end);
        }
        let done = each!(&mut self.guard, buf => catch_unwind(AssertUnwindSafe(|| buf.extend_from_within(start..end))).is_ok());
        assert_eq!(done, sound, "extend_from_within({start}..{end})");
    }

    fn on_vec(&mut self, what: OnVec, len: usize) {
        self.usage.raise(self.content.len());
        let content = &mut self.content;
        let vec = each!(&mut self.guard, buf => buf.as_vec_mut());
        match what {
            OnVec::Look => (),
            OnVec::Take => assert_eq!(&std::mem::take(vec), &std::mem::take(content)),
            OnVec::Shrink => vec.shrink_to_fit(),
            OnVec::ReserveExact => vec.reserve_exact(len),
            OnVec::Push => {
                vec.push(7);
                content.push(7);
            }
            OnVec::Replace => {
                *vec = vec![9; len];
                *content = vec![9; len];
            }
            OnVec::ShortenAfterwards => {
                vec.truncate(len);
                content.truncate(len);
            }
        }
    }
}

fn take<T>(items: &mut Vec<T>, index: u8) -> Option<T> {
    let index = usize::from(index).checked_rem(items.len())?;
    Some(items.swap_remove(index))
}

/// Gives a few bytes at a time, is interrupted now and then, and refuses memory with anything in it.
struct Pieces<'a> {
    bytes: &'a [u8],
    piece: usize,
    reads: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, memory: &mut [u8]) -> std::io::Result<usize> {
        assert!(memory.iter().all(|&byte| byte == 0), "a reader was handed stale bytes");
        self.reads += 1;
        if self.reads % 4 == 2 {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        let len = memory.len().min(self.piece).min(self.bytes.len());
        let (head, rest) = self.bytes.split_at(len);
        memory[..len].copy_from_slice(head);
        self.bytes = rest;
        Ok(len)
    }
}

fn drive(input: &Input) {
    let rules = input.config.rules();
    let pool = Arc::new(input.config.pool(&rules));
    let mut world =
        World { pool: &pool, model: Model::new(rules), live: Vec::new(), frozen: Vec::new(), detached: Vec::new() };
    world.model.check(&pool.stats());
    for step in input.steps.iter().take(STEPS_MAX) {
        world.step(step);
        let stats = pool.stats();
        if std::mem::take(&mut world.model.growths_open) {
            assert!(stats.growths >= world.model.growths);
            world.model.growths = stats.growths;
        }
        world.model.check(&stats);
    }
    while let Some(live) = world.live.pop() {
        live.check();
        world.end(live);
    }
    while !world.frozen.is_empty() {
        world.drop_frozen(0);
    }
    let stats = pool.stats();
    world.model.check(&stats);
    assert_eq!(stats.outstanding, 0);
    drop(world);
    assert_eq!(Arc::strong_count(&pool), 1, "a guard that ended kept its pool");
}

fuzz_target!(init: quiet::install(), |input: Input| quiet::run(&input, || drive(&input)));
