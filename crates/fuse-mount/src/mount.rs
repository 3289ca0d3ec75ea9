//! A mounted root, from mount to unmount.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use fuser::{Config, Filesystem, Session, SessionACL};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use vmroot_container_fs::ContainerFs;

use crate::adapter::Adapter;
use crate::file::{FileBytes, FileDirectory};
use crate::fusermount::unmount_as_user;
use crate::prefetch::Prefetcher;
use crate::{Error, MountOptions, Result, device};

/// A mounted root and the threads that serve it. Dropping it unmounts the root.
#[derive(Debug)]
pub struct Mount {
    unmounter: Unmounter,
    session: Option<JoinHandle<io::Result<()>>>,
}

/// A handle that unmounts a [`Mount`] from any thread, such as one that waits for signals.
#[derive(Debug, Clone)]
pub struct Unmounter {
    mounted: Arc<Mounted>,
}

/// The result of unmounting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmounted {
    /// The mount is gone.
    Gone,
    /// The mount is no longer in the tree. Its files and working directories are still in use, and are served until the
    /// last is closed.
    Busy,
}

#[derive(Debug)]
struct Mounted {
    mountpoint: PathBuf,
    /// The device number of the mount (see [`device::mounted_at`]).
    number: (u32, u32),
    /// Used to check whether the mount is alive. `None` once the session has ended: a kernel that still has the device
    /// open would let users wait for replies.
    device: Mutex<Option<OwnedFd>>,
}

impl Mount {
    /// Mounts a root on a directory. When this returns, the mount serves requests.
    ///
    /// If it fails, the directory has no new mount.
    ///
    /// # Errors
    /// - [`Error::Mountpoint`]: the directory cannot be resolved.
    /// - [`Error::Device`]: `/dev/fuse` cannot be used.
    /// - [`Error::Mount`]: the kernel rejects the mount.
    /// - [`Error::NoHelper`]: the caller needs `fusermount3`, and it is not installed.
    /// - [`Error::Helper`]: `fusermount3` rejects the mount.
    /// - [`Error::Session`]: the threads that serve requests cannot be started.
    pub fn new(root: Arc<ContainerFs>, mountpoint: &Path, options: &MountOptions) -> Result<Self> {
        Self::serve(mountpoint, options, |device, mounted| {
            let (prefetcher, worker) = Prefetcher::new();
            let session = session(Adapter::new(Arc::clone(&root), prefetcher), device, options)?;
            worker.spawn(root, session.notifier())?;
            run(session, mounted)
        })
    }

    /// Mounts a directory with one file on a directory. When this returns, the mount serves requests.
    ///
    /// # Errors
    /// The errors of [`Self::new`].
    pub fn of_file(name: &str, bytes: Arc<dyn FileBytes>, mountpoint: &Path, options: &MountOptions) -> Result<Self> {
        Self::serve(mountpoint, options, |device, mounted| {
            run(session(FileDirectory::new(name, bytes), device, options)?, mounted)
        })
    }

    /// Mounts the device and starts a session with it.
    fn serve(
        mountpoint: &Path,
        options: &MountOptions,
        start: impl FnOnce(OwnedFd, &Arc<Mounted>) -> io::Result<JoinHandle<io::Result<()>>>,
    ) -> Result<Self> {
        let failed = |source| Error::Mountpoint { path: mountpoint.to_owned(), source };
        let mountpoint = mountpoint.canonicalize().map_err(failed)?;
        let device = device::open_mounted(&mountpoint, options)?;
        let mounted = Mounted::new(mountpoint, &device)?;
        device::raise_readahead(mounted.number);
        let session = start(device, &mounted).map_err(|source| {
            // The caller needs the first error, not one of cleaning up.
            let _ = mounted.unmount();
            Error::Session { path: mounted.mountpoint.clone(), source }
        })?;
        Ok(Self { unmounter: Unmounter { mounted }, session: Some(session) })
    }

    /// Returns the absolute path of the mountpoint, without symlinks.
    pub fn mountpoint(&self) -> &Path {
        &self.unmounter.mounted.mountpoint
    }

    /// Returns a handle that unmounts from another thread.
    pub fn unmounter(&self) -> Unmounter {
        self.unmounter.clone()
    }

    /// Unmounts the root, like [`Unmounter::unmount`].
    ///
    /// # Errors
    /// The errors of [`Unmounter::unmount`].
    pub fn unmount(&self) -> Result<Unmounted> {
        self.unmounter.unmount()
    }

