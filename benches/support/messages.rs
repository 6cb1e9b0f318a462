//! The prost messages, shared like the workloads; beside them, as most benches need no prost.
//!
//! Defined by derive, as a program without `.proto` files does: nothing here needs protoc.
#![allow(dead_code)] // each binary uses its own part

use prost::Message;

use crate::workload::Rng;

/// The document of `workload::document` as messages.
#[derive(Clone, PartialEq, Message)]
pub struct Catalog {
    #[prost(uint64, tag = "1")]
    pub event: u64,
    #[prost(string, tag = "2")]
    pub subject: String,
    #[prost(uint32, tag = "3")]
    pub page: u32,
    #[prost(message, repeated, tag = "4")]
    pub items: Vec<Item>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Item {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(double, tag = "3")]
    pub price: f64,
    #[prost(string, repeated, tag = "4")]
    pub tags: Vec<String>,
    #[prost(message, optional, tag = "5")]
    pub area: Option<Area>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Area {
    #[prost(uint32, tag = "1")]
    pub seats: u32,
    #[prost(bool, tag = "2")]
    pub open: bool,
}

pub fn catalog(items: usize) -> Catalog {
    let mut rng = Rng(0x7072_6f73 + items as u64);
    let tags = ["alpha", "beta", "gamma \"quoted\""];
    let item = |rng: &mut Rng| Item {
        id: rng.draw() % 1_000_000,
        name: format!("item-{}", rng.draw() % 10_000),
        price: (rng.draw() % 100_000) as f64 / 100.0,
        tags: tags[..1 + rng.below(3)].iter().map(|tag| (*tag).to_owned()).collect(),
        area: Some(Area { seats: (rng.draw() % 500) as u32, open: rng.draw() % 2 == 0 }),
    };
    let items = (0..items).map(|_| item(&mut rng)).collect();
    Catalog { event: 138_586_341, subject: "Bytes & buffers".to_owned(), page: 1, items }
}
