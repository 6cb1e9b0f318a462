//! A chunked message beside a `Vec`: any sequence of writes, then every way out of it.

use std::fmt::Write as _;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use proptest::collection::vec;
use proptest::prelude::*;

use super::driver::{assert_identities, class_by_search};
use crate::{ChunkedBuf, MIN_CLASS_SIZE, Pool};

#[derive(Clone, Debug)]
enum Step {
    Slice(usize),
    Push,
    WriteAll(usize),
    Vectored(usize, usize),
    Format(u64),
    PutSlice(usize),
    PutBytes(usize),
    PutU64(u64),
    PutBuf(usize),
    ChunkAndAdvance(usize),
    Extend(usize),
    Clear,
}

fn steps() -> impl Strategy<Value = Step> {
    let len = || prop_oneof![6 => 0..200_usize, 2 => 0..5_000_usize, 1 => 0..30_000_usize];
    prop_oneof![
        4 => len().prop_map(Step::Slice),
        2 => Just(Step::Push),
        2 => len().prop_map(Step::WriteAll),
        2 => (len(), len()).prop_map(|(a, b)| Step::Vectored(a, b)),
        2 => any::<u64>().prop_map(Step::Format),
        2 => len().prop_map(Step::PutSlice),
        2 => len().prop_map(Step::PutBytes),
        2 => any::<u64>().prop_map(Step::PutU64),
        1 => len().prop_map(Step::PutBuf),
        3 => len().prop_map(Step::ChunkAndAdvance),
        1 => (0..300_usize).prop_map(Step::Extend),
        1 => Just(Step::Clear),
    ]
}

fn content(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 + salt) as u8).collect()
}

fn apply<P: crate::PoolRef>(message: &mut ChunkedBuf<P>, model: &mut Vec<u8>, step: &Step, salt: usize) {
    match *step {
        Step::Slice(len) => {
            message.extend_from_slice(&content(len, salt));
            model.extend_from_slice(&content(len, salt));
        }
        Step::Push => {
            message.push(salt as u8);
            model.push(salt as u8);
        }
        Step::WriteAll(len) => {
            message.write_all(&content(len, salt)).expect("never fails");
            model.write_all(&content(len, salt)).expect("never fails");
        }
        Step::Vectored(one, other) => {
            let (one, other) = (content(one, salt), content(other, salt + 1));
            let slices = [IoSlice::new(&one), IoSlice::new(&other)];
            assert_eq!(message.write_vectored(&slices).expect("never fails"), one.len() + other.len());
            model.extend([one, other].concat());
        }
        Step::Format(number) => {
            message.write_fmt_twice(number);
            let _ = write!(model, "{number}-{number:x}");
        }
        Step::PutSlice(len) => {
            message.put_slice(&content(len, salt));
            model.extend_from_slice(&content(len, salt));
        }
        Step::PutBytes(len) => {
            message.put_bytes(salt as u8, len);
            model.resize(model.len() + len, salt as u8);
        }
        Step::PutU64(number) => {
            message.put_u64(number);
            model.extend_from_slice(&number.to_be_bytes());
        }
        Step::PutBuf(len) => {
            message.put(&content(len, salt)[..]);
            model.extend_from_slice(&content(len, salt));
        }
        Step::ChunkAndAdvance(len) => {
            let bytes = content(len, salt);
            let mut left = &bytes[..];
            while !left.is_empty() {
                let room = message.chunk_mut();
                let count = room.len().min(left.len());
                room[..count].copy_from_slice(&left[..count]);
                advance(message, count);
                left = &left[count..];
            }
            model.extend(bytes);
        }
        Step::Extend(len) => {
            message.extend(&content(len, salt));
            model.extend(content(len, salt));
        }
        Step::Clear => {
            message.clear();
            model.clear();
        }
    }
}

trait Format {
    fn write_fmt_twice(&mut self, number: u64);
}

impl<P: crate::PoolRef> Format for ChunkedBuf<P> {
    fn write_fmt_twice(&mut self, number: u64) {
        io::Write::write_fmt(self, format_args!("{number}-")).expect("never fails");
        self.write_str(&format!("{number:x}")).expect("never fails");
    }
}

#[allow(unsafe_code)]
fn advance<P: crate::PoolRef>(message: &mut ChunkedBuf<P>, count: usize) {
    // SAFETY: the caller has written so many bytes of the chunk.
    unsafe { message.advance_mut(count) };
}

/// A writer with every bad habit that is allowed.
struct Grudging {
    out: Vec<u8>,
    most: usize,
    calls: usize,
    first_slice_only: bool,
}

