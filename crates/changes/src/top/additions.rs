//! Building one layer of single files and directories.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use vmroot_container_fs::{ContainerFs, InodeKind};
use vmroot_layer_index::BuiltLayer;
use vmroot_output::{Hook, Meter, OmissionReason, Omissions, Omitted};

use super::place::{EntryKind, PendingRoot, Reason, absolute, join};
use super::{Addition, LayerBuilder, Owner};
use crate::host::{HostEntry, HostWalk};
use crate::layer::LayerWriter;
use crate::{Error, Result};

const SETUID_AND_SETGID: u32 = 0o6000;
/// The read permissions of owner, group and others.
const READ_BITS: u32 = 0o444;

impl LayerBuilder<'_> {
    /// Builds a layer of the files that are added to `root`.
    pub(super) fn build_additions(
        &self,
        additions: &[Addition],
        root: &ContainerFs,
        omitted: &mut Omissions,
    ) -> Result<BuiltLayer> {
        let callback = self.counter.hook(&self.options.cancel);
        let written = self.build_from_writer(|mut pipe| {
            let meter = Meter::new(Some(Hook::new(&callback)), 0);
            let mut writer = AdditionsWriter {
                root: PendingRoot::new(root),
                layer: LayerWriter::new(&mut pipe, &meter).sparse(true),
                omitted: Omissions::default(),
            };
            for addition in additions {
                writer.add(addition).map_err(Error::on_top(addition.to_string()))?;
            }
            writer.layer.finish()?;
            Ok(writer.omitted)
        });
        let (built, left_out) = written.map_err(|error| match error {
            Error::Index(_) => Error::on_top("the added files".to_owned())(error),
            error => error,
        })?;
        omitted.append(left_out);
        self.counter.report();
        Ok(built)
    }
}

impl std::fmt::Display for Addition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let destination = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Self::Copy { source, destination: to, .. } => write!(f, "{} to {}", source.display(), destination(to)),
            Self::File { destination: to, .. } => f.write_str(&destination(to)),
        }
    }
}

/// Writes additions to a layer.
struct AdditionsWriter<'a, 'm> {
    root: PendingRoot<'a>,
    layer: LayerWriter<'m>,
    omitted: Omissions,
}

/// The attributes of a copy that differ from its source.
#[derive(Clone, Copy)]
struct Change {
    mode: Option<u32>,
    owner: Owner,
}

impl AdditionsWriter<'_, '_> {
    fn add(&mut self, addition: &Addition) -> Result<()> {
        match addition {
            Addition::File { destination, mode, bytes } => {
                let path = self.root.resolve(destination, false).map_err(Error::Placement)?;
                self.reject_directory(&path)?;
                self.layer.add_file(&path, *mode, bytes)?;
                self.root.add(&path, EntryKind::Other);
                Ok(())
            }
            Addition::Copy { source, destination, mode, owner } => {
                self.copy(source, destination, Change { mode: *mode, owner: owner.unwrap_or_default() })
            }
        }
    }

    fn copy(&mut self, source: &Path, destination: &[u8], change: Change) -> Result<()> {
        let walk = HostWalk::new(source)?;
        // Hard links are kept only within a walk, because an inode of another walk may have other attributes in the
        // image.
        self.layer.clear_links();
        let start = self.destination_of(source, destination).map_err(Error::Placement)?;
        // Maps directories of the source to their paths in the image.
        let mut directories: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        for entry in walk {
            let mut entry = entry?;
            let path = match entry.path.iter().rposition(|&byte| byte == b'/') {
                _ if entry.path.is_empty() => start.clone(),
                slash => join(&directories[&entry.path[..slash.unwrap_or(0)]], entry.name()),
            };
            change.apply(&mut entry);
            match entry.attributes.kind {
                InodeKind::Directory => {
                    let path = self.add_directory(path, &entry)?;
                    directories.insert(entry.path, path);
                }
                _ => self.add_other(&path, &entry)?,
            }
        }
        Ok(())
    }

    /// Returns the destination in the image of the source itself.
    fn destination_of(&self, source: &Path, destination: &[u8]) -> std::result::Result<Vec<u8>, Reason> {
        let bytes = source.as_os_str().as_bytes();
        // `directory/.` and sources without a name stand for their entries.
        let name = source.file_name().filter(|_| !bytes.ends_with(b"/.")).map_or(&b""[..], |name| name.as_bytes());
        let resolved = self.root.resolve(destination, true)?;
        match self.root.kind_at(&resolved) {
            EntryKind::Directory => Ok(join(&resolved, name)),
            EntryKind::Missing if destination.ends_with(b"/") => Ok(join(&resolved, name)),
            EntryKind::Other if destination.ends_with(b"/") => {
                Err(format!("{:?} is not a directory", absolute(&resolved)))
            }
            _ => self.root.resolve(destination, false),
        }
    }

    /// Adds a directory, unless the image already has it at this path, possibly through a link. Returns its resolved
    /// path.
    fn add_directory(&mut self, path: Vec<u8>, entry: &HostEntry) -> Result<Vec<u8>> {
        let resolved = self.root.resolve(&path, true).map_err(Error::Placement)?;
        match (self.root.kind_at(&path), self.root.kind_at(&resolved)) {
            (_, EntryKind::Directory) => Ok(resolved),
            (EntryKind::Missing, _) => {
                self.layer.add(&path, entry)?;
                self.root.add(&path, EntryKind::Directory);
                Ok(path)
            }
            _ => Err(Error::Placement(format!("{:?} is not a directory", absolute(&path)))),
        }
    }

    fn add_other(&mut self, path: &[u8], entry: &HostEntry) -> Result<()> {
        self.reject_directory(path)?;
        if !self.layer.add(path, entry)? {
            self.omitted.add(
                || OsStr::from_bytes(path).into(),
                Omitted::Socket,
                OmissionReason::form("a layer has no type for it"),
            );
            return Ok(());
        }
        let kind = match entry.attributes.kind {
            InodeKind::Symlink => EntryKind::Link(entry.target.clone()),
            _ => EntryKind::Other,
        };
        self.root.add(path, kind);
        Ok(())
    }

    fn reject_directory(&self, path: &[u8]) -> Result<()> {
        match self.root.kind_at(path) {
            EntryKind::Directory => Err(Error::Placement(format!("{:?} is a directory", absolute(path)))),
            _ => Ok(()),
        }
    }
}

impl Change {
    fn apply(self, entry: &mut HostEntry) {
        let attributes = &mut entry.attributes;
        let Owner { uid, gid } = self.owner;
        let changed = (attributes.uid, attributes.gid) != (uid, gid);
        (attributes.uid, attributes.gid) = (uid, gid);
        if changed {
            entry.xattrs.retain(|(name, _)| name != b"security.capability");
        }
        match (attributes.kind, self.mode) {
            (InodeKind::Symlink, _) => {}
            (InodeKind::Directory, Some(mode)) => attributes.mode = mode & !SETUID_AND_SETGID | (mode & READ_BITS) >> 2,
            (_, Some(mode)) => attributes.mode = mode,
            (InodeKind::Regular, None) if changed => attributes.mode &= !SETUID_AND_SETGID,
            (_, None) => {}
        }
    }
}
