//! How a row is timed: the contenders take turns in rounds, so that a noisy moment hits all of them, and each one's
//! fastest round counts. The median stands beside it, as a sign of how noisy the machine was. Where several threads work
//! together the median counts: a fastest round is then one in which the scheduler had them wait for each other least.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::contenders::{Contender, Role};
use crate::seen::Seen;

/// What a contender does in a row: built once, run many times.
pub trait Body {
    /// Does the work `iterations` times and says how long that took.
    fn run(&mut self, iterations: u64) -> Duration;
    /// Cached bytes afterwards; asked once, at the end.
    fn cached_bytes(&mut self) -> usize;
}

pub struct Lane {
    pub name: &'static str,
    pub role: Role,
    body: Box<dyn Body>,
}

/// A line of a table, before it is timed.
pub struct Row {
    pub name: String,
    /// How many uses one iteration is.
    pub uses: u64,
    pub by_median: bool,
    pub lanes: Vec<Lane>,
    /// The control that bounds this row.
    pub limit: Option<&'static str>,
    pub shows_cached: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Result {
    pub name: String,
    pub role: Role,
    /// Nanoseconds per use.
    pub min: f64,
    pub median: f64,
    /// Which of the two counts.
    #[serde(default)]
    pub by_median: bool,
    pub cached_bytes: usize,
    /// What is known beside the time where the row is a pattern of the allocator literature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Seen>,
}

impl Result {
    /// What counts, in nanoseconds per use.
    pub fn time(&self) -> f64 {
        if self.by_median { self.median } else { self.min }
    }
}

/// A line of a table, timed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    pub name: String,
    pub limit: Option<String>,
    pub shows_cached: bool,
    pub results: Vec<Result>,
}

impl Line {
    pub fn result(&self, name: &str) -> Option<&Result> {
        self.results.iter().find(|result| result.name == name)
    }

    pub fn best_peer(&self) -> Option<&Result> {
        self.fastest(|result| result.role == Role::Peer)
    }

    /// The plain lane of the crate, or the only one there is.
    pub fn ours(&self) -> Option<&Result> {
        self.results.iter().find(|result| result.role == Role::Ours)
    }

    pub fn limit(&self) -> Option<&Result> {
        self.limit.as_deref().and_then(|name| self.result(name))
    }

    pub fn fastest(&self, wanted: impl Fn(&Result) -> bool) -> Option<&Result> {
        self.results.iter().filter(|result| wanted(result)).min_by(|a, b| a.time().total_cmp(&b.time()))
    }
}

/// The same rows measured several times: of each contender the fastest round of all, the median of the medians, and the most
/// that it had cached.
pub fn merge(passes: &[Vec<Line>]) -> Vec<Line> {
    let mut lines = passes[0].clone();
    for line in &mut lines {
        let same = || passes.iter().flatten().filter(|other| other.name == line.name);
        for result in &mut line.results {
            let found: Vec<&Result> = same().filter_map(|line| line.result(&result.name)).collect();
            let mut medians: Vec<f64> = found.iter().map(|result| result.median).collect();
            medians.sort_unstable_by(f64::total_cmp);
            result.min = found.iter().map(|result| result.min).fold(f64::MAX, f64::min);
            result.median = medians[medians.len() / 2];
            result.cached_bytes = found.iter().map(|result| result.cached_bytes).max().unwrap_or(0);
            let seen: Vec<&Seen> = found.iter().filter_map(|result| result.pattern.as_ref()).collect();
            result.pattern = Seen::merge(&seen);
        }
    }
    lines
}

#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: usize,
    pub round_time: Duration,
    pub only_ours: bool,
    /// Only rows whose name contains this get any lane.
    pub row_filter: Option<&'static str>,
}

impl Effort {
    pub const FULL: Effort =
        Effort { rounds: 15, round_time: Duration::from_millis(4), only_ours: false, row_filter: None };
    pub const QUICK: Effort = Effort { rounds: 3, round_time: Duration::from_millis(1), ..Effort::FULL };

    pub fn is_quick(&self) -> bool {
        self.rounds <= Effort::QUICK.rounds
    }

    pub fn wants(&self, row: &str, role: Role) -> bool {
        let row_wanted = self.row_filter.is_none_or(|text| row.contains(text));
        row_wanted && (role == Role::Ours || !self.only_ours)
    }
}

impl Row {
    pub fn new(name: impl Into<String>) -> Row {
        Row { name: name.into(), uses: 1, by_median: false, lanes: Vec::new(), limit: None, shows_cached: false }
    }

    pub fn uses(mut self, uses: u64) -> Row {
        self.uses = uses;
        self
    }

    pub fn by_median(mut self) -> Row {
        self.by_median = true;
        self
    }

    pub fn limit(mut self, control: &'static str) -> Row {
        self.limit = Some(control);
        self
    }

    pub fn shows_cached(mut self) -> Row {
        self.shows_cached = true;
        self
    }

    /// Adds a contender; `body` is only built when the row runs it.
    pub fn lane<C: Contender>(&mut self, effort: Effort, body: impl FnOnce() -> Box<dyn Body>) {
        self.named_lane(C::NAME, C::ROLE, effort, body);
    }

    /// For a lane that no [`Contender`] can be.
    pub fn named_lane(&mut self, name: &'static str, role: Role, effort: Effort, body: impl FnOnce() -> Box<dyn Body>) {
        if effort.wants(&self.name, role) {
            self.lanes.push(Lane { name, role, body: body() });
        }
    }

