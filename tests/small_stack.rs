//! Every operation runs on a small stack: 16 KiB in release builds, 32 KiB in debug builds.
//!
//! A logger's flusher thread had the least stack that a thread can have on x86-64 Linux and died of the pool's first use, which
//! needed 24 to 28 KiB (56 in debug builds), as structures were built on the stack and then moved. Each operation runs in a
//! child process of its own, so that one that overflows is named and the others are still tried.
//!
//! Where a thread gets much more than was asked for (under AddressSanitizer, where the C library's least is more), or where not
//! even one without a pool runs on such a stack, nothing can be said of the pool, and the test says SKIPPED.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

use std::io;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;

use bytebufferpool::{Pool, PooledBuf};
use bytes::{Buf, BufMut, Bytes};

const STACK_BYTES: usize = if cfg!(debug_assertions) { 32 << 10 } else { 16 << 10 };

/// A pool that nothing was done with; it never calibrates by itself.
static NEW: Pool = Pool::builder().calibrate_calls_threshold(1 << 60).build();
/// Used and filled by a thread with a usual stack; the thread with the small one is new to it.
static USED: Pool = Pool::builder().calibrate_calls_threshold(1 << 60).build();
/// Calibrates with each second use.
static OFTEN: Pool = Pool::builder().calibrate_calls_threshold(1).build();
/// Everything goes through the shared part.
static UNCACHED: Pool = Pool::builder().thread_cache_bytes_max(0).build();

/// What the child's thread with a usual stack made for the one with the small stack. An operation takes what it needs, and
/// the rest is leaked: its end would be an operation too.
struct Given {
    guard: Option<PooledBuf<&'static Pool>>,
    large_guard: Option<PooledBuf<&'static Pool>>,
    frozen: Option<Bytes>,
    vec: Option<Vec<u8>>,
    many: Option<Vec<PooledBuf<&'static Pool>>>,
}

/// What is measured in the end, so that no operation is optimized away.
static SUM: AtomicUsize = AtomicUsize::new(0);

fn note(bytes: usize) {
    SUM.fetch_add(bytes, Relaxed);
}

fn use_up(pool: &'static Pool) {
    for size in [0, 64, 1000, 30_000, 100_000, 1 << 20] {
        for _ in 0..3 {
            let mut buf = pool.get_with_capacity(size);
            buf.extend_from_slice(b"used");
            note(buf.len());
        }
    }
}

