//! User code that panics, lies or calls back: the pool stays usable, its books balance, and nobody reads stale bytes.

#[path = "support/identities.rs"]
mod identities;

use identities::assert_balanced;
use std::cell::Cell;
use std::fmt;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytebufferpool::{Pool, PooledBuf};
use bytes::{Buf, BufMut};

const NEVER: Duration = Duration::from_secs(1 << 30);

fn pool() -> Pool {
    Pool::builder().trim_interval(NEVER).build()
}

/// After whatever happened: books, and a pool that works on.
#[track_caller]
fn assert_usable(pool: &Pool) {
    let before = pool.stats();
    assert_balanced(&before, "at rest");
    assert_eq!(before.outstanding, 0, "{before}");
    for size in [10, 1000, 100_000] {
        let mut buf = pool.get_with_capacity(size);
        assert!(buf.is_empty());
        buf.extend_from_slice(&vec![b'o'; size + 1]);
        assert!(buf.iter().all(|&byte| byte == b'o'));
    }
    let after = pool.stats();
    assert_balanced(&after, "at rest");
    assert_eq!((after.gets, after.outstanding), (before.gets + 3, 0));
    pool.purge();
    assert_eq!(pool.stats().retained_bytes, 0);
}

/// Runs `work` on a guard, expects its panic, and returns what the guard holds afterwards.
#[track_caller]
fn panics_on_a_guard(pool: &Pool, work: impl FnOnce(&mut PooledBuf<&Pool>)) -> Vec<u8> {
    let mut buf = pool.get();
    buf.extend_from_slice(b"before:");
    let panic = catch_unwind(AssertUnwindSafe(|| work(&mut buf))).expect_err("a panic");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    assert!(buf.starts_with(b"before:"), "{buf:?}");
    let contents = buf.to_vec();
    // The guard works on.
    buf.extend_from_slice(b":after");
    assert!(buf.ends_with(b":after"));
    contents
}

struct PanickingDisplay;

impl fmt::Display for PanickingDisplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&"x".repeat(200))?;
        panic!("on purpose")
    }
}

struct FailingDisplay;

impl fmt::Display for FailingDisplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("half")?;
        Err(fmt::Error)
    }
}

/// Yields `count` bytes, then panics.
fn bytes_then_panic(count: usize) -> impl Iterator<Item = u8> {
    (0..=count).map(move |i| if i < count { i as u8 } else { panic!("on purpose") })
}

#[test]
fn a_panic_in_an_iterator_leaves_what_came_before_it() {
    let pool = pool();
    for count in [0, 1, 57, 58, 5000] {
        let contents = panics_on_a_guard(&pool, |buf| buf.extend(bytes_then_panic(count)));
        assert_eq!(contents.len(), 7 + count);
        let bytes: Vec<u8> = (0..200).collect();
        let contents = panics_on_a_guard(&pool, |buf| {
            buf.extend(bytes.iter().inspect(|&&byte| {
                if byte == 150 {
                    panic!("on purpose")
                }
            }));
        });
        assert_eq!(contents[7..], bytes[..150]);
    }
    assert_usable(&pool);
}

#[test]
fn a_panic_in_size_hint_or_into_iter_changes_nothing() {
    struct Hinting(fn() -> (usize, Option<usize>));
    impl Iterator for Hinting {
        type Item = u8;
        fn next(&mut self) -> Option<u8> {
            None
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (self.0)()
        }
    }
    let pool = pool();
    assert_eq!(panics_on_a_guard(&pool, |buf| buf.extend(Hinting(|| panic!("on purpose")))), b"before:");
    // And hints that lie, by too much and with no meaning.
    let mut buf = pool.get();
    buf.extend(Hinting(|| (usize::MAX, None)));
    buf.extend(Hinting(|| (usize::MAX, Some(0))));
    assert!(buf.is_empty());
    drop(buf);
    assert_usable(&pool);
}

#[test]
fn a_panic_or_an_error_in_display_leaves_what_came_before_it() {
    let pool = pool();
    let contents = panics_on_a_guard(&pool, |buf| write!(buf, "{}-{PanickingDisplay}", 1).expect("no error"));
    assert_eq!(contents.len(), 7 + 2 + 200);
    let contents = panics_on_a_guard(&pool, |buf| {
        io::Write::write_fmt(buf, format_args!("{PanickingDisplay}")).expect("no error");
    });
    assert_eq!(contents.len(), 7 + 200);
    let mut buf = pool.get();
    let error = write!(buf, "{FailingDisplay}").expect_err("the formatting failed");
    assert_eq!(error.kind(), io::ErrorKind::Other);
    assert_eq!(buf, *b"half");
    assert!(fmt::Write::write_fmt(&mut buf, format_args!("{FailingDisplay}")).is_err());
    drop(buf);
    assert_usable(&pool);
}

