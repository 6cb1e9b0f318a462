//! Panics that a target expects must not look like crashes to libFuzzer, whose own hook takes every panic for one.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// Where the last panic was: hooks run before anybody knows whether it was expected.
static LAST: Mutex<String> = Mutex::new(String::new());

pub fn install() {
    std::panic::set_hook(Box::new(|info| *LAST.lock().unwrap() = info.to_string()));
}

/// Runs a whole input; a panic that comes through is a finding.
pub fn run(input: &impl Debug, f: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(f)).is_err() {
        eprintln!("{}\n{input:#?}", LAST.lock().unwrap());
        std::process::abort();
    }
}
