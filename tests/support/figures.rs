//! What is published of a pool, as its books have it: for the tests of the feature and of the exporter.

use std::collections::BTreeMap;

use bytebufferpool::Stats;

/// By name and labels, as Prometheus writes them.
pub fn figures(pool: &str, stats: &Stats) -> BTreeMap<String, f64> {
    let Stats { dropped, .. } = stats;
    let plain = [
        ("hits_total", stats.hits),
        ("misses_total", stats.misses),
        ("puts_total", stats.puts),
        ("detached_total", stats.detached),
        ("donated_total", stats.donated),
        ("growths_total", stats.growths),
        ("allocated_total", stats.allocated),
        ("trimmed_total", stats.trimmed),
        ("calibrations_total", stats.calibrations),
        ("outstanding", stats.outstanding),
        ("retained_bytes", stats.retained_bytes as u64),
        ("retained_buffers", stats.retained_buffers),
        ("default_size_bytes", stats.default_size as u64),
        ("max_size_bytes", stats.max_size as u64),
    ];
    let by_reason = [
        ("discarded", dropped.discarded),
        ("out_of_class", dropped.out_of_class),
        ("over_ceiling", dropped.over_ceiling),
        ("over_budget", dropped.over_budget),
        ("depot_full", dropped.depot_full),
    ];
    let plain = plain.map(|(name, value)| (format!("bytebufferpool_{name}{{pool=\"{pool}\"}}"), value as f64));
    let by_reason = by_reason.map(|(reason, value)| {
        (format!("bytebufferpool_dropped_total{{pool=\"{pool}\",reason=\"{reason}\"}}"), value as f64)
    });
    plain.into_iter().chain(by_reason).collect()
}
