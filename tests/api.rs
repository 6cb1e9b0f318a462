//! The whole public surface, each item named and its type pinned: what fails to compile here breaks users.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap, HashSet, TryReserveError};
use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::hash::{BuildHasher, Hash, RandomState};
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::str::Utf8Error;
use std::sync::Arc;
use std::time::Duration;

use bytebufferpool::{
    BuildError, Builder, CLASSES, ClassStats, DefaultSize, Dropped, Growth, MAX_CLASS_SIZE, MIN_CLASS_SIZE, Pool,
    PoolRef, PooledBuf, Stats,
};
use bytes::{BufMut, Bytes};

static PLAIN: Pool = Pool::new();
static BUILT: Pool = Pool::builder()
    .calibrate_calls_threshold(1000)
    .max_percentile(0.99)
    .default_policy(DefaultSize::Percentile(0.9))
    .growth(Growth::MaxSize)
    .calibrate_early(false)
    .default_size(100)
    .max_size(1 << 20)
    .default_size_limit(4096)
    .max_size_limit(2 << 20)
    .retained_bytes_max(8 << 20)
    .thread_cache_bytes_max(32 << 10)
    .trim_interval(Duration::from_millis(500))
    .build();
const BUILDER: Builder = Builder::new().max_size(4096);
static FROM_A_CONST: Pool = BUILDER.build();
static CHECKED: Result<Pool, BuildError> = Pool::builder().default_size(64).try_build();
static REFUSED: Result<Pool, BuildError> = Pool::builder().calibrate_calls_threshold(0).try_build();
static SEVERAL: [Pool; 3] = [const { Pool::new() }; 3];

#[test]
fn pools_are_constants() {
    assert!(REFUSED.is_err());
    let checked = CHECKED.as_ref().expect("legal");
    for pool in [&PLAIN, &BUILT, &FROM_A_CONST, checked].into_iter().chain(&SEVERAL) {
        pool.get().push(1);
        assert_eq!(pool.stats().gets, 1);
    }
    assert_eq!((BUILT.default_size(), BUILT.max_size()), (128, 1 << 20));
    assert_eq!((FROM_A_CONST.default_size(), FROM_A_CONST.max_size()), (64, 4096));
    assert_eq!((PLAIN.default_size(), PLAIN.max_size()), (64, 32 << 20));
}

#[test]
fn constants_have_their_values() {
    const _: usize = MIN_CLASS_SIZE + MAX_CLASS_SIZE + CLASSES;
    assert_eq!((MIN_CLASS_SIZE, MAX_CLASS_SIZE, CLASSES), (64, 33_554_432, 20));
}

