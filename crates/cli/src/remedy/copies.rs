//! Hints for errors of copies.

use vmroot::{compress, copy};

/// Returns the hint for an error of a copy.
pub(super) fn of_copy(error: &copy::Error) -> Option<String> {
    match error {
        copy::Error::Signatures { .. } => Some("--remove-signatures copies without the signatures".to_owned()),
        copy::Error::MustNotChange { reason, .. } if reason.contains("signatures") => {
            Some("--remove-signatures copies without the signatures, so that the copy may differ".to_owned())
        }
        copy::Error::NoSignedName { .. } => Some("--sign-identity REFERENCE gives the copy a name".to_owned()),
        copy::Error::Refused { remedy, .. } => remedy.map(str::to_owned),
        copy::Error::MustNotChange { .. } => {
            Some("without --preserve-digests, and to a name without a digest, the image may change".to_owned())
        }
        _ => None,
    }
}

/// Returns the hint for an error of a compression.
pub(super) fn of_compression(error: &compress::Error) -> Option<String> {
    match error {
        compress::Error::NotChunked { .. } => Some("--dest-compress-format zstd compresses any layer".to_owned()),
        _ => None,
    }
}
