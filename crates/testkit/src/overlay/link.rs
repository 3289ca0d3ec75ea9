//! Hard links: inside a layer they are made, to lower layers they become copies under all names that still show.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::attributes;
use super::extract::{make, refuse};
use super::marker::is_marker;
use super::mount::Mount;
use super::place::{Root, parent_and_last};
use crate::error::{Error, Result};
use crate::layer::{Content, Kind};
use crate::xattr;

/// Carried by the placeholder of a link whose target is not there yet: the target.
const PENDING: &[u8] = b"trusted.testkit.link";

/// A placeholder in a layer that is to be the same file as one of the lower layers.
#[derive(Debug)]
pub(super) struct LowerLink {
    /// In the layer's directory.
    path: PathBuf,
    /// Inode number in the merged lower layers.
    inode: u64,
}

/// Links the target, or a placeholder for it, to a new name in `scratch`.
pub(super) fn stage(root: &Root, index: usize, target: &[u8], scratch: &Path) -> Result<PathBuf> {
    let staged = scratch.join(format!("link-{index}"));
    if !link_to(root, target, &staged)? {
        make(&staged, &Kind::File(Content::default()))?;
        xattr::set(&staged, PENDING, target).map_err(Error::io("mark", &staged))?;
    }
    Ok(staged)
}

/// Links a file of the layer to `staged`; whether there is such a file.
fn link_to(root: &Root, target: &[u8], staged: &Path) -> Result<bool> {
    let Some((place, metadata)) = find(root, target)? else { return Ok(false) };
    if metadata.is_dir() {
        return Err(refuse(target, "is a directory and has a hard link"));
    }
    fs::hard_link(place.0.join(&place.1), staged).map_err(Error::io("link", staged))?;
    Ok(true)
}

type Place = (super::place::Parent, Vec<u8>);

/// Where the target is, if it is there.
fn find(root: &Root, target: &[u8]) -> Result<Option<(Place, Metadata)>> {
    let Some((parent, last)) = parent_and_last(target)? else {
        return Err(refuse(target, "is the root and has a hard link"));
    };
    if is_marker(last) {
        return Ok(None);
    }
    let Ok(parent) = root.directory(&parent, true) else { return Ok(None) };
    let metadata = fs::symlink_metadata(parent.join(last)).ok();
    Ok(metadata.map(|metadata| ((parent, last.to_vec()), metadata)))
}

/// What a placeholder stands for.
#[derive(Clone)]
enum Found {
    /// A file of the layer, under this name in `scratch`.
    Staged(PathBuf),
    /// The file of this inode number in the merged lower layers.
    Lower(u64),
}

/// Replaces the placeholders whose target is in the layer now that it is complete; gives the others.
///
/// None is replaced before all are found, so that none becomes a way to another.
pub(super) fn resolve_in_layer(root: &Root, directory: &Path, lower: &Root, scratch: &Path) -> Result<Vec<LowerLink>> {
    let placeholders = placeholders(directory)?;
    let mut found: HashMap<u64, Found> = HashMap::new();
    let mut waiting: Vec<_> = placeholders.iter().collect();
    while let Some(first) = waiting.first().copied() {
        let before = waiting.len();
        let mut still_waiting = Vec::new();
        for placeholder in waiting {
            match resolve(root, lower, placeholder, &found, scratch)? {
                Some(target) => drop(found.insert(placeholder.inode, target)),
                None => still_waiting.push(placeholder),
            }
        }
        if still_waiting.len() == before {
            return Err(refuse(&first.target, "is a hard link that leads to itself"));
        }
        waiting = still_waiting;
    }
    let mut lower_links = Vec::new();
    for placeholder in placeholders {
        match &found[&placeholder.inode] {
            Found::Lower(inode) => lower_links.push(LowerLink { path: placeholder.path, inode: *inode }),
            Found::Staged(staged) => link_over(staged, &directory.join(&placeholder.path), scratch)?,
        }
    }
    // One of them may stand for several placeholders, where one links to another.
    let staged =
        found.values().filter_map(|target| if let Found::Staged(staged) = target { Some(staged) } else { None });
    for staged in staged.collect::<HashSet<_>>() {
        fs::remove_file(staged).map_err(Error::io("remove", staged))?;
    }
    Ok(lower_links)
}

/// What a placeholder's target is, unless that is itself a placeholder that has not been found.
fn resolve(
    root: &Root,
    lower: &Root,
    placeholder: &Placeholder,
    found: &HashMap<u64, Found>,
    scratch: &Path,
) -> Result<Option<Found>> {
    let target = &placeholder.target;
    // A directory of the layer took the place of the lower file that the link names.
    if let Some((place, metadata)) = find(root, target)?.filter(|(_, metadata)| !metadata.is_dir()) {
        if pending_target(&place.0.join(&place.1))?.is_some() {
            return Ok(found.get(&metadata.ino()).cloned());
        }
        let staged = scratch.join(format!("found-{}", placeholder.inode));
        // Several names of one placeholder have one target.
        if fs::symlink_metadata(&staged).is_err() {
            link_to(root, target, &staged)?;
        }
        return Ok(Some(Found::Staged(staged)));
    }
    match find(lower, target)? {
        None => Err(refuse(target, "does not exist and has a hard link")),
        Some((_, metadata)) if metadata.is_dir() => Err(refuse(target, "is a directory and has a hard link")),
        Some((_, metadata)) => Ok(Some(Found::Lower(metadata.ino()))),
    }
}

