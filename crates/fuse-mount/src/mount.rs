//! A mounted root, from mount to unmount.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use fuser::{Config, Session, SessionACL};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use vmroot_container_fs::ContainerFs;

use crate::adapter::Adapter;
use crate::ahead::Ahead;
use crate::{Error, MountOptions, Result, device, fusermount};

/// A root that is mounted, and the threads that serve it. Dropping it unmounts.
#[derive(Debug)]
pub struct Mount {
    unmounter: Unmounter,
    session: Option<JoinHandle<io::Result<()>>>,
}

/// Unmounts a [`Mount`] from any thread, such as one that waits for signals.
#[derive(Debug, Clone)]
pub struct Unmounter {
    mounted: Arc<Mounted>,
}

/// What has become of the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmounted {
    /// It is gone.
    Gone,
    /// It has left the tree; files and working directories in it are in use, and served until the last is closed.
    Busy,
}

#[derive(Debug)]
struct Mounted {
    mountpoint: PathBuf,
    /// What [`device::mounted_at`] says of the mountpoint.
    number: (u32, u32),
    /// Tells whether the mount is alive. Nothing once the session is over, for a kernel that still has the device open
    /// would let users wait for answers.
    device: Mutex<Option<OwnedFd>>,
}

impl Mount {
    /// Mounts a root on a directory. When this returns, the mount answers.
    ///
    /// # Errors
    /// [`Error::Mountpoint`], [`Error::Device`], [`Error::Mount`], [`Error::NoHelper`], [`Error::Helper`] and
    /// [`Error::Session`]; nothing is mounted then.
    pub fn new(root: Arc<ContainerFs>, mountpoint: &Path, options: &MountOptions) -> Result<Self> {
        let failed = |source| Error::Mountpoint { path: mountpoint.to_owned(), source };
        let mountpoint = mountpoint.canonicalize().map_err(failed)?;
        let device = device::open_mounted(&mountpoint, options)?;
        let mounted = Mounted::new(mountpoint, &device)?;
        device::raise_readahead(mounted.number);
        let session = serve(root, device, &mounted, options).map_err(|source| {
            // The first error says more than one of undoing.
            let _ = mounted.unmount();
            Error::Session { path: mounted.mountpoint.clone(), source }
        })?;
        Ok(Self { unmounter: Unmounter { mounted }, session: Some(session) })
    }

    /// Where the root is mounted: absolute, without links.
    pub fn mountpoint(&self) -> &Path {
        &self.unmounter.mounted.mountpoint
    }

    /// A handle that unmounts from another thread.
    pub fn unmounter(&self) -> Unmounter {
        self.unmounter.clone()
    }

    /// Unmounts as [`Unmounter::unmount`] does.
    ///
    /// # Errors
    /// The same.
    pub fn unmount(&self) -> Result<Unmounted> {
        self.unmounter.unmount()
    }

    /// Waits until the root is unmounted, by whomever, and no longer used.
    ///
    /// # Errors
    /// [`Error::Session`] when requests could no longer be served.
    pub fn wait(mut self) -> Result<()> {
        let session = self.session.take().expect("only this takes it, and takes the mount as well");
        let result = session.join().unwrap_or_else(|_| Err(io::Error::other("a thread has panicked")));
        result.map_err(|source| Error::Session { path: self.mountpoint().to_owned(), source })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // There is no one to tell. What is busy is served on until the process ends.
        let _ = self.unmount();
    }
}

impl Unmounter {
    /// Takes the mount out of the tree, also while it is in use. Once it is gone, by whomever, this does nothing.
    ///
    /// # Errors
    /// [`Error::Unmount`], and [`Error::Covered`] when the mountpoint shows another file system.
    pub fn unmount(&self) -> Result<Unmounted> {
        self.mounted.unmount()
    }
}

/// Starts the threads that answer requests.
fn serve(
    root: Arc<ContainerFs>,
    device: OwnedFd,
    mounted: &Arc<Mounted>,
    options: &MountOptions,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    let mut config = Config::default();
    config.acl = acl;
    config.n_threads = Some(options.threads.max(1));
    // A queue for each thread, where we may open the device again.
    config.clone_fd = device::open().is_ok();
    // fuser is handed the device and never mounts or unmounts: it would unmount whatever is on the mountpoint when the
    // session ends, also after others have unmounted this, and what is busy it would not unmount at all.
    let (ahead, orders) = Ahead::new();
    let session = Session::from_fd(Adapter::new(Arc::clone(&root), ahead), device, acl, config)?;
    orders.serve(root, session.notifier())?;
    let mounted = Arc::clone(mounted);
    thread::Builder::new().name("fuse-session".to_owned()).spawn(move || {
        let result = session.run();
        mounted.end();
        result
    })
}

impl Mounted {
    fn new(mountpoint: PathBuf, device: &OwnedFd) -> Result<Arc<Self>> {
        let undo = |source: io::Error| {
            // Nothing else can have been mounted there yet.
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

    /// Requests are no longer served.
    fn end(&self) {
        self.device().take();
        // A mount that the kernel has cut off would stay and answer every access with an error.
        if device::mounted_at(&self.mountpoint) == Ok(self.number) && device::is_cut_off(&self.mountpoint) {
            // There is no one to tell, and nothing else to try.
            let _ = detach(&self.mountpoint, UnmountFlags::DETACH);
        }
    }

    /// The lock is held throughout: of two threads the second finds the mount gone.
    fn unmount(&self) -> Result<Unmounted> {
        let device = self.device();
        let is_alive = || device.as_ref().is_some_and(device::is_alive);
        if !is_alive() {
            return Ok(Unmounted::Gone);
        }
        // As long as it is alive no other file system has its number.
        if device::mounted_at(&self.mountpoint) == Ok(self.number) {
            let plainly = detach(&self.mountpoint, UnmountFlags::empty());
            plainly
                .or_else(|_| detach(&self.mountpoint, UnmountFlags::DETACH))
                .map_err(|source| Error::Unmount { path: self.mountpoint.clone(), source })?;
        } else if device::is_in_tree(self.number) {
            return Err(Error::Covered { path: self.mountpoint.clone() });
        }
        Ok(if is_alive() { Unmounted::Busy } else { Unmounted::Gone })
    }
}

/// umount(2) for those who may, else the helper.
fn detach(mountpoint: &Path, flags: UnmountFlags) -> io::Result<()> {
    match unmount(mountpoint, flags | UnmountFlags::NOFOLLOW) {
        Err(Errno::PERM) => fusermount::unmount(mountpoint, flags.contains(UnmountFlags::DETACH)),
        result => Ok(result?),
    }
}
