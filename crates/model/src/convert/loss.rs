//! The parts of an image that a conversion loses.

use std::fmt;

use crate::json_text::{RawObject, is_empty_value};
use crate::{Digest, Manifest};

/// The largest number of names in a message.
const LISTED_NAMES: usize = 8;

/// A part of an image that a new form of its documents does not have. Its `Display` is one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// Annotations of the manifest, because Docker's manifests have none.
    ManifestAnnotations {
        /// Their keys.
        keys: Vec<String>,
    },
    /// Annotations of the descriptor of a layer.
    LayerAnnotations {
        /// The digest of the layer in the source.
        layer: Digest,
        /// Their keys.
        keys: Vec<String>,
    },
    /// Annotations of the descriptor of the config, because Docker's manifests have none.
    ConfigAnnotations {
        /// Their keys.
        keys: Vec<String>,
    },
    /// The reference to another manifest, because Docker's manifests have none.
    Subject {
        /// The digest of the other manifest.
        digest: Digest,
    },
    /// The type of artifact, because Docker's manifests have none.
    ArtifactType {
        /// The type.
        artifact_type: String,
    },
    /// Members of the config that the specification of OCI does not define.
    ConfigMembers {
        /// Their names, such as `config.Healthcheck`.
        names: Vec<String>,
    },
    /// Members of the manifest that the new format does not define.
    ManifestMembers {
        /// Their names.
        names: Vec<String>,
    },
    /// The reference of an index to another manifest, because Docker's manifest lists have none.
    IndexSubject {
        /// The digest of the other manifest.
        digest: Digest,
    },
    /// The type of artifact of an index, because Docker's manifest lists have none.
    IndexArtifactType {
        /// The type.
        artifact_type: String,
    },
    /// Annotations of the index, because Docker's manifest lists have none.
    IndexAnnotations {
        /// Their keys.
        keys: Vec<String>,
    },
    /// Annotations of an entry of the index, because Docker's manifest lists have none.
    EntryAnnotations {
        /// The digest of the entry.
        entry: Digest,
        /// Their keys.
        keys: Vec<String>,
    },
    /// The type of artifact of an entry of the index, because Docker's manifest lists have none.
    EntryArtifactType {
        /// The digest of the entry.
        entry: Digest,
        /// The type.
        artifact_type: String,
    },
    /// Required CPU features of an entry of a Docker manifest list, because OCI indexes have none.
    EntryFeatures {
        /// The digest of the entry.
        entry: Digest,
        /// The features.
        features: Vec<String>,
    },
    /// The missing platform of an entry of the index. Docker's manifest lists require one.
    EntryWithoutPlatform {
        /// The digest of the entry.
        entry: Digest,
        /// The platform that the entry has now.
        platform: String,
    },
    /// The signatures, ids, name and tag of a schema 1 manifest, because newer formats have none.
    Schema1Members,
    /// The media types and sizes of the layers, because schema 1 has none.
    LayerTypes,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ManifestAnnotations { keys } => {
                write!(f, "the manifest loses its annotations {}: Docker's manifests have none", List(keys))
            }
            Self::LayerAnnotations { layer, keys } => {
                write!(f, "layer {layer} loses its annotations {}", List(keys))
            }
            Self::ConfigAnnotations { keys } => {
                write!(f, "the config loses its annotations {}: Docker's manifests have none", List(keys))
            }
            Self::Subject { digest } => {
                write!(f, "the manifest loses its subject {digest}: Docker's manifests have none")
            }
            Self::ArtifactType { artifact_type } => {
                write!(f, "the manifest loses its artifact type {artifact_type:?}: Docker's manifests have none")
            }
            Self::ConfigMembers { names } => {
                write!(f, "the config loses {}: OCI does not define them", List(names))
            }
            Self::ManifestMembers { names } => {
                write!(f, "the manifest loses {}: the new format does not define them", List(names))
            }
            Self::IndexSubject { digest } => {
                write!(f, "the index loses its subject {digest}: Docker's manifest lists have none")
            }
            Self::IndexArtifactType { artifact_type } => {
                write!(f, "the index loses its artifact type {artifact_type:?}: Docker's manifest lists have none")
            }
            Self::IndexAnnotations { keys } => {
                write!(f, "the index loses its annotations {}: Docker's manifest lists have none", List(keys))
            }
            Self::EntryAnnotations { entry, keys } => {
                write!(f, "entry {entry} loses its annotations {}: Docker's manifest lists have none", List(keys))
            }
            Self::EntryArtifactType { entry, artifact_type } => {
                write!(f, "entry {entry} loses its artifact type {artifact_type:?}: Docker's manifest lists have none")
            }
            Self::EntryFeatures { entry, features } => {
                write!(f, "entry {entry} loses the CPU features {}: OCI indexes have none", List(features))
            }
            Self::EntryWithoutPlatform { entry, platform } => {
                write!(f, "entry {entry} has no platform and becomes {platform}: Docker's manifest lists require one")
            }
            Self::Schema1Members => {
                f.write_str("the manifest loses its signatures, layer ids, name and tag: only schema 1 has them")
            }
            Self::LayerTypes => f.write_str("the layers lose their media types and sizes: Docker's schema 1 has none"),
        }
    }
}

/// A list of names for a message, of which at most [`LISTED_NAMES`] are written.
struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0[..self.0.len().min(LISTED_NAMES)].join(", "))?;
        match self.0.len().checked_sub(LISTED_NAMES) {
            Some(more @ 1..) => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}

/// The members of manifests that OCI and Docker define.
const MANIFEST_MEMBERS: [&str; 7] =
    ["schemaVersion", "mediaType", "artifactType", "config", "layers", "subject", "annotations"];

/// Returns the loss of the members of a manifest that no format defines.
pub(super) fn unknown_members(manifest: &Manifest) -> Option<Loss> {
    let document: RawObject = serde_json::from_slice(manifest.raw()).ok()?;
    let unknown = document.members().filter(|(name, value)| !MANIFEST_MEMBERS.contains(name) && !is_empty_value(value));
    let names: Vec<String> = unknown.map(|(name, _)| name.to_owned()).collect();
    (!names.is_empty()).then_some(Loss::ManifestMembers { names })
}
