//! Existence of blobs, mounting, and writing of manifests (OCI distribution-spec 1.1, "Push").

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, StatusCode};
use vmroot_errors::with_causes;
use vmroot_model::{Digest, Hasher, MediaType, Reference};

use crate::http::{Access, HttpRequest, HttpResponse, RequestBody, location};
use crate::manifest::DOCKER_CONTENT_DIGEST;
use crate::upload::cancel_upload;
use crate::{Client, Error, Result};

/// The header with the digest of a manifest's subject, if the registry has updated the subject's list of referrers.
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// The header with a tag that a request has written.
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

/// A manifest that a registry has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedManifest {
    /// The digest of the bytes.
    pub digest: Digest,
    /// The digest of the manifest's subject, if the registry lists the manifest as its referrer (`OCI-Subject`). If it
    /// is `None` and the manifest has a subject, the caller must update the list
    /// ([`Client::update_referrers_fallback`]).
    pub subject: Option<Digest>,
}

impl Client {
    /// Returns the size in bytes of a blob in the reference's repository, or `None` if it is missing.
    ///
    /// # Errors
    /// - [`Error::Unauthorized`]: the credentials, or the lack of them, do not give access.
    /// - Any other variant for a failure of the connection, the registry, its token server, or the credentials.
    pub fn has_blob(&self, reference: &Reference, digest: &Digest) -> Result<Option<u64>> {
        let path = format!("blobs/{digest}");
        let mut request = self.request(reference, Method::HEAD, &path)?;
        let head = |request: &HttpRequest| self.send(reference, request, |response| Ok(size_of(response)));
        let size = match head(&request) {
            // Some token servers give no access for pulling to a repository that does not exist yet.
            Err(Error::Unauthorized { .. }) => {
                request.access = Access::Push;
                head(&request)
            }
            size => size,
        };
        match size {
            Ok(Some(size)) => Ok(Some(size)),
            Ok(None) => self.size_by_range(reference, request),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the size of a blob of which the registry has not stated it for HEAD.
    fn size_by_range(&self, reference: &Reference, mut request: HttpRequest) -> Result<Option<u64>> {
        request.method = Method::GET;
        request.headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
        let size = self.send(reference, &request, |response| {
            let total = response.header(CONTENT_RANGE).and_then(|range| range.rsplit_once('/')?.1.trim().parse().ok());
            Ok(if response.status() == StatusCode::PARTIAL_CONTENT { total } else { size_of(response) })
        });
        match size {
            Ok(Some(size)) => Ok(Some(size)),
            // An empty blob has no first byte.
            Err(Error::Status { status: 416, .. }) => Ok(Some(0)),
            Ok(None) | Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a blob of another repository of the same registry available in the reference's repository. Returns false if
    /// the registry does not do that, or does not allow it. The blob must then be uploaded.
    ///
    /// # Errors
    /// A failure of the connection, the registry, its token server, or the credentials.
    pub fn mount_blob(&self, reference: &Reference, digest: &Digest, from: &Reference) -> Result<bool> {
        if reference.domain() != from.domain() {
            return Ok(false);
        }
        let path = format!("blobs/uploads/?mount={digest}&from={}", from.path());
        let mut request = self.request(reference, Method::POST, &path)?;
        request.access = Access::Mount { from: from.path().to_owned() };
        let base = request.base.clone().unwrap_or_else(|| request.url.clone());
        let mounted = self.send(reference, &request, |response| {
            let is_mounted = response.status() == StatusCode::CREATED;
            let upload = response.header(LOCATION).and_then(|text| location::resolve(&base, response.url(), text).ok());
            response.discard();
            Ok(if is_mounted { Ok(()) } else { Err(upload) })
        });
        match mounted {
            Ok(Ok(())) => Ok(true),
            Ok(Err(upload)) => {
                if let Some(url) = upload {
                    let delete = HttpRequest { method: Method::DELETE, url, access: Access::Push, ..request };
                    cancel_upload(self, reference, &delete);
                }
                Ok(false)
            }
            Err(error) if error.is_refusal() => {
                tracing::info!(error = with_causes(&error), %digest, from = from.path(), "cannot mount a blob");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes a manifest or index to the reference's repository under `name`, a tag or the digest of the bytes. The
    /// bytes stay as they are.
    ///
    /// # Errors
    /// - [`Error::ManifestRefused`]: the registry does not accept manifests of this type or form.
    /// - [`Error::Status`] with the status 413: the manifest is too large for the registry.
    /// - [`Error::DigestMismatch`]: the bytes do not have the digest `name`, or the registry states another digest.
    /// - [`Error::Option`]: `name` is neither a tag nor a digest.
    /// - [`Error::Unauthorized`]: the credentials, or the lack of them, do not allow pushing.
    /// - Any other variant for a failure of the connection, the registry, its token server, or the credentials.
    pub fn put_manifest(
        &self,
        reference: &Reference,
        name: &str,
        bytes: &[u8],
        media_type: &MediaType,
    ) -> Result<PushedManifest> {
        let request = self.manifest_put(reference, name, bytes, media_type)?;
        let digest = match Digest::parse(name) {
            Ok(digest) => digest,
            Err(_) => Digest::of(bytes),
        };
        let put = self.send(reference, &request, |response| read_pushed(response, &digest, media_type));
        put.map_err(Error::into_manifest_refused)
    }

    /// Writes a manifest or index under its digest and all of `tags`, in one request if the registry supports that
    /// (`OCI-Tag`). Otherwise it is written again for each tag.
    ///
    /// # Errors
    /// As for [`Self::put_manifest`]. Some of the tags may then be written.
    pub fn put_manifest_with_tags(
        &self,
        reference: &Reference,
        tags: &[&str],
        bytes: &[u8],
        media_type: &MediaType,
    ) -> Result<PushedManifest> {
        let digest = Digest::of(bytes);
        let mut request = self.manifest_put(reference, &digest.to_string(), bytes, media_type)?;
        for tag in tags {
            reference.with_tag(tag).map_err(|error| invalid(error.to_string()))?;
            request.url.query_pairs_mut().append_pair("tag", tag);
        }
        let put = self.send(reference, &request, |response| {
            let written = response.headers().get_all(OCI_TAG).iter().filter_map(|value| value.to_str().ok());
            let written: Vec<String> =
                written.flat_map(|text| text.split(',')).map(|tag| tag.trim().to_owned()).collect();
            Ok((read_pushed(response, &digest, media_type)?, written))
        });
        let (pushed, written) = put.map_err(Error::into_manifest_refused)?;
        for tag in tags.iter().filter(|tag| !written.iter().any(|written| written == *tag)) {
            self.put_manifest(reference, tag, bytes, media_type)?;
        }
        Ok(pushed)
    }

    fn manifest_put(
        &self,
        reference: &Reference,
        name: &str,
        bytes: &[u8],
        media_type: &MediaType,
    ) -> Result<HttpRequest> {
        let mut request = self.request(reference, Method::PUT, &format!("manifests/{name}"))?;
        request.access = Access::Push;
        if let Ok(expected) = Digest::parse(name) {
            let mut hasher = Hasher::new(expected.algorithm());
            hasher.update(bytes);
            let actual = hasher.finish();
            // The digest of a signed schema 1 manifest is that of its payload.
            if actual != expected && !media_type.is_schema1() {
                return Err(Error::DigestMismatch { url: request.url.to_string(), expected, actual });
            }
        } else if let Err(error) = reference.with_tag(name) {
            return Err(invalid(error.to_string()));
        }
        let value = HeaderValue::try_from(media_type.as_str())
            .map_err(|_| invalid(format!("the media type {:?} is not a header's value", media_type.as_str())))?;
        request.headers.insert(CONTENT_TYPE, value);
        request.body = RequestBody::Bytes(bytes.to_vec().into());
        Ok(request)
    }
}

fn invalid(reason: String) -> Error {
    Error::Option { option: "manifest", reason }
}

/// Returns the `Content-Length`.
fn size_of(response: HttpResponse) -> Option<u64> {
    let size = response.content_length();
    response.discard();
    size
}

/// Compares the digests in the response to a pushed manifest with the expected one.
fn read_pushed(response: HttpResponse, digest: &Digest, media_type: &MediaType) -> Result<PushedManifest> {
    let header = |name: HeaderName| response.header(name).and_then(|text| Digest::parse(text).ok());
    let stated = header(HeaderName::from_static(DOCKER_CONTENT_DIGEST));
    let in_location = response.header(LOCATION).and_then(|text| Digest::parse(text.rsplit('/').next()?).ok());
    let subject = header(OCI_SUBJECT);
    let url = response.redacted_url();
    response.discard();
    for actual in [stated, in_location].into_iter().flatten() {
        let is_comparable = actual.algorithm() == digest.algorithm() && !media_type.is_schema1();
        if is_comparable && actual != *digest {
            return Err(Error::DigestMismatch { url, expected: *digest, actual });
        }
    }
    Ok(PushedManifest { digest: *digest, subject })
}
