//! Feature `metrics`: what a recorder is told agrees with the books.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytebufferpool::{Pool, Registry};
use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

#[path = "support/figures.rs"]
mod figures;
use figures::figures;

/// Notes every figure, by name and labels.
#[derive(Clone, Default)]
struct Notes {
    figures: Arc<Mutex<BTreeMap<String, f64>>>,
    described: Arc<Mutex<Vec<String>>>,
}

struct Figure(Notes, String);

impl Figure {
    fn note(&self, value: f64) {
        self.0.figures.lock().unwrap().insert(self.1.clone(), value);
    }
}

impl CounterFn for Figure {
    fn increment(&self, _: u64) {
        panic!("counters are set, not incremented");
    }

    fn absolute(&self, value: u64) {
        self.note(value as f64);
    }
}

impl GaugeFn for Figure {
    fn increment(&self, _: f64) {
        panic!("gauges are set");
    }

    fn decrement(&self, _: f64) {
        panic!("gauges are set");
    }

    fn set(&self, value: f64) {
        self.note(value);
    }
}

impl Notes {
    fn figure(&self, key: &Key) -> Arc<Figure> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}=\"{}\"", label.key(), label.value())).collect();
        Arc::new(Figure(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }
}

impl Recorder for Notes {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().push(name.as_str().to_owned());
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        assert_eq!(unit == Some(Unit::Bytes), name.as_str().contains("bytes"));
        self.described.lock().unwrap().push(name.as_str().to_owned());
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.figure(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.figure(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// A different number for as many figures as possible.
fn work(pool: &Pool) {
    for _ in 0..7 {
        pool.get().resize(300, 0);
    }
    for _ in 0..3 {
        drop(pool.get().into_vec());
    }
    pool.put(vec![0; 64]);
    pool.put(vec![0; 64]);
    pool.get().discard();
    pool.put(vec![0; 5]);
    pool.calibrate();
    for _ in 0..4 {
        drop(pool.get_with_capacity(2000));
    }
    pool.purge();
    drop(pool.get());
}

#[test]
fn every_figure_is_published_under_its_pools_name() {
    let pool = Pool::new();
    work(&pool);
    let held = pool.get();
    let notes = Notes::default();
    metrics::with_local_recorder(&notes, || bytebufferpool::metrics::publish("lines", &pool));
    assert_eq!(*notes.figures.lock().unwrap(), figures("lines", &pool.stats()));
    drop(held);
    // Again: absolute figures, not sums.
    metrics::with_local_recorder(&notes, || bytebufferpool::metrics::publish(String::from("lines"), &pool));
    assert_eq!(*notes.figures.lock().unwrap(), figures("lines", &pool.stats()));
}

#[test]
fn a_registrys_pools_are_published_by_name() {
    let registry = Registry::new();
    work(&registry.get_or_create("a", Pool::builder()).unwrap());
    registry.get_or_create("b", Pool::builder()).unwrap();
    let notes = Notes::default();
    metrics::with_local_recorder(&notes, || bytebufferpool::metrics::publish_all(&registry));
    let mut both = figures("a", &registry.stats("a").unwrap());
    both.extend(figures("b", &registry.stats("b").unwrap()));
    assert_eq!(*notes.figures.lock().unwrap(), both);
}

#[test]
fn all_that_is_published_is_described() {
    let notes = Notes::default();
    metrics::with_local_recorder(&notes, || {
        bytebufferpool::metrics::describe();
        bytebufferpool::metrics::publish("lines", &Pool::new());
    });
    let described = notes.described.lock().unwrap();
    let figures = notes.figures.lock().unwrap();
    let mut published: Vec<_> = figures.keys().map(|key| key.split('{').next().unwrap().to_owned()).collect();
    published.dedup();
    let mut described = described.clone();
    described.sort();
    assert_eq!(published, described);
}
