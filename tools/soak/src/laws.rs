//! The laws of a pool, over figures.

use std::fmt;
use std::panic::catch_unwind;
use std::time::Duration;

use bytebufferpool::Stats;

use crate::day::{PARTS, PHASES};
use crate::identities::assert_balanced;
use crate::watch::Sample;

pub const BUDGET: &str = "cached <= budget at any instant";
pub const IDENTITIES: &str = "the counters' identities at rest";
pub const MEMORY: &str = "RSS of the last third <= 1.1x that of the middle third";

#[derive(Debug)]
pub struct Broken {
    pub law: &'static str,
    pub at: Duration,
    pub figures: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken after {:.1} s: {}: {}", self.at.as_secs_f64(), self.law, self.figures)
    }
}

impl std::error::Error for Broken {}

/// `least_left` is the least that budget + in use - alive ever was.
pub fn budget_is_kept(bytes: usize, least_left: i64) -> Result<(), String> {
    let is_kept = least_left >= 0;
    is_kept.then_some(()).ok_or_else(|| format!("{} bytes above {bytes} and what was in use", -least_left))
}

/// What the witness has seen of the pools of one budget, at rest.
pub struct Witnessed {
    pub cached_bytes: i64,
    pub in_use: u64,
}

/// `pools` are those of one budget.
pub fn counters_agree(pools: &[(&'static str, Stats)], witnessed: &Witnessed) -> Result<(), String> {
    for (name, stats) in pools {
        catch_unwind(|| assert_balanced(stats, name))
            .map_err(|panic| panic.downcast::<String>().map_or_else(|_| (*name).to_owned(), |figures| *figures))?;
    }
    let cached: usize = pools.iter().map(|(_, stats)| stats.retained_bytes).sum();
    let outstanding: u64 = pools.iter().map(|(_, stats)| stats.outstanding).sum();
    let Witnessed { cached_bytes, in_use } = *witnessed;
    if (cached as i64, outstanding) != (cached_bytes, in_use) {
        return Err(format!(
            "{cached} bytes cached and {outstanding} buffers outstanding; the witness has {cached_bytes} and {in_use}"
        ));
    }
    Ok(())
}

/// Medians of the resident bytes in one phase, over the periods of the middle third and of the last.
pub struct PhaseMemory {
    pub phase: &'static str,
    pub middle: usize,
    pub last: usize,
}

/// Medians of fewer differ by more than a tenth by chance.
pub const MEMORY_PERIODS_MIN: u32 = 15;

/// Empty for fewer periods. Where their number has no third, the first part is the longest.
pub fn memory_by_phase(samples: &[Sample], periods: u32) -> Vec<PhaseMemory> {
    if periods < MEMORY_PERIODS_MIN {
        return Vec::new();
    }
    let third = (periods / 3 * PARTS) as usize;
    let (before, last) = samples.split_at(samples.len() - third);
    let middle = &before[before.len() - third..];
    let median = |samples: &[Sample], phase: usize| {
        let of_phase = samples.iter().filter(|sample| sample.phase == phase);
        let mut bytes: Vec<usize> = of_phase.map(|sample| sample.resident_bytes).collect();
        bytes.sort_unstable();
        bytes.get(bytes.len() / 2).copied()
    };
    let of_phase = |phase| {
        let (middle, last) = (median(middle, phase)?, median(last, phase)?);
        Some(PhaseMemory { phase: PHASES[phase].name, middle, last })
    };
    (0..PHASES.len()).filter_map(of_phase).collect()
}

pub fn memory_stays(memory: &[PhaseMemory]) -> Result<(), String> {
    match memory.iter().find(|memory| memory.last as f64 > 1.1 * memory.middle as f64) {
        Some(PhaseMemory { phase, middle, last }) => Err(format!("{phase}: {last} bytes after {middle}")),
        None => Ok(()),
    }
}
