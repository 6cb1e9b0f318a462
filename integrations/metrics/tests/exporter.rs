//! The exporter under clients that behave, and under those that do not.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

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
        let idle: f64 =
            names.map(|name| value(&page, &format!("bytebufferpool_retained_bytes{{pool=\"{name}\"}}"))).iter().sum();
        assert!(idle <= BUDGET as f64, "{idle} bytes of {BUDGET}:\n{page}");
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
