//! Random operations on frozen buffers, each done on a plain `BytesMut`'s as well: contents must agree at every step, and
//! the buffer must be on loan exactly as long as a piece of it is.

use bytebufferpool::Pool;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Clone, Debug)]
enum Fill {
    Slice(Vec<u8>),
    Bytes(u8, usize),
    Number(u64),
    Byte(u8),
    Chunk(Vec<u8>),
    Clear,
    Truncate(Index),
    Reserve(usize),
}

#[derive(Clone, Debug)]
enum Cut {
    Clone(Index),
    Slice(Index, Index, Index),
    SliceRef(Index, Index, Index),
    SplitTo(Index, Index),
    SplitOff(Index, Index),
    Truncate(Index, Index),
    Advance(Index, Index),
    CopyToBytes(Index, Index),
    Clear(Index),
    /// Taking it back for writing copies if anything else is shared; here it always is, by the owner.
    IntoMut(Index),
    Drop(Index),
    DropElsewhere(Index),
}

fn fill() -> impl Strategy<Value = Fill> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..300).prop_map(Fill::Slice),
        1 => (any::<u8>(), 0..5_000_usize).prop_map(|(byte, count)| Fill::Bytes(byte, count)),
        2 => any::<u64>().prop_map(Fill::Number),
        2 => any::<u8>().prop_map(Fill::Byte),
        2 => vec(any::<u8>(), 0..300).prop_map(Fill::Chunk),
        1 => Just(Fill::Clear),
        1 => any::<Index>().prop_map(Fill::Truncate),
        1 => (0..3_000_usize).prop_map(Fill::Reserve),
    ]
}

fn cut() -> impl Strategy<Value = Cut> {
    let at = any::<Index>;
    prop_oneof![
        at().prop_map(Cut::Clone),
        (at(), at(), at()).prop_map(|(piece, a, b)| Cut::Slice(piece, a, b)),
        (at(), at(), at()).prop_map(|(piece, a, b)| Cut::SliceRef(piece, a, b)),
        (at(), at()).prop_map(|(piece, a)| Cut::SplitTo(piece, a)),
        (at(), at()).prop_map(|(piece, a)| Cut::SplitOff(piece, a)),
        (at(), at()).prop_map(|(piece, a)| Cut::Truncate(piece, a)),
        (at(), at()).prop_map(|(piece, a)| Cut::Advance(piece, a)),
        (at(), at()).prop_map(|(piece, a)| Cut::CopyToBytes(piece, a)),
        at().prop_map(Cut::Clear),
        at().prop_map(Cut::IntoMut),
        at().prop_map(Cut::Drop),
        at().prop_map(Cut::DropElsewhere),
    ]
}

fn apply_fill<B: BufMut + AsRef<[u8]>>(buf: &mut B, fill: &Fill) {
    match fill {
        Fill::Slice(bytes) => buf.put_slice(bytes),
        Fill::Bytes(byte, count) => buf.put_bytes(*byte, *count),
        Fill::Number(number) => buf.put_u64(*number),
        Fill::Byte(byte) => buf.put_u8(*byte),
        // Not overridden, so by `chunk_mut` and `advance_mut`, as tokio's `read_buf` does it.
        Fill::Chunk(bytes) => buf.put(bytes.as_slice()),
        Fill::Clear | Fill::Truncate(_) | Fill::Reserve(_) => unreachable!("not a method of BufMut"),
    }
}

/// Of `len`, both ends included.
fn place(index: &Index, len: usize) -> usize {
    index.index(len + 1)
}

fn range(a: &Index, b: &Index, len: usize) -> std::ops::Range<usize> {
    let (a, b) = (place(a, len), place(b, len));
    a.min(b)..a.max(b)
}

