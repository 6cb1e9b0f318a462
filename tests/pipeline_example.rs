//! The example `pipeline` from outside: what it writes, says and returns, on good input and on bad. At the end the other
//! examples, too: what they do when nobody reads what they print.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::Value;

/// `cargo test` builds the examples beside the tests; cargo has no variable for their path as it has for binaries.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("tests lie in target/<profile>/deps");
    let example = profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(example.exists(), "{} is missing: run `cargo test`, or `cargo build --examples` first", example.display());
    Command::new(example)
}

fn pipeline() -> Command {
    example("pipeline")
}

fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>, stdin: impl Into<Vec<u8>>) -> Output {
    let mut child = pipeline()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example starts");
    let mut input = child.stdin.take().expect("piped");
    let bytes = stdin.into();
    // From another thread, or a child that fills its output while we fill its input would wait for us for ever.
    let feeder = thread::spawn(move || {
        // A child that failed early does not read to the end; what it says about that is the test's business.
        let _ = input.write_all(&bytes);
    });
    let output = child.wait_with_output().expect("the example ends");
    feeder.join().expect("the feeder does not panic");
    output
}

/// An empty directory for the test called `name`.
fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pipeline").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("the target directory is writable");
    path
}

/// One line on standard error, this exit code, and no panic.
#[track_caller]
fn assert_refused(output: &Output, code: i32, says: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("pipeline: ") && stderr.contains(says), "{stderr}");
}

#[track_caller]
fn assert_good(output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr, "", "no progress bar where there is no terminal");
}

/// The records in the order of their lines, after checking that each line number is there once.
#[track_caller]
fn records(json: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(json).expect("JSON is UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn");
    let mut records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    records.sort_by_key(line_number);
    assert!(records.windows(2).all(|pair| line_number(&pair[0]) < line_number(&pair[1])), "a line came twice");
    records
}

fn line_number(record: &Value) -> u64 {
    record["line"].as_u64().expect("every record has the number of its line")
}

