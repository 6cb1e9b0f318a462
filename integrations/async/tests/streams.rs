//! Streams of small frames: what a batch of them costs, one frame at a time and with `BytesMut`, and that they are right.
//!
//!     cargo test -p integration-async --test streams -- --nocapture     prints the allocations

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytebufferpool::Pool;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use integration_async::{FRAME_BYTES_MAX, FrameBatches, put_frame, read_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::time::timeout;

#[path = "../../../tests/support/ledger.rs"]
mod ledger;

use ledger::{Count, Ledger};

#[global_allocator]
static LEDGER: Ledger = Ledger;

const FRAMES: usize = 500;
const FRAME: [u8; 24] = [7; 24];

fn block_on<F: Future>(future: F) -> F::Output {
    let limited = async { timeout(Duration::from_secs(60), future).await.expect("hangs") };
    Builder::new_current_thread().enable_all().build().unwrap().block_on(limited)
}

fn content(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 31 + seed * 17) % 251) as u8).collect()
}

/// The second time, as the first one fills the pool.
async fn warm(mut work: impl AsyncFnMut()) -> Count {
    work().await;
    let before = Count::of_this_thread();
    work().await;
    Count::of_this_thread() - before
}

fn print(what: &str, count: Count) {
    println!("{what:<52} {:>5} allocations {:>7} bytes", count.heap_takes(), count.allocated_bytes);
}

#[test]
fn written_frames_cost_nothing_in_a_reused_guard_and_one_allocation_a_freeze() {
    block_on(async {
        let pool = Arc::new(Pool::new());
        let mut sent = Vec::with_capacity(FRAMES);

        let mut batch = pool.get_owned();
        let mut sink = tokio::io::sink();
        let reused = warm(async || {
            (0..FRAMES).for_each(|_| put_frame(&mut batch, &FRAME).unwrap());
            sink.write_all(&batch).await.unwrap();
            batch.clear();
        });
        let reused = reused.await;

        let frozen_once = warm(async || {
            let mut batch = pool.get_owned();
            (0..FRAMES).for_each(|_| put_frame(&mut batch, &FRAME).unwrap());
            drop(batch.freeze());
        });
        let frozen_once = frozen_once.await;

        let frozen_each = warm(async || {
            for _ in 0..FRAMES {
                let mut frame = pool.get_owned();
                put_frame(&mut frame, &FRAME).unwrap();
                sent.push(frame.freeze());
            }
            sent.clear();
        });
        let frozen_each = frozen_each.await;

        let mut bytes_mut = BytesMut::new();
        let split_each = warm(async || {
            for _ in 0..FRAMES {
                if bytes_mut.capacity() < 4 + FRAME.len() {
                    bytes_mut.reserve(8 << 10);
                }
                bytes_mut.put_u32(FRAME.len() as u32);
                bytes_mut.put_slice(&FRAME);
                sent.push(bytes_mut.split().freeze());
            }
            sent.clear();
        });
        let split_each = split_each.await;

        print("written, one guard, cleared after the write", reused);
        print("written, one guard, frozen", frozen_once);
        print("written, a guard a frame, frozen each", frozen_each);
        print("written, BytesMut, split and frozen each", split_each);
        assert_eq!([reused, frozen_once, frozen_each].map(|count| count.heap_takes()), [0, 1, FRAMES as u64]);
        assert!(split_each.heap_takes() <= 6, "BytesMut is the better choice for frames that are sent one by one");
    });
}

#[test]
fn read_frames_cost_one_allocation_a_batch() {
    block_on(async {
        let pool = Arc::new(Pool::new());
        let stream = stream_of_frames();
        let mut kept = Vec::with_capacity(FRAMES);
        let mut read = 0;

        let batches = warm(async || {
            let mut batches = FrameBatches::new(&stream[..], Arc::clone(&pool));
            while let Some(batch) = batches.next_batch().await.unwrap() {
                kept.extend(batch);
            }
            read += kept.drain(..).filter(|frame| frame[..] == FRAME).count();
        });
        let batches = batches.await;

        let frozen_each = warm(async || {
            let mut stream = &stream[..];
            while let Some(frame) = read_frame(&mut stream, &POOL).await.unwrap() {
                kept.push(frame.freeze());
            }
            read += kept.drain(..).filter(|frame| frame[..] == FRAME).count();
        });
        let frozen_each = frozen_each.await;

        let mut unread = BytesMut::new();
        let split_kept = warm(async || {
            let mut stream = &stream[..];
            while next_split(&mut unread, &mut stream, &mut kept).await {}
            read += kept.drain(..).filter(|frame| frame[..] == FRAME).count();
        });
        let split_kept = split_kept.await;

        let split_dropped = warm(async || {
            let mut stream = &stream[..];
            while next_split(&mut unread, &mut stream, &mut kept).await {
                read += kept.drain(..).filter(|frame| frame[..] == FRAME).count();
            }
        });
        let split_dropped = split_dropped.await;

        print("read, FrameBatches, all frames kept", batches);
        print("read, a guard a frame, frozen each", frozen_each);
        print("read, BytesMut, all frames kept", split_kept);
        print("read, BytesMut, frames dropped before the next read", split_dropped);
        assert_eq!(read, 2 * 4 * FRAMES);
        // 14 000 bytes, 8 KiB at a time.
        assert_eq!([batches, frozen_each].map(|count| count.heap_takes()), [2, FRAMES as u64]);
        assert!(batches.allocated_bytes * 10 < split_kept.allocated_bytes, "buffers are reused while frames are kept");
        assert_eq!(split_dropped.heap_takes(), 0, "BytesMut is the better choice for frames that nobody keeps");
    });
}

