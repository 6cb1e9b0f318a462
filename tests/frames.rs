//! Many frames in few buffers: what a stream of 500 small messages allocates, by the way in which frames are made of it.
//!
//! The messages have a length prefix, and are checked and dropped by a consumer that is some frames behind. Every count is
//! of one thread's own operations.
// What leak-trace notes of the guards that it samples lies on the heap.
#![cfg(not(feature = "leak-trace"))]

#[path = "support/counting.rs"]
mod counting;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytebufferpool::Pool;
use bytes::{BufMut, Bytes, BytesMut};
use counting::during;

#[global_allocator]
static HEAP: counting::Counting = counting::Counting;

const FRAMES: usize = 500;
const HEADER_BYTES: usize = 5;
/// On both sides. tonic's encoder (tonic/src/codec/encode.rs) begins with 8 KiB and sends at 32 KiB.
const BUFFER_BYTES: usize = 16 << 10;
const FRAME_BYTES_MAX: usize = HEADER_BYTES + 100;

fn len_of(number: usize) -> usize {
    20 + number * 37 % 81
}

fn write_frame(buf: &mut impl BufMut, number: usize) {
    buf.put_u8(0);
    buf.put_u32(len_of(number) as u32);
    buf.put_bytes(number as u8, len_of(number));
}

/// Holds the last frames, and checks each before it ends.
struct Consumer {
    frames: VecDeque<Bytes>,
    lag: usize,
    checked: usize,
}

impl Consumer {
    fn new(lag: usize) -> Consumer {
        Consumer { frames: VecDeque::with_capacity(FRAMES + 1), lag, checked: 0 }
    }

    fn send(&mut self, frame: Bytes) {
        self.frames.push_back(frame);
        while self.frames.len() > self.lag {
            self.check_first();
        }
    }

    fn check_first(&mut self) {
        let frame = self.frames.pop_front().expect("not empty");
        let mut expected = [0; FRAME_BYTES_MAX];
        let mut rest = &mut expected[..];
        write_frame(&mut rest, self.checked);
        let unwritten = rest.len();
        assert_eq!(*frame, expected[..FRAME_BYTES_MAX - unwritten]);
        self.checked += 1;
    }

    fn finish(mut self) {
        while !self.frames.is_empty() {
            self.check_first();
        }
        assert_eq!(self.checked, FRAMES);
    }
}

/// Allocations of one stream. The consumer's own queue is made before.
fn allocations(lag: usize, stream: impl FnOnce(&mut Consumer)) -> u64 {
    let mut consumer = Consumer::new(lag);
    let operations = during(|| {
        stream(&mut consumer);
        consumer.finish();
    });
    operations.allocations + operations.reallocations
}

/// tonic's way: one buffer that goes on being written while its front is sent.
fn split_each(consumer: &mut Consumer) {
    let mut buf = BytesMut::with_capacity(BUFFER_BYTES);
    for number in 0..FRAMES {
        write_frame(&mut buf, number);
        consumer.send(buf.split().freeze());
    }
}

fn freeze_each(pool: &Arc<Pool>, consumer: &mut Consumer) {
    for number in 0..FRAMES {
        let mut buf = pool.get_owned_with_capacity(FRAME_BYTES_MAX);
        write_frame(&mut buf, number);
        consumer.send(buf.freeze());
    }
}

/// Many frames in a buffer, frozen once. Its slices share one reference count.
fn freeze_many(pool: &Arc<Pool>, consumer: &mut Consumer) {
    let mut number = 0;
    while number < FRAMES {
        let first = number;
        let mut buf = pool.get_owned_with_capacity(BUFFER_BYTES);
        while number < FRAMES && buf.len() + FRAME_BYTES_MAX <= BUFFER_BYTES {
            write_frame(&mut buf, number);
            number += 1;
        }
        let mut frozen = buf.freeze();
        for number in first..number {
            consumer.send(frozen.split_to(HEADER_BYTES + len_of(number)));
        }
    }
}

fn pool() -> Arc<Pool> {
    // No interval ends by itself: what trim frees must be allocated again.
    Arc::new(Pool::builder().trim_interval(Duration::from_secs(1 << 30)).build())
}

