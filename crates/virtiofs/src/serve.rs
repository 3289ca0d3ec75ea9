//! A device at a socket, from its start to the end of its VMM.

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

/// A root that waits for a VMM at a socket.
#[derive(Debug)]
pub struct VirtioFs {
    root: Arc<ContainerFs>,
    socket: Socket,
    options: VirtioFsOptions,
    stop: Arc<OwnedFd>,
}

/// Ends [`VirtioFs::serve`] from any thread, such as one that waits for signals.
#[derive(Debug, Clone)]
pub struct Stopper {
    stop: Arc<OwnedFd>,
}

impl Stopper {
    /// Ends it now, or as soon as it begins. A guest that is served gets no more answers.
    pub fn stop(&self) {
        // A counter that is full has said it already.
        let _ = write(&*self.stop, &1u64.to_ne_bytes());
    }
}

impl VirtioFs {
    /// Makes the socket. When this returns, a VMM may connect.
    ///
    /// # Errors
    /// [`Error::Queues`], [`Error::PathTooLong`], [`Error::NotASocket`], [`Error::InUse`] and [`Error::Socket`].
    pub fn bind(root: Arc<ContainerFs>, socket: &Path, options: &VirtioFsOptions) -> Result<Self> {
        Self::bind_within(root, socket, options, &LockWait::default())
    }

    /// The same, with a wait for the lock of the socket's directory that another process may hold.
    ///
    /// # Errors
    /// As [`Self::bind`], [`Error::Locked`] and [`Error::Cancelled`].
    pub fn bind_within(
        root: Arc<ContainerFs>,
        socket: &Path,
        options: &VirtioFsOptions,
        wait: &LockWait<'_>,
    ) -> Result<Self> {
        if !(1..=MAX_QUEUES).contains(&options.queues) {
            return Err(Error::Queues(options.queues));
        }
        let failed = |error: Errno| Error::Socket { path: socket.to_owned(), source: error.into() };
        let stop = Arc::new(event().map_err(failed)?);
        Ok(Self { root, socket: Socket::bind(socket, wait)?, options: options.clone(), stop })
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        self.socket.path()
    }

    /// A handle that ends [`Self::serve`] from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { stop: Arc::clone(&self.stop) }
    }

    /// Serves one VMM, until it disconnects or a [`Stopper`] ends it. The socket goes as soon as the VMM is connected: a
    /// second VMM could only wait there.
    ///
    /// # Errors
    /// [`Error::Device`] when the device cannot be started, or the VMM breaks the protocol.
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

/// Waits for the end of a daemon, and gives what went wrong.
fn run(mut daemon: Daemon, stop: &OwnedFd) -> std::result::Result<(), String> {
    let handlers = daemon.get_epoll_handlers();
    let (ended, end) = event().and_then(|end| Ok((end.try_clone().map_err(|_| Errno::MFILE)?, end))).map_err(text)?;
    let waiter: JoinHandle<std::result::Result<(), DaemonError>> = thread::Builder::new()
        .name("virtiofs-wait".to_owned())
        .spawn(move || {
            let result = daemon.wait();
            // Its threads end with it.
            drop(daemon);
            let _ = write(&end, &1u64.to_ne_bytes());
            result
        })
        .map_err(text)?;
    if wait(&ended, stop).map_err(text)? == Woken::ByStopper {
        // The thread that listens to the VMM cannot be woken, and ends with the VMM or with the process.
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

fn event() -> std::result::Result<OwnedFd, Errno> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
}

/// Why a wait is over.
#[derive(Debug, PartialEq, Eq)]
enum Woken {
    ByEvent,
    ByStopper,
}

/// Waits until something can be read, or the stopper speaks, who goes first.
fn wait(event: impl AsFd, stop: &OwnedFd) -> std::result::Result<Woken, Errno> {
    let mut waiting = [PollFd::new(stop, PollFlags::IN), PollFd::new(&event, PollFlags::IN)];
    retry_on_intr(|| poll(&mut waiting, None))?;
    Ok(if waiting[0].revents().is_empty() { Woken::ByEvent } else { Woken::ByStopper })
}
