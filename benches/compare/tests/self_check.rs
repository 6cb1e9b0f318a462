//! That the comparison is honest: every contender starts empty, writes what it is given, and uses its memory again.

use compare::contenders::*;
use compare::messages;
use compare::rows::{GROUPS, rows};
use compare::run::Effort;
use compare::work::Out;
use compare::workload;
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
    let mut addresses = std::collections::HashSet::new();
    for _ in 0..1000 {
        let guard = C::write_once(&mut worker, &payload);
        addresses.insert(guard.bytes().as_ptr() as usize);
        drop(C::seal(guard));
    }
    let idle = pool.idle_bytes() + C::kept_bytes(&worker);
    assert!(addresses.len() <= 4, "{}: {} addresses in 1000 uses", C::NAME, addresses.len());
    assert!((4096..=4 * 8192).contains(&idle), "{}: {idle} B idle after one buffer of 4096 B", C::NAME);
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

/// A plain `get` in a row of a class gives that class; `learnt` asserts it.
#[test]
fn the_pair_rows_measure_the_class_they_name() {
    for class in 0..bytebufferpool::CLASSES {
        let size = bytebufferpool::MIN_CLASS_SIZE << class;
        assert_eq!(Ours::learnt(size).pool().get().capacity(), size);
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
    for (group, _) in GROUPS {
        // Go's part is not measured here.
        let contenders = if group == "go" { 1 } else { 3 };
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
