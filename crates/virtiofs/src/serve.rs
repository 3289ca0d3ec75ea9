//! A device at a socket, from its creation to the disconnection of its VMM.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::OwnedFd;
use rustix::io::{Errno, retry_on_intr, write};
use vhost::vhost_user::{Error as ProtocolError, Listener};
use vhost_user_backend::{Error as DaemonError, VhostUserDaemon};
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};
use vmroot_container_fs::ContainerFs;

use crate::device::Device;
use crate::options::MAX_QUEUES;
use crate::socket::{LockWait, Socket};
use crate::{Error, Result, VirtioFsOptions};

type Daemon = VhostUserDaemon<Arc<Device>>;

/// A root that is offered at a socket to one VMM.
#[derive(Debug)]
pub struct VirtioFs {
    root: Arc<ContainerFs>,
    socket: Socket,
    options: VirtioFsOptions,
    stop: Arc<OwnedFd>,
}

/// A handle that ends [`VirtioFs::serve`] from any thread, such as one that waits for signals.
#[derive(Debug, Clone)]
pub struct Stopper {
    stop: Arc<OwnedFd>,
}

impl Stopper {
    /// Ends `serve` now, or as soon as it is called. The guest gets no more replies.
    pub fn stop(&self) {
        // The write fails only if the counter is full, that is, already set.
        let _ = write(&*self.stop, &1u64.to_ne_bytes());
    }
}

impl VirtioFs {
    /// Creates the socket. When this returns, a VMM may connect.
    ///
    /// Waits up to 10 seconds for the lock of the socket's directory.
    ///
    /// # Errors
    /// - [`Error::Queues`]: the number of queues is not 1 to 63.
    /// - [`Error::PathTooLong`]: the path of the socket has more than 107 bytes.
    /// - [`Error::NotASocket`]: the path is another kind of file.
    /// - [`Error::InUse`]: another process listens at the socket.
    /// - [`Error::Locked`]: another process holds the lock of the directory.
    /// - [`Error::Socket`]: the socket cannot be created.
    pub fn bind(root: Arc<ContainerFs>, socket: &Path, options: &VirtioFsOptions) -> Result<Self> {
        Self::bind_with_wait(root, socket, options, &LockWait::default())
    }

    /// Creates the socket, like [`Self::bind`], with another limit of the wait for the directory's lock.
    ///
    /// # Errors
    /// The errors of [`Self::bind`], and [`Error::Cancelled`] if `wait` is cancelled.
    pub fn bind_with_wait(
        root: Arc<ContainerFs>,
        socket: &Path,
        options: &VirtioFsOptions,
        wait: &LockWait<'_>,
    ) -> Result<Self> {
        if !(1..=MAX_QUEUES).contains(&options.queues) {
            return Err(Error::Queues(options.queues));
        }
        let failed = |error: Errno| Error::Socket { path: socket.to_owned(), source: error.into() };
        let stop = Arc::new(new_event().map_err(failed)?);
        Ok(Self { root, socket: Socket::bind(socket, wait)?, options: options.clone(), stop })
    }

    /// Returns the path of the socket.
    pub fn socket(&self) -> &Path {
        self.socket.path()
    }

    /// Returns a handle that ends [`Self::serve`] from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { stop: Arc::clone(&self.stop) }
    }

    /// Serves one VMM until it disconnects or a [`Stopper`] ends it.
    ///
    /// The socket is removed as soon as the VMM is connected, because a second VMM could only wait there.
    ///
    /// # Errors
    /// [`Error::Device`] if the device cannot be started or the VMM violates the protocol.
    pub fn serve(self) -> Result<()> {
        let Self { root, socket, options, stop } = self;
        let path = socket.path().to_owned();
        let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
        let device = Device::new(root, &options, memory.clone()).map_err(|error| failed(&path, &error))?;
        let mut daemon =
            Daemon::new("virtiofs".to_owned(), Arc::new(device), memory).map_err(|error| failed(&path, &error))?;
        if wait(socket.listener(), &stop).map_err(|error| failed(&path, &error))? == Woken::ByStopper {
            return Ok(());
        }
        let listener = socket.listener().try_clone().map_err(|error| failed(&path, &error))?;
        daemon.start(&mut Listener::from(listener)).map_err(|error| failed(&path, &error))?;
        drop(socket);
        tracing::info!("a VMM is connected to {}", path.display());
        run(daemon, &stop).map_err(|reason| Error::Device { path, reason })
    }
}

fn failed(path: &Path, reason: &dyn ToString) -> Error {
    Error::Device { path: PathBuf::from(path), reason: reason.to_string() }
}

/// Waits for the end of a daemon. Returns the reason of a failure.
fn run(mut daemon: Daemon, stop: &OwnedFd) -> std::result::Result<(), String> {
    let handlers = daemon.get_epoll_handlers();
    let (ended, end) =
        new_event().and_then(|end| Ok((end.try_clone().map_err(|_| Errno::MFILE)?, end))).map_err(text)?;
    let waiter: JoinHandle<std::result::Result<(), DaemonError>> = thread::Builder::new()
        .name("virtiofs-wait".to_owned())
        .spawn(move || {
            let result = daemon.wait();
            // Its threads end when it is dropped.
            drop(daemon);
            let _ = write(&end, &1u64.to_ne_bytes());
            result
        })
        .map_err(text)?;
    if wait(&ended, stop).map_err(text)? == Woken::ByStopper {
        // The thread that listens to the VMM cannot be woken. It ends with the VMM or with the process.
        handlers.iter().for_each(|handler| handler.send_exit_event());
        return Ok(());
    }
    match waiter.join() {
        Ok(Ok(()) | Err(DaemonError::HandleRequest(ProtocolError::Disconnected | ProtocolError::PartialMessage))) => {
            Ok(())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("a thread has panicked".to_owned()),
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn new_event() -> std::result::Result<OwnedFd, Errno> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
}

/// The reason why a wait ended.
#[derive(Debug, PartialEq, Eq)]
enum Woken {
    ByEvent,
    ByStopper,
}

/// Waits until `event` is readable or the stopper is used. The stopper takes precedence.
fn wait(event: impl AsFd, stop: &OwnedFd) -> std::result::Result<Woken, Errno> {
    let mut waiting = [PollFd::new(stop, PollFlags::IN), PollFd::new(&event, PollFlags::IN)];
    retry_on_intr(|| poll(&mut waiting, None))?;
    Ok(if waiting[0].revents().is_empty() { Woken::ByEvent } else { Woken::ByStopper })
}
