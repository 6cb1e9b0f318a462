//! What a thread takes of the budget for its cache, before it fills it, and what it hands on.

use crate::class::size_of_class;
use crate::storage::{BATCH_SLOTS, SMALL_CLASSES, slots_max};
use crate::{MIN_CLASS_SIZE, Pool};

/// Gets `count` buffers of `class` and returns them.
fn fill(pool: &Pool, class: usize, count: usize) {
    drop((0..count).map(|_| pool.get_with_capacity(size_of_class(class))).collect::<Vec<_>>());
}

#[test]
fn a_thread_that_uses_a_class_once_takes_4_kib_of_the_budget_or_one_buffer() {
    for class in 0..SMALL_CLASSES {
        let pool = Pool::new();
        fill(&pool, class, 1);
        let expected = (4 << 10).max(size_of_class(class)).min(slots_max(class) * size_of_class(class));
        assert_eq!(pool.leased_bytes(), [expected], "class {class}");
        assert_eq!(pool.charged_bytes(), expected, "class {class}");
    }
}

/// So that a thread that needs a full stack takes it in a few steps, and one that does not leaves the rest to others.
#[test]
fn a_lease_that_is_used_up_doubles_until_the_stack_is_full() {
    const CLASS: usize = 4;
    let pool = Pool::new();
    let slots = [1, 5, 9, 17, 33, 62].map(|count| {
        fill(&pool, CLASS, count);
        pool.leased_bytes()[0] / size_of_class(CLASS)
    });
    assert_eq!(slots, [4, 8, 16, 32, 62, 62]);
}

/// Where the budget has no room for so many, one slot is enough for the buffer at hand.
#[test]
fn a_lease_that_cannot_double_takes_one_slot() {
    const BUFFERS: usize = 100;
    let pool = Pool::builder().thread_cache_bytes_max(70 * MIN_CLASS_SIZE).build();
    fill(&pool, 1, 1);
    assert_eq!(pool.leased_bytes(), [32 * size_of_class(1)]);
    fill(&pool, 0, BUFFERS);
    assert_eq!(pool.leased_bytes(), [70 * MIN_CLASS_SIZE], "six slots of 64 B, one after the other");
}

/// Also when buffers came to the shared part, where what the cache has no room for would go at once.
#[test]
fn a_small_buffer_stays_with_its_thread_while_the_lease_can_grow() {
    let pool = Pool::new();
    fill(&pool, SMALL_CLASSES, 1);
    for count in [1, 5, 9] {
        fill(&pool, 4, count);
        assert_eq!(cached_by_threads(&pool, 4), count);
    }
}

/// At once and not one by one, and the buffers that were used last stay.
#[test]
fn a_full_stack_hands_its_half_or_a_batch_to_the_shared_part() {
    for class in 0..SMALL_CLASSES {
        let (pool, slots) = (Pool::builder().thread_cache_bytes_max(usize::MAX).build(), slots_max(class));
        fill(&pool, class, slots);
        assert_eq!(cached_by_threads(&pool, class), slots, "class {class}");
        fill(&pool, class, slots + 1);
        assert_eq!(cached_by_threads(&pool, class), slots - (slots / 2).min(BATCH_SLOTS) + 1, "class {class}");
        assert_eq!(pool.stats().retained_buffers, slots as u64 + 1, "class {class}");
    }
}

/// So that one exchange serves many uses; as many as the stack has slots, or its thread's part of the budget allows.
#[test]
fn a_get_from_the_shared_part_brings_a_batch_to_its_thread() {
    for (class, held, cache, expected) in [
        (4, 0, 128 << 10, BATCH_SLOTS - 1),
        // With a lease of 4 slots already.
        (4, 1, 128 << 10, BATCH_SLOTS - 1),
        // Whose thread may not lease 14 slots, and so keeps those that it has.
        (4, 1, 13 << 10, 4),
        (4, 0, 13 << 10, 0),
        (SMALL_CLASSES - 1, 0, usize::MAX, slots_max(SMALL_CLASSES - 1)),
        (SMALL_CLASSES - 1, 1, usize::MAX, slots_max(SMALL_CLASSES - 1)),
    ] {
        let (pool, size) = (Pool::builder().thread_cache_bytes_max(cache).build(), size_of_class(class));
        fill(&pool, class, held);
        let mut in_use: Vec<_> = (0..held).map(|_| pool.get_with_capacity(size)).collect();
        assert_eq!(pool.prefill(size, BATCH_SLOTS), BATCH_SLOTS);
        in_use.push(pool.get_with_capacity(size));
        let what = format!("{held} of class {class} held, {cache} bytes for a thread's cache");
        assert_eq!((pool.stats().hits, cached_by_threads(&pool, class)), (held as u64 + 1, expected), "{what}");
        assert_eq!(pool.leased_bytes(), [expected * size], "{what}");
        assert_eq!((pool.charged_bytes(), pool.stats().retained_bytes), (14 * size, 14 * size), "{what}");
    }
}

fn cached_by_threads(pool: &Pool, class: usize) -> usize {
    pool.shared().shards.iter().map(|shard| shard.retained(class)).sum()
}
