//! A client that knows as much HTTP/1.1 as this server needs: keep-alive, and bodies with a `content-length`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::article::{ARTICLES, Article};

/// A load has an end.
pub const REQUESTS_MAX: usize = 1_000_000;

/// One connection.
pub struct Client {
    stream: BufReader<TcpStream>,
    line: String,
    body: Vec<u8>,
}

impl Client {
    /// To this machine and no other.
    ///
    /// # Errors
    ///
    /// When `address` is not a loopback address, or nobody listens there.
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        if !address.ip().is_loopback() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{address} is not a loopback address")));
        }
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Client { stream: BufReader::new(stream), line: String::new(), body: Vec::new() })
    }

    /// Status and body.
    ///
    /// # Errors
    ///
    /// When the connection breaks, or what comes is not what this client knows of HTTP.
    pub fn get(&mut self, path: &str) -> io::Result<(u16, &[u8])> {
        write!(self.stream.get_mut(), "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let status = self.next_line()?.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| bad("no status"))?;
        let mut length = None;
        loop {
            let line = self.next_line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().ok();
                }
            }
        }
        self.body.resize(length.ok_or_else(|| bad("no content-length"))?, 0);
        self.stream.read_exact(&mut self.body)?;
        Ok((status, &self.body))
    }

    fn next_line(&mut self) -> io::Result<&str> {
        self.line.clear();
        if self.stream.read_line(&mut self.line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(self.line.trim_end())
    }
}

/// A path, and the body that belongs to it.
pub struct Page {
    path: String,
    body: Vec<u8>,
}

/// All articles.
#[must_use]
pub fn articles() -> Vec<Page> {
    (0..ARTICLES).map(|id| page(format!("/articles/{id}"), &Article::new(id))).collect()
}

/// An article with so many comments.
#[must_use]
pub fn with_comments(comments: usize) -> Vec<Page> {
    vec![page(format!("/comments/{comments}"), &Article::with_comments(0, comments))]
}

fn page(path: String, article: &Article) -> Page {
    Page { path, body: serde_json::to_vec(article).expect("an article can be serialized") }
}

/// Asks for pages over several connections, and compares each body with what it must be. Requests per second.
///
/// # Errors
///
/// The first of a connection, and a body that is wrong.
pub fn load(address: SocketAddr, pages: &[Page], requests: usize, connections: usize) -> io::Result<f64> {
    if requests > REQUESTS_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("more than {REQUESTS_MAX} requests")));
    }
    let each = requests / connections;
    let began = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|connection| {
                scope.spawn(move || -> io::Result<()> {
                    let mut client = Client::connect(address)?;
                    for request in 0..each {
                        let page = &pages[(connection * 131 + request * 7) % pages.len()];
                        let (status, body) = client.get(&page.path)?;
                        if status != 200 || body != page.body {
                            return Err(io::Error::other(format!("{} is wrong, status {status}", page.path)));
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a client does not panic"))
    })?;
    Ok((each * connections) as f64 / began.elapsed().as_secs_f64())
}
