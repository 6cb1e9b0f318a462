//! A ceiling that falls beside a put: who had not seen it may have put a buffer above it.

use loom::sync::Arc;

use super::support::{assert_balanced, builder, check, spawn};

/// A large class, and one that has a stack.
const LARGE: usize = 256;
const SMALL: usize = 64;

/// A thread uses large buffers while another lowers the ceiling below them. From the first thread's next operation on,
/// none lies idle and none is kept.
#[test]
fn nothing_is_cached_above_a_ceiling_that_its_thread_has_seen() {
    check(Some(2), || {
        let pool = Arc::new(builder().max_percentile(0.01).retained_bytes_max(4096).build());
        drop((pool.get_with_capacity(SMALL), pool.get_with_capacity(SMALL), pool.get_with_capacity(SMALL)));
        let calibrator = {
            let pool = Arc::clone(&pool);
            spawn(move || pool.calibrate())
        };
        let user = {
            let pool = Arc::clone(&pool);
            spawn(move || {
                drop(pool.get_with_capacity(LARGE));
                drop(pool.get_with_capacity(LARGE));
                calibrator.join().unwrap();
                assert_eq!(pool.max_size(), SMALL, "three calls against two");
                drop(pool.get_with_capacity(SMALL));
                let idle = |pool: &crate::Pool| {
                    pool.stats().classes.iter().filter(|row| row.size > SMALL).map(|row| row.retained).sum::<u64>()
                };
                assert_eq!(idle(&pool), 0, "the thread has seen the ceiling");
                drop(pool.get_with_capacity(LARGE));
                assert_eq!(idle(&pool), 0, "and nothing above the ceiling is kept");
            })
        };
        user.join().unwrap();
        assert_balanced(&pool.stats());
    });
}
