//! Every length has its size class, through the public doors.

use super::driver::{NEVER, class_by_search, is_class_size};
use crate::{CLASSES, Growth, MAX_CLASS_SIZE, MIN_CLASS_SIZE, Pool};

/// Lengths of 0..=65 600 one by one, then both sides of every class edge above.
fn lengths() -> impl DoubleEndedIterator<Item = usize> {
    let edges = (0..CLASSES).map(|class| MIN_CLASS_SIZE << class).filter(|&edge| edge > 65_600);
    (0..=65_600).chain(edges.flat_map(|edge| [edge - 1, edge, edge + 1]))
}

#[track_caller]
fn assert_room(room: usize, wanted: usize, classes_above_max: usize) {
    assert!(room >= wanted, "room for {room} where {wanted} were wanted");
    if wanted > MAX_CLASS_SIZE {
        return;
    }
    assert!(is_class_size(room), "{room} for {wanted} is no class size");
    let above = class_by_search(room) - class_by_search(wanted);
    assert!(above <= classes_above_max, "{room} is {above} classes above the wanted {wanted}");
}

fn pool() -> Pool {
    // One idle buffer of the largest class would otherwise spend half the budget.
    Pool::builder().retained_bytes_max(256 << 20).trim_interval(NEVER).build()
}

#[test]
fn every_length_asked_for_gets_room_in_a_class_at_most_two_above() {
    let pool = pool();
    // Upwards a class is empty when first asked for and nothing lies above it; downwards all above it is full.
    for len in lengths().chain(lengths().rev()) {
        assert_room(pool.get_with_capacity(len).capacity(), len, 2);
    }
    assert!(pool.stats().hits > 2 * 65_000);
}

#[test]
fn a_look_up_reaches_two_classes_up_and_no_further() {
    for class in 0..CLASSES {
        for idle in class..CLASSES.min(class + 4) {
            let pool = pool();
            assert_eq!(pool.prefill(MIN_CLASS_SIZE << idle, 1), 1);
            let got = pool.get_with_capacity(MIN_CLASS_SIZE << class).capacity();
            let found = idle - class <= 2;
            assert_eq!(got, MIN_CLASS_SIZE << if found { idle } else { class }, "{class} {idle}");
            assert_eq!(pool.stats().hits, u64::from(found));
        }
    }
}

#[test]
fn an_empty_pool_gives_exactly_the_class_of_the_length() {
    let pool = Pool::builder().retained_bytes_max(0).build();
    for len in lengths().filter(|len| len % 97 == 0 || len.abs_diff(len.next_power_of_two()) < 2) {
        let room = pool.get_with_capacity(len).capacity();
        assert_room(room, len, 0);
    }
}

#[test]
fn every_length_reached_by_growth_has_room_in_a_class_at_most_two_above() {
    let pool = pool();
    for len in lengths().chain(lengths().rev()) {
        let mut buf = pool.get_with_capacity(0);
        let before = buf.capacity();
        buf.reserve(len);
        if len > before {
            assert_room(buf.capacity(), len, 2);
        } else {
            assert_eq!(buf.capacity(), before, "there was room for {len}");
        }
    }
}

#[test]
fn growth_keeps_the_contents_at_every_class_edge() {
    let pool = pool();
    for len in
        lengths().filter(|&len| len <= 65_600 && (len % 611 == 0 || is_class_size(len) || is_class_size(len + 1)))
    {
        for step in [1_usize, 64, 65] {
            let mut buf = pool.get_with_capacity(0);
            buf.resize(len, b'x');
            buf.extend_from_slice(&vec![b'y'; step]);
            assert_room(buf.capacity(), len + step, CLASSES);
            assert!(buf[..len].iter().all(|&byte| byte == b'x') && buf[len..].iter().all(|&byte| byte == b'y'));
            assert_eq!(buf.len(), len + step);
        }
    }
}

#[test]
fn growth_to_the_max_size_jumps_to_it_once_it_is_learned_and_no_further_than_1_mib() {
    for (used, jump) in [(100, 128), (5000, 8192), (2 << 20, 1 << 20)] {
        let pool = Pool::builder().growth(Growth::MaxSize).default_size_limit(64).trim_interval(NEVER).build();
        let grown = || {
            let mut buf = pool.get();
            buf.extend_from_slice(&[b'x'; 65]);
            buf.capacity()
        };
        assert_eq!(grown(), 128, "before the first calibration to the next class only");
        for _ in 0..100 {
            let _ = pool.get_with_capacity(used);
        }
        pool.calibrate();
        pool.purge();
        assert_eq!(grown(), jump, "uses of {used}");
    }
}

#[test]
fn a_donated_vec_of_any_capacity_is_cut_to_a_class_or_freed() {
    let pool = Pool::builder().trim_interval(NEVER).build();
    let odd = (0..CLASSES).map(|class| MIN_CLASS_SIZE << class).flat_map(|edge| [edge - 1, edge, edge + 1]);
    for capacity in (0..2100).chain(odd) {
        let vec = Vec::with_capacity(capacity);
        assert_eq!(vec.capacity(), capacity, "the test needs exact capacities");
        let before = pool.stats();
        pool.put(vec);
        let stats = pool.stats();
        if (MIN_CLASS_SIZE..=MAX_CLASS_SIZE).contains(&capacity) {
            // std promises "at least" when it shrinks; the system's allocator has always given exactly the size. If one
            // day it does not, `out_of_class` is right and this line wrong.
            assert_eq!(stats.dropped, before.dropped, "capacity {capacity}");
            let below = (0..CLASSES).rev().find(|&class| MIN_CLASS_SIZE << class <= capacity).expect("checked");
            assert_eq!(stats.classes[below].retained, 1, "capacity {capacity}");
            assert_eq!(stats.retained_bytes, MIN_CLASS_SIZE << below);
            assert_eq!(pool.get_with_capacity(MIN_CLASS_SIZE << below).capacity(), MIN_CLASS_SIZE << below);
        } else {
            assert_eq!(stats.dropped.out_of_class, before.dropped.out_of_class + 1, "capacity {capacity}");
        }
        pool.purge();
    }
}

/// Then everything is kept, and a giant that grew through all classes would leave a buffer in each. A buffer of 1 MiB is
/// extended by the allocator.
#[test]
fn a_giant_leaves_nothing_of_1_mib_and_more_behind_before_the_first_calibration() {
    for is_calibrated in [false, true] {
        let pool = pool();
        if is_calibrated {
            drop(pool.get_with_capacity(MAX_CLASS_SIZE));
            pool.calibrate();
            pool.purge();
        }
        let mut buf = pool.get();
        while buf.capacity() < 8 << 20 {
            buf.reserve(buf.capacity() + 1);
        }
        let left: Vec<usize> = pool.stats().classes.iter().filter(|row| row.retained > 0).map(|row| row.size).collect();
        let most = if is_calibrated { 4 << 20 } else { 1 << 19 };
        assert_eq!(left.last(), Some(&most), "{left:?}");
        assert_eq!(pool.stats().growths, left.len() as u64);
    }
}
