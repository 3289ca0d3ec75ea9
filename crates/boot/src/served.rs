//! The servers of roots, which run as long as the guest.

use std::thread;

use vmroot_disk_serve::VhostUserServer;
use vmroot_errors::with_causes;
use vmroot_fuse_mount::Mount;
use vmroot_virtiofs::VirtioFs;

use crate::{Error, Result};

/// A root that this process serves to a guest.
#[derive(Debug)]
pub(crate) enum Served {
    /// A virtio-fs share.
    Share(VirtioFs),
    /// A disk over vhost-user.
    Disk(VhostUserServer),
    /// A disk as a file.
    File(Mount),
}

impl Served {
    /// Serves the root while `run` runs a guest, and ends then.
    pub(crate) fn during<T: Send>(self, run: impl FnOnce() -> Result<T>) -> Result<T> {
        match self {
            Self::Share(share) => {
                let stopper = share.stopper();
                serve_during(move || Ok(share.serve()?), move || stopper.stop(), run)
            }
            Self::Disk(disk) => {
                let stopper = disk.stopper();
                serve_during(move || Ok(disk.serve()?), move || stopper.stop(), run)
            }
            // Its threads run already. Dropping it unmounts the file, so that the directory can be removed.
            Self::File(mount) => {
                let ended = run();
                drop(mount);
                ended
            }
        }
    }
}

fn serve_during<T: Send>(
    serve: impl FnOnce() -> Result<()> + Send,
    stop: impl FnOnce(),
    run: impl FnOnce() -> Result<T>,
) -> Result<T> {
    thread::scope(|scope| {
        let server = scope.spawn(serve);
        let ended = run();
        // A VMM that never connected causes no disconnect that would end the server.
        stop();
        match server.join() {
            Ok(Err(error)) if ended.is_err() => warn(&error),
            Ok(_) => {}
            Err(panic) => std::panic::resume_unwind(panic),
        }
        ended
    })
}

fn warn(error: &Error) {
    tracing::warn!("{}", with_causes(error));
}