/// The operation, on the small stack. No formatting and no panic in it.
type Operation = (&'static str, fn(&mut Given));

const OPERATIONS: &[Operation] = &[
    ("the first get of a new pool, and its drop", |_| note(NEW.get().capacity())),
    ("the first get_with_capacity(1000) of a new pool", |_| note(NEW.get_with_capacity(1000).capacity())),
    ("the first try_get_with_capacity(1 MiB) of a new pool", |_| {
        note(NEW.try_get_with_capacity(1 << 20).map_or(0, |buf| buf.capacity()));
    }),
    ("the first get of 64 MiB of a new pool", |_| note(NEW.get_with_capacity(64 << 20).capacity())),
    ("the first put of a new pool", |given| {
        if let Some(vec) = given.vec.take() {
            NEW.put(vec);
        }
    }),
    ("the first prefill of a new pool, small", |_| note(NEW.prefill(1000, 100))),
    ("the first prefill of a new pool, large", |_| note(NEW.prefill(1 << 20, 10))),
    ("stats of a new pool", |_| note(NEW.stats().retained_bytes)),
    ("the first get of the process-wide pool", |_| note(bytebufferpool::get().capacity())),
    ("the first use of a pool without thread caches", |_| use_up(&UNCACHED)),
    ("get, of a pool that others use", |_| note(USED.get().capacity())),
    ("get of 1 MiB, of a pool that others use", |_| note(USED.get_with_capacity(1 << 20).capacity())),
    ("drop of another thread's guard", |given| drop(given.guard.take())),
    ("drop of another thread's large guard", |given| drop(given.large_guard.take())),
    ("drops of 500 guards of another thread", |given| drop(given.many.take())),
    ("put", |given| {
        if let Some(vec) = given.vec.take() {
            USED.put(vec);
        }
    }),
    ("growth from 64 B to 64 KiB", |_| {
        let mut buf = NEW.get_with_capacity(64);
        for _ in 0..1000 {
            buf.extend_from_slice(b"sixty-four bytes and some more of it, so that it has to grow....");
        }
        note(buf.len());
    }),
    ("growth to 2 MiB at once", |given| {
        if let Some(mut buf) = given.guard.take() {
            buf.reserve(2 << 20);
            note(buf.capacity());
        }
    }),
    ("freeze, and drop of the frozen buffer", |_| {
        let mut buf = USED.get();
        buf.extend_from_slice(b"frozen");
        note(buf.freeze().len());
    }),
    ("a text, and what it becomes", |_| {
        let mut text = NEW.get_string();
        text.push_str("text");
        text.push('ü');
        note(text.into_buf().len());
        note(USED.get_string_with_capacity(1000).into_string().len());
    }),
    ("a guard without a buffer, and its first write", |_| {
        let mut buf = PooledBuf::empty(&NEW);
        buf.push(1);
        note(buf.capacity());
    }),
    ("a chunked message of 3 MiB, written, read and frozen", |_| {
        let mut message = NEW.get_chunked();
        for _ in 0..3000 {
            message.extend_from_slice(&[7; 1024]);
        }
        note(usize::from(message.write_to(&mut io::sink()).is_ok()));
        note(message.freeze().map(|piece| piece.len()).sum());
        let mut message = USED.get_chunked();
        message.put_bytes(7, 1 << 20);
        let mut reader = message.into_reader();
        reader.advance(1000);
        note(reader.remaining());
    }),
    ("drop of another thread's frozen buffer", |given| drop(given.frozen.take())),
    ("into_vec and discard", |given| {
        if let Some(buf) = given.large_guard.take() {
            buf.discard();
        }
        note(given.guard.take().map_or(0, |buf| buf.into_vec().len()));
    }),
    ("stats", |_| note(USED.stats().retained_bytes)),
    ("prefill, small", |_| note(USED.prefill(1000, 1000))),
    ("prefill, large", |_| note(USED.prefill(1 << 20, 10))),
    ("calibrate", |_| {
        use_up(&USED);
        USED.calibrate();
    }),
    ("a calibration within a drop", |_| use_up(&OFTEN)),
    ("trim", |_| {
        note(USED.trim());
        use_up(&USED);
        note(USED.trim());
        note(USED.trim());
    }),
    ("purge", |_| {
        note(USED.purge());
        use_up(&USED);
        note(USED.purge());
    }),
    ("flush_thread", |_| {
        USED.flush_thread();
        use_up(&USED);
        USED.flush_thread();
    }),
    ("a thread's end with full caches", |given| {
        drop(given.many.take());
        use_up(&USED);
        use_up(&NEW);
        use_up(&OFTEN);
    }),
    ("the drop of a pool that this thread used, and of one that others used", |_| {
        let pool = Box::new(Pool::new());
        for size in [64, 1000, 100_000] {
            note(pool.get_with_capacity(size).capacity());
        }
        drop(pool);
    }),
    ("the uses of 50 pools", |_| {
        for _ in 0..50 {
            let pool = Box::new(Pool::new());
            note(pool.get().capacity());
        }
    }),
];

/// What an operation is given is made on a usual stack.
fn given() -> &'static mut Given {
    let some_of_each = || (0..500).map(|nth| USED.get_with_capacity(64 << (nth % 10))).collect();
    let (held, many): (Vec<_>, Vec<_>) = (some_of_each(), some_of_each());
    drop(held);
    let mut frozen = USED.get();
    frozen.extend_from_slice(b"frozen");
    Box::leak(Box::new(Given {
        guard: Some(USED.get()),
        large_guard: Some(USED.get_with_capacity(1 << 20)),
        frozen: Some(frozen.freeze()),
        vec: Some(Vec::with_capacity(1000)),
        many: Some(many),
    }))
}

/// Bytes of the mapping that a thread's stack is in, as the kernel has it.
fn stack_mapping_bytes() -> Option<usize> {
    let (tell, told) = mpsc::channel();
    let (end, wait) = mpsc::channel::<()>();
    let small = thread::spawn(|| {
        run_on_small_stack(move || {
            let local = 0_u8;
            let _ = tell.send(std::hint::black_box(&raw const local).addr());
            let _ = wait.recv();
        });
    });
    let address = told.recv().ok()?;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    drop(end);
    small.join().ok()?;
    maps.lines().find_map(|line| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16).ok());
        (start?..end?).contains(&address).then_some(end? - start?)
    })
}

