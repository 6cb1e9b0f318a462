//! The rows: which work, which contenders, which limit, which target.

use bytebufferpool::{CLASSES, MIN_CLASS_SIZE};

use crate::contenders::*;
use crate::run::{Anew, Effort, Row, Single, Versus, Work};
use crate::threads::{Alternating, HAND_OVER_MESSAGES, HandOver, Parallel};
use crate::work::{Appends, Format, Json, Messages, Once, Pair, WriteMacro};
use crate::workload::{self, IN_FLIGHT, MIX_MESSAGES};

pub const GROUPS: [&str; 9] =
    ["pair", "append", "mix", "hand_over", "parallel", "large", "serialize", "freeze", "outlier"];

/// A row that is built when its turn comes, so that only one row's pools exist at a time.
pub type Make = Box<dyn FnOnce(Effort) -> Row>;

pub fn rows(group: &str) -> Vec<Make> {
    match group {
        "pair" => pair(),
        "append" => append(),
        "mix" => mix(),
        "hand_over" => hand_over(),
        "parallel" => parallel(),
        "large" => large(),
        "serialize" => serialize(),
        "freeze" => freeze(),
        "outlier" => outlier(),
        _ => Vec::new(),
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
    for size in [1 << 10, 16 << 10, 256 << 10] {
        rows.push(Box::new(move |effort| alternating_row(size, effort)));
    }
    rows
}

/// `bytes` is not here: it lends no buffer, and splitting off nothing is not a use. The limit is the thread's own `Vec`.
fn pair_row(size: usize, effort: Effort) -> Row {
    let (malloc, peer) = match size {
        ..=1024 => (0.6, 0.5),
        1025..=32_768 => (0.35, 0.5),
        _ => (0.5, 0.6),
    };
    let mut row = Row::new("pair", bytes(size))
        .limit(Scratch::NAME)
        .check(OURS, Versus::Lane(VecWithCapacity::NAME), malloc)
        .check(OURS, Versus::BestPeer, peer)
        .check(SIZED, Versus::Lane(VecWithCapacity::NAME), malloc)
        .check(SIZED, Versus::BestPeer, peer);
    row.lane::<Ours>(effort, || Single::<Ours, Pair>::warm_on(Ours::learnt(size), Pair { size }));
    macro_rules! add {
        ($($contender:ty),+) => {$(row.lane::<$contender>(effort, || Single::<$contender, _>::warm(Pair { size }));)+};
    }
    add!(OursSized, OursOwned, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal, Lockfree, ShardedSlab);
    add!(VecWithCapacity, Scratch, Reused);
    row
}

/// zeropool is not here: it says that it wants one pool per process, and two of them empty each other's cache.
fn alternating_row(size: usize, effort: Effort) -> Row {
    let mut row = Row::new("pair", format!("two pools alternating, {}", bytes(size)))
        .check(OURS, Versus::Row(bytes(size)), 1.15)
        .check(SIZED, Versus::Row(bytes(size)), 1.15);
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
        let mut row = Row::new("append", "log line, 10 x 21 B")
            .limit(Reused::NAME)
            .check(OURS, Versus::Lane(Reused::NAME), 1.12)
            .check(OURS, Versus::BestPeer, 1.1);
        singles(&mut row, effort, Appends::log_line);
        row
    };
    let once = |effort| {
        let mut row = Row::new("append", "one write of 200 B").limit(Reused::NAME).check(OURS, Versus::BestPeer, 1.1);
        let work = || Once { payload: workload::payload(200) };
        singles(&mut row, effort, work);
        row.lane::<OursSized>(effort, || Single::<OursSized, _>::warm(work()));
        row.lane::<VecWithCapacity>(effort, || Single::<VecWithCapacity, _>::warm(work()));
        row
    };
    let json = |effort| {
        let mut row = Row::new("append", "8 KiB in appends of 16 B").limit(Reused::NAME);
        singles(&mut row, effort, Appends::json);
        row
    };
    let write_macro = |effort| {
        let mut row = Row::new("append", "write!").limit(Reused::NAME);
        singles(&mut row, effort, || WriteMacro);
        row
    };
    vec![Box::new(log_line), Box::new(once), Box::new(json), Box::new(write_macro)]
}