/// What a codec on `BytesMut` does: a read, and then all whole frames split off.
async fn next_split(unread: &mut BytesMut, stream: &mut &[u8], frames: &mut Vec<Bytes>) -> bool {
    unread.reserve(8 << 10);
    if stream.read_buf(unread).await.unwrap() == 0 {
        return false;
    }
    while unread.len() >= 4 + FRAME.len() {
        unread.advance(4);
        frames.push(unread.split_to(FRAME.len()).freeze());
    }
    true
}

static POOL: Pool = Pool::new();

fn stream_of_frames() -> Vec<u8> {
    let pool = Pool::new();
    let mut batch = pool.get();
    (0..FRAMES).for_each(|_| put_frame(&mut batch, &FRAME).unwrap());
    batch.into_vec()
}

#[test]
fn frames_of_any_size_come_in_order_over_a_socket() {
    block_on(async {
        let pool = Arc::new(Pool::new());
        let lens = [3, 0, 0, 64, 65, FRAME_BYTES_MAX, 1, 4_000, 8_188, 8_192, 300_000, 5];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let writer = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let mut batch = pool.get_owned();
                for lens in lens.chunks(4) {
                    lens.iter().for_each(|&len| put_frame(&mut batch, &content(len, len)).unwrap());
                    stream.write_all(&batch).await.unwrap();
                    batch.clear();
                }
            }
        });
        let (stream, _) = listener.accept().await.unwrap();
        let mut batches = FrameBatches::new(stream, Arc::clone(&pool));
        let mut frames: Vec<Bytes> = Vec::new();
        while let Some(batch) = batches.next_batch().await.unwrap() {
            frames.extend(batch);
        }
        writer.await.unwrap();
        assert_eq!(frames.iter().map(Bytes::len).collect::<Vec<_>>(), lens);
        assert!(frames.iter().all(|frame| *frame == content(frame.len(), frame.len())));
        drop(frames);
        drop(batches);
        assert_eq!(pool.stats().outstanding, 0);
    });
}

/// Byte by byte, and a reader that gives up between any two of them.
#[test]
fn a_cancelled_next_batch_loses_nothing() {
    block_on(async {
        let pool = Arc::new(Pool::new());
        let (mut near, far) = duplex(64);
        let mut batches = FrameBatches::new(far, Arc::clone(&pool));
        assert!(timeout(Duration::from_millis(2), batches.next_batch()).await.is_err());
        assert_eq!(pool.stats().outstanding, 1, "a reader that waits holds one buffer");
        let frames = [&b"one"[..], b"", b"three"];
        let mut sent = Vec::new();
        for frame in frames {
            sent.extend_from_slice(&(frame.len() as u32).to_be_bytes());
            sent.extend_from_slice(frame);
        }
        let mut received = Vec::new();
        for byte in sent {
            near.write_all(&[byte]).await.unwrap();
            if let Ok(batch) = timeout(Duration::from_millis(2), batches.next_batch()).await {
                received.extend(batch.unwrap().unwrap());
            }
        }
        assert_eq!(received, frames);
        drop(near);
        assert!(batches.next_batch().await.unwrap().is_none());
    });
}

#[test]
fn what_is_wrong_is_an_error_after_the_frames_before_it() {
    block_on(async {
        let pool = Arc::new(Pool::new());
        for (tail, kind) in [
            (&[0xff; 8][..], io::ErrorKind::InvalidData),
            (&[0, 0, 0, 9, 1, 2], io::ErrorKind::UnexpectedEof),
            (&[0, 0], io::ErrorKind::UnexpectedEof),
        ] {
            let stream = [&[0, 0, 0, 1, b'a'], tail].concat();
            let mut batches = FrameBatches::new(&stream[..], Arc::clone(&pool));
            let frames: Vec<Bytes> = batches.next_batch().await.unwrap().unwrap().collect();
            assert_eq!(frames, ["a"]);
            assert_eq!(batches.next_batch().await.unwrap_err().kind(), kind);
        }
        let mut batch = pool.get_owned();
        batch.push_str("as it was");
        assert!(put_frame(&mut batch, &vec![0; FRAME_BYTES_MAX + 1]).is_err());
        assert_eq!(batch, "as it was");
        drop(batch);
        assert_eq!(pool.stats().outstanding, 0);
    });
}
