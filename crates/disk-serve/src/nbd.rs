//! The server of the network block device protocol.
//!
//! The protocol is that of `doc/proto.md` of NetworkBlockDevice/nbd: the fixed newstyle handshake, simple and structured
//! replies, and the metadata context `base:allocation`. There is one export, which is read-only.

mod connection;
mod handshake;
mod options;
mod protocol;
mod transmission;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::io::Errno;
use vmroot_virtiofs::{LockWait, Socket};

use crate::stop::{RETRY_PAUSE, Stopper, Woken};
use crate::{Device, Error, Result};
use connection::{Connection, Ended};

pub use protocol::{EXPORT_NAME, MAX_LENGTH as MAX_NBD_LENGTH};

/// The most clients at once. Further ones are disconnected.
pub const MAX_NBD_CLIENTS: usize = 256;

/// The number of clients that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A disk that is offered to NBD clients at a socket.
#[derive(Debug)]
pub struct NbdServer {
    device: Arc<Device>,
    socket: Socket,
    stopper: Stopper,
}

/// The connected clients, by the numbers of their connections.
type Clients = Mutex<HashMap<u64, Arc<UnixStream>>>;

impl NbdServer {
    /// Creates the socket. When this returns, clients may connect.
    ///
    /// Replaces a socket without a listener. Only the owner of the process may connect.
    ///
    /// # Errors
    /// [`Error::Socket`] if the socket cannot be created.
    pub fn bind(device: Arc<Device>, socket: &Path, wait: &LockWait<'_>) -> Result<Self> {
        let failed = |errno: Errno| Error::Serve { path: socket.to_owned(), source: errno.into() };
        let stopper = Stopper::new().map_err(failed)?;
        Ok(Self { device, socket: Socket::bind_with_backlog(socket, BACKLOG, wait)?, stopper })
    }

    /// Returns the path of the socket.
    pub fn socket(&self) -> &Path {
        self.socket.path()
    }

    /// Returns a handle that ends [`Self::serve`] from another thread.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves clients, each on a thread of its own, until a [`Stopper`] ends it. The socket is removed at the end.
    ///
    /// # Errors
    /// [`Error::Serve`] if connections cannot be waited for.
    pub fn serve(self) -> Result<()> {
        let failed = |source| Error::Serve { path: PathBuf::from(self.socket.path()), source };
        let clients = Clients::default();
        thread::scope(|scope| {
            let result = loop {
                match self.stopper.wait(self.socket.listener()) {
                    Ok(Woken::ByStopper) => break Ok(()),
                    Err(error) => break Err(failed(error.into())),
                    Ok(Woken::ByClient) => {}
                }
                // A client can be gone already, and descriptors can be short for a while.
                let Ok((stream, _)) = self.socket.listener().accept() else {
                    thread::sleep(RETRY_PAUSE);
                    continue;
                };
                if let Some((number, stream)) = admit(&clients, stream) {
                    let (device, clients) = (&*self.device, &clients);
                    let serve = move || {
                        serve_nbd(device, &*stream, &*stream);
                        lock(clients).remove(&number);
                    };
                    if thread::Builder::new().name("nbd-client".to_owned()).spawn_scoped(scope, serve).is_err() {
                        lock(clients).remove(&number);
                    }
                }
            };
            // Ends the threads of the clients, which this scope waits for.
            lock(&clients).values().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
            result
        })
    }
}

/// Serves one NBD client over any connection, until it disconnects or violates the protocol.
pub fn serve_nbd(device: &Device, input: impl Read, output: impl Write) {
    if let Err(Ended::Violation(what)) = Connection::new(device, input, output).serve() {
        tracing::debug!("an NBD client is disconnected: {what}");
    }
}

/// Registers a client, if there is room for it.
fn admit(clients: &Clients, stream: UnixStream) -> Option<(u64, Arc<UnixStream>)> {
    let mut clients = lock(clients);
    if clients.len() >= MAX_NBD_CLIENTS {
        tracing::warn!("an NBD client is disconnected: {MAX_NBD_CLIENTS} are connected already");
        return None;
    }
    let number = (0..).find(|number| !clients.contains_key(number))?;
    let stream = Arc::new(stream);
    clients.insert(number, Arc::clone(&stream));
    Some((number, stream))
}

fn lock(clients: &Clients) -> MutexGuard<'_, HashMap<u64, Arc<UnixStream>>> {
    clients.lock().unwrap_or_else(PoisonError::into_inner)
}