fn mix() -> Vec<Make> {
    let one = |effort| {
        let mut row = Row::new("mix", "heavy tail, 1 in flight")
            .uses(MIX_MESSAGES as u64)
            .limit(Reused::NAME)
            .shows_idle()
            .check(OURS, Versus::Lane(ObjectPool::NAME), 1.25);
        singles(&mut row, effort, || Messages::mix(MIX_MESSAGES, 1));
        row
    };
    let many = |effort| {
        let mut row = Row::new("mix", "heavy tail, 64 in flight")
            .uses(MIX_MESSAGES as u64)
            .limit(VecNew::NAME)
            .shows_idle()
            .check(OURS, Versus::Lane(ObjectPool::NAME), 1.1)
            .check_idle(OURS, Versus::Lane(ObjectPool::NAME), 0.25);
        let work = || Messages::mix(MIX_MESSAGES, IN_FLIGHT);
        macro_rules! add {
            ($($contender:ty),+) => {$(row.lane::<$contender>(effort, || Single::<$contender, _>::warm(work()));)+};
        }
        add!(Ours, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal, Lockfree, ShardedSlab, SplitFreeze);
        add!(VecNew);
        row
    };
    let first = |effort| {
        let mut row = Row::new("mix", "first 1000 of a new pool, 64 in flight")
            .uses(1000)
            .limit(VecNew::NAME)
            .shows_idle()
            .check(OURS, Versus::Lane(VecNew::NAME), 1.0);
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
            rows.push(Box::new(move |effort| hand_over_row(producers, consumers, size, effort)));
        }
    }
    rows
}

/// poolshark's thread-local pool is not here: buffers that go one way never come back to the thread that takes.
fn hand_over_row(producers: usize, consumers: usize, size: usize, effort: Effort) -> Row {
    let mut row = Row::new("hand_over", format!("{producers} -> {consumers}, {}", bytes(size)))
        .uses(HAND_OVER_MESSAGES)
        .limit(VecWithCapacity::NAME)
        .shows_idle()
        .check(SIZED, Versus::BestPeer, 1.1);
    match size {
        4096 => row = row.check(SIZED, Versus::Lane(VecWithCapacity::NAME), 0.35),
        102_400 => row = row.check(SIZED, Versus::Lane(VecWithCapacity::NAME), 1.05),
        _ => {}
    }
    // Rounds of this group are long, as each starts threads.
    let payload = workload::payload(size);
    macro_rules! add {
        ($($contender:ty),+) => {$(
            row.lane::<$contender>(effort, || HandOver::<$contender>::warm(payload.clone(), producers, consumers));
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
    let mut row = Row::new("parallel", threads_name(threads)).limit(Scratch::NAME).shows_idle();
    if threads == 2 {
        row = row.check(OURS, Versus::Row(threads_name(1)), 1.0 / 1.9);
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

fn large() -> Vec<Make> {
    let mut rows: Vec<Make> = Vec::new();
    for mib in [1, 8, 32] {
        rows.push(Box::new(move |effort| {
            let mut row = Row::new("large", format!("{mib} MiB written whole")).limit(Reused::NAME);
            if mib == 32 {
                row = row.check(SIZED, Versus::Lane(Reused::NAME), 1.1);
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
            let mut row = Row::new("serialize", name).limit(Reused::NAME);
            singles(&mut row, effort, || Json::new(items));
            row
        })
    };
    let format = |effort| {
        let format = Format::new();
        let mut row =
            Row::new("serialize", "log record through fmt").uses(format.records.len() as u64).limit(Reused::NAME);
        singles(&mut row, effort, Format::new);
        row
    };
    vec![json(4), json(60), Box::new(format)]
}

fn freeze() -> Vec<Make> {
    let row = |name: &'static str, in_flight: usize| -> Make {
        Box::new(move |effort| {
            let work = || Messages::held(1000, in_flight);
            let mut row = Row::new("freeze", format!("1000 B, {name}")).uses(1024).shows_idle();
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
        let mut row = Row::new("outlier", "one 32 MiB in 100 000 of 200 B").uses(100_000).shows_idle();
        singles(&mut row, effort, Messages::outlier);
        row
    };
    vec![Box::new(row)]
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
