//! The program from outside: what it prints and how it exits.

use std::process::{Command, Output, Stdio};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_integration-metrics"))
}

#[track_caller]
fn assert_ends(output: &Output, code: i32, says: &str) {
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(code), says));
}

#[test]
fn a_wrong_argument_is_named_and_help_is_printed() {
    assert_ends(&program().arg("--frob").output().unwrap(), 1, "metrics: invalid option '--frob'\n");
    assert_ends(&program().arg("server").output().unwrap(), 1, "metrics: unexpected argument \"server\"\n");
    let help = program().arg("--help").output().unwrap();
    assert_ends(&help, 0, "");
    assert!(String::from_utf8_lossy(&help.stdout).contains("Usage: integration-metrics [serve]"));
}

/// As in `integration-metrics | head -1`.
#[test]
fn a_page_that_nobody_reads_ends_it_without_a_word() {
    // It does not read its standard input.
    let mut reader = program().arg("--help").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let pipe = reader.stdin.take().expect("piped");
    assert!(reader.wait().unwrap().success());
    assert_ends(&program().stdout(pipe).output().unwrap(), 0, "");
}