impl Write for Grudging {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls % 3 == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = bytes.len().min(self.most);
        self.out.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.first_slice_only {
            return self.write(&slices[0]);
        }
        let mut some = Vec::new();
        for slice in slices {
            let count = slice.len().min(self.most - some.len());
            some.extend_from_slice(&slice[..count]);
        }
        self.write(&some)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_message_holds_and_gives_what_was_written_and_is_one_use(
        steps in vec(steps(), 1..40),
        max_size in prop_oneof![Just(32 << 20), Just(1024_usize)],
        most in prop_oneof![Just(1_usize), 2..5000_usize],
        end in 0..4_u8,
    ) {
        let pool = Arc::new(Pool::builder().max_size(max_size).calibrate_early(false).build());
        let (mut message, mut model, mut peak) = (pool.get_owned_chunked(), Vec::new(), 0);
        let mut again = pool.get_chunked();
        for (salt, step) in steps.iter().enumerate() {
            apply(&mut message, &mut model, step, salt);
            peak = peak.max(model.len());
            prop_assert_eq!((message.len(), message.is_empty()), (model.len(), model.is_empty()));
        }
        prop_assert_eq!(message.chunks().collect::<Vec<_>>().concat(), model.clone());
        prop_assert!(message.chunks().all(|chunk| !chunk.is_empty()));
        prop_assert_eq!(message.chunks().len(), message.chunks().count());
        prop_assert_eq!(format!("{message:?}"), format!("{:?}", Bytes::from(model.clone())));
        again.extend_from_slice(&model);
        prop_assert!(message == again);
        again.push(1);
        prop_assert!(message != again);
        drop(again);
        for first_slice_only in [false, true] {
            // A byte at a time only where that ends soon.
            let most = most.max(model.len() / 1000);
            let mut writer = Grudging { out: Vec::new(), most, calls: 0, first_slice_only };
            message.write_to(&mut writer).expect("it goes on");
            prop_assert_eq!(&writer.out, &model);
        }
        let mut copy = pool.get();
        message.copy_to(&mut copy);
        prop_assert_eq!(&copy[..], &model[..]);
        copy.discard();
        let before = pool.stats();
        match end {
            0 => drop(message),
            1 => {
                let mut out = Vec::new();
                message.into_reader().reader().read_to_end(&mut out).expect("never fails");
                prop_assert_eq!(out, model);
            }
            2 => {
                let mut reader = message.into_reader();
                let mut out = Vec::new();
                while reader.has_remaining() {
                    let mut slices = [IoSlice::new(&[]); 3];
                    let count = reader.chunks_vectored(&mut slices);
                    let mut left = most.max(1000);
                    for slice in &slices[..count] {
                        let taken = slice.len().min(left);
                        out.extend_from_slice(&slice[..taken]);
                        left -= taken;
                    }
                    reader.advance(most.max(1000) - left);
                }
                prop_assert_eq!(out, model);
            }
            _ => {
                let pieces: Vec<Bytes> = message.freeze().collect();
                prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
                prop_assert_eq!(pieces.concat(), model);
            }
        }
        let after = pool.stats();
        assert_identities(&after, 64 << 20);
        prop_assert_eq!(after.outstanding, 0);
        for (class, (before, after)) in before.classes.iter().zip(&after.classes).enumerate() {
            let is_its = peak > 0 && class == class_by_search(peak);
            prop_assert_eq!(after.calls - before.calls, u64::from(is_its), "one use, of {} bytes", peak);
        }
    }
}

#[test]
fn the_first_chunk_has_the_default_size_and_each_next_one_twice_the_last_up_to_a_mebibyte() {
    let pool = Pool::builder().default_size(1024).build();
    let mut message = pool.get_chunked();
    assert_eq!((message.chunks().len(), pool.stats().gets), (0, 0));
    message.extend_from_slice(&vec![7; 5 << 20]);
    let sizes: Vec<usize> = message.chunks().map(<[u8]>::len).collect();
    assert!(sizes.windows(2).take(10).all(|pair| pair[1] == 2 * pair[0]), "{sizes:?}");
    assert!(sizes[0] == 1024 && sizes.iter().all(|&size| size <= 1 << 20), "{sizes:?}");
    let low = Pool::builder().max_size(256).build();
    let mut message = low.get_chunked();
    message.extend_from_slice(&[7; 2000]);
    let sizes: Vec<usize> = message.chunks().map(<[u8]>::len).collect();
    assert_eq!(sizes[..4], [MIN_CLASS_SIZE, 128, 256, 256]);
}

/// Whatever the pieces are: a chunk is filled to its end, and none is ever moved to make it larger.
#[test]
fn pieces_that_fit_no_chunk_exactly_fill_the_same_chunks() {
    let pool = Pool::builder().default_size(64).build();
    for piece in [&[7; 10][..], &[7; 63], &[7; 300]] {
        let mut message = pool.get_chunked();
        while message.len() < 64 + 128 + 256 + 1 {
            message.extend_from_slice(piece);
        }
        let lengths: Vec<usize> = message.chunks().map(<[u8]>::len).collect();
        assert_eq!(lengths[..3], [64, 128, 256], "pieces of {}", piece.len());
    }
}