#[test]
fn five_hundred_frames_take_at_most_12_allocations() {
    println!("frames behind: split each, freeze many (first stream, second), freeze each (first, second)");
    for lag in [0, 16, FRAMES] {
        let split = allocations(lag, split_each);
        let new_pool = pool();
        let many = [(); 2].map(|()| allocations(lag, |consumer| freeze_many(&new_pool, consumer)));
        let new_pool = pool();
        let each = [(); 2].map(|()| allocations(lag, |consumer| freeze_each(&new_pool, consumer)));
        println!("{lag:>3}: {split}, {many:?}, {each:?}");
        assert!(many[0] <= 12, "a new pool: {many:?}");
        // 32 472 bytes of frames.
        assert_eq!(many[1], 2, "a reference count for each buffer of 16 KiB");
        assert_eq!(each[1], FRAMES as u64, "a reference count for each frame");
        assert!((1..=12).contains(&split), "BytesMut: {split}");
    }
}

/// The price: a frame that is kept keeps its neighbours' buffer in use.
#[test]
fn one_frame_keeps_the_whole_buffer_in_use() {
    let pool = pool();
    let mut consumer = Consumer::new(0);
    let mut kept = None;
    let mut buf = pool.get_owned_with_capacity(BUFFER_BYTES);
    (0..FRAMES).take(50).for_each(|number| write_frame(&mut buf, number));
    let mut frozen = buf.freeze();
    for number in 0..50 {
        let frame = frozen.split_to(HEADER_BYTES + len_of(number));
        if number == 25 {
            kept = Some(frame.clone());
        }
        consumer.send(frame);
    }
    drop(frozen);
    assert_eq!(pool.stats().outstanding, 1);
    let copy = kept.as_deref().map(Bytes::copy_from_slice);
    assert_eq!(copy, kept);
    drop(kept);
    assert_eq!(pool.stats().outstanding, 0);
}

/// The rows of docs/cookbook/bytesmut.md where the method has the same name here.
#[test]
fn methods_of_the_same_name_do_the_same() {
    macro_rules! on_both {
        (|$buf:ident| $work:block) => {{
            let mut $buf = BytesMut::with_capacity(64);
            $work;
            let theirs = $buf.freeze();
            let mut $buf = pool().get_owned_with_capacity(64);
            $work;
            assert_eq!($buf.freeze(), theirs);
        }};
    }
    on_both!(|buf| {
        buf.put_u8(1);
        buf.put_u32_le(2);
        buf.put_slice(b"slice");
        buf.put_bytes(7, 100);
        buf.put(&b"any Buf"[..]);
    });
    on_both!(|buf| {
        buf.extend_from_slice(b"abcdefbc");
        buf.extend([1_u8, 2, 3]);
        buf.truncate(8);
        buf.resize(200, b'x');
        buf.reserve(1000);
        assert!(buf.capacity() >= 1200 && buf.len() == 200 && !buf.is_empty());
        buf[0] = b'A';
        assert!(buf.starts_with(b"Abc") && buf.iter().filter(|&&byte| byte == b'b').count() == 2);
    });
    on_both!(|buf| {
        buf.put_slice(b"gone");
        buf.clear();
        buf.put_slice(b"kept");
    });
    on_both!(|buf| {
        use std::fmt::Write;
        write!(buf, "{:>4}-{:02}", 12, 7).expect("there is room");
    });
}

/// The rows where it is another way.
#[test]
fn what_has_no_method_here_is_done_after_freeze_or_with_a_copy() {
    let pool = pool();
    let mut buf = pool.get_owned();
    buf.put_slice(b"headbodytail");
    // `advance`, before the end of writing: moves the rest.
    buf.copy_within(4.., 0);
    buf.truncate(8);
    assert_eq!(buf, "bodytail");
    // `split_to` and `split_off`.
    let mut frozen = buf.freeze();
    let body = frozen.split_to(4);
    assert_eq!((&*body, &*frozen), (&b"body"[..], &b"tail"[..]));
    let tail = frozen.split_off(1);
    assert_eq!((&*frozen, &*tail), (&b"t"[..], &b"ail"[..]));
    // A `Bytes` of a pooled buffer never becomes a `BytesMut` without a copy.
    drop((frozen, tail));
    let body = body.try_into_mut().expect_err("it belongs to the pool");
    let copy = BytesMut::from(body);
    assert_eq!((&*copy, pool.stats().outstanding), (&b"body"[..], 0));
}
