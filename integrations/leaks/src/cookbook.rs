//! The cookbook's page on leaks, for its snippets to be compiled.

#[cfg(doctest)]
#[doc = include_str!("../../../docs/cookbook/leaks.md")]
struct Leaks;
