//! Running other programs: a failure says which command it was and what it printed.

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

/// How much of a failed program's output its error carries, in bytes.
const OUTPUT_SHOWN: u64 = 4096;

/// What a program took.
pub struct Usage {
    /// From start to end.
    pub wall: Duration,
    /// Largest resident set, in bytes.
    pub peak_memory: u64,
}

/// The full path of `program`, if it is in `PATH`; in the administrator's directories too, which Debian leaves out of
/// a user's `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// Says what is about to run, and runs it with its output shown.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", text(command));
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start {}", text(command)))?;
    succeeded(command, status, "")
}

/// Runs a program for what it prints.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", text(command)))?;
    succeeded(command, output.status, &String::from_utf8_lossy(&output.stderr))?;
    String::from_utf8(output.stdout).with_context(|| format!("{} printed bytes that are not text", text(command)))
}

/// Runs a program silently and measures it; its output goes to the file `log`, and into the error if it fails.
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
        let mut said = Vec::new();
        log.read_to_end(&mut said)?;
        succeeded(command, ended.status, &String::from_utf8_lossy(&said))?;
    }
    Ok(Usage { wall, peak_memory: ended.rusage.maxrss })
}

fn succeeded(command: &Command, status: ExitStatus, said: &str) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    bail!("{} failed: {status}\n{}", text(command), said.trim_end())
}

fn text(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
