//! A manifest or an index, and telling them apart.

use serde::de::{Deserialize, Deserializer, IgnoredAny};
use serde_json::value::RawValue;

use crate::error::DocumentKind;
use crate::{Digest, Error, Index, Manifest, MediaType, Result, Schema1, json};

/// The largest size of a manifest or an index in bytes: 4 MiB, the limit of registries.
pub const MANIFEST_LIMIT: u64 = 4 << 20;

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// An image for one platform.
    Manifest(Manifest),
    /// A list of images, usually one for each platform.
    Index(Index),
}

/// A manifest or an index, or a manifest in Docker's obsolete schema 1.
///
/// Copies read all of them. Other readers use [`Document`], which refuses schema 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyDocument {
    /// An image for one platform.
    Manifest(Manifest),
    /// A list of images, usually one for each platform.
    Index(Index),
    /// An image in schema 1.
    Schema1(Schema1),
}

impl AnyDocument {
    /// Parses a document, and computes its digest.
    ///
    /// See [`Document::parse`] for `content_type`.
    ///
    /// # Errors
    /// The errors of [`Document::parse`] except [`Error::Schema1`], and those of [`Schema1::parse`].
    pub fn parse(bytes: Vec<u8>, content_type: Option<&str>) -> Result<Self> {
        let (digest, media_type) = media_type_of(&bytes, content_type)?;
        if media_type.is_schema1() {
            return Schema1::parse(bytes).map(Self::Schema1);
        }
        Ok(match parse_as(bytes, digest, media_type)? {
            Document::Manifest(manifest) => Self::Manifest(manifest),
            Document::Index(index) => Self::Index(index),
        })
    }

    /// Returns the bytes the document was read from.
    pub fn raw(&self) -> &[u8] {
        match self {
            Self::Manifest(manifest) => manifest.raw(),
            Self::Index(index) => index.raw(),
            Self::Schema1(schema1) => schema1.raw(),
        }
    }

    /// Returns the digest: the SHA-256 of [`Self::raw`], or of the signed bytes of schema 1.
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Manifest(manifest) => manifest.digest(),
            Self::Index(index) => index.digest(),
            Self::Schema1(schema1) => schema1.digest(),
        }
    }

    /// Returns the media type: of the document, else of the sender, else inferred from the fields.
    pub fn media_type(&self) -> MediaType {
        match self {
            Self::Manifest(manifest) => manifest.media_type().clone(),
            Self::Index(index) => index.media_type().clone(),
            Self::Schema1(schema1) => schema1.media_type(),
        }
    }
}

/// Checks the size of a document, and returns its SHA-256 and its media type.
fn media_type_of(bytes: &[u8], content_type: Option<&str>) -> Result<(Digest, MediaType)> {
    let size = bytes.len() as u64;
    if size > MANIFEST_LIMIT {
        return Err(Error::DocumentTooLarge { document: DocumentKind::Unknown, size, limit: MANIFEST_LIMIT });
    }
    let digest = Digest::of(bytes);
    let fields: KindFields = json::parse_object(bytes, DocumentKind::Unknown, &digest)?;
    Ok((digest, fields.media_type(&digest, content_type)?))
}

fn parse_as(bytes: Vec<u8>, digest: Digest, media_type: MediaType) -> Result<Document> {
    if media_type.is_index() {
        Index::parse(bytes, digest, media_type).map(Document::Index)
    } else {
        Manifest::parse(bytes, digest, media_type).map(Document::Manifest)
    }
}

impl Document {
    /// Parses a manifest or an index, and computes its digest.
    ///
    /// `content_type` is the type given by the sender: the `Content-Type` header of a registry's response, or the media
    /// type of the descriptor. Its parameters are ignored, and so are unspecific types such as `application/json`. If
    /// neither the document nor the sender has a type, the fields of the document decide.
    ///
    /// # Errors
    /// - [`Error::DocumentTooLarge`] for more than [`MANIFEST_LIMIT`] bytes.
    /// - [`Error::DocumentLimit`] for a list with too many entries, or JSON that is nested too deep.
    /// - [`Error::InvalidDocument`] for invalid JSON, or fields that are missing, invalid or not those of the type.
    /// - [`Error::AmbiguousManifest`] for fields of more than one kind of document.
    /// - [`Error::Schema1`] for a Docker schema 1 manifest.
    /// - [`Error::MediaTypeMismatch`] when the type of the document differs from that of the sender.
    /// - [`Error::UnsupportedMediaType`] when the type is neither a manifest's nor an index's.
    pub fn parse(bytes: Vec<u8>, content_type: Option<&str>) -> Result<Self> {
        let (digest, media_type) = media_type_of(&bytes, content_type)?;
        if media_type.is_schema1() {
            return Err(Error::Schema1 { digest });
        }
        parse_as(bytes, digest, media_type)
    }

    /// Returns the bytes the document was read from.
    pub fn raw(&self) -> &[u8] {
        match self {
            Self::Manifest(manifest) => manifest.raw(),
            Self::Index(index) => index.raw(),
        }
    }

    /// Returns the SHA-256 of [`Self::raw`].
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Manifest(manifest) => manifest.digest(),
            Self::Index(index) => index.digest(),
        }
    }

    /// Returns the media type: of the document, else of the sender, else inferred from the fields.
    pub fn media_type(&self) -> &MediaType {
        match self {
            Self::Manifest(manifest) => manifest.media_type(),
            Self::Index(index) => index.media_type(),
        }
    }
}

