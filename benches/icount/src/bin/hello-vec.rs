//! The program beside which `.ci/code-size` puts `hello-pool`.

use std::io::Write;

fn main() {
    let mut line = Vec::new();
    writeln!(line, "hello").unwrap();
    std::io::stdout().write_all(&line).unwrap();
}
