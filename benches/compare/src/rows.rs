//! The rows: which work, which contenders, which limit, which target.

use std::time::Duration;

use bytebufferpool::{CLASSES, MIN_CLASS_SIZE};

use crate::contenders::*;
use crate::go;
use crate::run::{Anew, Effort, Line, Row, Single, Versus, Work};
use crate::threads::{
    Alternating, DEPTHS, HAND_OVER_MESSAGES, HandOver, Parallel, Route, SHORT_LIVED_THREADS, ShortLived,
};
use crate::work::{Appends, Format, Json, Messages, Once, Pair, Protobuf, WriteMacro};
use crate::workload::{self, IN_FLIGHT, MIX_MESSAGES};

/// The groups with their questions.
pub const GROUPS: [(&str, &str); 11] = [
    ("pair", "a get and a drop, nothing written, in every size class"),
    ("append", "a log line in ten pieces; one write; many small appends; `write!`"),
    ("mix", "a heavy tail of sizes, with 1 and 64 buffers in flight, and the first messages of a new pool"),
    ("hand_over", "filled on one thread, dropped on another"),
    ("parallel", "one pool, 1 to 64 threads"),
    ("short_lived", "100 threads one after another, each with a few uses"),
    ("large", "1 to 32 MiB, written whole"),
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

/// One thread, one buffer after another, sizes unknown beforehand: everybody takes part.
fn singles<W: Work>(row: &mut Row, effort: Effort, work: impl Fn() -> W) {
    macro_rules! add {
        ($($contender:ty),+) => {$(row.lane::<$contender>(effort, || Single::<$contender, W>::warm(work()));)+};
    }
    add!(Ours, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal, Lockfree, ShardedSlab, SplitFreeze);
    add!(VecNew, Scratch, Reused);
}

const OURS: &str = Ours::NAME;
const SIZED: &str = OursSized::NAME;

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
    let mut row = pair_targets(Row::new(bytes(size)), "get + drop", size).limit(Scratch::NAME);
    row.lane::<Ours>(effort, || Single::<Ours, _>::warm_on(Ours::learnt(size), Pair::<MOVED> { size }));
    macro_rules! add {
        ($($contender:ty),+) => {$(row.lane::<$contender>(effort, || Single::<$contender, _>::warm(Pair::<MOVED> { size }));)+};
    }
    add!(OursSized, OursOwned, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal, Lockfree, ShardedSlab);
    add!(VecWithCapacity, Scratch, Reused);
    row
}

fn pair_targets(row: Row, work: &str, size: usize) -> Row {
    let (band, malloc, peer) = match size {
        ..=1024 => ("to 1 KiB", 0.6, 0.5),
        1025..=32_768 => ("2 to 32 KiB", 0.35, 0.5),
        _ => ("above 32 KiB", 0.5, 0.6),
    };
    let work = format!("{work}, {band}");
    row.check(&work, OURS, Versus::lane::<VecWithCapacity>(), malloc)
        .check(&work, OURS, Versus::BestPeer, peer)
        .check(&work, SIZED, Versus::lane::<VecWithCapacity>(), malloc)
        .check(&work, SIZED, Versus::BestPeer, peer)
}

fn in_place_row(size: usize, effort: Effort) -> Row {
    let row = Row::new(format!("in place, {}", bytes(size))).limit(Scratch::NAME);
    let mut row = pair_targets(row, "get + drop in place", size);
    let work = || Pair::<IN_PLACE> { size };
    row.lane::<Ours>(effort, || Single::<Ours, _>::warm_on(Ours::learnt(size), work()));
    macro_rules! add {
        ($($contender:ty),+) => {$(row.lane::<$contender>(effort, || Single::<$contender, _>::warm(work()));)+};
    }
    add!(OursSized, OursOwned, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal, Lockfree, ShardedSlab);
    add!(VecWithCapacity, Scratch, Reused);
    row
}

