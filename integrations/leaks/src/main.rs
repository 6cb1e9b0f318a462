//! A program that loses buffers at two places and holds some at a third, and the report that tells them apart.
//!
//!     cargo run --release -p integration-leaks
//!
//! That the places are found, in the order of what they hold, is asserted.

use std::error::Error;
use std::io::{self, Write};
use std::mem;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use bytebufferpool::{Pool, PooledBuf};

#[path = "../../../examples/support/exit.rs"]
mod exit;

/// Of every eight guards one is traced; by default one in 128, which is too few for a short program.
static POOL: Pool = Pool::builder().leak_sample_every(8).build();

const REQUESTS: usize = 20_000;

fn main() -> ExitCode {
    exit::exit_code("leaks", run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    let mut cache = Vec::new();
    for number in 0..REQUESTS {
        answer(number);
        if number % 4 == 0 {
            lose_often();
        }
        if number % 40 == 0 {
            lose_now_and_then();
        }
        if number % 200 == 0 {
            cache.push(keep(number));
        }
    }
    thread::sleep(Duration::from_millis(200));
    let report = POOL.outstanding_report();
    write!(out, "{report}")?;
    let (often, seldom) = (REQUESTS / 4, REQUESTS / 40);
    writeln!(out, "in truth {often} from lose_often, {seldom} from lose_now_and_then, {} kept", cache.len())?;

    if report.outstanding != (often + seldom + cache.len()) as u64 {
        return Err(format!("{} buffers are lost and {} kept", often + seldom, cache.len()).into());
    }
    // One in eight at random: of 5000 and 500 the order is not left to chance.
    let worst = report.sites.first().ok_or("no place is reported")?;
    let about = worst.traced * u64::from(report.sample_every);
    if !(4_000..6_000).contains(&about) || report.sites.len() < 2 || worst.traced < 4 * report.sites[1].traced {
        return Err(format!("lose_often stands first, with about {often}").into());
    }
    if worst.location.file() != file!() || worst.oldest < Duration::from_millis(200) {
        return Err("its place is in this file, and its first buffer has been in use since the beginning".into());
    }
    // `answer` made four times as many guards as the worst place, and holds none.
    if report.sites.len() > 3 {
        return Err("buffers that were returned are not reported".into());
    }
    Ok(())
}

fn answer(number: usize) {
    POOL.get().resize(100 + number % 900, 0);
}

fn lose_often() {
    mem::forget(POOL.get());
}

fn lose_now_and_then() {
    // A cycle of `Arc`s, a task that never ends, a channel that nobody empties: to the pool all of them are this.
    mem::forget(POOL.get_with_capacity(5_000));
}

fn keep(number: usize) -> PooledBuf {
    let mut buf = POOL.get();
    buf.resize(number % 3_000, 0);
    buf
}
