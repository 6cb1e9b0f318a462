//! The recipes of docs/cookbook/recipes.md, and the figures that it states.

use std::mem;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytebufferpool::{OwnedBuf, Pool, PoolRef, PooledBuf};

/// No interval ends by itself.
const NEVER: Duration = Duration::MAX;

// N buffers of size S.

const SIZE: usize = 16 << 10;
const COUNT: usize = 40;

/// As the page has it.
fn fixed_pool() -> Pool {
    Pool::builder()
        .default_size(SIZE)
        .max_size_limit(SIZE)
        .calibrate_calls_threshold(u64::MAX)
        .retained_bytes_max(COUNT * SIZE)
        .thread_cache_bytes_max(0)
        .trim_interval(Duration::MAX)
        .build()
}

#[test]
fn a_fixed_pool_keeps_n_buffers_and_frees_the_next() {
    let pool = fixed_pool();
    assert_eq!(pool.prefill(SIZE, COUNT + 1), COUNT);
    let held: Vec<_> = (0..COUNT + 1).map(|_| pool.get()).collect();
    assert!(held.iter().all(|buf| buf.capacity() == SIZE));
    assert_eq!((pool.stats().hits, pool.stats().misses), (COUNT as u64, 1), "one more is allocated, and nobody waits");
    drop(held);
    let stats = pool.stats();
    assert_eq!((stats.retained_buffers, stats.retained_bytes), (COUNT as u64, COUNT * SIZE));
    assert_eq!(stats.dropped.over_budget, 1);
}

/// Threads that go on living have no caches, from which nobody else could take.
#[test]
fn a_fixed_pool_gives_every_thread_all_its_buffers() {
    let pool = Arc::new(fixed_pool());
    let held: Vec<_> = (0..COUNT).map(|_| pool.get_owned()).collect();
    let mut held = held.into_iter();
    let (dropped, is_dropped) = mpsc::channel();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (part, dropped) = (held.by_ref().take(COUNT / 4).collect::<Vec<_>>(), dropped.clone());
            let (end, ends) = mpsc::channel::<()>();
            let thread = thread::spawn(move || {
                drop(part);
                dropped.send(()).expect("the test waits for it");
                assert!(ends.recv().is_err());
            });
            (thread, end)
        })
        .collect();
    threads.iter().for_each(|_| is_dropped.recv().expect("no panic"));
    assert_eq!(pool.stats().retained_buffers, COUNT as u64);
    let held: Vec<_> = (0..COUNT).map(|_| pool.get()).collect();
    assert_eq!(pool.stats().hits, held.len() as u64);
    for (thread, end) in threads {
        drop(end);
        thread.join().expect("no panic");
    }
}

#[test]
fn a_fixed_pool_keeps_what_is_unused_only_if_told_to() {
    for (interval, is_kept) in [(Duration::MAX, true), (Duration::from_millis(5), false)] {
        let pool = Pool::builder().default_size(SIZE).max_size_limit(SIZE).trim_interval(interval).build();
        pool.prefill(SIZE, COUNT);
        for _ in 0..30 {
            thread::sleep(Duration::from_millis(2));
            drop(pool.get());
        }
        assert_eq!(pool.stats().trimmed == 0, is_kept, "{interval:?}");
    }
}

/// More short messages than a calibration waits for would teach another pool a smaller default size.
#[test]
fn a_fixed_pool_learns_nothing() {
    let pool = fixed_pool();
    for _ in 0..50_000 {
        pool.get().push(1);
    }
    pool.get().resize(10 * SIZE, 1);
    assert_eq!((pool.stats().calibrations, pool.stats().dropped.over_ceiling), (0, 1));
    assert_eq!((pool.default_size(), pool.max_size(), pool.get().capacity()), (SIZE, SIZE, SIZE));
    assert_eq!(pool.stats().classes.iter().filter(|class| class.retained > 0).count(), 1);
}

// The smallest budget for reuse across threads.

/// Misses of a producer after it is warm: it gets `count` buffers of `size` bytes, and gets the next ones when a consumer on
/// another thread has dropped all of them.
fn misses(pool: Pool, size: usize, count: usize) -> u64 {
    const ROUNDS: usize = 20;
    let pool = Arc::new(pool);
    let (sender, receiver) = mpsc::channel::<Vec<OwnedBuf>>();
    let (dropped, is_dropped) = mpsc::channel();
    let consumer = thread::spawn(move || {
        for burst in receiver {
            drop(burst);
            dropped.send(()).expect("the producer waits for it");
        }
    });
    let mut warm = 0;
    for round in 0..2 * ROUNDS {
        if round == ROUNDS {
            warm = pool.stats().misses;
        }
        sender.send((0..count).map(|_| pool.get_owned_with_capacity(size)).collect()).expect("the consumer is there");
        is_dropped.recv().expect("the consumer is there");
    }
    drop(sender);
    consumer.join().expect("no panic");
    pool.stats().misses - warm
}

const SIZES: [usize; 4] = [64, 4 << 10, 32 << 10, 64 << 10];

#[test]
fn without_thread_caches_the_budget_is_what_is_in_flight() {
    for size in SIZES {
        for count in [1, 8, 31, 100, 300] {
            let pool = |budget| {
                Pool::builder().retained_bytes_max(budget).thread_cache_bytes_max(0).trim_interval(NEVER).build()
            };
            assert_eq!(misses(pool(count * size), size, count), 0, "{count} of {size} bytes");
            assert!(misses(pool(count * size - 1), size, count) > 0, "{count} of {size} bytes: one byte less");
        }
    }
}

