//! Manifests that refer to another one as their subject (OCI distribution-spec 1.1, "Listing Referrers" and "Referrers
//! Tag Schema").

mod places;

use std::collections::HashSet;

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use serde_json::{Value, json};
use vmroot_errors::with_causes;
use vmroot_model::{Descriptor, Digest, Document, Index, MediaType, Reference};

use crate::backoff::Backoff;
use crate::http::{Access, HttpRequest, RequestBody};
use crate::listing::Pages;
use crate::{Client, Error, MANIFEST_LIMIT, Result};

pub(crate) use places::{ReferrerList, ReferrerLists};

/// The maximum number of referrers whose manifests are fetched because their descriptors have no type of artifact.
const LOOKUP_LIMIT: usize = 256;

/// A change of a list of referrers.
#[derive(Debug, Clone, Copy)]
pub enum ReferrerChange<'a> {
    /// Adds a manifest or index, which was pushed already.
    Add {
        /// The bytes.
        manifest: &'a [u8],
        /// The media type.
        media_type: &'a MediaType,
    },
    /// Removes a manifest or index, which was deleted.
    Remove(Digest),
}

/// The list of referrers under the fallback tag.
struct FallbackList {
    document: Value,
    /// The `ETag`, if the registry sent one.
    etag: Option<HeaderValue>,
    /// Whether the tag exists.
    exists: bool,
}

