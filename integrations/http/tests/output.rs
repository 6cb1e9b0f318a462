//! The program beside a standard output that is closed, or full.
#![cfg(unix)]

use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str], stdout: Stdio) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_integration-http"))
        .args(arguments)
        // A server ends with its input, so this stays open.
        .stdin(Stdio::piped())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _stdin = child.stdin.take();
    child.wait_with_output().unwrap()
}

/// A pipe whose reader is gone.
fn closed_pipe() -> Stdio {
    let mut reader = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
    let pipe = reader.stdin.take().unwrap();
    reader.wait().unwrap();
    pipe.into()
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    for arguments in [&["4000"][..], &["serve", "pool"]] {
        let ran = run(arguments, closed_pipe());
        assert!(ran.status.success() && ran.stderr.is_empty(), "{arguments:?}: {ran:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_and_no_panic() {
    for arguments in [&["4000"][..], &["serve", "pool"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ran = run(arguments, full.into());
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{arguments:?}: {ran:?}");
        assert!(said.starts_with("http: cannot print: No space left"), "{said}");
        assert!(said.lines().count() == 1, "{said}");
    }
}