#[test]
#[expect(clippy::type_complexity, reason = "the types are the point")]
fn functions_have_their_types() {
    type Borrowed<'a> = PooledBuf<&'a Pool>;
    type Owned = PooledBuf<Arc<Pool>>;
    let _: fn() -> PooledBuf = bytebufferpool::get;
    let _: fn() -> PooledBuf<&'static Pool> = bytebufferpool::get;
    let _: fn(Vec<u8>) = bytebufferpool::put;
    let _: fn() -> &'static Pool = bytebufferpool::global;

    let _: fn() -> Pool = Pool::new;
    let _: [fn() -> Builder; 2] = [Pool::builder, Builder::new];
    let _: for<'a> fn(&'a Pool) -> Borrowed<'a> = Pool::get;
    let _: for<'a> fn(&'a Pool, usize) -> Borrowed<'a> = Pool::get_with_capacity;
    let _: for<'a> fn(&'a Pool, usize) -> Result<Borrowed<'a>, TryReserveError> = Pool::try_get_with_capacity;
    let _: fn(&Arc<Pool>) -> Owned = Pool::get_owned;
    let _: fn(&Arc<Pool>, usize) -> Owned = Pool::get_owned_with_capacity;
    let _: fn(&Arc<Pool>, usize) -> Result<Owned, TryReserveError> = Pool::try_get_owned_with_capacity;
    let _: fn(&Pool, Vec<u8>) = Pool::put;
    let _: fn(&Pool, usize, usize) -> usize = Pool::prefill;
    let _: [fn(&Pool) -> usize; 4] = [Pool::default_size, Pool::max_size, Pool::trim, Pool::purge];
    let _: [fn(&Pool); 2] = [Pool::calibrate, Pool::flush_thread];
    let _: fn(&Pool) -> Stats = Pool::stats;

    let _: fn(Builder, u64) -> Builder = Builder::calibrate_calls_threshold;
    let _: fn(Builder, f64) -> Builder = Builder::max_percentile;
    let _: fn(Builder, DefaultSize) -> Builder = Builder::default_policy;
    let _: fn(Builder, Growth) -> Builder = Builder::growth;
    let _: fn(Builder, bool) -> Builder = Builder::calibrate_early;
    let _: [fn(Builder, usize) -> Builder; 6] = [
        Builder::default_size,
        Builder::max_size,
        Builder::default_size_limit,
        Builder::max_size_limit,
        Builder::retained_bytes_max,
        Builder::thread_cache_bytes_max,
    ];
    let _: fn(Builder, Duration) -> Builder = Builder::trim_interval;
    let _: fn(Builder) -> Pool = Builder::build;
    let _: fn(Builder) -> Result<Pool, BuildError> = Builder::try_build;

    fn guard<P: PoolRef + Send + 'static>() {
        let _: fn(&PooledBuf<P>) -> usize = PooledBuf::capacity;
        let _: [fn(&mut PooledBuf<P>); 1] = [PooledBuf::clear];
        let _: [fn(&mut PooledBuf<P>, usize); 2] = [PooledBuf::truncate, PooledBuf::reserve];
        let _: fn(&mut PooledBuf<P>, usize) -> Result<(), TryReserveError> = PooledBuf::try_reserve;
        let _: fn(&mut PooledBuf<P>, usize, u8) = PooledBuf::resize;
        let _: fn(&PooledBuf<P>) -> &[u8] = PooledBuf::as_slice;
        let _: fn(&PooledBuf<P>) -> Result<&str, Utf8Error> = PooledBuf::as_str;
        let _: [fn(&mut PooledBuf<P>, &[u8]); 2] = [PooledBuf::extend_from_slice, PooledBuf::set];
        let _: fn(&mut PooledBuf<P>, std::ops::Range<usize>) = PooledBuf::extend_from_within;
        let _: fn(&mut PooledBuf<P>, std::ops::RangeToInclusive<usize>) = PooledBuf::extend_from_within;
        let _: fn(&mut PooledBuf<P>, u8) = PooledBuf::push;
        let _: fn(&mut PooledBuf<P>, &str) = PooledBuf::push_str;
        let _: fn(&mut PooledBuf<P>) -> Option<u8> = PooledBuf::pop;
        let _: fn(&mut PooledBuf<P>) -> &mut [MaybeUninit<u8>] = PooledBuf::spare_capacity_mut;
        let _: unsafe fn(&mut PooledBuf<P>, usize) = PooledBuf::set_len;
        let _: fn(&mut PooledBuf<P>, &mut Vec<u8>) = PooledBuf::append;
        let _: fn(&mut PooledBuf<P>, &mut (dyn Read + 'static)) -> io::Result<usize> = PooledBuf::read_from;
        let _: fn(&PooledBuf<P>, &mut (dyn Write + 'static)) -> io::Result<()> = PooledBuf::write_to;
        let _: fn(&mut PooledBuf<P>) -> &mut Vec<u8> = PooledBuf::as_vec_mut;
        let _: fn(PooledBuf<P>) -> Vec<u8> = PooledBuf::into_vec;
        let _: fn(PooledBuf<P>) -> Bytes = PooledBuf::freeze;
        let _: fn(PooledBuf<P>) = PooledBuf::discard;
        let _: fn(PooledBuf<P>) -> Bytes = Bytes::from;
        let _: fn(PooledBuf<P>) -> Vec<u8> = Vec::from;
        let _: fn(P) -> PooledBuf<P> = PooledBuf::empty;
    }
    guard::<&'static Pool>();
    guard::<Arc<Pool>>();
}

#[test]
fn auto_traits_hold() {
    fn thread_safe<T: Send + Sync>() {}
    fn unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
    fn lasting<T: 'static>() {}
    fn everything<T: Send + Sync + UnwindSafe + RefUnwindSafe + Unpin + 'static>() {}
    everything::<Pool>();
    everything::<PooledBuf>();
    everything::<PooledBuf<&'static Pool>>();
    everything::<PooledBuf<Arc<Pool>>>();
    everything::<Builder>();
    everything::<Stats>();
    everything::<BuildError>();
    everything::<DefaultSize>();
    everything::<Growth>();
    everything::<Dropped>();
    everything::<ClassStats>();
    fn of_a_local_pool<'a>(_: &'a Pool) {
        thread_safe::<PooledBuf<&'a Pool>>();
        unwind_safe::<PooledBuf<&'a Pool>>();
    }
    of_a_local_pool(&PLAIN);
    lasting::<PooledBuf<Arc<Pool>>>();
}

#[test]
fn traits_are_implemented() {
    fn pool<T: Debug + Default + AsRef<Pool>>() {}
    fn value<T: Clone + Debug>() {}
    fn error<T: Error + Display + Debug + Send + Sync + 'static>() {}
    fn guard<P: AsRef<Pool> + Send + 'static>()
    where
        PooledBuf<P>: Deref<Target = [u8]> + DerefMut + AsRef<[u8]> + AsMut<[u8]> + Borrow<[u8]> + Debug,
        PooledBuf<P>: Eq + Ord + Hash + Write + fmt::Write + Extend<u8> + for<'a> Extend<&'a u8> + BufMut,
        PooledBuf<P>: PartialEq<[u8]> + for<'a> PartialEq<&'a [u8]> + PartialEq<[u8; 3]> + PartialEq<Vec<u8>>,
        PooledBuf<P>: PartialEq<PooledBuf<&'static Pool>> + PartialEq<PooledBuf<Arc<Pool>>>,
        Bytes: From<PooledBuf<P>>,
    {
    }
    pool::<Pool>();
    value::<Builder>();
    fn defaulted<T: Default>() {}
    defaulted::<Builder>();
    value::<Stats>();
    value::<Dropped>();
    value::<ClassStats>();
    value::<DefaultSize>();
    value::<Growth>();
    fn displayed<T: Display>() {}
    displayed::<Stats>();
    error::<BuildError>();
    guard::<&'static Pool>();
    guard::<Arc<Pool>>();
}

#[test]
fn figures_have_their_types() {
    let Stats {
        gets,
        hits,
        misses,
        puts,
        detached,
        outstanding,
        donated,
        growths,
        allocated,
        dropped: Dropped { discarded, out_of_class, over_ceiling, over_budget, depot_full, .. },
        trimmed,
        calibrations,
        default_size,
        max_size,
        retained_bytes,
        retained_buffers,
        classes,
        ..
    } = Pool::new().stats();
    let counts: [u64; 16] = [
        gets,
        hits,
        misses,
        puts,
        detached,
        outstanding,
        donated,
        growths,
        allocated,
        discarded,
        out_of_class,
        over_ceiling,
        over_budget,
        depot_full,
        trimmed,
        calibrations,
    ];
    assert_eq!((counts, retained_buffers), ([0; 16], 0_u64));
    let sizes: [usize; 3] = [default_size, max_size, retained_bytes];
    assert_eq!(sizes, [64, 32 << 20, 0]);
    let classes: [ClassStats; CLASSES] = classes;
    for (class, &ClassStats { size, calls, retained, .. }) in classes.iter().enumerate() {
        let (size, calls, retained): (usize, u64, u64) = (size, calls, retained);
        assert_eq!((size, calls, retained), (64 << class, 0, 0));
    }
}

#[test]
fn everything_is_used_once() {
    let pool = Arc::new(Pool::builder().trim_interval(Duration::from_secs(1 << 30)).build());
    let mut buf = pool.get();
    assert_eq!((buf.len(), buf.capacity()), (0, 64));
    buf.extend_from_slice(b"slice ");
    buf.extend_from_within(..2);
    buf.push(b' ');
    buf.push_str("str ");
    buf.append(&mut b"vec ".to_vec());
    buf.extend(*b"ab");
    buf.extend(b"cd");
    buf.reserve(1000);
    buf.try_reserve(2000).expect("memory");
    assert!(buf.capacity() >= 2000);
    assert_eq!(buf.as_str(), Ok("slice sl str vec abcd"));
    buf.put_u16(0x6566);
    buf.put_slice(b"gh");
    buf.put_bytes(b'i', 2);
    assert!(buf.has_remaining_mut() && buf.remaining_mut() == isize::MAX as usize - buf.len());
    assert_eq!(buf.read_from(&mut &b"!"[..]).expect("no error"), 1);
    let mut written = Vec::new();
    buf.write_to(&mut written).expect("no error");
    assert_eq!(written, b"slice sl str vec abcdefghii!");
    assert_eq!(buf.write_vectored(&[IoSlice::new(b"1"), IoSlice::new(b"23")]).expect("never fails"), 3);
    buf.flush().expect("never fails");
    buf.truncate(5);
    buf.resize(7, b'.');
    buf[0] = b'S';
    buf.as_mut()[1] = b'L';
    assert_eq!(buf.as_slice(), b"SLice..");
    buf.as_vec_mut().insert(0, b'>');
    assert_eq!(buf, *b">SLice..");
    buf.set(b"new");
    assert_eq!(buf, *b"new");
    buf.clear();
    assert!(buf.is_empty());
    buf.resize(3, 0xFF);
    assert!(buf.as_str().is_err());
    buf.discard();

    let vec = pool.get_with_capacity(0).into_vec();
    assert_eq!((vec.len(), vec.capacity()), (0, 64));
    pool.put(vec);
    drop(pool.try_get_with_capacity(100).expect("memory"));
    let mut owned = pool.get_owned();
    owned.push_str("frozen");
    let frozen = owned.freeze();
    assert_eq!(frozen.clone(), "frozen");
    drop(frozen);
    assert_eq!(Bytes::from(pool.get_owned_with_capacity(5)), "");
    drop(pool.try_get_owned_with_capacity(5).expect("memory"));
    assert_eq!(pool.prefill(4000, 2), 2);
    assert_eq!(pool.stats().classes[6].retained, 2);
    pool.flush_thread();
    pool.calibrate();
    pool.trim();
    pool.purge();
    let stats = pool.stats();
    assert_eq!((stats.gets, stats.outstanding, stats.retained_bytes, stats.calibrations), (6, 0, 0, 1));
    assert!(stats.to_string().contains("gets 6"));

    // The process-wide pool; another test may use it beside this one.
    let mut buf = bytebufferpool::get();
    buf.push(1);
    drop(buf);
    bytebufferpool::put(Vec::with_capacity(64));
    assert!(bytebufferpool::global().stats().gets >= 1);
    assert_eq!(bytebufferpool::global().stats().donated, 1, "no other test of this file donates to it");
    assert!(std::ptr::eq(bytebufferpool::global(), AsRef::<Pool>::as_ref(bytebufferpool::global())));
}

// Clippy sees the pool's atomics behind the guard's `Arc`; the key is the bytes alone.
#[test]
#[expect(clippy::mutable_key_type)]
fn a_guard_is_a_key_like_its_bytes() {
    let pool = Arc::new(Pool::default());
    let guard = |text: &str| {
        let mut buf = pool.get_owned();
        buf.push_str(text);
        buf
    };
    let set: HashSet<_> = ["b", "a", "ab"].map(guard).into_iter().collect();
    assert!(set.contains(&b"ab"[..]) && !set.contains(&b"abc"[..]));
    let map: HashMap<_, _> = [(guard("k"), 1)].into_iter().collect();
    assert_eq!(map.get(&b"k"[..]), Some(&1));
    let sorted: BTreeSet<_> = ["b", "a", "ab", ""].map(guard).into_iter().collect();
    assert_eq!(sorted.iter().map(|buf| buf.to_vec()).collect::<Vec<_>>(), [&b""[..], b"a", b"ab", b"b"]);
    assert!(sorted.contains(&b"ab"[..]));
    let hasher = RandomState::new();
    assert_eq!(hasher.hash_one(guard("same")), hasher.hash_one(&b"same"[..]));
    // Order and equality are those of the bytes, whatever the capacity and the kind of guard.
    let mut borrowed = pool.get_with_capacity(5000);
    borrowed.push_str("b");
    assert!(borrowed == guard("b") && guard("b") == borrowed && borrowed > guard("ab"));
    assert_eq!(guard("b").cmp(&guard("a")), std::cmp::Ordering::Greater);
}

#[test]
fn equality_holds_from_both_sides() {
    let mut buf = bytebufferpool::get();
    buf.push_str("abc");
    let (array, slice, vec, bytes) = (*b"abc", &b"abc"[..], b"abc".to_vec(), Bytes::from_static(b"abc"));
    assert!(buf == array && buf == slice && buf == *slice && buf == vec && buf == bytes);
    assert!(array == buf && slice == buf && *slice == buf && vec == buf && bytes == buf);
    assert!(buf != *b"abd" && buf != *b"ab" && vec![1] != buf);
}

#[test]
fn debug_prints() {
    let pool = Pool::new();
    let mut buf = pool.get();
    buf.extend([1, 2, 255]);
    assert_eq!(format!("{buf:?}"), r#"b"\x01\x02\xff""#);
    let all: Vec<u8> = (0..=255).collect();
    buf.set(&all);
    assert_eq!(format!("{buf:?}"), format!("{:?}", Bytes::from(all)), "as `Bytes` does");
    let printed = format!("{pool:?}");
    assert!(printed.starts_with("Pool") && printed.contains("default_size: 64"), "{printed}");
    assert!(format!("{:?}", Pool::builder()).starts_with("Builder"));
    assert!(format!("{:?}", pool.stats()).starts_with("Stats"));
    let error = Pool::builder().max_percentile(f64::NAN).try_build().expect_err("refused");
    assert!(error.to_string().contains("max_percentile") && error.to_string().contains("NaN"), "{error}");
}

/// `write!` is that of the `Write` trait that is imported, as for a `Vec` or a `String`.
mod write_macro {
    mod with_io_write {
        use std::io::Write;

        #[test]
        fn works() {
            let mut buf = bytebufferpool::get();
            write!(buf, "{}", 1).expect("never fails");
            buf.write_all(b"all").expect("never fails");
            write!(&mut buf, "{}", 2).expect("never fails");
            assert_eq!(buf, *b"1all2");
        }
    }

    mod with_fmt_write {
        use std::fmt::Write;

        #[test]
        fn works() {
            let mut buf = bytebufferpool::get();
            write!(buf, "{}", 1).expect("never fails");
            buf.write_str("str").expect("never fails");
            buf.write_char('ü').expect("never fails");
            assert_eq!(buf.as_str(), Ok("1strü"));
        }
    }

    /// What an inherent `write_fmt` broke: it returned an `io::Result` here.
    mod in_a_function_that_formats {
        use std::fmt::{self, Write};

        fn shown(buf: &mut bytebufferpool::PooledBuf) -> fmt::Result {
            write!(buf, "{}", 1)
        }

        #[test]
        fn works() {
            let mut buf = bytebufferpool::get();
            shown(&mut buf).expect("never fails");
            assert_eq!(buf, "1");
        }
    }
}

#[track_caller]
fn panic_message(work: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(work)).expect_err("a panic");
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic.downcast_ref::<&str>().expect("a message").to_string(),
    }
}

