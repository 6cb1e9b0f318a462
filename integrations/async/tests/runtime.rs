//! Guards in futures: across awaits, in tasks that are cancelled, on both runtimes, and under tokio's own io.

use std::future::{Future, pending};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytebufferpool::{Pool, PooledBuf, Stats};
use bytes::{Buf, Bytes};
use integration_async::{FRAME_BYTES_MAX, read_frame, write_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, spawn_blocking, yield_now};
use tokio::time::timeout;

fn runtimes() -> [(&'static str, Runtime); 2] {
    [
        ("current thread", Builder::new_current_thread().enable_all().build().unwrap()),
        ("multi thread", Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap()),
    ]
}

/// The test on both runtimes, each with a pool of its own; afterwards everything has come home.
fn on_both<F: Future<Output = ()>>(test: impl Fn(Arc<Pool>) -> F) {
    for (name, runtime) in runtimes() {
        let pool = Arc::new(Pool::new());
        // A test that fails must not wait for ever for what never comes.
        let limited = async { timeout(Duration::from_secs(30), test(Arc::clone(&pool))).await };
        runtime.block_on(limited).unwrap_or_else(|_| panic!("{name}: hangs"));
        // The runtime's threads end, and with them their caches.
        drop(runtime);
        assert_at_rest(&pool.stats(), name);
    }
}

fn assert_at_rest(stats: &Stats, name: &str) {
    assert!(stats.gets > 0, "{name}: the test used the pool");
    assert_eq!(stats.outstanding, 0, "{name}: {stats}");
    assert_eq!(stats.gets, stats.puts + stats.detached, "{name}: {stats}");
    assert_eq!(
        stats.allocated + stats.donated,
        stats.retained_buffers + stats.detached + stats.dropped.total() + stats.trimmed,
        "{name}: {stats}"
    );
}

const fn is_send<T: Send>(value: T) -> T {
    value
}

/// A task moves between threads at each await; what it wrote must still be there, and nobody else's.
#[test]
fn a_guard_held_across_awaits_keeps_its_bytes() {
    on_both(|pool| async move {
        let mut tasks = JoinSet::new();
        for task in 0..64_u32 {
            let pool = Arc::clone(&pool);
            tasks.spawn(is_send(async move {
                let mut buf = pool.get_owned();
                for step in 0..50_u32 {
                    buf.extend_from_slice(&(task * 1000 + step).to_le_bytes());
                    yield_now().await;
                }
                for (step, bytes) in (0..50).zip(buf.chunks(4)) {
                    assert_eq!(bytes, (task * 1000 + step).to_le_bytes());
                }
            }));
        }
        while let Some(result) = tasks.join_next().await {
            result.unwrap();
        }
    });
}

/// A borrowed guard is enough where the pool is a `static`, and a future with it is `Send`.
#[test]
fn a_guard_of_a_static_pool_needs_no_arc() {
    static POOL: Pool = Pool::new();
    for (_, runtime) in runtimes() {
        runtime.block_on(async {
            let written = tokio::spawn(is_send(async {
                let mut buf = POOL.get();
                buf.push_str("from a task");
                yield_now().await;
                buf.freeze()
            }));
            assert_eq!(written.await.unwrap(), "from a task");
        });
    }
    assert_eq!(POOL.stats().outstanding, 0);
}

/// Aborted at an await, timed out, dropped before the first poll, and panicked: the buffer comes home.
#[test]
fn a_cancelled_task_returns_its_buffers() {
    on_both(|pool| async move {
        let (holds, mut is_held) = mpsc::channel(32);
        let mut tasks = JoinSet::new();
        for _ in 0..32 {
            let (pool, holds) = (Arc::clone(&pool), holds.clone());
            tasks.spawn(async move {
                let mut buf = pool.get_owned();
                buf.resize(5_000, 1);
                let frozen = pool.get_owned_with_capacity(100).freeze();
                holds.send(()).await.unwrap();
                pending::<()>().await;
                drop((buf, frozen));
            });
        }
        for _ in 0..32 {
            is_held.recv().await.unwrap();
        }
        assert_eq!(pool.stats().outstanding, 64);
        tasks.shutdown().await;
        assert_eq!(pool.stats().outstanding, 0);

        let slow = async {
            let _buf = pool.get_owned();
            pending::<()>().await;
        };
        assert!(timeout(Duration::from_millis(5), slow).await.is_err());
        assert_eq!(pool.stats().outstanding, 0);

        let buf = pool.get_owned();
        let never_polled = async move { drop(buf) };
        assert_eq!(pool.stats().outstanding, 1);
        drop(never_polled);
        assert_eq!(pool.stats().outstanding, 0);

        let in_panic = Arc::clone(&pool);
        let panics = tokio::spawn(async move {
            let _buf = in_panic.get_owned();
            yield_now().await;
            panic!("the task's own panic");
        });
        assert!(panics.await.unwrap_err().is_panic());
        assert_eq!(pool.stats().outstanding, 0);
    });
}

/// A runtime that is shut down drops its tasks wherever they are.
#[test]
fn the_end_of_a_runtime_returns_what_its_tasks_held() {
    for (name, runtime) in runtimes() {
        let pool = Arc::new(Pool::new());
        let (holds, is_held) = oneshot::channel();
        let task_pool = Arc::clone(&pool);
        runtime.spawn(async move {
            let mut buf = task_pool.get_owned();
            buf.push(1);
            holds.send(()).unwrap();
            pending::<()>().await;
            drop(buf);
        });
        runtime.block_on(is_held).unwrap();
        assert_eq!(pool.stats().outstanding, 1);
        drop(runtime);
        assert_at_rest(&pool.stats(), name);
    }
}

#[test]
fn a_guard_goes_to_spawn_blocking_and_back() {
    on_both(|pool| async move {
        for round in 0..50_usize {
            let mut buf = pool.get_owned();
            buf.push_str("before;");
            let mut buf = spawn_blocking(move || {
                buf.resize(round * 100 + 7, b'x');
                buf
            })
            .await
            .unwrap();
            buf.push_str(";after");
            assert!(buf.starts_with(b"before;") && buf.ends_with(b";after"));
            assert_eq!(buf.len(), (round * 100 + 7).max(7) + 6);
            let frozen = buf.freeze();
            spawn_blocking(move || drop(frozen)).await.unwrap();
        }
    });
}

#[test]
fn frozen_buffers_go_through_a_channel_and_end_on_another_task() {
    on_both(|pool| async move {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(4);
        let producer = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move {
                for number in 0..1000_u32 {
                    let mut buf = pool.get_owned();
                    write!(buf, "message {number}").unwrap();
                    sender.send(buf.freeze()).await.unwrap();
                }
            }
        });
        let mut number = 0;
        while let Some(message) = receiver.recv().await {
            assert_eq!(message, format!("message {number}"));
            number += 1;
        }
        producer.await.unwrap();
        assert_eq!(number, 1000);
    });
}

