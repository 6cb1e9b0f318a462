//! The server: hyper on tokio's multi-threaded runtime.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytebufferpool::{Pool, PooledBuf, Stats};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::article::{ARTICLES, Article};

/// Where the bodies come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// A buffer of [`POOL`], frozen.
    Pool,
    /// A new `Vec` each.
    Vec,
}

/// Of the response bodies. It calibrates after fewer calls than the default, as the comparison has few requests; and its
/// ceiling stands above the one body in a hundred that is large, or that is allocated and freed each time, with all the
/// sizes it grows through: 45 100 requests a second against 52 200 with a new `Vec`.
pub static POOL: Pool = Pool::builder().calibrate_calls_threshold(2_000).max_percentile(0.999).build();

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

/// Serves on a free port of the loopback interface; `ready` is told which. `heap` is what `/heap` says.
///
/// # Errors
///
/// When there is no port, or connections cannot be accepted.
pub async fn serve(bodies: Bodies, heap: fn() -> String, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    ready(listener.local_addr()?);
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
            let service = service_fn(|request| async move { Ok::<_, Infallible>(respond(&request, bodies, heap)) });
            // A client that goes away is no matter of the server's.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn respond(request: &Request<Incoming>, bodies: Bodies, heap: fn() -> String) -> Response<Full<Bytes>> {
    const JSON: HeaderValue = HeaderValue::from_static("application/json");
    const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
    let path = request.uri().path();
    let (status, content_type, body) = match path {
        "/stats" => (StatusCode::OK, TEXT, Bytes::from(POOL.stats().to_string())),
        "/metrics" => (StatusCode::OK, TEXT, prometheus(&POOL.stats()).freeze()),
        "/heap" => (StatusCode::OK, TEXT, Bytes::from(heap())),
        _ => match article(path) {
            Some(article) => (StatusCode::OK, JSON, json(&article, bodies)),
            None => (StatusCode::NOT_FOUND, TEXT, Bytes::from_static(b"there is no such page\n")),
        },
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn article(path: &str) -> Option<Article> {
    let id = path.strip_prefix("/articles/")?.parse().ok()?;
    (id < ARTICLES).then(|| Article::new(id))
}

/// The whole difference between with and without.
fn json(article: &Article, bodies: Bodies) -> Bytes {
    const NEVER: &str = "an article can be serialized, and a buffer takes everything";
    match bodies {
        Bodies::Pool => {
            let mut buf = POOL.get();
            serde_json::to_writer(&mut buf, article).expect(NEVER);
            buf.freeze()
        }
        Bodies::Vec => serde_json::to_vec(article).expect(NEVER).into(),
    }
}

/// The books in Prometheus' text format.
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
    metric("idle_bytes", "gauge", stats.retained_bytes as u64);
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
