//! The requests of one upload (OCI distribution-spec 1.1, "Pushing blobs").

use std::sync::Arc;

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Url};
use vmroot_errors::with_causes;
use vmroot_model::{Algorithm, Digest, Reference};

use super::StreamedBody;
use crate::http::{Access, Failure, HttpRequest, HttpResponse, RequestBody, location};
use crate::manifest::DOCKER_CONTENT_DIGEST;
use crate::{Client, Error, HostOptions, Result};

/// The header with the minimum length of all chunks but the last.
const OCI_CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// The number of inactivity timeouts to wait for the response to the last request. Registries on object storage then
/// move the blob, which takes minutes for large ones.
const CLOSE_PATIENCE: u32 = 10;

/// An upload that the registry has opened.
pub(super) struct UploadSession<'a> {
    client: &'a Client,
    reference: &'a Reference,
    base: Url,
    settings: Arc<HostOptions>,
    /// The URL for the next request. Each response may change it.
    location: Url,
    /// The minimum length of all chunks but the last, in bytes.
    pub(super) min_chunk: u64,
}

/// The state of an upload by a response.
struct Progress {
    location: Option<Url>,
    /// The number of bytes that the registry has, if it states a number other than 0 or 1. It writes the same range for
    /// these two, and some registries always write it.
    received: Option<u64>,
    has_range: bool,
}

impl<'a> UploadSession<'a> {
    /// Opens an upload of a blob with a digest of this algorithm.
    pub(super) fn open(client: &'a Client, reference: &'a Reference, algorithm: Algorithm) -> Result<Self> {
        let query = match algorithm {
            Algorithm::Sha256 => String::new(),
            other => format!("?digest-algorithm={}", other.name()),
        };
        let mut request = client.request(reference, Method::POST, &format!("blobs/uploads/{query}"))?;
        request.access = Access::Push;
        let base = request.base.clone().unwrap_or_else(|| request.url.clone());
        let settings = Arc::clone(&request.settings);
        let (location, min_chunk) = client.send(reference, &request, |response| {
            let url = response.redacted_url();
            let min_chunk = response.header(OCI_CHUNK_MIN_LENGTH).and_then(|text| text.parse().ok()).unwrap_or(0);
            let location = progress(&response, &base)?.location;
            response.discard();
            let missing = || Error::Upload { url, reason: "the answer has no Location".to_owned() };
            Ok((location.ok_or_else(missing)?, min_chunk))
        })?;
        Ok(Self { client, reference, base, settings, location, min_chunk })
    }

    /// Returns the URL of the upload, for messages.
    pub(super) fn url(&self) -> String {
        crate::http::redacted(&self.location)
    }

    fn request(&self, method: Method, url: Url) -> HttpRequest {
        let request = self.client.request_url(method, url);
        HttpRequest {
            base: Some(self.base.clone()),
            access: Access::Push,
            settings: Arc::clone(&self.settings),
            ..request
        }
    }

    /// Sends a part of the blob once. `range` is its first and last byte, if the request must state them. Returns the
    /// number of bytes that the registry claims to have, if it states it.
    pub(super) fn patch(&mut self, body: StreamedBody, range: Option<(u64, u64)>) -> Result<Option<u64>, Failure> {
        let mut request = self.request(Method::PATCH, self.location.clone());
        request.headers.insert(CONTENT_TYPE, octet_stream());
        if let Some((first, last)) = range {
            let value = HeaderValue::try_from(format!("{first}-{last}")).expect("digits are visible characters");
            request.headers.insert(CONTENT_RANGE, value);
        }
        request.body = RequestBody::Stream(body);
        let progress = self.client.try_send(self.reference, &request, |response| {
            let progress = progress(&response, &self.base);
            response.discard();
            progress
        })?;
        self.location = progress.location.unwrap_or_else(|| self.location.clone());
        Ok(progress.received)
    }

    /// Asks for the number of bytes that the registry has.
    pub(super) fn received(&mut self) -> Result<u64> {
        let request = self.request(Method::GET, self.location.clone());
        let url = self.url();
        let progress = self.client.send(self.reference, &request, |response| {
            let progress = progress(&response, &self.base);
            response.discard();
            progress
        })?;
        self.location = progress.location.unwrap_or_else(|| self.location.clone());
        match progress.received {
            Some(received) => Ok(received),
            None if progress.has_range => Ok(0),
            None => Err(Error::Upload { url, reason: "the answer has no Range".to_owned() }),
        }
    }

    /// Closes the upload once. `body` holds the whole blob if none of it was sent.
    pub(super) fn close(&self, digest: &Digest, body: RequestBody) -> Result<(), Failure> {
        let mut url = self.location.clone();
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let mut request = self.request(Method::PUT, url);
        request.patience = CLOSE_PATIENCE;
        if !matches!(body, RequestBody::Empty) {
            request.headers.insert(CONTENT_TYPE, octet_stream());
        }
        request.body = body;
        self.client.try_send(self.reference, &request, |response| {
            let stated = response.header(DOCKER_CONTENT_DIGEST).and_then(|text| Digest::parse(text).ok());
            let url = response.redacted_url();
            response.discard();
            match stated {
                Some(actual) if actual.algorithm() == digest.algorithm() && actual != *digest => {
                    Err(Error::DigestMismatch { url, expected: *digest, actual })
                }
                _ => Ok(()),
            }
        })
    }

    /// Deletes the upload. A failure is ignored, because registries delete abandoned uploads by themselves.
    pub(super) fn cancel(&self) {
        let request = self.request(Method::DELETE, self.location.clone());
        cancel_upload(self.client, self.reference, &request);
    }
}

/// Sends a request that deletes an upload. A failure is ignored.
pub(crate) fn cancel_upload(client: &Client, reference: &Reference, request: &HttpRequest) {
    let delete = || {
        client.try_send(reference, request, |response| {
            response.discard();
            Ok(())
        })
    };
    let deleted = match delete() {
        // The registry may have closed the connection of the request before.
        Err(Failure::Transient(_)) => delete(),
        deleted => deleted,
    };
    if let Err(failure) = deleted {
        tracing::debug!(error = with_causes(&failure.into_error()), "cannot delete an upload");
    }
}

fn octet_stream() -> HeaderValue {
    HeaderValue::from_static("application/octet-stream")
}

fn progress(response: &HttpResponse, base: &Url) -> Result<Progress> {
    let location = response.header(LOCATION).map(|text| location::resolve(base, response.url(), text)).transpose()?;
    let range = response.header(RANGE);
    let last = range.and_then(parse_range).filter(|last| *last > 0);
    Ok(Progress { location, received: last.and_then(|last| last.checked_add(1)), has_range: range.is_some() })
}

/// Parses the `Range` of an upload, `0-LAST`. Some registries write a unit before it.
fn parse_range(text: &str) -> Option<u64> {
    let text = text.trim().trim_start_matches("bytes").trim_start_matches(['=', ' ']);
    text.strip_prefix("0-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_uploads() {
        for (text, last) in [
            ("0-0", Some(0)),
            ("0-99", Some(99)),
            ("bytes=0-99", Some(99)),
            ("bytes 0-99", Some(99)),
            (" 0-9 ", Some(9)),
        ] {
            assert_eq!(parse_range(text), last, "{text}");
        }
        for text in ["", "0", "0-", "5-9", "0-x", "0--1", "bytes", "0-99999999999999999999"] {
            assert_eq!(parse_range(text), None, "{text}");
        }
    }
}