/// zeropool is not here: it says that it wants one pool per process, and two of them empty each other's cache.
fn alternating_row(size: usize, effort: Effort) -> Row {
    let mut row = Row::new(format!("two pools alternating, {}", bytes(size)))
        .check("two pools alternating", OURS, Versus::Row(bytes(size)), 1.15)
        .check("two pools alternating", SIZED, Versus::Row(bytes(size)), 1.15);
    row.lane::<Ours>(effort, || Alternating::<Ours>::warm(size, || Ours::learnt(size)));
    macro_rules! add {
        ($($contender:ty),+) => {$(
            row.lane::<$contender>(effort, || Alternating::<$contender>::warm(size, || <$contender>::fresh(size)));
        )+};
    }
    add!(OursSized, OursOwned, ObjectPool, Opool, PoolsharkGlobal, Lockfree, ShardedSlab);
    row
}

fn append() -> Vec<Make> {
    let log_line = |effort| {
        let mut row = Row::new("log line, 10 x 21 B")
            .limit(Reused::NAME)
            .check("log line in 10 pieces", OURS, Versus::lane::<Reused>(), 1.12)
            .check("log line in 10 pieces", OURS, Versus::BestPeer, 1.1);
        singles(&mut row, effort, Appends::log_line);
        row
    };
    let once = |effort| {
        let mut row =
            Row::new("one write of 200 B").limit(Reused::NAME).check("one write of 200 B", OURS, Versus::BestPeer, 1.1);
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
        let mut row = Row::new("heavy tail, 1 in flight")
            .uses(MIX_MESSAGES as u64)
            .limit(Reused::NAME)
            .shows_idle()
            .check("heavy tail, 1 in flight", OURS, Versus::lane::<ObjectPool>(), 1.25);
        singles(&mut row, effort, || Messages::mix(MIX_MESSAGES, 1));
        row
    };
    let many = |effort| {
        let mut row = Row::new("heavy tail, 64 in flight")
            .uses(MIX_MESSAGES as u64)
            .limit(VecNew::NAME)
            .shows_idle()
            .check("heavy tail, 64 in flight", OURS, Versus::lane::<ObjectPool>(), 1.1)
            .check_idle("heavy tail, 64 in flight", OURS, Versus::lane::<ObjectPool>(), 0.25);
        let work = || Messages::mix(MIX_MESSAGES, IN_FLIGHT);
        macro_rules! add {
            ($($contender:ty),+) => {$(row.lane::<$contender>(effort, || Single::<$contender, _>::warm(work()));)+};
        }
        add!(Ours, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal, Lockfree, ShardedSlab, SplitFreeze);
        add!(VecNew);
        row
    };
    let first = |effort| {
        let mut row = Row::new("first 1000 of a new pool, 64 in flight")
            .uses(1000)
            .limit(VecNew::NAME)
            .shows_idle()
            .check("first 1000 messages of a new pool", OURS, Versus::lane::<VecNew>(), 1.0);
        let work = || Messages::mix(1000, IN_FLIGHT);
        macro_rules! add {
            ($($contender:ty),+) => {$(row.lane::<$contender>(effort, || Anew::<$contender, _>::cold(work()));)+};
        }
        add!(Ours, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal, Lockfree, ShardedSlab, SplitFreeze);
        add!(VecNew);
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
    let work = format!("thread to thread, {}", bytes(size));
    let mut row = Row::new(format!("{producers} -> {consumers}, {}, channel of {depth}", bytes(size)))
        .uses(HAND_OVER_MESSAGES)
        .by_median()
        .limit(VecWithCapacity::NAME)
        .shows_idle()
        .check(&work, SIZED, Versus::BestPeer, 1.1);
    match size {
        4096 => row = row.check(&work, SIZED, Versus::lane::<VecWithCapacity>(), 0.35),
        102_400 => row = row.check(&work, SIZED, Versus::lane::<VecWithCapacity>(), 1.05),
        _ => {}
    }
    // Rounds of this group are long, as each starts threads.
    let payload = workload::payload(size);
    macro_rules! add {
        ($($contender:ty),+) => {$(
            row.lane::<$contender>(effort, || HandOver::<$contender>::warm(payload.clone(), route));
        )+};
    }
    add!(OursSized, OursOwned, Zeropool, ObjectPool, Opool, PoolsharkGlobal, LockfreeOwned, ShardedSlab, SplitFreeze);
    add!(VecWithCapacity);
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
    let mut row = Row::new(threads_name(threads)).by_median().limit(Scratch::NAME).shows_idle();
    if threads == 2 {
        // 1.9 times the throughput; and what the machine gives to threads that share nothing.
        row = row.check("two threads on one pool", OURS, Versus::Row(threads_name(1)), 1.0 / 1.9).tell(
            "two threads, a `Vec` each",
            Scratch::NAME,
            Versus::Row(threads_name(1)),
        );
    }
    macro_rules! add {
        ($($contender:ty),+) => {$(
            row.lane::<$contender>(effort, || Parallel::<$contender, _>::warm(Appends::log_line(), threads));
        )+};
    }
    add!(Ours, OursOwned, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal, Lockfree, ShardedSlab);
    add!(SplitFreeze, VecNew, Scratch);
    row
}

fn short_lived() -> Vec<Make> {
    let row = |uses: u64| -> Make {
        Box::new(move |effort| {
            let name = format!("{SHORT_LIVED_THREADS} threads of {uses} log line{}", if uses == 1 { "" } else { "s" });
            let mut row = Row::new(name).uses(SHORT_LIVED_THREADS * uses).by_median().limit(Reused::NAME).shows_idle();
            macro_rules! add {
                ($($contender:ty),+) => {$(
                    row.lane::<$contender>(effort, || ShortLived::<$contender, _>::warm(Appends::log_line(), uses));
                )+};
            }
            add!(Ours, OursOwned, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal, Lockfree);
            add!(ShardedSlab, SplitFreeze, VecNew, Scratch, Reused);
            row
        })
    };
    vec![row(1), row(100), row(1000)]
}

fn large() -> Vec<Make> {
    let mut rows: Vec<Make> = Vec::new();
    for mib in [1, 8, 32] {
        rows.push(Box::new(move |effort| {
            let mut row = Row::new(format!("{mib} MiB written whole")).limit(Reused::NAME);
            if mib == 32 {
                row = row.check("32 MiB written whole", SIZED, Versus::lane::<Reused>(), 1.1).tell(
                    "32 MiB written whole",
                    SIZED,
                    Versus::lane::<VecWithCapacity>(),
                );
            }
            let work = || Once { payload: workload::payload(mib << 20) };
            row.lane::<OursSized>(effort, || Single::<OursSized, _>::warm(work()));
            macro_rules! add {
                ($($contender:ty),+) => {$(row.lane::<$contender>(effort, || Single::<$contender, _>::warm(work()));)+};
            }
            add!(Zeropool, ObjectPool, Opool, PoolsharkGlobal, Lockfree, VecWithCapacity, Reused);
            row
        }));
    }
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
            let mut row = Row::new(format!("1000 B, {name}")).uses(1024).shows_idle();
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
    let row = |effort| {
        let mut row = Row::new("one 32 MiB in 100 000 of 200 B").uses(100_000).shows_idle();
        singles(&mut row, effort, Messages::outlier);
        row
    };
    vec![Box::new(row)]
}

/// The other side is measured by Go, and joins the rows afterwards.
fn against_go() -> Vec<Make> {
    let row = |index: usize, factor: f64| {
        let name = go::ROWS[index].0;
        Row::new(name).check(&format!("{name}, against Go"), OURS, Versus::BestPeer, factor)
    };
    let pair = move |effort| {
        let mut row = row(0, 1.0 / 3.0);
        row.lane::<Ours>(effort, || Single::<Ours, _>::warm(Pair::<IN_PLACE> { size: 64 }));
        row
    };
    let log_line = move |effort| {
        let mut row = row(1, 1.0);
        row.lane::<Ours>(effort, || Single::<Ours, _>::warm(Appends::log_line()));
        row
    };
    let two_threads = move |effort| {
        let mut row = row(2, 0.5);
        row.lane::<Ours>(effort, || Parallel::<Ours, _>::warm(Appends::log_line(), 2));
        row
    };
    vec![Box::new(pair), Box::new(log_line), Box::new(two_threads)]
}

pub fn bytes(count: usize) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 if count.trailing_zeros() >= 10 => format!("{} KiB", count >> 10),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ if count.trailing_zeros() >= 20 => format!("{} MiB", count >> 20),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}