#[test]
fn with_thread_caches_two_threads_need_a_sixteenth_more() {
    let pool = |budget| Pool::builder().retained_bytes_max(budget).trim_interval(NEVER).build();
    for size in SIZES {
        for count in [1, 8, 31] {
            assert_eq!(misses(pool(count * size), size, count), 0, "{count} of {size} bytes: too few for a lease");
        }
        for count in [32_usize, 33, 64, 100, 300] {
            let budget = (count + count.div_ceil(16)) * size;
            assert_eq!(misses(pool(budget), size, count), 0, "{count} of {size} bytes");
        }
        let is_small = size <= 32 << 10;
        assert_eq!(misses(pool(100 * size), size, 100) > 0, is_small, "100 of {size} bytes: without the sixteenth");
    }
}

// A struct that owns its pool; a library that is given one.

/// As the page has it.
struct Encoder {
    pool: Arc<Pool>,
    message: OwnedBuf,
}

impl Encoder {
    fn new() -> Encoder {
        let pool = Arc::new(Pool::new());
        Encoder { message: PooledBuf::empty(Arc::clone(&pool)), pool }
    }

    fn push(&mut self, text: &str) {
        self.message.push_str(text);
    }

    fn take(&mut self) -> OwnedBuf {
        mem::replace(&mut self.message, PooledBuf::empty(Arc::clone(&self.pool)))
    }
}

#[test]
fn a_struct_owns_its_pool_and_gives_its_buffer_away() {
    let mut encoder = Encoder::new();
    let pool = Arc::clone(&encoder.pool);
    assert_eq!(pool.stats().gets, 0, "an empty guard takes nothing");
    encoder.push("a ");
    encoder.push("message");
    let message = encoder.take();
    assert_eq!((pool.stats().gets, pool.stats().outstanding), (1, 1));
    encoder.push("half of the next");
    // It moves to another thread, which a struct that borrows from itself could not.
    thread::spawn(move || drop(encoder)).join().expect("no panic");
    assert_eq!(message, "a message");
    drop(message);
    assert_eq!((Arc::strong_count(&pool), pool.stats().outstanding), (1, 0));
}

/// As the page has it.
struct Lines<P: PoolRef> {
    pool: P,
    line: PooledBuf<P>,
}

impl<P: PoolRef> Lines<P> {
    fn new(pool: P) -> Lines<P> {
        Lines { line: PooledBuf::empty(pool.clone()), pool }
    }

    fn end(&mut self) -> PooledBuf<P> {
        self.line.push(b'\n');
        mem::replace(&mut self.line, PooledBuf::empty(self.pool.clone()))
    }
}

fn greeting<'p>(pool: &'p Pool, name: &str) -> PooledBuf<&'p Pool> {
    let mut buf = pool.get();
    buf.push_str("hello, ");
    buf.push_str(name);
    buf
}

#[test]
fn a_library_takes_a_pool_by_reference_or_behind_an_arc() {
    static STATIC: Pool = Pool::new();
    let (local, shared) = (Pool::new(), Arc::new(Pool::new()));
    fn one_line<P: PoolRef>(pool: P) {
        let mut lines = Lines::new(pool);
        lines.line.push_str("a line");
        assert_eq!(lines.end(), "a line\n");
        assert_eq!(lines.end(), "\n");
    }
    one_line(&STATIC);
    one_line(&local);
    one_line(Arc::clone(&shared));
    for pool in [&STATIC, &local, &*shared] {
        assert_eq!((pool.stats().gets, pool.stats().outstanding), (2, 0));
        assert_eq!(greeting(pool, "world"), "hello, world");
    }
}

// Streams.

const LARGE: usize = 1 << 20;
const MESSAGES: usize = 1000;

/// One large message, and then small ones.
fn message_len(number: usize) -> usize {
    if number == 0 { LARGE } else { 100 }
}

/// What the pool has counted, by size class.
fn calls(pool: &Pool) -> Vec<(usize, u64)> {
    let classes = pool.stats().classes;
    classes.iter().filter(|class| class.calls > 0).map(|class| (class.size, class.calls)).collect()
}

#[test]
fn one_guard_for_a_stream_keeps_its_largest_capacity_and_counts_as_one_use() {
    let pool = Pool::builder().trim_interval(NEVER).build();
    let mut buf = pool.get();
    for number in 0..MESSAGES {
        buf.clear();
        buf.resize(message_len(number), 1);
    }
    assert_eq!((buf.len(), buf.capacity(), pool.stats().gets), (100, LARGE, 1));
    pool.trim();
    pool.trim();
    assert_eq!(buf.capacity(), LARGE, "trim cannot free what is in use");
    drop(buf);
    assert_eq!(calls(&pool), [(LARGE, 1)]);
}

#[test]
fn a_get_for_each_message_gives_the_large_buffer_back() {
    let pool = Pool::builder().trim_interval(NEVER).build();
    for number in 0..MESSAGES {
        let mut buf = pool.get();
        buf.resize(message_len(number), 1);
        assert!(number == 0 || buf.capacity() < LARGE);
    }
    assert_eq!(calls(&pool), [(128, MESSAGES as u64 - 1), (LARGE, 1)]);
    assert_eq!(pool.stats().retained_bytes / LARGE, 1, "it is cached, for whoever needs it");
    // A trim frees what a whole interval did not use.
    pool.trim();
    assert!(pool.trim() >= LARGE);
}
