//! The sizes of messages shift, and some callers reserve more than they write: neither may cost an allocation a use.
//!
//! After 60 000 messages of 120 B each of the next 42 000 of 200 B was above the max size, so each was allocated and freed
//! until the window was full. And a caller that reserves 64 KiB and writes 1 000 B taught a max size of 1 KiB, so that each of
//! its buffers was freed (10 000 of 10 000). Counted by the pool's own statistics, on one thread, so all is exact.

use std::time::Duration;

use bytebufferpool::{Builder, Pool};

/// No interval ends by itself: what trim frees must be allocated again.
fn builder() -> Builder {
    Pool::builder().trim_interval(Duration::from_secs(1 << 30))
}

fn write(pool: &Pool, len: usize) {
    let mut buf = pool.get();
    // In pieces, as messages are written.
    for written in (0..len).step_by(20) {
        buf.extend_from_slice(&[b'x'; 20][..(len - written).min(20)]);
    }
}

/// The buffers that the pool allocates meanwhile.
fn allocated(pool: &Pool, uses: impl FnOnce()) -> u64 {
    let before = pool.stats().allocated;
    uses();
    pool.stats().allocated - before
}

/// Messages of 120 B, then of 200 B; how many of the latter allocated.
fn allocated_after_the_shift(pool: &Pool) -> u64 {
    (0..60_000).for_each(|_| write(pool, 120));
    assert_eq!((pool.stats().calibrations, pool.max_size()), (1, 128), "it has learned the first size");
    allocated(pool, || (0..42_000).for_each(|_| write(pool, 200)))
}

/// The pool looks at the 65th use above the max size and then every 64th. 2 049 is the first that is past a tenth of its window,
/// in which 17 999 calls of 120 B came before the shift.
#[test]
fn after_a_shift_to_larger_messages_at_most_2_200_of_42_000_allocate() {
    let pool = builder().build();
    let allocated = allocated_after_the_shift(&pool);
    assert!(allocated <= 2200, "{allocated} of 42 000 allocated; {}", pool.stats());
    assert!(pool.max_size() >= 256);
}

/// The same with a jump over many classes.
#[test]
fn after_a_shift_to_messages_of_20_kb_at_most_2_200_of_42_000_allocate() {
    let pool = builder().build();
    (0..60_000).for_each(|_| write(&pool, 120));
    let allocated = allocated(&pool, || {
        for _ in 0..42_000 {
            let mut buf = pool.get();
            buf.extend_from_slice(&[b'x'; 20_000]);
        }
    });
    assert!(allocated <= 2200, "{allocated} of 42 000 allocated; {}", pool.stats());
}

/// Go's rule, which the differential tests follow: sizes change when a window is full and at no other time.
#[test]
fn without_early_calibration_all_allocate_until_the_window_is_full() {
    let pool = builder().calibrate_early(false).build();
    let allocated = allocated_after_the_shift(&pool);
    // A class must have more than 42 000 calls: the next use is the one.
    assert!(allocated >= 41_990, "{allocated} of 42 000 allocated; {}", pool.stats());
    assert_eq!((pool.stats().calibrations, pool.max_size()), (1, 128));
    write(&pool, 200);
    assert_eq!((pool.stats().calibrations, pool.max_size()), (2, 256));
}

#[test]
fn calibrate_early_is_the_default() {
    let sizes = |builder: Builder| {
        let pool = builder.build();
        (0..42_001).for_each(|_| write(&pool, 120));
        (0..65).for_each(|_| write(&pool, 5000));
        pool.max_size()
    };
    assert_eq!(sizes(builder()), sizes(builder().calibrate_early(true)));
    assert_eq!(sizes(builder().calibrate_early(false)), 128);
}

/// What Go's rule is right about: a few large messages raise nothing.
#[test]
fn a_few_messages_above_the_max_size_do_not_raise_it() {
    let pool = builder().build();
    (0..60_000).for_each(|_| write(&pool, 120));
    // One in twenty is what the max size leaves out by design.
    for nth in 0..20_000 {
        write(&pool, if nth % 20 == 0 { 5000 } else { 120 });
    }
    assert_eq!((pool.stats().calibrations, pool.max_size()), (1, 128));
}