impl Client {
    /// Returns the descriptors of the manifests in the reference's repository whose subject is `subject`, each once. With
    /// an `artifact_type`, returns only those of this type. The type of an image is the media type of its config.
    ///
    /// A registry without a list of referrers has the tag of the Referrers Tag Schema instead, if their clients write it.
    ///
    /// # Errors
    /// - [`Error::Malformed`]: the list is not an index.
    /// - [`Error::Paging`], [`Error::TooLarge`]: the list has too many pages or bytes, or its pages form a loop.
    /// - [`Error::Unauthorized`]: the credentials, or the lack of them, do not give access.
    /// - Any other variant for a failure of the connection, the registry, its token server, or the credentials.
    pub fn referrers(
        &self,
        reference: &Reference,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>> {
        let listed = match self.list_or_note(reference, subject, artifact_type)? {
            Some(listed) => listed,
            None => self.tagged_referrers(reference, subject)?,
        };
        self.select_referrers(reference, listed, artifact_type)
    }

    /// Returns the referrers from the place that probably has them. This is the fallback tag alone, with one request less, if
    /// a manifest of the repository had the headers of a registry without a list. [`Self::other_referrers`] returns those of
    /// the list, if there is one nevertheless. For any other registry, the result is that of [`Self::referrers`].
    ///
    /// # Errors
    /// As for [`Self::referrers`].
    pub fn probable_referrers(&self, reference: &Reference, subject: &Digest) -> Result<Vec<Descriptor>> {
        match self.known_list(reference)? {
            Some(ReferrerList::Unlikely | ReferrerList::Missing) => {
                let tagged = self.tagged_referrers(reference, subject)?;
                self.select_referrers(reference, tagged, None)
            }
            _ => self.referrers(reference, subject, None),
        }
    }

    /// Returns the referrers that [`Self::probable_referrers`] did not look for.
    ///
    /// # Errors
    /// As for [`Self::referrers`].
    pub fn other_referrers(&self, reference: &Reference, subject: &Digest) -> Result<Vec<Descriptor>> {
        if self.known_list(reference)? != Some(ReferrerList::Unlikely) {
            return Ok(Vec::new());
        }
        let listed = self.list_or_note(reference, subject, None)?.unwrap_or_default();
        self.select_referrers(reference, listed, None)
    }

    fn known_list(&self, reference: &Reference) -> Result<Option<ReferrerList>> {
        Ok(self.referrer_lists().get(&self.base_of(reference)?, reference))
    }

    /// Returns each of the listed referrers once, or only those of a type.
    fn select_referrers(
        &self,
        reference: &Reference,
        listed: Vec<Descriptor>,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>> {
        let (mut seen, mut lookups) = (HashSet::new(), 0);
        let mut referrers = Vec::new();
        for mut descriptor in listed {
            if !seen.insert(descriptor.digest) {
                continue;
            }
            if descriptor.artifact_type.is_none() && artifact_type.is_some() && lookups < LOOKUP_LIMIT {
                lookups += 1;
                descriptor.artifact_type = self.artifact_type(reference, &descriptor.digest)?;
            }
            let actual = descriptor.artifact_type.as_ref().map(MediaType::as_str);
            if artifact_type.is_none_or(|wanted| actual == Some(wanted)) {
                referrers.push(descriptor);
            }
        }
        Ok(referrers)
    }

    /// Returns the registry's list of referrers as [`Self::listed_referrers`] does, and notes whether it has one.
    fn list_or_note(
        &self,
        reference: &Reference,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Descriptor>>> {
        let listed = self.listed_referrers(reference, subject, artifact_type)?;
        let base = self.base_of(reference)?;
        let known = if listed.is_some() { ReferrerList::Present } else { ReferrerList::Missing };
        self.referrer_lists().note(&base, reference, known);
        Ok(listed)
    }

    /// Returns the registry's list of referrers, or `None` if the registry has no such list.
    fn listed_referrers(
        &self,
        reference: &Reference,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Descriptor>>> {
        let mut request = self.request(reference, Method::GET, &format!("referrers/{subject}"))?;
        if let Some(artifact_type) = artifact_type {
            request.url.query_pairs_mut().append_pair("artifactType", artifact_type);
        }
        let mut pages = Pages::new(request, "a list of referrers");
        let mut listed: Option<Vec<Descriptor>> = None;
        let mut seen = HashSet::new();
        loop {
            let page = match pages.next(|request, read| self.send(reference, request, read)) {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(listed),
                // Registries without the list answer 404. Some do not know the path at all.
                Err(Error::NotFound { .. } | Error::Status { status: 400 | 405 | 501, .. }) if listed.is_none() => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            let claims_index = claims_index(page.media_type.as_deref());
            match parse_index(page.redacted_url(), page.bytes, page.media_type.as_deref()) {
                Ok(index) => {
                    let new = index.manifests().iter().filter(|entry| seen.insert(entry.digest));
                    let listed = listed.get_or_insert_default();
                    let before = listed.len();
                    listed.extend(new.cloned());
                    pages.note_news(listed.len() > before);
                }
                // A web page for any path.
                Err(error) if listed.is_none() && !claims_index => {
                    tracing::debug!(error = with_causes(&error), "the registry has no list of referrers");
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the list of referrers under the fallback tag. It is empty if the tag does not exist or is not an index.
    fn tagged_referrers(&self, reference: &Reference, subject: &Digest) -> Result<Vec<Descriptor>> {
        let request = self.manifest_request(reference, Method::GET, &fallback_tag(subject))?;
        let read = self.send(reference, &request, |response| {
            let url = response.redacted_url();
            let media_type = response.header(CONTENT_TYPE).map(str::to_owned);
            Ok((url, response.read_all(MANIFEST_LIMIT)?, media_type))
        });
        let (url, bytes, media_type) = match read {
            Ok(read) => read,
            Err(Error::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        match parse_index(url, bytes, media_type.as_deref()) {
            Ok(index) => Ok(index.manifests().to_vec()),
            Err(error) if claims_index(media_type.as_deref()) => Err(error),
            Err(error) => {
                tracing::debug!(error = with_causes(&error), "the fallback tag is not a list of referrers");
                Ok(Vec::new())
            }
        }
    }

    /// Returns the type of artifact of a manifest, by its bytes. A missing manifest has none.
    fn artifact_type(&self, reference: &Reference, digest: &Digest) -> Result<Option<MediaType>> {
        match self.manifest_by_digest(reference, digest) {
            Ok(fetched) => Ok(Document::parse(fetched.bytes, fetched.media_type.as_deref())
                .ok()
                .and_then(|document| artifact_type_of(&document))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes the list of referrers under the fallback tag of `subject`. Call this after pushing or deleting a manifest
    /// with a subject, if the registry has no list of its own
    /// ([`PushedManifest::subject`](crate::PushedManifest::subject)).
    ///
    /// Another client may change the list at the same time. So the list is written on the condition that it has not
    /// changed (`If-Match`), is read again, and the change is repeated if it was lost.
    ///
    /// # Errors
    /// - [`Error::Malformed`]: the tag is not an index, or the manifest to add is invalid. The tag is not changed.
    /// - [`Error::ReferrersConflict`]: other clients changed the list each time.
    /// - [`Error::TooLarge`]: the list would be longer than [`MANIFEST_LIMIT`].
    /// - As for [`Client::put_manifest`].
    pub fn update_referrers_fallback(
        &self,
        reference: &Reference,
        subject: &Digest,
        change: ReferrerChange<'_>,
    ) -> Result<()> {
        let tag = fallback_tag(subject);
        let request = HttpRequest { access: Access::Push, ..self.manifest_request(reference, Method::GET, &tag)? };
        let url = crate::http::redacted(&request.url);
        let change = Edit::new(&url, change)?;
        let (mut backoff, mut attempts) = (Backoff::default(), 0);
        loop {
            let mut list = self.fallback_list(reference, &request)?;
            // After a write, this confirms that no other client has overwritten it.
            if !change.apply(&mut list.document) {
                return Ok(());
            }
            if attempts > 0 {
                if !backoff.fail(self.options()) {
                    return Err(Error::ReferrersConflict { url, attempts });
                }
                backoff.pause(self.options(), self.cancel(), None)?;
            }
            attempts += 1;
            match self.write_fallback_list(reference, &request, &list) {
                // The condition does not hold.
                Ok(()) | Err(Error::Status { status: 412 | 409, .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn fallback_list(&self, reference: &Reference, request: &HttpRequest) -> Result<FallbackList> {
        let read = self.send(reference, request, |response| {
            let url = response.redacted_url();
            let etag = response.headers().get(ETAG).cloned();
            let media_type = response.header(CONTENT_TYPE).map(str::to_owned);
            Ok((url, etag, media_type, response.read_all(MANIFEST_LIMIT)?))
        });
        let (url, etag, media_type, bytes) = match read {
            Ok(read) => read,
            Err(Error::NotFound { .. }) => {
                let document = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX.as_str(), "manifests": []});
                return Ok(FallbackList { document, etag: None, exists: false });
            }
            Err(error) => return Err(error),
        };
        let index = parse_index(url.clone(), bytes, media_type.as_deref())?;
        let document = serde_json::from_slice(index.raw()).map_err(|error| malformed(url, &error))?;
        Ok(FallbackList { document, etag, exists: true })
    }

    fn write_fallback_list(&self, reference: &Reference, get: &HttpRequest, list: &FallbackList) -> Result<()> {
        let bytes = list.document.to_string().into_bytes();
        if bytes.len() as u64 > MANIFEST_LIMIT {
            return Err(Error::TooLarge { url: crate::http::redacted(&get.url), limit: MANIFEST_LIMIT });
        }
        let mut put = HttpRequest { method: Method::PUT, ..get.clone() };
        put.headers.clear();
        let condition: Option<(HeaderName, HeaderValue)> = match &list.etag {
            Some(etag) => Some((IF_MATCH, etag.clone())),
            None if !list.exists => Some((IF_NONE_MATCH, HeaderValue::from_static("*"))),
            None => None,
        };
        put.headers.extend(condition);
        put.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/vnd.oci.image.index.v1+json"));
        put.body = RequestBody::Bytes(bytes.into());
        self.send(reference, &put, |response| {
            response.discard();
            Ok(())
        })
    }
}

/// A checked change of a list.
enum Edit {
    Add { digest: String, descriptor: Value },
    Remove { digest: String },
}

impl Edit {
    fn new(url: &str, change: ReferrerChange<'_>) -> Result<Self> {
        let (manifest, media_type) = match change {
            ReferrerChange::Add { manifest, media_type } => (manifest, media_type),
            ReferrerChange::Remove(digest) => return Ok(Self::Remove { digest: digest.to_string() }),
        };
        let document = Document::parse(manifest.to_vec(), Some(media_type.as_str()));
        let document = document.map_err(|error| malformed(url.to_owned(), &error))?;
        let mut descriptor = Descriptor::of(media_type.clone(), manifest);
        descriptor.artifact_type = artifact_type_of(&document);
        descriptor.annotations = match &document {
            Document::Manifest(manifest) => manifest.annotations().clone(),
            Document::Index(index) => index.annotations().clone(),
        };
        let digest = descriptor.digest.to_string();
        let descriptor = serde_json::to_value(&descriptor).map_err(|error| malformed(url.to_owned(), &error))?;
        Ok(Self::Add { digest, descriptor })
    }

    /// Changes an index. Returns false if it needs no change.
    fn apply(&self, document: &mut Value) -> bool {
        let Some(fields) = document.as_object_mut() else { return false };
        let entries = fields.entry("manifests").or_insert_with(|| json!([]));
        if !entries.is_array() {
            *entries = json!([]);
        }
        let Some(entries) = entries.as_array_mut() else { return false };
        let is_listed = |digest: &str| entries.iter().any(|entry| entry["digest"] == digest);
        match self {
            Self::Add { digest, .. } if is_listed(digest) => return false,
            Self::Add { descriptor, .. } => entries.push(descriptor.clone()),
            Self::Remove { digest } if !is_listed(digest) => return false,
            Self::Remove { digest } => entries.retain(|entry| entry["digest"] != digest.as_str()),
        }
        true
    }
}

fn artifact_type_of(document: &Document) -> Option<MediaType> {
    match document {
        Document::Manifest(manifest) => {
            let stated = manifest.artifact_type().filter(|stated| !stated.is_empty());
            Some(stated.unwrap_or(&manifest.config().media_type).clone())
        }
        Document::Index(index) => index.artifact_type().filter(|stated| !stated.is_empty()).cloned(),
    }
}

/// Returns the tag of the list of referrers of `subject`: the algorithm, at most 32 characters, and the encoded digest, at
/// most 64.
fn fallback_tag(subject: &Digest) -> String {
    let hex = subject.hex();
    format!("{}-{}", subject.algorithm().name(), &hex[..hex.len().min(64)])
}

/// Returns whether a response is an index by its type. If it is malformed, its entries must not be taken for missing ones:
/// they may be signatures.
fn claims_index(media_type: Option<&str>) -> bool {
    let essence = media_type.and_then(|it| it.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(MediaType::OCI_INDEX.as_str())
}

fn parse_index(url: String, bytes: Vec<u8>, media_type: Option<&str>) -> Result<Index> {
    match Document::parse(bytes, media_type) {
        Ok(Document::Index(index)) => Ok(index),
        Ok(Document::Manifest(_)) => Err(malformed(url, "it is a manifest")),
        Err(error) => Err(malformed(url, &error)),
    }
}

fn malformed(url: String, reason: impl ToString) -> Error {
    Error::Malformed { url, expected: "a list of referrers", reason: reason.to_string() }
}
