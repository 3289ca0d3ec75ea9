//! Faults of a registry, and the rules that select the requests.

use std::io;
use std::time::Duration;

use super::content::Content;
use super::message::{Request, Response};

/// A change to an answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Closes the connection after this many bytes of the body.
    CutAfter(u64),
    /// Sends this many bytes of the body, sends nothing for this duration, and closes the connection.
    StallAfter(u64, Duration),
    /// Waits before the status line.
    Delay(Duration),
    /// Sends the body in chunks of this many bytes with a pause between them.
    Slow(usize, Duration),
    /// Sends a well-formed answer with only the first bytes of the body, this many.
    Truncate(u64),
    /// Sends a well-formed answer with these bytes after the body.
    Append(Vec<u8>),
    /// Sends this `Content-Length`, even if it is wrong.
    ContentLength(u64),
    /// Sends no length. The body ends with the connection.
    NoContentLength,
    /// Sends the body with `Transfer-Encoding: chunked`.
    Chunked,
    /// Sets a header.
    Header(&'static str, String),
    /// Removes a header.
    WithoutHeader(&'static str),
    /// Answers a range request with 200 and the whole body.
    IgnoreRange,
    /// Compresses the body, unless the request has `Accept-Encoding: identity`: without that header a server may
    /// choose.
    Compress,
    /// Flips the bits of the byte at this offset of the body.
    Corrupt(u64),
    /// Answers with this status, headers and body instead.
    Status(u16, Vec<(&'static str, String)>, String),
    /// Answers 307 with this prefix and the path of the request as `Location`.
    RedirectTo(String),
    /// Answers with this status and this `Location`.
    Redirect(u16, String),
    /// Closes the connection instead of answering.
    Close,
    /// Answers, then closes the connection without announcing it.
    CloseAfter,
    /// Sends these bytes instead of HTTP.
    Garbage(Vec<u8>),
    /// Reads this many bytes of the request's body, and closes the connection. An upload keeps these bytes.
    CutRequest(u64),
    /// Answers without reading the request's body, and closes the connection.
    AnswerEarly,
    /// Shortens the request's upload to this many bytes after the request.
    ShortenUpload(u64),
    /// Forgets the request's upload before the request.
    ForgetUpload,
    /// Revokes all tokens before the request.
    RevokeTokens,
    /// Starts an upload instead of mounting a blob.
    NoMount,
    /// Replaces scheme, host and port of the `Location`. The empty string makes it relative.
    LocationAt(String),
}

/// The faults of an answer, and the requests that they apply to.
#[derive(Clone, Debug)]
pub struct Rule {
    part: String,
    method: Option<&'static str>,
    skip: usize,
    times: usize,
    faults: Vec<Fault>,
}

impl Rule {
    /// Returns a rule for every request with `part` in its path or query. The empty string matches all requests.
    pub fn on(part: &str) -> Self {
        Self { part: part.to_owned(), method: None, skip: 0, times: usize::MAX, faults: Vec::new() }
    }

    /// Restricts the rule to a method.
    pub fn method(mut self, method: &'static str) -> Self {
        self.method = Some(method);
        self
    }

    /// Skips this many matching requests.
    pub fn skip(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    /// Restricts the rule to this many requests. The default is all of them.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Adds a fault. Faults are applied in the order of their addition.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Returns the faults for this request, and counts the request if it matches.
    pub(super) fn take(&mut self, request: &Request) -> Vec<Fault> {
        let matches = request.path.contains(&self.part) && self.method.is_none_or(|method| method == request.method);
        if !matches || self.times == 0 {
            return Vec::new();
        }
        if self.skip > 0 {
            self.skip -= 1;
            return Vec::new();
        }
        self.times -= 1;
        self.faults.clone()
    }
}

/// The way in which an answer's bytes are sent.
#[derive(Default)]
pub(super) struct Wire {
    pub(super) delay: Duration,
    pub(super) cut_after: Option<u64>,
    pub(super) stall: Duration,
    pub(super) slow: Option<(usize, Duration)>,
    pub(super) chunked: bool,
    pub(super) no_length: bool,
    pub(super) close: bool,
    /// Whether the body of the request arrives after the answer.
    pub(super) drain: bool,
    pub(super) raw: Option<Vec<u8>>,
}

/// Applies a fault to an answer.
pub(super) fn apply(fault: &Fault, request: &Request, response: &mut Response) -> io::Result<()> {
    match fault {
        Fault::CutAfter(count) => response.wire.cut_after = Some(*count),
        Fault::StallAfter(count, duration) => {
            response.wire.cut_after = Some(*count);
            response.wire.stall = *duration;
        }
        Fault::Delay(duration) => response.wire.delay = *duration,
        Fault::Slow(size, pause) => response.wire.slow = Some((*size, *pause)),
        Fault::Truncate(size) => response.range.1 = response.range.1.min(*size),
        Fault::Append(more) => edit_body(response, |body| body.extend_from_slice(more))?,
        Fault::ContentLength(length) => response.set("Content-Length", Some(&length.to_string())),
        Fault::NoContentLength => response.wire.no_length = true,
        Fault::Chunked => response.wire.chunked = true,
        Fault::Header(name, value) => response.set(name, Some(value)),
        Fault::WithoutHeader(name) => response.set(name, None),
        // The routes apply this fault, because they have the whole body.
        Fault::IgnoreRange => {}
        Fault::Compress if request.header("accept-encoding") == Some("identity") => {}
        Fault::Compress => {
            edit_body(response, |body| *body = gzip(body))?;
            response.set("Content-Encoding", Some("gzip"));
        }
        Fault::Corrupt(at) => edit_body(response, |body| {
            if let Some(byte) = usize::try_from(*at).ok().and_then(|at| body.get_mut(at)) {
                *byte ^= 0xff;
            }
        })?,
        Fault::Status(status, headers, body) => {
            replace(response, *status, body)?;
            response.headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        }
        Fault::RedirectTo(prefix) => {
            replace(response, 307, "")?;
            response.headers = vec![("Location".to_owned(), format!("{prefix}{}", request.path))];
        }
        Fault::Redirect(status, location) => {
            replace(response, *status, "")?;
            response.headers = vec![("Location".to_owned(), location.clone())];
        }
        Fault::Close => response.wire.raw = Some(Vec::new()),
        Fault::CloseAfter => response.wire.close = true,
        Fault::Garbage(bytes) => response.wire.raw = Some(bytes.clone()),
        Fault::AnswerEarly => response.wire.drain = true,
        Fault::LocationAt(prefix) => {
            if let Some((_, location)) = response.headers.iter_mut().find(|(name, _)| name == "Location") {
                let path = location.find("/v2/").unwrap_or_default();
                *location = format!("{prefix}{}", &location[path..]);
            }
        }
        // The routes apply these, because they change the state.
        Fault::CutRequest(_) | Fault::ShortenUpload(_) | Fault::ForgetUpload | Fault::RevokeTokens | Fault::NoMount => {
        }
    }
    Ok(())
}

fn replace(response: &mut Response, status: u16, body: &str) -> io::Result<()> {
    let head = response.head;
    let wire = std::mem::take(&mut response.wire);
    *response = Response { head, wire, ..Response::new(status, body.as_bytes())? };
    Ok(())
}

fn edit_body(response: &mut Response, edit: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
    let (start, length) = response.range;
    let mut body = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(response.body.reader(start)?, length), &mut body)?;
    edit(&mut body);
    response.range = (0, body.len() as u64);
    response.body = Content::from(body);
    Ok(())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    io::Write::write_all(&mut encoder, bytes).and_then(|()| encoder.finish()).expect("a vector takes all bytes")
}
