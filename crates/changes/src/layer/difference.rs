//! The changes of a disk with a whole root: its difference to the root that it began with.
//!
//! Entries are compared with all their attributes, modification times included, and files with their bytes: a guest can
//! set any time, so none says that a file is unchanged. Files with several names are one unit. If one of them or the set
//! of names differs, all names are in the layer, so that they are links again there.

use std::collections::{HashMap, HashSet};
use std::io;

use vmroot_container_fs::{ContainerFs, InodeId, InodeKind, Stat};
use vmroot_output::Omissions;

use super::writer::SHARED_PATHS_LIMIT;
use super::{LayerOptions, LayerWriter, add};
use crate::disk::{DiskWalk, LOST_AND_FOUND};
use crate::tree::is_portable;
use crate::{Disk, DiskFile, Error, Result, SharedInode, TreeEntry, TreeFile};

/// Bytes of two files that are compared at once.
const PIECE: usize = 256 << 10;

/// Writes the changes of a disk to a layer.
pub(super) fn write(
    disk: &Disk,
    base: &ContainerFs,
    layer: &mut LayerWriter<'_>,
    options: &LayerOptions<'_>,
) -> Result<Omissions> {
    let changed = changed_links(disk, base)?;
    let mut omissions = Omissions::default();
    // The directories of the base from the root to the current one, with the lengths of their paths. `None` for one that
    // the base does not have.
    let mut parents: HashMap<Vec<u8>, InodeId> = HashMap::new();
    let mut walk = disk.walk(b"")?;
    while let Some(entry) = walk.next() {
        let entry = entry?;
        let old = match entry.path.is_empty() {
            true => Some(InodeId::ROOT),
            false => parents.get(entry.parent()).and_then(|parent| base.lookup(*parent, entry.name()).ok()),
        };
        if is_untouched_lost_and_found(&entry, old, &walk) {
            continue;
        }
        let is_changed = match (old, entry.shared) {
            (None, _) => true,
            (Some(_), Some(inode)) => changed.contains(&inode),
            (Some(old), None) => differs(&entry, base, old)?,
        };
        if is_changed && entry.attributes.kind == InodeKind::Socket && old.is_some() {
            layer.add_whiteout(&entry.path)?;
        }
        if is_changed {
            add(&entry, layer, &mut omissions, options)?;
        }
        let is_directory = entry.attributes.kind == InodeKind::Directory;
        if let Some(old) = old.filter(|old| is_directory && base.stat(*old).kind == InodeKind::Directory) {
            let names: HashSet<&[u8]> = walk.names().collect();
            let slash: &[u8] = if entry.path.is_empty() { b"" } else { b"/" };
            for removed in base.readdir(old, 0)?.filter(|child| !names.contains(child.name)) {
                layer.add_whiteout(&[&entry.path, slash, removed.name].concat())?;
            }
            parents.retain(|path, _| entry.path.starts_with(path));
            parents.insert(entry.path, old);
        }
    }
    Ok(omissions)
}

/// Returns whether an entry is the directory that mke2fs makes for e2fsck, without a use so far.
fn is_untouched_lost_and_found(entry: &TreeEntry<DiskFile<'_>>, old: Option<InodeId>, walk: &DiskWalk<'_>) -> bool {
    let is_directory = entry.attributes.kind == InodeKind::Directory;
    old.is_none() && is_directory && entry.path == LOST_AND_FOUND && walk.names().next().is_none()
}

/// A file of the disk with several names.
#[derive(Default)]
struct Links {
    names: u32,
    /// The inode of the base that all names so far have.
    old: Option<InodeId>,
    is_changed: bool,
}

