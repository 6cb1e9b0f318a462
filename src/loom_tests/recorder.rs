//! Recording: begun, used and ended at once.

use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use loom::sync::Arc;

use super::support::{builder, check, spawn};
use crate::Pool;
use crate::recorder::{Recorder, Stripes};

/// Enough that nobody waits: the writer of a model only reads when all is over.
const CHUNKS: usize = 8;

/// What came to the writer; it must have been let go of, or a recording would never end.
fn received(chunks: &Receiver<Vec<usize>>) -> Vec<usize> {
    let mut sizes = Vec::new();
    loop {
        match chunks.try_recv() {
            Ok(chunk) => sizes.extend(chunk),
            Err(TryRecvError::Disconnected) => return sizes,
            Err(TryRecvError::Empty) => panic!("somebody still holds on to the writer"),
        }
    }
}

/// As for a thread at full speed: nothing but a new stamp makes it look.
fn allow_many_uses(pool: &Pool) {
    pool.op();
    if let Some(local) = pool.per_thread.local(pool.per_thread.stamp()) {
        local.set_left(local.pace.allow(100));
    }
}

/// A pool is used by one thread while another begins to record it. If the user has come to work under the new stamp, and so
/// looks at nothing more, its next use is written; and so is every use that begins after the recording did. Both threads
/// used the pool before, and need not look at it again for many calls.
#[test]
fn who_sees_the_stamp_is_recorded() {
    check(Some(3), || {
        let pool = Arc::new(builder().build());
        // The first one puts a buffer where others find it, after which everybody looks.
        drop(pool.get_with_capacity(190));
        allow_many_uses(&pool);
        (0..2).for_each(|_| drop(pool.get_with_capacity(190)));
        let (full, chunks) = sync_channel(CHUNKS);
        let starter = {
            let pool = Arc::clone(&pool);
            spawn(move || {
                let recorder = pool.recorder();
                assert!(recorder.open());
                pool.start_recording(&*recorder, &full);
            })
        };
        let user = {
            let pool = Arc::clone(&pool);
            spawn(move || {
                allow_many_uses(&pool);
                let old = pool.per_thread.stamp();
                drop(pool.get_with_capacity(70));
                pool.op();
                let noticed =
                    pool.per_thread.stamp() != old && pool.per_thread.local(pool.per_thread.stamp()).is_some();
                drop(pool.get_with_capacity(100));
                noticed
            })
        };
        starter.join().unwrap();
        let noticed = user.join().unwrap();
        drop(pool.get_with_capacity(200));
        assert_eq!(pool.recorder().stop(), 0);
        pool.recorder().close();
        let sizes = received(&chunks);
        assert!([&[200][..], &[100, 200], &[70, 100, 200]].contains(&sizes.as_slice()), "{sizes:?}");
        assert!(!noticed || sizes.contains(&100), "a new stamp is seen before what it stands for");
    });
}

/// Two threads note uses on one stripe while a third ends the recording. What each noted is written from its beginning,
/// in order, without a gap, once; and all of it if the recording ended later.
#[test]
fn what_is_noted_is_written_once_and_in_order() {
    check(Some(3), || {
        let pool = Arc::new(builder().build());
        let recorder = Arc::new(Stripes::new());
        let (full, chunks) = sync_channel(CHUNKS);
        assert!(recorder.open());
        pool.start_recording(&*recorder, &full);
        drop(full);
        let users = [10, 20].map(|first| {
            let recorder = Arc::clone(&recorder);
            spawn(move || (first..first + 2).for_each(|size| recorder.note(size, 0)))
        });
        let stopper = {
            let recorder = Arc::clone(&recorder);
            spawn(move || {
                let lost = recorder.stop();
                recorder.close();
                lost
            })
        };
        assert_eq!(stopper.join().unwrap(), 0);
        let sizes = received(&chunks);
        for user in users {
            user.join().unwrap();
        }
        for first in [10, 20] {
            let own: Vec<usize> = sizes.iter().copied().filter(|size| size / 10 == first / 10).collect();
            assert!([&[][..], &[first], &[first, first + 1]].contains(&own.as_slice()), "{sizes:?}");
        }
        assert_eq!(recorder.stop(), 0, "nothing is noted any more");
    });
}

/// One thread ends a recording whose writer is gone, another begins the next as soon as it may, notes a use, and ends it.
/// Each says what it lost itself.
#[test]
fn a_recording_counts_its_own_losses() {
    check(None, || {
        let pool = Arc::new(builder().build());
        let recorder = Arc::new(Stripes::new());
        let begin = |pool: &Pool, recorder: &dyn Recorder| {
            // The writer is gone.
            let (full, _) = sync_channel(CHUNKS);
            pool.start_recording(recorder, &full);
        };
        assert!(recorder.open());
        begin(&pool, &*recorder);
        (1..=3).for_each(|size| recorder.note(size, 0));
        let first = {
            let recorder = Arc::clone(&recorder);
            spawn(move || {
                let lost = recorder.stop();
                recorder.close();
                lost
            })
        };
        let [second, third] = [(); 2].map(|()| {
            let (pool, recorder) = (Arc::clone(&pool), Arc::clone(&recorder));
            spawn(move || {
                if !recorder.open() {
                    return None;
                }
                begin(&pool, &*recorder);
                recorder.note(4, 0);
                let lost = recorder.stop();
                recorder.close();
                Some(lost)
            })
        });
        assert_eq!(first.join().unwrap(), 3);
        for next in [second, third] {
            assert!([None, Some(1)].contains(&next.join().unwrap()), "one recording at a time");
        }
    });
}
