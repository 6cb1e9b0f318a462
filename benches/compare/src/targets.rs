//! Whether the targets were reached: computed from the rows as they were measured, never copied.

use std::fmt;

use crate::published::{Measure, Target, Versus, targets};
use crate::run::Line;
use crate::store::Measured;
use crate::table;

/// A target and what was found.
struct Judged {
    target: Target,
    /// Row and ratio; of no row where who it compares with did not run.
    found: Vec<(&'static str, f64)>,
}

impl Judged {
    fn new(target: Target, lines: &[Line]) -> Judged {
        let ratio = |(index, row): (usize, &&'static str)| Some((*row, ratio(&target, index, lines)?));
        let found = target.rows.iter().enumerate().filter_map(ratio).collect();
        Judged { target, found }
    }

    fn missed(&self) -> usize {
        self.target.factor.map_or(0, |factor| self.found.iter().filter(|found| found.1 > factor).count())
    }

    fn verdict(&self) -> String {
        match (self.target.factor, self.missed(), self.found.len()) {
            (_, _, 0) => "not measured".to_owned(),
            (None, ..) => "told only".to_owned(),
            (_, 0, _) => "met".to_owned(),
            (_, missed, rows) if missed == rows => "**missed**".to_owned(),
            (_, missed, rows) => format!("**missed** in {missed} of {rows}"),
        }
    }

    fn got(&self) -> String {
        let unit = if self.target.versus == Versus::Nanoseconds { " ns" } else { "x" };
        let by_ratio = |a: &&(&str, f64), b: &&(&str, f64)| a.1.total_cmp(&b.1);
        let (lowest, highest) = (self.found.iter().min_by(by_ratio), self.found.iter().max_by(by_ratio));
        match (lowest, highest) {
            (Some(_), Some(highest)) if self.found.len() == 1 => format!("{:.2}{unit}", highest.1),
            (Some(lowest), Some(highest)) => format!("{:.2}{unit} to {:.2}{unit} ({})", lowest.1, highest.1, highest.0),
            _ => "-".to_owned(),
        }
    }
}

/// `None` where a contender that is needed did not run.
fn ratio(target: &Target, index: usize, lines: &[Line]) -> Option<f64> {
    let line_of = |row: &str| lines.iter().find(|line| line.name == row);
    let line = line_of(target.rows[index])?;
    let ours = line.result(target.lane)?;
    let other = match &target.versus {
        Versus::BestPeer => line.best_peer()?,
        Versus::Lane(name) => line.result(name)?,
        Versus::Rows(rows, _) => line_of(rows[index])?.result(target.lane)?,
        Versus::Nanoseconds => return Some(ours.time()),
    };
    Some(match target.measure {
        Measure::Time => ours.time() / other.time(),
        Measure::CachedBytes => ours.cached_bytes as f64 / other.cached_bytes.max(1) as f64,
    })
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(factor) = self.factor {
            write!(f, "<= {}{} ", figure(factor), if self.versus == Versus::Nanoseconds { " ns" } else { "x" })?;
        }
        if self.measure == Measure::CachedBytes {
            f.write_str("the cached bytes of ")?;
        }
        match &self.versus {
            Versus::BestPeer => f.write_str("the best peer"),
            Versus::Lane(name) => write!(f, "`{name}`"),
            Versus::Rows(_, called) => f.write_str(called),
            Versus::Nanoseconds => Ok(()),
        }
    }
}

/// Two decimals, or three where they say more.
fn figure(factor: f64) -> String {
    let text = format!("{factor:.3}");
    text.strip_suffix('0').map_or(text.clone(), str::to_owned)
}

/// The targets of the groups that were measured.
fn judged(measured: &[&Measured]) -> Vec<Judged> {
    let lines = |group: &str| measured.iter().find(|measured| measured.group == group).map(|found| &found.lines[..]);
    targets().into_iter().filter_map(|target| lines(target.group).map(|lines| Judged::new(target, lines))).collect()
}

/// A line for each target of these groups; empty where there is none.
pub fn summary(measured: &[&Measured]) -> String {
    let mut cells = vec![table::row(["work", "who", "target", "got (at worst in)", "verdict"])];
    for judged in judged(measured) {
        let Target { work, lane, .. } = judged.target;
        cells.push(vec![
            work.to_owned(),
            lane.to_owned(),
            judged.target.to_string().trim_end().to_owned(),
            judged.got(),
            judged.verdict(),
        ]);
    }
    if cells.len() == 1 { String::new() } else { table::markdown(&cells) }
}

/// How many targets were measured, and how many of them are missed in some row.
pub fn count(measured: &[&Measured]) -> (usize, usize) {
    let judged = judged(measured);
    let counted = judged.iter().filter(|judged| judged.target.factor.is_some() && !judged.found.is_empty());
    counted.fold((0, 0), |(all, missed), judged| (all + 1, missed + usize::from(judged.missed() > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contenders::Role;
    use crate::run::Result;

    fn line(name: &str, ours: f64, peer: f64) -> Line {
        let result = |name: &str, role, min| Result {
            name: name.to_owned(),
            role,
            min,
            median: min,
            by_median: false,
            cached_bytes: 0,
            pattern: None,
        };
        let results = vec![result("ours", Role::Ours, ours), result("peer", Role::Peer, peer)];
        Line { name: name.to_owned(), limit: None, shows_cached: false, results }
    }

    fn target(rows: &[&'static str], versus: Versus, factor: f64) -> Target {
        let (rows, factor, measure) = (rows.to_vec(), Some(factor), Measure::Time);
        Target { work: "a pair", group: "pair", rows, lane: "ours", versus, measure, factor }
    }

    #[test]
    fn one_row_above_the_target_makes_it_missed_and_is_named() {
        let lines = [line("small", 5.0, 10.0), line("large", 7.0, 10.0)];
        let judged = Judged::new(target(&["small", "large"], Versus::BestPeer, 0.6), &lines);
        assert_eq!(judged.got(), "0.50x to 0.70x (large)");
        assert_eq!(judged.verdict(), "**missed** in 1 of 2");
        assert_eq!(judged.target.to_string(), "<= 0.60x the best peer");
        let met = Judged::new(target(&["small"], Versus::Lane("peer"), 0.6), &lines);
        assert_eq!((met.got(), met.verdict()), ("0.50x".to_owned(), "met".to_owned()));
    }

    #[test]
    fn rows_compare_with_other_rows_and_nanoseconds_with_nothing() {
        let lines = [line("one", 4.0, 9.0), line("two", 5.0, 9.0)];
        let other_row = Judged::new(target(&["two"], Versus::Rows(vec!["one"], "one"), 1.2), &lines);
        assert_eq!((other_row.got(), other_row.verdict()), ("1.25x".to_owned(), "**missed**".to_owned()));
        let alone = Judged::new(target(&["two"], Versus::Nanoseconds, 5.0), &lines);
        assert_eq!((alone.got(), alone.verdict()), ("5.00 ns".to_owned(), "met".to_owned()));
    }

    #[test]
    fn who_did_not_run_is_not_judged() {
        let judged = Judged::new(target(&["absent"], Versus::BestPeer, 1.0), &[]);
        assert_eq!(judged.verdict(), "not measured");
    }
}
