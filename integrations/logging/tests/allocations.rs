//! Once warm, an event allocates nothing: not on the thread that logs, and not on the one that writes.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytebufferpool_tracing::{LineWriter, WhenFull};
use log::Log;

#[path = "../../../tests/support/ledger.rs"]
mod ledger;

use ledger::{Count, Ledger};

#[global_allocator]
static LEDGER: Ledger = Ledger;

/// Writes nothing, and notes what the thread it runs on has asked of the heap.
struct Noting(Arc<AtomicU64>);

impl Write for Noting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.store(Count::of_this_thread().heap_takes(), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn check(log: impl FnOnce(LineWriter) -> Box<dyn Fn(u64)>) {
    let on_writer = Arc::new(AtomicU64::new(0));
    let (lines, writer) = LineWriter::spawn(Noting(Arc::clone(&on_writer)), 64 << 10, WhenFull::Block);
    let flush = lines.clone();
    let log = log(lines);
    // How many blocks are under way at most depends on the scheduler, and a trim may free some: so it is warm after some
    // round, and not after a certain one.
    let mut rounds = Vec::new();
    while !rounds.ends_with(&[(0, 0); 3]) {
        assert!(rounds.len() < 100, "allocations here and on the writer, per 1000 events: {rounds:?}");
        let before = on_writer.load(Ordering::Relaxed);
        let (here, ()) = Count::of(|| (0..1000).for_each(&log));
        flush.flush();
        rounds.push((here.heap_takes(), on_writer.load(Ordering::Relaxed) - before));
    }
    writer.finish();
}

#[test]
fn an_event_of_tracing_allocates_nothing() {
    check(|lines| {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(lines).finish();
        let dispatch = tracing::Dispatch::new(subscriber);
        Box::new(move |event| {
            tracing::dispatcher::with_default(&dispatch, || tracing::info!(event, user = "anna", "logged in"));
        })
    });
}

#[test]
fn a_record_of_log_allocates_nothing() {
    check(|lines| {
        Box::new(move |event| {
            let message = format_args!("event={event} user=anna logged in");
            lines.log(&log::Record::builder().level(log::Level::Info).args(message).build());
        })
    });
}

#[test]
fn a_line_in_pieces_allocates_nothing() {
    check(|lines| Box::new(move |event| writeln!(lines.line(), "event={event} user=anna logged in").unwrap()));
}
