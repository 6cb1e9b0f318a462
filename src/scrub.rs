//! A returned buffer is emptied, and its contents are made useless.
//!
//! In debug builds what was written is overwritten, so that a use of stale bytes shows. With the feature `zeroize` the
//! whole capacity is wiped, not only what the guard knows to be written: through `BufMut` and `as_vec_mut` a user can
//! write to the spare capacity. A wipe is ordinary writing, which runs at the speed of memory, followed by the crate
//! `zeroize`'s barrier, after which the compiler must assume that somebody looks. `zeroize()` itself writes byte by
//! byte.
//!
//! Every returned buffer goes through `scrub`, once. Two ways by which memory would leave a guard without it are closed
//! here: growth past the largest class, which without the feature is a `Vec`'s own reallocation, and its second try.

#[cfg(not(feature = "zeroize"))]
pub(crate) use plain::{reserve, scrub, try_reserve, try_reserve_exact};
#[cfg(feature = "zeroize")]
pub(crate) use wiping::{reserve, scrub, try_reserve, try_reserve_exact};

#[cfg(not(feature = "zeroize"))]
mod plain {
    use std::collections::TryReserveError;

    /// Empties a returned buffer. In debug builds overwrites its first `written` bytes, so that a use of stale bytes
    /// shows; not the untouched rest, which would commit pages.
    #[inline]
    pub(crate) fn scrub(vec: &mut Vec<u8>, written: usize) {
        if cfg!(debug_assertions) {
            // By slices, because `resize` goes byte by byte in debug builds.
            const STALE: [u8; 4096] = [0xDB; 4096];
            let written = written.min(vec.capacity());
            vec.clear();
            while vec.len() < written {
                vec.extend_from_slice(&STALE[..STALE.len().min(written - vec.len())]);
            }
            vec.clear();
        }
    }

    pub(crate) fn reserve(vec: &mut Vec<u8>, additional: usize) {
        vec.reserve(additional);
    }

    pub(crate) fn try_reserve(vec: &mut Vec<u8>, additional: usize) -> Result<(), TryReserveError> {
        vec.try_reserve(additional)
    }

    pub(crate) fn try_reserve_exact(vec: &mut Vec<u8>, additional: usize) -> Result<(), TryReserveError> {
        vec.try_reserve_exact(additional)
    }

    #[cfg(all(test, not(pool_loom), debug_assertions))]
    mod tests {
        use super::*;

        #[test]
        #[allow(unsafe_code)]
        fn what_was_written_is_overwritten_and_no_more() {
            for written in [0, 1, 4096, 5000, 10_000] {
                let mut vec = vec![7; 10_000];
                scrub(&mut vec, written);
                assert!(vec.is_empty());
                // SAFETY: all of it was written above.
                unsafe { vec.set_len(10_000) };
                assert!(vec[..written].iter().all(|&byte| byte == 0xDB), "{written} bytes");
                assert!(vec[written..].iter().all(|&byte| byte == 7), "{written} bytes");
            }
        }
    }
}

#[cfg(feature = "zeroize")]
mod wiping {
    use std::collections::TryReserveError;

    use zeroize::optimization_barrier;

    /// Empties a returned buffer, and wipes all of its capacity.
    pub(crate) fn scrub(vec: &mut Vec<u8>, _: usize) {
        #[cfg(test)]
        WIPES.set(WIPES.get() + 1);
        wipe(vec);
    }

    /// Empties `vec` and writes zeros over all of its memory.
    fn wipe(vec: &mut Vec<u8>) {
        vec.clear();
        // By slices, because `resize` goes byte by byte in debug builds.
        while vec.len() < vec.capacity() {
            let count = ZEROS.len().min(vec.capacity() - vec.len());
            vec.extend_from_slice(&ZEROS[..count]);
        }
        optimization_barrier(vec.as_slice());
        vec.clear();
    }

    /// `Vec::reserve`, but what it leaves behind is wiped. An allocator that refuses is asked once more.
    pub(crate) fn reserve(vec: &mut Vec<u8>, additional: usize) {
        if try_reserve(vec, additional).is_err() {
            let needed = vec.len().saturating_add(additional);
            move_to(Vec::with_capacity(needed), vec);
        }
    }

    const ZEROS: [u8; 4096] = [0; 4096];

    /// `Vec::try_reserve`, but what it leaves behind is wiped.
    pub(crate) fn try_reserve(vec: &mut Vec<u8>, additional: usize) -> Result<(), TryReserveError> {
        if additional <= vec.capacity() - vec.len() {
            return Ok(());
        }
        let mut larger = Vec::new();
        match vec.len().checked_add(additional) {
            // Twice as much, so that appending stays linear, as a `Vec` does.
            Some(needed) => larger.try_reserve_exact(needed.max(vec.capacity().saturating_mul(2)))?,
            // Fails, with the error that a `Vec` gives.
            None => return vec.try_reserve(additional),
        }
        move_to(larger, vec);
        Ok(())
    }

    /// `Vec::try_reserve_exact`, but what it leaves behind is wiped.
    pub(crate) fn try_reserve_exact(vec: &mut Vec<u8>, additional: usize) -> Result<(), TryReserveError> {
        let mut larger = Vec::new();
        larger.try_reserve_exact(vec.len().saturating_add(additional))?;
        move_to(larger, vec);
        Ok(())
    }

    fn move_to(mut larger: Vec<u8>, vec: &mut Vec<u8>) {
        larger.extend_from_slice(vec);
        wipe(vec);
        *vec = larger;
    }

    #[cfg(test)]
    thread_local! {
        static WIPES: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }

    #[cfg(all(test, not(pool_loom)))]
    mod tests {
        use super::*;
        use crate::Pool;

        /// (In the first edition a buffer that overflowed its stack was wiped a second time on its way to the shared
        /// part: 20 wipes for 10 drops.)
        #[test]
        fn a_buffer_that_comes_back_is_wiped_once_wherever_it_goes() {
            for (capacity, cache) in [(64, 128 << 10), (64, 0), (32 << 10, 128 << 10), (1 << 20, 128 << 10)] {
                let pool = Pool::builder().thread_cache_bytes_max(cache).build();
                let held: Vec<_> = (0..10).map(|_| pool.get_with_capacity(capacity)).collect();
                let before = WIPES.get();
                drop(held);
                assert_eq!(WIPES.get() - before, 10, "10 buffers of {capacity} bytes, caches of {cache}");
            }
        }

        #[test]
        fn a_wipe_covers_the_whole_capacity_and_empties() {
            for capacity in [0, 1, 4095, 4096, 10_000] {
                let mut vec = vec![7; capacity];
                wipe(&mut vec);
                assert_eq!((vec.len(), vec.capacity()), (0, capacity));
            }
        }

        #[test]
        fn a_reserve_keeps_the_contents_and_refuses_what_a_vec_refuses() {
            let mut vec = b"abc".to_vec();
            assert!(try_reserve(&mut vec, 10_000).is_ok());
            assert_eq!((vec.as_slice(), vec.capacity() >= 10_003), (&b"abc"[..], true));
            for additional in [usize::MAX, isize::MAX as usize] {
                assert_eq!(try_reserve(&mut vec, additional), b"abc".to_vec().try_reserve(additional));
            }
        }
    }
}
