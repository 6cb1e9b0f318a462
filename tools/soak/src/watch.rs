//! One sample a second, one rest a period, and the laws at each.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::day::{Day, PARTS, PHASES};
use crate::laws::{self, Broken, PhaseMemory, Witnessed};
use crate::memory::resident_bytes;
use crate::pools::Kind;
use crate::threads::Service;
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
        let Sample { at, phase, outstanding, p99_ns, .. } = self;
        let [resident, cached] = [self.resident_bytes, self.cached_bytes].map(|bytes| bytes as f64 / 1048576.0);
        let (at, phase) = (at.as_secs(), PHASES[*phase].name);
        write!(f, "{at:>6} s  {phase:<11}  RSS {resident:>6.1} MiB  cached {cached:>4.1} MiB  ")?;
        write!(f, "out {outstanding:>4}  p99 {p99_ns:>7.1} ns")
    }
}

/// Runs the service for the given time, and prints a line per sample.
///
/// # Errors
///
/// A [`Broken`] law, or an `io::Error` when `out` cannot be written. The run then ends.
pub fn run(
    settings: &Settings,
    kinds: &[Kind; 3],
    samples: &mut Vec<Sample>,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    // All at once, as it is resident too.
    samples.reserve_exact((settings.periods * PARTS) as usize);
    let day = Day::begin(settings.period);
    let service = Service::new(&day, kinds);
    thread::scope(|scope| {
        let threads = service.start(scope, settings.seed);
        let watched = watch(settings, &service, samples, out);
        day.end();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        watched
    })?;
    laws_at_rest(&day, kinds)?;
    for Kind { name, pool, budget, .. } in kinds {
        let (stats, left) = (pool.stats(), budget.least_left());
        writeln!(out, "{name}: {} gets, {} hits; of the budget at least {left} B were left", stats.gets, stats.hits)?;
    }
    let memory = laws::memory_by_phase(samples, settings.periods);
    if memory.is_empty() {
        writeln!(out, "RSS is not judged: that takes {} periods", laws::MEMORY_PERIODS_MIN)?;
    }
    for PhaseMemory { phase, middle, last } in &memory {
        let ratio = *last as f64 / *middle as f64;
        writeln!(out, "RSS, {phase}: {} KiB, then {} KiB: {ratio:.3}x", middle >> 10, last >> 10)?;
    }
    judge(&day, laws::MEMORY, laws::memory_stays(&memory))?;
    Ok(())
}

/// Until a law is broken or the time is over.
fn watch(
    settings: &Settings,
    service: &Service<'_>,
    samples: &mut Vec<Sample>,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    let Service { day, kinds, .. } = service;
    for part in 0..settings.periods * PARTS {
        // In the middle of a part, and so clearly within a phase.
        day.sleep_until(settings.period * (2 * part + 1) / (2 * PARTS));
        let sample = sample(service);
        writeln!(out, "{sample}")?;
        samples.push(sample);
        laws_in_flight(day)?;
        if (part + 1) % PARTS == 0 {
            day.sleep_until(settings.period * ((part + 1) / PARTS));
            let _rest = day.rest();
            laws_at_rest(day, kinds)?;
        }
    }
    Ok(())
}

fn sample(service: &Service<'_>) -> Sample {
    let Service { day, kinds, .. } = service;
    let stats = kinds.each_ref().map(|kind| kind.pool.stats());
    Sample {
        at: day.elapsed(),
        phase: day.phase_index(),
        resident_bytes: resident_bytes(),
        cached_bytes: stats.iter().map(|stats| stats.retained_bytes).sum(),
        outstanding: stats.iter().map(|stats| stats.outstanding).sum(),
        p99_ns: service.take_p99(),
    }
}

fn judge(day: &Day, law: &'static str, judged: Result<(), String>) -> Result<(), Broken> {
    judged.map_err(|figures| Broken { law, at: day.elapsed(), figures })
}

fn laws_in_flight(day: &Day) -> Result<(), Broken> {
    for budget in [&OWN, &COMMON] {
        judge(day, laws::BUDGET, laws::budget_is_kept(budget.bytes, budget.least_left()))?;
    }
    Ok(())
}

fn laws_at_rest(day: &Day, kinds: &[Kind; 3]) -> Result<(), Broken> {
    laws_in_flight(day)?;
    for budget in [&OWN, &COMMON] {
        let pools = kinds.iter().filter(|kind| std::ptr::eq(kind.budget, budget));
        let stats: Vec<_> = pools.map(|kind| (kind.name, kind.pool.stats())).collect();
        let witnessed = Witnessed { cached_bytes: budget.bytes as i64 - budget.left(), in_use: budget.in_use() };
        judge(day, laws::IDENTITIES, laws::counters_agree(&stats, &witnessed))?;
    }
    Ok(())
}
