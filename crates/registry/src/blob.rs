//! Blobs, from any byte on (OCI distribution-spec, "Pulling blobs"; RFC 9110, section 14).

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, StatusCode, Url};
use vmroot_model::{Descriptor, Reference};

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
    /// The blob's size by the descriptor.
    size: u64,
}

impl Client {
    /// Asks for a blob from `offset` on. A registry that cannot start there starts at 0: see [`BlobBody::offset`].
    ///
    /// A foreign layer that the registry has not is asked for at the addresses of its descriptor, without credentials.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unauthorized`], [`Error::Range`] for another part than the one asked for,
    /// [`Error::SizeMismatch`] when the blob has another size than its descriptor says.
    pub fn blob(&self, reference: &Reference, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        let call = self.call(reference, Method::GET, &format!("blobs/{}", descriptor.digest))?;
        let found = from_offset(&call, offset, |call, offset| {
            self.send(reference, call, |answer| BlobBody::new(answer, descriptor, offset))
        });
        match found {
            Err(Error::NotFound { url, message }) if !descriptor.urls.is_empty() => {
                self.foreign_blob(descriptor, offset, Error::NotFound { url, message })
            }
            found => found,
        }
    }

    /// The blob from the first of the descriptor's own addresses that has it; `missing` if none is an address.
    fn foreign_blob(&self, descriptor: &Descriptor, offset: u64, missing: Error) -> Result<BlobBody> {
        let urls = descriptor.urls.iter().filter_map(|url| Url::parse(url).ok());
        let mut failed = missing;
        for url in urls.filter(|url| matches!(url.scheme(), "http" | "https")) {
            let found = from_offset(&Call::new(Method::GET, url), offset, |call, offset| {
                self.send_elsewhere(call, |answer| BlobBody::new(answer, descriptor, offset))
            });
            match found {
                Ok(body) => return Ok(body),
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => failed = error,
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
    let range = HeaderValue::try_from(format!("bytes={offset}-")).expect("digits are visible characters");
    rest.headers.insert(RANGE, range);
    match ask(&rest, offset) {
        Err(Error::Status { status: RANGE_NOT_SATISFIABLE, .. }) => ask(call, 0),
        answer => answer,
    }
}

impl BlobBody {
    fn new(exchange: Exchange, descriptor: &Descriptor, asked: u64) -> Result<Self> {
        let size = descriptor.size;
        let offset = match exchange.status() {
            StatusCode::PARTIAL_CONTENT => {
                check_range(&exchange, asked, size)?;
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

/// Checks that a partial answer is the rest of the blob from `asked` on: `Content-Range: bytes asked-last/size`.
fn check_range(exchange: &Exchange, asked: u64, size: u64) -> Result<()> {
    let refused = |reason: String| Error::Range { url: exchange.shown(), offset: asked, reason };
    let header = exchange.header(CONTENT_RANGE).ok_or_else(|| refused("it has no Content-Range".to_owned()))?;
    let (first, last, total) =
        parse_range(header).ok_or_else(|| refused(format!("its Content-Range is {header:?}")))?;
    if first != asked || last + 1 != size || total.is_some_and(|total| total != size) {
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
