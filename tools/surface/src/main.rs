//! Prints a crate's public surface, one item a line: what `.ci/public-api` compares.
//!
//! Auto traits are left out, as a test pins them, and so are blanket implementations, which are those of other crates.

use std::process::ExitCode;

use public_api::Builder;

fn main() -> ExitCode {
    let [json] = &std::env::args_os().skip(1).collect::<Vec<_>>()[..] else {
        eprintln!("surface: which rustdoc JSON?");
        return ExitCode::FAILURE;
    };
    match Builder::from_rustdoc_json(json).omit_blanket_impls(true).omit_auto_trait_impls(true).build() {
        Ok(surface) => {
            print!("{surface}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("surface: {error}");
            ExitCode::FAILURE
        }
    }
}
