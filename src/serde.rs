//! Feature `serde`: how a `Builder` is written and read. (`Stats` and its parts only derive `Serialize`.)
//!
//! `Builder` derives both traits, so this module is only the form of its one field that needs another. In a file that people
//! edit, the interval has its unit in its name, `trim_interval_seconds`, and is a number of seconds with a fraction, which
//! is exact to the nanosecond for intervals up to a hundred days.

pub(crate) mod seconds {
    use std::time::Duration;

    use ::serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(interval: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        interval.as_secs_f64().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if seconds >= u64::MAX as f64 {
            // What `Duration::MAX` is written as.
            return Ok(Duration::MAX);
        }
        Duration::try_from_secs_f64(seconds)
            .map_err(|error| de::Error::custom(format_args!("trim_interval_seconds is {seconds}: {error}")))
    }
}
