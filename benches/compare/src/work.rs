//! The workloads as code: each is generic over the contender and the same for all of them.

use std::fmt;
use std::hint::black_box;
use std::io;

use prost::Message;

use crate::contenders::{Buffer, Contender, Sealed};
use crate::messages::{self, Catalog};
use crate::run::Work;
use crate::workload::{self, Record, Sink};

/// Formats and serializes into any sink; the same adapter for every contender.
pub struct Out<'a, S>(pub &'a mut S);

impl<S: Sink> fmt::Write for Out<'_, S> {
    #[inline(always)]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend(text.as_bytes());
        Ok(())
    }
}

impl<S: Sink> io::Write for Out<'_, S> {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend(bytes);
        Ok(bytes.len())
    }
    #[inline(always)]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend(bytes);
        Ok(())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Shows the written bytes to the optimizer, then ends the use.
#[inline(always)]
fn finish<'p, 'w, C: Contender>(guard: C::Guard<'p, 'w>) -> C::Held<'p>
where
    'p: 'w,
{
    black_box(guard.bytes());
    C::seal(guard)
}

/// get + drop, nothing written; with a move of the guard in between, or in place.
pub struct Pair<const MOVED: bool> {
    pub size: usize,
}

impl<const MOVED: bool> Work for Pair<MOVED> {
    fn size_max(&self) -> usize {
        self.size
    }
    #[inline(always)]
    fn run<C: Contender>(&self, worker: &mut C::Worker<'_>, iterations: u64) {
        let size = black_box(self.size);
        for _ in 0..iterations {
            if MOVED {
                C::pair(worker, size);
            } else {
                C::pair_in_place(worker, size);
            }
        }
    }
}

/// A message of known pieces, written in appends.
pub struct Appends {
    pub payload: Vec<u8>,
    pub len: usize,
    pub piece: usize,
}

impl Appends {
    pub fn log_line() -> Appends {
        let piece = workload::LOG_PIECE.len();
        Appends { payload: workload::LOG_PIECE.to_vec(), len: piece * workload::LOG_PIECES, piece }
    }

    pub fn json() -> Appends {
        let piece = workload::JSON_PIECE_SIZE;
        Appends { payload: workload::payload(piece), len: workload::JSON_SIZE, piece }
    }
}

impl Work for Appends {
    fn size_max(&self) -> usize {
        self.len
    }
    #[inline(always)]
    fn run<C: Contender>(&self, worker: &mut C::Worker<'_>, iterations: u64) {
        let piece = &self.payload[..self.piece];
        let count = self.len / self.piece;
        for _ in 0..iterations {
            let mut guard = C::take(worker, None);
            workload::write_pieces(&mut guard, piece, count);
            drop(finish::<C>(guard));
        }
    }
}

/// A message of known size in one write.
pub struct Once {
    pub payload: Vec<u8>,
}

impl Work for Once {
    fn size_max(&self) -> usize {
        self.payload.len()
    }
    #[inline(always)]
    fn run<C: Contender>(&self, worker: &mut C::Worker<'_>, iterations: u64) {
        for _ in 0..iterations {
            let guard = C::write_once(worker, black_box(&self.payload));
            drop(finish::<C>(guard));
        }
    }
}

/// A list of messages, each written in appends of one size, with the last `in_flight` of them held.
pub struct Messages {
    pub sizes: Vec<usize>,
    pub payload: Vec<u8>,
    pub piece: usize,
    pub in_flight: usize,
}

impl Messages {
    pub fn mix(count: usize, in_flight: usize) -> Messages {
        let piece = workload::MIX_PIECE_SIZE;
        Messages { sizes: workload::mix_sizes(count), payload: workload::payload(piece), piece, in_flight }
    }

    /// 10^5 short messages and one of 32 MiB among them, in appends of up to `piece`.
    pub fn outlier(piece: usize) -> Messages {
        let mut sizes = vec![200; 100_000];
        sizes[30_000] = 32 << 20;
        Messages { sizes, payload: workload::payload(piece), piece, in_flight: 1 }
    }

