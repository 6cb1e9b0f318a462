//! JSON bodies from a pool against a new `Vec` each, in an HTTP server on the loopback interface.
//!
//!     cargo run --release -p integration-http [REQUESTS]     compare: starts each kind of server in a process of its own,
//!                                                            loads them from this one in turns, and reports
//!     cargo run --release -p integration-http serve pool     a server alone (or: chunked, one-frame, vec); ends with its
//!                                                            input
//!     cargo run --release -p integration-http load ADDRESS REQUESTS
//!
//! What is claimed is asserted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use pooled_http::bodies::{Bodies, Chunked, Frozen, OneFrame, Plain};
use pooled_http::client::{Client, Page, articles, load, with_comments};
use pooled_http::server::{self, TRIM_EVERY};

/// Counts for the whole process, as a request may move from one thread of the runtime to another.
struct Counting;

static HEAP_TAKES: AtomicU64 = AtomicU64::new(0);
/// A reallocation counts with its new size.
static HEAP_BYTES: AtomicU64 = AtomicU64::new(0);

fn count(bytes: usize) {
    HEAP_TAKES.fetch_add(1, Ordering::Relaxed);
    HEAP_BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
}

// SAFETY: every call is passed on to `System`, which keeps `GlobalAlloc`'s promises; counting neither allocates nor
// unwinds. `alloc_zeroed` is the provided one, which ends in `alloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
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
const CONNECTIONS: usize = 2;
const ROUNDS: usize = 5;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [] => compare(REQUESTS),
        ["serve", "pool"] => serve::<Frozen>(),
        ["serve", "chunked"] => serve::<Chunked>(),
        ["serve", "one-frame"] => serve::<OneFrame>(),
        ["serve", "vec"] => serve::<Plain>(),
        ["load", address, requests] => load_only(address, requests),
        [requests] => requests.parse().map_err(Into::into).and_then(compare),
        _ => Err("[REQUESTS], serve pool|chunked|one-frame|vec, or load ADDRESS REQUESTS".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.downcast_ref::<CannotPrint>().is_some_and(CannotPrint::nobody_reads) => ExitCode::SUCCESS,
        Err(error) => {
            // That standard error may be closed is no reason to panic.
            let _ = writeln!(io::stderr(), "http: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Standard output takes no more.
#[derive(Debug)]
struct CannotPrint(io::Error);

impl CannotPrint {
    /// As after `| head -1`: no error of this program's.
    fn nobody_reads(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

impl fmt::Display for CannotPrint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot print: {}", self.0)
    }
}

impl Error for CannotPrint {}

/// One line.
fn print(line: impl fmt::Display) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| CannotPrint(error).into())
}

fn serve<B: Bodies>() -> Result<()> {
    // Whoever started the server closes its input; then it has no reason to go on.
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    server::runtime()?.block_on(async {
        let listener = server::listen().await?;
        let address = listener.local_addr()?;
        print(format_args!("http://{address}/articles/0  /comments/0  /stats  /metrics  /heap"))?;
        Ok(server::serve::<B>(listener, heap).await?)
    })
}

/// What this process has taken so far: allocations and reallocations, their bytes, CPU time in ms; and resident KiB.
fn heap() -> String {
    let [takes, bytes] = [&HEAP_TAKES, &HEAP_BYTES].map(|count| count.load(Ordering::Relaxed));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // User and system time, in ticks of 10 ms.
    let ticks: u64 = stat.split(' ').skip(13).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    format!("{takes} {bytes} {} {}", 10 * ticks, resident.trim().trim_end_matches(" kB"))
}

fn load_only(address: &str, requests: &str) -> Result<()> {
    let per_second = load(address.parse()?, &articles(), requests.parse()?, CONNECTIONS)?;
    print(format_args!("{per_second:.0} requests a second over {CONNECTIONS} connections, every body as it must be"))
}

/// A server in a process of its own.
struct Server {
    process: Child,
    address: SocketAddr,
}

/// The figures of a server's `/heap`.
struct Heap {
    takes: u64,
    bytes: u64,
    cpu_ms: u64,
    resident_kib: u64,
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

    fn heap(&self) -> Result<Heap> {
        let text = self.text("/heap")?;
        let figures: Vec<u64> = text.split(' ').map(str::parse).collect::<std::result::Result<_, _>>()?;
        let [takes, bytes, cpu_ms, resident_kib] = figures[..] else { return Err("not four numbers".into()) };
        Ok(Heap { takes, bytes, cpu_ms, resident_kib })
    }

    fn metric(&self, name: &str) -> Result<u64> {
        let metrics = self.text("/metrics")?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.ok_or(format!("no {name} in:\n{metrics}"))?.parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// What is asked for.
struct Work {
    name: &'static str,
    pages: Vec<Page>,
    requests: usize,
}

/// Of one kind of server; per response, the least of the rounds.
#[derive(Clone, Copy)]
struct Figures {
    allocations: f64,
    heap_bytes: f64,
    micros: f64,
    cpu_micros: f64,
    /// After the last round.
    resident_kib: u64,
}

impl Figures {
    const MAX: Figures = Figures {
        allocations: f64::MAX,
        heap_bytes: f64::MAX,
        micros: f64::MAX,
        cpu_micros: f64::MAX,
        resident_kib: 0,
    };
}

const KINDS: [&str; 4] = ["pool", "chunked", "one-frame", "vec"];

fn compare(requests: usize) -> Result<()> {
    if requests < 4_000 {
        return Err("fewer than 4000 requests are mostly warm-up".into());
    }
    let work = |name, pages, requests| Work { name, pages, requests };
    let works = [
        work("articles", articles(), requests),
        work("16 KB", with_comments(160), requests / 4),
        work("80 KB", with_comments(800), requests / 10),
        work("1 MB", with_comments(10_000), requests / 80),
        work("8 MB", with_comments(80_000), requests / 500),
    ];
    print(format_args!("{CONNECTIONS} connections; per response, the least of {ROUNDS} rounds\n"))?;
    print(format_args!(
        "{:<9} {:>8} {:<9} {:>7} {:>10} {:>9} {:>8} {:>12}",
        "bodies", "requests", "from", "allocs", "heap bytes", "us", "CPU us", "resident KiB"
    ))?;
    works.iter().try_for_each(compare_under)
}

fn compare_under(work: &Work) -> Result<()> {
    let servers: Vec<Server> = KINDS.into_iter().map(Server::start).collect::<Result<_>>()?;
    warm_up(&servers, work)?;
    let figures = measure(&servers, work)?;
    for (kind, Figures { allocations, heap_bytes, micros, cpu_micros, resident_kib }) in KINDS.iter().zip(&figures) {
        print(format_args!(
            "{:<9} {:>8} {kind:<9} {allocations:>7.2} {heap_bytes:>10.0} {micros:>9.1} {cpu_micros:>8.1} \
             {resident_kib:>12}",
            work.name, work.requests
        ))?;
    }
    check(&figures, work.name)?;
    let (_vec, pools) = servers.split_last().ok_or("no servers")?;
    pools.iter().try_for_each(check_at_rest)
}

/// Each pool learns the sizes of the articles first: large bodies are what its service serves beside them.
fn warm_up(servers: &[Server], work: &Work) -> Result<()> {
    let articles = articles();
    for server in servers {
        load(server.address, &articles, 4_000, CONNECTIONS)?;
        load(server.address, &work.pages, work.requests / 2, CONNECTIONS)?;
    }
    Ok(())
}

/// In turns, so that what else the machine does disturbs all of them.
fn measure(servers: &[Server], work: &Work) -> Result<[Figures; KINDS.len()]> {
    let mut figures = [Figures::MAX; KINDS.len()];
    for _ in 0..ROUNDS {
        for (server, least) in servers.iter().zip(&mut figures) {
            let before = server.heap()?;
            let per_second = load(server.address, &work.pages, work.requests, CONNECTIONS)?;
            let after = server.heap()?;
            let per_response = |count: u64| count as f64 / work.requests as f64;
            *least = Figures {
                allocations: least.allocations.min(per_response(after.takes - before.takes)),
                heap_bytes: least.heap_bytes.min(per_response(after.bytes - before.bytes)),
                micros: least.micros.min(1e6 / per_second),
                cpu_micros: least.cpu_micros.min(1e3 * per_response(after.cpu_ms - before.cpu_ms)),
                resident_kib: after.resident_kib,
            };
        }
    }
    Ok(figures)
}

fn check(figures: &[Figures; KINDS.len()], bodies: &str) -> Result<()> {
    let [pool, chunked, one_frame, vec] = figures;
    if bodies == "articles" && [pool, chunked, one_frame].iter().any(|kind| kind.allocations + 1.0 > vec.allocations) {
        return Err("a pool saves more than one allocation per response".into());
    }
    if ["80 KB", "1 MB"].contains(&bodies)
        && [chunked, one_frame].iter().any(|kind| kind.heap_bytes > vec.heap_bytes / 4.0)
    {
        return Err("chunks of the pool are not allocated anew".into());
    }
    Ok(())
}

fn check_at_rest(server: &Server) -> Result<()> {
    // /metrics itself is written into a pooled buffer: that one is out when the figures are taken, or was just before.
    if server.metric("bytebufferpool_outstanding")? > 1 {
        return Err("every body's buffers were returned".into());
    }
    if server.metric("bytebufferpool_calibrations_total")? == 0 {
        return Err("the pool has learned".into());
    }
    // The one buffer, or chunk and buffer, that /metrics itself was written into: each of at most four times the default size,
    // which was learned from the bodies, or of what the text needs.
    let cached_bytes_max = (8 * server.metric("bytebufferpool_default_size_bytes")?).max(4 << 10);
    // Two intervals; beside other work the trimmer may be late.
    for _ in 0..50 {
        if server.metric("bytebufferpool_cached_bytes")? <= cached_bytes_max {
            return Ok(());
        }
        thread::sleep(TRIM_EVERY);
    }
    Err("an idle server keeps nothing: its threads flushed when they parked, and trims freed the rest".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_bounded_and_stays_on_this_machine() {
        let address = "127.0.0.1:1".parse().unwrap();
        assert!(load(address, &[], 1_000_001, 1).unwrap_err().to_string().contains("1000000"));
        let elsewhere = Client::connect("192.0.2.1:80".parse().unwrap()).err().unwrap();
        assert_eq!(elsewhere.kind(), io::ErrorKind::InvalidInput);
    }
}
