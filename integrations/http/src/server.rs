//! The server: hyper on tokio's multi-threaded runtime.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use bytebufferpool::{PooledBuf, Stats};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::article::{ARTICLES, Article, COMMENTS_MAX};
use crate::bodies::{Bodies, POOL};

/// For a server that is idle for longer the buffers are gone after two of these.
pub const TRIM_EVERY: Duration = Duration::from_millis(200);

/// A thread that has nothing to do gives its cache to the shared part, where others find it and `trim` reaches it.
///
/// # Errors
///
/// tokio's.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).enable_all().on_thread_park(|| POOL.flush_thread()).build()
}

/// Listens on a free port of the loopback interface.
///
/// # Errors
///
/// When there is none.
pub async fn listen() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
}

/// Serves for ever. `heap` is what `/heap` says.
///
/// # Errors
///
/// When connections cannot be accepted.
pub async fn serve<B: Bodies>(listener: TcpListener, heap: fn() -> String) -> io::Result<()> {
    tokio::spawn(async {
        let mut interval = tokio::time::interval(TRIM_EVERY);
        loop {
            interval.tick().await;
            POOL.trim();
        }
    });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(|request| async move { Ok::<_, Infallible>(respond::<B>(&request, heap)) });
            // A client that goes away is no matter of the server's.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn respond<B: Bodies>(request: &Request<Incoming>, heap: fn() -> String) -> Response<B::Body> {
    const JSON: HeaderValue = HeaderValue::from_static("application/json");
    const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
    let path = request.uri().path();
    let (status, content_type, body) = match path {
        "/stats" => (StatusCode::OK, TEXT, B::plain(POOL.stats().to_string().into())),
        "/metrics" => (StatusCode::OK, TEXT, B::plain(prometheus(&POOL.stats()).freeze())),
        "/heap" => (StatusCode::OK, TEXT, B::plain(heap().into())),
        _ => match article(path) {
            Some(article) => (StatusCode::OK, JSON, B::json(&article)),
            None => (StatusCode::NOT_FOUND, TEXT, B::plain(Bytes::from_static(b"there is no such page\n"))),
        },
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// `/articles/7` is one of the articles, `/comments/7` an article with so many comments.
fn article(path: &str) -> Option<Article> {
    if let Some(comments) = path.strip_prefix("/comments/") {
        let comments = comments.parse().ok()?;
        return (comments <= COMMENTS_MAX).then(|| Article::with_comments(0, comments));
    }
    let id = path.strip_prefix("/articles/")?.parse().ok()?;
    (id < ARTICLES).then(|| Article::new(id))
}

/// The figures in Prometheus' text format.
fn prometheus(stats: &Stats) -> PooledBuf {
    let mut text = POOL.get();
    let mut metric = |name: &str, kind: &str, value: u64| {
        let _ = write!(text, "# TYPE bytebufferpool_{name} {kind}\nbytebufferpool_{name} {value}\n");
    };
    metric("hits_total", "counter", stats.hits);
    metric("misses_total", "counter", stats.misses);
    metric("growths_total", "counter", stats.growths);
    metric("calibrations_total", "counter", stats.calibrations);
    metric("trimmed_total", "counter", stats.trimmed);
    metric("outstanding", "gauge", stats.outstanding);
    metric("cached_bytes", "gauge", stats.retained_bytes as u64);
    metric("default_size_bytes", "gauge", stats.default_size as u64);
    metric("max_size_bytes", "gauge", stats.max_size as u64);
    let _ = writeln!(text, "# TYPE bytebufferpool_dropped_total counter");
    let dropped = &stats.dropped;
    for (reason, count) in [
        ("discarded", dropped.discarded),
        ("out_of_class", dropped.out_of_class),
        ("over_ceiling", dropped.over_ceiling),
        ("over_budget", dropped.over_budget),
        ("depot_full", dropped.depot_full),
    ] {
        let _ = writeln!(text, "bytebufferpool_dropped_total{{reason=\"{reason}\"}} {count}");
    }
    text
}
