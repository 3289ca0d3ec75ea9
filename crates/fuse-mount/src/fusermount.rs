//! Mounting and unmounting through `fusermount3`, which is setuid root and does it for anyone who may write the
//! mountpoint (fusermount3(1)).

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::{Error, MountOptions, Result};

/// The names it goes by, the usual one first.
const PROGRAMS: [&str; 2] = ["fusermount3", "fusermount"];

/// Where the helper finds the socket to send the device to. It is its standard input, which gets there without a
/// descriptor that other children could inherit.
const SOCKET: (&str, &str) = ("_FUSE_COMMFD", "0");

/// Mounts, and gives the open device.
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
        return Err(Error::Helper { path: mountpoint.to_owned(), message: message(&output) });
    }
    receive(&ours).map_err(session)
}

/// Unmounts; lazily, what is busy leaves the tree now and ends when its last user is gone.
pub(crate) fn unmount(mountpoint: &Path, lazily: bool) -> io::Result<()> {
    let flags: &[&str] = if lazily { &["-u", "-z", "--"] } else { &["-u", "--"] };
    let output = run(|program| Command::new(program).args(flags).arg(mountpoint).stdin(Stdio::null()).output())?;
    match output {
        Some(output) if output.status.success() => Ok(()),
        Some(output) => Err(io::Error::other(message(&output))),
        None => Err(io::Error::new(io::ErrorKind::NotFound, "fusermount3 is not installed")),
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
    // The helper splits at commas that no backslash precedes.
    let source = options.source.replace('\\', "\\\\").replace(',', "\\,");
    let mut text = format!("ro,default_permissions,subtype=vmroot,fsname={source}");
    text.push_str(if options.suid_dev { ",suid,dev" } else { ",nosuid,nodev" });
    if options.allow_other {
        text.push_str(",allow_other");
    }
    text
}

/// The descriptor that the helper has sent (`SCM_RIGHTS`, unix(7)).
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
    first.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "fusermount3 has sent no device"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_of_the_source_do_not_end_an_option() {
        let options = MountOptions { source: "a,b\\c".to_owned(), ..MountOptions::default() };
        assert!(option_text(&options).contains("fsname=a\\,b\\\\c,nosuid,nodev"));
    }
}
