//! What was to be reached, and whether it was: computed from the rows, never copied.

use std::fmt;

use crate::run::{Check, Line, Measure, Versus};
use crate::table;

/// The same check over several rows is one claim.
struct Claim<'a> {
    check: &'a Check,
    /// Row and ratio; of no row where who it compares with did not run.
    found: Vec<(&'a str, f64)>,
}

/// The ratio that a check is about; `None` where a contender it needs did not run.
fn ratio_of(check: &Check, line: &Line, lines: &[Line]) -> Option<f64> {
    let ours = line.result(&check.lane)?;
    let other = match &check.versus {
        Versus::BestPeer => line.best_peer()?,
        Versus::Lane(name) => line.result(name)?,
        Versus::Row(row) => lines.iter().find(|other| other.name == *row)?.result(&check.lane)?,
    };
    Some(match check.measure {
        Measure::Time => ours.time() / other.time(),
        Measure::IdleBytes => ours.idle_bytes as f64 / other.idle_bytes.max(1) as f64,
    })
}

fn claims(lines: &[Line]) -> Vec<Claim<'_>> {
    let mut claims: Vec<Claim<'_>> = Vec::new();
    for line in lines {
        for check in &line.checks {
            let found = ratio_of(check, line, lines).map(|ratio| (line.name.as_str(), ratio));
            // The row that a check compares with differs from row to row, and it is the same claim.
            let same = |claim: &&mut Claim<'_>| match (&claim.check.versus, &check.versus) {
                (Versus::Row(_), Versus::Row(_)) => claim.check.work == check.work && claim.check.lane == check.lane,
                _ => claim.check == check,
            };
            match claims.iter_mut().find(same) {
                Some(claim) => claim.found.extend(found),
                None => claims.push(Claim { check, found: found.into_iter().collect() }),
            }
        }
    }
    claims
}

impl Claim<'_> {
    fn missed(&self) -> usize {
        self.check.factor.map_or(0, |factor| self.found.iter().filter(|found| found.1 > factor).count())
    }

    fn verdict(&self) -> String {
        match (self.check.factor, self.missed(), self.found.len()) {
            (_, _, 0) => "not measured".to_owned(),
            (None, ..) => "told only".to_owned(),
            (_, 0, _) => "met".to_owned(),
            (_, missed, rows) if missed == rows => "**missed**".to_owned(),
            (_, missed, rows) => format!("**missed** in {missed} of {rows}"),
        }
    }

    fn got(&self) -> String {
        let by_ratio = |a: &&(&str, f64), b: &&(&str, f64)| a.1.total_cmp(&b.1);
        let (lowest, highest) = (self.found.iter().min_by(by_ratio), self.found.iter().max_by(by_ratio));
        match (lowest, highest) {
            (Some(_), Some(highest)) if self.found.len() == 1 => format!("{:.2}x", highest.1),
            (Some(lowest), Some(highest)) => format!("{:.2}x to {:.2}x ({})", lowest.1, highest.1, highest.0),
            _ => "-".to_owned(),
        }
    }

    fn target(&self) -> String {
        let Check { versus, measure, factor, .. } = self.check;
        let of = if *measure == Measure::IdleBytes { "the idle bytes of " } else { "" };
        match factor {
            Some(factor) => format!("<= {}x {of}{versus}", figure(*factor)),
            None => format!("{of}{versus}"),
        }
    }
}

impl fmt::Display for Versus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Versus::BestPeer => f.write_str("the best peer"),
            Versus::Lane(name) => write!(f, "`{name}`"),
            Versus::Row(row) if row.contains("thread") => f.write_str("the time of one thread"),
            Versus::Row(_) => f.write_str("the time of one pool"),
        }
    }
}

/// Two decimals, or three where they say more.
fn figure(factor: f64) -> String {
    let text = format!("{factor:.3}");
    text.strip_suffix('0').map_or(text.clone(), str::to_owned)
}

/// A line for each target of these groups; empty where there is none.
pub fn summary<'a>(groups: impl Iterator<Item = &'a [Line]>) -> String {
    let mut cells = vec![table::row(["work", "who", "target", "got (at worst in)", "verdict"])];
    for lines in groups {
        for claim in claims(lines) {
            let Check { work, lane, .. } = claim.check;
            cells.push(vec![work.clone(), lane.clone(), claim.target(), claim.got(), claim.verdict()]);
        }
    }
    if cells.len() == 1 { String::new() } else { table::markdown(&cells) }
}

/// How many targets were measured, and how many of them are missed in some row.
pub fn count<'a>(groups: impl Iterator<Item = &'a [Line]>) -> (usize, usize) {
    let claims: Vec<Claim<'a>> =
        groups.flat_map(claims).filter(|claim| claim.check.factor.is_some() && !claim.found.is_empty()).collect();
    (claims.len(), claims.iter().filter(|claim| claim.missed() > 0).count())
}

/// The targets of one row, for its cell in the table.
pub fn of_row(line: &Line, lines: &[Line]) -> String {
    let found = line.checks.iter().filter_map(|check| Some((check.factor?, ratio_of(check, line, lines)?)));
    let text: Vec<String> = found
        .map(|(factor, ratio)| {
            let word = if ratio <= factor { "met" } else { "MISSED" };
            format!("<= {}: {ratio:.2} {word}", figure(factor))
        })
        .collect();
    if text.is_empty() { "-".to_owned() } else { text.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contenders::Role;
    use crate::run::Result;

    fn line(name: &str, ours: f64, peer: f64, factor: f64) -> Line {
        let result = |name: &str, role, min| Result {
            name: name.to_owned(),
            role,
            min,
            median: min,
            by_median: false,
            idle_bytes: 0,
        };
        let check = Check {
            work: "a pair".to_owned(),
            lane: "ours".to_owned(),
            versus: Versus::BestPeer,
            measure: Measure::Time,
            factor: Some(factor),
        };
        Line {
            name: name.to_owned(),
            limit: None,
            shows_idle: false,
            checks: vec![check],
            results: vec![result("ours", Role::Ours, ours), result("peer", Role::Peer, peer)],
        }
    }

    #[test]
    fn one_row_above_the_target_makes_it_missed_and_is_named() {
        let lines = [line("small", 5.0, 10.0, 0.6), line("large", 7.0, 10.0, 0.6)];
        let summary = summary([&lines[..]].into_iter());
        assert!(summary.contains("0.50x to 0.70x (large)"), "{summary}");
        assert!(summary.contains("**missed** in 1 of 2"), "{summary}");
        assert_eq!(count([&lines[..]].into_iter()), (1, 1));
        assert_eq!(count([&lines[..1]].into_iter()), (1, 0));
    }
}