/// `read_buf` asks `chunk_mut` for room, which makes a full guard grow through the pool.
#[test]
fn read_buf_fills_a_guard_of_any_size_and_write_all_buf_empties_a_frozen_one() {
    on_both(|pool| async move {
        for (len, pipe) in [(0, 64), (1, 1), (63, 64), (64, 64), (65, 7), (5_000, 1_000), (300_000, 65_536)] {
            let sent: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
            let (mut near, mut far) = duplex(pipe);
            let mut buf = pool.get_owned();
            buf.extend_from_slice(&sent);
            let frozen = buf.freeze();
            let writer = tokio::spawn(async move {
                let mut left = frozen.clone();
                near.write_all_buf(&mut left).await.unwrap();
                assert!(!left.has_remaining());
                frozen.len()
            });
            let mut buf = pool.get_owned();
            while far.read_buf(&mut buf).await.unwrap() > 0 {}
            assert_eq!(buf, sent);
            assert_eq!(writer.await.unwrap(), len);
        }
        assert!(pool.stats().growths > 0);
    });
}

/// What was read before the future was dropped is in the guard: `read_buf` is cancel safe.
#[test]
fn a_cancelled_read_buf_loses_nothing() {
    on_both(|pool| async move {
        let (mut near, mut far) = duplex(1_000);
        let mut buf: PooledBuf<Arc<Pool>> = pool.get_owned();
        near.write_all(b"one,").await.unwrap();
        far.read_buf(&mut buf).await.unwrap();
        assert!(timeout(Duration::from_millis(5), far.read_buf(&mut buf)).await.is_err());
        near.write_all(b"two").await.unwrap();
        far.read_buf(&mut buf).await.unwrap();
        assert_eq!(buf, b"one,two");
    });
}

#[test]
fn frames_are_read_whole_and_bad_ones_refused() {
    on_both(|pool| async move {
        let (mut near, mut far) = duplex(50);
        let lens = [0_usize, 1, 64, 65, 10_000, 3];
        let writer = tokio::spawn(async move {
            for len in lens {
                write_frame(&mut near, &vec![len as u8; len]).await.unwrap();
            }
        });
        for len in lens {
            let frame = read_frame(&mut far, &pool).await.unwrap().unwrap();
            assert_eq!(frame, vec![len as u8; len], "a frame, and nothing of the next");
        }
        assert!(read_frame(&mut far, &pool).await.unwrap().is_none());
        writer.await.unwrap();

        let gets = pool.stats().gets;
        let mut huge: &[u8] = &[0xff; 8];
        assert_eq!(read_frame(&mut huge, &pool).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(pool.stats().gets, gets, "refused before a buffer is asked for");
        let mut short: &[u8] = &[0, 0, 0, 9, 1, 2];
        assert_eq!(read_frame(&mut short, &pool).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let mut torn: &[u8] = &[0, 0];
        assert_eq!(read_frame(&mut torn, &pool).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let too_long = vec![0; FRAME_BYTES_MAX + 1];
        assert!(write_frame(&mut io::Cursor::new(Vec::new()), &too_long).await.is_err());
    });
}

/// Idle threads of a runtime keep nothing if they flush when they park.
#[test]
fn on_thread_park_gives_the_caches_back() {
    static POOL: Pool = Pool::builder().trim_interval(Duration::from_secs(1 << 20)).build();
    let runtime = Builder::new_multi_thread()
        .worker_threads(3)
        .enable_all()
        .on_thread_park(|| POOL.flush_thread())
        .build()
        .unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..300)
            .map(|_| {
                tokio::spawn(async {
                    let mut buf = POOL.get();
                    buf.resize(1_000, 1);
                    yield_now().await;
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert!(POOL.stats().retained_bytes > 0);
    // This thread was in the pool too, as it drove the runtime; and the workers need a moment to park.
    for _ in 0..1000 {
        POOL.flush_thread();
        POOL.trim();
        if POOL.stats().retained_bytes == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("parked threads still hold buffers: {}", POOL.stats());
}
