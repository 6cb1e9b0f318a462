//! What a run of a pattern saw beside its time: how long single operations took, and the resident memory.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Getting a buffer and writing it whole.
    pub get: Tail,
    /// Its drop.
    pub end: Tail,
    pub resident: Resident,
}

/// Percentiles in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    pub p50: u32,
    pub p99: u32,
    pub p999: u32,
}

/// Beyond what the process had resident when the run began, in KiB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resident {
    pub peak_kib: u32,
    /// When all buffers had been dropped and all threads had ended, and the pool was still there.
    pub end_kib: u32,
    /// Equal steps of the time from begin to end, in each the most that was seen.
    pub curve_kib: Vec<u32>,
}

impl Seen {
    /// Of several runs: the median of each percentile and of the end, and the curve of the highest peak.
    pub fn merge(runs: &[&Seen]) -> Option<Seen> {
        let highest = runs.iter().max_by_key(|run| run.resident.peak_kib)?;
        let middle = |of: fn(&Seen) -> u32| median(runs.iter().map(|run| of(run)).collect());
        Some(Seen {
            get: Tail {
                p50: middle(|run| run.get.p50),
                p99: middle(|run| run.get.p99),
                p999: middle(|run| run.get.p999),
            },
            end: Tail {
                p50: middle(|run| run.end.p50),
                p99: middle(|run| run.end.p99),
                p999: middle(|run| run.end.p999),
            },
            resident: Resident { end_kib: middle(|run| run.resident.end_kib), ..highest.resident.clone() },
        })
    }
}

fn median(mut figures: Vec<u32>) -> u32 {
    figures.sort_unstable();
    figures[figures.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_are_the_medians_and_the_highest_peak() {
        let run = |figure: u32, peak_kib: u32| Seen {
            get: Tail { p50: figure, p99: 2 * figure, p999: 3 * figure },
            end: Tail { p50: 1, p99: 1, p999: 1 },
            resident: Resident { peak_kib, end_kib: figure, curve_kib: vec![peak_kib] },
        };
        let merged = Seen::merge(&[&run(5, 70), &run(9, 30), &run(1, 90)]).unwrap();
        assert_eq!(merged.get, Tail { p50: 5, p99: 10, p999: 15 });
        assert_eq!(merged.resident, Resident { peak_kib: 90, end_kib: 5, curve_kib: vec![90] });
        assert_eq!(Seen::merge(&[]), None);
    }
}