#[test]
fn extend_from_within_out_of_range_names_the_range_and_changes_nothing() {
    let pool = Pool::new();
    let mut buf = pool.get();
    buf.push_str("abc");
    let message = panic_message(|| buf.extend_from_within(2..9));
    assert!(message.contains("2..9") && message.contains("3 bytes"), "{message}");
    #[expect(clippy::reversed_empty_ranges)]
    let message = panic_message(|| buf.extend_from_within(3..2));
    assert!(message.contains("3..2"), "{message}");
    let message = panic_message(|| buf.extend_from_within(4..));
    assert!(message.contains("4.."), "{message}");
    let message = panic_message(|| buf.extend_from_within(..=usize::MAX));
    assert!(message.contains("range"), "{message}");
    buf.extend_from_within(3..3);
    buf.extend_from_within(..=0);
    assert_eq!(buf, *b"abca");
    assert_eq!(pool.stats().growths, 0);
}

/// Where pointers have 32 bits, a `Vec` of `isize::MAX` bytes can be had.
const IMPOSSIBLE: &[usize] = match usize::BITS {
    64 => &[usize::MAX, usize::MAX - 1, isize::MAX as usize + 1, isize::MAX as usize, isize::MAX as usize - 64],
    _ => &[usize::MAX, usize::MAX - 1, isize::MAX as usize + 1],
};

