//! A server in this process, and time for what happens after a response.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use pooled_http::bodies::{Bodies, POOL};
use pooled_http::server;

pub fn start<B: Bodies>() -> SocketAddr {
    let (ready, is_ready) = mpsc::channel();
    thread::spawn(move || {
        server::runtime().unwrap().block_on(async {
            let listener = server::listen().await.unwrap();
            ready.send(listener.local_addr().unwrap()).unwrap();
            server::serve::<B>(listener, || "0 0 0 0".to_owned()).await.unwrap();
        });
    });
    is_ready.recv().unwrap()
}

pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: {}", POOL.stats());
        thread::sleep(Duration::from_millis(10));
    }
}