/// The fields of a document that determine its kind.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct KindFields {
    #[serde(default)]
    schema_version: Option<i64>,
    #[serde(default)]
    media_type: Option<MediaType>,
    #[serde(default)]
    config: Option<Box<RawValue>>,
    #[serde(default)]
    layers: Field,
    #[serde(default)]
    manifests: Field,
    #[serde(default)]
    fs_layers: Field,
    #[serde(default)]
    history: Field,
}

/// The presence of a field.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Field {
    #[default]
    Absent,
    /// The field is `null`, which Go writes for a nil slice. It indicates a kind of document, but does not rule out
    /// others.
    Null,
    Present,
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let value: Option<IgnoredAny> = Option::deserialize(deserializer)?;
        Ok(if value.is_some() { Self::Present } else { Self::Null })
    }
}

impl KindFields {
    /// Checks that the fields and types agree, and returns the media type of the document.
    fn media_type(&self, digest: &Digest, content_type: Option<&str>) -> Result<MediaType> {
        let declared = self.media_type.as_ref().filter(|it| !it.is_empty());
        let sent = content_type.map(MediaType::new).filter(is_specific);
        if let (Some(declared), Some(sent)) = (declared, &sent)
            && !declared.matches(sent)
        {
            return Err(Error::MediaTypeMismatch {
                digest: *digest,
                declared: declared.to_string(),
                content_type: sent.to_string(),
            });
        }
        self.check_unambiguous(digest)?;
        let stated = declared.or(sent.as_ref());
        let is_schema1 = stated.is_some_and(MediaType::is_schema1);
        if is_schema1 || self.fs_layers == Field::Present || self.schema_version == Some(1) {
            return Ok(MediaType::DOCKER_SCHEMA1);
        }
        self.check_version(digest)?;
        let media_type = match stated {
            Some(stated) => MediaType::new(stated.essence().to_ascii_lowercase()),
            None => self.inferred_type(digest)?,
        };
        self.check_fields(digest, &media_type)?;
        Ok(media_type)
    }

    fn check_unambiguous(&self, digest: &Digest) -> Result<()> {
        let present = |field, name| (field == Field::Present).then_some(name);
        let manifest = present(self.layers, "layers").or(present(self.config(), "config"));
        let index = present(self.manifests, "manifests");
        let schema1 = present(self.fs_layers, "fsLayers").or(present(self.history, "history"));
        let kinds: Vec<&str> = [manifest, index, schema1].into_iter().flatten().collect();
        if kinds.len() > 1 {
            return Err(Error::AmbiguousManifest { digest: *digest, fields: kinds.join(" and ") });
        }
        Ok(())
    }

    fn check_version(&self, digest: &Digest) -> Result<()> {
        match self.schema_version {
            Some(2) => Ok(()),
            Some(other) => Err(invalid(digest, format!("schemaVersion is {other}; only 2 is supported"))),
            None => Err(invalid(digest, "it has no schemaVersion".to_owned())),
        }
    }

    /// Returns the presence of a config. `null` counts as absent: no other member depends on it.
    fn config(&self) -> Field {
        if self.config.is_some() { Field::Present } else { Field::Absent }
    }

    /// Returns whether the config is of Docker's type.
    fn has_docker_config(&self) -> bool {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Config {
            media_type: MediaType,
        }

        let config = self.config.as_ref().and_then(|it| serde_json::from_str::<Config>(it.get()).ok());
        config.is_some_and(|it| it.media_type.matches(&MediaType::DOCKER_CONFIG))
    }

    fn inferred_type(&self, digest: &Digest) -> Result<MediaType> {
        if self.config() == Field::Present || self.layers == Field::Present {
            Ok(if self.has_docker_config() { MediaType::DOCKER_MANIFEST } else { MediaType::OCI_MANIFEST })
        } else if self.manifests != Field::Absent {
            Ok(MediaType::OCI_INDEX)
        } else {
            Err(invalid(digest, "it has neither layers nor manifests".to_owned()))
        }
    }

    /// Checks that the document has no fields of another type.
    fn check_fields(&self, digest: &Digest, media_type: &MediaType) -> Result<()> {
        let contradiction = if media_type.is_index() {
            (self.layers == Field::Present || self.config() == Field::Present).then_some("layers or a config")
        } else if media_type.is_manifest() {
            (self.manifests == Field::Present).then_some("manifests")
        } else {
            return Err(Error::UnsupportedMediaType { digest: *digest, media_type: media_type.to_string() });
        };
        match contradiction {
            Some(fields) => Err(invalid(digest, format!("it is of type {media_type} but has {fields}"))),
            None => Ok(()),
        }
    }
}

/// Returns whether a sender's type describes the document. Web servers and old registries send `application/json`,
/// `text/plain` or `application/octet-stream` for every file.
fn is_specific(content_type: &MediaType) -> bool {
    content_type.essence().to_ascii_lowercase().starts_with("application/vnd.")
}

fn invalid(digest: &Digest, reason: String) -> Error {
    Error::InvalidDocument { document: DocumentKind::Unknown, digest: *digest, reason }
}