#[test]
fn a_capacity_that_cannot_be_is_an_error_and_no_figure_changes() {
    let pool = Arc::new(Pool::new());
    pool.get_with_capacity(1000).push(1);
    let before = pool.stats();
    for &capacity in IMPOSSIBLE {
        assert!(pool.try_get_with_capacity(capacity).is_err(), "{capacity}");
        assert!(pool.try_get_owned_with_capacity(capacity).is_err(), "{capacity}");
        assert_eq!(pool.prefill(capacity, 3), 0, "{capacity}");
        assert_eq!(pool.stats(), before, "{capacity}");
    }
    let error: TryReserveError = pool.try_get_with_capacity(usize::MAX).expect_err("too much");
    assert!(!error.to_string().is_empty());
    assert_eq!(Arc::strong_count(&pool), 1, "an owned guard that was not made holds nothing");
}

#[test]
fn a_capacity_that_cannot_be_panics_without_try() {
    let pool = Pool::new();
    for capacity in [usize::MAX, isize::MAX as usize + 1] {
        let message = panic_message(|| drop(pool.get_with_capacity(capacity)));
        assert!(message.contains("capacity"), "{message}");
    }
    let stats = pool.stats();
    assert_eq!((stats.gets, stats.allocated, stats.outstanding), (0, 0, 0));
    pool.get().push(1);
}

