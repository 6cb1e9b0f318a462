//! A pool's stamp changes after what it stands for: sizes and trim intervals.

use loom::sync::Arc;

use super::support::{builder, check, spawn};
use crate::policy::Policy;

/// One thread lets a trim interval pass; another operates at the same time. If it then works under the new stamp, and
/// so looks at nothing more, it has acted on the new interval.
#[test]
fn a_thread_that_sees_the_stamp_sees_the_policy() {
    check(Some(3), || {
        let pool = Arc::new(builder().build());
        let user = {
            let pool = Arc::clone(&pool);
            spawn(move || {
                drop(pool.get());
                let old = pool.anchor.stamp();
                let trimmer = {
                    let pool = Arc::clone(&pool);
                    spawn(move || {
                        pool.trim();
                    })
                };
                pool.op();
                let stamp = pool.anchor.stamp();
                if let (true, Some(local)) = (stamp != old, pool.anchor.local(stamp)) {
                    assert_eq!(Policy::from_word(local.policy_seen.get()).epoch(), 1);
                }
                trimmer.join().unwrap();
                pool.op();
                let local = pool.anchor.local(pool.anchor.stamp()).expect("an operation attaches");
                assert_eq!(Policy::from_word(local.policy_seen.get()).epoch(), 1);
            })
        };
        user.join().unwrap();
    });
}
