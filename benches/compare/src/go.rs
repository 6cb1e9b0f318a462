//! Go's bytebufferpool at the same work, measured by Go: `benches/go`.
//!
//! It takes no turns with the rest and runs right after it. Where there is no Go, or the module cannot be had, the rows
//! stand without it, and the targets say that they were not measured.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::contenders::Role;
use crate::run::{Effort, Line, Result};

/// Row and the benchmark that does the same, by the name that Go prints: the number of processors behind it unless it is one.
pub const ROWS: [(&str, &str); 3] = [
    ("get + drop", "BenchmarkGetPut"),
    ("log line", "BenchmarkLogLine"),
    ("log line, 2 threads", "BenchmarkLogLineParallel-2"),
];

/// Debian's `golang-github-valyala-bytebufferpool-dev`, for machines that reach no module proxy.
const DEBIAN_PATH: &str = "/usr/share/gocode";

pub fn add_to(lines: &mut [Line], effort: Effort) {
    match run(effort) {
        Ok((name, output)) => {
            for (row, benchmark) in ROWS {
                let line = lines.iter_mut().find(|line| line.name == row);
                if let (Some(line), Some(result)) = (line, result(&name, benchmark, &output)) {
                    line.results.push(result);
                }
            }
        }
        Err(why) => eprintln!("go: not measured: {why}"),
    }
}

/// The contender's name and what `go test` printed.
fn run(effort: Effort) -> std::result::Result<(String, String), String> {
    let (count, time) = if effort.is_quick() { ("1", "10ms") } else { ("7", "300ms") };
    let version = output(Command::new("go").arg("version"))?;
    let version = version.split_whitespace().nth(2).unwrap_or("go").replace("go", "Go ");
    let mut test = Command::new("go");
    test.args(["test", "-bench", ".", "-cpu", "1,2", "-count", count, "-benchtime", time]);
    test.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../go"));
    if Path::new(DEBIAN_PATH).join("src/github.com/valyala/bytebufferpool").exists() {
        test.env("GO111MODULE", "off").env("GOPATH", DEBIAN_PATH);
    }
    Ok((version, output(&mut test)?))
}

fn output(command: &mut Command) -> std::result::Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// The fastest of Go's own repetitions, and their median.
fn result(name: &str, benchmark: &str, output: &str) -> Option<Result> {
    let nanoseconds = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.first() == Some(&benchmark) && words.get(3) == Some(&"ns/op")).then(|| words[2].parse::<f64>().ok())?
    };
    let mut times: Vec<f64> = output.lines().filter_map(nanoseconds).collect();
    times.sort_by(f64::total_cmp);
    let (min, median) = (*times.first()?, times[times.len() / 2]);
    Some(Result {
        name: name.to_owned(),
        role: Role::Peer,
        min,
        median,
        by_median: false,
        cached_bytes: 0,
        pattern: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_repetition_of_the_named_benchmark_counts() {
        let output = "goos: linux\nBenchmarkLogLine      \t 1000 \t 45.5 ns/op\nBenchmarkLogLine-2 \t 1000 \t 9.0 ns/op\n\
                      BenchmarkLogLine      \t 1000 \t 44.5 ns/op\nPASS\n";
        let found = result("Go", "BenchmarkLogLine", output).unwrap();
        assert_eq!((found.min, found.median), (44.5, 45.5));
        assert!(result("Go", "BenchmarkGetPut", output).is_none());
    }
}