#[test]
fn growth_that_cannot_be_is_an_error_or_a_panic_and_the_buffer_stays() {
    let pool = Pool::new();
    let mut buf = pool.get();
    buf.push_str("kept");
    let before = pool.stats();
    for additional in IMPOSSIBLE.iter().flat_map(|&capacity| [capacity, capacity - 4]) {
        assert!(buf.try_reserve(additional).is_err(), "{additional}");
        assert_eq!((buf.as_slice(), buf.capacity()), (&b"kept"[..], 64));
    }
    let message = panic_message(|| buf.reserve(usize::MAX));
    assert!(message.contains("capacity overflow"), "{message}");
    let message = panic_message(|| buf.resize(usize::MAX, 0));
    assert!(message.contains("capacity overflow"), "{message}");
    let message = panic_message(|| buf.put_bytes(0, usize::MAX));
    assert!(message.contains("capacity overflow"), "{message}");
    assert_eq!(buf, *b"kept");
    assert_eq!(pool.stats(), before);
}

#[test]
fn zero_capacity_is_the_smallest_class() {
    let pool = Arc::new(Pool::new());
    assert_eq!(pool.get_with_capacity(0).capacity(), 64);
    assert_eq!(pool.try_get_with_capacity(0).expect("memory").capacity(), 64);
    assert_eq!(pool.get_owned_with_capacity(0).capacity(), 64);
    assert_eq!(pool.prefill(0, 3), 3);
    pool.put(Vec::new());
    let stats = pool.stats();
    assert_eq!((stats.donated, stats.dropped.out_of_class), (1, 1));
    assert!(stats.classes.iter().all(|class| class.calls == 0), "zero says nothing");
    let mut buf = pool.get();
    buf.extend_from_slice(&[]);
    buf.extend_from_within(..);
    buf.append(&mut Vec::new());
    buf.resize(0, 1);
    buf.set(&[]);
    assert_eq!(buf.write(&[]).expect("never fails"), 0);
    assert_eq!(buf.read_from(&mut io::empty()).expect("no error"), 0);
    assert_eq!((buf.len(), buf.capacity(), pool.stats().growths), (0, 64, 0));
}

