//! One sample a second, one rest a period, and the laws at each.

use std::fmt;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use crate::day::{Day, PARTS, PHASES};
use crate::laws::{self, Broken, PhaseMemory, Witnessed};
use crate::pools::{self, Kind};
use crate::threads::{Latency, Service};
use crate::witness::{COMMON, OWN};

pub struct Settings {
    pub periods: u32,
    pub period: Duration,
    pub seed: u64,
}

/// Small, as what the samples take is resident too.
pub struct Sample {
    pub at: Duration,
    pub phase: usize,
    pub resident_bytes: usize,
    pub cached_bytes: usize,
    pub outstanding: u64,
    pub p99_ns: f64,
}

impl fmt::Display for Sample {
    /// At most 80 columns.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>6} s  {:<11}  RSS {:>6.1} MiB  cached {:>5.1} MiB  out {:>5}  p99 {:>8.1} ns",
            self.at.as_secs(),
            PHASES[self.phase].name,
            mib(self.resident_bytes),
            mib(self.cached_bytes),
            self.outstanding,
            self.p99_ns,
        )
    }
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

pub struct Course {
    pub samples: Vec<Sample>,
    /// Of the last law; empty where the day was too short for it.
    pub verdict: Result<Vec<PhaseMemory>, Broken>,
}

/// Runs the day and prints a line per sample.
///
/// # Errors
///
/// When `out` cannot be written; the day then ends.
pub fn run(settings: &Settings, out: &mut dyn Write) -> io::Result<Course> {
    // Whatever allocates a buffer for printing has done so when the witness begins.
    writeln!(out, "budgets: own {} MiB, common {} MiB; seed {}", OWN.bytes >> 20, COMMON.bytes >> 20, settings.seed)?;
    let kinds = pools::open();
    let day = Day::begin(settings.period);
    let service = Service { day: &day, kinds: &kinds, latency: &Latency::new() };
    let mut samples = Vec::with_capacity((settings.periods * PARTS) as usize);
    let mut watched = thread::scope(|scope| {
        let over = day.until_dropped();
        let threads = service.start(scope, settings.seed);
        let watched = watch(settings, &service, &mut samples, out);
        drop(over);
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        watched
    })?;
    watched = watched.and_then(|()| laws_at_rest(&day, &kinds));
    summarize(&kinds, out)?;
    let verdict = watched.and_then(|()| {
        let memory = laws::memory_by_phase(&samples, settings.periods);
        laws::memory_stays(&memory).map_err(|figures| Broken { law: laws::MEMORY, at: day.elapsed(), figures })?;
        Ok(memory)
    });
    Ok(Course { samples, verdict })
}

/// Until a law is broken or the day is over.
fn watch(
    settings: &Settings,
    service: &Service<'_>,
    samples: &mut Vec<Sample>,
    out: &mut dyn Write,
) -> io::Result<Result<(), Broken>> {
    let Service { day, kinds, latency } = service;
    for part in 0..settings.periods * PARTS {
        // In the middle of a part, and so clearly within a phase.
        sleep_until(day, settings.period * (2 * part + 1) / (2 * PARTS));
        let sample = sample(day, kinds, latency);
        writeln!(out, "{sample}")?;
        samples.push(sample);
        if let Err(broken) = laws_in_flight(day) {
            return Ok(Err(broken));
        }
        if (part + 1) % PARTS == 0 {
            sleep_until(day, settings.period * ((part + 1) / PARTS));
            let _rest = day.rest();
            if let Err(broken) = laws_at_rest(day, kinds) {
                return Ok(Err(broken));
            }
        }
    }
    Ok(Ok(()))
}

fn sleep_until(day: &Day, at: Duration) {
    thread::sleep(at.saturating_sub(day.elapsed()));
}

fn sample(day: &Day, kinds: &[Kind; 3], latency: &Latency) -> Sample {
    let stats = kinds.each_ref().map(|kind| kind.pool.stats());
    Sample {
        at: day.elapsed(),
        phase: day.phase_index(),
        resident_bytes: resident_bytes(),
        cached_bytes: stats.iter().map(|stats| stats.retained_bytes).sum(),
        outstanding: stats.iter().map(|stats| stats.outstanding).sum(),
        p99_ns: latency.take_p99(),
    }
}

/// Resident bytes of this process, where a page has 4 KiB; 0 where there is no /proc.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn laws_in_flight(day: &Day) -> Result<(), Broken> {
    for budget in [&OWN, &COMMON] {
        laws::budget_is_kept(budget.name, budget.bytes, budget.least_left())
            .map_err(|figures| Broken { law: laws::BUDGET, at: day.elapsed(), figures })?;
    }
    Ok(())
}

fn laws_at_rest(day: &Day, kinds: &[Kind; 3]) -> Result<(), Broken> {
    laws_in_flight(day)?;
    for budget in [&OWN, &COMMON] {
        let pools = kinds.iter().filter(|kind| std::ptr::eq(kind.budget, budget));
        let stats: Vec<_> = pools.map(|kind| (kind.name, kind.pool.stats())).collect();
        let witness = Witnessed { cached_bytes: budget.bytes as i64 - budget.left(), in_use: budget.buffers_in_use() };
        laws::counters_agree(&stats, &witness)
            .map_err(|figures| Broken { law: laws::IDENTITIES, at: day.elapsed(), figures })?;
    }
    Ok(())
}

fn summarize(kinds: &[Kind; 3], out: &mut dyn Write) -> io::Result<()> {
    for Kind { name, pool, .. } in kinds {
        let stats = pool.stats();
        let hits = 100.0 * stats.hits as f64 / stats.gets.max(1) as f64;
        writeln!(
            out,
            "{name}: {} gets, {hits:.1} % hits, {} over budget, {} trimmed, {} calibrations",
            stats.gets, stats.dropped.over_budget, stats.trimmed, stats.calibrations
        )?;
    }
    for budget in [&OWN, &COMMON] {
        let least = budget.least_left() as f64 / f64::from(1 << 10);
        writeln!(out, "budget {}: at least {least:.0} KiB of {} MiB were left", budget.name, budget.bytes >> 20)?;
    }
    Ok(())
}
