//! Hints for errors of copies.

use vmroot::{compress, copy};

/// Returns the hint for an error of a copy.
pub(super) fn of_copy(error: &copy::Error) -> Option<String> {
    match error {
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
