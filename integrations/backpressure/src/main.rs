//! Three producers, a slow consumer, and a queue without a bound between them: memory is bounded all the same.
//!
//!     cargo run --release -p integration-backpressure

use std::error::Error;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bounded_pool::BoundedPool;
use bytebufferpool::Pool;
use bytes::Bytes;

const MESSAGE_BYTES_MAX: usize = 16 << 10;
const IN_FLIGHT_MAX: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let pool = BoundedPool::new(Arc::new(Pool::new()), IN_FLIGHT_MAX * MESSAGE_BYTES_MAX);
    let (sender, receiver) = mpsc::channel::<Bytes>();
    let in_flight = Arc::new(AtomicUsize::new(0));
    let producers = [1, 2, 3].map(|producer| {
        let (pool, sender, in_flight) = (pool.clone(), sender.clone(), Arc::clone(&in_flight));
        thread::spawn(move || -> io::Result<()> {
            for number in 0..500 {
                // Waits while eight messages are written, queued or read.
                let mut message = pool.get_blocking(MESSAGE_BYTES_MAX)?;
                in_flight.fetch_add(1, Ordering::Relaxed);
                writeln!(message, "message {number} of producer {producer}")?;
                sender.send(message.freeze()).map_err(io::Error::other)?;
            }
            Ok(())
        })
    });
    drop(sender);

    let (mut messages, mut peak) = (0, 0);
    for message in receiver {
        thread::sleep(Duration::from_micros(100));
        messages += 1;
        peak = peak.max(in_flight.fetch_sub(1, Ordering::Relaxed));
        drop(message);
    }
    producers.into_iter().try_for_each(|producer| producer.join().expect("no panic"))?;
    if messages != 1500 || peak > IN_FLIGHT_MAX || pool.in_flight_bytes() > 0 {
        return Err(format!("{messages} messages, {peak} at once").into());
    }
    match writeln!(io::stdout(), "{messages} messages, at most {peak} of them in memory at once") {
        // Nobody reads any more.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
