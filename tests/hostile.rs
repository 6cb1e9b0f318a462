//! An attacker chooses the sizes of messages. What the pool then keeps, and how much a plain `get` can be made to hold.
//!
//! Stated bounds, asserted after every message (idle bytes, with the heap as witness, where no other thread operates):
//!
//! - idle bytes: `retained_bytes_max`;
//! - the default size: `default_size_limit`; the ceiling: `max_size_limit`;
//! - the capacity of a plain `get`: four times `default_size_limit`, as it may look up two classes;
//! - the capacity of a get that asks for `n`: four times the class of `n`.

// Blocks are counted, not buffers that leak-trace has a table of.
#![cfg(not(feature = "leak-trace"))]

use std::sync::MutexGuard;

use bytebufferpool::{DefaultSize, MAX_CLASS_SIZE, MIN_CLASS_SIZE, Pool, PooledBuf, Stats};

#[path = "support/identities.rs"]
mod identities;
#[path = "support/witness.rs"]
mod witness;

use identities::assert_balanced;
use witness::Witness;

#[global_allocator]
static HEAP: Witness = Witness;

const BUDGET: usize = 4 << 20;
const DEFAULT_LIMIT: usize = 16 << 10;
const MAX_LIMIT: usize = 256 << 10;
/// Small, so that every attack goes through many calibrations.
const THRESHOLD: u64 = 50;

