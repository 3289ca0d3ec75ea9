//! Runs other programs. An error has the command line and the program's output.

use std::{
    env,
    ffi::OsStr,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use wait4::Wait4;

/// The maximum number of bytes of a failed program's output in an error.
const OUTPUT_SHOWN: u64 = 4096;

/// The resources that a program used.
pub struct Usage {
    /// The time from start to end.
    pub wall: Duration,
    /// The largest resident set in bytes.
    pub peak_memory: u64,
}

/// Returns the full path of `program`, if it is in `PATH` or in the administrator's directories, which Debian omits
/// from a user's `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// Prints a command, and runs it with its output shown.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", text(command));
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start {}", text(command)))?;
    check_status(command, status, "")
}

/// Runs a program and returns its standard output.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", text(command)))?;
    check_status(command, output.status, &String::from_utf8_lossy(&output.stderr))?;
    String::from_utf8(output.stdout).with_context(|| format!("{} printed bytes that are not text", text(command)))
}

/// Runs a program and measures it. Its output goes to the file `log`, and into the error if it fails.
pub fn measure(command: &mut Command, log: &File) -> Result<Usage> {
    let mut log = log.try_clone()?;
    let before = log.seek(SeekFrom::End(0))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot start {}", text(command)))?;
    let ended = child.wait4()?;
    let wall = start.elapsed();
    if !ended.status.success() {
        let length = log.seek(SeekFrom::End(0))?;
        log.seek(SeekFrom::Start(before.max(length.saturating_sub(OUTPUT_SHOWN))))?;
        let mut output = Vec::new();
        log.read_to_end(&mut output)?;
        check_status(command, ended.status, &String::from_utf8_lossy(&output))?;
    }
    Ok(Usage { wall, peak_memory: ended.rusage.maxrss })
}

fn check_status(command: &Command, status: ExitStatus, output: &str) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    bail!("{} failed: {status}\n{}", text(command), output.trim_end())
}

fn text(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
