//! Feature `leak-trace`: every way to begin and to end a guard is traced.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use bytebufferpool::{Pool, PooledBuf};

fn pool() -> Arc<Pool> {
    Arc::new(Pool::builder().leak_sample_every(1).build())
}

/// The lines of this file at which the outstanding guards were made, with their numbers.
fn lines(pool: &Pool) -> Vec<(u32, u64)> {
    let report = pool.outstanding_report();
    assert!(report.sites.iter().all(|site| site.location.file() == file!()), "{report}");
    let mut lines: Vec<_> = report.sites.iter().map(|site| (site.location.line(), site.traced)).collect();
    lines.sort_unstable();
    lines
}

#[track_caller]
fn line() -> u32 {
    Location::caller().line()
}

#[test]
fn every_get_notes_the_line_of_its_caller_cold_and_warm() {
    let pool = pool();
    for round in 0..3 {
        let begin = line();
        let a = pool.get();
        let b = pool.get_with_capacity(100_000);
        let c = pool.try_get_with_capacity(10).unwrap();
        let d = pool.get_owned();
        let e = pool.get_owned_with_capacity(20);
        let f = pool.try_get_owned_with_capacity(30).unwrap();
        assert_eq!(lines(&pool), (1..=6).map(|n| (begin + n, 1)).collect::<Vec<_>>(), "round {round}");
        drop((a, b, c, d, e, f));
        assert_eq!(lines(&pool), []);
    }
}

#[test]
fn every_end_ends_the_trace() {
    let pool = pool();
    let ends: [fn(PooledBuf<Arc<Pool>>); 5] = [
        |buf| drop(buf),
        |buf| drop(buf.into_vec()),
        |buf| buf.discard(),
        |buf| drop(std::thread::spawn(move || drop(buf)).join()),
        |buf| {
            let frozen = buf.freeze();
            drop((frozen.clone(), frozen));
        },
    ];
    for end in ends {
        let mut buf = pool.get_owned();
        buf.resize(100_000, 1);
        assert_eq!(lines(&pool).len(), 1, "growth changes nothing");
        end(buf);
        assert_eq!(lines(&pool), []);
    }
    let frozen = pool.get_owned().freeze();
    assert_eq!(lines(&pool).len(), 1);
    drop(frozen);
    assert_eq!(lines(&pool), []);
}

#[test]
fn the_report_counts_by_site_with_ages_and_prints_them() {
    let pool = pool();
    // Not forgotten, which a leak check would find.
    let lost = pool.get();
    std::thread::sleep(Duration::from_millis(20));
    let held: Vec<_> = (0..3).map(|_| pool.get()).collect();
    let report = pool.outstanding_report();
    assert_eq!((report.outstanding, report.sample_every, report.sites.len()), (4, 1, 2));
    let [most, forgotten] = [report.sites[0], report.sites[1]];
    assert_eq!((most.traced, forgotten.traced), (3, 1));
    assert!(forgotten.oldest >= Duration::from_millis(20) && forgotten.oldest > most.oldest);
    assert!(most.oldest >= most.youngest);
    let text = report.to_string();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains(&format!("{}:{}:", file!(), forgotten.location.line())), "{text}");
    drop((held, lost));
}

#[test]
fn one_in_so_many_is_traced() {
    let pool = Pool::builder().leak_sample_every(10).build();
    let held: Vec<_> = (0..10_000).map(|_| pool.get()).collect();
    let traced = pool.outstanding_report().sites[0].traced;
    assert!((800..1200).contains(&traced), "{traced} of 10 000");
    drop(held);
    assert!(pool.outstanding_report().sites.is_empty());

    let none = Pool::builder().leak_sample_every(0).build();
    let held = none.get();
    assert!(none.outstanding_report().sites.is_empty());
    drop(held);
}
