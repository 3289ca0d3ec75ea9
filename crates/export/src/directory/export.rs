//! The passes of an export: directories, then other entries, then hard links, then the attributes of directories.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, linkat, mkdirat, renameat};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};
use vmroot_container_fs::{ContainerFs, InodeId};
use vmroot_output::{Copier, Meter, OmissionReason, Omissions, Omitted, workers};

use super::DirectoryOptions;
use super::cursor::Cursor;
use super::entry_writer::EntryWriter;
use super::merge::{Merge, remove_temporary, temporary_name};
use super::new_inode::NewInode;
use super::plan::{Link, Node, Plan, ROOT};
use crate::{Error, Result};

/// Errors of link(2) that are reported: too many links, or no support by the file system.
const NO_LINK: &[Errno] = &[Errno::MLINK, Errno::PERM, Errno::OPNOTSUPP];

/// The state of an export, which its threads share.
pub(super) struct Export<'a> {
    pub(super) fs: &'a ContainerFs,
    pub(super) target: &'a Path,
    pub(super) options: &'a DirectoryOptions<'a>,
    pub(super) plan: &'a Plan<'a>,
    pub(super) meter: Meter<'a>,
    /// One for each contents file, because these may be on different file systems.
    pub(super) copiers: Vec<Copier>,
    /// The effective user and group, which own new files.
    pub(super) exporter: (u32, u32),
    /// The entries that existed before. `None` for an export to an empty directory, which gets the attributes of the root.
    pub(super) merge: Option<Merge>,
    root: OwnedFd,
    omissions: Mutex<Omissions>,
    /// Devices that the system refused.
    refused: Mutex<HashSet<InodeId>>,
}

impl<'a> Export<'a> {
    pub(super) fn new(
        fs: &'a ContainerFs,
        target: &'a Path,
        options: &'a DirectoryOptions<'a>,
        plan: &'a Plan<'a>,
        root: OwnedFd,
        merge: Option<Merge>,
    ) -> Self {
        Self {
            fs,
            target,
            options,
            plan,
            meter: Meter::new(options.hook, plan.bytes),
            copiers: fs.contents().map(|_| Copier::default()).collect(),
            exporter: (geteuid().as_raw(), getegid().as_raw()),
            merge,
            root,
            omissions: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// Creates all entries. Returns the attributes and entries that the system refused.
    pub(super) fn run(self) -> Result<Omissions> {
        self.make_directories()?;
        self.make_nodes()?;
        self.make_links()?;
        self.finish_directories()?;
        if self.options.sync {
            rustix::fs::syncfs(&self.root).map_err(vmroot_output::Error::on("sync the file system of", self.target))?;
        }
        Ok(self.omissions.into_inner().unwrap_or_else(PoisonError::into_inner).sorted())
    }

    /// Adds an omission, which is an error if the export is strict.
    pub(super) fn add_omission(&self, path: impl FnOnce() -> PathBuf, what: Omitted, errno: Errno) -> Result<()> {
        self.omit(path, what, OmissionReason::System(errno))
    }

    /// Adds an omission with any reason, as [`Self::add_omission`] does.
    pub(super) fn omit(&self, path: impl FnOnce() -> PathBuf, what: Omitted, why: OmissionReason) -> Result<()> {
        let mut omissions = self.omissions.lock().unwrap_or_else(PoisonError::into_inner);
        omissions.add(path, what, why);
        if self.options.strict { Ok(omissions.require_complete("the directory")?) } else { Ok(()) }
    }

    /// Adds the action and the entry to a failed call, for `map_err`.
    pub(super) fn failed(&self, action: &'static str, node: Node<'_>) -> impl FnOnce(Errno) -> Error {
        move |errno| vmroot_output::Error::on(action, self.target.join(self.plan.path(node)))(errno).into()
    }

    /// Returns whether an entry of the same name may exist.
    pub(super) fn may_replace(&self, node: Node<'_>) -> bool {
        self.merge.as_ref().is_some_and(|merge| merge.has(node.directory))
    }

    /// Remembers a device that the system refused.
    pub(super) fn refuse(&self, ino: InodeId) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(ino);
    }

    fn is_refused(&self, ino: InodeId) -> bool {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).contains(&ino)
    }

