//! Requirements as text for people.

use std::fmt;

use super::{AttachmentSigners, BundleSigners, DataSource, Requirement};

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::InsecureAcceptAnything | Self::Reject => Ok(()),
            Self::SignedBy { key_type, keys, signed_identity } => {
                write!(f, " with {} in {keys}, {}", key_type.name(), signed_identity.name())
            }
            Self::SignedBaseLayer { base_layer_identity } => write!(f, ", {}", base_layer_identity.name()),
            Self::SigstoreSigned { signers, signed_identity } => write!(f, " {signers}, {}", signed_identity.name()),
            Self::BundleSigned(signers) => write!(f, " {signers}, by digest"),
        }
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paths(paths) => {
                for (position, path) in paths.iter().enumerate() {
                    write!(f, "{}{}", if position == 0 { "" } else { " or " }, path.display())?;
                }
                Ok(())
            }
            Self::Data(_) => f.write_str("the policy"),
        }
    }
}

impl fmt::Display for AttachmentSigners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys { keys, rekor } => {
                write!(f, "with a key in {keys}")?;
                rekor.as_ref().map_or(Ok(()), |rekor| write!(f, " and a log's key in {rekor}"))
            }
            Self::Fulcio { authority, oidc_issuer, subject_email, rekor } => write!(
                f,
                "with a certificate of {subject_email} by {oidc_issuer}, an authority in {authority} and a log's key in \
                 {rekor}"
            ),
            Self::Pki { roots, subject_email, subject_hostname, .. } => {
                let names: Vec<_> =
                    [subject_email, subject_hostname].into_iter().flatten().map(String::as_str).collect();
                write!(f, "with a certificate of {} and an authority in {roots}", names.join(" and "))
            }
        }
    }
}

impl fmt::Display for BundleSigners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys { keys, trusted_root } => {
                write!(f, "with a key in {keys}")?;
                trusted_root.as_ref().map_or(Ok(()), |root| write!(f, " and a log of {root}"))
            }
            Self::Certificates { trusted_root, identity, oidc_issuer } => {
                write!(f, "with a certificate of {identity} by {oidc_issuer} and a trusted root in {trusted_root}")
            }
        }
    }
}
