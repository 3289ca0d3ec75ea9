//! Manifests and indexes (OCI distribution-spec, "Pulling manifests").

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use vmroot_model::{Digest, Hasher, MediaType, Reference};

use crate::http::{Call, Exchange};
use crate::{Client, Error, Result};

/// The largest manifest in bytes.
pub const MANIFEST_LIMIT: u64 = vmroot_model::MANIFEST_LIMIT;

/// What a registry says the digest of a manifest is.
const DOCKER_CONTENT_DIGEST: &str = "docker-content-digest";

/// A manifest or an index as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The media type that the registry says, parameters included.
    pub media_type: Option<String>,
    /// The digest of the bytes: by the algorithm that was asked for, or SHA-256.
    pub digest: Digest,
}

/// What a registry says about a manifest without sending it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestHead {
    /// The media type.
    pub media_type: Option<String>,
    /// The digest, unchecked.
    pub digest: Option<Digest>,
    /// The length in bytes, unchecked.
    pub size: Option<u64>,
}

impl Client {
    /// Fetches what a reference leads to: by its digest if it has one, else by its tag, else `latest`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unauthorized`]; [`Error::DigestMismatch`] when the bytes are not those of the
    /// digest asked for, or promised; [`Error::TooLarge`] past [`MANIFEST_LIMIT`].
    pub fn manifest(&self, reference: &Reference) -> Result<Fetched> {
        self.manifest_called(reference, &reference.identifier(), reference.digest())
    }

    /// Fetches a manifest of the reference's repository by digest.
    ///
    /// # Errors
    /// As [`Self::manifest`].
    pub fn manifest_by_digest(&self, reference: &Reference, digest: &Digest) -> Result<Fetched> {
        self.manifest_called(reference, &digest.to_string(), Some(digest))
    }

    /// Asks whether a reference leads to anything.
    ///
    /// # Errors
    /// As [`Self::manifest`], except those of the bytes.
    pub fn head_manifest(&self, reference: &Reference) -> Result<ManifestHead> {
        let call = self.manifest_call(reference, Method::HEAD, &reference.identifier())?;
        self.send(reference, &call, |answer| {
            let digest = answer.header(DOCKER_CONTENT_DIGEST).and_then(|text| Digest::parse(text).ok());
            let media_type = answer.header(CONTENT_TYPE).map(str::to_owned);
            let size = answer.content_length();
            answer.discard();
            Ok(ManifestHead { media_type, digest, size })
        })
    }

    fn manifest_called(&self, reference: &Reference, name: &str, wanted: Option<&Digest>) -> Result<Fetched> {
        let call = self.manifest_call(reference, Method::GET, name)?;
        self.send(reference, &call, |answer| read(answer, wanted))
    }

    fn manifest_call(&self, reference: &Reference, method: Method, name: &str) -> Result<Call> {
        let mut call = self.call(reference, method, &format!("manifests/{name}"))?;
        let accepted = MediaType::DOCUMENTS.map(|media_type| media_type.as_str().to_owned()).join(", ");
        let accepted = HeaderValue::try_from(accepted).expect("media types have no control characters");
        call.headers.insert(ACCEPT, accepted);
        Ok(call)
    }
}

fn read(answer: Exchange, wanted: Option<&Digest>) -> Result<Fetched> {
    let url = answer.shown();
    // An unknown algorithm promises nothing; the specification lets clients ignore the header.
    let promised = answer.header(DOCKER_CONTENT_DIGEST).and_then(|text| Digest::parse(text).ok());
    let media_type = answer.header(CONTENT_TYPE).map(str::to_owned);
    let bytes = answer.read_all(MANIFEST_LIMIT)?;
    let digest = match wanted {
        Some(wanted) => check(&url, wanted, &bytes)?,
        None => Digest::of(&bytes),
    };
    if let Some(promised) = promised {
        check(&url, &promised, &bytes)?;
    }
    Ok(Fetched { bytes, media_type, digest })
}

fn check(url: &str, expected: &Digest, bytes: &[u8]) -> Result<Digest> {
    let mut hasher = Hasher::new(expected.algorithm());
    hasher.update(bytes);
    let actual = hasher.finish();
    if actual == *expected {
        return Ok(actual);
    }
    Err(Error::DigestMismatch { url: url.to_owned(), expected: *expected, actual })
}
