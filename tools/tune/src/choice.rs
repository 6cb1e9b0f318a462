//! Which setting is the best.
//!
//! Two things count: the work a use costs beside writing (`Outcome::overhead_ns`), and the most bytes cached. Where
//! one setting is better in both there is nothing to choose; what is left is the Pareto front. Its ends are the goals
//! `speed` and `memory`. `balanced` takes the setting nearest to the point that has the best of both, each measured as
//! a ratio: twice the work is as bad as twice the memory.

use crate::replay::Outcome;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    Balanced,
    Speed,
    Memory,
}

/// Whether each is on the front: no other is at least as good in both and better in one.
pub(crate) fn front(outcomes: &[Outcome]) -> Vec<bool> {
    let costs: Vec<_> = outcomes.iter().map(cost).collect();
    let beats = |a: &(f64, f64), b: &(f64, f64)| a.0 <= b.0 && a.1 <= b.1 && a != b;
    costs.iter().map(|one| !costs.iter().any(|other| beats(other, one))).collect()
}

/// The index of the best; of those that are within 2 % of it the first, as the plainer settings come first.
pub(crate) fn best(outcomes: &[Outcome], goal: Goal) -> usize {
    let least =
        |figure: fn(&(f64, f64)) -> f64| outcomes.iter().map(cost).map(|cost| figure(&cost)).fold(f64::MAX, f64::min);
    let (least_work, least_cached) = (least(|cost| cost.0), least(|cost| cost.1));
    // In octaves above the best possible; what counts less only breaks ties.
    let distance = |outcome: &Outcome| {
        let (work, cached) = cost(outcome);
        let (work, cached) = ((work / least_work).log2(), (cached / least_cached).log2());
        match goal {
            Goal::Balanced => work.hypot(cached),
            Goal::Speed => work + cached * TIE_BREAK,
            Goal::Memory => cached + work * TIE_BREAK,
        }
    };
    let shortest = outcomes.iter().map(distance).fold(f64::MAX, f64::min);
    outcomes.iter().position(|outcome| distance(outcome) <= shortest + EQUAL_OCTAVES).expect("the grid is not empty")
}

const TIE_BREAK: f64 = 0.01;
/// log2 of 1.02.
const EQUAL_OCTAVES: f64 = 0.0286;

/// Work and cached bytes, both from a floor on: below it less is not better, and nothing is divided by 0. The floors are
/// about what the get and the put of a use cost, and a page.
fn cost(outcome: &Outcome) -> (f64, f64) {
    (outcome.overhead_ns().max(WORK_NS_FLOOR), (outcome.cached_bytes_max as f64).max(CACHED_BYTES_FLOOR))
}

const WORK_NS_FLOOR: f64 = 2.0;
const CACHED_BYTES_FLOOR: f64 = 4096.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Learned;

    /// `growths` in a thousand uses cost 20 ns each.
    fn outcome(growths: u64, cached_bytes_max: usize) -> Outcome {
        Outcome {
            uses: 1000,
            hits: 1000,
            growths,
            allocated: 0,
            copied_bytes: 0,
            cached_bytes_mean: 0.0,
            cached_bytes_max,
            held_bytes_max: cached_bytes_max,
            learned: vec![Learned { after: 0, default_size: 64, max_size: 64 }],
            calibrations: 0,
        }
    }

    #[test]
    fn the_ends_of_the_front_are_speed_and_memory_and_the_knee_is_balanced() {
        let outcomes = [outcome(4000, 10_000), outcome(3000, 900_000), outcome(500, 20_000), outcome(400, 1_000_000)];
        assert_eq!(best(&outcomes, Goal::Memory), 0);
        assert_eq!(best(&outcomes, Goal::Balanced), 2);
        assert_eq!(best(&outcomes, Goal::Speed), 3);
        assert_eq!(front(&outcomes), [true, false, true, true]);
    }

    #[test]
    fn of_equals_the_plainer_comes_first_and_a_real_gain_is_not_an_equal() {
        assert_eq!(best(&[outcome(1000, 10_000), outcome(990, 10_000)], Goal::Balanced), 0);
        assert_eq!(best(&[outcome(1000, 10_000), outcome(900, 10_000)], Goal::Balanced), 1);
        assert_eq!(best(&[outcome(1000, 20_000), outcome(1000, 10_000)], Goal::Speed), 0, "0.01 octaves");
        assert_eq!(best(&[outcome(1000, 900_000), outcome(1000, 10_000)], Goal::Speed), 1, "6.5 octaves break a tie");
    }

    #[test]
    fn nothing_to_gain_is_no_division_by_zero() {
        assert_eq!(best(&[outcome(0, 0), outcome(0, 0)], Goal::Balanced), 0);
        assert_eq!(best(&[outcome(9000, 0), outcome(0, 4096)], Goal::Memory), 1, "below a page less is not better");
        assert_eq!(front(&[outcome(0, 0), outcome(50, 4096)]), [true, true]);
    }
}
