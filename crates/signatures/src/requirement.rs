//! The requirements of a policy (containers-policy.json(5), "Policy Requirements"), and vmroot's own one.

mod display;

use std::path::PathBuf;

use crate::SignedIdentity;

/// A condition that an image must meet.
///
/// A judge decides on each condition, so a new one breaks the build of judges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// `insecureAcceptAnything`: every image meets it.
    InsecureAcceptAnything,
    /// `reject`: no image meets it.
    Reject,
    /// `signedBy`: a signature in an OpenPGP message.
    SignedBy {
        /// The kind of keys.
        key_type: KeyType,
        /// The keyrings.
        keys: DataSource,
        /// The names that a signature may have.
        signed_identity: SignedIdentity,
    },
    /// `signedBaseLayer`: reserved by the format. No image meets it.
    SignedBaseLayer {
        /// The names of the base.
        base_layer_identity: SignedIdentity,
    },
    /// `sigstoreSigned`: a signature in a sigstore attachment.
    SigstoreSigned {
        /// The keys or certificates.
        signers: AttachmentSigners,
        /// The names that a signature may have.
        signed_identity: SignedIdentity,
    },
    /// `vmrootBundleSigned`: a sigstore bundle, or an attachment of cosign's old form, for the digest of the image. It
    /// is vmroot's own, because a bundle signs no name.
    BundleSigned(BundleSigners),
}

impl Requirement {
    /// Returns the type's name in a policy.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InsecureAcceptAnything => "insecureAcceptAnything",
            Self::Reject => "reject",
            Self::SignedBy { .. } => "signedBy",
            Self::SignedBaseLayer { .. } => "signedBaseLayer",
            Self::SigstoreSigned { .. } => "sigstoreSigned",
            Self::BundleSigned(_) => "vmrootBundleSigned",
        }
    }

    /// Returns whether the requirement is met only by a verified signature.
    pub fn verifies_signatures(&self) -> bool {
        matches!(self, Self::SignedBy { .. } | Self::SigstoreSigned { .. } | Self::BundleSigned(_))
    }
}

/// The kind of keys of `signedBy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// `GPGKeys`: keyrings with the signers' keys.
    GpgKeys,
    /// `signedByGPGKeys`: reserved by the format. No signature is accepted.
    SignedByGpgKeys,
    /// `X509Certificates`: reserved by the format. No signature is accepted.
    X509Certificates,
    /// `signedByX509CAs`: reserved by the format. No signature is accepted.
    SignedByX509Cas,
}

impl KeyType {
    const ALL: [Self; 4] = [Self::GpgKeys, Self::SignedByGpgKeys, Self::X509Certificates, Self::SignedByX509Cas];

    /// Returns the name in a policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::GpgKeys => "GPGKeys",
            Self::SignedByGpgKeys => "signedByGPGKeys",
            Self::X509Certificates => "X509Certificates",
            Self::SignedByX509Cas => "signedByX509CAs",
        }
    }

    /// Returns the kind with this name in a policy.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// Keys or certificates: in files, or in the policy itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSource {
    /// Files, at least one.
    Paths(Vec<PathBuf>),
    /// Contents of files, at least one. They are in base64 in the policy.
    Data(Vec<Vec<u8>>),
}

/// The signers that `sigstoreSigned` accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachmentSigners {
    /// Public keys.
    Keys {
        /// The keys.
        keys: DataSource,
        /// The keys of logs, one of which must have promised to include the signature.
        rekor: Option<DataSource>,
    },
    /// Certificates of a Fulcio authority.
    Fulcio {
        /// The authority's certificates.
        authority: DataSource,
        /// The issuer of the signer's OpenID Connect token.
        oidc_issuer: String,
        /// The address in the signer's certificate.
        subject_email: String,
        /// The keys of logs, one of which must have promised to include the signature.
        rekor: DataSource,
    },
    /// Certificates of the caller's own authorities.
    Pki {
        /// The trusted certificates.
        roots: DataSource,
        /// Certificates between the trusted ones and the signer's.
        intermediates: Option<DataSource>,
        /// The address in the signer's certificate. It, or the host, is present.
        subject_email: Option<String>,
        /// The host in the signer's certificate.
        subject_hostname: Option<String>,
    },
}

/// The signers that `vmrootBundleSigned` accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleSigners {
    /// Public keys.
    Keys {
        /// The keys.
        keys: DataSource,
        /// A `trusted_root.json` with the logs, one of which must include the signature.
        trusted_root: Option<DataSource>,
    },
    /// Certificates of the authorities of a `trusted_root.json`.
    Certificates {
        /// The `trusted_root.json`.
        trusted_root: DataSource,
        /// The identity in the certificate: an address, a URI or another name.
        identity: String,
        /// The issuer of the signer's OpenID Connect token.
        oidc_issuer: String,
    },
}
