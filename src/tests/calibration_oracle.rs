//! Calibration beside an oracle: the rules of calibration written again, call by call, without the crate's arithmetic.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::driver::{NEVER, Setup, class_by_search, is_class_size, setups};
use crate::{CLASSES, DefaultSize, MIN_CLASS_SIZE, Pool};

/// Sections 3's text, one field per noun.
struct Oracle {
    threshold: u64,
    max_percentile: f64,
    policy: DefaultSize,
    default_size_limit: usize,
    max_size_limit: usize,
    calls_plain: Vec<u64>,
    calls_asked: Vec<u64>,
    default_size: usize,
    max_size: usize,
    calibrations: u64,
}

impl Oracle {
    fn of(setup: &Setup) -> Oracle {
        Oracle {
            threshold: setup.threshold,
            max_percentile: setup.max_percentile,
            policy: setup.policy,
            default_size_limit: round_up(setup.default_size_limit),
            max_size_limit: round_up(setup.max_size_limit),
            calls_plain: vec![0; CLASSES],
            calls_asked: vec![0; CLASSES],
            default_size: round_up(setup.default_size),
            max_size: round_up(setup.max_size),
            calibrations: 0,
        }
    }

    fn calls(&self, class: usize) -> u64 {
        self.calls_plain[class] + self.calls_asked[class]
    }

    /// One use ended.
    fn count(&mut self, peak: usize, asked: Option<usize>) {
        let size = peak.max(asked.unwrap_or(0));
        if size == 0 {
            return;
        }
        let class = class_by_search(size);
        if asked.is_some() {
            self.calls_asked[class] += 1;
        } else {
            self.calls_plain[class] += 1;
        }
        if self.calls(class) > self.threshold {
            self.calibrate();
        }
    }

    fn calibrate(&mut self) {
        let total: u64 = (0..CLASSES).map(|class| self.calls(class)).sum();
        if total == 0 {
            return;
        }
        // Selection instead of sorting: again and again the class with most calls of those left, the smaller at a tie.
        let may_precede = (total as f64 * self.max_percentile).trunc();
        let mut left: Vec<usize> = (0..CLASSES).filter(|&class| self.calls(class) > 0).collect();
        let mut taken_before = 0_u64;
        let mut max_class = 0;
        while !left.is_empty() && taken_before as f64 <= may_precede {
            let mut most = 0;
            for place in 1..left.len() {
                if self.calls(left[place]) > self.calls(left[most]) {
                    most = place;
                }
            }
            let class = left.remove(most);
            taken_before += self.calls(class);
            max_class = max_class.max(class);
        }
        let plain: u64 = self.calls_plain.iter().sum();
        if plain > 0 {
            let default_class = match self.policy {
                DefaultSize::Mode => {
                    let most = *self.calls_plain.iter().max().expect("20 classes");
                    (0..CLASSES).find(|&class| self.calls_plain[class] == most)
                }
                DefaultSize::Percentile(share) => (0..CLASSES).find(|&class| {
                    let below_or_in: u64 = self.calls_plain[..=class].iter().sum();
                    below_or_in > 0 && below_or_in as f64 >= plain as f64 * share
                }),
            };
            self.default_size = MIN_CLASS_SIZE << default_class.expect("some calls lie somewhere");
        }
        self.default_size = self.default_size.min(self.default_size_limit);
        self.max_size = (MIN_CLASS_SIZE << max_class).min(self.max_size_limit).max(self.default_size);
        self.calls_plain = vec![0; CLASSES];
        self.calls_asked = vec![0; CLASSES];
        self.calibrations += 1;
    }

    #[track_caller]
    fn compare(&self, pool: &Pool) {
        let stats = pool.stats();
        assert_eq!(stats.calibrations, self.calibrations, "calibrated at another call");
        assert_eq!((pool.default_size(), pool.max_size()), (self.default_size, self.max_size));
        assert_eq!((stats.default_size, stats.max_size), (self.default_size, self.max_size));
        let calls: Vec<u64> = (0..CLASSES).map(|class| self.calls(class)).collect();
        assert_eq!(stats.classes.iter().map(|row| row.calls).collect::<Vec<_>>(), calls);
    }
}

fn round_up(size: usize) -> usize {
    MIN_CLASS_SIZE << class_by_search(size)
}

#[derive(Clone, Debug)]
enum Trace {
    /// Fill to each length in turn, by the way that the number says, then end by the way that the last says.
    Use {
        asked: Option<usize>,
        lens: Vec<(usize, u8)>,
        end: u8,
    },
    Donate {
        len: usize,
    },
    Calibrate,
}

fn traces() -> impl Strategy<Value = Trace> {
    let lens = || prop_oneof![8 => 0..=300_usize, 4 => edge_lens(), 1 => 0..=70_000_usize];
    let asked = prop_oneof![3 => Just(None), 2 => lens().prop_map(Some)];
    prop_oneof![
        20 => (asked, vec((lens(), any::<u8>()), 0..4), any::<u8>())
            .prop_map(|(asked, lens, end)| Trace::Use { asked, lens, end }),
        3 => lens().prop_map(|len| Trace::Donate { len }),
        1 => Just(Trace::Calibrate),
    ]
}