/// The parts of a record, put together as they stood in its line.
fn original(record: &Value) -> String {
    let parts = ["origin", "time", "source", "level", "message"];
    parts.into_iter().filter_map(|part| record[part].as_str()).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn assert_carries(json: &[u8], lines: &[String]) {
    let records = records(json);
    assert_eq!(records.len(), lines.len());
    for (record, (number, line)) in records.iter().zip((1..).zip(lines)) {
        assert_eq!(line_number(record), number);
        assert!(original(record) == *line, "line {number}: {} bytes came as {record:.200}", line.len());
    }
}

/// Lines of the forms that logs have, and of none.
fn awkward_lines() -> Vec<String> {
    let mut lines: Vec<String> = [
        "2015-10-18 18:01:47,978 INFO [main] org.apache.hadoop.MRAppMaster: Created for application",
        "2015-10-18 18:01:48,963 WARN ",
        "Dec 10 06:55:46 LabSZ sshd[24200]: Invalid user webmaster from 173.234.31.186",
        "Dec  1 06:55:46 LabSZ sshd[24200]: two spaces before the day",
        "nova-api.log.1.2017-05-16_13:53:08 2017-05-16 00:00:00.008 25746 INFO nova.wsgi [req-1 - -] \"GET /\" len: 18",
        "2026-01-01T00:00:00.5Z ERROR one word for date and time",
        "",
        " ",
        "  leading and trailing spaces  ",
        "no form at all: \"quotes\", \\backslashes\\, tab\t, nul \0, bell \u{7}, escape \u{1b}[31m",
        "größer, 日本語, 🦀, \u{feff}mark, \u{2028}separator",
        "18:01:47",
        "INFO",
        "2015-10-18 18:01:47",
        "{\"message\": \"JSON itself\"}",
        "a carriage \r inside",
    ]
    .map(str::to_owned)
    .into();
    lines.push("x".repeat(70_000));
    lines
}

#[test]
fn each_line_becomes_one_record_that_carries_all_of_it() {
    let directory = directory("each_line");
    // Enough for chunks to end in the middle of everything; and a line larger than any chunk, which grows in JSON.
    let mut lines: Vec<String> = (0..20).flat_map(|_| awkward_lines()).collect();
    lines.insert(150, "\"".repeat(1 << 20));
    let (input, output) = (directory.join("in.log"), directory.join("out.json"));
    for (end, last_end) in [("\n", "\n"), ("\r\n", "\r\n"), ("\n", "")] {
        fs::write(&input, lines.join(end) + last_end).unwrap();
        for producers in ["1", "4"] {
            let arguments = [
                input.as_os_str(),
                OsStr::new("-o"),
                output.as_os_str(),
                OsStr::new("--producers"),
                producers.as_ref(),
            ];
            let ran = run(arguments, "");
            assert_good(&ran);
            assert_carries(&fs::read(&output).unwrap(), &lines);
        }
    }
}

#[test]
fn the_fields_of_known_forms_are_told_apart() {
    let lines = awkward_lines();
    let ran = run(["-", "-o", "-"], lines[..5].join("\n"));
    assert!(ran.status.success());
    let records = records(&ran.stdout);
    let field = |line: usize, name: &str| records[line][name].as_str().unwrap_or_default().to_owned();
    assert_eq!((field(0, "time"), field(0, "level")), ("2015-10-18 18:01:47,978".to_owned(), "INFO".to_owned()));
    assert_eq!((field(2, "time"), field(2, "source")), ("Dec 10 06:55:46".to_owned(), "LabSZ sshd[24200]:".to_owned()));
    assert_eq!(field(2, "message"), "Invalid user webmaster from 173.234.31.186");
    assert_eq!(field(4, "origin"), "nova-api.log.1.2017-05-16_13:53:08");
    assert_eq!((field(4, "source"), field(4, "level")), ("25746".to_owned(), "INFO".to_owned()));
}

#[test]
fn the_report_names_what_was_measured() {
    let ran = run(["-"], awkward_lines().join("\n"));
    assert_good(&ran);
    let report = String::from_utf8_lossy(&ran.stdout);
    for words in
        ["lines/s", "bytes/s", "allocs/line", "no pool", "freeze", "peak cached", "default size", "max size", "hits"]
    {
        assert!(report.contains(words), "{words} is missing in:\n{report}");
    }
}

/// Of a few lines the figures would be those of the threads' start: 4 allocations a line with the pool, where 1 is right.
#[test]
fn few_lines_are_compared_many_times_over_and_written_once() {
    let output = directory("few_lines").join("out.json");
    let compare = |lines: &[String]| {
        let ran = run([OsStr::new("-o"), output.as_os_str()], lines.join("\n"));
        assert_good(&ran);
        assert_carries(&fs::read(&output).unwrap(), lines);
        String::from_utf8(ran.stdout).unwrap()
    };
    let report = compare(&["a", "b", "c", "d", "e"].map(str::to_owned));
    let row = |name: &str| -> Vec<f64> {
        let figures = report.lines().find_map(|line| line.strip_prefix(name)).expect("a row");
        figures.split_whitespace().map(|figure| figure.parse().expect("a number")).collect()
    };
    let (all, pool, plain) = (row("pool, all lines"), row("pool, first lines again"), row("no pool, the same lines"));
    assert_eq!((all[0], pool[0] % 10_000.0, plain[0]), (5.0, 0.0, pool[0]), "{report}");
    assert!(pool[3] < 1.1 && plain[3] > 2.0, "{report}");
    assert!(report.contains("the first 5 lines x 2000, "), "{report}");

    // At most 4 MiB a round.
    let report = compare(&["x".repeat(1 << 20)]);
    assert!(report.contains("the first 1 lines x 3, "), "{report}");
}

#[test]
fn generated_records_bear_out_what_the_example_claims_and_a_long_run_is_silent_without_a_terminal() {
    let ran = run(["--generate", "40000"], "");
    assert_good(&ran);
    let report = String::from_utf8_lossy(&ran.stdout);
    assert!(report.contains("40000") && report.contains("(learned)"), "{report}");
}

#[test]
fn records_on_standard_output_are_not_mixed_with_the_report() {
    let ran = run(["--generate", "500", "--output", "-"], "");
    assert!(ran.status.success());
    assert_eq!(records(&ran.stdout).len(), 500);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("allocs/line"));
}

