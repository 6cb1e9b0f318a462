//! The program from outside: what it prints and how it exits.

use std::process::Command;

fn surface(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_surface")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_wrong_call_is_named_in_one_line() {
    for (arguments, says) in [
        (&[][..], "surface: JSON is missing; see --help\n"),
        (&["--frob"], "surface: invalid option '--frob'\n"),
        (&["a", "b"], "surface: unexpected argument \"b\"\n"),
    ] {
        assert_eq!(surface(arguments), (Some(1), String::new(), says.to_owned()));
    }
}

#[test]
fn help_is_printed_to_standard_output() {
    let (code, out, err) = surface(&["--help"]);
    assert!(code == Some(0) && out.contains("Usage: surface JSON") && err.is_empty(), "{out}{err}");
}
