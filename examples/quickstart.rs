//! The first twenty lines: a pool, a buffer, a text, and what the pool says of itself.

use std::io::Write;

use bytebufferpool::Pool;

static LINES: Pool = Pool::new();

fn main() -> std::io::Result<()> {
    for status in [200, 404, 500] {
        let mut line = LINES.get();
        writeln!(line, "user=4711 status={status}")?;
        // Whatever becomes of it, the buffer returns to the pool at the end of each turn.
        if let Err(error) = std::io::stdout().write_all(&line) {
            // Nobody reads any more.
            return if error.kind() == std::io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) };
        }
    }
    let stats = LINES.stats();
    assert_eq!((stats.gets, stats.hits, stats.outstanding), (3, 2, 0));
    Ok(())
}
