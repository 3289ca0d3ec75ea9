//! A mount that outlives the command: this program, started again in the background.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::exit::Silent;

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
    // A process group of its own: Ctrl-C at the terminal is for whoever is in the foreground.
    let mut child = command.process_group(0).spawn().context("starting the process that serves the mount")?;
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

/// Tells the process that waits, and lets go of its terminal and pipes: a shell that reads them would wait for us.
pub(super) fn say_ready() -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{READY}")?;
    stdout.flush()?;
    let null = OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    // Refused only where the process leads a session already, which is as good.
    let _ = rustix::process::setsid();
    Ok(())
}
