//! Feature `tracing`: a calibration is one event, with what was learnt in its fields.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use bytebufferpool::Pool;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "bytebufferpool" && *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Fields(String);
        impl Visit for Fields {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                write!(self.0, " {}={value:?}", field.name()).expect("no failure");
            }
        }
        let mut fields = Fields(event.metadata().level().to_string());
        event.record(&mut fields);
        self.0.lock().expect("no panic").push(fields.0);
        // A subscriber's panic is the subscriber's.
        panic!("on purpose");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_calibration_is_an_event() {
    let notes = Notes::default();
    tracing::subscriber::with_default(notes.clone(), || {
        let pool = Pool::builder().calibrate_calls_threshold(1).build();
        pool.get().resize(1000, 0);
        pool.get().resize(1000, 0);
    });
    let sizes = "number=1 default_size_before=64 default_size=1024 max_size_before=33554432 max_size=1024";
    let lines = notes.0.lock().unwrap_or_else(|error| error.into_inner());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("DEBUG") && lines[0].contains(sizes), "{lines:?}");
}
