//! Guards and frozen buffers on real sockets of the loopback interface, where reads and writes end wherever the kernel
//! likes, many connections share the pool, and a peer may go away.

use std::future::Future;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytebufferpool::Pool;
use bytes::{Buf, Bytes};
use integration_async::{read_frame, write_frame};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The test on both runtimes, each with a pool of its own; afterwards every buffer has come home.
fn on_both<F: Future<Output = ()>>(test: impl Fn(Arc<Pool>) -> F) {
    let runtimes = [
        ("current thread", Builder::new_current_thread().enable_all().build().unwrap()),
        ("multi thread", Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap()),
    ];
    for (name, runtime) in runtimes {
        let pool = Arc::new(Pool::new());
        // A test that fails must not wait for ever for what never comes.
        let limited = async { timeout(Duration::from_secs(60), test(Arc::clone(&pool))).await };
        runtime.block_on(limited).unwrap_or_else(|_| panic!("{name}: hangs"));
        drop(runtime);
        let stats = pool.stats();
        assert!(stats.gets > 0, "{name}: the test used the pool");
        assert_eq!((stats.outstanding, stats.gets), (0, stats.puts), "{name}: {stats}");
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn content(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 31 + seed * 17) % 251) as u8).collect()
}

/// Each connection sends its own bytes with `write_all_buf`, and gets them back from a server that reads with `read_buf`
/// until the end and answers with the guard, frozen. A byte of another connection's buffer would show.
#[test]
fn an_echo_of_many_connections_gives_each_its_own_bytes() {
    on_both(|pool| async move {
        let (listener, address) = listen().await;
        let lens = [0, 1, 63, 64, 65, 1_000, 5_000, 70_000, 1_500_000];
        let connections = 4 * lens.len();
        let server = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move {
                let mut answers = JoinSet::new();
                for _ in 0..connections {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut received = pool.get_owned();
                    answers.spawn(async move {
                        while stream.read_buf(&mut received).await.unwrap() > 0 {}
                        stream.write_all_buf(&mut received.freeze()).await.unwrap();
                        stream.shutdown().await.unwrap();
                    });
                }
                while let Some(answer) = answers.join_next().await {
                    answer.unwrap();
                }
            }
        });
        let mut clients = JoinSet::new();
        for number in 0..connections {
            let (pool, len) = (Arc::clone(&pool), lens[number % lens.len()]);
            clients.spawn(async move {
                let sent = content(len, number);
                let mut stream = TcpStream::connect(address).await.unwrap();
                let mut buf = pool.get_owned();
                buf.extend_from_slice(&sent);
                let frozen = buf.freeze();
                let mut left = frozen.clone();
                stream.write_all_buf(&mut left).await.unwrap();
                assert!(!left.has_remaining());
                stream.shutdown().await.unwrap();
                let mut answer = pool.get_owned();
                while stream.read_buf(&mut answer).await.unwrap() > 0 {}
                assert!(answer == frozen && answer == sent, "connection {number}, {len} bytes");
            });
        }
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
        server.await.unwrap();
        assert!(pool.stats().growths > 0, "guards grew while they read");
    });
}

/// One message to many subscribers: the buffer is on loan until the slowest has all of it, and comes home once.
#[test]
fn one_frozen_buffer_is_sent_to_many_sockets_at_once() {
    on_both(|pool| async move {
        let (listener, address) = listen().await;
        let mut message = pool.get_owned();
        message.extend_from_slice(&content(400_000, 1));
        let message: Bytes = message.freeze();
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            tasks.spawn({
                let pool = Arc::clone(&pool);
                async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    let mut received = pool.get_owned_with_capacity(400_000);
                    while stream.read_buf(&mut received).await.unwrap() > 0 {}
                    assert!(received == content(400_000, 1));
                }
            });
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut left = message.clone();
            tasks.spawn(async move { stream.write_all_buf(&mut left).await.unwrap() });
        }
        drop(message);
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        assert_eq!(pool.stats().outstanding, 0);
    });
}

