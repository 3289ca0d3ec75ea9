//! What overlayfs notes in its upper directory (the kernel's `Documentation/filesystems/overlayfs.rst`).
//!
//! A whiteout is a character device 0:0; or, in a directory whose `overlay.opaque` is `x`, an empty file with an
//! `overlay.whiteout`. A directory with `overlay.opaque` of `y` hides what is below. The xattrs are `trusted.overlay.*`,
//! or `user.overlay.*` where the mount says `userxattr`. Those of an overlay inside this one have `overlay.` once more in
//! their names: they are files' own.

use vmroot_container_fs::InodeKind;

use crate::{Error, HostEntry, Result};

/// What an entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Itself.
    None,
    /// Nothing, and nothing of what is below either.
    Whiteout,
    /// A directory that hides what is below it.
    Opaque,
    /// A directory in which files with an xattr are whiteouts.
    HasXattrWhiteouts,
}

/// The prefix of overlays that are mounted with `userxattr`.
pub(super) const USER: &[u8] = b"user.overlay.";
/// All prefixes.
const PREFIXES: [&[u8]; 2] = [b"trusted.overlay.", USER];
/// What stands behind a prefix in the name of an inner overlay's xattr.
const ESCAPE: &[u8] = b"overlay.";

/// What an entry stands for; `xattr_whiteouts` says whether it is in a directory that has such.
///
/// # Errors
/// [`Error::Unportable`] for what is only half there: the other half is in a layer below, wherever that was.
pub(super) fn of(entry: &HostEntry, xattr_whiteouts: bool) -> Result<Mark> {
    let attributes = &entry.attributes;
    if attributes.kind == InodeKind::Character && attributes.device == (0, 0) {
        return Ok(Mark::Whiteout);
    }
    let unportable = |what, advice| Err(Error::Unportable { path: entry.place.clone(), what, advice });
    if value(entry, b"metacopy").is_some() {
        return unportable("has attributes only, its bytes are in a lower layer", "metacopy=off");
    }
    if value(entry, b"redirect").is_some() {
        return unportable("was renamed, what it holds is in a lower layer", "redirect_dir=off");
    }
    // Only an overlay with an index counts names. This count says that they are all here, and one more in the index.
    if value(entry, b"nlink").is_some_and(|count| count != b"U-1") {
        return unportable("was changed for all its names, of which some are in a lower layer", "index=off");
    }
    let is_empty_file = entry.file.as_ref().is_some_and(|(_, length)| *length == 0);
    if xattr_whiteouts && is_empty_file && value(entry, b"whiteout").is_some() {
        return Ok(Mark::Whiteout);
    }
    Ok(match (attributes.kind, value(entry, b"opaque")) {
        (InodeKind::Directory, Some(b"y")) => Mark::Opaque,
        (InodeKind::Directory, Some(b"x")) => Mark::HasXattrWhiteouts,
        _ => Mark::None,
    })
}

fn value<'e>(entry: &'e HostEntry, name: &[u8]) -> Option<&'e [u8]> {
    let is_it = |xattr: &[u8]| PREFIXES.iter().any(|prefix| xattr.strip_prefix(*prefix) == Some(name));
    entry.xattrs.iter().find(|(xattr, _)| is_it(xattr)).map(|(_, value)| &value[..])
}

/// Takes overlayfs's own xattrs away, and gives those of an inner overlay their names back.
pub(super) fn strip(xattrs: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    xattrs.retain_mut(|(name, _)| {
        let Some((prefix, own)) = PREFIXES.iter().find_map(|prefix| Some((*prefix, name.strip_prefix(*prefix)?)))
        else {
            return true;
        };
        let Some(inner) = own.strip_prefix(ESCAPE) else { return false };
        *name = [prefix, inner].concat();
        true
    });
    xattrs.sort();
}