/// Makes `place` another name of a file, whatever is there.
fn link_over(file: &Path, place: &Path, scratch: &Path) -> Result<()> {
    let staged = scratch.join("linked");
    fs::hard_link(file, &staged).map_err(Error::io("link", &staged))?;
    rename_over(&staged, place)
}

/// Renames even over another name of the same file, which rename(2) would leave alone.
fn rename_over(staged: &Path, place: &Path) -> Result<()> {
    fs::remove_file(place).map_err(Error::io("remove", place))?;
    fs::rename(staged, place).map_err(Error::io("rename", staged))
}

/// A hard link whose target was not there when it was met.
struct Placeholder {
    path: PathBuf,
    inode: u64,
    target: Vec<u8>,
}

/// All placeholders of a layer.
fn placeholders(directory: &Path) -> Result<Vec<Placeholder>> {
    let mut found = Vec::new();
    for (path, metadata) in walk(directory)? {
        if !metadata.is_dir()
            && let Some(target) = pending_target(&directory.join(&path))?
        {
            found.push(Placeholder { path, inode: metadata.ino(), target });
        }
    }
    Ok(found)
}

fn pending_target(place: &Path) -> Result<Option<Vec<u8>>> {
    xattr::read(place, PENDING).map_err(Error::io("read the xattrs of", place))
}

/// All names in the merged lower layers of the files that are linked to, and whether each shows through the layer.
pub(super) fn aliases(
    links: &[LowerLink],
    lower: &Path,
    mount: impl FnOnce() -> Result<Mount>,
) -> Result<BTreeMap<PathBuf, (u64, bool)>> {
    let wanted: HashSet<u64> = links.iter().map(|link| link.inode).collect();
    let trial = mount()?;
    let root = Root::open(trial.path())?;
    let mut aliases = BTreeMap::new();
    for (path, metadata) in walk(lower)? {
        if !metadata.is_dir() && wanted.contains(&metadata.ino()) {
            let shows = shows(&root, &path, metadata.ino());
            aliases.insert(path, (metadata.ino(), shows));
        }
    }
    Ok(aliases)
}

fn shows(root: &Root, path: &Path, inode: u64) -> bool {
    let parent = path.parent().map_or(&b""[..], |parent| parent.as_os_str().as_bytes());
    let name = path.file_name().unwrap_or(OsStr::new("."));
    let Ok(parent) = root.directory(parent, false) else { return false };
    fs::symlink_metadata(parent.join(name.as_bytes())).is_ok_and(|metadata| metadata.ino() == inode)
}

/// Puts a copy of each file that is linked to into the layer, under its own names that show and those of the links.
pub(super) fn copy(
    links: &[LowerLink],
    aliases: &BTreeMap<PathBuf, (u64, bool)>,
    lower: &Path,
    directory: &Path,
    scratch: &Path,
) -> Result<()> {
    for inode in links.iter().map(|link| link.inode).collect::<HashSet<_>>() {
        let own: Vec<_> = aliases.iter().filter(|(_, (other, _))| *other == inode).collect();
        let copied = scratch.join("copy");
        let source = lower.join(own[0].0);
        make(&copied, &kind_of(&source)?)?;
        attributes::set(&copied, &attributes::read(&source)?)?;
        for (path, _) in own.iter().filter(|(_, (_, shows))| *shows) {
            let place = directory.join(path);
            fs::create_dir_all(place.parent().expect("it is below the layer"))
                .map_err(Error::io("make parents of", &place))?;
            fs::hard_link(&copied, &place).map_err(Error::io("link", &place))?;
        }
        for link in links.iter().filter(|link| link.inode == inode) {
            link_over(&copied, &directory.join(&link.path), scratch)?;
        }
        fs::remove_file(&copied).map_err(Error::io("remove", &copied))?;
    }
    Ok(())
}

fn kind_of(place: &Path) -> Result<Kind> {
    use std::os::unix::fs::FileTypeExt;
    let metadata = fs::symlink_metadata(place).map_err(Error::io("look at", place))?;
    let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    let kind = metadata.file_type();
    Ok(if kind.is_symlink() {
        let target = fs::read_link(place).map_err(Error::io("read the link", place))?;
        Kind::Symlink(target.as_os_str().as_bytes().to_vec())
    } else if kind.is_char_device() {
        Kind::CharDevice { major, minor }
    } else if kind.is_block_device() {
        Kind::BlockDevice { major, minor }
    } else if kind.is_fifo() {
        Kind::Fifo
    } else {
        Kind::File(Content::from_bytes(&fs::read(place).map_err(Error::io("read", place))?))
    })
}

/// Everything below a directory, by relative path.
fn walk(root: &Path) -> Result<Vec<(PathBuf, Metadata)>> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(relative) = directories.pop() {
        let place = root.join(&relative);
        for entry in fs::read_dir(&place).map_err(Error::io("list", &place))? {
            let entry = entry.map_err(Error::io("list", &place))?;
            let metadata = entry.metadata().map_err(Error::io("look at", entry.path()))?;
            let path = relative.join(entry.file_name());
            if metadata.is_dir() {
                directories.push(path.clone());
            }
            found.push((path, metadata));
        }
    }
    Ok(found)
}
