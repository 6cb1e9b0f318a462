//! A global allocator that keeps a ledger and can be made to fail: the second witness beside the pool's own books.
//!
//! Every block carries a header with its layout, so that a block freed with another size than it was allocated with,
//! or twice, ends the process at that free. A *buffer* is a block of alignment 1 and at least 64 bytes: what a pool
//! lends. Everything else (queues, registries, the test's own lists) counts in the other column, and is never failed.
#![allow(unsafe_code)]
// Each test binary that includes this file uses its part of it.
#![allow(dead_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

pub struct Ledger;

/// What is allocated at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    pub buffers: i64,
    pub buffer_bytes: i64,
    pub others: i64,
    pub other_bytes: i64,
}

impl Balance {
    pub fn now() -> Balance {
        let read = |account: &AtomicI64| account.load(Ordering::Relaxed);
        Balance {
            buffers: read(&BUFFERS.blocks),
            buffer_bytes: read(&BUFFERS.bytes),
            others: read(&OTHERS.blocks),
            other_bytes: read(&OTHERS.bytes),
        }
    }
}

/// Runs `f` while the buffer allocation that follows `successes` good ones *on this thread* fails, once. Says too
/// whether it came to that.
pub fn failing_after<R>(successes: u64, f: impl FnOnce() -> R) -> (R, bool) {
    /// Refills also when `f` panics, or the report of the panic would run dry.
    struct Refill;
    impl Drop for Refill {
        fn drop(&mut self) {
            FUEL.set(UNLIMITED);
        }
    }
    let refill = Refill;
    FUEL.set(successes);
    let result = f();
    let failed = FUEL.get() == SPENT;
    drop(refill);
    (result, failed)
}

const UNLIMITED: u64 = u64::MAX;
const SPENT: u64 = u64::MAX - 1;

thread_local! {
    // Const and without a destructor: usable inside an allocator and on a dying thread.
    static FUEL: Cell<u64> = const { Cell::new(UNLIMITED) };
}

fn burn() -> bool {
    let left = FUEL.get();
    match left {
        UNLIMITED | SPENT => true,
        0 => {
            FUEL.set(SPENT);
            false
        }
        _ => {
            FUEL.set(left - 1);
            true
        }
    }
}

/// One column of the ledger. Relaxed is enough: it is read when all threads have been joined.
struct Account {
    blocks: AtomicI64,
    bytes: AtomicI64,
}

static BUFFERS: Account = Account { blocks: AtomicI64::new(0), bytes: AtomicI64::new(0) };
static OTHERS: Account = Account { blocks: AtomicI64::new(0), bytes: AtomicI64::new(0) };

impl Account {
    fn of(layout: Layout) -> &'static Account {
        if is_buffer(layout) { &BUFFERS } else { &OTHERS }
    }

    fn add(&self, blocks: i64, bytes: usize) {
        self.blocks.fetch_add(blocks, Ordering::Relaxed);
        self.bytes.fetch_add(blocks * bytes as i64, Ordering::Relaxed);
    }
}

fn is_buffer(layout: Layout) -> bool {
    layout.align() == 1 && layout.size() >= 64
}

/// In front of every block, so far that the block keeps its alignment.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Header {
    size: usize,
    align_and_seal: usize,
}

const HEADER_SIZE: usize = size_of::<Header>();
const SEAL: usize = 0x5ea1_ed00 << (usize::BITS - 32);
/// No test needs more; an allocator that says so itself is not stopped by a sanitizer for asking.
const BLOCK_BYTES_MAX: usize = (1_u64 << if usize::BITS == 64 { 40 } else { 29 }) as usize;

/// The layout with the header, and how far behind its start the block lies.
fn padded(layout: Layout) -> Option<(Layout, usize)> {
    if layout.size() > BLOCK_BYTES_MAX {
        return None;
    }
    let align = layout.align().max(align_of::<Header>());
    let offset = HEADER_SIZE.next_multiple_of(align);
    Some((Layout::from_size_align(layout.size() + offset, align).ok()?, offset))
}

// SAFETY: blocks come from `System` with room for the header in front and go back to it with the same layout; no
// method unwinds (a broken header aborts).
unsafe impl GlobalAlloc for Ledger {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_buffer(layout) && !burn() {
            return std::ptr::null_mut();
        }
        let Some((outer, offset)) = padded(layout) else { return std::ptr::null_mut() };
        // SAFETY: `outer` is at least a header long.
        let start = unsafe { System.alloc(outer) };
        if start.is_null() {
            return start;
        }
        Account::of(layout).add(1, layout.size());
        // SAFETY: `offset` is at least a header and lies within `outer`, whose alignment is the header's or more.
        unsafe {
            let block = start.add(offset);
            let header = Header { size: layout.size(), align_and_seal: layout.align() | SEAL };
            block.cast::<Header>().sub(1).write(header);
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some((outer, offset)) = padded(layout) else { std::process::abort() };
        // SAFETY: `block` came from `alloc`, which wrote the header in front of it.
        let header = unsafe { block.cast::<Header>().sub(1).read() };
        if header != (Header { size: layout.size(), align_and_seal: layout.align() | SEAL }) {
            // No formatting here: it may allocate, and the heap is not to be trusted any more.
            std::process::abort();
        }
        Account::of(layout).add(-1, layout.size());
        // SAFETY: as above; the seal is broken so that a second free is seen. The header says that `layout`, and with
        // it `outer` and `offset`, are those of the allocation.
        unsafe {
            block.cast::<Header>().sub(1).write(Header { size: 0, align_and_seal: 0 });
            System.dealloc(block.sub(offset), outer);
        }
    }
}