/// Not even where they are most of a window that has hardly begun: fewer than 65 prove nothing.
#[test]
fn a_handful_at_the_beginning_of_a_window_raises_nothing() {
    let pool = builder().calibrate_calls_threshold(1000).build();
    (0..1001).for_each(|_| write(&pool, 120));
    assert_eq!((pool.stats().calibrations, pool.max_size()), (1, 128));
    (0..64).for_each(|_| write(&pool, 5000));
    assert_eq!((pool.stats().calibrations, pool.max_size()), (1, 128));
}

#[test]
fn once_most_of_a_window_is_above_the_max_size_it_is_raised_before_the_window_is_full() {
    let pool = builder().build();
    (0..42_001).for_each(|_| write(&pool, 120));
    assert_eq!((pool.stats().calibrations, pool.max_size(), pool.default_size()), (1, 128, 128));
    (0..65).for_each(|_| write(&pool, 5000));
    let stats = pool.stats();
    assert_eq!(stats.max_size, 8192, "{stats}");
    assert_eq!(stats.default_size, 128, "an early look only raises the max size");
    assert_eq!(stats.classes.iter().map(|class| class.calls).sum::<u64>(), 65, "it takes no window: {stats}");
}

fn reserve_and_write(pool: &Pool) {
    let mut buf = pool.get();
    buf.reserve(64 << 10);
    buf.extend_from_slice(&[b'x'; 1000]);
}

#[test]
fn uses_that_reserve_64_kib_and_write_1_000_bytes_allocate_at_most_100_of_10_000_times() {
    // By default, and with a calibration within each thousand uses: what was learned holds.
    for (threshold, warm) in [(42_000, 45_000), (1000, 3000), (300, 1000)] {
        let pool = builder().calibrate_calls_threshold(threshold).build();
        (0..warm).for_each(|_| reserve_and_write(&pool));
        assert!(pool.stats().calibrations >= 1, "it is warm");
        let allocated = allocated(&pool, || (0..10_000).for_each(|_| reserve_and_write(&pool)));
        assert!(allocated <= 100, "threshold {threshold}: {allocated} of 10 000 allocated; {}", pool.stats());
    }
}

#[test]
fn a_fallible_reserve_counts_as_one_that_panics() {
    let pool = builder().calibrate_calls_threshold(1000).build();
    let reserve_and_write = || {
        let mut buf = pool.get();
        buf.try_reserve(64 << 10).expect("memory");
        buf.extend_from_slice(&[b'x'; 1000]);
    };
    (0..3000).for_each(|_| reserve_and_write());
    let allocated = allocated(&pool, || (0..10_000).for_each(|_| reserve_and_write()));
    assert!(allocated <= 100, "{allocated} of 10 000 allocated; {}", pool.stats());
}

/// It is no size that was asked for: who needs that room each time gets it by `get`.
#[test]
fn a_reserve_teaches_the_default_size() {
    let pool = builder().build();
    (0..100).for_each(|_| reserve_and_write(&pool));
    pool.calibrate();
    assert_eq!(pool.default_size(), 64 << 10, "{}", pool.stats());
}

/// The use has the size of all that was to be held, also where the buffer had it already.
#[test]
fn a_reserve_that_fits_raises_the_size_of_the_use() {
    let pool = builder().default_size(64 << 10).build();
    for _ in 0..100 {
        let mut buf = pool.get();
        buf.extend_from_slice(&[b'x'; 1000]);
        buf.reserve(30_000);
    }
    assert_eq!(pool.stats().classes[9].calls, 100, "1 000 + 30 000 is 32 KiB; {}", pool.stats());
}

#[test]
fn a_try_reserve_that_fails_says_nothing_of_the_size() {
    let pool = builder().build();
    let mut buf = pool.get();
    buf.extend_from_slice(&[b'x'; 1000]);
    assert!(buf.try_reserve(usize::MAX).is_err());
    drop(buf);
    assert_eq!(pool.stats().classes[4].calls, 1, "1 000 bytes are 1 KiB; {}", pool.stats());
}
