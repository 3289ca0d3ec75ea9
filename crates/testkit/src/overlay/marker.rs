//! Converts whiteout and opaque marker files into the form that overlayfs reads.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileType};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, mknodat};

use super::place::Root;
use crate::error::{Error, Result};
use crate::layer::{OPAQUE_MARKER, WHITEOUT_PREFIX};
use crate::xattr;

/// The attribute by which overlayfs marks a directory that hides those below it.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// The directories of a layer without a visible directory below them.
#[derive(Debug, Default)]
pub(super) struct NewDirectories {
    directories: HashSet<PathBuf>,
    /// Whether the layer hides all lower layers.
    pub(super) root_is_opaque: bool,
}

impl NewDirectories {
    /// Returns whether the directory with this path, relative to the layer, has no visible directory below it.
    pub(super) fn contains(&self, relative: &Path) -> bool {
        self.directories.contains(relative)
    }
}

/// Returns whether a name is that of a whiteout or an opaque marker.
pub(super) fn is_marker(name: &[u8]) -> bool {
    name.starts_with(WHITEOUT_PREFIX)
}

/// A marker of a layer.
pub(super) struct Marker {
    /// The directory of the marker, relative to the root and without links.
    pub(super) directory: PathBuf,
    pub(super) name: OsString,
    /// Whether the path to the directory had links of the layer.
    pub(super) linked: bool,
}

/// Writes the markers of a complete layer into its directory, as files like those in a tar.
///
/// Directories that only markers need are created, with three exceptions: another marker hides the directory, another
/// entry is in its place, or a link leads to it and the lower layers lack it. The marker then has nothing to hide.
pub(super) fn place(root: &Root, directory: &Path, lower: &Root, markers: &[Marker]) -> Result<()> {
    let mut made = BTreeSet::new();
    // Markers that create directories come first.
    let (linked, direct): (Vec<_>, Vec<_>) = markers.iter().partition(|marker| marker.linked);
    for marker in direct.into_iter().chain(linked) {
        let is_there = |root: &Root| root.directory(marker.directory.as_os_str().as_bytes(), false).is_ok();
        let may_be = !marker.linked || is_there(root) || is_there(lower);
        if may_be && make_directories(directory, &marker.directory, &mut made)? {
            let file = directory.join(&marker.directory).join(&marker.name);
            File::create(&file).map_err(Error::io("make", &file))?;
        }
    }
    // Sorted, so that parents come first.
    for place in &made {
        if place.exists() && is_hidden(directory, place) {
            fs::remove_dir_all(place).map_err(Error::io("remove", place))?;
        }
    }
    Ok(())
}

/// Creates the directories of a path in the layer. Returns false if another kind of file is in the way.
fn make_directories(directory: &Path, path: &Path, made: &mut BTreeSet<PathBuf>) -> Result<bool> {
    let mut place = directory.to_path_buf();
    for component in path.components() {
        place.push(component);
        match fs::symlink_metadata(&place) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Ok(false),
            Err(_) => {
                fs::create_dir(&place).map_err(Error::io("make", &place))?;
                made.insert(place.clone());
            }
        }
    }
    Ok(true)
}

/// Returns whether a marker hides a directory of the layer or one of its parents.
fn is_hidden(directory: &Path, place: &Path) -> bool {
    place.ancestors().take_while(|above| *above != directory).any(|above| {
        let (Some(parent), Some(name)) = (above.parent(), above.file_name()) else { return false };
        let whiteout = OsStr::from_bytes(&[WHITEOUT_PREFIX, name.as_bytes()].concat()).to_owned();
        parent.join(whiteout).exists() || parent.join(OsStr::from_bytes(OPAQUE_MARKER)).exists()
    })
}

/// Converts the markers of a layer above `lower`.
pub(super) fn convert(directory: &Path, lower: &Path) -> Result<NewDirectories> {
    let mut fresh = NewDirectories::default();
    let mut open = vec![(PathBuf::new(), true)];
    while let Some((relative, has_lower)) = open.pop() {
        if !has_lower {
            fresh.directories.insert(relative.clone());
        }
        let children = convert_one(&directory.join(&relative), &lower.join(&relative), has_lower)?;
        fresh.root_is_opaque |= relative.as_os_str().is_empty() && children.opaque;
        open.extend(children.directories.into_iter().map(|(name, has_lower)| (relative.join(name), has_lower)));
    }
    Ok(fresh)
}

/// The content of a directory in a layer.
struct Children {
    /// The subdirectories, and whether each has a visible directory below it.
    directories: Vec<(OsString, bool)>,
    opaque: bool,
}

fn convert_one(place: &Path, lower: &Path, has_lower: bool) -> Result<Children> {
    let mut names = list(place)?;
    let markers: Vec<OsString> = names.keys().filter(|name| is_marker(name.as_bytes())).cloned().collect();
    for marker in &markers {
        names.remove(marker);
        fs::remove_file(place.join(marker)).map_err(Error::io("remove", place.join(marker)))?;
    }
    let opaque = markers.iter().any(|marker| marker.as_bytes() == OPAQUE_MARKER);
    if opaque && has_lower {
        // overlayfs ignores the attribute on the root. There, the stack of layers ends instead.
        set_opaque(place)?;
    }
    let shows = has_lower && !opaque;
    let lower_kind = |name: &OsStr| fs::symlink_metadata(lower.join(name)).ok().filter(|_| shows);
    let mut whited_out = HashSet::new();
    for hidden in markers.iter().filter_map(|marker| hidden_by(marker.as_bytes())) {
        whited_out.insert(hidden);
        match names.get(hidden) {
            Some(kind) if kind.is_dir() => set_opaque(&place.join(hidden))?,
            Some(_) => {}
            // overlayfs would list a whiteout that hides nothing.
            None if lower_kind(hidden).is_none() => {}
            None => mknodat(CWD, place.join(hidden), rustix::fs::FileType::CharacterDevice, Mode::empty(), 0)
                .map_err(Error::io("make a whiteout at", place.join(hidden)))?,
        }
    }
    let directories = names.into_iter().filter(|(_, kind)| kind.is_dir()).map(|(name, _)| {
        let over_directory = lower_kind(&name).is_some_and(|metadata| metadata.is_dir());
        let has_lower = over_directory && !whited_out.contains(name.as_os_str());
        (name, has_lower)
    });
    Ok(Children { directories: directories.collect(), opaque })
}

/// Returns the name that a whiteout hides, if such a name is possible.
fn hidden_by(marker: &[u8]) -> Option<&OsStr> {
    let hidden = marker.strip_prefix(WHITEOUT_PREFIX)?;
    let impossible = hidden == b"." || hidden == b".." || is_marker(hidden);
    (!impossible).then(|| OsStr::from_bytes(hidden))
}

fn set_opaque(place: &Path) -> Result<()> {
    xattr::set(place, OPAQUE, b"y").map_err(Error::io("make opaque", place))
}

fn list(place: &Path) -> Result<BTreeMap<OsString, FileType>> {
    let entries = fs::read_dir(place).map_err(Error::io("list", place))?;
    let named = entries.map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))));
    named.collect::<std::io::Result<_>>().map_err(Error::io("list", place))
}
