//! The program from outside: what it prints, what it writes, and how it exits.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

fn tune(arguments: &[&str]) -> (Output, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tune")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn a_bad_trace_gives_one_line_with_its_place_and_exit_code_1() {
    for (name, content, place) in [
        ("empty", "", "is empty"),
        ("negative", "7\n-7\n", "line 2: \"-7\" is negative"),
        ("text", "7\n\nseven\n", "line 3: \"seven\" is not a length"),
        ("huge", "99999999999999999999\n", "line 1: \"99999999999999999999\" is more than"),
    ] {
        let path = file(name, content.as_bytes());
        let (output, out, err) = tune(&[path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{name}: {err}");
        assert!(out.is_empty() && err.lines().count() == 1 && err.contains(place), "{name}: {out}{err}");
    }
}

#[test]
fn a_wrong_call_is_named_in_one_line_and_exits_with_2() {
    for (arguments, says) in [
        (&["--frob"][..], "tune: invalid option '--frob'; see --help\n"),
        (&["a", "--rate", "fast"], "tune: --rate is a number from 1 to 1000000000, not \"fast\"\n"),
        (&[], "tune: which FILE? See --help\n"),
    ] {
        let (output, out, err) = tune(arguments);
        assert_eq!((output.status.code(), out.as_str(), err.as_str()), (Some(2), "", says));
    }
}

#[test]
fn help_is_printed_to_standard_output() {
    let (output, out, err) = tune(&["--help"]);
    assert!(output.status.success() && err.is_empty(), "{err}");
    assert!(out.contains("Usage: tune [OPTIONS] FILE"), "{out}");
}

/// Progress goes to a terminal or nowhere; the page holds every setting and fetches nothing.
#[test]
fn a_log_gives_code_and_a_page_that_stands_alone() {
    let log: String = (0..5000).map(|line| format!("{line} {}\n", "x".repeat(line * 7919 % 700))).collect();
    let log = file("some<b>.log", log.as_bytes());
    let page = log.with_extension("html");
    let (output, out, err) = tune(&["--lines", log.to_str().unwrap(), "--html", page.to_str().unwrap()]);
    assert!(output.status.success() && err.is_empty(), "{err}");
    for claim in ["hit rate", "growths per use", "cached bytes, worst case", "static POOL: Pool = Pool::builder()"] {
        assert!(out.contains(claim), "{claim}: {out}");
    }
    let html = fs::read_to_string(page).unwrap();
    assert_eq!(html.matches("<svg").count(), 4);
    assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
    assert_eq!(html.matches("<tr><td>").count() + html.matches("<tr class=\"front\"><td>").count(), 144);
    assert!(!html.contains("some<b>") && html.contains("some&lt;b&gt;"), "the name of the file is escaped");
    assert!(html.contains("prefers-color-scheme: dark"));
    for fetch in ["http:", "https:", "src=", "@import", "url(", "<script"] {
        assert!(!html.contains(fetch), "the page stands alone, but has {fetch}");
    }
    for nonsense in ["NaN", "inf,", "\"inf\"", "-inf"] {
        assert!(!html.contains(nonsense), "{nonsense} on the page");
    }
}

#[test]
fn a_page_that_cannot_be_written_is_an_error() {
    let trace = file("fine", b"1\n2\n");
    let (output, _, err) = tune(&[trace.to_str().unwrap(), "--html", "/nowhere/at/all.html"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err.starts_with("tune: cannot write /nowhere/at/all.html: "), "{err}");
}
