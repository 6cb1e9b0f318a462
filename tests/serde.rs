//! Feature `serde`: configurations survive a round trip and typing errors; the books can be written.

use std::time::Duration;

use bytebufferpool::{Builder, DefaultSize, Growth, Pool};
use serde_json::{Value, from_str, json, to_string, to_value};

/// Through JSON, and through a format that does not say which field is which, so that all of them must be written.
///
/// A `Builder` shows all it holds in its `Debug`.
#[track_caller]
fn assert_round_trip(builder: &Builder) {
    let written = to_string(builder).unwrap();
    let read: Builder = from_str(&written).unwrap();
    assert_eq!(format!("{read:?}"), format!("{builder:?}"), "{written}");
    let written = postcard::to_stdvec(builder).unwrap();
    let read: Builder = postcard::from_bytes(&written).unwrap();
    assert_eq!(format!("{read:?}"), format!("{builder:?}"), "{written:?}");
}

#[test]
fn a_configuration_survives_a_round_trip() {
    assert_round_trip(&Pool::builder());
    let all = Pool::builder()
        .calibrate_calls_threshold(7)
        .max_percentile(0.123)
        .default_policy(DefaultSize::Percentile(0.77))
        .growth(Growth::MaxSize)
        .calibrate_early(false)
        .default_size(100)
        .max_size(1000)
        .default_size_limit(2000)
        .max_size_limit(3000)
        .retained_bytes_max(12_345)
        .thread_cache_bytes_max(0)
        .trim_interval(Duration::new(3, 141_592_653));
    assert_round_trip(&all);
    for policy in [DefaultSize::Mode, DefaultSize::Percentile(1.0)] {
        for growth in [Growth::NextClass, Growth::MaxSize] {
            assert_round_trip(&Pool::builder().default_policy(policy).growth(growth));
        }
    }
    for nanoseconds in [0, 1, 999, 1_000_001, 86_400_000_000_001] {
        assert_round_trip(&Pool::builder().trim_interval(Duration::from_nanos(nanoseconds)));
    }
    assert_round_trip(&Pool::builder().trim_interval(Duration::MAX).retained_bytes_max(usize::MAX));
}

#[test]
fn what_is_written_is_what_people_would_write() {
    let builder = Pool::builder().max_size(4096).trim_interval(Duration::from_millis(1500)).growth(Growth::MaxSize);
    let written = to_value(builder.default_policy(DefaultSize::Percentile(0.5)).max_percentile(0.5)).unwrap();
    assert_eq!(written["default_policy"], json!({ "percentile": 0.5 }));
    assert_eq!((&written["growth"], &written["max_size"]), (&json!("max_size"), &json!(4096)));
    assert_eq!(written["trim_interval_seconds"], json!(1.5));
    assert_eq!(written.get("default_size"), Some(&Value::Null), "what was not set follows what was");
    assert_eq!(to_value(Pool::builder().default_policy(DefaultSize::Mode)).unwrap()["default_policy"], json!("mode"));
}

#[test]
fn what_is_left_out_has_its_default() {
    let read: Builder = from_str("{}").unwrap();
    assert_eq!(format!("{read:?}"), format!("{:?}", Pool::builder()));
}

#[test]
fn null_is_as_good_as_left_out() {
    let written = r#"{ "default_size": null, "max_size": null, "default_size_limit": null, "max_size_limit": null }"#;
    let read: Builder = from_str(written).unwrap();
    assert_eq!(format!("{read:?}"), format!("{:?}", Pool::builder()));
}

/// As it was written when what had not been set was left out, but for `look_up_classes`, which is no setting any more.
#[test]
fn a_file_of_an_earlier_version_is_read() {
    let written = r#"{ "calibrate_calls_threshold": 7, "max_percentile": 0.5, "default_policy": "mode",
        "growth": "next_class", "max_size": 4096, "retained_bytes_max": 1000, "thread_cache_bytes_max": 0,
        "trim_interval_seconds": 1.5 }"#;
    let read: Builder = from_str(written).unwrap();
    let same = Pool::builder()
        .calibrate_calls_threshold(7)
        .max_percentile(0.5)
        .default_policy(DefaultSize::Mode)
        .max_size(4096)
        .retained_bytes_max(1000)
        .thread_cache_bytes_max(0)
        .trim_interval(Duration::from_millis(1500));
    assert_eq!(format!("{read:?}"), format!("{same:?}"));
}

#[test]
fn mistakes_are_errors_that_say_where() {
    for (written, part) in [
        (r#"{"max_sise": 5}"#, "unknown field `max_sise`"),
        (r#"{"trim_interval": 5}"#, "unknown field `trim_interval`"),
        (r#"{"on_calibration": null}"#, "unknown field `on_calibration`"),
        (r#"{"look_up_classes": 2}"#, "unknown field `look_up_classes`"),
        (r#"{"trim_interval_seconds": -1}"#, "trim_interval_seconds is -1"),
        (r#"{"max_size": -1}"#, "invalid value: integer `-1`"),
        (r#"{"max_size": "1 MiB"}"#, "invalid type: string"),
        (r#"{"growth": "double"}"#, "unknown variant `double`"),
        (r#"{"max_size": 1, "max_size": 2}"#, "duplicate field"),
    ] {
        let error = from_str::<Builder>(written).unwrap_err().to_string();
        assert!(error.contains(part), "{written}: {error}");
    }
}

#[test]
fn a_bad_value_is_refused_when_the_pool_is_built() {
    for (written, message) in [
        (r#"{"calibrate_calls_threshold": 0}"#, "Builder::calibrate_calls_threshold must be at least 1: it is 0"),
        (r#"{"max_percentile": 95}"#, "Builder::max_percentile must be above 0 and at most 1: it is 95"),
        (r#"{"max_size": 99999999}"#, "Builder::max_size must be at most 32 MiB (33554432): it is 99999999"),
    ] {
        let builder: Builder = from_str(written).unwrap();
        assert_eq!(builder.try_build().unwrap_err().to_string(), message);
    }
}

#[test]
fn the_books_are_written_with_every_figure() {
    let pool = Pool::new();
    drop((pool.get(), pool.get_with_capacity(100)));
    pool.get().discard();
    let stats = pool.stats();
    let written = to_value(&stats).unwrap();
    assert_eq!(written["gets"], json!(3));
    assert_eq!(written["dropped"]["discarded"], json!(1));
    assert_eq!(written["classes"].as_array().map(Vec::len), Some(20));
    assert_eq!(written["classes"][1], json!({ "size": 128, "calls": 1, "retained": 1 }));
    // As many as the struct shows.
    let debug = format!("{stats:#?}");
    let shown = debug.lines().filter(|line| line.starts_with("    ") && line.as_bytes()[4] != b' ');
    let names = shown.filter(|line| line.contains(':')).count();
    assert_eq!(written.as_object().map(serde_json::Map::len), Some(names), "{written:#}");
    assert!(matches!(written["retained_bytes"], Value::Number(_)));
}
