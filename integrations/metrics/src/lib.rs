//! An exporter that Prometheus can scrape: `/metrics` of a port, with the pools' figures as they are at that moment.
//!
//! It is the example of the cookbook's page on metrics, and needs neither an async runtime nor TLS, which
//! metrics-exporter-prometheus' own listener brings. A program that serves HTTP anyway needs only the two lines of
//! [`page`].
#![warn(missing_docs)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytebufferpool::{Pool, PooledBuf};
use metrics_exporter_prometheus::PrometheusHandle;

#[cfg(doctest)]
mod cookbook {
    #[doc = include_str!("../../../docs/cookbook/metrics.md")]
    struct Metrics;

    #[doc = include_str!("../../../docs/cookbook/registry.md")]
    struct Registry;

    #[doc = include_str!("../../../docs/cookbook/trimmer.md")]
    struct Trimmer;
}

/// What Prometheus wants to be told of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Of the pages: some kilobytes each, every few seconds. It is not published, or each page would count the one before.
static PAGES: Pool = Pool::new();

/// The page, in a pooled buffer: `publish` sets the figures, and the recorder writes down what it has.
///
/// # Errors
///
/// The recorder's; it has none of its own, and a buffer takes everything.
pub fn page(recorder: &PrometheusHandle, publish: impl Fn()) -> io::Result<PooledBuf> {
    publish();
    let mut page = PAGES.get();
    recorder.render_to_write(&mut page)?;
    Ok(page)
}

/// A thread that serves `/metrics`; its drop ends the thread.
#[must_use = "the exporter ends when this is dropped"]
pub struct Exporter {
    address: SocketAddr,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    /// Serves what `recorder` has; `publish` is called before each page, on the exporter's thread. One client at a time,
    /// which has two seconds: a scraper comes every few seconds, and there is one.
    ///
    /// # Errors
    ///
    /// When the listener has no address, or the system gives no thread.
    pub fn spawn(
        listener: TcpListener,
        recorder: PrometheusHandle,
        publish: impl Fn() + Send + 'static,
    ) -> io::Result<Exporter> {
        let address = listener.local_addr()?;
        let stops = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stops);
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                // A client that goes away, or talks nonsense, is no matter of the exporter's.
                let _ = client.and_then(|client| answer(&client, || page(&recorder, &publish)));
            }
        })?;
        Ok(Exporter { address, stops, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        // It waits for a client: here is one. Where there is none to be had, the thread is left to itself.
        if TcpStream::connect_timeout(&self.address, CLIENT_TIME_MAX).is_ok() {
            let _ = self.thread.take().map(JoinHandle::join);
        }
    }
}

fn answer(client: &TcpStream, page: impl Fn() -> io::Result<PooledBuf>) -> io::Result<()> {
    client.set_read_timeout(Some(CLIENT_TIME_MAX))?;
    client.set_write_timeout(Some(CLIENT_TIME_MAX))?;
    let mut head = BufReader::new(client.take(HEAD_BYTES_MAX));
    let mut request = String::new();
    head.read_line(&mut request)?;
    // The rest of the head says nothing that matters here, but wants to be read before the answer.
    let mut line = String::new();
    while head.read_line(&mut line)? > 2 {
        line.clear();
    }
    let (status, body) = match request.split(' ').collect::<Vec<_>>()[..] {
        ["GET", "/metrics", _] => ("200 OK", page()?),
        _ => {
            let mut body = PAGES.get();
            body.push_str("there is GET /metrics\n");
            ("404 Not Found", body)
        }
    };
    let mut client = client;
    write!(
        client,
        "HTTP/1.1 {status}\r\ncontent-type: {CONTENT_TYPE}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )?;
    body.write_to(&mut client)
}

const CLIENT_TIME_MAX: Duration = Duration::from_secs(2);
const HEAD_BYTES_MAX: u64 = 8 << 10;

/// What a scraper gets to see: the text of `/metrics`.
///
/// # Errors
///
/// When nobody answers at `address`, or the answer is no page of figures.
pub fn scrape(address: SocketAddr) -> io::Result<String> {
    let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(CLIENT_TIME_MAX * 5))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, page) = answer.split_once("\r\n\r\n").ok_or_else(|| bad(format!("no head in {answer:?}")))?;
    if !head.starts_with("HTTP/1.1 200 ") || !head.contains(CONTENT_TYPE) {
        return Err(bad(format!("no page of figures: {head:?}")));
    }
    Ok(page.to_owned())
}
