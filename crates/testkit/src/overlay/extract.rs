//! Writes the entries of one layer into a directory. Markers are written as plain files, as in the tar.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::link::{self, LowerLink};
use super::marker::Marker;
use super::place::{Root, parent_and_last};
use super::{attributes, marker};
use crate::error::{Error, Result};
use crate::layer::{Content, Entry, Kind, Layer, WHITEOUT_PREFIX};
use crate::model::NAME_LIMIT;

/// Writes a layer into an empty directory. Returns the hard links to files of lower layers, which are left as
/// placeholders.
pub(super) fn extract(layer: &Layer, directory: &Path, lower: &Path, scratch: &Path) -> Result<Vec<LowerLink>> {
    let root = Root::open(directory)?;
    let mut markers = Vec::new();
    for (index, entry) in layer.entries.iter().enumerate() {
        enter(&root, index, entry, scratch, &mut markers)?;
    }
    let links = link::resolve_in_layer(&root, directory, &Root::open(lower)?, scratch)?;
    marker::place(&root, directory, &Root::open(lower)?, &markers)?;
    Ok(links)
}

fn enter(root: &Root, index: usize, entry: &Entry, scratch: &Path, markers: &mut Vec<Marker>) -> Result<()> {
    let is_directory = entry.kind == Kind::Directory;
    let Some((parent, last)) = parent_and_last(&entry.name)? else {
        if !is_directory {
            return Err(refuse(&entry.name, "is the root and no directory"));
        }
        return attributes::set_explicit(&root.make_directory(b"", 0)?.join(b"."), &entry.attributes);
    };
    if last == WHITEOUT_PREFIX || parent.split(|byte| *byte == b'/').any(marker::is_marker) {
        return Err(refuse(&entry.name, "is not a whiteout"));
    }
    if marker::is_marker(last) {
        // A marker that is left out later would not be refused by the kernel.
        if last.len() > NAME_LIMIT {
            return Err(refuse(&entry.name, "has a name that is too long"));
        }
        let marker = |(directory, linked)| Marker { directory, name: OsStr::from_bytes(last).to_owned(), linked };
        markers.extend(root.real_path(&parent).map(marker));
        return Ok(());
    }
    let staged = match &entry.kind {
        Kind::HardLink(target) => Some(link::stage(root, index, target, scratch)?),
        _ => None,
    };
    let parent = root.make_directory(&parent, 0)?;
    let place = parent.join(last);
    match fs::symlink_metadata(&place) {
        Ok(existing) if existing.is_dir() && is_directory => {
            return attributes::set_explicit(&place, &entry.attributes);
        }
        Ok(existing) if existing.is_dir() => fs::remove_dir_all(&place).map_err(Error::io("remove", &place))?,
        Ok(_) => fs::remove_file(&place).map_err(Error::io("remove", &place))?,
        Err(_) => {}
    }
    if let Some(staged) = staged {
        return fs::rename(&staged, &place).map_err(Error::io("rename", &staged));
    }
    if is_directory {
        fs::create_dir(&place).map_err(Error::io("make", &place))?;
        return attributes::set_explicit(&place, &entry.attributes);
    }
    make(&place, &entry.kind)?;
    attributes::set(&place, &entry.attributes)
}

/// Creates a file of any kind other than directories and hard links.
pub(super) fn make(place: &Path, kind: &Kind) -> Result<()> {
    let node = |kind: FileType, device: u64| {
        mknodat(CWD, place, kind, Mode::from_raw_mode(0o600), device).map_err(Error::io("make", place))
    };
    match kind {
        Kind::File(content) => write(place, content),
        Kind::Symlink(target) => symlink(OsStr::from_bytes(target), place).map_err(Error::io("make", place)),
        Kind::CharDevice { major, minor } => node(FileType::CharacterDevice, makedev(*major, *minor)),
        Kind::BlockDevice { major, minor } => node(FileType::BlockDevice, makedev(*major, *minor)),
        Kind::Fifo => node(FileType::Fifo, 0),
        Kind::Directory | Kind::HardLink(_) => unreachable!("made elsewhere"),
    }
}

fn write(place: &Path, content: &Content) -> Result<()> {
    let file = File::create_new(place).map_err(Error::io("make", place))?;
    for (offset, run) in content.runs() {
        file.write_all_at(run, *offset).map_err(Error::io("write", place))?;
    }
    file.set_len(content.size()).map_err(Error::io("set the size of", place))
}

/// Returns the error for a layer that cannot be written to disk.
pub(super) fn refuse(name: &[u8], message: &str) -> Error {
    Error::Program { program: "the overlay judge", message: format!("{} {message}", name.escape_ascii()) }
}
