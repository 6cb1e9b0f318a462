//! A get whose buffer the allocator refuses.

use std::io::ErrorKind;
use std::sync::Arc;

use bounded_pool::BoundedPool;
use bytebufferpool::{MAX_CLASS_SIZE, Pool};

#[path = "../../../tests/support/stress_alloc.rs"]
mod stress_alloc;

#[global_allocator]
static LEDGER: stress_alloc::Ledger = stress_alloc::Ledger;

#[test]
fn a_get_that_finds_no_memory_is_an_error_and_holds_nothing() {
    let inner = Arc::new(Pool::new());
    let pool = BoundedPool::new(Arc::clone(&inner), MAX_CLASS_SIZE + 1);
    for bytes_max in [1000, 100_000, MAX_CLASS_SIZE + 1] {
        let (result, is_refused) = stress_alloc::failing_after(0, || pool.get_blocking(bytes_max));
        assert!(is_refused);
        assert_eq!(result.expect_err("there was no memory").kind(), ErrorKind::OutOfMemory);
        assert_eq!((pool.in_flight_bytes(), inner.stats().gets), (0, 0));
    }
    assert!(pool.get_blocking(MAX_CLASS_SIZE).is_ok());
}