/// std gives no thread less than the C library calls its least, which has room for a signal's frame: 28 KiB where the
/// processor has AVX-512. A program in C may take 16 KiB, of which 4 are the thread's own, so this asks the C library.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
fn run_on_small_stack(work: impl FnOnce() + Send + 'static) {
    use std::ffi::{c_int, c_void};

    /// 56 bytes there.
    #[repr(C, align(16))]
    struct Attributes([u8; 128]);

    unsafe extern "C" {
        fn pthread_attr_init(attributes: *mut Attributes) -> c_int;
        fn pthread_attr_setstacksize(attributes: *mut Attributes, bytes: usize) -> c_int;
        fn pthread_create(
            thread: *mut usize,
            attributes: *const Attributes,
            start: extern "C" fn(*mut c_void) -> *mut c_void,
            work: *mut c_void,
        ) -> c_int;
        fn pthread_join(thread: usize, result: *mut *mut c_void) -> c_int;
    }

    extern "C" fn start<F: FnOnce()>(work: *mut c_void) -> *mut c_void {
        // SAFETY: the one thread that is started with this pointer, which came from `Box::into_raw`.
        let work = unsafe { Box::from_raw(work.cast::<F>()) };
        work();
        std::ptr::null_mut()
    }

    fn start_of<F: FnOnce()>(_: &F) -> extern "C" fn(*mut c_void) -> *mut c_void {
        start::<F>
    }

    let mut attributes = Attributes([0; 128]);
    let mut thread = 0;
    let start = start_of(&work);
    // SAFETY: the attributes are initialized before they are used, and have room for what the C library writes; `work` is
    // `Send` and `'static`, and the thread alone takes it; it is joined once.
    let results = unsafe {
        [
            pthread_attr_init(&mut attributes),
            pthread_attr_setstacksize(&mut attributes, STACK_BYTES),
            pthread_create(&mut thread, &attributes, start, Box::into_raw(Box::new(work)).cast()),
            pthread_join(thread, std::ptr::null_mut()),
        ]
    };
    assert_eq!(results, [0; 4]);
}

#[cfg(not(all(target_arch = "x86_64", target_env = "gnu")))]
fn run_on_small_stack(work: impl FnOnce() + Send + 'static) {
    let small = thread::Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread");
    small.join().expect("no panic");
}

/// The name of the operation for a child of this test, or `CONTROL`.
const OPERATION_VARIABLE: &str = "BYTEBUFFERPOOL_TEST_OPERATION";
/// What a thread does without a pool, and a frame of 6 KiB: half of what there is.
const CONTROL: &str = "control";

fn control() {
    let frame = std::hint::black_box([1_u8; 6 << 10]);
    let (tell, told) = mpsc::channel();
    let _ = tell.send(frame.to_vec());
    note(told.recv().map_or(0, |vec| vec.len()));
}

/// In the child: the operation and the thread's end, or the process ends here.
fn be_child(name: &str) {
    if name == CONTROL {
        run_on_small_stack(control);
        return;
    }
    let (_, operation) = OPERATIONS.iter().find(|(known, _)| *known == name).expect("set by the parent");
    let given = given();
    run_on_small_stack(move || operation(given));
    std::hint::black_box(SUM.load(Relaxed));
}

fn child_ends_well(name: &str) -> Result<(), String> {
    let this_test = std::env::current_exe().expect("a test knows its own path");
    let status = Command::new(this_test)
        .args(["every_operation_runs_on_a_small_stack", "--exact", "--nocapture"])
        .env(OPERATION_VARIABLE, name)
        // What std and the harness say of an overflow; the parent names the operation.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("a child");
    if status.success() { Ok(()) } else { Err(format!("{name}: {status}")) }
}

// One test, so that a child runs nothing beside its operation.
#[test]
fn every_operation_runs_on_a_small_stack() {
    if let Ok(name) = std::env::var(OPERATION_VARIABLE) {
        be_child(&name);
        return;
    }
    let mapping = stack_mapping_bytes();
    println!("asked for {STACK_BYTES} bytes; the kernel has a mapping of {mapping:?}");
    if mapping.is_none_or(|bytes| bytes > 4 * STACK_BYTES) {
        println!("SKIPPED: no thread has a stack as small as {STACK_BYTES} bytes here");
        return;
    }
    if let Err(error) = child_ends_well(CONTROL) {
        println!("SKIPPED: a thread without a pool does not run on {STACK_BYTES} bytes here: {error}");
        return;
    }
    let failed: Vec<_> = OPERATIONS.iter().filter_map(|(name, _)| child_ends_well(name).err()).collect();
    assert!(failed.is_empty(), "{} of {} on {STACK_BYTES} bytes of stack: {failed:#?}", failed.len(), OPERATIONS.len());
}