/// A pool under attack, with its bounds asserted after every message.
struct Victim {
    pool: Pool,
    default_size_most: usize,
    default_size_least: usize,
    room_most: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Victim {
    fn new(policy: DefaultSize) -> Victim {
        let alone = witness::watch(BUDGET);
        let pool = Pool::builder()
            .calibrate_calls_threshold(THRESHOLD)
            .default_policy(policy)
            .default_size_limit(DEFAULT_LIMIT)
            .max_size_limit(MAX_LIMIT)
            .retained_bytes_max(BUDGET)
            .build();
        Victim { pool, default_size_most: 0, default_size_least: usize::MAX, room_most: 0, _alone: alone }
    }

    /// One message of `len` bytes by way of a plain `get`.
    fn message(&mut self, len: usize) {
        let mut buf = self.pool.get();
        self.room_most = self.room_most.max(buf.capacity());
        write(&mut buf, len);
        drop(buf);
        self.assert_bounded();
    }

    /// One message by a caller that knows the size beforehand.
    fn announced(&mut self, len: usize) {
        let mut buf = self.pool.get_with_capacity(len);
        let class_size = len.max(MIN_CLASS_SIZE).next_power_of_two();
        assert!(len > MAX_CLASS_SIZE || buf.capacity() <= 4 * class_size, "{} for {len}", buf.capacity());
        buf.push(0xaa);
        drop(buf);
        self.assert_bounded();
    }

    /// Nothing is in use.
    fn assert_bounded(&mut self) {
        let stats = self.assert_kept_within(0);
        assert!(self.room_most <= 4 * DEFAULT_LIMIT, "a plain get held {}", self.room_most);
        self.default_size_most = self.default_size_most.max(stats.default_size);
        self.default_size_least = self.default_size_least.min(stats.default_size);
    }

    /// No thread operates, and the buffers in use come to `in_use` bytes. `stats` never says more than the budget, but the
    /// heap does: what is said to be cached, and no more, is alive.
    fn assert_kept_within(&self, in_use: usize) -> Stats {
        let stats = bounded_stats(&self.pool);
        let alive = BUDGET as i64 - witness::left();
        assert_eq!(alive, (witness::retained_bytes(&stats) + in_use) as i64, "beside {in_use} bytes in use\n{stats}");
        stats
    }

    /// The attack was one: it drove the sizes about, and the books survived it.
    fn assert_attacked(&self, calibrations_min: u64) {
        let stats = self.pool.stats();
        assert!(stats.calibrations >= calibrations_min, "an attack without effect\n{stats}");
        assert_eq!(stats.outstanding, 0);
        assert_balanced(&stats, "after the attack");
        self.assert_kept_within(0);
    }
}

/// Piece by piece, as messages come in; `resize` would be a slow loop in a debug build.
fn write(buf: &mut PooledBuf<&Pool>, len: usize) {
    static PIECE: [u8; 64 << 10] = [0xaa; 64 << 10];
    let mut left = len;
    while left > 0 {
        let piece = left.min(PIECE.len());
        buf.extend_from_slice(&PIECE[..piece]);
        left -= piece;
    }
}

/// What holds at any instant.
fn bounded_stats(pool: &Pool) -> Stats {
    let stats = pool.stats();
    assert!(stats.default_size <= DEFAULT_LIMIT, "default above its limit\n{stats}");
    assert!(stats.max_size <= MAX_LIMIT, "ceiling above its limit\n{stats}");
    stats
}

fn policies() -> [DefaultSize; 2] {
    [DefaultSize::Mode, DefaultSize::Percentile(0.95)]
}

#[test]
fn alternating_sizes_drive_the_calibration_up_and_down_but_never_past_its_limits() {
    for policy in policies() {
        let mut victim = Victim::new(policy);
        for phase in 0..40 {
            let len = if phase % 2 == 0 { 1 } else { 200 << 10 };
            for _ in 0..=THRESHOLD {
                victim.message(len);
            }
        }
        victim.assert_attacked(30);
        // The attack did reach both ends: the limit is what held it.
        assert_eq!((victim.default_size_least, victim.default_size_most), (MIN_CLASS_SIZE, DEFAULT_LIMIT));
    }
}

#[test]
fn many_large_buffers_held_at_once_leave_no_more_than_the_budget_when_they_end() {
    for policy in policies() {
        let victim = Victim::new(policy);
        for _ in 0..5 {
            let held: Vec<_> = (0..200)
                .map(|i| {
                    let mut buf = victim.pool.get();
                    write(&mut buf, if i % 2 == 0 { 200 << 10 } else { 3 });
                    buf
                })
                .collect();
            let mut in_use: usize = held.iter().map(|buf| witness::counted(buf.capacity())).sum();
            for buf in held {
                in_use -= witness::counted(buf.capacity());
                drop(buf);
                victim.assert_kept_within(in_use);
            }
        }
        victim.assert_attacked(5);
    }
}

#[test]
fn one_giant_per_window_is_freed_when_it_ends_and_moves_neither_size() {
    for policy in policies() {
        let mut victim = Victim::new(policy);
        // Giants before the first calibration, too: the limit binds from the first message on.
        for _ in 0..10 {
            victim.message(20 << 20);
            for _ in 0..THRESHOLD {
                victim.message(100);
            }
            victim.message(100);
            let stats = victim.pool.stats();
            assert_eq!((stats.default_size, stats.max_size), (128, 128), "{stats}");
            assert!(stats.retained_bytes <= DEFAULT_LIMIT, "a giant's memory stayed\n{stats}");
        }
        victim.assert_attacked(10);
        assert!(victim.pool.stats().dropped.over_ceiling >= 10);
    }
}

#[test]
fn capacities_asked_for_and_never_used_do_not_move_the_default_and_keep_the_budget() {
    for policy in policies() {
        let mut victim = Victim::new(policy);
        for _ in 0..10 * THRESHOLD {
            victim.announced(MAX_LIMIT);
            victim.announced(MAX_CLASS_SIZE);
        }
        victim.assert_attacked(8);
        assert_eq!(victim.default_size_most, MIN_CLASS_SIZE, "what is asked for by number moves no default");
    }
}

#[test]
fn lengths_that_lie_are_refused_before_anything_is_allocated() {
    let mut victim = Victim::new(DefaultSize::Mode);
    let before = victim.pool.stats();
    for len in [usize::MAX, isize::MAX as usize + 1, u64::MAX as usize - 7] {
        assert!(victim.pool.try_get_with_capacity(len).is_err());
    }
    assert_eq!(victim.pool.stats(), before);
    victim.message(1);
}

#[test]
fn donated_giants_are_not_kept_above_the_ceiling_or_the_budget() {
    let mut victim = Victim::new(DefaultSize::Mode);
    for i in 0..200 {
        // Odd capacities, too; what is empty counts in no window.
        victim.pool.put(Vec::with_capacity((128 << 10) + i * 4096));
        victim.assert_bounded();
    }
    victim.assert_attacked(0);
    assert!(victim.pool.stats().dropped.over_ceiling > 0 && victim.pool.stats().dropped.over_budget > 0);
}

#[test]
fn attackers_on_several_threads_together_keep_the_bounds() {
    let victim = Victim::new(DefaultSize::Mode);
    let pool = &victim.pool;
    std::thread::scope(|scope| {
        let attackers: Vec<_> = (0..4_usize)
            .map(|attacker| {
                scope.spawn(move || {
                    for i in 0..4 * THRESHOLD as usize {
                        let mut buf = pool.get();
                        assert!(buf.capacity() <= 4 * DEFAULT_LIMIT);
                        write(&mut buf, [1, 200 << 10, 5000, 1 << 20][(i / 60 + attacker) % 4]);
                        drop(buf);
                        bounded_stats(pool);
                    }
                })
            })
            .collect();
        attackers.into_iter().for_each(|attacker| attacker.join().expect("an attacker saw the bounds hold"));
    });
    victim.assert_attacked(1);
}
