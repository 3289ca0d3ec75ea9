//! HTTP responses.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{AsHeaderName, CONTENT_ENCODING, HeaderMap};
use reqwest::{Response, StatusCode, Url};

use super::blocking_client::BlockingClient;
use super::{Http, HttpRequest, RequestLog, redacted};
use crate::{Error, Result};

/// A response with its head, whose body is still to be read.
pub(crate) struct HttpResponse {
    http: Arc<Http>,
    /// Returned to the pool when the body has been read. Otherwise it is dropped with its connection.
    client: Option<BlockingClient>,
    inner: Response,
    /// The last request of a chain of redirects.
    request: HttpRequest,
    redirected: bool,
    /// Whether the request was sent with credentials of the caller.
    pub(crate) has_credentials: bool,
    /// Writes the line of the log at the end of the response.
    log: RequestLog,
}

impl HttpResponse {
    pub(super) fn new(
        http: &Arc<Http>,
        client: BlockingClient,
        inner: Response,
        request: HttpRequest,
        redirected: bool,
        log: RequestLog,
    ) -> Self {
        let (http, client, has_credentials) = (Arc::clone(http), Some(client), false);
        Self { http, client, inner, request, redirected, has_credentials, log }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.inner.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// Returns the text of a header, or `None` if it is missing or not ASCII.
    pub(crate) fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.inner.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the `Content-Length`, in bytes.
    pub(crate) fn content_length(&self) -> Option<u64> {
        // reqwest's own function returns the length of the remaining body, which is 0 for HEAD.
        self.header(reqwest::header::CONTENT_LENGTH).and_then(|value| value.parse().ok())
    }

    /// Returns the URL of the last request of a chain of redirects, for messages.
    pub(crate) fn redacted_url(&self) -> String {
        redacted(&self.request.url)
    }

    /// Returns the URL of the last request of a chain of redirects. Its query may hold secrets.
    pub(crate) fn url(&self) -> &Url {
        &self.request.url
    }

    /// Returns whether redirects led to another origin.
    pub(crate) fn is_redirected(&self) -> bool {
        self.redirected
    }

    /// Returns whether the whole body has been received. Always false if its length is unknown.
    pub(crate) fn is_complete(&self) -> bool {
        self.inner.content_length() == Some(0)
    }

    /// Returns whether it came from the scheme, host and port of `base`.
    pub(crate) fn is_from(&self, base: &Url) -> bool {
        self.request.url.origin() == base.origin()
    }

    /// Discards the body. A short one is read, so that the connection can be reused.
    pub(crate) fn discard(self) {
        let Self { http, client, inner, request, .. } = self;
        if let Some(client) = client
            && client.drain(&http, &request, inner)
        {
            http.release(client);
        }
    }

    /// Reads the next chunk of the body. Returns `None` at its end and afterwards.
    pub(crate) fn chunk(&mut self) -> Result<Option<Bytes>> {
        let Some(client) = &self.client else { return Ok(None) };
        let chunk = client.chunk(&self.http, &self.request, &mut self.inner);
        match chunk {
            Ok(Some(bytes)) => {
                self.log.bytes += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Ok(None) => {
                if let Some(client) = self.client.take() {
                    self.http.release(client);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the whole body.
    ///
    /// # Errors
    /// - [`Error::TooLarge`]: it is longer than `limit` bytes.
    /// - [`Error::Encoded`]: it is compressed, although that was not requested.
    /// - [`Error::Broken`], [`Error::Stalled`], [`Error::Cancelled`]: reading failed.
    pub(crate) fn read_all(mut self, limit: u64) -> Result<Vec<u8>> {
        let too_large = |url| Error::TooLarge { url, limit };
        if self.content_length().is_some_and(|length| length > limit) {
            return Err(too_large(self.redacted_url()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk()? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(too_large(self.redacted_url()));
            }
            bytes.extend_from_slice(&chunk);
        }
        self.check_encoding(&bytes)?;
        Ok(bytes)
    }

    /// Refuses a document that is compressed although that was not requested. A `Content-Encoding` alone is no
    /// evidence: some servers send it for files that are stored compressed.
    fn check_encoding(&self, bytes: &[u8]) -> Result<()> {
        let encoding = self.header(CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("identity"));
        match encoding {
            Some(encoding) if !bytes.trim_ascii_start().starts_with(b"{") => {
                Err(Error::Encoded { url: self.redacted_url(), encoding: encoding.chars().take(40).collect() })
            }
            _ => Ok(()),
        }
    }

    /// Reads the first bytes of the body, at most `limit`, or those received before an error.
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

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.status(), self.redacted_url())
    }
}
