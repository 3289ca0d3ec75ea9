//! The part of HTTP/1.1 messages that a registry needs.

use std::io::{self, BufRead, Write};

use super::content::Content;
use super::fault::Wire;

/// A received request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, such as `GET` or `PATCH`.
    pub method: String,
    /// The path and query, percent-encoded.
    pub path: String,
    /// The headers in order, with names as the client wrote them.
    pub headers: Vec<(String, String)>,
    /// The body, if any. Empty for the bytes of an upload.
    pub body: Vec<u8>,
    /// The number of bytes of the body that arrived.
    pub body_length: u64,
    /// The number of the request, from 1 on.
    pub(super) serial: u64,
}

impl Request {
    /// Returns the value of a header. The case of its name is ignored.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Returns the path without the query.
    pub fn path_only(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Returns the decoded values of a query parameter.
    pub fn query(&self, name: &str) -> Vec<String> {
        parameters(self.path.split_once('?').map_or("", |(_, query)| query), name)
    }

    /// Returns the decoded values of a form field in the body.
    pub fn form(&self, name: &str) -> Vec<String> {
        parameters(&String::from_utf8_lossy(&self.body), name)
    }

    /// Reads one request without its body. Returns `None` at the end of the connection.
    pub(super) fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(line) = read_line(reader)? else { return Ok(None) };
        let mut words = line.split(' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Err(io::Error::other("a request line has a method and a path"));
        };
        let (method, path) = (method.to_owned(), path.to_owned());
        let mut headers = Vec::new();
        while let Some(line) = read_line(reader)?.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other("a header has a colon"))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(Some(Self { method, path, headers, body: Vec::new(), body_length: 0, serial: 0 }))
    }

    /// Reads at most `limit` bytes of the body and writes them to `sink`. The rest is not read.
    pub(super) fn read_body(&self, reader: &mut impl BufRead, limit: u64, sink: &mut impl Write) -> Received {
        let mut received = Received { length: 0, is_whole: false };
        let is_chunked = self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let mut left = match self.header("content-length").and_then(|value| value.parse().ok()) {
            _ if is_chunked => 0,
            length => length.unwrap_or(0),
        };
        let mut buffer = vec![0; 1 << 16];
        loop {
            if left == 0 {
                match if is_chunked { chunk_length(reader) } else { Ok(0) } {
                    Ok(0) => {
                        received.is_whole = true;
                        return received;
                    }
                    Ok(length) => left = length,
                    Err(_) => return received,
                }
            }
            let length = left.min(limit - received.length).min(buffer.len() as u64) as usize;
            match reader.read(&mut buffer[..length]) {
                Ok(0) | Err(_) => return received,
                Ok(count) => {
                    sink.write_all(&buffer[..count]).expect("a file of the test takes all bytes");
                    received.length += count as u64;
                    left -= count as u64;
                    if left == 0 && is_chunked && read_line(reader).is_err() {
                        return received;
                    }
                }
            }
        }
    }
}

/// The part of a body that arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) length: u64,
    pub(super) is_whole: bool,
}

/// Reads the head of a chunk (RFC 9112, section 7.1), and the trailers after the last one. Returns the chunk's length.
fn chunk_length(reader: &mut impl BufRead) -> io::Result<u64> {
    let line = read_line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let digits = line.split(';').next().unwrap_or_default().trim();
    let length = u64::from_str_radix(digits, 16).map_err(io::Error::other)?;
    if length == 0 {
        while read_line(reader)?.is_some_and(|line| !line.is_empty()) {}
    }
    Ok(length)
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    let count = reader.read_line(&mut line)?;
    Ok((count > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
}

fn parameters(text: &str, name: &str) -> Vec<String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| decode(value)).collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap_or(b'?'), rest.next().unwrap_or(b'?')];
                let text = String::from_utf8_lossy(&digits);
                u8::from_str_radix(&text, 16).unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An answer, with or without faults.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Content,
    /// The first byte and length of the part of `body` that is sent.
    pub(super) range: (u64, u64),
    /// Whether this answers a HEAD request: the headers describe a body that is not sent.
    pub(super) head: bool,
    pub(super) wire: Wire,
}

impl Response {
    pub(super) fn new(status: u16, body: impl Into<Content>) -> io::Result<Self> {
        let body = body.into();
        let size = body.size()?;
        Ok(Self { status, headers: Vec::new(), body, range: (0, size), head: false, wire: Wire::default() })
    }

    /// Returns an error in the format of the distribution specification.
    pub(super) fn error(status: u16, code: &str, message: &str) -> io::Result<Self> {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}","detail":null}}]}}"#);
        Ok(Self::new(status, body.into_bytes())?.with("Content-Type", "application/json"))
    }

    /// Adds a header.
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets or removes a header.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>) {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        if let Some(value) = value {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
    }
}
