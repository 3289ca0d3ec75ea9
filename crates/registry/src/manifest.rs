//! Fetching of manifests and indexes (OCI distribution-spec 1.1, "Pulling manifests").

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use vmroot_model::{Digest, Hasher, MediaType, Reference, is_manifest_of};

use crate::http::{HttpRequest, HttpResponse};
use crate::{Client, Error, Result};

/// The maximum length of a manifest, in bytes.
pub const MANIFEST_LIMIT: u64 = vmroot_model::MANIFEST_LIMIT;

/// The response header with the digest of a manifest.
pub(crate) const DOCKER_CONTENT_DIGEST: &str = "docker-content-digest";

/// The types of documents that a registry may send if it has no others of an image.
const OLD_DOCUMENTS: [MediaType; 2] = [MediaType::DOCKER_SCHEMA1_SIGNED, MediaType::DOCKER_SCHEMA1];

/// A fetched manifest or index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedManifest {
    /// The bytes, exactly as the registry sent them.
    pub bytes: Vec<u8>,
    /// The `Content-Type` of the response, with its parameters.
    pub media_type: Option<String>,
    /// The computed digest of the bytes. Its algorithm is that of the requested digest, or SHA-256.
    pub digest: Digest,
}

/// The headers of a manifest, fetched without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestHead {
    /// The `Content-Type`, with its parameters.
    pub media_type: Option<String>,
    /// The `Docker-Content-Digest`. It is not checked against the bytes.
    pub digest: Option<Digest>,
    /// The `Content-Length` in bytes. It is not checked against the bytes.
    pub size: Option<u64>,
}

impl Client {
    /// Fetches the manifest or index of a reference: by its digest if it has one, else by its tag, else by `latest`.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: the registry does not have it.
    /// - [`Error::Unauthorized`]: the credentials, or the lack of them, do not give access.
    /// - [`Error::DigestMismatch`]: the bytes do not have the requested digest, or that of `Docker-Content-Digest`.
    /// - [`Error::TooLarge`]: the manifest is longer than [`MANIFEST_LIMIT`].
    /// - Any other variant for a failure of the connection, the registry, its token server, or the credentials.
    pub fn manifest(&self, reference: &Reference) -> Result<FetchedManifest> {
        self.manifest_called(reference, &reference.identifier(), reference.digest())
    }

    /// Fetches the manifest or index with this digest from the reference's repository. The reference's own tag and
    /// digest are ignored.
    ///
    /// # Errors
    /// As for [`Self::manifest`].
    pub fn manifest_by_digest(&self, reference: &Reference, digest: &Digest) -> Result<FetchedManifest> {
        self.manifest_called(reference, &digest.to_string(), Some(digest))
    }

    /// Fetches the headers of a reference's manifest with a HEAD request.
    ///
    /// # Errors
    /// As for [`Self::manifest`], except [`Error::DigestMismatch`] and [`Error::TooLarge`].
    pub fn head_manifest(&self, reference: &Reference) -> Result<ManifestHead> {
        let request = self.manifest_request(reference, Method::HEAD, &reference.identifier())?;
        self.send(reference, &request, |response| {
            let digest = response.header(DOCKER_CONTENT_DIGEST).and_then(|text| Digest::parse(text).ok());
            let media_type = response.header(CONTENT_TYPE).map(str::to_owned);
            let size = response.content_length();
            response.discard();
            Ok(ManifestHead { media_type, digest, size })
        })
    }

    fn manifest_called(&self, reference: &Reference, name: &str, expected: Option<&Digest>) -> Result<FetchedManifest> {
        let request = self.manifest_request(reference, Method::GET, name)?;
        self.send(reference, &request, |response| {
            let headers = response.headers().clone();
            let fetched = read(response, expected)?;
            if let Some(base) = &request.base {
                self.referrer_lists().note_manifest(base, reference, &headers, &fetched.digest);
            }
            Ok(fetched)
        })
    }

    pub(crate) fn manifest_request(&self, reference: &Reference, method: Method, name: &str) -> Result<HttpRequest> {
        let mut request = self.request(reference, method, &format!("manifests/{name}"))?;
        let accepted = [&MediaType::DOCUMENTS[..], &OLD_DOCUMENTS].concat();
        let accepted = accepted.iter().map(MediaType::as_str).collect::<Vec<_>>().join(", ");
        let accepted = HeaderValue::try_from(accepted).expect("media types have no control characters");
        request.headers.insert(ACCEPT, accepted);
        Ok(request)
    }
}

fn read(response: HttpResponse, expected: Option<&Digest>) -> Result<FetchedManifest> {
    let url = response.redacted_url();
    // A digest of an unknown algorithm cannot be checked. The specification lets clients ignore the header.
    let promised = response.header(DOCKER_CONTENT_DIGEST).and_then(|text| Digest::parse(text).ok());
    let media_type = response.header(CONTENT_TYPE).map(str::to_owned);
    let bytes = response.read_all(MANIFEST_LIMIT)?;
    let digest = match expected {
        Some(expected) => check(&url, expected, &bytes)?,
        None => Digest::of(&bytes),
    };
    if let Some(promised) = promised {
        check(&url, &promised, &bytes)?;
    }
    Ok(FetchedManifest { bytes, media_type, digest })
}

fn check(url: &str, expected: &Digest, bytes: &[u8]) -> Result<Digest> {
    let mut hasher = Hasher::new(expected.algorithm());
    hasher.update(bytes);
    let actual = hasher.finish();
    // The digest of a signed schema 1 manifest is that of its payload.
    if actual == *expected || is_manifest_of(bytes, expected) {
        return Ok(*expected);
    }
    Err(Error::DigestMismatch { url: url.to_owned(), expected: *expected, actual })
}
