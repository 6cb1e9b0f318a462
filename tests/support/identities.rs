//! The identities of `Stats`, asserted.
// Each test binary that includes this file uses its part of it.
#![allow(dead_code)]

use bytebufferpool::{CLASSES, MIN_CLASS_SIZE, Stats};

/// Asserts everything that holds with no operation in flight.
#[track_caller]
pub fn assert_balanced(stats: &Stats, what: &str) {
    assert_eq!(stats.gets, stats.hits + stats.misses, "{what}: gets\n{stats}");
    assert_eq!(stats.gets, stats.puts + stats.detached + stats.outstanding, "{what}: loans\n{stats}");
    assert_eq!(
        stats.allocated + stats.donated,
        stats.retained_buffers + stats.outstanding + stats.detached + stats.dropped.total() + stats.trimmed,
        "{what}: one fate each\n{stats}"
    );
    let bytes: usize = stats.classes.iter().map(|class| class.size * class.retained as usize).sum();
    assert_eq!(stats.retained_bytes, bytes, "{what}: bytes\n{stats}");
    let buffers: u64 = stats.classes.iter().map(|class| class.retained).sum();
    assert_eq!(stats.retained_buffers, buffers, "{what}: buffers\n{stats}");
    assert_sizes(stats, what);
}

/// Asserts what holds at any instant.
#[track_caller]
pub fn assert_sizes(stats: &Stats, what: &str) {
    assert!(is_class_size(stats.default_size) && is_class_size(stats.max_size), "{what}: sizes\n{stats}");
    assert!(stats.default_size <= stats.max_size, "{what}: default above max\n{stats}");
    for (class, row) in stats.classes.iter().enumerate() {
        assert_eq!(row.size, MIN_CLASS_SIZE << class, "{what}");
    }
}

pub fn is_class_size(size: usize) -> bool {
    (0..CLASSES).any(|class| MIN_CLASS_SIZE << class == size)
}