/// The same operation on either; pieces that it makes are appended.
fn apply_cut(pieces: &mut Vec<Bytes>, cut: &Cut) {
    let of = |index: &Index| index.index(pieces.len());
    match cut {
        Cut::Clone(piece) => pieces.push(pieces[of(piece)].clone()),
        Cut::Slice(piece, a, b) => {
            let piece = &pieces[of(piece)];
            let slice = piece.slice(range(a, b, piece.len()));
            pieces.push(slice);
        }
        Cut::SliceRef(piece, a, b) => {
            let piece = &pieces[of(piece)];
            let slice = piece.slice_ref(&piece[range(a, b, piece.len())]);
            pieces.push(slice);
        }
        Cut::SplitTo(piece, at) => {
            let piece = of(piece);
            let at = place(at, pieces[piece].len());
            let front = pieces[piece].split_to(at);
            pieces.push(front);
        }
        Cut::SplitOff(piece, at) => {
            let piece = of(piece);
            let at = place(at, pieces[piece].len());
            let back = pieces[piece].split_off(at);
            pieces.push(back);
        }
        Cut::Truncate(piece, at) => {
            let piece = of(piece);
            let at = place(at, pieces[piece].len());
            pieces[piece].truncate(at);
        }
        Cut::Advance(piece, at) => {
            let piece = of(piece);
            let at = place(at, pieces[piece].len());
            pieces[piece].advance(at);
        }
        Cut::CopyToBytes(piece, at) => {
            let piece = of(piece);
            let at = place(at, pieces[piece].len());
            let front = pieces[piece].copy_to_bytes(at);
            pieces.push(front);
        }
        Cut::Clear(piece) => {
            let piece = of(piece);
            pieces[piece].clear();
        }
        Cut::IntoMut(piece) => {
            let piece = of(piece);
            let mut own = BytesMut::from(pieces.swap_remove(piece));
            own.put_slice(b"+");
            pieces.push(own.freeze());
        }
        Cut::Drop(piece) => drop(pieces.swap_remove(of(piece))),
        Cut::DropElsewhere(piece) => {
            let piece = pieces.swap_remove(of(piece));
            std::thread::spawn(move || drop(piece)).join().unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_frozen_guard_behaves_as_a_frozen_bytes_mut(
        fills in vec(fill(), 0..20),
        cuts in vec(cut(), 0..40),
        in_vec in any::<bool>(),
    ) {
        let pool: &'static Pool = Box::leak(Box::default());
        let (mut buf, mut plain) = (pool.get(), BytesMut::new());
        for fill in &fills {
            match fill {
                Fill::Clear => { buf.clear(); plain.clear(); }
                Fill::Truncate(at) => {
                    let at = place(at, plain.len());
                    buf.truncate(at);
                    plain.truncate(at);
                }
                Fill::Reserve(count) => { buf.reserve(*count); plain.reserve(*count); }
                fill => { apply_fill(&mut buf, fill); apply_fill(&mut plain, fill); }
            }
            prop_assert_eq!(&buf[..], &plain[..]);
        }
        if in_vec {
            // A `Vec` that grew by itself, and has any capacity.
            buf.as_vec_mut().reserve_exact(77);
        }
        let mut pooled = vec![Bytes::from(buf)];
        let mut plain = vec![plain.freeze()];
        for cut in &cuts {
            if plain.is_empty() { break; }
            apply_cut(&mut pooled, cut);
            apply_cut(&mut plain, cut);
            prop_assert_eq!(&pooled, &plain);
        }
        // A piece of no length may or may not hold on to its buffer: that is up to `bytes`.
        let stats = pool.stats();
        if pooled.is_empty() {
            prop_assert_eq!((stats.outstanding, stats.puts), (0, 1));
        } else if !cuts.iter().any(|cut| matches!(cut, Cut::IntoMut(_) | Cut::Drop(_) | Cut::DropElsewhere(_)))
            && pooled.iter().any(|piece| !piece.is_empty())
        {
            prop_assert_eq!((stats.outstanding, stats.puts), (1, 0), "nothing of it may be lent to others yet");
        }
        drop(pooled);
        prop_assert_eq!((pool.stats().outstanding, pool.stats().puts), (0, 1));
    }
}

/// While a piece lives, nobody gets the memory; when the last is gone, the next does.
#[test]
fn the_last_piece_returns_the_buffer() {
    static POOL: Pool = Pool::new();
    let mut buf = POOL.get();
    buf.put_slice(b"head,body,tail");
    let address = buf.as_ptr();
    let mut frozen = buf.freeze();
    let head = frozen.split_to(4);
    let tail = frozen.slice(frozen.len() - 4..);
    drop(frozen);
    drop(head);
    assert_ne!(POOL.get().as_ptr(), address);
    assert_eq!(tail, "tail");
    drop(tail);
    let again: Vec<_> = (0..2).map(|_| POOL.get()).collect();
    assert!(again.iter().any(|buf| buf.as_ptr() == address));
}

/// Nothing but the pool may write to it again: `bytes` must not hand a frozen guard out as its own.
#[test]
fn a_frozen_guard_is_never_given_out_for_writing() {
    static POOL: Pool = Pool::new();
    let mut buf = POOL.get();
    buf.put_slice(b"shared");
    let frozen = buf.freeze();
    assert!(!frozen.is_unique());
    let frozen = frozen.try_into_mut().unwrap_err();
    assert_eq!(frozen, "shared");
    drop(frozen);
    assert_eq!(POOL.stats().outstanding, 0);
}
