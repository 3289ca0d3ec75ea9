//! Fetching of blobs from any offset (OCI distribution-spec 1.1, "Pulling blobs"; RFC 9110, section 14).

use std::io::{self, Read};
use std::ops::Range;

use bytes::{Buf, Bytes};
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, StatusCode, Url};
use vmroot_errors::with_causes;
use vmroot_model::{Descriptor, Reference};

use crate::http::{AddressScope, HttpRequest, HttpResponse};
use crate::{Client, Error, Result};

/// The status of a server that cannot start at the requested offset.
const RANGE_NOT_SATISFIABLE: u16 = StatusCode::RANGE_NOT_SATISFIABLE.as_u16();

/// A reader of a blob's bytes, from an offset to the end of the blob.
///
/// If the connection breaks, reading fails. [`ResumingBlob`](crate::ResumingBlob) reconnects instead. The bytes are not
/// hashed. Their number is checked against the descriptor's size.
#[derive(Debug)]
pub struct BlobBody {
    response: HttpResponse,
    /// Bytes that were received and not yet read.
    chunk: Bytes,
    /// The offset in the blob of the first byte.
    offset: u64,
    /// The number of bytes still to be received, by the descriptor.
    remaining: u64,
    /// The offset in the blob of the end of the body, by the descriptor.
    size: u64,
}

impl Client {
    /// Requests a blob from `offset` bytes on. A registry that does not support ranges sends the blob from byte 0: see
    /// [`BlobBody::offset`].
    ///
    /// If the registry does not serve a foreign layer, the URLs of its descriptor are tried
    /// ([`Descriptor::foreign_urls`]), without credentials. These must have public addresses, unless the registry
    /// itself is in a private network or on this machine.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: the registry does not have the blob.
    /// - [`Error::Unauthorized`]: the credentials, or the lack of them, do not give access.
    /// - [`Error::Range`]: the server sent another part than the requested one.
    /// - [`Error::SizeMismatch`]: the size of the blob differs from the descriptor's.
    /// - [`Error::Address`]: the URL of a foreign layer has no public address.
    /// - Any other variant for a failure of the connection, the registry, its token server, or the credentials.
    pub fn blob(&self, reference: &Reference, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        let request = self.blob_request(reference, descriptor)?;
        let body = request_from_offset(&request, offset, |request, offset| {
            self.send(reference, request, |response| BlobBody::new(response, descriptor, offset))
        });
        match body {
            Err(error) if error.is_refusal() && descriptor.foreign_urls().next().is_some() => {
                let scope = self.scope_of_server(&request.url);
                self.foreign_blob(scope, descriptor, offset)?.unwrap_or(Err(error))
            }
            body => body,
        }
    }

    /// Requests a foreign layer that is in no registry from the URLs of its descriptor ([`Descriptor::foreign_urls`]),
    /// without credentials. They must have public addresses. A server that does not support ranges sends the layer from
    /// byte 0.
    ///
    /// # Errors
    /// The error of the last URL, as for [`Self::blob`]. [`Error::NotFound`]: the descriptor has no HTTP URL, or is not
    /// that of a foreign layer.
    pub fn foreign_layer(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        let none = || {
            let message = "the descriptor has no URL of a foreign layer".to_owned();
            Err(Error::NotFound { url: descriptor.digest.to_string(), message })
        };
        self.foreign_blob(AddressScope::Public, descriptor, offset)?.unwrap_or_else(none)
    }

    /// Requests a part of a blob. A response with any other part is an error.
    pub(crate) fn blob_part(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<BlobBody> {
        let mut request = self.blob_request(reference, descriptor)?;
        request.headers.insert(RANGE, range_header(range.start, Some(range.end)));
        self.send(reference, &request, |response| BlobBody::from_part(response, descriptor, range.clone()))
    }

    fn blob_request(&self, reference: &Reference, descriptor: &Descriptor) -> Result<HttpRequest> {
        self.request(reference, Method::GET, &format!("blobs/{}", descriptor.digest))
    }

    /// Returns the blob from the first of the descriptor's URLs that serves it, or the error of the last URL. Returns
    /// `None` if there is no URL.
    fn foreign_blob(
        &self,
        scope: AddressScope,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<Option<Result<BlobBody>>> {
        let (address_scope, mut failed) = (Some(scope), None);
        for url in descriptor.foreign_urls() {
            let Ok(mut url) = Url::parse(url) else { continue };
            // A user in the URL would be sent as credentials. HTTP URLs need none.
            let _ = (url.set_username(""), url.set_password(None));
            let request = HttpRequest { address_scope, ..self.request_url(Method::GET, url) };
            let body = request_from_offset(&request, offset, |request, offset| {
                self.send_unchanged(request, |response| BlobBody::new(response, descriptor, offset))
            });
            match body {
                Ok(body) => return Ok(Some(Ok(body))),
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => {
                    tracing::info!(error = with_causes(&error), digest = %descriptor.digest, "cannot fetch a foreign layer from this URL");
                    failed = Some(Err(error));
                }
            }
        }
        Ok(failed)
    }
}

/// Requests a blob from `offset` on. If the server cannot start there, requests the whole blob.
fn request_from_offset(
    request: &HttpRequest,
    offset: u64,
    send: impl Fn(&HttpRequest, u64) -> Result<BlobBody>,
) -> Result<BlobBody> {
    if offset == 0 {
        return send(request, 0);
    }
    let mut rest = request.clone();
    rest.headers.insert(RANGE, range_header(offset, None));
    match send(&rest, offset) {
        Err(Error::Status { status: RANGE_NOT_SATISFIABLE, .. }) => send(request, 0),
        response => response,
    }
}

/// Returns a `Range` header from `start` up to `end`, exclusive, or up to the end of the blob.
fn range_header(start: u64, end: Option<u64>) -> HeaderValue {
    let last = end.map_or(String::new(), |end| (end - 1).to_string());
    HeaderValue::try_from(format!("bytes={start}-{last}")).expect("digits are visible characters")
}

impl BlobBody {
    fn new(response: HttpResponse, descriptor: &Descriptor, requested: u64) -> Result<Self> {
        let size = descriptor.size;
        let offset = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                check_range(&response, requested..size, size)?;
                requested
            }
            // Other success statuses, such as 204, have no blob in their body.
            status if status != StatusCode::OK => {
                let reason = format!("the status is {status}");
                return Err(Error::Range { url: response.redacted_url(), offset: requested, reason });
            }
            _ => 0,
        };
        let remaining = size.saturating_sub(offset);
        if let Some(length) = response.content_length().filter(|length| *length != remaining) {
            return Err(Error::SizeMismatch { url: response.redacted_url(), expected: size, actual: offset + length });
        }
        Ok(Self { response, chunk: Bytes::new(), offset, remaining, size })
    }