/// The header is no copy in front of the body: a chain of two frozen buffers goes out as one message.
#[test]
fn a_chain_of_frozen_buffers_is_one_message() {
    on_both(|pool| async move {
        let (listener, address) = listen().await;
        let (mut header, mut body) = (pool.get_owned(), pool.get_owned());
        body.extend_from_slice(&content(100_000, 2));
        write!(header, "length: {}\r\n\r\n", body.len()).unwrap();
        let mut message = header.freeze().chain(body.freeze());
        let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut stream, (mut peer, _)) = (stream.unwrap(), accepted.unwrap());
        let writer = tokio::spawn(async move {
            stream.write_all_buf(&mut message).await.unwrap();
        });
        let mut received = pool.get_owned();
        while peer.read_buf(&mut received).await.unwrap() > 0 {}
        writer.await.unwrap();
        assert!(received.starts_with(b"length: 100000\r\n\r\n") && received.ends_with(&content(100_000, 2)));
        assert_eq!(received.len(), 18 + 100_000);
    });
}

#[test]
fn frames_of_any_size_follow_each_other_over_a_socket() {
    on_both(|pool| async move {
        let (listener, address) = listen().await;
        let lens = [3, 0, 64, 65, 1 << 20, 1, 4_000, 300_000];
        let writer = tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            for (number, len) in lens.into_iter().enumerate() {
                write_frame(&mut stream, &content(len, number)).await.unwrap();
            }
        });
        let (mut peer, _) = listener.accept().await.unwrap();
        for (number, len) in lens.into_iter().enumerate() {
            let frame = read_frame(&mut peer, &pool).await.unwrap().unwrap();
            assert!(frame == content(len, number), "frame {number}");
        }
        assert!(read_frame(&mut peer, &pool).await.unwrap().is_none());
        writer.await.unwrap();
    });
}

/// A peer that goes away in the middle, and one that says nothing until the reader gives up: the buffers come home.
#[test]
fn a_peer_that_goes_away_or_says_nothing_costs_no_buffer() {
    on_both(|pool| async move {
        let (listener, address) = listen().await;
        for _ in 0..3 {
            let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
            let (mut stream, (mut peer, _)) = (stream.unwrap(), accepted.unwrap());
            // More than the kernel takes, so that the writer is still at it.
            let mut large = pool.get_owned();
            large.resize(20_000_000, 1);
            let mut large = large.freeze();
            let writer = tokio::spawn(async move { stream.write_all_buf(&mut large).await });
            let mut received = pool.get_owned();
            peer.read_buf(&mut received).await.unwrap();
            drop(peer);
            assert!(writer.await.unwrap().is_err(), "nobody takes the rest");
            drop(received);
            assert_eq!(pool.stats().outstanding, 0);
        }
        let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut stream, (mut peer, _)) = (stream.unwrap(), accepted.unwrap());
        let mut received = pool.get_owned();
        stream.write_all(b"one,").await.unwrap();
        while received.len() < 4 {
            peer.read_buf(&mut received).await.unwrap();
        }
        assert!(timeout(Duration::from_millis(10), peer.read_buf(&mut received)).await.is_err());
        stream.write_all(b"two").await.unwrap();
        drop(stream);
        while peer.read_buf(&mut received).await.unwrap() > 0 {}
        assert_eq!(received, b"one,two", "a read that was given up has lost nothing");
    });
}

#[test]
fn a_read_that_fails_leaves_the_guard_as_it_was_and_usable() {
    on_both(|pool| async move {
        let (listener, address) = listen().await;
        let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut stream, (mut peer, _)) = (stream.unwrap(), accepted.unwrap());
        let mut received = pool.get_owned();
        stream.write_all(b"kept;").await.unwrap();
        while received.len() < 5 {
            peer.read_buf(&mut received).await.unwrap();
        }
        // Closed without the farewell.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
        assert_eq!(peer.read_buf(&mut received).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(received, b"kept;");
        received.push_str("last");
        assert_eq!(received.freeze(), "kept;last");
    });
}

/// What lies behind a short message is what was there before: `read_buf` has not zeroed it.
#[test]
#[allow(unsafe_code)]
fn read_buf_does_not_touch_the_rest_of_the_spare_capacity() {
    on_both(|pool| async move {
        let (listener, address) = listen().await;
        let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut stream, (mut peer, _)) = (stream.unwrap(), accepted.unwrap());
        let mut received = pool.get_owned_with_capacity(4_096);
        received.resize(4_096, 0xAA);
        received.clear();
        stream.write_all(b"short").await.unwrap();
        assert_eq!(peer.read_buf(&mut received).await.unwrap(), 5);
        // SAFETY: within the capacity, and all of these bytes were written above, to the same buffer.
        unsafe { received.set_len(4_096) };
        assert!(received.starts_with(b"short") && received[5..].iter().all(|&byte| byte == 0xAA));
    });
}
