//! What is published of the rows: the targets, what README shows, and its plots. The rows themselves are in `rows` and
//! `patterns`; a test holds that each row that is named here exists.

use crate::contenders::*;
use crate::patterns;

/// `lane` takes at most `factor` times what `versus` does, in each of `rows`.
pub struct Target {
    /// What the target is about, for the reader.
    pub work: &'static str,
    pub group: &'static str,
    pub rows: Vec<&'static str>,
    pub lane: &'static str,
    pub versus: Versus,
    pub measure: Measure,
    /// `None`: the ratio is told and not judged.
    pub factor: Option<f64>,
}

#[derive(Clone, PartialEq)]
pub enum Versus {
    BestPeer,
    /// A contender in the same row.
    Lane(&'static str),
    /// The same contender in another row of the group, one for each row of the target; and what the reader calls it.
    Rows(Vec<&'static str>, &'static str),
    /// Nothing: the factor is nanoseconds.
    Nanoseconds,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Measure {
    Time,
    CachedBytes,
}

const OURS: &str = Ours::NAME;
const SIZED: &str = OursSized::NAME;
const MALLOC: Versus = Versus::Lane(VecWithCapacity::NAME);
const NEW: Versus = Versus::Lane(VecNew::NAME);
const REUSED: Versus = Versus::Lane(Reused::NAME);
const OBJECT_POOL: Versus = Versus::Lane(ObjectPool::NAME);

pub const SLEEPING_NOBODY: &str = "nobody sleeps";
pub const SHARED_PART: &str = "through the shared part";
pub const TO_SINK: &str = "1 MiB in appends of 256 B, then to a sink; default size 1 KiB";
pub const OUTLIER: &str = "one 32 MiB in 100 000 of 200 B";
pub const OUTLIER_IN_256_B: &str = "one 32 MiB in 100 000 of 200 B, appends of 256 B";

/// Set before they were measured.
pub fn targets() -> Vec<Target> {
    let mut all = pair();
    all.extend([
        target("log line in 10 pieces", "append", &["log line, 10 x 21 B"], OURS, REUSED, 1.12),
        target("log line in 10 pieces", "append", &["log line, 10 x 21 B"], OURS, Versus::BestPeer, 1.1),
        target("one write of 200 B", "append", &["one write of 200 B"], OURS, Versus::BestPeer, 1.1),
        target("heavy tail, 1 in flight", "mix", &["heavy tail, 1 in flight"], OURS, OBJECT_POOL, 1.25),
        target("heavy tail, 64 in flight", "mix", &["heavy tail, 64 in flight"], OURS, OBJECT_POOL, 1.1),
        Target {
            measure: Measure::CachedBytes,
            ..target("heavy tail, 64 in flight", "mix", &["heavy tail, 64 in flight"], OURS, OBJECT_POOL, 0.25)
        },
        target("first 1000 messages of a new pool", "mix", &["first 1000 of a new pool, 64 in flight"], OURS, NEW, 1.0),
    ]);
    all.extend(threads());
    all.extend(large());
    all.extend(patterns::PATTERNS.iter().map(|(_, group, _)| {
        let rows: Vec<&str> = patterns::ROWS.iter().map(|row| row.0).collect();
        target(group, group, &rows, SIZED, MALLOC, 1.0)
    }));
    all.extend([
        target("get + drop, against Go", "go", &["get + drop"], OURS, Versus::BestPeer, 1.0 / 3.0),
        target("log line, against Go", "go", &["log line"], OURS, Versus::BestPeer, 1.0),
        target("log line, 2 threads, against Go", "go", &["log line, 2 threads"], OURS, Versus::BestPeer, 0.5),
    ]);
    all
}

fn target(
    work: &'static str,
    group: &'static str,
    rows: &[&'static str],
    lane: &'static str,
    versus: Versus,
    factor: f64,
) -> Target {
    Target { work, group, rows: rows.to_vec(), lane, versus, measure: Measure::Time, factor: Some(factor) }
}

fn told(target: Target) -> Target {
    Target { factor: None, ..target }
}

fn pair() -> Vec<Target> {
    const TO_1_KIB: &[&str] = &["64 B", "128 B", "256 B", "512 B", "1 KiB"];
    const TO_32_KIB: &[&str] = &["4 KiB", "8 KiB", "16 KiB", "32 KiB"];
    const ABOVE: &[&str] =
        &["64 KiB", "128 KiB", "256 KiB", "512 KiB", "1 MiB", "2 MiB", "4 MiB", "8 MiB", "16 MiB", "32 MiB"];
    let alternating =
        ["two pools alternating, 1 KiB", "two pools alternating, 16 KiB", "two pools alternating, 256 KiB"];
    let one_pool = || Versus::Rows(vec!["1 KiB", "16 KiB", "256 KiB"], "the time of one pool");
    let mut all = Vec::new();
    for lane in [OURS, SIZED] {
        for (work, rows, malloc) in [
            ("get + drop, to 1 KiB", TO_1_KIB, 0.6),
            ("get + drop, 4 to 32 KiB", TO_32_KIB, 0.35),
            ("get + drop in place, 1 KiB", &["in place, 1 KiB"], 0.6),
            ("get + drop in place, 4 and 32 KiB", &["in place, 4 KiB", "in place, 32 KiB"], 0.35),
        ] {
            all.push(target(work, "pair", rows, lane, MALLOC, malloc));
            all.push(target(work, "pair", rows, lane, Versus::BestPeer, 0.5));
        }
        all.push(told(target("get + drop, above 32 KiB", "pair", ABOVE, lane, MALLOC, 1.0)));
        all.push(target("two pools alternating", "pair", &alternating, lane, one_pool(), 1.15));
    }
    all
}

fn threads() -> Vec<Target> {
    const SIX_200: &[&str] = &HAND_OVER_ROWS[0];
    const SIX_4K: &[&str] = &HAND_OVER_ROWS[1];
    const SIX_100K: &[&str] = &HAND_OVER_ROWS[2];
    const TWO_THREADS: &[&str] = &["log line, 2 threads"];
    let one_thread = || Versus::Rows(vec!["log line, 1 thread"], "the time of one thread");
    let nobody = Versus::Rows(vec![SLEEPING_NOBODY; SLEEPING.len()], "the time beside nobody");
    vec![
        target("thread to thread, 200 B", "hand_over", SIX_200, SIZED, Versus::BestPeer, 1.1),
        target("thread to thread, 4 KiB", "hand_over", SIX_4K, SIZED, Versus::BestPeer, 1.1),
        target("thread to thread, 4 KiB", "hand_over", SIX_4K, SIZED, MALLOC, 0.35),
        target("thread to thread, 100 KiB", "hand_over", SIX_100K, SIZED, Versus::BestPeer, 1.1),
        target("thread to thread, 100 KiB", "hand_over", SIX_100K, SIZED, MALLOC, 1.05),
        // 1.9 times the throughput; and what the machine gives to threads that share nothing.
        target("two threads on one pool", "parallel", TWO_THREADS, OURS, one_thread(), 1.0 / 1.9),
        told(target("two threads, a `Vec` each", "parallel", TWO_THREADS, Scratch::NAME, one_thread(), 1.0)),
        target("64 B while other threads sleep", "sleepers", &SLEEPING, SIZED, nobody, 1.2),
        target("64 B through the shared part", "sleepers", &[SHARED_PART], SIZED, Versus::Nanoseconds, 40.0),
    ]
}

fn large() -> Vec<Target> {
    const TO_1_MIB: &[&str] = &["64 KiB written whole", "256 KiB written whole", "1 MiB written whole"];
    const WHOLE_32_MIB: &[&str] = &["32 MiB written whole"];
    let one_buffer = Versus::Lane(OURS);
    vec![
        target("64 KiB to 1 MiB written whole", "large", TO_1_MIB, SIZED, REUSED, 1.03),
        target("32 MiB written whole", "large", WHOLE_32_MIB, SIZED, REUSED, 1.1),
        told(target("32 MiB written whole", "large", WHOLE_32_MIB, SIZED, MALLOC, 1.0)),
        target("1 MiB in appends, to a sink", "large", &[TO_SINK], OURS_CHUNKED, one_buffer, 0.5),
        target("1 MiB in appends, to a sink", "large", &[TO_SINK], OURS_CHUNKED, NEW, 0.5),
        target("one giant in 100 000 small, 256 B appends", "outlier", &[OUTLIER_IN_256_B], OURS, NEW, 1.05),
        target("one giant in 100 000 small, 256 B appends", "outlier", &[OUTLIER_IN_256_B], OURS_CHUNKED, NEW, 0.5),
    ]
}

const SLEEPING: [&str; 3] =
    ["1 after 32 MiB sleeps", "32 after 1 MiB each sleep", "250 after filling their caches sleep"];

/// By size: 200 B, 4 KiB, 100 KiB.
const HAND_OVER_ROWS: [[&str; 6]; 3] = [
    [
        "1 -> 1, 200 B, channel of 16",
        "1 -> 1, 200 B, channel of 256",
        "2 -> 1, 200 B, channel of 16",
        "2 -> 1, 200 B, channel of 256",
        "1 -> 2, 200 B, channel of 16",
        "1 -> 2, 200 B, channel of 256",
    ],
    [
        "1 -> 1, 4 KiB, channel of 16",
        "1 -> 1, 4 KiB, channel of 256",
        "2 -> 1, 4 KiB, channel of 16",
        "2 -> 1, 4 KiB, channel of 256",
        "1 -> 2, 4 KiB, channel of 16",
        "1 -> 2, 4 KiB, channel of 256",
    ],
    [
        "1 -> 1, 100 KiB, channel of 16",
        "1 -> 1, 100 KiB, channel of 256",
        "2 -> 1, 100 KiB, channel of 16",
        "2 -> 1, 100 KiB, channel of 256",
        "1 -> 2, 100 KiB, channel of 16",
        "1 -> 2, 100 KiB, channel of 256",
    ],
];

/// Rows that stand for their group in README and where allocators are compared: what it is called there, group and row.
pub const SHOWN: [(&str, &str, &str); 12] = [
    ("get + drop in place, 1 KiB", "pair", "in place, 1 KiB"),
    ("get + drop in place, 32 KiB", "pair", "in place, 32 KiB"),
    ("get + drop in place, 256 KiB", "pair", "in place, 256 KiB"),
    ("log line in 10 pieces", "append", "log line, 10 x 21 B"),
    ("one write of 200 B", "append", "one write of 200 B"),
    ("heavy tail, 1 in flight", "mix", "heavy tail, 1 in flight"),
    ("heavy tail, 64 in flight", "mix", "heavy tail, 64 in flight"),
    ("thread to thread, 200 B", "hand_over", "1 -> 1, 200 B, channel of 256"),
    ("thread to thread, 4 KiB", "hand_over", "1 -> 1, 4 KiB, channel of 256"),
    ("thread to thread, 100 KiB", "hand_over", "1 -> 1, 100 KiB, channel of 256"),
    ("log line, two threads", "parallel", "log line, 2 threads"),
    ("one 32 MiB in 100 000 small", "outlier", OUTLIER),
];

/// The plots that README shows, each of a group, and what they say to who does not see them.
pub const PLOTS: [(&str, &str); 3] = [
    ("pair", "get and drop by size class, all contenders"),
    ("mix", "a heavy tail of sizes: time per use and cached bytes, all contenders"),
    ("parallel", "one pool, 1 to 64 threads: time per log line and cached bytes, all contenders"),
];
