//! Five serializers with the pool and with a new `Vec` per message: time, and what they ask of the heap.
//!
//!     cargo run --release -p integration-serializers --example serializers -- --help
//!
//! That the pool takes nothing from the heap once warm is asserted.

use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytebufferpool::Pool;
use pooled_messages::{BoxError, CsvMessages, FORMATS, Order};
use prost::Message;

#[path = "../../../examples/support/exit.rs"]
mod exit;
#[path = "../../../tests/support/ledger.rs"]
mod ledger;

use ledger::{Count, Ledger};

#[global_allocator]
static LEDGER: Ledger = Ledger;

const HELP: &str = "\
Writes messages with five serializers, with a pool of byte buffers and without, and prints what that costs.

Usage: serializers [ROUNDS]

  ROUNDS        of 500 messages each, of which the fastest counts: at least 1 (default: 200)
  -h, --help    this text
";

type Plain = fn(&Order) -> Result<Vec<u8>, BoxError>;

/// What people write without a pool.
const PLAIN: [Plain; FORMATS.len()] = [
    |order| Ok(serde_json::to_vec(order)?),
    |order| Ok(order.encode_to_vec()),
    |order| Ok(postcard::to_stdvec(order)?),
    |order| Ok(rmp_serde::to_vec(order)?),
];

fn main() -> ExitCode {
    exit::exit_code("serializers", run().map_err(|error| error as Box<dyn Error>))
}

fn run() -> Result<(), BoxError> {
    let mut out = io::stdout();
    let Some(rounds) = parse_arguments()? else { return Ok(write!(out, "{HELP}")?) };
    let orders: Vec<Order> = (0..500).map(Order::sample).collect();
    writeln!(out, "{} messages, best of {rounds} rounds\n", orders.len())?;
    writeln!(out, "{:<12} {:>14} {:>14} {:>18} {:>18}", "", "pool, ns", "Vec, ns", "pool, allocs", "Vec, allocs")?;
    for (format, plain) in FORMATS.iter().zip(PLAIN) {
        let pool = pool();
        let pooled = measure(&orders, rounds, |order| {
            let mut buf = pool.get();
            (format.write)(order, &mut buf)?;
            black_box(&buf);
            Ok(())
        })?;
        let plain = measure(&orders, rounds, |order| plain(order).map(black_box).map(drop))?;
        print_row(&mut out, format.name, pooled, plain)?;
    }
    let pool = pool();
    let mut csv = CsvMessages::new(&pool);
    let pooled = measure(&orders, rounds, |order| csv.write(order).map(black_box).map(drop))?;
    let plain = measure(&orders, rounds, |order| {
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        writer.serialize(order)?;
        Ok(writer.into_inner().map(black_box).map(drop)?)
    })?;
    print_row(&mut out, "csv", pooled, plain)
}

/// The rounds, or `None` for `--help`.
fn parse_arguments() -> Result<Option<usize>, BoxError> {
    use lexopt::prelude::*;
    let mut rounds = 200;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Value(value) => {
                rounds = value.parse().ok().filter(|&rounds| rounds > 0).ok_or("ROUNDS is a number, at least 1")?
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(rounds))
}

/// The threshold is lower than the default of 42 000, so that the first rounds are enough to learn from.
fn pool() -> Pool {
    Pool::builder()
        .calibrate_calls_threshold(1_000)
        .max_percentile(1.0)
        .trim_interval(Duration::from_secs(1 << 20))
        .build()
}

/// Nanoseconds and trips to the heap, per message.
fn measure(
    orders: &[Order],
    rounds: usize,
    mut message: impl FnMut(&Order) -> Result<(), BoxError>,
) -> Result<(f64, f64), BoxError> {
    let mut best = (f64::MAX, 0.0);
    // Enough to calibrate, and then to have a buffer in each class that is in use.
    for _ in 0..20 {
        orders.iter().try_for_each(&mut message)?;
    }
    for _ in 0..rounds {
        let began = Instant::now();
        let (count, result) = Count::of(|| orders.iter().try_for_each(&mut message));
        result?;
        let per_message = |what: f64| what / orders.len() as f64;
        best.0 = best.0.min(per_message(began.elapsed().as_nanos() as f64));
        best.1 = per_message(count.heap_takes() as f64);
    }
    Ok(best)
}

fn print_row(out: &mut impl Write, name: &str, pooled: (f64, f64), plain: (f64, f64)) -> Result<(), BoxError> {
    writeln!(out, "{name:<12} {:>14.0} {:>14.0} {:>18.3} {:>18.3}", pooled.0, plain.0, pooled.1, plain.1)?;
    assert_eq!(pooled.1, 0.0, "{name}: a warm message allocates nothing");
    assert!(plain.1 >= 1.0, "{name}: a new Vec does");
    Ok(())
}
