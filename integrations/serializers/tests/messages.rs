//! Every serializer writes what it reads back, and allocates nothing once warm.

use std::time::Duration;

use bytebufferpool::Pool;
use pooled_messages::{CsvMessages, FORMATS, Order};

#[path = "../../../tests/support/ledger.rs"]
mod ledger;

use ledger::{Count, Ledger};

#[global_allocator]
static LEDGER: Ledger = Ledger;

/// No trim interval passes by itself: it would free what the warm-up left.
fn pool() -> Pool {
    Pool::builder().trim_interval(Duration::from_secs(1 << 20)).build()
}

fn orders() -> Vec<Order> {
    (0..500).map(Order::sample).collect()
}

#[test]
fn what_is_written_into_a_guard_is_read_back_from_it_and_from_its_frozen_form() {
    let pool: &'static Pool = Box::leak(Box::new(pool()));
    for format in FORMATS {
        for order in orders() {
            let mut buf = pool.get();
            (format.write)(&order, &mut buf).unwrap();
            assert_eq!((format.read)(&buf).unwrap(), order, "{}", format.name);
            let frozen = buf.freeze();
            assert_eq!((format.read)(&frozen).unwrap(), order, "{}", format.name);
        }
    }
    let mut csv = CsvMessages::new(pool);
    for order in orders() {
        let row = csv.write(&order).unwrap();
        assert_eq!(CsvMessages::read(&row).unwrap(), order);
    }
    drop(csv);
    assert_eq!(pool.stats().outstanding, 0);
}

#[test]
fn a_warm_message_allocates_nothing() {
    let orders = orders();
    for format in FORMATS {
        let pool = pool();
        let pass = || {
            for order in &orders {
                let mut buf = pool.get();
                (format.write)(order, &mut buf).unwrap();
            }
        };
        pass();
        let misses = pool.stats().misses;
        let (count, ()) = Count::of(pass);
        assert_eq!(count, Count::default(), "{}", format.name);
        assert_eq!((pool.stats().misses, pool.stats().gets), (misses, 1000), "{}", format.name);
    }
}

#[test]
fn a_warm_row_of_csv_allocates_nothing() {
    let (orders, pool) = (orders(), pool());
    let mut csv = CsvMessages::new(&pool);
    let mut pass = || orders.iter().for_each(|order| drop(csv.write(order).unwrap()));
    pass();
    let (count, ()) = Count::of(pass);
    assert_eq!(count, Count::default());
}

/// An order that a serializer cannot finish leaves the pool as it was.
#[test]
fn an_error_half_way_returns_the_buffer() {
    struct Breaks;
    impl serde::Serialize for Breaks {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::{Error, SerializeSeq};
            let mut seq = serializer.serialize_seq(Some(2))?;
            seq.serialize_element("written before the error")?;
            Err(S::Error::custom("breaks"))
        }
    }
    let pool = pool();
    assert!(serde_json::to_writer(pool.get(), &Breaks).is_err());
    assert!(rmp_serde::encode::write(&mut pool.get(), &Breaks).is_err());
    assert!(postcard::to_io(&Breaks, pool.get()).is_err());
    let stats = pool.stats();
    assert_eq!((stats.gets, stats.puts, stats.outstanding), (3, 3, 0));
    assert!(pool.get().is_empty(), "and nothing of it is seen by the next");
}
