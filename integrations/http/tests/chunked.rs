//! Messages in chunks as bodies, over a real socket: right bytes and length, and chunks that are returned.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pooled_http::article::Article;
use pooled_http::bodies::{Bodies, Chunked, OneFrame, POOL};
use pooled_http::client::Client;
use support::{eventually, start};

/// The tests look at one pool, so they run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn all_is_returned() {
    eventually("all chunks are returned", || POOL.stats().outstanding == 0);
    let stats = POOL.stats();
    assert_eq!((stats.gets, stats.detached), (stats.puts, 0), "{stats}");
}

#[test]
fn bodies_from_a_hundred_bytes_to_ten_megabytes_arrive_whole() {
    let _alone = alone();
    arrive_whole::<Chunked>();
    arrive_whole::<OneFrame>();
}

fn arrive_whole<B: Bodies>() {
    // One connection, on which a wrong `content-length` would spoil the next response.
    let mut client = Client::connect(start::<B>()).unwrap();
    for comments in [0, 1, 10, 160, 800, 10_000, 100_000] {
        let gets = POOL.stats().gets;
        let expected = serde_json::to_vec(&Article::with_comments(0, comments)).unwrap();
        let (status, body) = client.get(&format!("/comments/{comments}")).unwrap();
        assert!(status == 200 && body == expected, "{comments} comments, {} bytes of {}", body.len(), expected.len());
        let chunks = POOL.stats().gets - gets;
        assert!((chunks > 1) == (expected.len() > POOL.default_size()), "{} bytes in {chunks} chunks", expected.len());
        all_is_returned();
    }
}

#[test]
fn a_head_request_gets_the_length_and_returns_the_chunks() {
    let _alone = alone();
    let expected = serde_json::to_vec(&Article::with_comments(0, 10_000)).unwrap().len();
    let mut stream = TcpStream::connect(start::<Chunked>()).unwrap();
    stream.write_all(b"HEAD /comments/10000 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.contains(&format!("content-length: {expected}\r\n")), "{response}");
    assert!(response.ends_with("\r\n\r\n"), "no body: {response}");
    all_is_returned();
}

/// More than the kernel takes for a client that does not read, so that the server is still at it.
const COMMENTS: usize = 300_000;

#[test]
fn a_client_that_goes_away_half_way_leaks_nothing() {
    let _alone = alone();
    goes_away_half_way::<Chunked>();
    goes_away_half_way::<OneFrame>();
}

fn goes_away_half_way<B: Bodies>() {
    let address = start::<B>();
    for bytes_read in [0, 1 << 20] {
        let mut stream = ask(address);
        read(&mut stream, bytes_read);
        eventually("the response has begun", || POOL.stats().outstanding > 0);
        drop(stream);
        all_is_returned();
    }
}

/// With one frame a chunk, what a slow client has received is in the pool again.
#[test]
fn a_chunk_returns_when_it_has_been_sent() {
    let _alone = alone();
    let mut stream = ask(start::<Chunked>());
    read(&mut stream, 1 << 20);
    let before = POOL.stats().outstanding;
    // More than the kernel held for the client by then.
    read(&mut stream, 12 << 20);
    eventually("chunks that were received are returned", || POOL.stats().outstanding < before);
    assert!(POOL.stats().outstanding > 0, "and the rest is not yet");
    drop(stream);
    all_is_returned();
}

fn ask(address: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /comments/{COMMENTS} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    stream
}

fn read(stream: &mut TcpStream, bytes: usize) {
    let count = std::io::copy(&mut stream.take(bytes as u64), &mut std::io::sink()).unwrap();
    assert_eq!(count, bytes as u64);
}
