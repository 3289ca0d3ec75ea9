//! Whiteout and opaque marker files turned into what overlayfs reads.

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

/// overlayfs's mark of a directory that hides those below.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// The directories of a layer, by path, that have no directory below them.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    directories: HashSet<PathBuf>,
    /// The layer hides all that is below it.
    pub(super) root_is_opaque: bool,
}

impl Fresh {
    /// Whether the directory of this path, relative to the layer, has none below it.
    pub(super) fn contains(&self, relative: &Path) -> bool {
        self.directories.contains(relative)
    }
}

/// Whether a name is a whiteout or an opaque marker.
pub(super) fn is_marker(name: &[u8]) -> bool {
    name.starts_with(WHITEOUT_PREFIX)
}

/// A marker of a layer.
pub(super) struct Marker {
    /// The directory that it is in, relative to the root and without links.
    pub(super) directory: PathBuf,
    pub(super) name: OsString,
    /// Whether links of the layer lead to the directory.
    pub(super) linked: bool,
}

/// Puts the markers of a complete layer into its directory, as the files that they are in a tar.
///
/// Directories that only markers need are made, but for those that another marker hides, those that something else is
/// in the place of, and those where links lead and lower layers have none: a marker has nothing to hide there.
pub(super) fn place(root: &Root, directory: &Path, lower: &Root, markers: &[Marker]) -> Result<()> {
    let mut made = BTreeSet::new();
    // Those that make directories come first.
    let (linked, direct): (Vec<_>, Vec<_>) = markers.iter().partition(|marker| marker.linked);
    for marker in direct.into_iter().chain(linked) {
        let is_there = |root: &Root| root.directory(marker.directory.as_os_str().as_bytes(), false).is_ok();
        let may_be = !marker.linked || is_there(root) || is_there(lower);
        if may_be && make_directories(directory, &marker.directory, &mut made)? {
            let file = directory.join(&marker.directory).join(&marker.name);
            File::create(&file).map_err(Error::io("make", &file))?;
        }
    }
    // Those above come first.
    for place in &made {
        if place.exists() && is_hidden(directory, place) {
            fs::remove_dir_all(place).map_err(Error::io("remove", place))?;
        }
    }
    Ok(())
}

/// Makes the directories of a path in the layer; whether nothing else was in the way.
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

/// Whether a marker hides a directory of the layer, or one above it.
fn is_hidden(directory: &Path, place: &Path) -> bool {
    place.ancestors().take_while(|above| *above != directory).any(|above| {
        let (Some(parent), Some(name)) = (above.parent(), above.file_name()) else { return false };
        let whiteout = OsStr::from_bytes(&[WHITEOUT_PREFIX, name.as_bytes()].concat()).to_owned();
        parent.join(whiteout).exists() || parent.join(OsStr::from_bytes(OPAQUE_MARKER)).exists()
    })
}

/// Turns the markers of a layer that lies over `lower`.
pub(super) fn convert(directory: &Path, lower: &Path) -> Result<Fresh> {
    let mut fresh = Fresh::default();
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

/// What is in a directory of the layer.
struct Children {
    /// The directories, and whether each has one below it that shows through.
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
        // On the root it says nothing to overlayfs; the stack ends there instead.
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
            // Where there is nothing to hide, overlayfs would list the whiteout.
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

/// The name a whiteout hides, if there can be such a thing.
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
