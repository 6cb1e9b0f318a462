//! The rows: which work, which contenders, which limit.

use std::time::Duration;

use bytebufferpool::{CLASSES, MIN_CLASS_SIZE};

use crate::chunked::{ChunkedMessages, Chunks, NewVec, OneBuffer, ToSink};
use crate::contenders::*;
use crate::go;
use crate::patterns::PATTERNS;
use crate::published::{OUTLIER, OUTLIER_IN_256_B, SHARED_PART, SLEEPING_NOBODY, TO_SINK};
use crate::run::{Anew, Effort, Line, Row, Single, Work};
use crate::sleepers;
use crate::table::bytes;
use crate::threads::{
    Alternating, BesideSleepers, DEPTHS, HAND_OVER_MESSAGES, HandOver, Parallel, Route, SHORT_LIVED_THREADS, ShortLived,
};
use crate::work::{Appends, Format, Json, Messages, Once, Pair, Protobuf, WriteMacro};
use crate::workload::{self, IN_FLIGHT, MIX_MESSAGES};

/// The groups with their questions; the last ones are patterns, whose rows are in `patterns`.
pub fn groups() -> Vec<(&'static str, &'static str)> {
    GROUPS.into_iter().chain(PATTERNS.map(|(_, name, about)| (name, about))).collect()
}

const GROUPS: [(&str, &str); 12] = [
    ("pair", "a get and a drop, nothing written, in every size class"),
    ("append", "a log line in ten pieces; one write; many small appends; `write!`"),
    ("mix", "a heavy tail of sizes, with 1 and 64 buffers in flight, and the first messages of a new pool"),
    ("hand_over", "filled on one thread, dropped on another"),
    ("parallel", "one pool, 1 to 64 threads"),
    ("short_lived", "100 threads one after another, each with a few uses"),
    ("sleepers", "a small get and drop while other threads of the pool sleep, and one without a thread cache"),
    ("large", "64 KiB to 32 MiB written whole, and 1 MiB in small appends"),
    ("serialize", "JSON documents, prost messages and log records"),
    ("freeze", "frozen and sent, against `bytes`"),
    ("outlier", "one giant among 100 000: what is kept"),
    ("go", "Go's bytebufferpool, of which this is the design"),
];

/// A row that is built when its turn comes, so that only one row's pools exist at a time.
pub type Make = Box<dyn FnOnce(Effort) -> Row>;

pub fn rows(group: &str) -> Vec<Make> {
    match group {
        "pair" => pair(),
        "append" => append(),
        "mix" => mix(),
        "hand_over" => hand_over(),
        "parallel" => parallel(),
        "short_lived" => short_lived(),
        "sleepers" => sleepers(),
        "large" => large(),
        "serialize" => serialize(),
        "freeze" => freeze(),
        "outlier" => outlier(),
        "go" => against_go(),
        _ => Vec::new(),
    }
}

/// Builds and times the rows of a group one after another; `begin` is told the name of each.
pub fn measure(group: &str, effort: Effort, mut begin: impl FnMut(&str)) -> Vec<Line> {
    let effort = effort_of(group, effort);
    let time = |make: Make| {
        let row = make(effort);
        begin(&row.name);
        row.time(effort)
    };
    let mut lines: Vec<Line> = rows(group).into_iter().map(time).filter(|line| !line.results.is_empty()).collect();
    if group == "go" && !effort.only_ours {
        go::add_to(&mut lines, effort);
    }
    lines
}

/// Rows that start threads in every round need longer rounds, and then fewer of them suffice.
fn effort_of(group: &str, effort: Effort) -> Effort {
    match group {
        "hand_over" | "parallel" | "short_lived" | "go" => {
            Effort { rounds: effort.rounds.div_ceil(2), round_time: 5 * effort.round_time, ..effort }
        }
        "large" => Effort { round_time: Duration::from_millis(20), ..effort },
        _ => effort,
    }
}

/// A lane for each of these contenders.
macro_rules! lanes {
    ($row:ident, $effort:ident, |$C:ident| $body:expr; $($contender:ty),+) => {$({
        type $C = $contender;
        $row.lane::<$C>($effort, || $body);
    })+};
}

/// One thread, one buffer after another, sizes unknown beforehand: everybody takes part.
fn singles<W: Work>(row: &mut Row, effort: Effort, work: impl Fn() -> W) {
    lanes!(row, effort, |C| Single::<C, _>::warm(work());
        Ours, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal, Lockfree, ShardedSlab, SplitFreeze, VecNew,
        Scratch, Reused);
}

