//! That the comparison is honest: every contender starts empty, writes what it is given, and uses its memory again.

use std::collections::HashSet;

use compare::contenders::*;
use compare::messages;
use compare::patterns::{self, Did, PATTERNS, Pattern, Shape};
use compare::published::{PLOTS, SHOWN, Versus, targets};
use compare::rows::{groups, rows};
use compare::run::Effort;
use compare::work::Out;
use compare::workload::{self, Sink};
use prost::Message;

/// Calls `$check::<Contender>()` for all of them.
macro_rules! for_all {
    ($check:ident) => {
        for_all!(
            $check: Ours, OursSized, OursOwned, OursFrozen, Zeropool, ObjectPool, Opool, PoolsharkLocal,
            PoolsharkGlobal, Lockfree, LockfreeOwned, ShardedSlab, SplitFreeze, VecNew, VecWithCapacity,
            VecIntoBytes, Scratch, Reused
        );
    };
    ($check:ident: $($contender:ty),+) => {$($check::<$contender>();)+};
}

const SIZES: [usize; 6] = [1, 21, 200, 4096, 10_000, 300_000];

fn writes_what_it_is_given<C: Contender>() {
    let pool = C::fresh(300_000);
    let mut worker = pool.worker();
    for round in 0..3 {
        for size in SIZES {
            let payload = workload::payload(size);
            let mut guard = C::take(&mut worker, None);
            assert!(guard.bytes().is_empty(), "{}: round {round}, {size} B: not empty", C::NAME);
            for piece in payload.chunks(256) {
                guard.extend(piece);
            }
            assert!(guard.bytes() == payload, "{}: round {round}, {size} B: appended", C::NAME);
            seal_and_check::<C>(guard, &payload);
            let once = C::write_once(&mut worker, &payload);
            assert!(once.bytes() == payload, "{}: round {round}, {size} B: written once", C::NAME);
            seal_and_check::<C>(once, &payload);
            C::pair(&mut worker, size);
            C::pair_in_place(&mut worker, size);
            let catalog = messages::catalog(size % 7);
            let encoded = C::encode(&mut worker, &catalog);
            assert!(encoded.bytes() == catalog.encode_to_vec(), "{}: round {round}, {size} B: encoded", C::NAME);
            drop(C::seal(encoded));
        }
    }
}

fn seal_and_check<'p, 'w, C: Contender>(guard: C::Guard<'p, 'w>, payload: &[u8])
where
    'p: 'w,
{
    let held = C::seal(guard);
    if C::HOLDS_MANY {
        held.read(|bytes| assert!(bytes == payload, "{}: sealed", C::NAME));
    }
}

#[test]
fn every_contender_starts_empty_and_writes_the_right_bytes() {
    for_all!(writes_what_it_is_given);
}

fn holds_64<C: Contender>() {
    if !C::HOLDS_MANY {
        return;
    }
    let pool = C::fresh(4096);
    let mut worker = pool.worker();
    for _ in 0..3 {
        let held: Vec<C::Held<'_>> = (0..64)
            .map(|index| {
                let mut guard = C::take(&mut worker, None);
                guard.extend(&vec![index; 100 + usize::from(index)]);
                C::seal(guard)
            })
            .collect();
        for (index, held) in held.iter().enumerate() {
            let expected = vec![index as u8; 100 + index];
            held.read(|bytes| assert!(bytes == expected, "{}: held buffer {index}", C::NAME));
        }
    }
}

#[test]
fn buffers_in_use_at_once_do_not_share_memory() {
    for_all!(holds_64);
}

fn reuses<C: Contender>() {
    let pool = C::fresh(4096);
    let mut worker = pool.worker();
    let payload = workload::payload(4096);
    let mut addresses = HashSet::new();
    for _ in 0..1000 {
        let guard = C::write_once(&mut worker, &payload);
        addresses.insert(guard.bytes().as_ptr() as usize);
        drop(C::seal(guard));
    }
    let cached = pool.cached_bytes() + C::kept_bytes(&worker);
    assert!(addresses.len() <= 4, "{}: {} addresses in 1000 uses", C::NAME, addresses.len());
    assert!((4096..=4 * 8192).contains(&cached), "{}: {cached} B cached after one buffer of 4096 B", C::NAME);
}

