//! Recordings that begin and end beside uses.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use super::support::{BUDGET, SMALL, builder, check, join_all, spawn};
use crate::Pool;
use crate::recorder::Recorder;

/// Enough that nobody waits.
const CHUNKS: usize = 64;

/// More uses than any thread has here.
const STEP: usize = 100;

fn use_once(pool: &Pool, size: usize) {
    pool.get_with_capacity(SMALL).resize(SMALL + size, 1);
}

/// What came to the writer; it must have been let go of, or a recording would never end.
fn received(chunks: Receiver<Vec<usize>>) -> Vec<usize> {
    let sizes = chunks.try_iter().flatten().collect();
    assert_eq!(chunks.try_recv(), Err(TryRecvError::Disconnected), "somebody still holds on to the writer");
    sizes
}

/// Records the pool beside its users, with two uses of this thread's own.
fn record(pool: &Pool, recorder: &dyn Recorder, own: usize) -> Receiver<Vec<usize>> {
    let (full, chunks) = sync_channel(CHUNKS);
    assert!(recorder.open());
    pool.start_recording(recorder, &full);
    use_once(pool, own);
    use_once(pool, own + 1);
    drop(full);
    assert_eq!(recorder.stop(), 0, "nothing is lost");
    recorder.close();
    chunks
}

/// Three threads use a pool; a fourth records it, twice. Each recording has the uses that this thread made meanwhile, and
/// of each other thread a run of its uses without a gap, in order, and none twice.
#[test]
fn each_use_is_written_once_in_its_threads_order() {
    check(BUDGET, || {
        let pool = Arc::new(builder().build());
        let users = [1, 2, 3].map(|user| {
            let pool = Arc::clone(&pool);
            spawn(move || (0..8).for_each(|turn| use_once(&pool, user * STEP + turn)))
        });
        let recorder = {
            let pool = Arc::clone(&pool);
            spawn(move || {
                // As many uses again may then pass before this thread looks by itself: it is the new stamp that it must see.
                (0..8).for_each(|_| use_once(&pool, 50));
                let recorder = pool.recorder();
                let first = record(&pool, &*recorder, 0);
                [first, record(&pool, &*recorder, 10)]
            })
        };
        join_all(users);
        let recordings: Vec<Vec<usize>> = join_all([recorder]).into_iter().flatten().map(received).collect();
        for (sizes, own) in recordings.iter().zip([0, 10]) {
            let of = |user| sizes.iter().filter(move |&&size| (size - SMALL) / STEP == user).copied();
            assert_eq!(of(0).collect::<Vec<_>>(), [SMALL + own, SMALL + own + 1], "{recordings:?}");
            for user in 1..=3 {
                assert!(of(user).zip(of(user).skip(1)).all(|(one, next)| next == one + 1), "{recordings:?}");
            }
        }
        let all: Vec<usize> = recordings.concat();
        assert!(all.iter().all(|size| all.iter().filter(|other| *other == size).count() == 1), "{recordings:?}");
    });
}
