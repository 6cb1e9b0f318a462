//! The server in this process: right bodies from both kinds, and buffers that come home however a client behaves.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use pooled_http::article::Article;
use pooled_http::client::{Client, load};
use pooled_http::server::{self, Bodies, POOL};

fn start(bodies: Bodies) -> SocketAddr {
    let (ready, is_ready) = mpsc::channel();
    thread::spawn(move || {
        let serve = server::serve(bodies, || "0 0".to_owned(), move |address| ready.send(address).unwrap());
        server::runtime().unwrap().block_on(serve).unwrap();
    });
    is_ready.recv().unwrap()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: {}", POOL.stats());
        thread::sleep(Duration::from_millis(10));
    }
}

/// One test, as all of them look at one pool.
#[test]
fn bodies_are_right_and_their_buffers_come_home() {
    for bodies in [Bodies::Vec, Bodies::Pool] {
        let address = start(bodies);
        assert!(load(address, 3_000, 6).unwrap() > 0.0, "every body is compared");
        let mut client = Client::connect(address).unwrap();
        let expected = serde_json::to_vec(&Article::new(7)).unwrap();
        assert_eq!(client.get("/articles/7").unwrap(), (200, &expected[..]));
        assert_eq!(client.get("/articles/100000").unwrap().0, 404);
        assert_eq!(client.get("/articles/-1").unwrap().0, 404);
        assert!(client.get("/stats").unwrap().1.starts_with(b"gets "));
        assert!(client.get("/metrics").unwrap().1.starts_with(b"# TYPE bytebufferpool_hits_total counter\n"));
    }
    assert!(POOL.stats().gets >= 3_000);

    // Clients that ask for the largest article again and again, and go away without reading: the body, or what is left
    // of it, is dropped with the connection.
    let address = start(Bodies::Pool);
    for _ in 0..50 {
        let mut stream = TcpStream::connect(address).unwrap();
        for _ in 0..20 {
            let _ = stream.write_all(b"GET /articles/99 HTTP/1.1\r\nhost: localhost\r\n\r\n");
        }
    }
    eventually("all buffers come home", || POOL.stats().outstanding == 0);
    // Three runtimes, whose threads parked with whatever they had cached.
    eventually("nothing idle is left", || POOL.stats().retained_bytes == 0);
}