#[test]
fn above_the_largest_class_a_buffer_is_allocated_and_never_kept() {
    let pool = Pool::new();
    for (capacity, kept) in [(MAX_CLASS_SIZE, 1), (MAX_CLASS_SIZE + 1, 0), (100 << 20, 0)] {
        let before = pool.stats();
        let buf = pool.get_with_capacity(capacity);
        assert!(buf.capacity() >= capacity);
        drop(buf);
        let stats = pool.stats();
        assert_eq!((stats.misses, stats.allocated), (before.misses + 1, before.allocated + 1));
        assert_eq!(stats.dropped.out_of_class, before.dropped.out_of_class + 1 - kept);
        assert_eq!(stats.retained_buffers, before.retained_buffers + kept);
        assert_eq!(stats.classes[CLASSES - 1].calls, before.classes[CLASSES - 1].calls + 1);
        assert_eq!(pool.prefill(capacity, 1), kept as usize);
        pool.purge();
    }
    // Growth past it happens in the `Vec`.
    let mut buf = pool.get_with_capacity(MAX_CLASS_SIZE);
    buf.reserve(MAX_CLASS_SIZE + 1);
    assert!(buf.capacity() > MAX_CLASS_SIZE);
    let before = pool.stats();
    drop(buf);
    let stats = pool.stats();
    assert_eq!((stats.growths, stats.dropped.out_of_class), (0, before.dropped.out_of_class + 1));
}

