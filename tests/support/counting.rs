//! A global allocator that counts, per thread and for the whole process, and checks every block that comes back.
//!
//! Each block carries a header with the size and alignment it was asked with and a stamp; a block that is freed with
//! another layout, freed twice, or was never ours ends the process with a message. The counts are kept beside, so that
//! a test can say "no heap operation on this thread" while others run.
//!
//! Use it in a test binary of its own:
//!
//! ```ignore
//! #[path = "support/counting.rs"]
//! mod counting;
//! #[global_allocator]
//! static HEAP: counting::Counting = counting::Counting;
//! ```
#![allow(unsafe_code, dead_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The allocator: `System` with a ledger.
pub struct Counting;

/// Heap operations, of a thread or of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    pub allocations: u64,
    pub frees: u64,
    /// Counted as neither of the others.
    pub reallocations: u64,
    pub allocated_bytes: u64,
}

impl Operations {
    pub const NONE: Operations = Operations { allocations: 0, frees: 0, reallocations: 0, allocated_bytes: 0 };

    pub fn since(self, before: Operations) -> Operations {
        Operations {
            allocations: self.allocations - before.allocations,
            frees: self.frees - before.frees,
            reallocations: self.reallocations - before.reallocations,
            allocated_bytes: self.allocated_bytes - before.allocated_bytes,
        }
    }
}

/// What this thread did to the heap since it began.
pub fn of_this_thread() -> Operations {
    THREAD.with(Cell::get)
}

/// What `work` did to the heap on this thread.
pub fn during(work: impl FnOnce()) -> Operations {
    let before = of_this_thread();
    work();
    of_this_thread().since(before)
}

/// Blocks that are live in the process.
pub fn live_blocks() -> i64 {
    LIVE_BLOCKS.load(Ordering::SeqCst)
}

/// Bytes that are live in the process, as asked for.
pub fn live_bytes() -> i64 {
    LIVE_BYTES.load(Ordering::SeqCst)
}

/// Allocations and reallocations of the process since its start.
pub fn process_allocations() -> u64 {
    PROCESS_ALLOCATIONS.load(Ordering::SeqCst)
}

thread_local! {
    // No destructor, no lazy part: an allocator may touch it at any time of a thread's life.
    static THREAD: Cell<Operations> = const { Cell::new(Operations::NONE) };
}

static LIVE_BLOCKS: AtomicI64 = AtomicI64::new(0);
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);
static PROCESS_ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    size: usize,
    align: usize,
    stamp: usize,
}

const LIVE: usize = 0x6c69_7665_6c69_7665_u64 as usize;
const FREED: usize = 0x6672_6565_6672_6565_u64 as usize;

/// The block with its header in front, and where in it the user's part begins.
fn with_header(layout: Layout) -> Option<(Layout, usize)> {
    let align = layout.align().max(align_of::<Header>());
    let offset = size_of::<Header>().next_multiple_of(align);
    let size = layout.size().checked_add(offset)?;
    Some((Layout::from_size_align(size, align).ok()?, offset))
}

fn note(change: impl FnOnce(&mut Operations)) {
    // Late in a thread's life there may be none left; the process's figures still count.
    let _ = THREAD.try_with(|operations| {
        let mut now = operations.get();
        change(&mut now);
        operations.set(now);
    });
}

fn complain(what: &str, layout: Layout, header: Header) -> ! {
    // Printing allocates; what is wrong here cannot be worse for it.
    eprintln!(
        "heap ledger: {what}: given back as size {} align {}, was size {} align {} stamp {:x}",
        layout.size(),
        layout.align(),
        header.size,
        header.align,
        header.stamp
    );
    std::process::abort();
}

