//! Blobs, from any byte on (OCI distribution-spec, "Pulling blobs"; RFC 9110, section 14).

use std::io::{self, Read};
use std::ops::Range;

use bytes::{Buf, Bytes};
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, StatusCode, Url};
use vmroot_errors::with_causes;
use vmroot_model::{Descriptor, Reference};
use vmroot_output::Cancel;

use crate::http::{Call, Exchange};
use crate::{Client, Error, Result};

/// What a registry answers that cannot start where it was asked to.
const RANGE_NOT_SATISFIABLE: u16 = StatusCode::RANGE_NOT_SATISFIABLE.as_u16();

/// The bytes of a blob, from some offset to its end.
///
/// It ends early, with an error, when the connection breaks: [`ResumingBlob`](crate::ResumingBlob) goes on from there.
#[derive(Debug)]
pub struct BlobBody {
    exchange: Exchange,
    /// What came and was not read yet.
    chunk: Bytes,
    /// Where the bytes start in the blob.
    offset: u64,
    /// How many bytes are still to come, by the descriptor.
    left: u64,
    /// Where they end by the descriptor.
    size: u64,
}

impl Client {
    /// Asks for a blob from `offset` on. A registry that cannot start there starts at 0: see [`BlobBody::offset`].
    ///
    /// A foreign layer that the registry does not give is asked for at the addresses of its descriptor
    /// ([`Descriptor::foreign_urls`]), without credentials. Unless the registry is itself on this machine, or in a private
    /// network, they must be public ones.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unauthorized`], [`Error::Range`] for another part than the one asked for,
    /// [`Error::SizeMismatch`] when the blob has another size than its descriptor says.
    pub fn blob(&self, reference: &Reference, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        let call = self.blob_call(reference, descriptor)?;
        let found = from_offset(&call, offset, |call, offset| {
            self.send(reference, call, |answer| BlobBody::new(answer, descriptor, offset))
        });
        match found {
            Err(error) if error.is_refusal() && descriptor.foreign_urls().next().is_some() => {
                self.foreign_blob(&call.url, descriptor, offset, error)
            }
            found => found,
        }
    }

    /// Asks for a part of a blob, and takes nothing else for an answer. `cancel` ends it.
    pub(crate) fn blob_part(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        range: Range<u64>,
        cancel: &Cancel,
    ) -> Result<BlobBody> {
        let mut call = Call { cancel: Some(cancel.clone()), ..self.blob_call(reference, descriptor)? };
        call.headers.insert(RANGE, bytes_header(range.start, Some(range.end)));
        self.send(reference, &call, |answer| BlobBody::part(answer, descriptor, range.clone()))
    }

    fn blob_call(&self, reference: &Reference, descriptor: &Descriptor) -> Result<Call> {
        self.call(reference, Method::GET, &format!("blobs/{}", descriptor.digest))
    }

    /// The blob from the first of the descriptor's own addresses that has it.
    fn foreign_blob(
        &self,
        registry: &Url,
        descriptor: &Descriptor,
        offset: u64,
        mut failed: Error,
    ) -> Result<BlobBody> {
        let reach = Some(self.reach_of(registry));
        for url in descriptor.foreign_urls() {
            let Ok(mut url) = Url::parse(url) else { continue };
            // A user in a URL would be sent as credentials. URLs of HTTP can do without one.
            let _ = (url.set_username(""), url.set_password(None));
            let call = Call { reach, ..Call::new(Method::GET, url) };
            let found = from_offset(&call, offset, |call, offset| {
                self.send_elsewhere(call, |answer| BlobBody::new(answer, descriptor, offset))
            });
            match found {
                Ok(body) => return Ok(body),
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => {
                    tracing::info!(error = with_causes(&error), digest = %descriptor.digest, "a foreign layer is not there");
                    failed = error;
                }
            }
        }
        Err(failed)
    }
}

/// Asks for a blob from `offset` on, and for all of it from who cannot start there.
fn from_offset(call: &Call, offset: u64, ask: impl Fn(&Call, u64) -> Result<BlobBody>) -> Result<BlobBody> {
    if offset == 0 {
        return ask(call, 0);
    }
    let mut rest = call.clone();
    rest.headers.insert(RANGE, bytes_header(offset, None));
    match ask(&rest, offset) {
        Err(Error::Status { status: RANGE_NOT_SATISFIABLE, .. }) => ask(call, 0),
        answer => answer,
    }
}

