//! The part of HTTP/1.1 messages that a registry needs.

use std::io::{self, BufRead, Read};

use super::content::Content;
use super::fault::Wire;

/// A received request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method: `GET`, `HEAD` or `POST`.
    pub method: String,
    /// The path and query, percent-encoded.
    pub path: String,
    /// The headers in order, with names as the client wrote them.
    pub headers: Vec<(String, String)>,
    /// The body, if any.
    pub body: Vec<u8>,
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

    /// Reads one request. Returns `None` at the end of the connection.
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
        let mut request = Self { method, path, headers, body: Vec::new() };
        let length = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        reader.take(length).read_to_end(&mut request.body)?;
        Ok(Some(request))
    }
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
