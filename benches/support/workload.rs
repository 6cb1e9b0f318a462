//! The workloads, shared by the criterion benches, the comparison and the policy laboratory (included by `#[path]`).
//!
//! Everything is generated from fixed seeds, so that every contender and every run sees the same bytes.
#![allow(dead_code)] // each binary uses its own part

use std::fmt;
use std::hint::black_box;

use bytebufferpool::{Builder, Pool, PooledBuf};

// ---- Uses: what is written, generic over what it is written into.

/// Where a workload writes: a guard of this crate, of another pool, or a `Vec`.
pub trait Sink {
    fn extend(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    #[inline(always)]
    fn extend(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl<P: AsRef<Pool>> Sink for PooledBuf<P> {
    #[inline(always)]
    fn extend(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// `piece`, `count` times over: a log line, many small appends, or one write.
#[inline(always)]
pub fn write_pieces(out: &mut impl Sink, piece: &[u8], count: usize) {
    for _ in 0..count {
        out.extend(black_box(piece));
    }
}

#[inline(always)]
pub fn write_log_line(out: &mut impl Sink) {
    write_pieces(out, LOG_PIECE, LOG_PIECES);
}

/// A message of `size` bytes in appends of `piece`, the last one shorter.
#[inline(always)]
pub fn write_message(out: &mut impl Sink, payload: &[u8], size: usize, piece: usize) {
    for piece in pieces(payload, size, piece) {
        out.extend(black_box(piece));
    }
}

/// A message per size, the newest `held.len()` of them held.
#[inline(always)]
pub fn hold_newest<S: Copy, H>(sizes: &[S], held: &mut [Option<H>], mut message: impl FnMut(S) -> H) {
    let mut oldest = 0;
    for &size in sizes {
        held[oldest] = None;
        held[oldest] = Some(message(size));
        oldest = if oldest + 1 == held.len() { 0 } else { oldest + 1 };
    }
}

/// Places for [`hold_newest`].
pub fn places<H>(count: usize) -> Vec<Option<H>> {
    (0..count).map(|_| None).collect()
}

/// `count` log lines, each in a buffer of its own.
#[inline(always)]
pub fn log_lines(pool: &Pool, count: u64) {
    for _ in 0..count {
        let mut buf = pool.get();
        write_log_line(&mut buf);
        black_box(buf.as_slice());
    }
}

/// A pool whose plain `get` has learned to give `size` bytes, which is the size of a class.
pub fn learned(builder: Builder, size: usize) -> Pool {
    let pool = builder.default_size_limit(bytebufferpool::MAX_CLASS_SIZE).build();
    pool.get().resize(size, 0);
    pool.calibrate();
    assert_eq!(pool.default_size(), size, "a plain get of the row gives this class");
    pool
}

// ---- Sizes, payloads and documents.

/// SplitMix64 (Steele, Lea, Flood 2014): small, seedable, and good enough to draw sizes.
pub struct Rng(pub u64);

impl Rng {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.draw() % n as u64) as usize
    }

    /// Uniform in (0, 1].
    pub fn unit(&mut self) -> f64 {
        ((self.draw() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

pub const LOG_PIECE: &[u8; 21] = b" key=value-0123456789";
pub const LOG_PIECES: usize = 10;
pub const MIX_PIECE_SIZE: usize = 256;
pub const MIX_MESSAGES: usize = 20_000;
pub const MIX_SIZE_MIN: usize = 64;
pub const MIX_SIZE_MAX: usize = 1 << 20;
pub const JSON_SIZE: usize = 8 << 10;
pub const JSON_PIECE_SIZE: usize = 16;
pub const IN_FLIGHT: usize = 64;

const _: () = assert!(JSON_SIZE % JSON_PIECE_SIZE == 0);

/// The heavy-tailed mix: log-normal, median 1 KiB, clamped to 64 B … 1 MiB.
///
/// A sigma of 1.2 puts the mean at 2.1 KiB and one message in 20 000 above 100 KiB, so that buffers which are never
/// cut down end at 128 KiB each.
pub fn mix_sizes(count: usize) -> Vec<usize> {
    let mut rng = Rng(0x6d69_7865_6421);
    let size = |rng: &mut Rng| (1024.0 * (1.2 * rng.normal()).exp()) as usize;
    (0..count).map(|_| size(&mut rng).clamp(MIX_SIZE_MIN, MIX_SIZE_MAX)).collect()
}

/// Bytes that no allocator and no compiler knows beforehand.
pub fn payload(len: usize) -> Vec<u8> {
    let mut rng = Rng(0x7061_796c);
    (0..len).map(|_| b' ' + (rng.draw() % 95) as u8).collect()
}

/// The pieces of `len` bytes in appends of `piece`, the last one shorter.
pub fn pieces(payload: &[u8], len: usize, piece: usize) -> impl Iterator<Item = &[u8]> {
    (0..len.div_ceil(piece)).map(move |index| &payload[..piece.min(len - index * piece)])
}

/// Sizes from 64 B to `size_max`, each power of two as likely as any other.
pub fn log_uniform_sizes(count: usize, size_max: usize) -> Vec<usize> {
    let mut rng = Rng(0x6c6f_6775);
    let octaves = (size_max as f64 / 64.0).log2();
    (0..count).map(|_| ((64.0 * (octaves * rng.unit()).exp2()) as usize).clamp(64, size_max)).collect()
}

/// One record of the log formatter.
pub struct Record {
    pub seconds: u64,
    pub millis: u32,
    pub level: &'static str,
    pub target: &'static str,
    pub user: u32,
    pub path: &'static str,
    pub status: u16,
    pub micros: u32,
}

pub fn records(count: usize) -> Vec<Record> {
    let mut rng = Rng(0x7265_636f);
    let levels = ["INFO", "INFO", "INFO", "WARN", "ERROR", "DEBUG"];
    let targets = ["server::http", "server::auth", "storage::compaction", "cluster::membership"];
    let paths = ["/", "/api/v1/items", "/api/v1/items/1742/history", "/health", "/static/app.3f9c.js"];
    (0..count)
        .map(|_| Record {
            seconds: 1_700_000_000 + rng.draw() % 10_000_000,
            millis: (rng.draw() % 1000) as u32,
            level: levels[rng.below(levels.len())],
            target: targets[rng.below(targets.len())],
            user: (rng.draw() % 100_000) as u32,
            path: paths[rng.below(paths.len())],
            status: [200, 200, 200, 304, 404, 500][rng.below(6)],
            micros: (rng.draw() % 2_000_000) as u32,
        })
        .collect()
}

/// Formats a record as a log library does: many small pieces through `fmt`.
pub fn format_record(out: &mut impl fmt::Write, r: &Record) -> fmt::Result {
    writeln!(
        out,
        "{}.{:03} {:<5} {} user={} GET {} -> {} in {}us",
        r.seconds, r.millis, r.level, r.target, r.user, r.path, r.status, r.micros
    )
}

/// A document of the shape that services send: an object with a few fields and a list of `items` small objects.
pub fn document(items: usize) -> serde_json::Value {
    let mut rng = Rng(0x646f_6375 + items as u64);
    let tags = ["alpha", "beta", "gamma \"quoted\""];
    let item = |rng: &mut Rng| {
        let tags = &tags[..1 + rng.below(3)];
        serde_json::json!({
            "id": rng.draw() % 1_000_000,
            "name": format!("item-{}", rng.draw() % 10_000),
            "price": (rng.draw() % 100_000) as f64 / 100.0,
            "tags": tags,
            "area": { "seats": rng.draw() % 500, "open": rng.draw() % 2 == 0, "note": null },
        })
    };
    let list: Vec<_> = (0..items).map(|_| item(&mut rng)).collect();
    serde_json::json!({ "event": 138_586_341, "subject": "Bytes & buffers", "page": 1, "items": list })
}

// ---- Traces: the sizes of a stream of messages, and in which pieces they are written.

/// A stream of message sizes with the size of one append.
pub struct Trace {
    pub name: &'static str,
    pub about: String,
    pub sizes: Vec<u32>,
    pub piece: usize,
}

/// Log lines that look like the three logs of the examples: a few shapes, each with a narrow spread, and stack traces.
pub fn log_sizes(seed: u64, typical: usize, spread: f64, trace_share: f64, count: usize) -> Vec<u32> {
    let mut rng = Rng(seed);
    (0..count)
        .map(|_| {
            let line = typical as f64 * (spread * rng.normal()).exp();
            let factor = if rng.unit() < trace_share { 8.0 + 24.0 * rng.unit() } else { 1.0 };
            (line * factor).clamp(20.0, 65_536.0) as u32
        })
        .collect()
}

/// Replies of 120 … 200 B, and one in five a page of 24 … 40 KiB.
pub fn bimodal_sizes(count: usize) -> Vec<u32> {
    let mut rng = Rng(0x6269_6d6f);
    let size = |rng: &mut Rng| if rng.below(5) == 0 { 24_576 + rng.below(16_384) } else { 120 + rng.below(80) };
    (0..count).map(|_| size(&mut rng) as u32).collect()
}

/// A workload that shifts: small messages, then large ones, then small ones again, a third of the stream each.
pub fn shifting_sizes(count: usize) -> Vec<u32> {
    let mut rng = Rng(0x7368_6966);
    let middle = count / 3..2 * count / 3;
    (0..count)
        .map(|index| if middle.contains(&index) { 6_000 + rng.below(8_000) } else { 150 + rng.below(300) } as u32)
        .collect()
}

/// The serialized sizes of a document tree's objects and arrays, as a service that sends parts of it would.
pub fn json_sizes(value: &serde_json::Value, out: &mut Vec<u32>) -> usize {
    use serde_json::Value;
    let inner: usize = match value {
        Value::Array(list) => list.iter().map(|item| json_sizes(item, out) + 1).sum::<usize>() + 1,
        Value::Object(map) => map.iter().map(|(key, item)| key.len() + 4 + json_sizes(item, out)).sum::<usize>() + 1,
        scalar => return scalar.to_string().len(),
    };
    out.push(inner as u32);
    inner
}

/// `sizes` in random order, repeated or cut to `count`.
pub fn shuffled(mut sizes: Vec<u32>, count: usize) -> Vec<u32> {
    let mut rng = Rng(0x7368_7566);
    for index in (1..sizes.len()).rev() {
        sizes.swap(index, rng.below(index + 1));
    }
    sizes.iter().copied().cycle().take(count).collect()
}
