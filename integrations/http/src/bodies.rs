//! Four ways to make a response body of JSON; the rest of the server is the same for all of them.

use std::error::Error;

use bytebufferpool::{ChunkedReader, Pool};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Body;

use crate::article::Article;
use crate::chunked_body::ChunkedBody;

/// Of the response bodies. It calibrates after fewer calls than the default, as the comparison has few requests; and its
/// max size covers the one body in a hundred that is large, or that is allocated and freed each time, with all the sizes it
/// grows through: 45 100 requests a second against 52 200 with a new `Vec`. A message in chunks does not teach the default
/// size, so that is set to what most bodies have: from 64 bytes an article of a kilobyte takes five chunks.
pub static POOL: Pool =
    Pool::builder().calibrate_calls_threshold(2_000).max_percentile(0.999).default_size(2 << 10).build();

/// Where the bodies come from.
pub trait Bodies: 'static {
    /// What a response carries.
    type Body: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// The article as JSON.
    fn json(article: &Article) -> Self::Body;

    /// Any other page.
    fn plain(text: Bytes) -> Self::Body;
}

const NEVER: &str = "an article can be serialized, and a buffer takes everything";

/// One buffer of [`POOL`] a body, frozen.
#[derive(Debug)]
pub enum Frozen {}

impl Bodies for Frozen {
    type Body = Full<Bytes>;

    fn json(article: &Article) -> Full<Bytes> {
        let mut buf = POOL.get();
        serde_json::to_writer(&mut buf, article).expect(NEVER);
        Full::new(buf.freeze())
    }

    fn plain(text: Bytes) -> Full<Bytes> {
        Full::new(text)
    }
}

/// Chunks of [`POOL`], each a frame.
#[derive(Debug)]
pub enum Chunked {}

impl Bodies for Chunked {
    type Body = Either<ChunkedBody, Full<Bytes>>;

    fn json(article: &Article) -> Self::Body {
        let mut message = POOL.get_chunked();
        serde_json::to_writer(&mut message, article).expect(NEVER);
        Either::Left(message.into())
    }

    fn plain(text: Bytes) -> Self::Body {
        Either::Right(Full::new(text))
    }
}

/// Chunks of [`POOL`], all of them one frame.
#[derive(Debug)]
pub enum OneFrame {}

impl Bodies for OneFrame {
    type Body = Full<ChunkedReader>;

    fn json(article: &Article) -> Full<ChunkedReader> {
        let mut message = POOL.get_chunked();
        serde_json::to_writer(&mut message, article).expect(NEVER);
        Full::new(message.into_reader())
    }

    fn plain(text: Bytes) -> Full<ChunkedReader> {
        let mut message = POOL.get_chunked();
        message.extend_from_slice(&text);
        Full::new(message.into_reader())
    }
}

/// A new `Vec` a body.
#[derive(Debug)]
pub enum Plain {}

impl Bodies for Plain {
    type Body = Full<Bytes>;

    fn json(article: &Article) -> Full<Bytes> {
        Full::new(serde_json::to_vec(article).expect(NEVER).into())
    }

    fn plain(text: Bytes) -> Full<Bytes> {
        Full::new(text)
    }
}
