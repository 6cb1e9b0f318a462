//! A pool's stamp changes after what it stands for: sizes and trim intervals.

use loom::sync::Arc;

use super::support::{builder, check, spawn};
use crate::learn::epoch::Epoch;

/// One thread lets a trim interval pass; another operates at the same time. If it then works under the new stamp, and
/// so looks at nothing more, it has acted on the new interval.
#[test]
fn a_thread_that_sees_the_stamp_sees_the_policy() {
    check(Some(3), || {
        let pool = Arc::new(builder().build());
        let trimmer = {
            let pool = Arc::clone(&pool);
            spawn(move || {
                pool.trim();
            })
        };
        let user = {
            let pool = Arc::clone(&pool);
            spawn(move || {
                drop(pool.get());
                let old = pool.per_thread.stamp();
                drop(pool.get());
                pool.op();
                let stamp = pool.per_thread.stamp();
                let local = pool.per_thread.local(stamp);
                (stamp != old, local.map(|local| Epoch::from_word(local.epoch_seen.get()).interval()))
            })
        };
        trimmer.join().unwrap();
        if let (true, Some(epoch)) = user.join().unwrap() {
            assert_eq!(epoch, 2, "a new stamp is seen before what it stands for");
        }
    });
}
