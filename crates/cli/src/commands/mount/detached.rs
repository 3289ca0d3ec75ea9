//! Mounts that outlive the command: the program starts itself again in the background.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use super::log::Log;
use crate::exit::AlreadyReported;
use crate::signals;

/// The environment variable that marks the process in the background.
const SERVING: &str = "VMROOT_SERVE_DETACHED";
/// The line that the process in the background writes once the mount is ready.
const READY: &str = "mounted";

/// Returns whether this is the process in the background.
pub(super) fn is_background_process() -> bool {
    std::env::var_os(SERVING).is_some_and(|value| !value.is_empty())
}

/// Starts this program again in the background, and waits until the mount is ready.
pub(super) fn start() -> anyhow::Result<()> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(SERVING, "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context("starting the process that serves the mount")?;
    // The child leaves the terminal's session, so signals of the terminal are forwarded to it.
    let pid = Pid::from_child(&child);
    signals::on_signal(move |_| {
        // The error is ignored: the child may have ended.
        let _ = kill_process(pid, Signal::TERM);
    })?;
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line)?;
    if line.trim_end() == READY {
        return Ok(());
    }
    // The child has printed its error.
    let status = child.wait()?;
    Err(AlreadyReported(status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1))
        .into())
}

/// Starts a session without a terminal, so that the mount survives the end of the caller's session.
pub(super) fn start_session() {
    // The error is ignored: it means that the process leads a session already.
    let _ = rustix::process::setsid();
}

/// Reports to the waiting parent that the mount is ready, and releases the resources of the caller.
///
/// The working directory is left, as it would keep its file system busy. Standard output and standard error are
/// replaced, as a shell that reads them would wait for this process. The report comes last: once the parent ends, its
/// caller may rely on all this.
pub(super) fn report_ready(log: Option<&Log>) -> anyhow::Result<()> {
    std::env::set_current_dir("/")?;
    let mut parent = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let null = OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    match log {
        Some(log) => rustix::stdio::dup2_stderr(log.file())?,
        None => rustix::stdio::dup2_stderr(&null)?,
    }
    Ok(writeln!(parent, "{READY}")?)
}