    /// Returns the body of a response that must be this part of a blob.
    fn from_part(response: HttpResponse, descriptor: &Descriptor, range: Range<u64>) -> Result<Self> {
        if response.status() != StatusCode::PARTIAL_CONTENT {
            let reason = format!("the status is {}", response.status());
            return Err(Error::Range { url: response.redacted_url(), offset: range.start, reason });
        }
        check_range(&response, range.clone(), descriptor.size)?;
        let remaining = range.end - range.start;
        if let Some(length) = response.content_length().filter(|length| *length != remaining) {
            let reason = format!("its length is {length}, not {remaining}");
            return Err(Error::Range { url: response.redacted_url(), offset: range.start, reason });
        }
        Ok(Self { response, chunk: Bytes::new(), offset: range.start, remaining, size: range.end })
    }

    /// Returns the next received bytes, or `None` at the end of the body.
    pub(crate) fn take_chunk(&mut self) -> Result<Option<Bytes>> {
        Ok(self.next_chunk()?.then(|| std::mem::take(&mut self.chunk)))
    }

    /// Returns the offset in the blob of the first byte: the requested offset, or 0.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads some bytes. Returns 0 only after all bytes of the descriptor, or for an empty buffer.
    pub(crate) fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.chunk.is_empty() {
            if !self.next_chunk()? {
                return Ok(0);
            }
        }
        let count = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }

    /// Receives the next bytes into `chunk`. Returns false at the end of the blob.
    fn next_chunk(&mut self) -> Result<bool> {
        let Some(chunk) = self.response.chunk()? else {
            if self.remaining == 0 {
                return Ok(false);
            }
            let reason = format!("{} bytes are missing", self.remaining);
            return Err(Error::Broken { url: self.response.redacted_url(), reason });
        };
        let Some(remaining) = self.remaining.checked_sub(chunk.len() as u64) else {
            // The excess is not returned, so that readers need not count bytes.
            let actual = self.size - self.remaining + chunk.len() as u64;
            return Err(Error::SizeMismatch { url: self.response.redacted_url(), expected: self.size, actual });
        };
        self.remaining = remaining;
        self.chunk = chunk;
        if self.response.is_complete() {
            // A reader that has all bytes may not read again. Reading the end here releases the connection at once.
            self.response.chunk()?;
        }
        Ok(true)
    }

    /// Checks that no data follows the last byte of the descriptor.
    pub(crate) fn finish(mut self) -> Result<()> {
        match self.next_chunk() {
            // All bytes have been received, so a broken connection is harmless.
            Err(error) if error.is_broken_connection() => Ok(()),
            end => end.map(drop),
        }
    }
}

impl Read for BlobBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_some(buffer)?)
    }
}

/// Checks that the `Content-Range` of a partial response is the requested part: `bytes first-last/size`.
fn check_range(response: &HttpResponse, requested: Range<u64>, size: u64) -> Result<()> {
    let refused = |reason: String| Error::Range { url: response.redacted_url(), offset: requested.start, reason };
    let header = response.header(CONTENT_RANGE).ok_or_else(|| refused("it has no Content-Range".to_owned()))?;
    let (first, last, total) =
        parse_range(header).ok_or_else(|| refused(format!("its Content-Range is {header:?}")))?;
    if first != requested.start || last + 1 != requested.end || total.is_some_and(|total| total != size) {
        return Err(refused(format!("its Content-Range is {header:?}, of a blob of {size} bytes")));
    }
    Ok(())
}

/// Parses `bytes first-last/total`. The total is a number or `*`.
fn parse_range(header: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.trim().split_once('-')?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    let total = if total == "*" { None } else { Some(number(total)?) };
    let (first, last): (u64, u64) = (number(first)?, number(last)?);
    (first <= last && last < u64::MAX).then_some((first, last, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(parse_range("bytes 5-9/10"), Some((5, 9, Some(10))));
        assert_eq!(parse_range("bytes 5-9/*"), Some((5, 9, None)));
        for header in
            ["", "bytes", "bytes 5-9", "bytes 9-5/10", "bytes */10", "octets 5-9/10", "bytes +5-9/10", "bytes 5-/10"]
        {
            assert_eq!(parse_range(header), None, "{header}");
        }
    }
}
