//! Pooled JSON bodies against a new `Vec` each, in an HTTP server on the loopback interface.
//!
//!     cargo run --release -p integration-http [REQUESTS]     compare: starts a server in a process of its own, loads it
//!                                                            from this one, and reports; both ways, several rounds
//!     cargo run --release -p integration-http serve pool     the server alone (or: serve vec); ends with its input
//!     cargo run --release -p integration-http load ADDRESS REQUESTS
//!
//! What is claimed is asserted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use pooled_http::client::{Client, load};
use pooled_http::server::{self, Bodies, TRIM_EVERY};

/// Counts for the whole process, as a request may move from one thread of the runtime to another.
struct Counting;

static HEAP_TAKES: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to `System`, which keeps `GlobalAlloc`'s promises; counting neither allocates nor
// unwinds. `alloc_zeroed` is the provided one, which ends in `alloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP_TAKES.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HEAP_TAKES.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on; `pointer` came from `System`, as everything does here.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on; `pointer` came from `System`, as everything does here.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const REQUESTS: usize = 40_000;
const CONNECTIONS: usize = 8;
const ROUNDS: usize = 5;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [] => compare(REQUESTS),
        ["serve", "pool"] => serve(Bodies::Pool),
        ["serve", "vec"] => serve(Bodies::Vec),
        ["load", address, requests] => load_only(address, requests),
        [requests] => requests.parse().map_err(Into::into).and_then(compare),
        _ => Err("[REQUESTS], serve pool, serve vec, or load ADDRESS REQUESTS".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(bodies: Bodies) -> Result<()> {
    // Whoever started the server closes its input; then it has no reason to go on.
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let ready = |address: SocketAddr| println!("http://{address}/articles/0  /stats  /metrics  /heap");
    Ok(server::runtime()?.block_on(server::serve(bodies, heap, ready))?)
}

/// Allocations and reallocations so far, and resident KiB.
fn heap() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    format!("{} {}", HEAP_TAKES.load(Ordering::Relaxed), resident.trim().trim_end_matches(" kB"))
}

fn load_only(address: &str, requests: &str) -> Result<()> {
    let per_second = load(address.parse()?, requests.parse()?, CONNECTIONS)?;
    println!("{per_second:.0} requests a second over {CONNECTIONS} connections, every body as it must be");
    Ok(())
}

/// A server in a process of its own.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(bodies: &str) -> Result<Server> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", bodies])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let address = line.split('/').nth(2).ok_or("the server does not say where it listens")?.parse()?;
        Ok(Server { process, address })
    }

    fn text(&self, path: &str) -> Result<String> {
        Ok(String::from_utf8(Client::connect(self.address)?.get(path)?.1.to_vec())?)
    }

    /// Allocations so far, and resident KiB.
    fn heap(&self) -> Result<(u64, u64)> {
        let text = self.text("/heap")?;
        let (takes, resident) = text.split_once(' ').ok_or("not two numbers")?;
        Ok((takes.parse()?, resident.parse()?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

#[derive(Clone, Copy, Default)]
struct Figures {
    per_second: f64,
    allocations: f64,
    resident_loaded: u64,
    resident_idle: u64,
}

fn compare(requests: usize) -> Result<()> {
    if requests < 4_000 {
        return Err("fewer than 4000 requests are mostly warm-up".into());
    }
    println!("{requests} requests a round over {CONNECTIONS} connections; best of {ROUNDS} rounds\n");
    println!(
        "{:<8} {:>12} {:>20} {:>22} {:>20}",
        "bodies", "requests/s", "allocations/request", "resident KiB, loaded", "resident KiB, idle"
    );
    let servers = [("pool", Server::start("pool")?), ("vec", Server::start("vec")?)];
    let mut figures = [Figures::default(); 2];
    for (_, server) in &servers {
        load(server.address, 4_000, CONNECTIONS)?;
    }
    // In turns, so that what else the machine does disturbs both.
    for _ in 0..ROUNDS {
        for ((_, server), figures) in servers.iter().zip(&mut figures) {
            let before = server.heap()?.0;
            let per_second = load(server.address, requests, CONNECTIONS)?;
            let (after, resident) = server.heap()?;
            figures.per_second = figures.per_second.max(per_second);
            figures.allocations = (after - before) as f64 / requests as f64;
            figures.resident_loaded = resident;
        }
    }
    // Two intervals and a little.
    thread::sleep(TRIM_EVERY * 4);
    for ((bodies, server), figures) in servers.iter().zip(&mut figures) {
        figures.resident_idle = server.heap()?.1;
        let Figures { per_second, allocations, resident_loaded, resident_idle } = figures;
        println!("{bodies:<8} {per_second:>12.0} {allocations:>20.2} {resident_loaded:>22} {resident_idle:>20}");
    }
    let stats = servers[0].1.text("/stats")?;
    println!("\n{stats}");
    io::stdout().flush()?;
    let mut metrics = servers[0].1.text("/metrics")?;
    // Beside other work the trimmer may be late.
    for _ in 0..50 {
        if metric(&metrics, "bytebufferpool_idle_bytes")? <= IDLE_BYTES_MAX {
            break;
        }
        thread::sleep(TRIM_EVERY);
        metrics = servers[0].1.text("/metrics")?;
    }
    check(&figures, &metrics)
}

/// Of the one buffer that /metrics itself was written into.
const IDLE_BYTES_MAX: u64 = 4 << 10;

fn metric(metrics: &str, name: &str) -> Result<u64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.ok_or(format!("no {name} in:\n{metrics}"))?.parse()?)
}

fn check(figures: &[Figures; 2], metrics: &str) -> Result<()> {
    let metric = |name| metric(metrics, name);
    if figures[0].allocations + 1.0 > figures[1].allocations {
        return Err("the pool saves more than one allocation per request".into());
    }
    // /metrics itself is written into a pooled buffer: that one is out when the figures are taken, or was just before.
    if metric("bytebufferpool_outstanding")? > 1 {
        return Err("every body's buffer came home".into());
    }
    if metric("bytebufferpool_idle_bytes")? > IDLE_BYTES_MAX {
        return Err(
            "an idle server keeps nothing: its threads flushed when they parked, and trims freed the rest".into()
        );
    }
    if metric("bytebufferpool_calibrations_total")? == 0 {
        return Err("the pool has learned".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_bounded_and_stays_on_this_machine() {
        let address = "127.0.0.1:1".parse().unwrap();
        assert!(load(address, 1_000_001, 1).unwrap_err().to_string().contains("1000000"));
        let elsewhere = Client::connect("192.0.2.1:80".parse().unwrap()).err().unwrap();
        assert_eq!(elsewhere.kind(), io::ErrorKind::InvalidInput);
    }
}