    /// Messages of one size, the newest `in_flight` of them held.
    pub fn held(size: usize, in_flight: usize) -> Messages {
        Messages { sizes: vec![size; 1024], payload: workload::payload(size), piece: size, in_flight }
    }
}

impl Work for Messages {
    fn in_flight(&self) -> usize {
        self.in_flight
    }
    fn size_max(&self) -> usize {
        self.sizes.iter().copied().max().unwrap_or(0)
    }
    #[inline(always)]
    fn run<C: Contender>(&self, worker: &mut C::Worker<'_>, iterations: u64) {
        let mut held = workload::places(self.in_flight);
        for _ in 0..iterations {
            // Not by `hold_newest`: what its closure returns is moved once more, which costs some contenders a quarter.
            let mut oldest = 0;
            for &size in &self.sizes {
                held[oldest] = None;
                let mut guard = C::take(worker, None);
                workload::write_message(&mut guard, &self.payload, size, self.piece);
                held[oldest] = Some(finish::<C>(guard));
                oldest = if oldest + 1 == held.len() { 0 } else { oldest + 1 };
            }
            if self.in_flight == 1 {
                held[0] = None;
            }
        }
    }
}

/// As [`Messages`] with none held: each message ends before the next begins.
pub struct Format {
    pub records: Vec<Record>,
}

impl Format {
    pub fn new() -> Format {
        Format { records: workload::records(256) }
    }
}

impl Default for Format {
    fn default() -> Format {
        Format::new()
    }
}

impl Work for Format {
    fn size_max(&self) -> usize {
        256
    }
    #[inline(always)]
    fn run<C: Contender>(&self, worker: &mut C::Worker<'_>, iterations: u64) {
        for _ in 0..iterations {
            for record in &self.records {
                let mut guard = C::take(worker, None);
                workload::format_record(&mut Out(&mut guard), black_box(record)).expect("no field fails to format");
                drop(finish::<C>(guard));
            }
        }
    }
}

/// `write!` of a few values.
pub struct WriteMacro;

impl Work for WriteMacro {
    fn size_max(&self) -> usize {
        128
    }
    #[inline(always)]
    fn run<C: Contender>(&self, worker: &mut C::Worker<'_>, iterations: u64) {
        use fmt::Write;
        for index in 0..iterations {
            let mut guard = C::take(worker, None);
            write!(Out(&mut guard), "id={} name={:>12} ratio={:.3}", black_box(index), "bytes", 0.25)
                .expect("no value fails to format");
            drop(finish::<C>(guard));
        }
    }
}

/// A document through serde_json.
pub struct Json {
    pub document: serde_json::Value,
    pub size: usize,
}

impl Json {
    pub fn new(items: usize) -> Json {
        let document = workload::document(items);
        let size = document.to_string().len();
        Json { document, size }
    }
}

impl Work for Json {
    fn size_max(&self) -> usize {
        self.size
    }
    #[inline(always)]
    fn run<C: Contender>(&self, worker: &mut C::Worker<'_>, iterations: u64) {
        for _ in 0..iterations {
            let mut guard = C::take(worker, None);
            serde_json::to_writer(Out(&mut guard), black_box(&self.document)).expect("a sink never fails");
            drop(finish::<C>(guard));
        }
    }
}

/// Messages through prost.
pub struct Protobuf {
    pub catalog: Catalog,
    pub size: usize,
}

impl Protobuf {
    pub fn new(items: usize) -> Protobuf {
        let catalog = messages::catalog(items);
        let size = catalog.encoded_len();
        Protobuf { catalog, size }
    }
}

impl Work for Protobuf {
    fn size_max(&self) -> usize {
        self.size
    }
    #[inline(always)]
    fn run<C: Contender>(&self, worker: &mut C::Worker<'_>, iterations: u64) {
        for _ in 0..iterations {
            let guard = C::encode(worker, black_box(&self.catalog));
            drop(finish::<C>(guard));
        }
    }
}

/// What a consumer does with a message: reads its ends.
#[inline(always)]
pub fn consume(held: &impl Sealed) -> usize {
    held.read(|bytes| bytes.len() + usize::from(bytes[0]) + usize::from(bytes[bytes.len() - 1]))
}
