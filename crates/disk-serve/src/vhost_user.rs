//! The vhost-user server: sessions with VMMs.

mod block;
mod configuration;
mod request;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use vhost::vhost_user::Listener;
use vhost_user_backend::{VhostUserDaemon, VringEpollHandler};
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};
use vmroot_virtiofs::{LockWait, Socket};

use crate::stop::{RETRY_PAUSE, Stopper, Woken};
use crate::{Device, Error, Result};
use block::BlockDevice;

/// The most queues of a disk.
pub const MAX_QUEUES: usize = 64;
/// The most VMMs at once. Further ones are disconnected.
pub const MAX_VMMS: usize = 256;

/// The number of VMMs that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Options of a [`VhostUserServer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VhostUserOptions {
    /// Number of queues that the disk offers to each VMM, 1 to 64, each with its own thread. A VMM may use fewer.
    pub queues: usize,
}

impl Default for VhostUserOptions {
    /// Returns the default options: one queue for each core, at most 4.
    fn default() -> Self {
        Self { queues: thread::available_parallelism().map_or(1, |cores| cores.get().min(4)) }
    }
}

/// A disk that is offered to VMMs at a socket.
#[derive(Debug)]
pub struct VhostUserServer {
    device: Arc<Device>,
    socket: Socket,
    options: VhostUserOptions,
    stopper: Stopper,
}

type Daemon = VhostUserDaemon<Arc<BlockDevice>>;

/// The threads of the queues of each connected VMM. They hold its memory, so a session removes its own at its end.
type Sessions = Arc<Mutex<HashMap<u64, Vec<Arc<VringEpollHandler<Arc<BlockDevice>>>>>>>;

impl VhostUserServer {
    /// Creates the socket. When this returns, VMMs may connect.
    ///
    /// Replaces a socket without a listener. Only the owner of the process may connect.
    ///
    /// # Errors
    /// - [`Error::Queues`]: the number of queues is not 1 to 64.
    /// - [`Error::Socket`]: the socket cannot be created.
    pub fn bind(device: Arc<Device>, socket: &Path, options: &VhostUserOptions, wait: &LockWait<'_>) -> Result<Self> {
        if !(1..=MAX_QUEUES).contains(&options.queues) {
            return Err(Error::Queues(options.queues));
        }
        let stopper = Stopper::new().map_err(|errno| failed(socket, errno))?;
        let socket = Socket::bind_with_backlog(socket, BACKLOG, wait)?;
        Ok(Self { device, socket, options: options.clone(), stopper })
    }

    /// Returns the path of the socket.
    pub fn socket(&self) -> &Path {
        self.socket.path()
    }

    /// Returns a handle that ends [`Self::serve`] from another thread.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves VMMs until a [`Stopper`] ends it. After that, no guest gets a reply, and the socket is removed.
    ///
    /// A VMM that loses its connection may connect again. The requests of a queue are answered in their order, so it
    /// continues after the last reply.
    ///
    /// # Errors
    /// [`Error::Serve`] if connections cannot be waited for.
    pub fn serve(self) -> Result<()> {
        let sessions = Sessions::default();
        for number in 0.. {
            match self.stopper.wait(self.socket.listener()).map_err(|errno| failed(self.socket(), errno))? {
                Woken::ByStopper => break,
                Woken::ByClient => {}
            }
            let is_full = lock(&sessions).len() >= MAX_VMMS;
            let started = match is_full {
                true => Err(format!("{MAX_VMMS} are connected already")),
                false => self.start_session(number, &sessions),
            };
            if let Err(reason) = started {
                tracing::warn!("a VMM is disconnected: {reason}");
                // Otherwise its connection would wake this thread again at once.
                if self.socket.listener().accept().is_err() {
                    thread::sleep(RETRY_PAUSE);
                }
            }
        }
        // The threads that listen to VMMs cannot be woken. They end with the VMM or with the process.
        lock(&sessions).values().flatten().for_each(|queue| queue.send_exit_event());
        Ok(())
    }

    /// Accepts the connection that waits.
    fn start_session(&self, number: u64, sessions: &Sessions) -> std::result::Result<(), String> {
        let listener = self.socket.listener().try_clone().map_err(text)?;
        let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
        let block = BlockDevice::new(Arc::clone(&self.device), self.options.queues, memory.clone());
        let mut daemon = Daemon::new("disk".to_owned(), Arc::new(block), memory).map_err(text)?;
        daemon.start(&mut Listener::from(listener)).map_err(text)?;
        lock(sessions).insert(number, daemon.get_epoll_handlers());
        let own = Arc::clone(sessions);
        let serve = move || {
            if let Err(error) = daemon.wait() {
                tracing::debug!("a VMM has disconnected: {error}");
            }
            lock(&own).remove(&number);
            // The threads of the queues end when the daemon is dropped.
        };
        let spawned = thread::Builder::new().name("disk-session".to_owned()).spawn(serve);
        if let Err(error) = spawned {
            lock(sessions).remove(&number);
            // The connection was accepted, so there is none left to be rejected.
            tracing::warn!("a VMM is disconnected: {error}");
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(path: &Path, errno: rustix::io::Errno) -> Error {
    Error::Serve { path: PathBuf::from(path), source: errno.into() }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