#[test]
fn odd_paths_do_to_the_books_what_the_design_says() {
    let pool = Pool::new();
    // Detached and donated: two uses.
    let mut buf = pool.get_with_capacity(100);
    buf.push(1);
    pool.put(buf.into_vec());
    let stats = pool.stats();
    assert_eq!((stats.detached, stats.donated, stats.puts, stats.retained_buffers), (1, 1, 0, 1));
    assert_eq!((stats.classes[0].calls, stats.classes[1].calls), (1, 1), "1 byte donated, 100 asked for");
    // Emptied through the Vec: put, and out of class.
    let mut buf = pool.get();
    drop(std::mem::take(buf.as_vec_mut()));
    drop(buf);
    let stats = pool.stats();
    assert_eq!((stats.puts, stats.dropped.out_of_class), (1, 1));
    // Forgotten: outstanding for ever. Here until the end of the test, or the leak checks would find it.
    let forgotten = std::mem::ManuallyDrop::new(pool.get());
    assert_eq!(pool.stats().outstanding, 1);
    // An odd capacity is cut to the class below.
    pool.put(Vec::with_capacity(1500));
    let stats = pool.stats();
    assert_eq!(stats.classes[4].retained + stats.dropped.out_of_class, 2);
    // The small buffer that growth leaves is no use and no put.
    pool.purge();
    let before = pool.stats();
    let mut buf = pool.get_with_capacity(256);
    buf.reserve(300);
    let stats = pool.stats();
    assert_eq!((stats.growths, stats.puts, stats.classes[2].retained), (1, before.puts, 1));
    assert_eq!(stats.outstanding, 2, "the grown one and the forgotten one");
    drop(std::mem::ManuallyDrop::into_inner(forgotten));
}

/// By either function: the first bytes are a get of what is reserved, or of the default size if that is more.
#[test]
fn an_empty_guard_that_reserves_gets_its_buffer() {
    let reserves: [fn(&mut PooledBuf<&Pool>, usize); 2] =
        [|buf, additional| buf.reserve(additional), |buf, additional| buf.try_reserve(additional).expect("memory")];
    for reserve in reserves {
        for (additional, capacity) in [(1, 1024), (5000, 8192), (MAX_CLASS_SIZE + 1, MAX_CLASS_SIZE + 1)] {
            let pool = Pool::builder().default_size(1024).build();
            let mut buf = PooledBuf::empty(&pool);
            reserve(&mut buf, additional);
            assert_eq!((buf.len(), buf.capacity(), pool.stats().gets), (0, capacity, 1), "{additional}");
        }
    }
}

#[test]
fn pop_takes_the_last_byte_and_the_length_before_it_counts() {
    let pool = Pool::new();
    let mut buf = pool.get();
    assert_eq!(buf.pop(), None);
    buf.extend_from_slice(&[b'a'; 100]);
    buf.push(b'z');
    assert_eq!((buf.pop(), buf.pop(), buf.len()), (Some(b'z'), Some(b'a'), 99));
    while buf.pop().is_some() {}
    drop(buf);
    assert_eq!(pool.stats().classes[1].calls, 1, "101 B");
}

#[test]
fn the_spare_capacity_is_what_is_left_and_an_empty_guard_gets_its_buffer_for_it() {
    let pool = Pool::builder().default_size(1024).build();
    let mut buf = pool.get();
    buf.extend_from_slice(b"abc");
    assert_eq!(buf.spare_capacity_mut().len(), 1021);
    buf.resize(1024, 0);
    assert_eq!(buf.spare_capacity_mut().len(), 0, "a buffer does not grow for it");
    let mut empty = PooledBuf::empty(&pool);
    assert_eq!((empty.spare_capacity_mut().len(), pool.stats().gets), (1024, 2));
}

#[test]
fn a_guard_becomes_a_vec_that_holds_its_bytes() {
    let pool = Pool::new();
    let mut buf = pool.get();
    buf.push_str("kept");
    let address = buf.as_ptr();
    let vec = Vec::from(buf);
    assert_eq!((vec.as_slice(), vec.as_ptr()), (&b"kept"[..], address));
    assert_eq!((pool.stats().detached, pool.stats().outstanding), (1, 0));
}
