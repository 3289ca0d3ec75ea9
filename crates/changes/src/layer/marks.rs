//! The marks in an overlayfs upper directory (the kernel's `Documentation/filesystems/overlayfs.rst`).
//!
//! A whiteout is a character device 0:0. In a directory whose `overlay.opaque` is `x`, an empty file with an
//! `overlay.whiteout` is also one. A directory with `overlay.opaque` of `y` hides the lower directory. The xattrs are
//! `trusted.overlay.*`, or `user.overlay.*` for a mount with `userxattr`. The xattrs of an overlay inside this one have
//! a second `overlay.` in their names and are ordinary xattrs of the file.

use vmroot_container_fs::{Device, InodeKind};

use crate::{Error, Result, TreeEntry, TreeFile};

/// The meaning of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// An ordinary entry.
    None,
    /// A deletion of the path and everything below it.
    Whiteout,
    /// A directory that hides the entries of the lower directory.
    Opaque,
    /// A directory in which an xattr marks files as whiteouts.
    HasXattrWhiteouts,
}

/// The prefix of overlays that are mounted with `userxattr`.
pub(super) const USER: &[u8] = b"user.overlay.";
/// All prefixes.
const PREFIXES: [&[u8]; 2] = [b"trusted.overlay.", USER];
/// The part after the prefix in the xattr names of an inner overlay.
const ESCAPE: &[u8] = b"overlay.";

/// Returns the meaning of an entry. `xattr_whiteouts` is true if it is in a [`Mark::HasXattrWhiteouts`] directory.
///
/// # Errors
/// [`Error::Unportable`]: a part of the entry is in a lower layer.
pub(super) fn mark_of<F: TreeFile>(entry: &TreeEntry<F>, xattr_whiteouts: bool) -> Result<Mark> {
    let attributes = &entry.attributes;
    if attributes.kind == InodeKind::Character && attributes.device == Device::default() {
        return Ok(Mark::Whiteout);
    }
    let unportable = |what, advice| Err(Error::Unportable { path: entry.shown_path.clone(), what, advice });
    if value(entry, b"metacopy").is_some() {
        return unportable("has attributes only, and its bytes are in a lower layer", "metacopy=off");
    }
    if value(entry, b"redirect").is_some() {
        return unportable("was renamed, and its contents are in a lower layer", "redirect_dir=off");
    }
    // Only overlays with an index count names. With this value, all names are here, and one more is in the index.
    if value(entry, b"nlink").is_some_and(|count| count != b"U-1") {
        return unportable("has several names, some of them in a lower layer", "index=off");
    }
    let is_empty_file = entry.file.as_ref().is_some_and(|file| file.length() == 0);
    if xattr_whiteouts && is_empty_file && value(entry, b"whiteout").is_some() {
        return Ok(Mark::Whiteout);
    }
    Ok(match (attributes.kind, value(entry, b"opaque")) {
        (InodeKind::Directory, Some(b"y")) => Mark::Opaque,
        (InodeKind::Directory, Some(b"x")) => Mark::HasXattrWhiteouts,
        _ => Mark::None,
    })
}

fn value<'e, F>(entry: &'e TreeEntry<F>, name: &[u8]) -> Option<&'e [u8]> {
    let has_name = |xattr: &[u8]| PREFIXES.iter().any(|prefix| xattr.strip_prefix(*prefix) == Some(name));
    entry.xattrs.iter().find(|(xattr, _)| has_name(xattr)).map(|(_, value)| &value[..])
}

/// Removes the xattrs of overlayfs, and restores the names of those of an inner overlay.
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