fn edge_lens() -> impl Strategy<Value = usize> {
    (0..8_usize, 0..3_usize).prop_map(|(class, side)| (MIN_CLASS_SIZE << class) + side - 1)
}

/// What a single use does: returns its peak.
fn use_once(pool: &Arc<Pool>, asked: Option<usize>, lens: &[(usize, u8)], end: u8) -> usize {
    let mut buf = match asked {
        Some(capacity) => pool.get_owned_with_capacity(capacity),
        None => pool.get_owned(),
    };
    let mut peak = 0;
    for &(len, way) in lens {
        match way % 6 {
            0 => buf.set(&vec![b's'; len]),
            1 => buf.resize(len, b'r'),
            2 => {
                buf.clear();
                buf.extend_from_slice(&vec![b'e'; len]);
            }
            3 => {
                buf.truncate(0);
                buf.extend(std::iter::repeat_n(b'i', len));
            }
            4 => {
                // The peak is taken when the `Vec` is lent, not while it is in the caller's hands.
                let vec = buf.as_vec_mut();
                vec.clear();
                vec.resize(len, b'v');
            }
            _ => {
                buf.resize(len, b'R');
                buf.truncate(len / 2);
            }
        }
        peak = peak.max(len);
    }
    match end % 5 {
        0 | 1 => drop(buf),
        2 => buf.discard(),
        3 => drop(buf.into_vec()),
        _ => drop(buf.freeze()),
    }
    peak
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_pool_calibrates_at_the_call_and_to_the_sizes_of_the_oracle(
        setup in setups(),
        trace in vec(traces(), 1..200),
    ) {
        // The rules of early calibration are in the other model: `tests::early`.
        let setup = Setup { calibrate_early: false, ..setup };
        let pool = Arc::new(setup.pool());
        let mut oracle = Oracle::of(&setup);
        oracle.compare(&pool);
        for step in &trace {
            match *step {
                Trace::Use { asked, ref lens, end } => {
                    let peak = use_once(&pool, asked, lens, end);
                    oracle.count(peak, asked);
                }
                Trace::Donate { len } => {
                    pool.put(vec![b'd'; len]);
                    oracle.count(len, None);
                }
                Trace::Calibrate => {
                    pool.calibrate();
                    oracle.calibrate();
                }
            }
            oracle.compare(&pool);
            prop_assert!(is_class_size(pool.default_size()) && is_class_size(pool.max_size()));
        }
    }
}

#[test]
fn with_the_real_threshold_the_42_001st_call_of_a_class_calibrates() {
    let pool = Pool::builder().trim_interval(NEVER).build();
    let use_of = |len: usize| pool.get().resize(len, 0);
    for call in 0..42_000 {
        use_of(1000);
        if call % 3 == 0 {
            use_of(100);
        }
    }
    assert_eq!((pool.stats().calibrations, pool.default_size()), (0, 64));
    use_of(100);
    assert_eq!(pool.stats().calibrations, 0, "another class's call does not calibrate");
    use_of(1000);
    let stats = pool.stats();
    assert_eq!((stats.calibrations, stats.default_size, stats.max_size), (1, 1024, 1024));
    assert!(stats.classes.iter().all(|row| row.calls == 0), "the window begins anew");
}

#[test]
fn what_was_lent_as_a_vec_counts_as_it_was_before_and_as_it_is_after() {
    let pool = Pool::builder().trim_interval(NEVER).build();
    let mut buf = pool.get();
    buf.resize(200, 0);
    buf.as_vec_mut().clear();
    drop(buf);
    assert_eq!(pool.stats().classes[2].calls, 1, "200 bytes, seen when the Vec was lent");
    let mut buf = pool.get();
    buf.as_vec_mut().resize(3000, 0);
    buf.as_vec_mut().clear();
    drop(buf);
    assert_eq!(pool.stats().classes[6].calls, 1, "3000 bytes, seen at the second lending");
}

#[test]
fn one_giant_use_in_a_window_moves_neither_size() {
    let pool = Pool::builder().calibrate_calls_threshold(1000).trim_interval(NEVER).build();
    drop(pool.get_with_capacity(8 << 20));
    for _ in 0..=1000 {
        pool.get().resize(500, 0);
    }
    let stats = pool.stats();
    assert_eq!((stats.calibrations, stats.default_size, stats.max_size), (1, 512, 512));
    assert!(stats.retained_bytes <= 1024, "the giant buffer was freed by the calibration: {stats}");
}

/// Found by the fuzz target `builder`: what is left of the largest threshold, rounded up, overflowed.
#[test]
fn the_largest_threshold_is_counted_towards_like_any_other() {
    let pool = Pool::builder().calibrate_calls_threshold(u64::MAX).build();
    for _ in 0..1_000 {
        pool.get().push(1);
    }
    assert_eq!((pool.stats().classes[0].calls, pool.stats().calibrations), (1_000, 0));
}