/// Returns the inodes with several names that differ from the base in an attribute, in their bytes or in their names.
fn changed_links(disk: &Disk, base: &ContainerFs) -> Result<HashSet<SharedInode>> {
    let mut all: HashMap<SharedInode, Links> = HashMap::new();
    let mut directories: HashMap<Vec<u8>, InodeId> = HashMap::new();
    for entry in disk.walk(b"")? {
        let entry = entry?;
        let old = match entry.path.is_empty() {
            true => Some(InodeId::ROOT),
            false => directories.get(entry.parent()).and_then(|parent| base.lookup(*parent, entry.name()).ok()),
        };
        if entry.attributes.kind == InodeKind::Directory {
            directories.retain(|path, _| entry.path.starts_with(path));
            if let Some(old) = old.filter(|old| base.stat(*old).kind == InodeKind::Directory) {
                directories.insert(entry.path, old);
            }
            continue;
        }
        let Some(inode) = entry.shared else { continue };
        if all.len() * size_of::<(SharedInode, Links)>() > SHARED_PATHS_LIMIT {
            return Err(Error::shared_paths());
        }
        let links = all.entry(inode).or_default();
        links.names += 1;
        links.is_changed |= match old {
            None => true,
            Some(old) if links.names == 1 => differs(&entry, base, old)?,
            Some(old) => links.old != Some(old),
        };
        links.old = old;
    }
    let is_changed = |links: &Links| {
        let has_other_names = links.old.is_none_or(|old| base.stat(old).nlink != links.names);
        links.is_changed || has_other_names
    };
    Ok(all.into_iter().filter(|(_, links)| is_changed(links)).map(|(inode, _)| inode).collect())
}

/// Returns whether an entry differs from an inode of the base. The names of a file with several names are not compared.
fn differs(entry: &TreeEntry<DiskFile<'_>>, base: &ContainerFs, old: InodeId) -> Result<bool> {
    let stat = base.stat(old);
    if have_other_attributes(entry, &stat) {
        return Ok(true);
    }
    let xattrs = base.xattrs(old).filter(|(name, _)| is_portable(name));
    let mut old_xattrs: Vec<(&[u8], &[u8])> = xattrs.collect();
    old_xattrs.sort_unstable();
    if !entry.xattrs.iter().map(|(name, value)| (&name[..], &value[..])).eq(old_xattrs) {
        return Ok(true);
    }
    match (&entry.file, entry.attributes.kind) {
        (Some(file), _) => {
            let failed = vmroot_output::Error::on("read", &entry.shown_path);
            same_bytes(file, base, &stat)?.map(|is_same| !is_same).map_err(|error| failed(error).into())
        }
        (None, InodeKind::Symlink) => Ok(base.readlink(old)? != entry.target),
        _ => Ok(false),
    }
}

fn have_other_attributes(entry: &TreeEntry<DiskFile<'_>>, old: &Stat) -> bool {
    let new = &entry.attributes;
    let has_one_name = new.kind != InodeKind::Directory && entry.shared.is_none();
    new.kind != old.kind
        || new.mode != old.mode & 0o7777
        || (new.uid, new.gid) != (old.uid, old.gid)
        || new.mtime != old.mtime
        || new.device != old.device
        || entry.file.as_ref().is_some_and(|file| file.length() != old.size)
        || has_one_name && old.nlink != 1
}

/// Compares the bytes of files of one length. The inner error is one of the disk.
fn same_bytes(file: &DiskFile<'_>, base: &ContainerFs, old: &Stat) -> Result<io::Result<bool>> {
    let mut source = match file.open() {
        Ok(source) => source,
        Err(error) => return Ok(Err(error)),
    };
    let mut buffers = [vec![0; PIECE], vec![0; PIECE]];
    let mut at = 0;
    while at < old.size {
        let length = (old.size - at).min(PIECE as u64) as usize;
        let [new, before] = &mut buffers;
        let (new, before) = (&mut new[..length], &mut before[..length]);
        if let Err(error) = source.read_exact_at(new, at) {
            return Ok(Err(error));
        }
        let mut filled = 0;
        while filled < length {
            match base.read_at(old.ino, at + filled as u64, &mut before[filled..])? {
                0 => return Ok(Ok(false)),
                count => filled += count,
            }
        }
        if new != before {
            return Ok(Ok(false));
        }
        at += length as u64;
    }
    Ok(Ok(true))
}
