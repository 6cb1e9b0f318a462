//! One message, written into a pooled buffer by each of five serializers, and nothing allocated on the way.
//!
//! All but csv take the guard itself, as an `io::Write` or a `bytes::BufMut`. csv's writer allocates when it is made, so
//! that one is made once and its buffer exchanged after each message: [`CsvMessages`].
#![warn(missing_docs)]

use std::cell::RefCell;
use std::error::Error;
use std::io::{self, Write};
use std::mem;
use std::rc::Rc;

use bytebufferpool::{Pool, PooledBuf};
use prost::Message;
use serde::{Deserialize, Serialize};

#[cfg(doctest)]
#[doc = include_str!("../../../docs/cookbook/serializers.md")]
struct Cookbook;

/// What is sent. `prost` derives its own encoding from the same fields.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
pub struct Order {
    /// Of the order.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Who ordered.
    #[prost(string, tag = "2")]
    pub customer: String,
    /// What one costs.
    #[prost(double, tag = "3")]
    pub price: f64,
    /// How many.
    #[prost(uint32, tag = "4")]
    pub count: u32,
    /// Anything else; from nothing to many kilobytes.
    #[prost(string, tag = "5")]
    pub note: String,
}

impl Order {
    /// Differs in all fields from one number to the next, and in its length by four orders of magnitude.
    #[must_use]
    pub fn sample(number: u64) -> Order {
        let note_len = if number % 100 == 99 { 40_000 } else { (number * 7919 % 900) as usize };
        Order {
            id: number,
            customer: format!("customer \"{}\", {number}", number * 31 % 1000),
            price: number as f64 * 1.25,
            count: (number % 9) as u32,
            note: "nørdlich, \n".chars().cycle().take(note_len).collect(),
        }
    }
}

/// An error of whichever serializer.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A serializer: its name, how it writes an order into a buffer, and how it reads one back.
pub struct Format {
    /// For people.
    pub name: &'static str,
    /// Appends to the buffer.
    pub write: fn(&Order, &mut PooledBuf<&Pool>) -> Result<(), BoxError>,
    /// What [`write`](Format::write) wrote.
    pub read: fn(&[u8]) -> Result<Order, BoxError>,
}

/// Those that take the guard itself.
pub const FORMATS: [Format; 4] = [
    Format {
        name: "serde_json",
        write: |order, buf| Ok(serde_json::to_writer(buf, order)?),
        read: |bytes| Ok(serde_json::from_slice(bytes)?),
    },
    Format { name: "prost", write: |order, buf| Ok(order.encode(buf)?), read: |bytes| Ok(Order::decode(bytes)?) },
    Format {
        name: "postcard",
        write: |order, buf| postcard::to_io(order, buf).map(drop).map_err(Into::into),
        read: |bytes| Ok(postcard::from_bytes(bytes)?),
    },
    Format {
        name: "rmp-serde",
        write: |order, buf| Ok(rmp_serde::encode::write(buf, order)?),
        read: |bytes| Ok(rmp_serde::from_slice(bytes)?),
    },
];

/// A csv writer that lasts, and gives each message out in a buffer of its own.
pub struct CsvMessages<'pool> {
    pool: &'pool Pool,
    writer: csv::Writer<Shared<'pool>>,
    buf: Rc<RefCell<PooledBuf<&'pool Pool>>>,
}

struct Shared<'pool>(Rc<RefCell<PooledBuf<&'pool Pool>>>);

impl Write for Shared<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'pool> CsvMessages<'pool> {
    /// Rows without a header.
    #[must_use]
    pub fn new(pool: &'pool Pool) -> CsvMessages<'pool> {
        let buf = Rc::new(RefCell::new(pool.get()));
        let writer = csv::WriterBuilder::new().has_headers(false).from_writer(Shared(Rc::clone(&buf)));
        CsvMessages { pool, writer, buf }
    }

    /// One row.
    ///
    /// # Errors
    ///
    /// csv's, for what is no row.
    pub fn write<T: Serialize>(&mut self, row: &T) -> Result<PooledBuf<&'pool Pool>, BoxError> {
        self.writer.serialize(row)?;
        self.writer.flush()?;
        Ok(mem::replace(&mut *self.buf.borrow_mut(), self.pool.get()))
    }

    /// The row that [`write`](CsvMessages::write) wrote.
    ///
    /// # Errors
    ///
    /// csv's, for what is no row of that form.
    pub fn read(bytes: &[u8]) -> Result<Order, BoxError> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
        Ok(reader.deserialize().next().ok_or("no row")??)
    }
}
