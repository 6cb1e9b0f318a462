//! An HTTP server whose JSON bodies are written into pooled buffers, and a client that loads it.
//!
//! `main.rs` runs both as two processes and compares the pool with a new `Vec` per response.
#![warn(missing_docs)]

pub mod article;
pub mod bodies;
pub mod chunked_body;
pub mod client;
pub mod server;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/cookbook/http.md")]
struct Cookbook;
