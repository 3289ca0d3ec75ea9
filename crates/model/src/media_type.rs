//! Media types of the OCI image specification (media-types.md) and of Docker's schema 2.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A media type, as its text. Unknown types are allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaType(Cow<'static, str>);

/// The compression of a layer according to its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LayerCompression {
    /// A plain tar.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl fmt::Display for LayerCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// The prefixes of the media types of layers. The suffix is the compression.
const LAYER_STEMS: [&str; 4] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
];

/// The suffix of the types of encrypted layers (ocicrypt, spec/spec.go).
const ENCRYPTED: &str = "+encrypted";

impl MediaType {
    /// OCI image index.
    pub const OCI_INDEX: Self = Self::known("application/vnd.oci.image.index.v1+json");
    /// OCI image manifest.
    pub const OCI_MANIFEST: Self = Self::known("application/vnd.oci.image.manifest.v1+json");
    /// OCI image config.
    pub const OCI_CONFIG: Self = Self::known("application/vnd.oci.image.config.v1+json");
    /// OCI layer, plain.
    pub const OCI_LAYER: Self = Self::known("application/vnd.oci.image.layer.v1.tar");
    /// OCI layer, gzip.
    pub const OCI_LAYER_GZIP: Self = Self::known("application/vnd.oci.image.layer.v1.tar+gzip");
    /// OCI layer, zstd.
    pub const OCI_LAYER_ZSTD: Self = Self::known("application/vnd.oci.image.layer.v1.tar+zstd");
    /// OCI layer that may not be pushed to other registries, plain.
    pub const OCI_FOREIGN_LAYER: Self = Self::known("application/vnd.oci.image.layer.nondistributable.v1.tar");
    /// OCI layer that may not be pushed to other registries, gzip.
    pub const OCI_FOREIGN_LAYER_GZIP: Self =
        Self::known("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
    /// OCI layer that may not be pushed to other registries, zstd.
    pub const OCI_FOREIGN_LAYER_ZSTD: Self =
        Self::known("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd");
    /// The config of an OCI manifest that is not an image.
    pub const OCI_EMPTY: Self = Self::known("application/vnd.oci.empty.v1+json");
    /// Docker manifest list.
    pub const DOCKER_INDEX: Self = Self::known("application/vnd.docker.distribution.manifest.list.v2+json");
    /// Docker image manifest, schema 2.
    pub const DOCKER_MANIFEST: Self = Self::known("application/vnd.docker.distribution.manifest.v2+json");
    /// Docker image config.
    pub const DOCKER_CONFIG: Self = Self::known("application/vnd.docker.container.image.v1+json");
    /// Docker layer, plain.
    pub const DOCKER_LAYER: Self = Self::known("application/vnd.docker.image.rootfs.diff.tar");
    /// Docker layer, gzip.
    pub const DOCKER_LAYER_GZIP: Self = Self::known("application/vnd.docker.image.rootfs.diff.tar.gzip");
    /// Docker layer, zstd. Several tools write this type, though no specification has it.
    pub const DOCKER_LAYER_ZSTD: Self = Self::known("application/vnd.docker.image.rootfs.diff.tar.zstd");
    /// Docker layer that may not be pushed to other registries, plain.
    pub const DOCKER_FOREIGN_LAYER: Self = Self::known("application/vnd.docker.image.rootfs.foreign.diff.tar");
    /// Docker layer that may not be pushed to other registries, gzip.
    pub const DOCKER_FOREIGN_LAYER_GZIP: Self =
        Self::known("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    /// Docker image manifest, schema 1.
    pub const DOCKER_SCHEMA1: Self = Self::known("application/vnd.docker.distribution.manifest.v1+json");
    /// Docker image manifest, schema 1 with signatures.
    pub const DOCKER_SCHEMA1_SIGNED: Self = Self::known("application/vnd.docker.distribution.manifest.v1+prettyjws");

    /// The types that [`Document`](crate::Document) reads, for an `Accept` header.
    pub const DOCUMENTS: [Self; 4] = [Self::OCI_INDEX, Self::OCI_MANIFEST, Self::DOCKER_INDEX, Self::DOCKER_MANIFEST];

    /// The types that [`AnyDocument`](crate::AnyDocument) reads, for the `Accept` header of a copy.
    pub const DOCUMENTS_AND_SCHEMA1: [Self; 6] = [
        Self::OCI_INDEX,
        Self::OCI_MANIFEST,
        Self::DOCKER_INDEX,
        Self::DOCKER_MANIFEST,
        Self::DOCKER_SCHEMA1_SIGNED,
        Self::DOCKER_SCHEMA1,
    ];

    const fn known(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// Creates a media type from the text of a document or a `Content-Type` header, with its parameters.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Cow::Owned(text.into()))
    }

    /// Returns the text of the type.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the type without parameters such as `; charset=utf-8`.
    pub fn essence(&self) -> &str {
        self.0.split(';').next().unwrap_or_default().trim()
    }

    /// Returns whether the type is empty.
    pub fn is_empty(&self) -> bool {
        self.essence().is_empty()
    }

    /// Returns whether both types are the same, without regard to parameters and case (RFC 6838, section 4.2).
    pub fn matches(&self, other: &Self) -> bool {
        self.essence().eq_ignore_ascii_case(other.essence())
    }

    fn is_one_of(&self, types: &[Self]) -> bool {
        types.iter().any(|it| self.matches(it))
    }

    /// Returns whether this is an OCI index or a Docker manifest list.
    pub fn is_index(&self) -> bool {
        self.is_one_of(&[Self::OCI_INDEX, Self::DOCKER_INDEX])
    }

    /// Returns whether this is an OCI manifest or a Docker schema 2 manifest.
    pub fn is_manifest(&self) -> bool {
        self.is_one_of(&[Self::OCI_MANIFEST, Self::DOCKER_MANIFEST])
    }

    /// Returns whether this is a Docker schema 1 manifest.
    pub fn is_schema1(&self) -> bool {
        self.is_one_of(&[Self::DOCKER_SCHEMA1, Self::DOCKER_SCHEMA1_SIGNED])
    }

    /// Returns whether this is an OCI or Docker image config.
    pub fn is_config(&self) -> bool {
        self.is_one_of(&[Self::OCI_CONFIG, Self::DOCKER_CONFIG])
    }

    /// Returns whether this is one of Docker's own types.
    pub fn is_docker(&self) -> bool {
        strip_prefix_ignoring_case(self.essence(), "application/vnd.docker.").is_some()
    }

    /// Returns whether this is a layer of a root file system, with any compression or encryption.
    pub fn is_layer(&self) -> bool {
        self.layer_suffix().is_some()
    }

    /// Returns whether this is a foreign layer, which must not be pushed to other registries and may be missing in a
    /// registry.
    pub fn is_foreign_layer(&self) -> bool {
        self.is_layer()
            && LAYER_STEMS[1..].iter().step_by(2).any(|stem| strip_prefix_ignoring_case(self.essence(), stem).is_some())
    }

    /// Returns whether this is an encrypted layer.
    pub fn is_encrypted_layer(&self) -> bool {
        self.layer_suffix().is_some_and(|suffix| suffix.to_ascii_lowercase().ends_with(ENCRYPTED))
    }

    /// Returns the type of the same layer after its encryption. Returns `None` for Docker's types, encrypted layers and
    /// types that are not layers. Parameters are dropped.
    #[must_use]
    pub fn to_encrypted_layer(&self) -> Option<Self> {
        let is_plain = self.layer_compression().is_some() && !self.is_docker();
        is_plain.then(|| Self::new(format!("{}{ENCRYPTED}", self.essence())))
    }

    /// Returns the type of the same layer after its decryption, or `None` if it is no encrypted layer.
    #[must_use]
    pub fn to_decrypted_layer(&self) -> Option<Self> {
        let length = self.essence().len().checked_sub(ENCRYPTED.len())?;
        self.is_encrypted_layer().then(|| Self::new(&self.essence()[..length]))
    }

    /// Returns the compression of the layer, or `None` for other types, encrypted layers and unknown compressions.
    ///
    /// The type may be wrong. Readers should rely on the first bytes of the layer instead.
    pub fn layer_compression(&self) -> Option<LayerCompression> {
        match self.layer_suffix()?.to_ascii_lowercase().trim_start_matches(['.', '+']) {
            "" if self.has_parameter("variant", "gzip") => Some(LayerCompression::Gzip),
            "" if self.has_parameter("variant", "zstd") => Some(LayerCompression::Zstd),
            "" => Some(LayerCompression::None),
            "gzip" | "gz" => Some(LayerCompression::Gzip),
            "zstd" | "zst" => Some(LayerCompression::Zstd),
            _ => None,
        }
    }

    /// Returns the type of the same layer with another compression, in the same family and with the same restrictions
    /// on distribution. Parameters are dropped.
    ///
    /// Returns `None` for other types, encrypted layers, and zstd in Docker's types: Docker's manifests may not have
    /// it.
    #[must_use]
    pub fn with_compression(&self, compression: LayerCompression) -> Option<Self> {
        use LayerCompression::{Gzip, None as Plain, Zstd};
        self.layer_compression()?;
        match (self.is_docker(), self.is_foreign_layer(), compression) {
            (false, false, Plain) => Some(Self::OCI_LAYER),
            (false, false, Gzip) => Some(Self::OCI_LAYER_GZIP),
            (false, false, Zstd) => Some(Self::OCI_LAYER_ZSTD),
            (false, true, Plain) => Some(Self::OCI_FOREIGN_LAYER),
            (false, true, Gzip) => Some(Self::OCI_FOREIGN_LAYER_GZIP),
            (false, true, Zstd) => Some(Self::OCI_FOREIGN_LAYER_ZSTD),
            (true, false, Plain) => Some(Self::DOCKER_LAYER),
            (true, false, Gzip) => Some(Self::DOCKER_LAYER_GZIP),
            (true, true, Plain) => Some(Self::DOCKER_FOREIGN_LAYER),
            (true, true, Gzip) => Some(Self::DOCKER_FOREIGN_LAYER_GZIP),
            (true, _, Zstd) => None,
        }
    }

    /// Returns OCI's type for a layer of this type, or `None` for encrypted layers and for types that are not layers.
    #[must_use]
    pub fn to_oci_layer(&self) -> Option<Self> {
        let stem = if self.is_foreign_layer() { Self::OCI_FOREIGN_LAYER } else { Self::OCI_LAYER };
        stem.with_compression(self.layer_compression()?)
    }

    /// Returns Docker's type for a layer of this type, or `None` for zstd, encrypted layers and types that are not
    /// layers.
    #[must_use]
    pub fn to_docker_layer(&self) -> Option<Self> {
        let stem = if self.is_foreign_layer() { Self::DOCKER_FOREIGN_LAYER } else { Self::DOCKER_LAYER };
        stem.with_compression(self.layer_compression()?)
    }

    /// Returns the suffix of a layer's type: empty, or `.` or `+` and a compression.
    fn layer_suffix(&self) -> Option<&str> {
        let suffix = LAYER_STEMS.iter().find_map(|stem| strip_prefix_ignoring_case(self.essence(), stem))?;
        (suffix.is_empty() || suffix.starts_with(['.', '+'])).then_some(suffix)
    }

    fn has_parameter(&self, name: &str, value: &str) -> bool {
        let mut parameters = self.0.split(';').skip(1).filter_map(|it| it.split_once('='));
        parameters
            .any(|(n, v)| n.trim().eq_ignore_ascii_case(name) && v.trim().trim_matches('"').eq_ignore_ascii_case(value))
    }
}

/// Removes `prefix` from `text`, ignoring case. Returns `None` if `text` does not start with it.
fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_types_have_a_compression() {
        use LayerCompression::{Gzip, None as Plain, Zstd};
        for (text, compression) in [
            ("application/vnd.oci.image.layer.v1.tar", Some(Plain)),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Some(Gzip)),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Some(Zstd)),
            ("application/vnd.oci.image.layer.v1.tar;variant=gzip", Some(Gzip)),
            ("application/vnd.oci.image.layer.v1.tar; Variant=\"zstd\"", Some(Zstd)),
            ("application/vnd.oci.image.layer.v1.tar+gzip; charset=x", Some(Gzip)),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar", Some(Plain)),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Some(Gzip)),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", Some(Zstd)),
            ("application/vnd.docker.image.rootfs.diff.tar", Some(Plain)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some(Gzip)),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", Some(Zstd)),
            ("Application/vnd.docker.image.rootfs.diff.tar.GZIP", Some(Gzip)),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Some(Gzip)),
            ("application/vnd.oci.image.layer.v1.tar+br", None),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", None),
            ("application/vnd.oci.image.layer.v1.tarball", None),
            ("application/vnd.in-toto+json", None),
            ("application/octet-stream", None),
            ("", None),
        ] {
            assert_eq!(MediaType::new(text).layer_compression(), compression, "{text}");
        }
    }

    #[test]
    fn each_known_type_has_one_class() {
        let class = |it: &MediaType| {
            let classes = [it.is_index(), it.is_manifest(), it.is_schema1(), it.is_config(), it.is_layer()];
            assert!(classes.iter().filter(|it| **it).count() <= 1, "{it}");
            classes.iter().position(|it| *it)
        };
        assert_eq!(class(&MediaType::OCI_INDEX), Some(0));
        assert_eq!(class(&MediaType::DOCKER_INDEX), Some(0));
        assert_eq!(class(&MediaType::OCI_MANIFEST), Some(1));
        assert_eq!(class(&MediaType::DOCKER_MANIFEST), Some(1));
        assert_eq!(class(&MediaType::DOCKER_SCHEMA1), Some(2));
        assert_eq!(class(&MediaType::DOCKER_SCHEMA1_SIGNED), Some(2));
        assert_eq!(class(&MediaType::OCI_CONFIG), Some(3));
        assert_eq!(class(&MediaType::DOCKER_CONFIG), Some(3));
        assert_eq!(class(&MediaType::DOCKER_LAYER_ZSTD), Some(4));
        assert_eq!(class(&MediaType::OCI_EMPTY), None);
        assert_eq!(class(&MediaType::new("text/html")), None);
    }

    #[test]
    fn foreign_and_encrypted_layers_are_told_apart() {
        for foreign in [
            MediaType::OCI_FOREIGN_LAYER,
            MediaType::OCI_FOREIGN_LAYER_GZIP,
            MediaType::OCI_FOREIGN_LAYER_ZSTD,
            MediaType::DOCKER_FOREIGN_LAYER,
            MediaType::DOCKER_FOREIGN_LAYER_GZIP,
        ] {
            assert!(foreign.is_foreign_layer() && foreign.is_layer(), "{foreign}");
        }
        for own in [MediaType::OCI_LAYER, MediaType::OCI_LAYER_GZIP, MediaType::DOCKER_LAYER_GZIP] {
            assert!(!own.is_foreign_layer() && own.is_layer(), "{own}");
        }
        assert!(MediaType::new("application/vnd.oci.image.layer.v1.tar+gzip+encrypted").is_encrypted_layer());
        assert!(!MediaType::OCI_LAYER_GZIP.is_encrypted_layer());
    }

    #[test]
    fn encryption_is_a_suffix() {
        for plain in [MediaType::OCI_LAYER, MediaType::OCI_LAYER_ZSTD, MediaType::OCI_FOREIGN_LAYER_GZIP] {
            let encrypted = plain.to_encrypted_layer().unwrap();
            assert_eq!(encrypted.as_str(), format!("{plain}+encrypted"));
            assert_eq!(encrypted.to_decrypted_layer().unwrap(), plain);
            assert_eq!((encrypted.to_encrypted_layer(), plain.to_decrypted_layer()), (None, None));
        }
        for other in [MediaType::DOCKER_LAYER_GZIP, MediaType::OCI_CONFIG, MediaType::new("a/b+encrypted")] {
            assert_eq!((other.to_encrypted_layer(), other.to_decrypted_layer()), (None, None), "{other}");
        }
    }

    #[test]
    fn layer_types_change_their_compression_and_family() {
        use LayerCompression::{Gzip, None as Plain, Zstd};
        for (oci, docker) in [
            (MediaType::OCI_LAYER, Some(MediaType::DOCKER_LAYER)),
            (MediaType::OCI_LAYER_GZIP, Some(MediaType::DOCKER_LAYER_GZIP)),
            (MediaType::OCI_FOREIGN_LAYER, Some(MediaType::DOCKER_FOREIGN_LAYER)),
            (MediaType::OCI_FOREIGN_LAYER_GZIP, Some(MediaType::DOCKER_FOREIGN_LAYER_GZIP)),
            (MediaType::OCI_LAYER_ZSTD, None),
            (MediaType::OCI_FOREIGN_LAYER_ZSTD, None),
        ] {
            assert_eq!(oci.to_docker_layer(), docker, "{oci}");
            assert_eq!(oci.to_oci_layer().as_ref(), Some(&oci));
            if let Some(docker) = docker {
                assert_eq!(docker.to_oci_layer(), Some(oci.clone()));
                assert_eq!(docker.to_docker_layer(), Some(docker.clone()));
                assert_eq!(docker.with_compression(Zstd), None);
                assert_eq!(docker.with_compression(Gzip).unwrap().is_foreign_layer(), docker.is_foreign_layer());
            }
            for compression in [Plain, Gzip, Zstd] {
                let changed = oci.with_compression(compression).unwrap();
                assert_eq!(changed.layer_compression(), Some(compression));
                assert_eq!(changed.is_foreign_layer(), oci.is_foreign_layer());
            }
        }
        for other in ["application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "text/plain", ""] {
            let other = MediaType::new(other);
            assert_eq!(
                (other.with_compression(Gzip), other.to_oci_layer(), other.to_docker_layer()),
                (None, None, None)
            );
        }
    }

    #[test]
    fn matching_ignores_parameters_and_case() {
        let header = MediaType::new(" Application/vnd.oci.image.index.v1+JSON ; charset=utf-8");
        assert!(header.matches(&MediaType::OCI_INDEX) && header.is_index());
        assert!(!header.matches(&MediaType::DOCKER_INDEX));
    }
}
