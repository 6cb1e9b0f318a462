//! Tests that need the inside: size classes through the API, random operations beside the locked model, and
//! calibration beside an oracle of its own.
//!
//! They are in `src/` so that proptest writes failing seeds to `proptest-regressions/`, and because the model
//! ([`crate::tests::reference`]) is no part of the public surface.

mod calibration_oracle;
mod chunked;
mod classes;
mod clock;
mod costs;
mod driver;
mod early;
mod go_differential;
mod leases;
mod operations;
pub(crate) mod reference;
mod string;
mod upkeep;