/// Only pools: an allocator's addresses say nothing, and `bytes` cuts its messages out of one larger buffer.
#[test]
fn every_pool_uses_its_memory_again() {
    for_all!(
        reuses: Ours, OursSized, OursOwned, OursFrozen, Zeropool, ObjectPool, Opool, PoolsharkLocal, PoolsharkGlobal,
        Lockfree, LockfreeOwned, ShardedSlab, Scratch, Reused
    );
}

#[test]
fn the_adapter_formats_and_serializes_the_same_bytes() {
    let document = workload::document(7);
    let record = &workload::records(1)[0];
    let pool = Ours::fresh(0);
    let mut worker = pool.worker();
    let mut guard = Ours::take(&mut worker, None);
    serde_json::to_writer(Out(&mut guard), &document).unwrap();
    workload::format_record(&mut Out(&mut guard), record).unwrap();
    let mut expected = document.to_string();
    workload::format_record(&mut expected, record).unwrap();
    assert_eq!(guard.bytes(), expected.as_bytes());
}

/// A plain `get` in a row of a class gives that class; `learned` asserts it.
#[test]
fn the_pair_rows_measure_the_class_they_name() {
    for class in 0..bytebufferpool::CLASSES {
        let size = bytebufferpool::MIN_CLASS_SIZE << class;
        assert_eq!(Ours::learned(size).pool().get().capacity(), size);
    }
}

#[test]
fn the_mix_is_what_it_says() {
    let mut sizes = workload::mix_sizes(workload::MIX_MESSAGES);
    sizes.sort_unstable();
    let median = sizes[sizes.len() / 2];
    assert!((960..=1090).contains(&median), "median {median}");
    assert!(sizes[0] >= workload::MIX_SIZE_MIN && sizes[sizes.len() - 1] > 64 << 10, "{:?}", sizes.last());
    let pieces = workload::pieces(&[0; 256], 1000, 256).map(<[u8]>::len).collect::<Vec<_>>();
    assert_eq!(pieces, [256, 256, 256, 232]);
}

/// One round of the shortest kind; the thread rows assert inside that no message is lost.
#[test]
fn the_rows_of_every_group_run() {
    let effort = Effort { rounds: 1, round_time: std::time::Duration::from_micros(10), ..Effort::QUICK };
    for (group, _) in groups().into_iter().filter(|group| patterns::named(group.0).is_none()) {
        // Go's part is not measured here, and nobody else takes part in `sleepers`.
        let contenders = if ["go", "sleepers"].contains(&group) { 1 } else { 3 };
        let rows = rows(group);
        assert!(!rows.is_empty(), "{group}");
        // The first of each group is enough: rows of a group differ by a number.
        for make in rows.into_iter().take(1) {
            let line = make(effort).time(effort);
            assert!(line.ours().is_some() && line.results.len() >= contenders, "{group}: {}", line.name);
            assert!(line.results.iter().all(|result| result.min > 0.0), "{group}: {}", line.name);
        }
    }
}

/// The names of a group's rows, none of which is built.
fn row_names(group: &str) -> HashSet<String> {
    if patterns::named(group).is_some() {
        return patterns::ROWS.iter().map(|row| row.0.to_owned()).collect();
    }
    let effort = Effort { row_filter: Some("no row has this in its name"), ..Effort::QUICK };
    rows(group).into_iter().map(|make| make(effort).name).collect()
}

/// A row that was renamed would leave its target unmeasured in silence.
#[test]
fn every_row_that_is_published_exists() {
    for target in targets() {
        let names = row_names(target.group);
        let mut wanted = target.rows.clone();
        if let Versus::Rows(others, _) = &target.versus {
            assert_eq!(others.len(), target.rows.len(), "{}", target.work);
            wanted.extend(others);
        }
        for row in wanted {
            assert!(names.contains(row), "{}: the group {} has no row {row}", target.work, target.group);
        }
    }
    for (label, group, row) in SHOWN {
        assert!(row_names(group).contains(row), "{label}: the group {group} has no row {row}");
    }
    for (group, _) in PLOTS {
        assert!(groups().iter().any(|known| known.0 == group), "there is no group {group}");
    }
}