    pub fn time(mut self, effort: Effort) -> Line {
        let iterations: Vec<u64> = self.lanes.iter_mut().map(|lane| fitting(lane.body.as_mut(), effort)).collect();
        // A median settles later than a minimum.
        let rounds = if self.by_median { 2 * effort.rounds + 1 } else { effort.rounds };
        let mut times = vec![Vec::with_capacity(rounds); self.lanes.len()];
        for _ in 0..rounds {
            for (index, lane) in self.lanes.iter_mut().enumerate() {
                let elapsed = lane.body.run(iterations[index]);
                times[index].push(elapsed.as_nanos() as f64 / (iterations[index] * self.uses) as f64);
            }
        }
        let results =
            self.lanes.iter_mut().zip(times).map(|(lane, times)| lane.result(times, self.by_median)).collect();
        Line { name: self.name, limit: self.limit.map(str::to_owned), shows_cached: self.shows_cached, results }
    }
}

impl Lane {
    fn result(&mut self, mut times: Vec<f64>, by_median: bool) -> Result {
        times.sort_unstable_by(f64::total_cmp);
        Result {
            name: self.name.to_owned(),
            role: self.role,
            min: hundredths(times[0]),
            median: hundredths(times[times.len() / 2]),
            by_median,
            cached_bytes: self.body.cached_bytes(),
            pattern: None,
        }
    }
}

/// More digits than that are noise, and would only make the stored results longer.
pub fn hundredths(nanoseconds: f64) -> f64 {
    (nanoseconds * 100.0).round() / 100.0
}

/// How many iterations fill a round; warms up while it finds out.
fn fitting(body: &mut dyn Body, effort: Effort) -> u64 {
    let mut iterations = 1;
    loop {
        let elapsed = body.run(iterations);
        if elapsed >= effort.round_time / 2 {
            let fit = iterations as f64 * effort.round_time.as_secs_f64() / elapsed.as_secs_f64();
            return (fit as u64).max(1);
        }
        iterations *= 2;
    }
}

/// Work that one thread does with its worker.
pub trait Work: Send + Sync + 'static {
    /// How many buffers it has in use at once.
    fn in_flight(&self) -> usize {
        1
    }
    /// The largest message.
    fn size_max(&self) -> usize;
    fn run<C: Contender>(&self, worker: &mut C::Worker<'_>, iterations: u64);
}

/// One thread, one pool.
pub struct Single<C, W> {
    pool: C,
    work: W,
    kept_bytes: usize,
}

impl<C: Contender, W: Work> Single<C, W> {
    /// A warm lane: the work was done before, and what learns has learned from it.
    pub fn warm(work: W) -> Box<dyn Body> {
        Self::warm_on(C::fresh(work.size_max()), work)
    }

    pub fn warm_on(pool: C, work: W) -> Box<dyn Body> {
        for _ in 0..2 {
            work.run::<C>(&mut pool.worker(), 4);
            pool.settle();
        }
        Box::new(Single { pool, work, kept_bytes: 0 })
    }
}

impl<C: Contender, W: Work> Body for Single<C, W> {
    fn run(&mut self, iterations: u64) -> Duration {
        let mut worker = self.pool.worker();
        // Some workers own their buffer, which a round must not pay for.
        self.work.run::<C>(&mut worker, 1);
        let start = Instant::now();
        self.work.run::<C>(&mut worker, iterations);
        let elapsed = start.elapsed();
        self.kept_bytes = C::kept_bytes(&worker);
        elapsed
    }

    fn cached_bytes(&mut self) -> usize {
        self.pool.cached_bytes() + self.kept_bytes
    }
}

/// Everything that is needed to build a lane lives in the body; a round makes the pool anew.
pub struct Anew<C, W> {
    work: W,
    last: Option<C>,
}

impl<C: Contender, W: Work> Anew<C, W> {
    pub fn cold(work: W) -> Box<dyn Body> {
        Box::new(Anew::<C, W> { work, last: None })
    }
}

impl<C: Contender, W: Work> Body for Anew<C, W> {
    fn run(&mut self, iterations: u64) -> Duration {
        let mut spent = Duration::ZERO;
        for _ in 0..iterations {
            self.last = None;
            let start = Instant::now();
            let pool = C::fresh(self.work.size_max());
            self.work.run::<C>(&mut pool.worker(), 1);
            spent += start.elapsed();
            self.last = Some(pool);
        }
        spent
    }

    fn cached_bytes(&mut self) -> usize {
        self.last.as_ref().map_or(0, C::cached_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_merged_contender_by_contender() {
        let pass = |a: (f64, f64, usize), b: (f64, f64, usize)| {
            let result = |name: &str, (min, median, cached_bytes)| Result {
                name: name.to_owned(),
                role: Role::Peer,
                min,
                median,
                by_median: false,
                cached_bytes,
                pattern: None,
            };
            let results = vec![result("a", a), result("b", b)];
            vec![Line { name: "row".to_owned(), limit: None, shows_cached: true, results }]
        };
        let passes = [
            pass((3.0, 9.0, 1), (1.0, 2.0, 0)),
            pass((2.0, 4.0, 7), (5.0, 6.0, 0)),
            pass((4.0, 5.0, 2), (2.0, 3.0, 0)),
        ];
        let merged = merge(&passes);
        let found: Vec<_> = merged[0].results.iter().map(|r| (r.min, r.median, r.cached_bytes)).collect();
        assert_eq!(found, [(2.0, 5.0, 7), (1.0, 3.0, 0)]);
    }
}
