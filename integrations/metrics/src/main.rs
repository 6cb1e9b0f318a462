//! The figures of a pool, and of all pools of a registry, as Prometheus sees them.
//!
//!     cargo run --release -p integration-metrics -- --help
//!
//! That the page has the figures of `stats()`, all of them and no other, is asserted.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytebufferpool::{Pool, Registry};
use metrics_exporter_prometheus::PrometheusBuilder;
use pooled_metrics::{Exporter, scrape};

#[path = "../../../examples/support/exit.rs"]
mod exit;
#[path = "../../../tests/support/figures.rs"]
mod figures;
use figures::figures;

/// A pool by itself.
static LINES: Pool = Pool::new();
/// Several, with one budget.
static POOLS: Registry = Registry::with_budget(1 << 20);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const HELP: &str = "\
Works with four pools, serves their figures to Prometheus on the loopback interface, fetches the page and prints it.

Usage: integration-metrics [serve]

  serve         go on working and serving until standard input ends, for a Prometheus of yours or a browser
  -h, --help    this text
";

enum Command {
    Help,
    Show,
    Serve,
}

fn main() -> ExitCode {
    exit::exit_code("metrics", run())
}

fn run() -> Result<()> {
    let command = parse_arguments()?;
    if let Command::Help = command {
        return Ok(write!(io::stdout(), "{HELP}")?);
    }
    for (name, builder) in [
        ("headers", Pool::builder().calibrate_calls_threshold(1_000).max_size_limit(16 << 10)),
        ("bodies", Pool::builder().calibrate_calls_threshold(1_000).max_percentile(0.99)),
        ("spare", Pool::builder()),
    ] {
        POOLS.get_or_create(name, builder)?;
    }
    let recorder = PrometheusBuilder::new().install_recorder()?;
    bytebufferpool::metrics::describe();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let exporter = Exporter::spawn(listener, recorder, || {
        bytebufferpool::metrics::publish("lines", &LINES);
        bytebufferpool::metrics::publish_all(&POOLS);
    })?;
    if let Command::Serve = command { serve(&exporter) } else { show(&exporter) }
}

fn parse_arguments() -> Result<Command> {
    use lexopt::prelude::*;
    let mut command = Command::Show;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Value(word) if word == "serve" => command = Command::Serve,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(command)
}

/// Not as an `io::Error`, which may be a broken pipe too, but not that of standard output.
fn page(exporter: &Exporter) -> Result<String> {
    scrape(exporter.address()).map_err(|error| format!("cannot fetch the page: {error}").into())
}

fn show(exporter: &Exporter) -> Result<()> {
    let before = check(&page(exporter)?)?;
    (0..5_000).try_for_each(work)?;
    // In use while the page is made.
    let _held = LINES.get();
    let page = page(exporter)?;
    let mut out = io::stdout();
    write!(out, "{page}")?;
    let after = check(&page)?;
    let changed = after.iter().filter(|(sample, value)| before[*sample] != **value).count();
    writeln!(
        out,
        "# {} figures of 4 pools, as stats() has them; {changed} have changed since the page before",
        after.len()
    )?;
    // Hits, misses, puts, allocated and what is cached, at least, in three pools.
    if changed < 18 {
        return Err("the work shows on the page".into());
    }
    Ok(())
}

/// A use of each pool but `spare`: sizes that differ, one buffer detached, one discarded.
fn work(number: usize) -> Result<()> {
    let line = LINES.get();
    let mut header = POOLS.get("headers")?.get_owned();
    let mut body = POOLS.get("bodies")?.get_owned();
    header.resize(100 + number * 7 % 400, b'h');
    body.resize(1_000 + number * 7919 % 30_000, b'b');
    match number % 100 {
        50 => drop(body.into_vec()),
        70 => line.discard(),
        _ => {}
    }
    Ok(())
}

fn serve(exporter: &Exporter) -> Result<()> {
    writeln!(io::stdout(), "http://{}/metrics", exporter.address())?;
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            ends.store(true, Ordering::Relaxed);
        });
        for number in 0.. {
            if ends.load(Ordering::Relaxed) {
                break;
            }
            work(number)?;
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    })
}

/// The samples of a page, if they are those of the pools: nothing works while it is made and looked at.
fn check(page: &str) -> Result<BTreeMap<String, f64>> {
    let mut expected = figures("lines", &LINES.stats());
    for (name, stats) in POOLS.all_stats() {
        expected.extend(figures(&name, &stats));
    }
    let (mut samples, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').ok_or_else(|| format!("no type: {line}"))?;
            kinds.insert(name, kind);
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').ok_or_else(|| format!("no sample: {line}"))?;
            let (name, labels) = sample.split_once('{').ok_or_else(|| format!("no labels: {line}"))?;
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            if kinds.get(name) != Some(&kind) {
                return Err(format!("{name} is no {kind} here: {:?}", kinds.get(name)).into());
            }
            if !page.contains(&format!("# HELP {name} ")) {
                return Err(format!("{name} is not described").into());
            }
            // In one order, as the page may have any.
            let mut labels: Vec<_> = labels.trim_end_matches('}').split(',').collect();
            labels.sort_unstable();
            samples.insert(format!("{name}{{{}}}", labels.join(",")), value.parse()?);
        }
    }
    for sample in samples.keys().chain(expected.keys()) {
        let (page, stats) = (samples.get(sample), expected.get(sample));
        if page != stats {
            return Err(format!("{sample}: {page:?} on the page and {stats:?} by stats()").into());
        }
    }
    Ok(samples)
}
