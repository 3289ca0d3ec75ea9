//! Hard links: those within a layer are created, and those to lower layers become copies under all names that are
//! visible.

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

/// Set on the placeholder of a link whose target does not exist yet. The value is the target.
const PENDING: &[u8] = b"trusted.testkit.link";

/// A placeholder in a layer for a file of the lower layers.
#[derive(Debug)]
pub(super) struct LowerLink {
    /// The path of the placeholder in the layer's directory.
    path: PathBuf,
    /// The file's inode number in the merged lower layers.
    inode: u64,
}

/// Creates a link to the target, or a placeholder, under a new name in `scratch`.
pub(super) fn stage(root: &Root, index: usize, target: &[u8], scratch: &Path) -> Result<PathBuf> {
    let staged = scratch.join(format!("link-{index}"));
    if !link_to(root, target, &staged)? {
        make(&staged, &Kind::File(Content::default()))?;
        xattr::set(&staged, PENDING, target).map_err(Error::io("mark", &staged))?;
    }
    Ok(staged)
}

/// Links a file of the layer to `staged`. Returns whether the file exists.
fn link_to(root: &Root, target: &[u8], staged: &Path) -> Result<bool> {
    let Some((place, metadata)) = find(root, target)? else { return Ok(false) };
    if metadata.is_dir() {
        return Err(refuse(target, "is a directory and has a hard link"));
    }
    fs::hard_link(place.0.join(&place.1), staged).map_err(Error::io("link", staged))?;
    Ok(true)
}

type FileName = (super::place::Parent, Vec<u8>);

/// Returns the place and metadata of the target, if it exists.
fn find(root: &Root, target: &[u8]) -> Result<Option<(FileName, Metadata)>> {
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

/// The target of a placeholder.
#[derive(Clone)]
enum LinkTarget {
    /// A file of the layer, linked to this path in `scratch`.
    Staged(PathBuf),
    /// The file with this inode number in the merged lower layers.
    Lower(u64),
}

/// Replaces the placeholders whose target is in the now complete layer. Returns the others.
///
/// All targets are resolved before any placeholder is replaced, so that no placeholder becomes part of another's path.
pub(super) fn resolve_in_layer(root: &Root, directory: &Path, lower: &Root, scratch: &Path) -> Result<Vec<LowerLink>> {
    let placeholders = placeholders(directory)?;
    let mut found: HashMap<u64, LinkTarget> = HashMap::new();
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
            LinkTarget::Lower(inode) => lower_links.push(LowerLink { path: placeholder.path, inode: *inode }),
            LinkTarget::Staged(staged) => link_over(staged, &directory.join(&placeholder.path), scratch)?,
        }
    }
    // One staged file may stand for several placeholders, if one links to another.
    let staged =
        found.values().filter_map(|target| if let LinkTarget::Staged(staged) = target { Some(staged) } else { None });
    for staged in staged.collect::<HashSet<_>>() {
        fs::remove_file(staged).map_err(Error::io("remove", staged))?;
    }
    Ok(lower_links)
}

/// Returns the target of a placeholder, unless that is itself an unresolved placeholder.
fn resolve(
    root: &Root,
    lower: &Root,
    placeholder: &Placeholder,
    found: &HashMap<u64, LinkTarget>,
    scratch: &Path,
) -> Result<Option<LinkTarget>> {
    let target = &placeholder.target;
    // A directory of this layer may have replaced the lower file that the link refers to.
    if let Some((place, metadata)) = find(root, target)?.filter(|(_, metadata)| !metadata.is_dir()) {
        if pending_target(&place.0.join(&place.1))?.is_some() {
            return Ok(found.get(&metadata.ino()).cloned());
        }
        let staged = scratch.join(format!("found-{}", placeholder.inode));
        // Several names of one placeholder have the same target.
        if fs::symlink_metadata(&staged).is_err() {
            link_to(root, target, &staged)?;
        }
        return Ok(Some(LinkTarget::Staged(staged)));
    }
    match find(lower, target)? {
        None => Err(refuse(target, "does not exist and has a hard link")),
        Some((_, metadata)) if metadata.is_dir() => Err(refuse(target, "is a directory and has a hard link")),
        Some((_, metadata)) => Ok(Some(LinkTarget::Lower(metadata.ino()))),
    }
}

/// Makes `place` another name of a file, and replaces any existing one.
fn link_over(file: &Path, place: &Path, scratch: &Path) -> Result<()> {
    let staged = scratch.join("linked");
    fs::hard_link(file, &staged).map_err(Error::io("link", &staged))?;
    rename_over(&staged, place)
}

/// Renames a file, also onto another name of the same file, for which rename(2) does nothing.
fn rename_over(staged: &Path, place: &Path) -> Result<()> {
    fs::remove_file(place).map_err(Error::io("remove", place))?;
    fs::rename(staged, place).map_err(Error::io("rename", staged))
}

/// A hard link whose target did not exist yet.
struct Placeholder {
    path: PathBuf,
    inode: u64,
    target: Vec<u8>,
}

/// Returns all placeholders of a layer.
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

/// Returns all names of the linked files in the merged lower layers, and whether each is visible through the layer.
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

/// Copies each linked file into the layer, under its own visible names and under the links' names.
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

/// Returns the relative paths and metadata of everything below a directory.
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
