//! Where lines come from: a file, standard input or a generator; and how several threads share it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::Path;

/// The most that one producer takes at once: enough that the lock around the input is seldom asked for.
const CHUNK_BYTES: usize = 64 << 10;

/// A longer line is passed over and counted, so that input without line ends cannot take all memory.
pub(crate) const LINE_BYTES_MAX: usize = 8 << 20;

/// How much of the input is remembered to run it again with and without the pool.
const SAMPLE_BYTES_MAX: usize = 16 << 20;

/// An opened input.
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) length: Length,
    pub(crate) reader: Box<dyn BufRead + Send>,
}

/// What is known of an input's length before it is read.
#[derive(Clone, Copy)]
pub(crate) enum Length {
    Bytes(u64),
    Lines(u64),
    Unknown,
}

impl Input {
    pub(crate) fn file(path: &Path) -> io::Result<Input> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
        }
        let length = if metadata.is_file() { Length::Bytes(metadata.len()) } else { Length::Unknown };
        Ok(Input {
            name: path.display().to_string(),
            length,
            reader: Box::new(BufReader::with_capacity(CHUNK_BYTES, file)),
        })
    }

    pub(crate) fn standard_input() -> Input {
        Input {
            name: "standard input".to_owned(),
            length: Length::Unknown,
            reader: Box::new(BufReader::with_capacity(CHUNK_BYTES, io::stdin())),
        }
    }

    pub(crate) fn generated(lines: u64) -> Input {
        Input {
            name: format!("{lines} generated records"),
            length: Length::Lines(lines),
            reader: Box::new(BufReader::with_capacity(CHUNK_BYTES, Generator::new(lines))),
        }
    }
}

/// Whether standard input is a terminal or another device such as `/dev/null`, so that nobody gave us lines there.
pub(crate) fn nothing_is_piped_in() -> bool {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return true;
    }
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        use std::os::unix::fs::FileTypeExt;
        let metadata = stdin.as_fd().try_clone_to_owned().and_then(|fd| File::from(fd).metadata());
        metadata.is_ok_and(|metadata| metadata.file_type().is_char_device())
    }
    #[cfg(not(unix))]
    false
}

/// The lines of an input, handed out in chunks.
pub(crate) struct Lines {
    reader: Box<dyn BufRead + Send>,
    next_line: u64,
    sample: Option<Vec<u8>>,
    ended: bool,
}

/// What a call of [`Lines::next_chunk`] found besides the chunk itself.
pub(crate) struct Chunk {
    pub(crate) first_line: u64,
    /// The number of a line that was passed over because it was too long.
    pub(crate) too_long: Option<u64>,
}

impl Lines {
    pub(crate) fn new(reader: Box<dyn BufRead + Send>) -> Lines {
        Lines { reader, next_line: 1, sample: None, ended: false }
    }

    /// Remembers the first lines; taken all at once, so that remembering is not counted as the pipeline's allocations.
    pub(crate) fn remember(mut self) -> Lines {
        self.sample = Some(Vec::with_capacity(SAMPLE_BYTES_MAX));
        self
    }

    pub(crate) fn into_sample(self) -> Vec<u8> {
        self.sample.unwrap_or_default()
    }

    pub(crate) fn lines_seen(&self) -> u64 {
        self.next_line - 1
    }

    /// Fills `chunk` with whole lines, or returns `None` at the end. After an error it stays at the end.
    pub(crate) fn next_chunk(&mut self, chunk: &mut Vec<u8>) -> io::Result<Option<Chunk>> {
        chunk.clear();
        if self.ended {
            return Ok(None);
        }
        let result = self.fill(chunk);
        self.ended |= result.is_err();
        let found = result?;
        self.remember_chunk(chunk);
        Ok((!chunk.is_empty() || found.too_long.is_some()).then_some(found))
    }