    pub(super) fn cursor(&self) -> Cursor<'_> {
        Cursor::new(self.plan, self.root.as_fd())
    }

    /// Opens a directory that was already created.
    pub(super) fn open<'c>(&self, cursor: &'c mut Cursor<'_>, directory: u32) -> Result<BorrowedFd<'c>> {
        let path = || self.target.join(self.plan.directory_path(directory));
        Ok(cursor.open(directory).map_err(|errno| vmroot_output::Error::on("open the directory", path())(errno))?)
    }

    fn make_directories(&self) -> Result<()> {
        let mut cursor = self.cursor();
        for (number, directory) in (ROOT..).zip(&self.plan.directories).skip(1) {
            if self.merge.as_ref().is_some_and(|merge| merge.has(number)) {
                continue;
            }
            let node = Node { directory: directory.parent, name: directory.name, ino: directory.ino };
            // The directory is private until its own mode is set.
            let made = cursor.open(directory.parent).and_then(|parent| mkdirat(parent, directory.name, Mode::RWXU));
            made.map_err(self.failed("make the directory", node))?;
        }
        Ok(())
    }

    /// Distributes the nodes to the threads, in order. The first error stops all threads.
    fn make_nodes(&self) -> Result<()> {
        let jobs = self.plan.jobs(self.fs);
        let next = AtomicUsize::new(0);
        workers::run(workers::count(self.options.threads).min(jobs.len()), &self.meter, || {
            let mut writer = EntryWriter::new(self);
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                writer.make_all(&self.plan.nodes[job.clone()])?;
            }
            Ok(())
        })
    }

    fn make_links(&self) -> Result<()> {
        let mut first_names = self.plan.first_names.clone();
        let mut cursor = self.cursor();
        let mut writer = EntryWriter::new(self);
        for Link { node, first } in &self.plan.links {
            let first = &mut first_names[*first as usize];
            // The first name is a device that was refused, so this one is refused too.
            if self.is_refused(node.ino) {
                writer.make(*node)?;
                continue;
            }
            let from = self.open(&mut cursor, first.directory)?;
            let to = writer.directory(*node)?;
            match self.link(from, first.name, to, *node) {
                Ok(()) => continue,
                Err(errno) if NO_LINK.contains(&errno) => {
                    self.add_omission(|| self.plan.path(*node), Omitted::HardLink, errno)?
                }
                Err(errno) => return Err(self.failed("make the hard link", *node)(errno)),
            }
            writer.make(*node)?;
            // Later names become hard links to the copy.
            *first = *node;
        }
        Ok(())
    }

    /// Makes a hard link, or replaces an entry with it in a directory that existed before.
    fn link(&self, from: BorrowedFd<'_>, first: &[u8], to: BorrowedFd<'_>, node: Node<'_>) -> rustix::io::Result<()> {
        if !self.may_replace(node) {
            return linkat(from, first, to, node.name, AtFlags::empty());
        }
        let temporary = temporary_name();
        linkat(from, first, to, &temporary[..], AtFlags::empty())?;
        let renamed = renameat(to, &temporary[..], to, node.name);
        // A rename onto another link to the same file does nothing.
        remove_temporary(to, &temporary);
        renamed
    }

    /// Sets the attributes of directories, after all their entries were created.
    fn finish_directories(&self) -> Result<()> {
        let mut cursor = self.cursor();
        let mut closed = Vec::new();
        // A directory that entries are merged into is not one of the image.
        let first = if self.merge.is_some() { ROOT + 1 } else { ROOT };
        for directory in first..self.plan.directories.len() as u32 {
            let stat = self.fs.stat(self.plan.directories[directory as usize].ino);
            let path = || self.plan.directory_path(directory);
            let fd = self.open(&mut cursor, directory)?;
            self.set_attributes(NewInode::Open(fd), &stat, &path)?;
            if self.is_mode_postponed(&stat) {
                closed.push((directory, stat.mode));
            }
        }
        // In reverse order, because a directory must still be accessible while those below it are changed.
        for (directory, mode) in closed.into_iter().rev() {
            let fd = self.open(&mut cursor, directory)?;
            self.set_mode(NewInode::Open(fd), mode, &|| self.plan.directory_path(directory))?;
        }
        Ok(())
    }
}
