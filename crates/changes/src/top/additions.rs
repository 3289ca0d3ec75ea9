//! Single files and directories become one layer.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::PipeWriter;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use vmroot_container_fs::{ContainerFs, InodeKind};
use vmroot_layer_index::BuiltLayer;
use vmroot_output::{Meter, OmissionReason, Omissions, Omitted, Progress};

use super::place::{Found, Places, Reason, absolute, join};
use super::{Addition, Work};
use crate::host::{HostEntry, HostWalk};
use crate::layer::LayerWriter;
use crate::{Error, Result};

const SETUID_AND_SETGID: u32 = 0o6000;
/// Who may do something, thrice.
const READ: u32 = 0o444;

impl Work<'_> {
    /// Makes a layer of what is added to `root`.
    pub(super) fn additions(
        &self,
        additions: &[Addition],
        root: &ContainerFs,
        omitted: &mut Omissions,
    ) -> Result<BuiltLayer> {
        let hook = |_: Progress| self.control_flow();
        let written = self.written(|pipe| {
            let meter = Meter::new(Some(&hook), 0);
            let mut maker = Maker {
                places: Places::new(root),
                layer: LayerWriter::new(pipe, true, &meter),
                omitted: Omissions::default(),
            };
            for addition in additions {
                maker.add(addition).map_err(Error::on_top(addition.to_string()))?;
            }
            maker.layer.finish()?;
            Ok(maker.omitted)
        });
        let (built, left_out) = written.map_err(|error| match error {
            Error::Index(_) => Error::on_top("what is added".to_owned())(error),
            error => error,
        })?;
        omitted.append(left_out);
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

/// A layer in the making.
struct Maker<'a, 'm> {
    places: Places<'a>,
    layer: LayerWriter<'m, PipeWriter>,
    omitted: Omissions,
}

/// What a copy is to have in place of what its source has.
#[derive(Clone, Copy)]
struct Change {
    mode: Option<u32>,
    owner: (u32, u32),
}

impl Maker<'_, '_> {
    fn add(&mut self, addition: &Addition) -> Result<()> {
        match addition {
            Addition::File { destination, mode, bytes } => {
                let path = self.places.resolve(destination, false).map_err(Error::Placement)?;
                self.check_no_directory(&path)?;
                self.layer.file(&path, *mode, bytes)?;
                self.places.add(&path, Found::Other);
                Ok(())
            }
            Addition::Copy { source, destination, mode, owner } => {
                self.copy(source, destination, Change { mode: *mode, owner: owner.unwrap_or_default() })
            }
        }
    }

    fn copy(&mut self, source: &Path, destination: &[u8], change: Change) -> Result<()> {
        let walk = HostWalk::new(source)?;
        // Names are of one walk: what is linked in another may have other attributes here.
        self.layer.forget_links();
        let start = self.start(source, destination).map_err(Error::Placement)?;
        // Directories of the source, with where they are in the image.
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
                    let path = self.directory(path, &entry)?;
                    directories.insert(entry.path, path);
                }
                _ => self.other(&path, &entry)?,
            }
        }
        Ok(())
    }

    /// The path in the image that a source itself gets.
    fn start(&self, source: &Path, destination: &[u8]) -> std::result::Result<Vec<u8>, Reason> {
        let bytes = source.as_os_str().as_bytes();
        // `directory/.`, and what has no name of its own, stands for what is in it.
        let name = source.file_name().filter(|_| !bytes.ends_with(b"/.")).map_or(&b""[..], |name| name.as_bytes());
        let resolved = self.places.resolve(destination, true)?;
        match self.places.at(&resolved) {
            Found::Directory => Ok(join(&resolved, name)),
            Found::Nothing if destination.ends_with(b"/") => Ok(join(&resolved, name)),
            Found::Other if destination.ends_with(b"/") => Err(format!("{:?} is no directory", absolute(&resolved))),
            _ => self.places.resolve(destination, false),
        }
    }

    /// Adds a directory, unless the image has it already, there or where a link leads to; gives its path.
    fn directory(&mut self, path: Vec<u8>, entry: &HostEntry) -> Result<Vec<u8>> {
        let resolved = self.places.resolve(&path, true).map_err(Error::Placement)?;
        match (self.places.at(&path), self.places.at(&resolved)) {
            (_, Found::Directory) => Ok(resolved),
            (Found::Nothing, _) => {
                self.layer.add(&path, entry)?;
                self.places.add(&path, Found::Directory);
                Ok(path)
            }
            _ => Err(Error::Placement(format!("{:?} is no directory", absolute(&path)))),
        }
    }

    fn other(&mut self, path: &[u8], entry: &HostEntry) -> Result<()> {
        self.check_no_directory(path)?;
        if !self.layer.add(path, entry)? {
            self.omitted.add(
                || OsStr::from_bytes(path).into(),
                Omitted::Socket,
                OmissionReason::form("a layer has no type for it"),
            );
            return Ok(());
        }
        let found = match entry.attributes.kind {
            InodeKind::Symlink => Found::Link(entry.target.clone()),
            _ => Found::Other,
        };
        self.places.add(path, found);
        Ok(())
    }

    fn check_no_directory(&self, path: &[u8]) -> Result<()> {
        match self.places.at(path) {
            Found::Directory => Err(Error::Placement(format!("{:?} is a directory", absolute(path)))),
            _ => Ok(()),
        }
    }
}

impl Change {
    fn apply(self, entry: &mut HostEntry) {
        let attributes = &mut entry.attributes;
        let changed = (attributes.uid, attributes.gid) != self.owner;
        (attributes.uid, attributes.gid) = self.owner;
        if changed {
            entry.xattrs.retain(|(name, _)| name != b"security.capability");
        }
        match (attributes.kind, self.mode) {
            (InodeKind::Symlink, _) => {}
            (InodeKind::Directory, Some(mode)) => attributes.mode = mode & !SETUID_AND_SETGID | (mode & READ) >> 2,
            (_, Some(mode)) => attributes.mode = mode,
            (InodeKind::Regular, None) if changed => attributes.mode &= !SETUID_AND_SETGID,
            (_, None) => {}
        }
    }
}
