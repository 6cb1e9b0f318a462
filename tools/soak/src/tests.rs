//! Each law can fail: by figures, and by a real break.

use std::error::Error;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytebufferpool::{MAX_CLASS_SIZE, Stats};

use crate::day::{PARTS, PHASES};
use crate::laws::{self, MEMORY_PERIODS_MIN, Witnessed, budget_is_kept, counters_agree, memory_by_phase, memory_stays};
use crate::pools::{self, Kind};
use crate::watch::{Sample, Settings, run};

#[test]
fn a_budget_is_kept_to_the_last_byte() {
    assert_eq!(budget_is_kept(100, 0), Ok(()));
    assert!(budget_is_kept(100, -1).is_err_and(|figures| figures.contains("1 bytes above 100")));
}

#[test]
fn counters_agree_with_themselves_and_with_the_witness() {
    let judge =
        |stats: Stats, cached_bytes, in_use| counters_agree(&[("lines", stats)], &Witnessed { cached_bytes, in_use });
    let mut stats = bytebufferpool::Pool::new().stats();
    assert_eq!(judge(stats.clone(), 0, 0), Ok(()));
    assert!(judge(stats.clone(), 64, 0).is_err() && judge(stats.clone(), 0, 1).is_err());
    stats.gets = 1;
    assert!(judge(stats, 0, 0).is_err_and(|figures| figures.contains("lines: gets")));
}

fn sample(phase: usize, resident_bytes: usize) -> Sample {
    Sample { at: Duration::ZERO, phase, resident_bytes, cached_bytes: 0, outstanding: 0, p99_ns: 0.0 }
}

#[test]
fn a_line_has_at_most_80_columns() {
    let (at, phase) = (Duration::from_secs(604_800), PHASES.iter().position(|phase| phase.name == "come and go"));
    let sample = Sample {
        at,
        phase: phase.expect("there is one"),
        resident_bytes: 9_999 << 20,
        cached_bytes: 52 << 20,
        outstanding: 9_999,
        p99_ns: 99_999.9,
    };
    assert_eq!(sample.to_string().len(), 80, "{sample}");
}

#[test]
fn memory_may_grow_by_a_tenth_in_every_phase() {
    let samples = |last_bytes| {
        let of_part = |number: u32| {
            let phase = (number % PARTS) as usize * PHASES.len() / PARTS as usize;
            let resident_bytes = match (number / PARTS / 5, phase) {
                // The first third does not count.
                (0, _) => 1,
                (2, 3) => last_bytes,
                _ => 1000,
            };
            sample(phase, resident_bytes)
        };
        (0..15 * PARTS).map(of_part).collect::<Vec<_>>()
    };
    assert_eq!(memory_stays(&memory_by_phase(&samples(1100), 15)), Ok(()));
    let judged = memory_stays(&memory_by_phase(&samples(1101), 15));
    assert_eq!(judged, Err(format!("{}: 1101 bytes after 1000", PHASES[3].name)));
}

/// Calls what it is given once a line, and so once a sample.
struct EachLine<F>(F);

impl<F: FnMut()> Write for EachLine<F> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if line.ends_with(b"\n") {
            (self.0)();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Short periods with `sabotage` at each sample.
fn day_with(periods: u32, sabotage: impl Fn(&[Kind; 3])) -> Result<(), Box<dyn Error>> {
    // There is one witness.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let settings = Settings { periods, period: Duration::from_millis(200), seed: 1 };
    let kinds = pools::open();
    run(&settings, &kinds, &mut Vec::new(), &mut EachLine(|| sabotage(&kinds)))
}

#[track_caller]
fn assert_broken(law: &str, day: Result<(), Box<dyn Error>>) {
    let broken = day.expect_err("a law is broken").to_string();
    assert!(broken.contains(law), "{broken}");
}

/// Too short for the law of resident memory, whose medians need longer periods than a test has.
#[test]
fn a_day_without_sabotage_breaks_no_law() {
    day_with(MEMORY_PERIODS_MIN - 1, |_| {}).expect("no law is broken");
}

#[test]
fn more_alive_than_the_budget_is_seen() {
    let day = day_with(MEMORY_PERIODS_MIN, |_| {
        (0..2).for_each(|_| std::mem::forget(Vec::<u8>::with_capacity(MAX_CLASS_SIZE)))
    });
    assert_broken(laws::BUDGET, day);
}

#[test]
fn a_guard_that_never_ends_is_seen_at_the_next_rest() {
    // Too large for the pools, so that no budget has to do with it.
    let day = day_with(MEMORY_PERIODS_MIN, |kinds| {
        std::mem::forget(kinds[1].pool.get_owned_with_capacity(MAX_CLASS_SIZE + 1))
    });
    assert_broken(laws::IDENTITIES, day);
}

#[test]
fn a_leak_beside_the_pools_is_seen_in_resident_memory() {
    let day = day_with(MEMORY_PERIODS_MIN, |_| std::mem::forget(vec![1_u8; 200_000]));
    assert_broken(laws::MEMORY, day);
}