    /// Waits until the root is unmounted, by any process, and no longer in use.
    ///
    /// # Errors
    /// [`Error::Session`] if requests could not be served any more.
    pub fn wait(mut self) -> Result<()> {
        let session = self.session.take().expect("only this takes it, and takes the mount as well");
        let result = session.join().unwrap_or_else(|_| Err(io::Error::other("a thread has panicked")));
        result.map_err(|source| Error::Session { path: self.mountpoint().to_owned(), source })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // An error cannot be returned here. A busy mount is served until the process ends.
        let _ = self.unmount();
    }
}

impl Unmounter {
    /// Removes the mount from the tree, even while it is in use. Does nothing if the mount is already gone.
    ///
    /// # Errors
    /// - [`Error::Unmount`]: the kernel or `fusermount3` rejects it.
    /// - [`Error::Covered`]: the mountpoint shows another file system.
    pub fn unmount(&self) -> Result<Unmounted> {
        self.mounted.unmount()
    }
}

/// Prepares the threads that serve requests.
fn session<F: Filesystem>(filesystem: F, device: OwnedFd, options: &MountOptions) -> io::Result<Session<F>> {
    let acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    let mut config = Config::default();
    config.acl = acl;
    config.n_threads = Some(options.threads.max(1));
    // A queue for each thread, if this process may open the device again.
    config.clone_fd = device::open().is_ok();
    // fuser gets an open device, so it never mounts or unmounts itself. At the end of a session it would unmount
    // any file system on the mountpoint, even after another process has unmounted this root. And it would not unmount
    // a busy mount at all.
    Session::from_fd(filesystem, device, acl, config)
}

/// Starts the threads that serve requests.
fn run<F: Filesystem + Send + 'static>(
    session: Session<F>,
    mounted: &Arc<Mounted>,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let mounted = Arc::clone(mounted);
    thread::Builder::new().name("fuse-session".to_owned()).spawn(move || {
        let result = session.run();
        mounted.end_session();
        result
    })
}

impl Mounted {
    fn new(mountpoint: PathBuf, device: &OwnedFd) -> Result<Arc<Self>> {
        let undo = |source: io::Error| {
            // No other file system can have been mounted there yet.
            let _ = detach(&mountpoint, UnmountFlags::DETACH);
            Error::Session { path: mountpoint.clone(), source }
        };
        let number = device::mounted_at(&mountpoint).map_err(|error| undo(error.into()))?;
        let device = Mutex::new(Some(device.try_clone().map_err(undo)?));
        Ok(Arc::new(Self { mountpoint, number, device }))
    }

    fn device(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that requests are no longer served.
    fn end_session(&self) {
        self.device().take();
        // A mount without a server would stay and return an error for every access.
        if device::mounted_at(&self.mountpoint) == Ok(self.number) && device::has_lost_server(&self.mountpoint) {
            // An error cannot be returned here, and there is no other way to unmount.
            let _ = detach(&self.mountpoint, UnmountFlags::DETACH);
        }
    }

    /// Unmounts the root. The lock is held throughout, so the second of two threads finds the mount gone.
    fn unmount(&self) -> Result<Unmounted> {
        let device = self.device();
        let is_alive = || device.as_ref().is_some_and(device::is_alive);
        if !is_alive() {
            return Ok(Unmounted::Gone);
        }
        // As long as the mount is alive, no other file system has its device number.
        if device::mounted_at(&self.mountpoint) == Ok(self.number) {
            let result = detach(&self.mountpoint, UnmountFlags::empty());
            result.or_else(|_| detach(&self.mountpoint, UnmountFlags::DETACH))?;
        } else if device::is_in_tree(self.number) {
            return Err(Error::Covered { path: self.mountpoint.clone() });
        }
        Ok(if is_alive() { Unmounted::Busy } else { Unmounted::Gone })
    }
}

/// Unmounts with umount(2), or with the helper if the caller may not.
fn detach(mountpoint: &Path, flags: UnmountFlags) -> Result<()> {
    match unmount(mountpoint, flags | UnmountFlags::NOFOLLOW) {
        Err(Errno::PERM) => unmount_as_user(mountpoint, flags.contains(UnmountFlags::DETACH)),
        result => result.map_err(|errno| Error::Unmount { path: mountpoint.to_owned(), source: errno.into() }),
    }
}
