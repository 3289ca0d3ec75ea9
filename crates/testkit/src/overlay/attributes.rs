//! Owners, modes, times and xattrs of files on disk.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, chmod, utimensat};

use super::marker::NewDirectories;
use crate::error::{Error, Result};
use crate::layer::{Attributes, Mtime};
use crate::xattr;

/// Set on a directory with an entry in the layer until the layer is complete. The value is the mtime, which later
/// entries would change.
const EXPLICIT: &[u8] = b"trusted.testkit.mtime";

/// Sets all attributes. Symlinks are not followed.
pub(super) fn set(place: &Path, attributes: &Attributes) -> Result<()> {
    set_all_but_time(place, attributes)?;
    set_time(place, attributes.mtime)
}

/// Replaces all attributes of a directory. Its mtime is set when the layer is complete.
pub(super) fn set_explicit(place: &Path, attributes: &Attributes) -> Result<()> {
    for name in xattr::read_all(place).map_err(Error::io("read the xattrs of", place))?.keys() {
        xattr::remove(place, name).map_err(Error::io("remove an xattr of", place))?;
    }
    set_all_but_time(place, attributes)?;
    tag_explicit(place, attributes.mtime)
}

/// Records that the layer has an entry for this directory, with this mtime.
pub(super) fn tag_explicit(place: &Path, mtime: Mtime) -> Result<()> {
    let text = format!("{} {}", mtime.seconds, mtime.nanoseconds);
    xattr::set(place, EXPLICIT, text.as_bytes()).map_err(Error::io("mark", place))
}

/// Returns the attributes of a file, without those of overlayfs.
pub(super) fn read(place: &Path) -> Result<Attributes> {
    let metadata = fs::symlink_metadata(place).map_err(Error::io("look at", place))?;
    let mut xattrs = xattr::read_all(place).map_err(Error::io("read the xattrs of", place))?;
    xattrs.retain(|name, _| !xattr::is_overlay(name));
    let nanoseconds = u32::try_from(metadata.mtime_nsec()).expect("below 1e9");
    Ok(Attributes {
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: Mtime { seconds: metadata.mtime(), nanoseconds },
        xattrs,
    })
}

/// Sets the times of all directories of a complete layer. Implicit directories also get their attributes: those of the
/// directory below, or those of a new one.
pub(super) fn settle_directories(directory: &Path, lower: &Path, fresh: &NewDirectories) -> Result<()> {
    let mut directories = vec![PathBuf::new()];
    while let Some(relative) = directories.pop() {
        let place = directory.join(&relative);
        match xattr::read(&place, EXPLICIT).map_err(Error::io("read the xattrs of", &place))? {
            Some(text) => {
                xattr::remove(&place, EXPLICIT).map_err(Error::io("unmark", &place))?;
                set_time(&place, parse(&text))?;
            }
            None if fresh.contains(&relative) => set(&place, &Attributes::with_mode(0o755))?,
            None => set(&place, &read(&lower.join(&relative))?)?,
        }
        for entry in fs::read_dir(&place).map_err(Error::io("list", &place))? {
            let entry = entry.map_err(Error::io("list", &place))?;
            if entry.file_type().map_err(Error::io("look at", &place))?.is_dir() {
                directories.push(relative.join(entry.file_name()));
            }
        }
    }
    Ok(())
}

fn set_all_but_time(place: &Path, attributes: &Attributes) -> Result<()> {
    lchown(place, Some(attributes.uid), Some(attributes.gid)).map_err(Error::io("change the owner of", place))?;
    if !fs::symlink_metadata(place).map_err(Error::io("look at", place))?.is_symlink() {
        chmod(place, Mode::from_raw_mode(attributes.mode)).map_err(Error::io("change the mode of", place))?;
    }
    for (name, value) in &attributes.xattrs {
        xattr::set(place, name, value).map_err(Error::io("set an xattr of", place))?;
    }
    Ok(())
}

fn set_time(place: &Path, mtime: Mtime) -> Result<()> {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(Error::io("set the times of", place))
}

fn parse(text: &[u8]) -> Mtime {
    let text = std::str::from_utf8(text).expect("written by this module");
    let (seconds, nanoseconds) = text.split_once(' ').expect("written by this module");
    let parsed = (seconds.parse(), nanoseconds.parse());
    let (Ok(seconds), Ok(nanoseconds)) = parsed else { unreachable!("written by this module") };
    Mtime { seconds, nanoseconds }
}
