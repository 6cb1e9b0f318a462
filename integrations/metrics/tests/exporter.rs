//! The exporter under clients that behave, and under those that do not.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytebufferpool::{Pool, Registry, metrics};
use metrics_exporter_prometheus::PrometheusBuilder;
use pooled_metrics::{Exporter, scrape};

/// With a recorder of its own, as the tests run side by side.
fn export(publish: impl Fn() + Send + 'static) -> Exporter {
    let recorder = PrometheusBuilder::new().build_recorder();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let handle = recorder.handle();
    Exporter::spawn(listener, handle, move || ::metrics::with_local_recorder(&recorder, &publish)).unwrap()
}

fn value(page: &str, sample: &str) -> f64 {
    let found = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {sample} in:\n{page}")).parse().unwrap()
}

#[test]
fn a_page_has_the_figures_of_its_moment() {
    let pool = Arc::new(Pool::new());
    let published = Arc::clone(&pool);
    let exporter = export(move || metrics::publish("lines", &published));
    assert_eq!(value(&scrape(exporter.address()).unwrap(), "bytebufferpool_outstanding{pool=\"lines\"}"), 0.0);
    let held = [pool.get(), pool.get()];
    assert_eq!(value(&scrape(exporter.address()).unwrap(), "bytebufferpool_outstanding{pool=\"lines\"}"), 2.0);
    drop(held);
    let page = scrape(exporter.address()).unwrap();
    assert_eq!(value(&page, "bytebufferpool_outstanding{pool=\"lines\"}"), 0.0);
    assert_eq!(value(&page, "bytebufferpool_puts_total{pool=\"lines\"}"), 2.0);
}

/// A name may come from a configuration file; a page that it breaks is lost as a whole.
#[test]
fn a_name_with_quotes_and_line_ends_does_not_break_the_page() {
    let pool = Pool::new();
    let exporter = export(move || metrics::publish("a \"b\"\nc\\d", &pool));
    let page = scrape(exporter.address()).unwrap();
    assert_eq!(value(&page, r#"bytebufferpool_outstanding{pool="a \"b\"\nc\\d"}"#), 0.0);
}

/// Each page is made while others work: together the pools must not say more than the budget.
#[test]
fn pages_made_under_load_keep_to_the_budget() {
    const BUDGET: usize = 64 << 10;
    static POOLS: Registry = Registry::with_budget(BUDGET);
    static ENDS: AtomicBool = AtomicBool::new(false);
    let names = ["bodies", "headers", "lines"];
    let workers: Vec<_> = names
        .into_iter()
        .map(|name| {
            let pool = POOLS.get_or_create(name, Pool::builder()).unwrap();
            thread::spawn(move || {
                for number in 0_usize.. {
                    if ENDS.load(Ordering::Relaxed) {
                        return;
                    }
                    pool.get_owned().resize(number * 7919 % 20_000, 1);
                }
            })
        })
        .collect();
    let exporter = export(|| metrics::publish_all(&POOLS));
    for _ in 0..50 {
        let page = scrape(exporter.address()).unwrap();
        let cached: f64 =
            names.map(|name| value(&page, &format!("bytebufferpool_retained_bytes{{pool=\"{name}\"}}"))).iter().sum();
        assert!(cached <= BUDGET as f64, "{cached} bytes of {BUDGET}:\n{page}");
    }
    ENDS.store(true, Ordering::Relaxed);
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

/// As the cookbook warns: a recorder keeps the largest value of a counter, and what nobody publishes any more.
#[test]
fn figures_of_a_pool_that_is_gone_stay_on_the_page() {
    let registry = Arc::new(Registry::new());
    let published = Arc::clone(&registry);
    let exporter = export(move || metrics::publish_all(&published));
    let gets = "bytebufferpool_misses_total{pool=\"lines\"}";
    drop(registry.get_or_create("lines", Pool::builder()).unwrap().get_owned());
    assert_eq!(value(&scrape(exporter.address()).unwrap(), gets), 1.0);
    registry.remove("lines").unwrap();
    assert_eq!(value(&scrape(exporter.address()).unwrap(), gets), 1.0);
    registry.get_or_create("lines", Pool::builder()).unwrap();
    assert_eq!(value(&scrape(exporter.address()).unwrap(), gets), 1.0, "the new pool has had none");
}

/// The queries of the cookbook name figures that the exporter has.
#[test]
fn every_figure_that_the_cookbook_queries_is_on_the_page() {
    let pool = Pool::new();
    let exporter = export(move || metrics::publish("lines", &pool));
    let page = scrape(exporter.address()).unwrap();
    let queries = include_str!("../../../docs/cookbook/metrics.md").split("```promql\n").skip(1);
    let queries: String = queries.map(|rest| rest.split("```").next().unwrap()).collect();
    let is_in_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let names: Vec<_> =
        queries.split(|letter| !is_in_name(letter)).filter(|word| word.starts_with("bytebufferpool_")).collect();
    for asked in ["bytebufferpool_allocated_total", "bytebufferpool_hits_total", "bytebufferpool_misses_total"] {
        assert!(names.contains(&asked), "{asked} is to be graphed:\n{queries}");
    }
    for name in names {
        assert!(page.contains(&format!("\n{name}{{")), "{name} is in the cookbook, but not in:\n{page}");
    }
}

/// Why the cookbook graphs allocations per get: each get finds a cached buffer, and one in 25 outgrows what is kept.
#[test]
fn allocations_per_get_show_what_hits_hide() {
    const GETS: usize = 100_000;
    // It neither learns nor trims, so that chance has no part in it.
    let builder = Pool::builder().max_size_limit(16 << 10).calibrate_calls_threshold(1 << 30);
    let pool = Arc::new(builder.trim_interval(Duration::from_secs(1 << 20)).build());
    let published = Arc::clone(&pool);
    let exporter = export(move || metrics::publish("lines", &published));
    drop(pool.get());
    let read = || {
        let page = scrape(exporter.address()).unwrap();
        ["allocated", "hits", "misses"]
            .map(|name| value(&page, &format!("bytebufferpool_{name}_total{{pool=\"lines\"}}")))
    };
    let before = read();
    for number in 0..GETS {
        let mut buf = pool.get();
        for _ in 0..if number % 25 == 0 { 400 } else { 1 } {
            buf.push_str("a piece of fifty bytes, one of a few or of hundreds");
        }
    }
    let after = read();
    let [allocated, hits, misses] = [0, 1, 2].map(|index| after[index] - before[index]);
    assert_eq!((hits, misses), (GETS as f64, 0.0));
    let per_get = allocated / (hits + misses);
    assert!((0.04..0.045).contains(&per_get), "{per_get} allocations per get");
}

#[test]
fn clients_that_talk_nonsense_or_go_away_do_not_stop_it() {
    let pool = Pool::new();
    let exporter = export(move || metrics::publish("lines", &pool));
    for request in [
        &b"GET /elsewhere HTTP/1.1\r\n\r\n"[..],
        b"POST /metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics\r\n\r\n",
        b"\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
        &[b'x'; 20_000],
        b"GET /metrics HTTP/1.1\r\nhalf a he",
        b"",
    ] {
        let mut stream = TcpStream::connect(exporter.address()).unwrap();
        let _ = stream.write_all(request);
        // The exporter may have hung up by now.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200") || request.ends_with(b"he"), "{request:?}");
    }
    drop(TcpStream::connect(exporter.address()).unwrap());
    assert!(scrape(exporter.address()).is_ok());
}

#[test]
fn its_drop_ends_it() {
    let exporter = export(|| ());
    let address = exporter.address();
    drop(exporter);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}
