//! The statistics: what a pool did and has cached, as numbers and as a table.

use std::fmt;

use crate::class::CLASSES;

/// What a pool did since it was made and what it has cached now; see [`Pool::stats`](crate::Pool::stats).
///
/// With no operation in flight these hold exactly:
///
/// - `gets == hits + misses`
/// - `gets == puts + detached + outstanding`
/// - `allocated + donated == retained_buffers + outstanding + detached + dropped.total() + trimmed`
/// - `retained_bytes` is the sum of `size * retained` over the classes, and `retained_buffers` of `retained`
///
/// Every get and every buffer is counted exactly once. While other threads operate, single figures may lag behind each
/// other, but `retained_bytes` is never above the budget.
///
/// `Display` prints a table:
///
/// ```
/// use bytebufferpool::Pool;
///
/// let pool = Pool::new();
/// drop(pool.get());
/// println!("{}", pool.stats());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// Buffers that were borrowed: every successful `get`.
    pub gets: u64,
    /// Gets that a cached buffer served.
    pub hits: u64,
    /// Gets that had to allocate.
    pub misses: u64,
    /// Guards that ended in any way but `into_vec`: dropped, discarded, or the last clone of a frozen buffer dropped.
    pub puts: u64,
    /// Guards that ended with `into_vec`: their buffers left the pool.
    pub detached: u64,
    /// Guards and frozen buffers that have not ended. One that was passed to `mem::forget` is counted here for ever.
    pub outstanding: u64,
    /// Buffers that were given to the pool by [`Pool::put`](crate::Pool::put).
    pub donated: u64,
    /// Times a guard moved to a larger buffer of the pool.
    pub growths: u64,
    /// Buffers the pool took from the heap: for a get, a growth or `prefill`.
    pub allocated: u64,
    /// Buffers that were freed when they were returned, by the first reason that applies.
    pub dropped: Dropped,
    /// Cached buffers that were freed by a trim interval, `purge` or a calibration.
    pub trimmed: u64,
    /// How often the sizes were recalibrated.
    pub calibrations: u64,
    /// The least capacity of a plain `get`, in bytes.
    pub default_size: usize,
    /// The max size in bytes: larger buffers are freed when they are returned.
    pub max_size: usize,
    /// Bytes cached in the pool, thread caches included.
    pub retained_bytes: usize,
    /// Buffers cached in the pool, thread caches included.
    pub retained_buffers: u64,
    /// The size classes, smallest first.
    pub classes: [ClassStats; CLASSES],
}

/// Returned buffers that were freed instead of cached, by reason; part of [`Stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Dropped {
    /// Ended with `discard`.
    pub discarded: u64,
    /// The capacity was below 64 B or above 32 MiB, or could not be cut down to a size class.
    pub out_of_class: u64,
    /// The buffer was above the max size.
    pub over_ceiling: u64,
    /// The budget was used up.
    pub over_budget: u64,
    /// The shared part had no room for the buffer. Always 0 in this version: the budget alone limits the shared part.
    pub depot_full: u64,
}

impl Dropped {
    /// The sum of all reasons.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = bytebufferpool::Pool::new();
    /// pool.get().discard();
    /// pool.get().discard();
    /// assert_eq!(pool.stats().dropped.total(), 2);
    /// ```
    #[must_use]
    #[inline]
    pub fn total(&self) -> u64 {
        self.discarded + self.out_of_class + self.over_ceiling + self.over_budget + self.depot_full
    }
}

/// One size class; part of [`Stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ClassStats {
    /// The capacity of its buffers in bytes.
    pub size: usize,
    /// Its calls since the last calibration.
    pub calls: u64,
    /// Its cached buffers.
    pub retained: u64,
}

impl fmt::Display for Stats {
    /// At most 80 columns while counts have up to nine digits.
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dropped = &self.dropped;
        let hits = percent(self.hits, self.gets);
        writeln!(f, "gets {}: hits {} ({hits:.1} %), misses {}", self.gets, self.hits, self.misses)?;
        writeln!(f, "allocated {}, growths {}, outstanding {}", self.allocated, self.growths, self.outstanding,)?;
        writeln!(
            f,
            "cached {} in {} buffers, calibrations {}",
            Bytes(self.retained_bytes as u64),
            self.retained_buffers,
            self.calibrations,
        )?;
        writeln!(f, "detached {}, donated {}, trimmed {}", self.detached, self.donated, self.trimmed)?;
        writeln!(
            f,
            "freed: discarded {}, out of class {}, above max size {},",
            dropped.discarded, dropped.out_of_class, dropped.over_ceiling,
        )?;
        writeln!(f, "       over budget {}, depot full {}", dropped.over_budget, dropped.depot_full)?;
        writeln!(f, "{:>8} {:>12} {:>8} {:>10}  calls in this window", "class", "calls", "cached", "bytes")?;
        let most = self.classes.iter().map(|class| class.calls).max().unwrap_or(0);
        for class in self.classes.iter().filter(|class| self.is_worth_a_row(class)) {
            let mark = match (class.size == self.default_size, class.size == self.max_size) {
                (true, true) => "  <- default, max",
                (true, false) => "  <- default",
                (false, true) => "  <- max",
                (false, false) => "",
            };
            let row = format!(
                "{:>8} {:>12} {:>8} {:>10}  {:<BAR_WIDTH$}{mark}",
                Bytes(class.size as u64).to_string(),
                class.calls,
                class.retained,
                Bytes(class.size as u64 * class.retained).to_string(),
                bar(class.calls, most),
            );
            writeln!(f, "{}", row.trim_end())?;
        }
        Ok(())
    }
}