#[test]
fn no_lines_are_no_error_but_are_said() {
    let ran = run(["-"], "");
    assert!(ran.status.success());
    assert_eq!(String::from_utf8_lossy(&ran.stderr), "pipeline: standard input has no lines\n");
}

#[test]
fn lines_that_are_not_utf8_are_passed_over_counted_and_reported() {
    let directory = directory("not_utf8");
    let output = directory.join("out.json");
    let ran = run([OsStr::new("-o"), output.as_os_str()], b"one\n\xff\xfe\nthree\ncut \xe2\x82\nfive".as_slice());
    assert_refused(&ran, 0, "2 of 5 lines passed over: 2 not UTF-8, 0 longer than 8 MiB; the first is line 2");
    let records = records(&fs::read(&output).unwrap());
    assert_eq!(records.iter().map(line_number).collect::<Vec<_>>(), [1, 3, 5]);
    assert_eq!(records.iter().map(original).collect::<Vec<_>>(), ["one", "three", "five"]);
}

#[test]
fn a_line_above_the_limit_is_passed_over_and_one_at_the_limit_is_not() {
    const LIMIT: usize = 8 << 20;
    let directory = directory("too_long");
    let output = directory.join("out.json");
    for end in ["\n", "\r\n"] {
        let fits = "f".repeat(LIMIT);
        let (by_one, by_far) = ("1".repeat(LIMIT + 1), "2".repeat(2 * LIMIT + 77));
        let lines = [by_one.as_str(), &fits, "short", &by_far, "last"];
        let ran = run([OsStr::new("-o"), output.as_os_str()], lines.join(end));
        assert_refused(&ran, 0, "2 of 5 lines passed over: 0 not UTF-8, 2 longer than 8 MiB; the first is line 1");
        let records = records(&fs::read(&output).unwrap());
        assert_eq!(records.iter().map(line_number).collect::<Vec<_>>(), [2, 3, 5]);
        assert!(original(&records[0]) == fits);
    }
}

#[test]
fn a_missing_file_is_refused_and_leaves_the_old_output_alone() {
    let directory = directory("missing");
    let (missing, output) = (directory.join("missing.log"), directory.join("out.json"));
    fs::write(&output, "old").unwrap();
    let ran = run([missing.as_os_str(), OsStr::new("-o"), output.as_os_str()], "");
    assert_refused(&ran, 1, "missing.log");
    assert_eq!(fs::read(&output).unwrap(), b"old");
}

#[test]
fn a_directory_is_refused_as_input() {
    let directory = directory("directory");
    assert_refused(&run([&directory], ""), 1, "directory");
}

#[test]
#[cfg(unix)]
fn a_directory_is_refused_as_standard_input() {
    let directory = File::open(directory("standard_directory")).unwrap();
    let ran = pipeline().arg("-").stdin(directory).output().unwrap();
    assert_refused(&ran, 1, "cannot read standard input");
}

#[test]
fn an_unwritable_output_is_refused() {
    let directory = directory("unwritable");
    let nowhere = directory.join("missing").join("out.json");
    for output in [&nowhere, &directory] {
        let ran = run([OsStr::new("--output"), output.as_os_str()], "a line\n");
        assert_refused(&ran, 1, "cannot write to");
    }
}

