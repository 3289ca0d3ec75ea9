//! Parses the names of entries.

use super::NAME_LIMIT;
use crate::error::Reason;
use crate::layer::{OPAQUE_MARKER, WHITEOUT_PREFIX};

/// Returns the components of a path without empty ones and `.`. `..` is kept.
pub(super) fn split(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec).collect()
}

/// Returns the components of an entry's name or of a hard link's target.
pub(super) fn components(name: &[u8]) -> Result<Vec<Vec<u8>>, Reason> {
    let parts = split(name);
    if parts.iter().any(|part| part == b"..") {
        return Err(Reason::DotDot);
    }
    if parts.iter().any(|part| part.len() > NAME_LIMIT) {
        return Err(Reason::NameTooLong);
    }
    Ok(parts)
}

/// The meaning of the last component of an entry's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Role<'a> {
    /// An ordinary entry.
    Plain,
    /// A whiteout, which hides this name in the lower layers.
    Whiteout(&'a [u8]),
    /// An opaque marker, which hides all names in the lower layers.
    Opaque,
}

/// Returns the role of an entry with this last component and these parents.
pub(super) fn role<'a>(parents: &[Vec<u8>], last: &'a [u8]) -> Result<Role<'a>, Reason> {
    if parents.iter().any(|part| part.starts_with(WHITEOUT_PREFIX)) {
        return Err(Reason::BelowWhiteout);
    }
    match last.strip_prefix(WHITEOUT_PREFIX) {
        None => Ok(Role::Plain),
        Some(b"") => Err(Reason::BareWhiteout),
        Some(_) if last == OPAQUE_MARKER => Ok(Role::Opaque),
        Some(hidden) => Ok(Role::Whiteout(hidden)),
    }
}
