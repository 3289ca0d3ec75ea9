//! Creating files, symbolic links, devices, named pipes and sockets, with contents and attributes.

use std::fs::File;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, makedev, mknodat, openat, renameat, symlinkat};
use rustix::io::Errno;
use vmroot_container_fs::{Device, Extent, InodeKind, Stat};
use vmroot_output::{Counter, LastHoles, Omitted, is_source_failure};

use super::cursor::Cursor;
use super::export::Export;
use super::merge::{remove_temporary, temporary_name};
use super::new_inode::NewInode;
use super::plan::Node;
use crate::error::check_flow;
use crate::{Error, Result};

/// The mode of new files until the mode of the image is set.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
/// The flags for creating a file. With `CREATE` and `EXCL` the kernel does not follow a symbolic link.
const NEW_FILE: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::CLOEXEC);

/// Creates entries for one thread of an export.
pub(super) struct EntryWriter<'e> {
    export: &'e Export<'e>,
    cursor: Cursor<'e>,
    holes: LastHoles<'e>,
    counter: Counter<'e>,
}

impl<'e> EntryWriter<'e> {
    pub(super) fn new(export: &'e Export<'e>) -> Self {
        Self { export, cursor: export.cursor(), holes: LastHoles::default(), counter: Counter::new(&export.meter) }
    }

    /// Creates entries.
    pub(super) fn make_all(&mut self, nodes: &[Node<'_>]) -> Result<()> {
        for node in nodes {
            self.make(*node)?;
        }
        Ok(self.counter.report()?)
    }

    /// Creates an entry, or replaces one in a directory that existed before.
    pub(super) fn make(&mut self, node: Node<'_>) -> Result<()> {
        if !self.export.may_replace(node) {
            return self.make_as(node, node.name).map(drop);
        }
        // A reader of the directory sees the old entry until the new one is complete.
        let (export, temporary) = (self.export, temporary_name());
        let made = self.make_as(node, &temporary);
        let directory = self.directory(node)?;
        let placed = match made {
            Ok(true) => renameat(directory, &temporary[..], directory, node.name).map_err(export.failed("write", node)),
            made => made.map(drop),
        };
        if placed.is_err() {
            remove_temporary(directory, &temporary);
        }
        placed
    }

    /// Creates an entry under a name. Returns whether the system permits it.
    fn make_as(&mut self, node: Node<'_>, name: &[u8]) -> Result<bool> {
        let stat = self.export.fs.stat(node.ino);
        match stat.kind {
            InodeKind::Regular => self.make_file(node, name, &stat).map(|()| true),
            InodeKind::Symlink => self.make_symlink(node, name, &stat).map(|()| true),
            _ if self.export.options.rootless => self.make_file(node, name, &stat).map(|()| true),
            _ => self.make_special(node, name, &stat),
        }
    }

    /// Opens the directory of an entry.
    pub(super) fn directory(&mut self, node: Node<'_>) -> Result<BorrowedFd<'_>> {
        self.export.open(&mut self.cursor, node.directory)
    }

    fn make_file(&mut self, node: Node<'_>, name: &[u8], stat: &Stat) -> Result<()> {
        let export = self.export;
        let directory = self.directory(node)?;
        let fd: OwnedFd = openat(directory, name, NEW_FILE, PRIVATE).map_err(export.failed("make the file", node))?;
        let file = File::from(fd);
        if let Some(extent) = export.fs.extent(node.ino) {
            self.write(node, extent, &file)?;
        }
        export.set_attributes(NewInode::Open(file.as_fd()), stat, &|| export.plan.path(node))
    }

    fn write(&mut self, node: Node<'_>, extent: Extent, file: &File) -> Result<()> {
        let export = self.export;
        let contents = &export.fs.contents_file(extent.file).file;
        let (holes, counter) = (self.holes.of(extent.file, contents), &mut self.counter);
        let range = extent.offset..extent.offset + extent.length;
        let done = export.copiers[extent.file as usize].copy(holes, range.clone(), file, |bytes| counter.add(bytes));
        let done = done.map_err(|source| -> Error {
            if is_source_failure(contents, &range, &source) {
                return export.fs.unreadable(extent.file, extent.offset, source).into();
            }
            let path = export.target.join(export.plan.path(node));
            vmroot_output::Error { action: "write the file", path, source }.into()
        });
        check_flow(done?)
    }

    fn make_symlink(&mut self, node: Node<'_>, name: &[u8], stat: &Stat) -> Result<()> {
        let export = self.export;
        let link = export.fs.readlink(node.ino)?;
        let directory = self.directory(node)?;
        symlinkat(link, directory, name).map_err(export.failed("make the symbolic link", node))?;
        export.set_attributes(NewInode::InDirectory(directory, name), stat, &|| export.plan.path(node))
    }

    /// Creates a device, a named pipe or a socket, or adds an omission if this user may not.
    fn make_special(&mut self, node: Node<'_>, name: &[u8], stat: &Stat) -> Result<bool> {
        let export = self.export;
        let directory = self.directory(node)?;
        let Device { major, minor } = stat.device;
        let kind = FileType::from_raw_mode(stat.mode);
        let made = mknodat(directory, name, kind, PRIVATE, makedev(major, minor));
        let path = || export.plan.path(node);
        let is_made = export.tolerate(&[Errno::PERM], made, || Omitted::Device, "make the device", &path)?;
        if is_made {
            export.set_attributes(NewInode::InDirectory(directory, name), stat, &path)?;
        } else {
            export.refuse(node.ino);
        }
        Ok(is_made)
    }
}