/// A `Range` from `start` to before `end`, or to the end of the blob.
fn bytes_header(start: u64, end: Option<u64>) -> HeaderValue {
    let last = end.map_or(String::new(), |end| (end - 1).to_string());
    HeaderValue::try_from(format!("bytes={start}-{last}")).expect("digits are visible characters")
}

impl BlobBody {
    fn new(exchange: Exchange, descriptor: &Descriptor, asked: u64) -> Result<Self> {
        let size = descriptor.size;
        let offset = match exchange.status() {
            StatusCode::PARTIAL_CONTENT => {
                check_range(&exchange, asked..size, size)?;
                asked
            }
            // Also a success, and not what was asked for: the body is of something else.
            status if status != StatusCode::OK => {
                let reason = format!("the status is {status}");
                return Err(Error::Range { url: exchange.shown(), offset: asked, reason });
            }
            _ => 0,
        };
        let left = size.saturating_sub(offset);
        if let Some(length) = exchange.content_length().filter(|length| *length != left) {
            return Err(Error::SizeMismatch { url: exchange.shown(), expected: size, actual: offset + length });
        }
        Ok(Self { exchange, chunk: Bytes::new(), offset, left, size })
    }

    /// The body of an answer that is this part of a blob.
    fn part(exchange: Exchange, descriptor: &Descriptor, range: Range<u64>) -> Result<Self> {
        if exchange.status() != StatusCode::PARTIAL_CONTENT {
            let reason = format!("the status is {}", exchange.status());
            return Err(Error::Range { url: exchange.shown(), offset: range.start, reason });
        }
        check_range(&exchange, range.clone(), descriptor.size)?;
        let left = range.end - range.start;
        if let Some(length) = exchange.content_length().filter(|length| *length != left) {
            let reason = format!("its length is {length}, not {left}");
            return Err(Error::Range { url: exchange.shown(), offset: range.start, reason });
        }
        Ok(Self { exchange, chunk: Bytes::new(), offset: range.start, left, size: range.end })
    }

    /// The bytes that come next; `None` at the end.
    pub(crate) fn take_chunk(&mut self) -> Result<Option<Bytes>> {
        Ok(self.next_chunk()?.then(|| std::mem::take(&mut self.chunk)))
    }

    /// Where the bytes start in the blob: the offset asked for, or 0.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads some bytes; 0 only once all bytes of the descriptor came.
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

    /// Takes what comes next; false at the end of the blob.
    fn next_chunk(&mut self) -> Result<bool> {
        let Some(chunk) = self.exchange.chunk()? else {
            if self.left == 0 {
                return Ok(false);
            }
            let reason = format!("{} bytes are missing", self.left);
            return Err(Error::Broken { url: self.exchange.shown(), reason });
        };
        let Some(left) = self.left.checked_sub(chunk.len() as u64) else {
            // Not given on: who reads would have to count as well.
            let actual = self.size - self.left + chunk.len() as u64;
            return Err(Error::SizeMismatch { url: self.exchange.shown(), expected: self.size, actual });
        };
        self.left = left;
        self.chunk = chunk;
        if self.exchange.is_complete() {
            // Who has all bytes may not ask for more: the connection is free from now on.
            self.exchange.chunk()?;
        }
        Ok(true)
    }

    /// Makes sure that nothing comes after the last byte of the descriptor.
    pub(crate) fn finish(mut self) -> Result<()> {
        match self.next_chunk() {
            // All bytes came, so how the connection ends is no matter.
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

/// Checks that a partial answer is the part that was asked for: `Content-Range: bytes first-last/size`.
fn check_range(exchange: &Exchange, asked: Range<u64>, size: u64) -> Result<()> {
    let refused = |reason: String| Error::Range { url: exchange.shown(), offset: asked.start, reason };
    let header = exchange.header(CONTENT_RANGE).ok_or_else(|| refused("it has no Content-Range".to_owned()))?;
    let (first, last, total) =
        parse_range(header).ok_or_else(|| refused(format!("its Content-Range is {header:?}")))?;
    if first != asked.start || last + 1 != asked.end || total.is_some_and(|total| total != size) {
        return Err(refused(format!("its Content-Range is {header:?}, of a blob of {size} bytes")));
    }
    Ok(())
}

/// `bytes first-last/total`, the total a number or `*`.
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
