//! Feature `metrics`: a pool's counters through the [`metrics`](https://docs.rs/metrics) facade.
//!
//! A pool has its own counters, so nothing is published on the hot path: [`publish`] reads [`Pool::stats`] and sets
//! every figure. Call it once before each scrape, or every few seconds.
//!
//! Every figure has the label `pool`. All of them come from one reading of the counters.
//!
//! | name | kind | |
//! |---|---|---|
//! | `bytebufferpool_hits_total`, `bytebufferpool_misses_total` | counter | gets served by a cached buffer, or by the heap |
//! | `bytebufferpool_puts_total`, `bytebufferpool_detached_total` | counter | guards that ended without and with `into_vec` |
//! | `bytebufferpool_donated_total` | counter | buffers from `Pool::put` |
//! | `bytebufferpool_growths_total` | counter | times a guard moved to a larger buffer |
//! | `bytebufferpool_allocated_total` | counter | buffers taken from the heap |
//! | `bytebufferpool_dropped_total` | counter | buffers freed when they were returned, by the label `reason`: see [`Dropped`](crate::Dropped) |
//! | `bytebufferpool_trimmed_total` | counter | cached buffers freed |
//! | `bytebufferpool_calibrations_total` | counter | |
//! | `bytebufferpool_outstanding` | gauge | guards that have not ended |
//! | `bytebufferpool_retained_bytes`, `bytebufferpool_retained_buffers` | gauge | what is cached |
//! | `bytebufferpool_default_size_bytes`, `bytebufferpool_max_size_bytes` | gauge | what the pool has learned |

use ::metrics::{SharedString, Unit, counter, describe_counter, describe_gauge, gauge};

use crate::pool::Pool;
use crate::registry::Registry;
use crate::stats::Stats;

/// Publishes the figures of `pool` under the label `pool = name`. A few dozen calls of the recorder.
///
/// # Examples
///
/// ```
/// use bytebufferpool::{Pool, metrics};
///
/// static LINES: Pool = Pool::new();
///
/// metrics::describe(); // once, if the recorder shows descriptions
/// metrics::publish("lines", &LINES);
/// ```
pub fn publish(name: impl Into<SharedString>, pool: &Pool) {
    publish_stats(name.into(), &pool.stats());
}

/// Publishes the figures of each pool of a registry under its name.
pub fn publish_all(registry: &Registry) {
    for (name, stats) in registry.all_stats() {
        publish_stats(name.into(), &stats);
    }
}

fn publish_stats(name: SharedString, stats: &Stats) {
    let dropped = &stats.dropped;
    for (counted, value) in [
        ("bytebufferpool_hits_total", stats.hits),
        ("bytebufferpool_misses_total", stats.misses),
        ("bytebufferpool_puts_total", stats.puts),
        ("bytebufferpool_detached_total", stats.detached),
        ("bytebufferpool_donated_total", stats.donated),
        ("bytebufferpool_growths_total", stats.growths),
        ("bytebufferpool_allocated_total", stats.allocated),
        ("bytebufferpool_trimmed_total", stats.trimmed),
        ("bytebufferpool_calibrations_total", stats.calibrations),
    ] {
        counter!(counted, "pool" => name.clone()).absolute(value);
    }
    for (reason, value) in [
        ("discarded", dropped.discarded),
        ("out_of_class", dropped.out_of_class),
        ("over_ceiling", dropped.over_ceiling),
        ("over_budget", dropped.over_budget),
        ("depot_full", dropped.depot_full),
    ] {
        counter!("bytebufferpool_dropped_total", "pool" => name.clone(), "reason" => reason).absolute(value);
    }
    for (measured, value) in [
        ("bytebufferpool_outstanding", stats.outstanding as f64),
        ("bytebufferpool_retained_bytes", stats.retained_bytes as f64),
        ("bytebufferpool_retained_buffers", stats.retained_buffers as f64),
        ("bytebufferpool_default_size_bytes", stats.default_size as f64),
        ("bytebufferpool_max_size_bytes", stats.max_size as f64),
    ] {
        gauge!(measured, "pool" => name.clone()).set(value);
    }
}

/// Gives the recorder a description and a unit of each figure. Call it once, after the recorder is installed.
pub fn describe() {
    for (name, text) in [
        ("bytebufferpool_hits_total", "Gets that a cached buffer served"),
        ("bytebufferpool_misses_total", "Gets that had to allocate"),
        ("bytebufferpool_puts_total", "Guards that ended in any way but into_vec"),
        ("bytebufferpool_detached_total", "Guards that ended with into_vec"),
        ("bytebufferpool_donated_total", "Buffers that came in through Pool::put"),
        ("bytebufferpool_growths_total", "Times a guard moved to a larger buffer of the pool"),
        ("bytebufferpool_allocated_total", "Buffers taken from the heap"),
        ("bytebufferpool_dropped_total", "Buffers freed as they came back, by reason"),
        ("bytebufferpool_trimmed_total", "Idle buffers freed by trim, purge or a calibration"),
        ("bytebufferpool_calibrations_total", "Recalibrations of the sizes"),
    ] {
        describe_counter!(name, Unit::Count, text);
    }
    for (name, unit, text) in [
        ("bytebufferpool_outstanding", Unit::Count, "Guards and frozen buffers that have not ended"),
        ("bytebufferpool_retained_bytes", Unit::Bytes, "Bytes cached in the pool"),
        ("bytebufferpool_retained_buffers", Unit::Count, "Buffers cached in the pool"),
        ("bytebufferpool_default_size_bytes", Unit::Bytes, "The least room of a plain get"),
        ("bytebufferpool_max_size_bytes", Unit::Bytes, "The max size: larger buffers are freed when they are returned"),
    ] {
        describe_gauge!(name, unit, text);
    }
}