    fn fill(&mut self, chunk: &mut Vec<u8>) -> io::Result<Chunk> {
        let mut found = Chunk { first_line: self.next_line, too_long: None };
        while chunk.len() < CHUNK_BYTES {
            let start = chunk.len();
            // Two more than a line may have: room for its end, `\r\n`.
            let read = (&mut self.reader).take(LINE_BYTES_MAX as u64 + 2).read_until(b'\n', chunk)?;
            if read == 0 {
                self.ended = true;
                break;
            }
            self.next_line += 1;
            if without_line_end(&chunk[start..]).len() > LINE_BYTES_MAX {
                if chunk.last() != Some(&b'\n') {
                    self.reader.skip_until(b'\n')?;
                }
                chunk.truncate(start);
                found.too_long = Some(self.next_line - 1);
                // The lines after it are no longer numbered from the first of the chunk.
                break;
            }
        }
        Ok(found)
    }

    fn remember_chunk(&mut self, chunk: &[u8]) {
        if let Some(sample) = &mut self.sample {
            let room = sample.capacity() - sample.len();
            let end = if chunk.len() <= room { chunk.len() } else { last_line_end(&chunk[..room]) };
            sample.extend_from_slice(&chunk[..end]);
        }
    }
}

fn last_line_end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |position| position + 1)
}

/// `line` without `\n` or `\r\n`.
pub(crate) fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Records as a service logs them: most are short, a few in a hundred are long, a few in a hundred thousand are huge.
struct Generator {
    random: u64,
    lines_left: u64,
    clock_ms: u64,
    pending: Vec<u8>,
    given: usize,
}

impl Generator {
    fn new(lines: u64) -> Generator {
        Generator { random: 0x9E37_79B9_7F4A_7C15, lines_left: lines, clock_ms: 0, pending: Vec::new(), given: 0 }
    }

    /// xorshift64: the records are the same in every run.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// A Pareto distribution, which is what sizes of messages tend to follow: median 130 bytes, 1 in 1000 above 10 000.
    fn message_bytes(&mut self) -> usize {
        let share = (self.random() >> 11) as f64 / (1_u64 << 53) as f64;
        let bytes = MESSAGE_BYTES_MIN / (1.0 - share).powf(0.7);
        bytes.min(MESSAGE_BYTES_MAX) as usize
    }

    fn make_line(&mut self) -> io::Result<()> {
        use io::Write;
        self.clock_ms += self.random() % 40;
        let (seconds, ms) = (self.clock_ms / 1000, self.clock_ms % 1000);
        let level = GENERATED_LEVELS[self.random() as usize % GENERATED_LEVELS.len()];
        let (hours, minutes, seconds) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(self.pending, "2026-01-01 {hours:02}:{minutes:02}:{seconds:02}.{ms:03} {level} ")?;
        let end = self.pending.len() + self.message_bytes();
        while self.pending.len() < end {
            let word = WORDS[self.random() as usize % WORDS.len()];
            self.pending.extend_from_slice(word.as_bytes());
            self.pending.push(b' ');
        }
        self.pending.pop();
        self.pending.push(b'\n');
        Ok(())
    }
}

impl Read for Generator {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.pending.len() && self.lines_left > 0 {
            self.pending.clear();
            self.given = 0;
            while self.lines_left > 0 && self.pending.len() < CHUNK_BYTES {
                self.make_line()?;
                self.lines_left -= 1;
            }
        }
        let read = (&self.pending[self.given..]).read(buffer)?;
        self.given += read;
        Ok(read)
    }
}

const MESSAGE_BYTES_MIN: f64 = 80.0;
const MESSAGE_BYTES_MAX: f64 = 256.0 * 1024.0;
const GENERATED_LEVELS: [&str; 8] = ["INFO", "INFO", "INFO", "INFO", "DEBUG", "DEBUG", "WARN", "ERROR"];
const WORDS: [&str; 16] = [
    "request",
    "served",
    "user=4711",
    "path=\"/api/v1/items\"",
    "status=200",
    "in",
    "12",
    "ms",
    "cache",
    "miss",
    "für",
    "retry",
    "C:\\temp",
    "peer=10.0.3.17:443",
    "bytes=1932",
    "closed",
];
