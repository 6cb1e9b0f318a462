//! The smallest program with a pool: what the crate adds to it is counted by `.ci/code-size`.

use std::io::Write;

use bytebufferpool::Pool;

static POOL: Pool = Pool::new();

fn main() {
    let mut line = POOL.get();
    writeln!(line, "hello").unwrap();
    std::io::stdout().write_all(&line).unwrap();
}