fn pair() -> Vec<Make> {
    let mut rows: Vec<Make> = Vec::new();
    for class in 0..CLASSES {
        let size = MIN_CLASS_SIZE << class;
        rows.push(Box::new(move |effort| pair_row(size, effort)));
    }
    for size in [1 << 10, 4 << 10, 32 << 10, 256 << 10] {
        rows.push(Box::new(move |effort| in_place_row(size, effort)));
    }
    for size in [1 << 10, 16 << 10, 256 << 10] {
        rows.push(Box::new(move |effort| alternating_row(size, effort)));
    }
    rows
}

/// `bytes` is not here: it lends no buffer, and splitting off nothing is not a use. The limit is the thread's own `Vec`.
const MOVED: bool = true;
const IN_PLACE: bool = false;

fn pair_row(size: usize, effort: Effort) -> Row {
    let mut row = Row::new(bytes(size)).limit(Scratch::NAME);
    row.lane::<Ours>(effort, || Single::<Ours, _>::warm_on(Ours::learned(size), Pair::<MOVED> { size }));
    lanes!(row, effort, |C| Single::<C, _>::warm(Pair::<MOVED> { size });
        OursSized, OursOwned, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal, Lockfree, ShardedSlab,
        VecWithCapacity, Scratch, Reused);
    row
}

fn in_place_row(size: usize, effort: Effort) -> Row {
    let mut row = Row::new(format!("in place, {}", bytes(size))).limit(Scratch::NAME);
    let work = || Pair::<IN_PLACE> { size };
    row.lane::<Ours>(effort, || Single::<Ours, _>::warm_on(Ours::learned(size), work()));
    lanes!(row, effort, |C| Single::<C, _>::warm(work());
        OursSized, OursOwned, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal, Lockfree, ShardedSlab,
        VecWithCapacity, Scratch, Reused);
    row
}

/// zeropool is not here: it says that it wants one pool per process, and two of them empty each other's cache.
fn alternating_row(size: usize, effort: Effort) -> Row {
    let mut row = Row::new(format!("two pools alternating, {}", bytes(size)));
    row.lane::<Ours>(effort, || Alternating::<Ours>::warm(size, || Ours::learned(size)));
    lanes!(row, effort, |C| Alternating::<C>::warm(size, || C::fresh(size));
        OursSized, OursOwned, ObjectPool, Opool, PoolsharkGlobal, Lockfree, ShardedSlab);
    row
}

fn append() -> Vec<Make> {
    let log_line = |effort| {
        let mut row = Row::new("log line, 10 x 21 B").limit(Reused::NAME);
        singles(&mut row, effort, Appends::log_line);
        row
    };
    let once = |effort| {
        let mut row = Row::new("one write of 200 B").limit(Reused::NAME);
        let work = || Once { payload: workload::payload(200) };
        singles(&mut row, effort, work);
        row.lane::<OursSized>(effort, || Single::<OursSized, _>::warm(work()));
        row.lane::<VecWithCapacity>(effort, || Single::<VecWithCapacity, _>::warm(work()));
        row
    };
    let json = |effort| {
        let mut row = Row::new("8 KiB in appends of 16 B").limit(Reused::NAME);
        singles(&mut row, effort, Appends::json);
        row
    };
    let write_macro = |effort| {
        let mut row = Row::new("write!").limit(Reused::NAME);
        singles(&mut row, effort, || WriteMacro);
        row
    };
    vec![Box::new(log_line), Box::new(once), Box::new(json), Box::new(write_macro)]
}

fn mix() -> Vec<Make> {
    let one = |effort| {
        let mut row = Row::new("heavy tail, 1 in flight").uses(MIX_MESSAGES as u64).limit(Reused::NAME).shows_cached();
        singles(&mut row, effort, || Messages::mix(MIX_MESSAGES, 1));
        row
    };
    let many = |effort| {
        let mut row = Row::new("heavy tail, 64 in flight").uses(MIX_MESSAGES as u64).limit(VecNew::NAME).shows_cached();
        let work = || Messages::mix(MIX_MESSAGES, IN_FLIGHT);
        lanes!(row, effort, |C| Single::<C, _>::warm(work());
            Ours, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal, Lockfree, ShardedSlab, SplitFreeze,
            VecNew);
        row
    };
    let first = |effort| {
        let mut row = Row::new("first 1000 of a new pool, 64 in flight").uses(1000).limit(VecNew::NAME).shows_cached();
        let work = || Messages::mix(1000, IN_FLIGHT);
        lanes!(row, effort, |C| Anew::<C, _>::cold(work());
            Ours, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal, Lockfree, ShardedSlab, SplitFreeze,
            VecNew);
        row
    };
    vec![Box::new(one), Box::new(many), Box::new(first)]
}