#[test]
fn a_file_that_is_input_and_output_is_refused_and_unharmed() {
    let path = directory("same").join("both.log");
    fs::write(&path, "a line\n").unwrap();
    assert_refused(&run([path.as_os_str(), OsStr::new("-o"), path.as_os_str()], ""), 2, "input and output at once");
    assert_eq!(fs::read(&path).unwrap(), b"a line\n");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_for_records_and_for_the_report() {
    let ran = run(["-o", "/dev/full"], "a line\n".repeat(100_000));
    assert_refused(&ran, 1, "cannot write to /dev/full: No space left");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ran = pipeline().args(["--generate", "10"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    assert_refused(&ran.wait_with_output().unwrap(), 1, "cannot print the report");
}

#[test]
fn a_reader_that_goes_away_is_an_error_and_no_panic() {
    let mut child = pipeline()
        .args(["--generate", "100000000", "-o", "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_refused(&child.wait_with_output().unwrap(), 1, "cannot write to standard output");
}

#[test]
fn wrong_arguments_are_refused_with_the_reason() {
    for (arguments, says) in [
        (&["--bogus"][..], "invalid option '--bogus'"),
        (&["--output"], "missing argument for option '--output'"),
        (&["--generate"], "missing argument for option '--generate'"),
        (&["--generate", "0"], "--generate is a number from 1 to 18446744073709551615, not \"0\""),
        (&["--producers", "65"], "--producers is a number from 1 to 64, not \"65\""),
        (&["--producers=two"], "--producers is a number from 1 to 64, not \"two\""),
        (&["a.log", "b.log"], "unexpected argument \"b.log\""),
        (&["a.log", "--generate", "1"], "not both"),
    ] {
        assert_refused(&run(arguments, ""), 2, says);
    }
}

#[test]
fn help_is_printed_to_standard_output() {
    let ran = run(["--help"], "");
    assert_good(&ran);
    assert!(String::from_utf8_lossy(&ran.stdout).contains("Usage: pipeline [OPTIONS] [FILE]"));
}

const EXAMPLES: [(&str, &[&str]); 5] = [
    ("quickstart", &[]),
    ("formatter", &[]),
    ("misuse", &[]),
    ("fifty_threads", &["10"]),
    ("pipeline", &["--generate", "10"]),
];

/// The other end of a pipe whose reader has ended, and not one that will end soon.
fn pipe_without_reader() -> Stdio {
    // It does not read its standard input.
    let mut reader = example("quickstart").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let pipe = reader.stdin.take().expect("piped");
    assert!(reader.wait().unwrap().success());
    pipe.into()
}

/// As in `misuse | head -1`.
#[test]
fn an_example_whose_output_nobody_reads_ends_without_a_word() {
    for (name, arguments) in EXAMPLES {
        let ran = example(name).args(arguments).stdout(pipe_without_reader()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{name}");
        assert_eq!(ran.status.code(), Some(0), "{name}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn an_example_whose_output_is_full_says_so() {
    for (name, arguments) in EXAMPLES {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ran = example(name).args(arguments).stdout(full).output().unwrap();
        let stderr = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{name}: {stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains("No space left"), "{name}: {stderr}");
    }
}

#[test]
fn fifty_threads_refuses_wrong_arguments_and_prints_help() {
    for (argument, says) in [
        ("two", "fifty_threads: USES_PER_THREAD is a number, at least 1\n"),
        ("0", "fifty_threads: USES_PER_THREAD is a number, at least 1\n"),
        ("--two", "fifty_threads: invalid option '--two'\n"),
    ] {
        let ran = example("fifty_threads").arg(argument).output().unwrap();
        assert_eq!((ran.status.code(), String::from_utf8_lossy(&ran.stderr).as_ref()), (Some(1), says));
    }
    let ran = example("fifty_threads").arg("--help").output().unwrap();
    assert!(ran.status.success() && ran.stdout.starts_with(b"Formats short texts in 50 threads"));
}