#[test]
fn a_panic_in_a_writer_or_a_buf_leaves_the_guard_whole() {
    struct PanickingWriter;
    impl io::Write for PanickingWriter {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("on purpose")
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    struct PanickingBuf(usize);
    impl Buf for PanickingBuf {
        fn remaining(&self) -> usize {
            200 - self.0
        }
        fn chunk(&self) -> &[u8] {
            if self.0 >= 150 { panic!("on purpose") } else { &[b'c'; 50] }
        }
        fn advance(&mut self, count: usize) {
            self.0 += count;
        }
    }
    let pool = pool();
    assert_eq!(panics_on_a_guard(&pool, |buf| buf.write_to(&mut PanickingWriter).expect("no error")), b"before:");
    let contents = panics_on_a_guard(&pool, |buf| buf.put(PanickingBuf(0)));
    assert!(contents[7..].iter().all(|&byte| byte == b'c'), "{contents:?}");
    assert_usable(&pool);
}

#[test]
fn guards_come_back_while_the_stack_unwinds() {
    let pool = Arc::new(pool());
    for _ in 0..10 {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let mut small = pool.get();
            let _large = pool.get_owned_with_capacity(100_000);
            let _frozen = pool.get_owned().freeze();
            small.extend(bytes_then_panic(500));
        }));
        assert!(unwound.is_err());
        let stats = pool.stats();
        assert_balanced(&stats, "at rest");
        assert_eq!(stats.outstanding, 0);
    }
    assert_usable(&pool);
}

/// A user's value whose destructor uses the pool while a panic unwinds past it.
#[test]
fn the_pool_is_usable_from_a_destructor_that_runs_while_unwinding() {
    struct UsesPool<'a>(&'a Pool);
    impl Drop for UsesPool<'_> {
        fn drop(&mut self) {
            let mut buf = self.0.get();
            buf.extend_from_slice(&[7; 300]);
            self.0.put(buf.into_vec());
            self.0.trim();
            assert_eq!(self.0.stats().outstanding, 1);
        }
    }
    let pool = pool();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _held = pool.get_with_capacity(900);
        let _uses = UsesPool(&pool);
        panic!("on purpose");
    }));
    assert!(unwound.is_err());
    assert_usable(&pool);
}

/// What a callback may do to the pool that called it.
fn re_enter(pool: &Pool) {
    let mut buf = pool.get();
    write!(buf, "{}", 12_345).expect("never fails");
    buf.reserve(3000);
    let other = pool.get_with_capacity(100_000);
    pool.put(vec![7; 100]);
    drop(buf);
    pool.flush_thread();
    pool.calibrate();
    pool.trim();
    pool.purge();
    pool.prefill(64, 2);
    assert_balanced(&pool.stats(), "at rest");
    drop(other);
}

#[test]
fn every_callback_may_re_enter_the_pool() {
    struct ReEnteringDisplay<'a>(&'a Pool);
    impl fmt::Display for ReEnteringDisplay<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            re_enter(self.0);
            f.write_str(&"d".repeat(100))?;
            re_enter(self.0);
            Ok(())
        }
    }
    struct ReEnteringReader<'a>(&'a Pool, usize);
    impl Read for ReEnteringReader<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            re_enter(self.0);
            let read = into.len().min(self.1).min(100);
            into[..read].fill(b'r');
            self.1 -= read;
            Ok(read)
        }
    }
    struct ReEnteringWriter<'a>(&'a Pool, Vec<u8>);
    impl io::Write for ReEnteringWriter<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            re_enter(self.0);
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let pool = pool();
    let mut buf = pool.get();
    write!(buf, "{}{}", ReEnteringDisplay(&pool), ReEnteringDisplay(&pool)).expect("never fails");
    buf.extend((0..200).map(|_| {
        re_enter(&pool);
        b'i'
    }));
    assert_eq!(buf.read_from(&mut ReEnteringReader(&pool, 1000)).expect("no error"), 1000);
    let mut writer = ReEnteringWriter(&pool, Vec::new());
    buf.write_to(&mut writer).expect("no error");
    assert_eq!(buf, writer.1);
    let expected: Vec<u8> = [vec![b'd'; 200], vec![b'i'; 200], vec![b'r'; 1000]].concat();
    assert!(buf == expected, "{buf:?}");
    drop(buf);
    assert_usable(&pool);
}

