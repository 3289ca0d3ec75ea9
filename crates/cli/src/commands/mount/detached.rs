//! A mount that outlives the command: this program, started again in the background.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use super::log::Log;
use crate::exit::Silent;
use crate::signals;

/// Set for the process that serves a detached mount.
const SERVING: &str = "VMROOT_SERVE_DETACHED";
/// What that process writes once the mount answers.
const READY: &str = "mounted";

/// Whether this is the process in the background.
pub(super) fn is_serving() -> bool {
    std::env::var_os(SERVING).is_some()
}

/// Starts this program again in the background, and waits until the mount answers.
pub(super) fn start() -> anyhow::Result<()> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(SERVING, "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context("starting the process that serves the mount")?;
    // It is about to leave the session of the terminal, so what is typed there reaches it through us.
    let pid = Pid::from_child(&child);
    signals::on_signal(move |_| {
        // It may have ended.
        let _ = kill_process(pid, Signal::TERM);
    })?;
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line)?;
    if line.trim_end() == READY {
        return Ok(());
    }
    // It has said what is wrong.
    let status = child.wait()?;
    Err(Silent(status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1)).into())
}

/// Begins a session without a terminal: the end of the caller's must not be the end of the mount.
pub(super) fn leave_session() {
    // Refused only where the process leads a session already, which is as good.
    let _ = rustix::process::setsid();
}

/// Lets go of the caller's directory, which could not be unmounted or would stay on the disk; tells the process that waits;
/// and lets go of its terminal and pipes: a shell that reads them would wait for us.
pub(super) fn say_ready(log: Option<&Log>) -> anyhow::Result<()> {
    std::env::set_current_dir("/")?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{READY}")?;
    stdout.flush()?;
    let null = OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    match log {
        Some(log) => rustix::stdio::dup2_stderr(log.file())?,
        None => rustix::stdio::dup2_stderr(&null)?,
    }
    Ok(())
}
