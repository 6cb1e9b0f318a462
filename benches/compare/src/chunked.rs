//! `ChunkedBuf` beside one buffer. It is no [`Contender`](crate::contenders::Contender), as its bytes are in pieces.

use std::hint::black_box;
use std::io::{self, IoSlice, Write};
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use bytebufferpool::{ChunkedBuf, MAX_CLASS_SIZE, Pool, PooledBuf};

use crate::run::Body;
use crate::work::Messages;
use crate::workload::{self, Sink};

impl Sink for ChunkedBuf<&Pool> {
    #[inline(always)]
    fn extend(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// [`Messages`] with none held, in chunks.
pub struct ChunkedMessages {
    pool: Pool,
    messages: Messages,
}

impl ChunkedMessages {
    pub fn warm(messages: Messages) -> Box<dyn Body> {
        let mut lane = ChunkedMessages { pool: Pool::new(), messages };
        for _ in 0..2 {
            lane.run(4);
            lane.pool.calibrate();
        }
        Box::new(lane)
    }
}

impl Body for ChunkedMessages {
    fn run(&mut self, iterations: u64) -> Duration {
        let Messages { sizes, payload, piece, .. } = &self.messages;
        let start = Instant::now();
        for _ in 0..iterations {
            for &size in sizes {
                let mut message = self.pool.get_chunked();
                workload::write_message(&mut message, payload, size, *piece);
                black_box(message.chunks());
            }
        }
        start.elapsed()
    }

    fn cached_bytes(&mut self) -> usize {
        self.pool.stats().retained_bytes
    }
}

/// One message, written in appends and then to a sink, from a pool whose default size stays 1 KiB.
pub struct ToSink<M> {
    pool: Pool,
    size: usize,
    piece: Vec<u8>,
    message: PhantomData<M>,
}

impl<M: Message + 'static> ToSink<M> {
    pub fn warm(size: usize, piece: usize) -> Box<dyn Body> {
        let builder = Pool::builder().default_size(1 << 10).max_size(MAX_CLASS_SIZE);
        // Never calibrated, so that the default stays what it is.
        let pool = builder.calibrate_calls_threshold(u64::MAX).build();
        let mut lane: ToSink<M> = ToSink { pool, size, piece: workload::payload(piece), message: PhantomData };
        lane.run(4);
        Box::new(lane)
    }
}

impl<M: Message + 'static> Body for ToSink<M> {
    fn run(&mut self, iterations: u64) -> Duration {
        let mut sink = Discarding::default();
        let start = Instant::now();
        for _ in 0..iterations {
            let mut buffer = M::begin(&self.pool);
            workload::write_message(&mut buffer, &self.piece, self.size, self.piece.len());
            M::write_to(&buffer, &mut sink).expect("a sink that takes everything");
        }
        let elapsed = start.elapsed();
        assert_eq!(sink.bytes as u64, iterations * self.size as u64, "a byte was lost");
        elapsed
    }

    fn cached_bytes(&mut self) -> usize {
        self.pool.stats().retained_bytes
    }
}

/// What [`ToSink`] writes into.
pub trait Message {
    type Buffer<'p>: Sink;
    fn begin(pool: &Pool) -> Self::Buffer<'_>;
    fn write_to(buffer: &Self::Buffer<'_>, sink: &mut Discarding) -> io::Result<()>;
}

pub struct Chunks;
pub struct OneBuffer;
pub struct NewVec;

impl Message for Chunks {
    type Buffer<'p> = ChunkedBuf<&'p Pool>;
    fn begin(pool: &Pool) -> ChunkedBuf<&Pool> {
        pool.get_chunked()
    }
    fn write_to(buffer: &ChunkedBuf<&Pool>, sink: &mut Discarding) -> io::Result<()> {
        buffer.write_to(sink)
    }
}

impl Message for OneBuffer {
    type Buffer<'p> = PooledBuf<&'p Pool>;
    fn begin(pool: &Pool) -> PooledBuf<&Pool> {
        pool.get()
    }
    fn write_to(buffer: &PooledBuf<&Pool>, sink: &mut Discarding) -> io::Result<()> {
        buffer.write_to(sink)
    }
}

impl Message for NewVec {
    type Buffer<'p> = Vec<u8>;
    fn begin(_: &Pool) -> Vec<u8> {
        Vec::new()
    }
    fn write_to(buffer: &Vec<u8>, sink: &mut Discarding) -> io::Result<()> {
        sink.write_all(buffer)
    }
}

/// Takes everything at once, as a socket with room does, and counts it.
#[derive(Default)]
pub struct Discarding {
    bytes: usize,
}

impl Write for Discarding {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += black_box(bytes).len();
        Ok(bytes.len())
    }
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes = black_box(slices).iter().map(|slice| slice.len()).sum();
        self.bytes += bytes;
        Ok(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
