//! Only the tests of the cookbook's page on tuning; the program is `main.rs`.

#[cfg(doctest)]
#[doc = include_str!("../../../docs/cookbook/tuning.md")]
struct Cookbook;
