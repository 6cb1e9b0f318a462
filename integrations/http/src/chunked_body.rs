//! A message in chunks as a response body.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytebufferpool::{ChunkedBuf, FrozenChunks, Pool, PoolRef};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// A response body over a [`ChunkedBuf`]: each chunk is a frame, without a copy.
///
/// Its length is known, so that the response has a `content-length`. A chunk returns to the pool when it has been sent; what
/// is left returns when the body is dropped. One small allocation a chunk.
#[derive(Debug)]
pub struct ChunkedBody<P: PoolRef = &'static Pool> {
    chunks: FrozenChunks<P>,
    bytes_left: u64,
}

impl<P: PoolRef + Send + 'static> From<ChunkedBuf<P>> for ChunkedBody<P> {
    fn from(message: ChunkedBuf<P>) -> ChunkedBody<P> {
        ChunkedBody { bytes_left: message.len() as u64, chunks: message.freeze() }
    }
}

impl<P: PoolRef + Send + Unpin + 'static> Body for ChunkedBody<P> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(chunk) = self.chunks.next() else { return Poll::Ready(None) };
        self.bytes_left -= chunk.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes_left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes_left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn body(pool: &Arc<Pool>, bytes: &[u8]) -> ChunkedBody<Arc<Pool>> {
        let mut message = pool.get_owned_chunked();
        message.extend_from_slice(bytes);
        ChunkedBody::from(message)
    }

    fn next(body: &mut ChunkedBody<Arc<Pool>>) -> Option<Bytes> {
        match Pin::new(body).poll_frame(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(frame) => frame.map(|frame| frame.unwrap().into_data().unwrap()),
            Poll::Pending => panic!("a chunk is always there"),
        }
    }

    #[test]
    fn what_is_left_is_known_exactly_after_every_frame() {
        let pool = Arc::new(Pool::new());
        let sent: Vec<u8> = (0..100_000).map(|i| (i % 251) as u8).collect();
        let mut body = body(&pool, &sent);
        let mut received = Vec::new();
        while !body.is_end_stream() {
            assert_eq!(body.size_hint().exact(), Some((sent.len() - received.len()) as u64));
            received.extend_from_slice(&next(&mut body).unwrap());
        }
        assert_eq!(received, sent);
        assert_eq!((next(&mut body), body.size_hint().exact()), (None, Some(0)));
        assert_eq!(pool.stats().outstanding, 0, "each frame returned where it was dropped");
    }

    #[test]
    fn a_kilobyte_takes_five_chunks_if_the_first_has_64_bytes() {
        let pool = Arc::new(Pool::new());
        let _body = body(&pool, &[7; 1_000]);
        assert_eq!((pool.default_size(), pool.stats().outstanding), (64, 5));
    }

    #[test]
    fn an_empty_message_is_a_body_without_frames() {
        let pool = Arc::new(Pool::new());
        let mut body = body(&pool, b"");
        assert!(body.is_end_stream());
        assert_eq!((body.size_hint().exact(), next(&mut body)), (Some(0), None));
    }

    #[test]
    fn a_body_that_is_dropped_half_way_returns_all_its_chunks() {
        let pool = Arc::new(Pool::new());
        let mut body = body(&pool, &[7; 100_000]);
        let chunks = pool.stats().outstanding;
        let sent = next(&mut body).unwrap();
        assert_eq!(pool.stats().outstanding, chunks);
        drop(sent);
        assert_eq!(pool.stats().outstanding, chunks - 1);
        drop(body);
        assert_eq!((pool.stats().outstanding, pool.stats().puts), (0, chunks));
    }
}
