//! Mounts and unmounts with `fusermount3`, a setuid root helper that serves every user who may write the mountpoint
//! (fusermount3(1)).

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::{Error, MountOptions, Refusal, Result};

/// The names of the helper, the usual one first.
const PROGRAMS: [&str; 2] = ["fusermount3", "fusermount"];

/// The environment variable with the number of the socket on which the helper sends the device. It is 0, standard
/// input, which the helper inherits without a descriptor that other children could inherit too.
const SOCKET: (&str, &str) = ("_FUSE_COMMFD", "0");

/// Mounts on a directory. Returns the open device.
pub(crate) fn mount(mountpoint: &Path, options: &MountOptions) -> Result<OwnedFd> {
    let session = |source| Error::Session { path: mountpoint.to_owned(), source };
    let (ours, theirs) = UnixStream::pair().map_err(session)?;
    let theirs = OwnedFd::from(theirs);
    let arguments = ["-o", &option_text(options), "--"];
    let output = run(|program| {
        let mut command = Command::new(program);
        command.args(arguments).arg(mountpoint).env(SOCKET.0, SOCKET.1);
        command.stdin(theirs.try_clone()?).output()
    });
    let output = output.map_err(session)?.ok_or(Error::NoHelper)?;
    drop(theirs);
    if !output.status.success() {
        let message = message(&output);
        return Err(Error::Helper { path: mountpoint.to_owned(), refusal: Refusal::of(&message), message });
    }
    receive(&ours).map_err(session)
}

/// Unmounts a FUSE mount of the calling user with `fusermount3`, for a process that may not call umount(2).
///
/// With `lazily`, a mount in use leaves the tree at once and ends with its last user.
///
/// # Errors
/// - [`Error::InUse`]: files or working directories of the mount are in use.
/// - [`Error::NoHelper`]: `fusermount3` is not installed.
/// - [`Error::Unmount`]: `fusermount3` cannot be started or refuses: another user may have mounted it.
pub fn unmount_as_user(mountpoint: &Path, lazily: bool) -> Result<()> {
    let flags: &[&str] = if lazily { &["-u", "-z", "--"] } else { &["-u", "--"] };
    let failed = |source| Error::Unmount { path: mountpoint.to_owned(), source };
    let output = run(|program| Command::new(program).args(flags).arg(mountpoint).stdin(Stdio::null()).output());
    let output = output.map_err(failed)?.ok_or(Error::NoHelper)?;
    match Refusal::of(&message(&output)) {
        _ if output.status.success() => Ok(()),
        Refusal::Busy => Err(Error::InUse { path: mountpoint.to_owned() }),
        refusal => Err(failed(io::Error::other(refusal.to_string()))),
    }
}

fn run(start: impl Fn(&str) -> io::Result<Output>) -> io::Result<Option<Output>> {
    for program in PROGRAMS {
        match start(program) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result.map(Some),
        }
    }
    Ok(None)
}

fn message(output: &Output) -> String {
    match String::from_utf8_lossy(&output.stderr).trim() {
        "" => format!("fusermount3 failed, {}", output.status),
        text => text.to_owned(),
    }
}

fn option_text(options: &MountOptions) -> String {
    // The helper splits at commas without a backslash before them.
    let source = options.source.replace('\\', "\\\\").replace(',', "\\,");
    let mut text = format!("ro,default_permissions,subtype=vmroot,fsname={source}");
    text.push_str(if options.suid_dev { ",suid,dev" } else { ",nosuid,nodev" });
    if options.allow_other {
        text.push_str(",allow_other");
    }
    text
}

/// Receives the descriptor that the helper sent (`SCM_RIGHTS`, unix(7)).
fn receive(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let first = descriptors.next().and_then(|mut descriptors| descriptors.next());
    first.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "fusermount3 did not send a device"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_the_source_are_escaped() {
        let options = MountOptions { source: "a,b\\c".to_owned(), ..MountOptions::default() };
        assert!(option_text(&options).contains("fsname=a\\,b\\\\c,nosuid,nodev"));
    }
}
