//! `recv` into the spare capacity, over real sockets: long and short messages, parts of them, and errors.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use bytebufferpool::Pool;
use integration_async::receive;
use socket2::{SockRef, Socket};

fn connect() -> (TcpStream, Socket) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = Socket::from(listener.accept().unwrap().0);
    // A test that fails must not wait for ever.
    far.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    (near, far)
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

#[test]
fn messages_of_any_length_are_received_whole() {
    let pool = Pool::new();
    for len in [0, 1, 63, 64, 65, 1_000, 5_000, 70_000, 1_500_000] {
        let (mut near, far) = connect();
        let sender = thread::spawn(move || near.write_all(&content(len)).unwrap());
        let mut buf = pool.get();
        while receive(&far, &mut buf).unwrap() > 0 {}
        sender.join().unwrap();
        assert!(buf == content(len), "{len} bytes");
    }
    assert_eq!(pool.stats().outstanding, 0);
    assert!(pool.stats().growths > 0, "full guards grew");
}

#[test]
fn each_part_is_appended_and_counted() {
    let pool = Pool::new();
    let (mut near, far) = connect();
    let mut buf = pool.get_with_capacity(1_000);
    buf.push_str("head;");
    for (sent, held) in [("one,", "head;one,"), ("two", "head;one,two")] {
        near.write_all(sent.as_bytes()).unwrap();
        assert_eq!(receive(&far, &mut buf).unwrap(), sent.len());
        assert_eq!(buf, held);
    }
    near.shutdown(Shutdown::Write).unwrap();
    assert_eq!(receive(&far, &mut buf).unwrap(), 0);
    assert_eq!(buf, "head;one,two");
}

/// Into no room 0 bytes would be received, which would pass for the end.
#[test]
fn a_full_guard_and_an_empty_one_get_room_first() {
    let pool = Pool::new();
    let (mut near, far) = connect();
    let mut buf = pool.get();
    buf.resize(buf.capacity(), b'x');
    let full = buf.len();
    near.write_all(b"more").unwrap();
    assert_eq!(receive(&far, &mut buf).unwrap(), 4);
    assert!(buf.len() == full + 4 && buf.ends_with(b"xmore"));

    let mut buf = bytebufferpool::PooledBuf::empty(&pool);
    near.write_all(b"first").unwrap();
    assert_eq!(receive(&far, &mut buf).unwrap(), 5);
    assert_eq!(buf, "first");
}

#[test]
fn an_error_leaves_the_guard_as_it_was_and_usable() {
    let pool = Pool::new();
    let (mut near, far) = connect();
    let mut buf = pool.get();
    buf.push_str("kept;");
    far.set_nonblocking(true).unwrap();
    assert_eq!(receive(&far, &mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(buf, "kept;");

    far.set_nonblocking(false).unwrap();
    near.write_all(b"then;").unwrap();
    assert_eq!(receive(&far, &mut buf).unwrap(), 5);
    // Closed without the farewell.
    SockRef::from(&near).set_linger(Some(Duration::ZERO)).unwrap();
    drop(near);
    assert_eq!(receive(&far, &mut buf).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(buf, "kept;then;");
    buf.push_str("last");
    assert_eq!(buf, "kept;then;last");
    drop(buf);
    assert_eq!(pool.stats().outstanding, 0);
}

#[test]
fn a_datagram_longer_than_the_room_is_cut_off() {
    let pool = Pool::new();
    let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    near.connect(far.local_addr().unwrap()).unwrap();
    let far = Socket::from(far);
    far.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    near.send(&content(1_000)).unwrap();
    near.send(&content(1_000)).unwrap();
    let mut buf = pool.get_with_capacity(2_000);
    assert_eq!(receive(&far, &mut buf).unwrap(), 1_000);
    let mut short = pool.get_with_capacity(64);
    assert_eq!(receive(&far, &mut short).unwrap(), short.capacity());
    assert!(buf == content(1_000) && short == content(1_000)[..short.len()]);
}

/// What lies behind a short message is what was there before: nobody has zeroed it.
#[test]
#[allow(unsafe_code)]
fn the_rest_of_the_spare_capacity_is_not_touched() {
    let pool = Pool::new();
    let (mut near, far) = connect();
    let mut buf = pool.get_with_capacity(4_096);
    buf.resize(4_096, 0xAA);
    buf.clear();
    near.write_all(b"short").unwrap();
    assert_eq!(receive(&far, &mut buf).unwrap(), 5);
    // SAFETY: within the capacity, and all of these bytes were written above, to the same buffer.
    unsafe { buf.set_len(4_096) };
    assert!(buf.starts_with(b"short") && buf[5..].iter().all(|&byte| byte == 0xAA));
}