/// Fills idle buffers with a secret, so that a reader that is shown stale bytes sees it (or the debug fill).
fn leave_secrets(pool: &Pool) {
    for size in [64, 128, 256, 1024, 4096, 65_536] {
        let mut held = [(); 3].map(|()| pool.get_with_capacity(size));
        for buf in &mut held {
            buf.resize(size, b'S');
        }
    }
}

/// Looks at what it is given to read into.
struct Spy<'a> {
    left: &'a [u8],
    chunk: usize,
    reads: &'a Cell<usize>,
    seen: &'a Cell<usize>,
    failing_at: Option<(usize, io::ErrorKind)>,
    panicking_at: Option<usize>,
}

impl Read for Spy<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        assert!(into.iter().all(|&byte| byte == 0), "the reader sees another user's bytes");
        self.seen.set(self.seen.get() + into.len());
        self.reads.set(self.reads.get() + 1);
        if self.panicking_at == Some(self.reads.get()) {
            panic!("on purpose");
        }
        if let Some((at, kind)) = self.failing_at.take_if(|(at, _)| *at == self.reads.get()) {
            let _ = at;
            return Err(kind.into());
        }
        let read = into.len().min(self.chunk).min(self.left.len());
        into[..read].copy_from_slice(&self.left[..read]);
        self.left = &self.left[read..];
        Ok(read)
    }
}

fn spy<'a>(left: &'a [u8], chunk: usize, reads: &'a Cell<usize>, seen: &'a Cell<usize>) -> Spy<'a> {
    reads.set(0);
    seen.set(0);
    Spy { left, chunk, reads, seen, failing_at: None, panicking_at: None }
}

#[test]
fn a_reader_never_sees_another_user_s_bytes() {
    let pool = pool();
    let (reads, seen) = (Cell::new(0), Cell::new(0));
    // One read at a time fills what it is given with zeros again only if nothing was read into it: whole chunks.
    for len in [0, 1, 31, 32, 33, 63, 64, 65, 1000, 5000, 70_000] {
        for start in [0, 1, 50, 64, 100, 1024] {
            leave_secrets(&pool);
            let mut buf = pool.get();
            buf.resize(start, b'o');
            let input = vec![b'n'; len];
            let mut reader = spy(&input, usize::MAX, &reads, &seen);
            assert_eq!(buf.read_from(&mut reader).expect("no error"), len);
            assert!(reads.get() > 0 && seen.get() > 0, "the spy saw nothing");
            assert!(buf[..start].iter().all(|&byte| byte == b'o') && buf[start..] == input);
        }
    }
    assert_usable(&pool);
}

#[test]
fn a_reader_in_small_pieces_sees_only_zeros_or_what_it_wrote() {
    struct Piecewise<'a>(&'a [u8], usize);
    impl Read for Piecewise<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            assert!(into.iter().all(|&byte| byte == 0 || byte == b'w'), "another user's bytes: {into:?}");
            // More than it admits.
            into.fill(b'w');
            let read = into.len().min(self.1).min(self.0.len());
            self.0 = &self.0[read..];
            Ok(read)
        }
    }
    let pool = pool();
    for piece in [1, 7, 33, 100, 1500] {
        leave_secrets(&pool);
        let mut buf = pool.get();
        assert_eq!(buf.read_from(&mut Piecewise(&[b'w'; 3000], piece)).expect("no error"), 3000);
        assert_eq!(buf, [b'w'; 3000]);
    }
    assert_usable(&pool);
}

#[test]
fn interrupted_is_retried_wherever_it_comes() {
    let pool = pool();
    let input: Vec<u8> = (0..1000_u32).map(|i| i as u8).collect();
    let (reads, seen) = (Cell::new(0), Cell::new(0));
    for chunk in [10, 64, 1000] {
        for at in 1..12 {
            let mut buf = pool.get();
            let mut reader = spy(&input, usize::MAX, &reads, &seen);
            reader.chunk = usize::MAX;
            reader.failing_at = Some((at, io::ErrorKind::Interrupted));
            assert_eq!(buf.read_from(&mut reader.take(chunk)).expect("retried"), chunk as usize);
            assert_eq!(buf, input[..chunk as usize]);
        }
    }
    assert_usable(&pool);
}

