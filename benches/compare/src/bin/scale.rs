//! Cost as the work grows: threads on one pool, pools on one thread, and very many uses.
//!
//! `cargo run --release -p compare --bin scale [-- --long] [--quick]`

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use bytebufferpool::{Pool, Stats};
use compare::circumstances::Circumstances;
use compare::rows::bytes;
use compare::table::{self, time};
use compare::workload::{LOG_PIECE, LOG_PIECES};

fn main() -> ExitCode {
    let (mut long, mut quick) = (false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--long" => long = true,
            "--quick" => quick = true,
            other => {
                eprintln!("usage: scale [--long] [--quick]; what is {other}?");
                return ExitCode::FAILURE;
            }
        }
    }
    let uses = if quick { 100_000 } else { 2_000_000 };
    println!("{}", Circumstances::now());
    println!("Threads on one pool, log lines:\n\n{}", threads_table(uses));
    println!("Pools on one thread, in turn:\n\n{}", pools_table(uses));
    let (table, exact) = uses_table(if long {
        8
    } else if quick {
        5
    } else {
        7
    });
    println!("Uses of one pool, of 32 sizes from 3 B to 40 KB:\n\n{table}");
    if exact { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn log_lines(pool: &Pool, count: u64) {
    for _ in 0..count {
        let mut buf = pool.get();
        for _ in 0..LOG_PIECES {
            buf.extend_from_slice(black_box(LOG_PIECE));
        }
        black_box(buf.as_slice());
    }
}

fn threads_table(uses: u64) -> String {
    let head = ["threads", "per use, all together", "idle while they live", "idle after their end", "books"];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    for threads in [1, 8, 64, 256] {
        let pool = Pool::new();
        log_lines(&pool, 16);
        pool.calibrate();
        // The main thread stands at both barriers, to look at the pool between work and end.
        let (started, worked) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
        let (leave, each) = (Barrier::new(threads + 1), uses / threads as u64);
        let (elapsed, idle_bytes) = thread::scope(|scope| {
            let one = || {
                log_lines(&pool, 16);
                started.wait();
                log_lines(&pool, each);
                worked.wait();
                leave.wait();
            };
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
            started.wait();
            let start = Instant::now();
            worked.wait();
            let elapsed = start.elapsed();
            let idle_bytes = pool.stats().retained_bytes;
            leave.wait();
            // Joined one by one: a thread's cache comes home in its destructors, which a scope does not wait for.
            handles.into_iter().for_each(|handle| handle.join().expect("no panic"));
            (elapsed, idle_bytes)
        });
        let stats = pool.stats();
        cells.push(vec![
            threads.to_string(),
            time(elapsed.as_nanos() as f64 / (each * threads as u64) as f64),
            bytes(idle_bytes),
            bytes(stats.retained_bytes),
            verdict(&stats),
        ]);
    }
    table::markdown(&cells)
}

fn pools_table(uses: u64) -> String {
    let mut cells = vec![["pools", "per use", "idle, all together", "hits"].map(str::to_owned).to_vec()];
    for count in [1, 2, 10, 100] {
        let pools: Vec<Pool> = (0..count).map(|_| Pool::new()).collect();
        pools.iter().for_each(|pool| log_lines(pool, 16));
        pools.iter().for_each(Pool::calibrate);
        let rounds = uses / count as u64;
        let start = Instant::now();
        for _ in 0..rounds {
            pools.iter().for_each(|pool| log_lines(pool, 1));
        }
        let per_use = start.elapsed().as_nanos() as f64 / (rounds * count as u64) as f64;
        let stats: Vec<Stats> = pools.iter().map(Pool::stats).collect();
        let sum = |figure: fn(&Stats) -> u64| stats.iter().map(figure).sum::<u64>();
        let hits = 100.0 * sum(|stats| stats.hits) as f64 / sum(|stats| stats.gets) as f64;
        let idle_bytes = stats.iter().map(|stats| stats.retained_bytes).sum();
        cells.push(vec![count.to_string(), time(per_use), bytes(idle_bytes), format!("{hits:.2} %")]);
    }
    table::markdown(&cells)
}

/// One pool, used on and on; looked at after each power of ten.
fn uses_table(power_max: u32) -> (String, bool) {
    let head = ["uses", "per use", "idle", "resident", "allocated", "calibrations", "books"];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    let pool = Pool::new();
    let payload = vec![7; 40_000];
    let mut done = 0u64;
    let mut exact = true;
    for power in 3..=power_max {
        let until = 10u64.pow(power);
        let (start, first) = (Instant::now(), done);
        while done < until {
            let mut buf = pool.get();
            // 32 sizes, small ones more often, in an order that repeats only as a whole.
            let size = 3 + (40_000 >> ((done * 7) % 32 / 2)).min(39_997);
            buf.extend_from_slice(black_box(&payload[..size]));
            black_box(buf.as_slice());
            done += 1;
        }
        let per_use = start.elapsed().as_nanos() as f64 / (done - first) as f64;
        let stats = pool.stats();
        exact &= books_hold(&stats) && stats.gets == done;
        cells.push(vec![
            format!("10^{power}"),
            time(per_use),
            bytes(stats.retained_bytes),
            resident_bytes().map_or_else(|| "unknown".to_owned(), bytes),
            stats.allocated.to_string(),
            stats.calibrations.to_string(),
            verdict(&stats),
        ]);
    }
    (table::markdown(&cells), exact)
}

/// The identities that `Stats` promises when nothing is in flight.
fn books_hold(s: &Stats) -> bool {
    let d = &s.dropped;
    let dropped = d.discarded + d.out_of_class + d.over_ceiling + d.over_budget + d.shelf_full;
    let by_class: usize = s.classes.iter().map(|class| class.size * class.retained as usize).sum();
    s.gets == s.hits + s.misses
        && s.outstanding == 0
        && s.gets == s.puts + s.detached
        && s.retained_bytes == by_class
        && s.allocated + s.donated == s.retained_buffers + s.detached + dropped + s.trimmed
}

fn verdict(stats: &Stats) -> String {
    if books_hold(stats) { "exact" } else { "WRONG" }.to_owned()
}

fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok()? << 10)
}
