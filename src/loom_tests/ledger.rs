//! What the models count beside the pool: bytes charged, leased and idle, and memory freed.
//!
//! loom runs the threads of a model one at a time on one operating system thread, so plain cells hold what really
//! happened in the order in which it did, and add no ordering that loom could see.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use loom::cell::UnsafeCell;

use crate::class::{MAX_CLASS_SIZE, MIN_CLASS_SIZE};

thread_local! {
    static CHARGED: Cell<usize> = const { Cell::new(0) };
    static LEASED: Cell<usize> = const { Cell::new(0) };
    static IDLE: Cell<usize> = const { Cell::new(0) };
    static QUARANTINE: Cell<*mut Freed> = const { Cell::new(ptr::null_mut()) };
    static FREED_TWICE: Cell<bool> = const { Cell::new(false) };
    /// Whether idle bytes are compared with the charged ones: a part that is modelled without a budget charges nothing.
    static BUDGETED: Cell<bool> = const { Cell::new(false) };
}

/// An interleaving begins.
pub(crate) fn begin() {
    BUDGETED.set(false);
    CHARGED.set(0);
    LEASED.set(0);
    IDLE.set(0);
    empty_quarantine();
}

/// An interleaving ended and its pools are gone.
pub(crate) fn end() {
    assert_eq!(IDLE.get(), 0, "every idle buffer was freed with its pool");
    assert!(!FREED_TWICE.get(), "no buffer was freed twice");
}

pub(crate) fn charged(bytes: usize, bytes_max: usize) {
    CHARGED.set(CHARGED.get() + bytes);
    assert!(CHARGED.get() <= bytes_max, "charged {} of {bytes_max} bytes", CHARGED.get());
}

pub(crate) fn released(bytes: usize) {
    CHARGED.set(CHARGED.get().checked_sub(bytes).expect("a charge is released once"));
    check_idle();
}

pub(crate) fn leased(bytes: usize) {
    LEASED.set(LEASED.get() + bytes);
}

pub(crate) fn unleased(bytes: usize) {
    LEASED.set(LEASED.get().checked_sub(bytes).expect("a lease ends once"));
}

pub(crate) fn leased_bytes() -> usize {
    LEASED.get()
}

pub(crate) fn laid_down(bytes: usize) {
    IDLE.set(IDLE.get() + bytes);
    check_idle();
}

pub(crate) fn picked_up(bytes: usize) {
    IDLE.set(IDLE.get().checked_sub(bytes).expect("a buffer comes out once"));
}

pub(crate) fn charged_bytes() -> usize {
    CHARGED.get()
}

pub(crate) fn idle_bytes() -> usize {
    IDLE.get()
}

pub(crate) fn compare_with_budget(compare: bool) {
    BUDGETED.set(compare);
}

fn check_idle() {
    assert!(
        !BUDGETED.get() || IDLE.get() <= CHARGED.get(),
        "{} bytes lie idle and {} are charged",
        IDLE.get(),
        CHARGED.get()
    );
}

/// The contents of buffers, as loom sees them: a cell for each address. Every use of a buffer writes its cell, and loom
/// fails the model if two uses overlap or the later one has not seen the earlier.
#[derive(Clone, Default)]
pub(crate) struct Contents(Arc<Mutex<HashMap<usize, Arc<Content>>>>);

struct Content(UnsafeCell<()>);

// SAFETY: nothing is in it; loom checks the accesses.
unsafe impl Sync for Content {}

impl Contents {
    pub(crate) fn write(&self, buffer: &[u8]) {
        let address = buffer.as_ptr().addr();
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = Arc::clone(cells.entry(address).or_insert_with(|| Arc::new(Content(UnsafeCell::new(())))));
        drop(cells);
        cell.0.with_mut(|_| ());
    }
}

/// Keeps buffers that a model frees until the next interleaving: so an address stands for one buffer, and a buffer that
/// is freed twice is noticed.
struct Quarantine;

#[global_allocator]
static QUARANTINE_ALLOCATOR: Quarantine = Quarantine;

#[repr(C)]
struct Freed {
    next: *mut Freed,
    size: usize,
    mark: usize,
}

const MARK: usize = 0x5eed_f00d_dead_beef;

fn is_buffer(layout: Layout) -> bool {
    layout.align() == 1 && layout.size().is_power_of_two() && (MIN_CLASS_SIZE..=MAX_CLASS_SIZE).contains(&layout.size())
}

// SAFETY: `System`'s memory, freed later than asked for, or never.
unsafe impl GlobalAlloc for Quarantine {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Room and alignment for a `Freed`, whatever is asked for.
        // SAFETY: the caller's promise.
        let memory = unsafe { System.alloc(real(layout)) };
        if is_buffer(layout) && !memory.is_null() {
            // SAFETY: at least 64 bytes with the alignment of `Freed`.
            unsafe { memory.cast::<Freed>().write(Freed { next: ptr::null_mut(), size: 0, mark: 0 }) };
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if !is_buffer(layout) {
            // SAFETY: the caller's promise.
            return unsafe { System.dealloc(memory, layout) };
        }
        let freed = memory.cast::<Freed>();
        // SAFETY: `memory` is ours and at least 64 bytes long; `alloc` wrote the bytes that are read here.
        if unsafe { (*freed).mark } == MARK {
            FREED_TWICE.set(true);
            return;
        }
        // SAFETY: as above; nobody uses it any more.
        unsafe { freed.write(Freed { next: QUARANTINE.get(), size: layout.size(), mark: MARK }) };
        QUARANTINE.set(freed);
    }
}

fn real(layout: Layout) -> Layout {
    if is_buffer(layout) { layout.align_to(align_of::<Freed>()).unwrap_or(layout) } else { layout }
}

fn empty_quarantine() {
    let mut next = QUARANTINE.replace(ptr::null_mut());
    while !next.is_null() {
        // SAFETY: `dealloc` put it here, and nobody else has it.
        let freed = unsafe { next.read() };
        if let Ok(layout) = Layout::from_size_align(freed.size, 1) {
            // SAFETY: `alloc` got it with this layout.
            unsafe { System.dealloc(next.cast(), real(layout)) };
        }
        next = freed.next;
    }
}