fn hand_over() -> Vec<Make> {
    let mut rows: Vec<Make> = Vec::new();
    for (producers, consumers) in [(1, 1), (2, 1), (1, 2)] {
        for size in [200, 4 << 10, 100 << 10] {
            for depth in DEPTHS {
                let route = Route { producers, consumers, depth };
                rows.push(Box::new(move |effort| hand_over_row(route, size, effort)));
            }
        }
    }
    rows
}

/// poolshark's thread-local pool is not here: buffers that go one way never come back to the thread that takes.
fn hand_over_row(route: Route, size: usize, effort: Effort) -> Row {
    let Route { producers, consumers, depth } = route;
    let mut row = Row::new(format!("{producers} -> {consumers}, {}, channel of {depth}", bytes(size)))
        .uses(HAND_OVER_MESSAGES)
        .by_median()
        .limit(VecWithCapacity::NAME)
        .shows_cached();
    // Rounds of this group are long, as each starts threads.
    let payload = workload::payload(size);
    lanes!(row, effort, |C| HandOver::<C>::warm(payload.clone(), route);
        OursSized, OursOwned, Zeropool, ObjectPool, Opool, PoolsharkGlobal, LockfreeOwned, ShardedSlab, SplitFreeze,
        VecWithCapacity);
    row
}

fn parallel() -> Vec<Make> {
    let mut rows: Vec<Make> = Vec::new();
    for threads in [1, 2, 8, 64] {
        rows.push(Box::new(move |effort| parallel_row(threads, effort)));
    }
    rows
}

fn threads_name(threads: usize) -> String {
    format!("log line, {threads} thread{}", if threads == 1 { "" } else { "s" })
}

fn parallel_row(threads: usize, effort: Effort) -> Row {
    let mut row = Row::new(threads_name(threads)).by_median().limit(Scratch::NAME).shows_cached();
    lanes!(row, effort, |C| Parallel::<C, _>::warm(Appends::log_line(), threads);
        Ours, OursOwned, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal, Lockfree, ShardedSlab,
        SplitFreeze, VecNew, Scratch);
    row
}

fn short_lived() -> Vec<Make> {
    let row = |uses: u64| -> Make {
        Box::new(move |effort| {
            let name = format!("{SHORT_LIVED_THREADS} threads of {uses} log line{}", if uses == 1 { "" } else { "s" });
            let mut row =
                Row::new(name).uses(SHORT_LIVED_THREADS * uses).by_median().limit(Reused::NAME).shows_cached();
            lanes!(row, effort, |C| ShortLived::<C, _>::warm(Appends::log_line(), uses);
                Ours, OursOwned, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal, Lockfree, ShardedSlab,
                SplitFreeze, VecNew, Scratch, Reused);
            row
        })
    };
    vec![row(1), row(100), row(1000)]
}

fn sleepers() -> Vec<Make> {
    let mut rows: Vec<Make> = Vec::new();
    for sleepers in sleepers::JUDGED {
        rows.push(Box::new(move |effort| {
            let name = match sleepers {
                (_, 0, _) => SLEEPING_NOBODY.to_owned(),
                (who, 1, _) => format!("{who} sleeps"),
                (who, ..) => format!("{who} sleep"),
            };
            let mut row = Row::new(name).shows_cached();
            row.lane::<OursSized>(effort, || BesideSleepers::warm(sleepers));
            row
        }));
    }
    rows.push(Box::new(|effort| {
        let mut row = Row::new(SHARED_PART);
        let uncached = || OursSized::on(sleepers::builder().thread_cache_bytes_max(0).build());
        let work = || Pair::<IN_PLACE> { size: 64 };
        row.lane::<OursSized>(effort, || Single::<OursSized, _>::warm_on(uncached(), work()));
        row.lane::<VecWithCapacity>(effort, || Single::<VecWithCapacity, _>::warm(work()));
        row
    }));
    rows
}