#[test]
fn an_error_or_a_panic_midway_keeps_what_was_read() {
    let pool = pool();
    let input = vec![b'n'; 1000];
    let (reads, seen) = (Cell::new(0), Cell::new(0));
    let mut errors = 0;
    for at in 1..8 {
        leave_secrets(&pool);
        let mut buf = pool.get();
        buf.push_str("kept");
        let mut reader = spy(&input, usize::MAX, &reads, &seen);
        reader.failing_at = Some((at, io::ErrorKind::ConnectionReset));
        match buf.read_from(&mut reader) {
            Err(error) => {
                errors += 1;
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                assert_eq!(reads.get(), at);
            }
            Ok(read) => assert_eq!(read, 1000),
        }
        let read = input.len() - reader.left.len();
        assert!(buf[..4] == *b"kept" && buf[4..] == input[..read]);
    }
    assert!(errors >= 3, "the reader was asked more than three times");

    for at in 1..4 {
        leave_secrets(&pool);
        let mut reader = spy(&input, usize::MAX, &reads, &seen);
        reader.panicking_at = Some(at);
        let contents = panics_on_a_guard(&pool, |buf| drop(buf.read_from(&mut reader)));
        let read = input.len() - reader.left.len();
        // What a panic leaves of the piece under way is unspecified; whole pieces stay, and nothing foreign comes in.
        assert!(contents.len() <= 7 + read && contents[7..].iter().all(|&byte| byte == b'n'), "{contents:?}");
    }
    assert_usable(&pool);
}

#[test]
fn a_reader_that_claims_more_than_there_was_room_for_panics_and_breaks_nothing() {
    struct Liar(usize);
    impl Read for Liar {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            Ok(into.len() + self.0)
        }
    }
    let pool = pool();
    for start in [0, 10, 50, 64] {
        leave_secrets(&pool);
        let mut buf = pool.get_with_capacity(64);
        buf.resize(start, b'o');
        let claimed = catch_unwind(AssertUnwindSafe(|| buf.read_from(&mut Liar(1))));
        assert!(claimed.is_err(), "{claimed:?}");
        assert!(buf.len() <= buf.capacity() && buf[..start].iter().all(|&byte| byte == b'o'));
        assert!(buf[start..].iter().all(|&byte| byte == 0), "nothing foreign: {buf:?}");
    }
    assert_usable(&pool);
}

#[test]
fn an_input_that_fits_exactly_does_not_grow_the_buffer_to_find_its_end() {
    let pool = pool();
    for size in [64, 128, 4096, 65_536] {
        for start in [0, 1, 40, 64] {
            let mut buf = pool.get_with_capacity(size);
            assert_eq!(buf.capacity(), size);
            buf.resize(start, b'o');
            let input = vec![b'n'; size - start];
            assert_eq!(buf.read_from(&mut &input[..]).expect("no error"), size - start);
            assert_eq!((buf.len(), buf.capacity()), (size, size));
        }
    }
    assert_eq!(pool.stats().growths, 0);
    assert_usable(&pool);
}

#[test]
fn a_reader_without_a_size_works() {
    let pool = pool();
    let mut buf = pool.get();
    let reader: &mut dyn Read = &mut &b"as a trait object"[..];
    assert_eq!(buf.read_from(reader).expect("no error"), 17);
    let writer: &mut dyn io::Write = &mut Vec::new();
    buf.write_to(writer).expect("no error");
}

#[test]
fn what_a_user_leaves_in_the_buffer_is_not_there_at_the_next_get() {
    let pool = pool();
    leave_secrets(&pool);
    pool.put(vec![b'S'; 300]);
    let mut buf = pool.get();
    *buf.as_vec_mut() = vec![b'S'; 1000];
    drop(buf);
    for size in [0, 100, 1000, 4000, 60_000] {
        let mut buf = pool.get_with_capacity(size);
        assert!(buf.is_empty() && buf.as_slice().is_empty());
        buf.resize(size, 0);
        assert!(buf.iter().all(|&byte| byte == 0));
        buf.clear();
        buf.put_bytes(0, size + 1);
        assert!(buf.iter().all(|&byte| byte == 0));
    }
    assert_usable(&pool);
}
