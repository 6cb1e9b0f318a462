//! The program of this package asserts what it prints.

use std::process::Command;

#[test]
fn the_program_says_that_memory_was_bounded() {
    let output = Command::new(env!("CARGO_BIN_EXE_integration-backpressure")).output().unwrap();
    let (printed, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{complaint}");
    assert!(printed.starts_with("1500 messages, at most ") && printed.lines().count() == 1, "{printed}");
}