/// Checks the header in front of `block` and returns the address of the whole block.
///
/// # Safety
///
/// `block` came from this allocator and was not freed to the system since.
unsafe fn checked(block: *mut u8, layout: Layout, offset: usize) -> *mut u8 {
    // SAFETY: the caller's block has `offset` bytes in front of it, the last of which are a header.
    let header = unsafe { block.sub(size_of::<Header>()).cast::<Header>().read_unaligned() };
    if header.stamp == FREED {
        complain("freed twice", layout, header);
    }
    if header.stamp != LIVE {
        complain("never allocated here, or written over", layout, header);
    }
    if header.size != layout.size() || header.align != layout.align() {
        complain("another layout", layout, header);
    }
    // SAFETY: as above.
    unsafe { block.sub(offset) }
}

/// Writes the header and returns the user's part.
///
/// # Safety
///
/// `whole` is a block of at least `offset` bytes that nobody else uses.
unsafe fn stamped(whole: *mut u8, layout: Layout, offset: usize) -> *mut u8 {
    // SAFETY: `offset` is at least a header's size and lies within the block.
    unsafe {
        let block = whole.add(offset);
        let header = Header { size: layout.size(), align: layout.align(), stamp: LIVE };
        block.sub(size_of::<Header>()).cast::<Header>().write_unaligned(header);
        block
    }
}

// SAFETY: every block is one of `System` with a header in front; the user's part begins at a multiple of the alignment
// and has the size that was asked for; what `System` refuses is refused.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises, passed on.
        unsafe { allocate(layout, |whole| System.alloc(whole)) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises, passed on.
        unsafe { allocate(layout, |whole| System.alloc_zeroed(whole)) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some((whole_layout, offset)) = with_header(layout) else { std::process::abort() };
        // SAFETY: the caller frees a block of ours; it is checked first.
        unsafe {
            let whole = checked(block, layout, offset);
            let freed = Header { size: layout.size(), align: layout.align(), stamp: FREED };
            block.sub(size_of::<Header>()).cast::<Header>().write_unaligned(freed);
            System.dealloc(whole, whole_layout);
        }
        LIVE_BLOCKS.fetch_sub(1, Ordering::SeqCst);
        LIVE_BYTES.fetch_sub(layout.size() as i64, Ordering::SeqCst);
        note(|operations| operations.frees += 1);
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some((whole_layout, offset)) = with_header(layout) else { std::process::abort() };
        let Ok(new_layout) = Layout::from_size_align(size, layout.align()) else { return std::ptr::null_mut() };
        let Some((new_whole, _)) = with_header(new_layout) else { return std::ptr::null_mut() };
        // SAFETY: the caller gives a block of ours; it is checked first, and moves with its header.
        let moved = unsafe {
            let whole = checked(block, layout, offset);
            let moved = System.realloc(whole, whole_layout, new_whole.size());
            if moved.is_null() {
                return moved;
            }
            stamped(moved, new_layout, offset)
        };
        LIVE_BYTES.fetch_add(size as i64 - layout.size() as i64, Ordering::SeqCst);
        PROCESS_ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        note(|operations| {
            operations.reallocations += 1;
            operations.allocated_bytes += size.saturating_sub(layout.size()) as u64;
        });
        moved
    }
}

/// # Safety
///
/// As for `GlobalAlloc::alloc`.
unsafe fn allocate(layout: Layout, system: impl FnOnce(Layout) -> *mut u8) -> *mut u8 {
    let Some((whole_layout, offset)) = with_header(layout) else { return std::ptr::null_mut() };
    let whole = system(whole_layout);
    if whole.is_null() {
        return whole;
    }
    LIVE_BLOCKS.fetch_add(1, Ordering::SeqCst);
    LIVE_BYTES.fetch_add(layout.size() as i64, Ordering::SeqCst);
    PROCESS_ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
    note(|operations| {
        operations.allocations += 1;
        operations.allocated_bytes += layout.size() as u64;
    });
    // SAFETY: the block is fresh and has `offset` bytes in front of the user's part.
    unsafe { stamped(whole, layout, offset) }
}