/// The same by `BufMut::put_bytes`, which is a loop of its own.
#[test]
fn bytes_put_over_the_end_of_a_chunk_go_on_in_the_next_one() {
    let pool = Pool::builder().default_size(64).build();
    let mut message = pool.get_chunked();
    message.put_slice(&[1; 60]);
    message.put_bytes(2, 10);
    let chunks: Vec<&[u8]> = message.chunks().collect();
    assert_eq!(chunks, [&[&[1; 60][..], &[2; 4]].concat()[..], &[2; 6]]);
    assert_eq!(message.remaining_mut(), isize::MAX as usize - 70);
}

/// `chunk_mut` begins a chunk if the last one is full, whether or not it is then written to.
#[test]
fn a_chunk_that_was_begun_and_holds_nothing_is_no_piece() {
    let pool = Arc::new(Pool::builder().default_size(64).build());
    let begun = || {
        let mut message = pool.get_owned_chunked();
        assert_eq!(io::Write::write(&mut message, &[7; 64]).expect("it never fails"), 64);
        assert_eq!(message.chunk_mut().len(), 128);
        message
    };
    assert_eq!(begun().chunks().collect::<Vec<_>>(), [[7; 64]]);
    let mut reader = begun().into_reader();
    reader.advance(64);
    assert_eq!((reader.remaining(), reader.chunk()), (0, &[][..]));
    assert_eq!(begun().freeze().collect::<Vec<_>>(), [&[7; 64][..]]);
}

#[test]
fn debug_says_what_is_left() {
    let pool = Arc::new(Pool::builder().default_size(64).build());
    let filled = || {
        let mut message = pool.get_owned_chunked();
        message.extend_from_slice(&[7; 100]);
        message
    };
    assert_eq!(format!("{:?}", filled().chunks()), format!("{:?}", [&[7; 64][..], &[7; 36]]));
    let mut reader = filled().into_reader();
    reader.advance(70);
    assert_eq!(format!("{reader:?}"), "ChunkedReader { remaining: 30, .. }");
    let mut pieces = filled().freeze();
    assert_eq!(format!("{pieces:?}"), "FrozenChunks { left: 100, .. }");
    assert_eq!(pieces.next().map(|piece| piece.len()), Some(64));
    assert_eq!(format!("{pieces:?}"), "FrozenChunks { left: 36, .. }");
}

#[test]
fn a_message_does_not_teach_the_default_size() {
    let pool = Pool::new();
    for _ in 0..100 {
        pool.get_chunked().extend_from_slice(&[7; 10_000]);
    }
    pool.calibrate();
    assert_eq!((pool.default_size(), pool.max_size()), (64, 16 << 10));
}

#[test]
fn a_clear_keeps_the_first_chunk_and_the_peak() {
    let pool = Pool::builder().calibrate_early(false).build();
    let mut message = pool.get_chunked();
    message.extend_from_slice(&[7; 10_000]);
    message.clear();
    assert_eq!((message.len(), message.chunks().len(), pool.stats().outstanding), (0, 0, 1));
    message.push(1);
    drop(message);
    assert_eq!(pool.stats().classes[class_by_search(10_000)].calls, 1);
}

#[test]
fn a_writer_that_takes_nothing_or_fails_ends_the_writing() {
    struct Fails(io::ErrorKind);
    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            if self.0 == io::ErrorKind::WriteZero { Ok(0) } else { Err(self.0.into()) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let pool = Pool::new();
    let mut message = pool.get_chunked();
    message.write_to(&mut Fails(io::ErrorKind::WriteZero)).expect("there is nothing to write");
    message.extend_from_slice(&[7; 1000]);
    for kind in [io::ErrorKind::WriteZero, io::ErrorKind::BrokenPipe, io::ErrorKind::WouldBlock] {
        assert_eq!(message.write_to(&mut Fails(kind)).expect_err("it fails").kind(), kind);
    }
}

/// Some pieces are dropped late, on another thread, others never taken.
#[test]
fn frozen_pieces_return_one_by_one_and_the_rest_with_the_iterator() {
    let pool = Arc::new(Pool::builder().calibrate_early(false).build());
    let mut message = pool.get_owned_chunked();
    message.extend_from_slice(&[7; 10_000]);
    let chunks = message.chunks().len() as u64;
    let mut pieces = message.freeze();
    let (first, second) = (pieces.next().expect("a piece"), pieces.next().expect("a piece"));
    drop(pieces);
    assert_eq!(pool.stats().outstanding, 2);
    std::thread::spawn(move || drop((first.clone(), first, second))).join().expect("no panic");
    let stats = pool.stats();
    assert_eq!((stats.outstanding, stats.gets, stats.puts), (0, chunks, chunks));
    assert_eq!(stats.classes.iter().map(|class| class.calls).sum::<u64>(), 1);
}
