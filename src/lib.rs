//! A pool of byte buffers that learns its sizes.

use std::collections::TryReserveError;

mod buf;
mod buf_mut;
mod builder;
mod calibration;
mod class;
mod locked;
mod pool;
mod stats;
#[cfg(test)]
mod tests;
mod usage;

pub use buf::PooledBuf;
pub use builder::{BuildError, Builder, Growth};
pub use calibration::DefaultSize;
pub use class::{CLASSES, MAX_CLASS_SIZE, MIN_CLASS_SIZE};
pub use pool::Pool;
pub use stats::{ClassStats, Dropped, Stats};

static GLOBAL: Pool = Pool::new();

/// An empty buffer from the process-wide pool, as in Go.
pub fn get() -> PooledBuf {
    GLOBAL.get()
}

/// Donates a `Vec` to the process-wide pool.
pub fn put(buffer: Vec<u8>) {
    GLOBAL.put(buffer);
}

/// The process-wide pool.
#[must_use]
pub fn global() -> &'static Pool {
    &GLOBAL
}

/// A growth that follows the calibrated max size jumps no further than this, in bytes.
const GROWTH_JUMP_SIZE_MAX: usize = 1 << 20;

fn allocate(capacity: usize) -> Result<Vec<u8>, TryReserveError> {
    let capacity = if capacity > MAX_CLASS_SIZE { capacity } else { class::size_of_class(class::class_of(capacity)) };
    let mut vec = Vec::new();
    vec.try_reserve_exact(capacity)?;
    Ok(vec)
}
