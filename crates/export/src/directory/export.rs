//! An export on its way: directories first, then what they hold, then second names, then the directories' attributes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, linkat, mkdirat};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};
use vmroot_container_fs::{ContainerFs, InodeKind};
use vmroot_output::{Copier, Meter, OmissionReason, Omissions, Omitted};

use super::DirectoryOptions;
use super::cursor::Cursor;
use super::made::Made;
use super::maker::Maker;
use super::plan::{Link, Node, Plan, ROOT};
use crate::{Error, Result};

/// Why a second name cannot be had: too many of them already, or none on this file system.
const NO_LINK: &[Errno] = &[Errno::MLINK, Errno::PERM, Errno::OPNOTSUPP];

/// What all threads of an export share.
pub(super) struct Export<'a> {
    pub(super) fs: &'a ContainerFs,
    pub(super) target: &'a Path,
    pub(super) options: &'a DirectoryOptions<'a>,
    pub(super) plan: &'a Plan<'a>,
    pub(super) meter: Meter<'a>,
    /// One for each contents file, which may lie on file systems of their own.
    pub(super) copiers: Vec<Copier>,
    /// The user and group that files get who have nothing else.
    pub(super) exporter: (u32, u32),
    root: OwnedFd,
    omissions: Mutex<Omissions>,
}

impl<'a> Export<'a> {
    pub(super) fn new(
        fs: &'a ContainerFs,
        target: &'a Path,
        options: &'a DirectoryOptions<'a>,
        plan: &'a Plan<'a>,
        root: OwnedFd,
    ) -> Self {
        Self {
            fs,
            target,
            options,
            plan,
            meter: Meter::new(options.hook, plan.bytes),
            copiers: fs.contents().map(|_| Copier::default()).collect(),
            exporter: (geteuid().as_raw(), getegid().as_raw()),
            root,
            omissions: Mutex::default(),
        }
    }

    /// Makes everything; gives what the system refused.
    pub(super) fn run(self) -> Result<Omissions> {
        self.make_directories()?;
        self.make_nodes()?;
        self.make_links()?;
        self.finish_directories()?;
        if self.options.sync {
            rustix::fs::syncfs(&self.root).map_err(Error::io("sync the file system of", self.target))?;
        }
        Ok(self.omissions.into_inner().unwrap_or_else(PoisonError::into_inner).sorted())
    }

    /// Notes that the system refused something, which is an error if nothing may be missing.
    pub(super) fn refuse(&self, path: impl FnOnce() -> PathBuf, what: Omitted, errno: Errno) -> Result<()> {
        let mut omissions = self.omissions.lock().unwrap_or_else(PoisonError::into_inner);
        omissions.add(path, what, OmissionReason::System(errno));
        Ok(omissions.check(self.options.strict, "the directory")?)
    }

    /// Names the action and the entry of a failed call, for `map_err`.
    pub(super) fn failed(&self, action: &'static str, node: Node<'_>) -> impl FnOnce(Errno) -> Error {
        move |errno| Error::io(action, self.target.join(self.plan.path(node)))(errno)
    }

    pub(super) fn cursor(&self) -> Cursor<'_> {
        Cursor::new(self.plan, self.root.as_fd())
    }

    /// Opens a directory that has been made.
    pub(super) fn open<'c>(&self, cursor: &'c mut Cursor<'_>, directory: u32) -> Result<BorrowedFd<'c>> {
        let path = || self.target.join(self.plan.directory_path(directory));
        cursor.open(directory).map_err(|errno| Error::io("open the directory", path())(errno))
    }

    fn make_directories(&self) -> Result<()> {
        let mut cursor = self.cursor();
        for directory in &self.plan.directories[1..] {
            let node = Node { directory: directory.parent, name: directory.name, ino: directory.ino };
            // Open to nobody else until it has its own mode.
            let made = cursor.open(directory.parent).and_then(|parent| mkdirat(parent, directory.name, Mode::RWXU));
            made.map_err(self.failed("make the directory", node))?;
        }
        Ok(())
    }

    /// Hands runs of nodes to the threads, front to back; the first error stops all of them.
    fn make_nodes(&self) -> Result<()> {
        let jobs = self.plan.jobs(self.fs);
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        let work = || {
            let mut maker = Maker::new(self);
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = maker.make_all(&self.plan.nodes[job.clone()]) {
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    self.meter.stop();
                    break;
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..self.options.threads().min(jobs.len()) {
                scope.spawn(work);
            }
            work();
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn make_links(&self) -> Result<()> {
        let mut first_names = self.plan.first_names.clone();
        let mut cursor = self.cursor();
        let mut maker = Maker::new(self);
        for Link { node, first } in &self.plan.links {
            let first = &mut first_names[*first as usize];
            let from = self.open(&mut cursor, first.directory)?;
            let to = maker.directory(*node)?;
            match linkat(from, first.name, to, node.name, AtFlags::empty()) {
                Ok(()) => continue,
                // The first name is a device that was refused: so is this one.
                Err(Errno::NOENT) if self.may_be_refused(*node) => {}
                Err(errno) if NO_LINK.contains(&errno) => {
                    self.refuse(|| self.plan.path(*node), Omitted::HardLink, errno)?
                }
                Err(errno) => return Err(self.failed("make the hard link", *node)(errno)),
            }
            maker.make(*node)?;
            // Later names are names of the copy.
            *first = *node;
        }
        Ok(())
    }

    fn may_be_refused(&self, node: Node<'_>) -> bool {
        !matches!(self.fs.stat(node.ino).kind, InodeKind::Regular | InodeKind::Symlink)
    }

    /// Gives directories their attributes, now that nothing is made in them any more.
    fn finish_directories(&self) -> Result<()> {
        let mut cursor = self.cursor();
        let mut closed = Vec::new();
        for directory in ROOT..self.plan.directories.len() as u32 {
            let stat = self.fs.stat(self.plan.directories[directory as usize].ino);
            let path = || self.plan.directory_path(directory);
            let fd = self.open(&mut cursor, directory)?;
            self.set_attributes(Made::Open(fd), &stat, &path)?;
            if self.mode_is_postponed(&stat) {
                closed.push((directory, stat.mode));
            }
        }
        // From the last to the first: what lies below is done when nobody can get there any more.
        for (directory, mode) in closed.into_iter().rev() {
            let fd = self.open(&mut cursor, directory)?;
            self.set_mode(Made::Open(fd), mode, &|| self.plan.directory_path(directory))?;
        }
        Ok(())
    }
}
