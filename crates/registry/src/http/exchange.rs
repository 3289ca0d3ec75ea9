//! An answer whose body is yet to be read.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{AsHeaderName, CONTENT_ENCODING, HeaderMap};
use reqwest::{Response, StatusCode, Url};

use super::line::Line;
use super::{Call, Http, shown};
use crate::{Error, Result};

/// An answer: its head, and a body to come.
pub(crate) struct Exchange {
    http: Arc<Http>,
    /// Given back once the body is read; a line with half a body left is thrown away, connection and all.
    line: Option<Line>,
    response: Response,
    /// The last one of a chain of redirects.
    call: Call,
    moved: bool,
}

impl Exchange {
    pub(super) fn new(http: &Arc<Http>, line: Line, response: Response, call: Call, moved: bool) -> Self {
        Self { http: Arc::clone(http), line: Some(line), response, call, moved }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The text of a header.
    pub(crate) fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// What the answer says about the length of its body, in bytes.
    pub(crate) fn content_length(&self) -> Option<u64> {
        // Not reqwest's function, which knows how much is still to come, and so nothing of HEAD.
        self.header(reqwest::header::CONTENT_LENGTH).and_then(|value| value.parse().ok())
    }

    /// The URL that answered, the last one of a chain of redirects, for messages.
    pub(crate) fn shown(&self) -> String {
        shown(&self.call.url)
    }

    /// Whether another origin answered than the one asked.
    pub(crate) fn moved(&self) -> bool {
        self.moved
    }

    /// Whether nothing more can come; always false if the answer does not say how long its body is.
    pub(crate) fn is_complete(&self) -> bool {
        self.response.content_length() == Some(0)
    }

    /// Whether it came from the scheme, host and port of `base`.
    pub(crate) fn is_from(&self, base: &Url) -> bool {
        self.call.url.origin() == base.origin()
    }

    /// Reads what is left of the body if it is short, so that the connection can be used again.
    pub(crate) fn discard(self) {
        let Self { http, line, response, call, .. } = self;
        if let Some(line) = line
            && line.drain(&http, &call, response)
        {
            http.give_back(line);
        }
    }

    /// The next piece of the body; `None` at its end, and from then on.
    pub(crate) fn chunk(&mut self) -> Result<Option<Bytes>> {
        let Some(line) = &self.line else { return Ok(None) };
        let chunk = line.chunk(&self.http, &self.call, &mut self.response);
        match chunk {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => {
                if let Some(line) = self.line.take() {
                    self.http.give_back(line);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if it is longer than `limit` bytes.
    pub(crate) fn read_all(mut self, limit: u64) -> Result<Vec<u8>> {
        let too_large = |url| Error::TooLarge { url, limit };
        if self.content_length().is_some_and(|length| length > limit) {
            return Err(too_large(self.shown()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk()? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(too_large(self.shown()));
            }
            bytes.extend_from_slice(&chunk);
        }
        self.check_encoding(&bytes)?;
        Ok(bytes)
    }

    /// Notices a document that was compressed although we asked for it as it is. A server that only says so is common:
    /// it tells how the file is stored.
    fn check_encoding(&self, bytes: &[u8]) -> Result<()> {
        let encoding = self.header(CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("identity"));
        match encoding {
            Some(encoding) if !bytes.trim_ascii_start().starts_with(b"{") => {
                Err(Error::Encoded { url: self.shown(), encoding: encoding.chars().take(40).collect() })
            }
            _ => Ok(()),
        }
    }

    /// The beginning of the body, at most `limit` bytes of it, or what came before it broke off.
    pub(crate) fn read_some(mut self, limit: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Ok(Some(chunk)) = self.chunk() {
            bytes.extend_from_slice(&chunk[..chunk.len().min(limit - bytes.len())]);
            if bytes.len() == limit {
                break;
            }
        }
        bytes
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.status(), self.shown())
    }
}
