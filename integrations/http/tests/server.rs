//! The server in this process: right bodies from every kind, and buffers that are returned however a client behaves.

mod support;

use std::io::Write;
use std::net::TcpStream;

use pooled_http::article::Article;
use pooled_http::bodies::{Bodies, Chunked, Frozen, OneFrame, POOL, Plain};
use pooled_http::client::{Client, articles, load};
use support::{eventually, start};

/// One test, as all of them look at one pool.
#[test]
fn bodies_are_right_and_their_buffers_are_returned() {
    serves_the_right_bodies::<Plain>();
    serves_the_right_bodies::<Frozen>();
    serves_the_right_bodies::<Chunked>();
    serves_the_right_bodies::<OneFrame>();
    assert!(POOL.stats().gets >= 3 * 3_000);

    // Clients that ask for the largest article again and again, and go away without reading: the body, or what is left
    // of it, is dropped with the connection.
    let address = start::<Frozen>();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(address).unwrap();
        for _ in 0..20 {
            let _ = stream.write_all(b"GET /articles/99 HTTP/1.1\r\nhost: localhost\r\n\r\n");
        }
    }
    eventually("all buffers are returned", || POOL.stats().outstanding == 0);
    // Five runtimes, whose threads parked with whatever they had cached.
    eventually("nothing cached is left", || POOL.stats().retained_bytes == 0);
}

fn serves_the_right_bodies<B: Bodies>() {
    let address = start::<B>();
    assert!(load(address, &articles(), 3_000, 6).unwrap() > 0.0, "every body is compared");
    let mut client = Client::connect(address).unwrap();
    let expected = serde_json::to_vec(&Article::new(7)).unwrap();
    assert_eq!(client.get("/articles/7").unwrap(), (200, &expected[..]));
    assert_eq!(client.get("/articles/100000").unwrap().0, 404);
    assert_eq!(client.get("/articles/-1").unwrap().0, 404);
    assert_eq!(client.get("/comments/400001").unwrap().0, 404);
    assert!(client.get("/stats").unwrap().1.starts_with(b"gets "));
    assert!(client.get("/metrics").unwrap().1.starts_with(b"# TYPE bytebufferpool_hits_total counter\n"));
}
