//! Other forms of an image's documents: with other layers, or in another format.
//!
//! A copy writes the layers first. Then it makes the manifest from the source's manifest, the config and the layers as
//! they were written. The results equal those of `skopeo copy` field for field; new documents have the members in the
//! same order. A document that needs no change keeps its bytes.

mod edit;
mod from_schema1;
mod layers;
mod legacy_config;
mod list;
mod loss;
mod oci;
mod oci_config;
mod schema1;
mod schema2;

use std::fmt;

use crate::error::DocumentKind;
use crate::{Descriptor, Digest, Error, ImageConfig, Manifest, MediaType, Result};

pub use layers::{EncryptionChange, WrittenLayer};
pub(crate) use list::is_marked;
pub use list::{EditedIndex, IndexEdit, IndexFormat, Instance};
pub use loss::Loss;

/// A format of image manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ManifestFormat {
    /// The OCI image manifest.
    Oci,
    /// Docker's schema 2, also known as v2s2.
    Schema2,
    /// Docker's schema 1, also known as v2s1: obsolete.
    Schema1,
}

impl ManifestFormat {
    /// Returns the media type of manifests of this format, for schema 1 the one with signatures.
    pub fn media_type(self) -> MediaType {
        match self {
            Self::Oci => MediaType::OCI_MANIFEST,
            Self::Schema2 => MediaType::DOCKER_MANIFEST,
            Self::Schema1 => MediaType::DOCKER_SCHEMA1_SIGNED,
        }
    }

    /// Returns the format of manifests with a media type, or `None` if the type is not that of an image manifest.
    pub fn of(media_type: &MediaType) -> Option<Self> {
        if media_type.is_schema1() {
            return Some(Self::Schema1);
        }
        let formats = [Self::Oci, Self::Schema2];
        formats.into_iter().find(|it| it.media_type().matches(media_type))
    }

    /// Returns whether manifests of this format may have layers that are compressed with zstd.
    pub fn allows_zstd(self) -> bool {
        self == Self::Oci
    }
}

impl fmt::Display for ManifestFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oci => "an OCI manifest",
            Self::Schema2 => "a Docker schema 2 manifest",
            Self::Schema1 => "a Docker schema 1 manifest",
        })
    }
}

/// A manifest in its new form, and the blobs that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The bytes of the manifest. They are the old bytes if nothing changed.
    pub manifest: Vec<u8>,
    /// The media type of the manifest.
    pub media_type: MediaType,
    /// The bytes of the config, if the source has no such blob. The manifest refers to their digest.
    pub config: Option<Vec<u8>>,
    /// Further blobs that the manifest refers to and the source does not have: the empty layer of schema 1.
    pub extra_blobs: Vec<ExtraBlob>,
    /// The parts of the source that the new form does not have.
    pub losses: Vec<Loss>,
}

/// A short blob that a conversion adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraBlob {
    /// The media type, digest and size.
    pub descriptor: Descriptor,
    /// The content.
    pub bytes: Vec<u8>,
}

impl Manifest {
    /// Returns the format, by the media type.
    pub fn format(&self) -> ManifestFormat {
        if self.media_type().is_docker() { ManifestFormat::Schema2 } else { ManifestFormat::Oci }
    }

    /// Converts the manifest to an OCI manifest or to Docker's schema 2, with `layers` in place of its layers.
    ///
    /// `config` is the content of the config. `layers` are all layers, the base first.
    ///
    /// - To the same format, members that this crate does not know stay, in their place.
    /// - From schema 2 to OCI, the config keeps the members that OCI defines, so its digest changes.
    /// - From OCI to schema 2, the config keeps its bytes.
    ///
    /// # Errors
    /// - [`Error::Conversion`] for a manifest that is not an image, a layer that the format cannot have (zstd in
    ///   schema 2, an encrypted or unknown type), and [`ManifestFormat::Schema1`]; [`Self::to_schema1`] makes that.
    /// - [`Error::WrongConfig`] if `config` is not the config of the manifest.
    /// - The errors of [`ImageConfig::parse`].
    pub fn convert(&self, format: ManifestFormat, config: &[u8], layers: &[WrittenLayer]) -> Result<Converted> {
        match (self.format(), format) {
            (from, to) if from == to => self.with_layers(layers),
            (_, ManifestFormat::Oci) => oci::from_schema2(self, config, layers),
            (_, ManifestFormat::Schema2) => schema2::from_oci(self, layers),
            (_, ManifestFormat::Schema1) => {
                Err(self.not_convertible(format, "it needs a name; see Manifest::to_schema1".to_owned()))
            }
        }
    }

    /// Checks that `config` is the content of this manifest's config, and parses it.
    fn parse_config(&self, config: &[u8]) -> Result<ImageConfig> {
        let expected = self.config().digest;
        if !expected.is_of(config) {
            return Err(Error::WrongConfig { manifest: *self.digest(), expected, actual: Digest::of(config) });
        }
        ImageConfig::parse(config.to_vec())
    }

    fn not_convertible(&self, format: ManifestFormat, reason: String) -> Error {
        Error::Conversion { digest: *self.digest(), format: format.to_string(), reason }
    }

    fn invalid(&self, reason: String) -> Error {
        Error::InvalidDocument { document: DocumentKind::Manifest, digest: *self.digest(), reason }
    }
}
