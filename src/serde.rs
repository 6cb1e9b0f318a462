//! Feature `serde`: how a configuration is written down. (`Stats` and its parts only derive `Serialize`.)
//!
//! A file that people edit: unknown fields are errors, what is left out has its default, sizes are in bytes, and the
//! interval says its unit in its name. It is seconds with a fraction, since a fraction is exact to the nanosecond
//! for intervals up to a hundred days. Values are judged where they always are, by `Builder::try_build`.

use std::time::Duration;

use ::serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::builder::{Builder, Growth};
use crate::calibration::DefaultSize;

/// [`Builder`], field by field.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Builder", deny_unknown_fields, default)]
pub(crate) struct Written {
    pub(crate) calibrate_calls_threshold: u64,
    pub(crate) max_percentile: f64,
    pub(crate) default_policy: DefaultSize,
    pub(crate) growth: Growth,
    pub(crate) calibrate_early: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default_size_limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_size_limit: Option<usize>,
    pub(crate) retained_bytes_max: usize,
    pub(crate) thread_cache_bytes_max: usize,
    #[serde(with = "seconds")]
    pub(crate) trim_interval_seconds: Duration,
}

impl Default for Written {
    fn default() -> Written {
        Builder::new().written()
    }
}

/// The callback of a configuration is not written down, nor what the feature `leak-trace` adds.
impl Serialize for Builder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Builder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Builder, D::Error> {
        Written::deserialize(deserializer).map(Builder::from_written)
    }
}

mod seconds {
    use super::*;

    pub(super) fn serialize<S: Serializer>(interval: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        interval.as_secs_f64().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if seconds >= u64::MAX as f64 {
            // What `Duration::MAX` is written as.
            return Ok(Duration::MAX);
        }
        Duration::try_from_secs_f64(seconds)
            .map_err(|error| de::Error::custom(format_args!("trim_interval_seconds is {seconds}: {error}")))
    }
}