fn large() -> Vec<Make> {
    let mut rows: Vec<Make> = Vec::new();
    for size in [64 << 10, 256 << 10, 1 << 20, 8 << 20, 32 << 20] {
        rows.push(Box::new(move |effort| {
            let mut row = Row::new(format!("{} written whole", bytes(size))).limit(Reused::NAME);
            let work = || Once { payload: workload::payload(size) };
            lanes!(row, effort, |C| Single::<C, _>::warm(work());
                OursSized, Zeropool, ObjectPool, Opool, PoolsharkGlobal, Lockfree, VecWithCapacity, Reused);
            row
        }));
    }
    rows.push(Box::new(|effort| {
        let mut row = Row::new(TO_SINK);
        let (size, piece) = (1 << 20, workload::MIX_PIECE_SIZE);
        row.named_lane(OURS_CHUNKED, Role::Ours, effort, || ToSink::<Chunks>::warm(size, piece));
        row.named_lane(Ours::NAME, Role::Ours, effort, || ToSink::<OneBuffer>::warm(size, piece));
        row.named_lane(VecNew::NAME, Role::Control, effort, || ToSink::<NewVec>::warm(size, piece));
        row
    }));
    rows
}

fn serialize() -> Vec<Make> {
    let json = |items: usize| -> Make {
        Box::new(move |effort| {
            let name = format!("serde_json, {}", bytes(Json::new(items).size));
            let mut row = Row::new(name).limit(Reused::NAME);
            singles(&mut row, effort, || Json::new(items));
            row
        })
    };
    let protobuf = |items: usize| -> Make {
        Box::new(move |effort| {
            let name = format!("prost, {}", bytes(Protobuf::new(items).size));
            let mut row = Row::new(name).limit(Reused::NAME);
            singles(&mut row, effort, || Protobuf::new(items));
            row.lane::<OursSized>(effort, || Single::<OursSized, _>::warm(Protobuf::new(items)));
            row.lane::<VecWithCapacity>(effort, || Single::<VecWithCapacity, _>::warm(Protobuf::new(items)));
            row
        })
    };
    let format = |effort| {
        let format = Format::new();
        let mut row = Row::new("log record through fmt").uses(format.records.len() as u64).limit(Reused::NAME);
        singles(&mut row, effort, Format::new);
        row
    };
    vec![json(4), json(60), protobuf(4), protobuf(60), Box::new(format)]
}

fn freeze() -> Vec<Make> {
    let row = |name: &'static str, in_flight: usize| -> Make {
        Box::new(move |effort| {
            let work = || Messages::held(1000, in_flight);
            let mut row = Row::new(format!("1000 B, {name}")).uses(1024).shows_cached();
            row.lane::<OursFrozen>(effort, || Single::<OursFrozen, _>::warm(work()));
            row.lane::<SplitFreeze>(effort, || Single::<SplitFreeze, _>::warm(work()));
            row.lane::<VecIntoBytes>(effort, || Single::<VecIntoBytes, _>::warm(work()));
            row
        })
    };
    // A slot is emptied before it is filled, so one slot means that none is in flight while the next is written.
    vec![row("none in flight", 1), row("one in flight", 2), row("16 in flight", 17), row("64 in flight", 65)]
}

fn outlier() -> Vec<Make> {
    let row = |name: &'static str, piece: usize| -> Make {
        Box::new(move |effort| {
            let mut row = Row::new(name).uses(100_000).shows_cached();
            singles(&mut row, effort, || Messages::outlier(piece));
            row.named_lane(OURS_CHUNKED, Role::Ours, effort, || ChunkedMessages::warm(Messages::outlier(piece)));
            row
        })
    };
    vec![row(OUTLIER, 64 << 10), row(OUTLIER_IN_256_B, 256)]
}

/// The other side is measured by Go, and joins the rows afterwards.
fn against_go() -> Vec<Make> {
    let row = |index: usize| Row::new(go::ROWS[index].0);
    let pair = move |effort| {
        let mut row = row(0);
        row.lane::<Ours>(effort, || Single::<Ours, _>::warm(Pair::<IN_PLACE> { size: 64 }));
        row
    };
    let log_line = move |effort| {
        let mut row = row(1);
        row.lane::<Ours>(effort, || Single::<Ours, _>::warm(Appends::log_line()));
        row
    };
    let two_threads = move |effort| {
        let mut row = row(2);
        row.lane::<Ours>(effort, || Parallel::<Ours, _>::warm(Appends::log_line(), 2));
        row
    };
    vec![Box::new(pair), Box::new(log_line), Box::new(two_threads)]
}