// ---- Patterns.

const SMALL: Shape = Shape { size_max: 4096, buffers: 24_000 };

/// How many buffers, how many bytes, and a checksum over what was read before each was dropped.
#[test]
fn in_every_pattern_every_contender_does_the_same() {
    for (pattern, name, _) in PATTERNS {
        let outcomes: Vec<_> = patterns::lanes().into_iter().map(|(.., run)| run(pattern, SMALL)).collect();
        patterns::all_did_the_same(name, "small", outcomes.iter()).unwrap();
        let did = outcomes[0].did;
        assert!(did.bytes > 64 * did.buffers && did.bytes < 4096 * did.buffers, "{name}: {did:?}");
        let buffers = if pattern == Pattern::Startup { SMALL.buffers / 10 } else { SMALL.buffers };
        assert!((buffers / 2..=buffers).contains(&did.buffers), "{name}: {did:?}");
        for outcome in &outcomes {
            assert!(outcome.nanoseconds > 0 && outcome.seen.get.p999 >= outcome.seen.get.p50, "{name}: {outcome:?}");
        }
    }
}

/// The same sum, computed here from the sizes alone.
#[test]
fn the_checksum_is_that_of_the_sizes() {
    let (sizes, payload) = (workload::log_uniform_sizes(4096, SMALL.size_max), workload::payload(SMALL.size_max));
    let mut expected = Did::default();
    for size in (0..64).flat_map(|thread| (0..16).map(move |nth| 97 * thread + nth)).map(|place| sizes[place % 4096]) {
        expected.buffers += 1;
        expected.bytes += size as u64;
        expected.sum += u64::from(payload[0]) + size as u64 * u64::from(payload[size - 1]);
    }
    let times = 2;
    let did = patterns::outcome::<Ours>(Pattern::Startup, Shape { buffers: 10 * times * 64 * 16, ..SMALL }).did;
    let all = Did { buffers: times * expected.buffers, bytes: times * expected.bytes, sum: times * expected.sum };
    assert_eq!(did, all);
}

#[test]
fn sizes_are_drawn_over_all_powers_of_two_alike() {
    let sizes = workload::log_uniform_sizes(10_000, 32 << 10);
    assert!(sizes.iter().all(|size| (64..=32 << 10).contains(size)));
    for octave in 6..15 {
        let count = sizes.iter().filter(|size| size.ilog2() == octave).count();
        assert!((900..1350).contains(&count), "{count} sizes from {} B", 1 << octave);
    }
}

#[test]
fn a_contender_that_did_something_else_is_named() {
    let outcome = patterns::outcome::<VecNew>(Pattern::Startup, SMALL);
    let mut other = outcome.clone();
    other.did.sum += 1;
    let error = patterns::all_did_the_same("startup", "small", [outcome.clone(), other].iter()).unwrap_err();
    assert!(error.contains("startup, small"), "{error}");
    patterns::all_did_the_same("startup", "small", [outcome.clone(), outcome].iter()).unwrap();
}

/// Writes one byte less than it is given.
struct Short;

impl Contender for Short {
    const NAME: &'static str = "one that writes too little";
    const ROLE: Role = Role::Peer;
    type Worker<'p> = ();
    type Guard<'p, 'w>
        = Vec<u8>
    where
        'p: 'w;
    type Held<'p> = Vec<u8>;

    fn fresh(_: usize) -> Short {
        Short
    }
    fn worker(&self) {}
    fn take<'p, 'w>(_: &'w mut (), _: Option<usize>) -> Vec<u8>
    where
        'p: 'w,
    {
        Vec::new()
    }
    fn seal<'p, 'w>(guard: Vec<u8>) -> Vec<u8>
    where
        'p: 'w,
    {
        guard
    }
    fn write_once<'p, 'w>(worker: &'w mut (), payload: &[u8]) -> Vec<u8>
    where
        'p: 'w,
    {
        let mut guard = Self::take(worker, None);
        Sink::extend(&mut guard, &payload[..payload.len() - 1]);
        guard
    }
}

#[test]
#[should_panic(expected = "holds what was written")]
fn a_contender_that_writes_too_little_is_found_out() {
    patterns::outcome::<Short>(Pattern::Larson, SMALL);
}
