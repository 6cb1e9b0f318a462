//! The pool under the lines tells of its calibrations by `tracing` (feature `tracing`), and such an event is a line too. It
//! must not come while the queue is locked, nor wait for the thread that it is on.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytebufferpool_tracing::{LineWriter, WhenFull};
use log::Log;

#[test]
fn a_calibration_may_be_logged_through_the_pool_that_it_is_of() {
    let (lines, writer) = LineWriter::spawn(std::io::sink(), 1 << 10, WhenFull::Block);
    // The process's own, as the writer thread has no other.
    tracing::subscriber::set_global_default(
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(lines.clone()).finish(),
    )
    .unwrap();
    let (done, is_done) = mpsc::channel();
    const RECORDS: u64 = 100_000;
    let logging = thread::spawn({
        let lines = lines.clone();
        move || {
            for record in 0..RECORDS {
                lines.log(&log::Record::builder().args(format_args!("record {record}")).build());
            }
            done.send(()).unwrap();
        }
    });
    is_done.recv_timeout(Duration::from_secs(60)).expect("logging does not wait for itself");
    logging.join().unwrap();
    let counts = writer.finish().counts;
    let calibrations = lines.pool().stats().calibrations;
    assert!(calibrations >= 2, "{calibrations}");
    // The writer's own lines are dropped where they find no room.
    assert_eq!(counts.written + counts.dropped, RECORDS + calibrations);
    assert!(counts.dropped <= calibrations, "{counts:?}");
}
