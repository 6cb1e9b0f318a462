//! Structures that are built in place: allocated zeroed, all zeros being their first state.
//!
//! A value that is built and then boxed is first built on the stack, in debug builds several times. A thread may have a
//! stack of no more than 16 KiB.

#[cfg(not(pool_loom))]
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
#[cfg(not(pool_loom))]
use std::ptr::NonNull;

use crate::learn::counters::Counters;

/// A type whose first state is all zeros.
///
/// # Safety
///
/// All zeros are a valid value of the type, and the type is not zero-sized.
pub(crate) unsafe trait Zeroed: Sized {
    /// A new value, on the heap. Memory exhaustion aborts, as with `Box::new`.
    #[cfg(not(pool_loom))]
    fn boxed() -> Box<Self> {
        const { assert!(size_of::<Self>() > 0) };
        let layout = Layout::new::<Self>();
        // SAFETY: the layout's size is not zero, asserted above.
        let memory = unsafe { alloc_zeroed(layout) }.cast::<Self>();
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
        // SAFETY: the memory comes from the global allocator with the layout of `Self`, is owned by nobody else, and
        // holds zeros, a valid value by the trait's contract.
        unsafe { Box::from_raw(memory.as_ptr()) }
    }

    /// loom's atomics are not made of zeros.
    #[cfg(pool_loom)]
    fn boxed() -> Box<Self>
    where
        Self: Default,
    {
        Box::default()
    }
}

// SAFETY: zeros in atomic integers: nothing was counted.
unsafe impl Zeroed for Counters {}