impl Stats {
    #[inline]
    fn is_worth_a_row(&self, class: &ClassStats) -> bool {
        class.calls > 0 || class.retained > 0 || class.size == self.default_size || class.size == self.max_size
    }
}

const BAR_WIDTH: usize = 18;

/// At least one mark for any call, so that no class that was used looks unused.
#[inline]
fn bar(calls: u64, most: u64) -> String {
    if calls == 0 {
        return String::new();
    }
    let marks = (u128::from(calls) * BAR_WIDTH as u128).div_ceil(u128::from(most));
    "#".repeat(marks as usize)
}

#[inline]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// A number of bytes for people: whole up to 9999 of a unit, in powers of 1024.
struct Bytes(u64);

impl fmt::Display for Bytes {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes < 1024 => write!(f, "{bytes} B"),
            bytes if bytes < 1024 * 1024 => write_scaled(f, bytes, 1024, "KiB"),
            bytes if bytes < 1024 * 1024 * 1024 => write_scaled(f, bytes, 1024 * 1024, "MiB"),
            bytes => write_scaled(f, bytes, 1024 * 1024 * 1024, "GiB"),
        }
    }
}

#[inline]
fn write_scaled(f: &mut fmt::Formatter<'_>, bytes: u64, unit: u64, name: &str) -> fmt::Result {
    if bytes % unit == 0 {
        write!(f, "{} {name}", bytes / unit)
    } else {
        write!(f, "{:.1} {name}", bytes as f64 / unit as f64)
    }
}

/// For the model, loom's models and the scenarios under shuttle. The tests in `tests`, which see only what is public,
/// have one of their own.
#[cfg(test)]
impl Stats {
    /// Asserts the identities that hold with no operation in flight.
    #[track_caller]
    pub(crate) fn assert_identities(&self) {
        assert_eq!(self.gets, self.hits + self.misses, "{self:?}");
        assert_eq!(self.gets, self.puts + self.detached + self.outstanding, "{self:?}");
        let freed = self.dropped.total() + self.trimmed;
        let counted = self.retained_buffers + self.outstanding + self.detached + freed;
        assert_eq!(self.allocated + self.donated, counted, "{self:?}");
        let bytes: usize = self.classes.iter().map(|class| class.size * class.retained as usize).sum();
        assert_eq!(self.retained_bytes, bytes, "{self:?}");
        assert_eq!(self.retained_buffers, self.classes.iter().map(|class| class.retained).sum::<u64>(), "{self:?}");
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;
    use crate::class::size_of_class;

    fn sample() -> Stats {
        let mut stats =
            Stats { gets: 8, hits: 6, misses: 2, default_size: 128, max_size: 32 << 20, ..Stats::default() };
        stats.classes = std::array::from_fn(|class| ClassStats { size: size_of_class(class), calls: 0, retained: 0 });
        stats.classes[0].calls = 1;
        stats.classes[1].calls = 4800;
        stats.classes[4].retained = 3;
        stats
    }

    #[test]
    fn the_table_has_a_row_per_class_in_use_and_marks_default_and_max() {
        let table = sample().to_string();
        let rows: Vec<&str> = table.lines().skip(7).collect();
        assert_eq!(rows.len(), 4, "{table}");
        assert_eq!(rows[0].split_whitespace().collect::<Vec<_>>(), ["64", "B", "1", "0", "0", "B", "#"]);
        assert!(rows[1].ends_with(&format!("{}  <- default", "#".repeat(BAR_WIDTH))), "{table}");
        assert_eq!(rows[2].split_whitespace().collect::<Vec<_>>(), ["1", "KiB", "0", "3", "3", "KiB"]);
        assert!(rows[3].starts_with("  32 MiB") && rows[3].ends_with("<- max"), "{table}");
        assert!(table.starts_with("gets 8: hits 6 (75.0 %), misses 2"), "{table}");
    }

    #[test]
    fn a_table_of_nine_digits_has_at_most_80_columns() {
        const MANY: u64 = 999_999_999;
        let mut stats = Stats {
            gets: MANY,
            hits: MANY,
            misses: MANY,
            outstanding: MANY,
            detached: MANY,
            donated: MANY,
            growths: MANY,
            allocated: MANY,
            trimmed: MANY,
            calibrations: MANY,
            retained_buffers: MANY,
            retained_bytes: usize::MAX / 2,
            default_size: 32 << 20,
            max_size: 32 << 20,
            ..sample()
        };
        stats.dropped =
            Dropped { discarded: MANY, out_of_class: MANY, over_ceiling: MANY, over_budget: MANY, depot_full: MANY };
        for class in &mut stats.classes {
            (class.calls, class.retained) = (MANY, 9_999_999);
        }
        let table = stats.to_string();
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    }

    #[test]
    fn bytes_are_in_the_largest_unit_of_which_there_is_one() {
        let texts = [(1023, "1023 B"), (1 << 10, "1 KiB"), (1536, "1.5 KiB"), (1 << 20, "1 MiB"), (1 << 30, "1 GiB")];
        for (bytes, text) in texts {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn the_total_is_the_sum_of_all_reasons() {
        let dropped =
            Dropped { discarded: 1, out_of_class: 10, over_ceiling: 100, over_budget: 1000, depot_full: 10_000 };
        assert_eq!(dropped.total(), 11_111);
    }

    #[test]
    fn one_class_can_be_both_default_and_max() {
        let stats = Stats { max_size: 128, ..sample() };
        assert!(stats.to_string().contains("<- default, max"));
    }

    #[test]
    fn an_empty_pool_prints_without_dividing_by_zero() {
        assert!(Stats::default().to_string().starts_with("gets 0: hits 0 (0.0 %)"));
    }
}
