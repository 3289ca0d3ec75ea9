//! Runs other programs. An error has the command line and the program's output.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use wait4::Wait4;
use xtask_start::process;

pub use xtask_start::process::find;

/// The maximum number of bytes of a failed program's output in an error.
const OUTPUT_SHOWN: u64 = 4096;

/// The resources that a program used.
pub struct Usage {
    /// The time from start to end.
    pub wall: Duration,
    /// The largest resident set in bytes.
    pub peak_memory: u64,
}

/// Prints a command, and runs it with its output shown.
pub fn run(command: &mut Command) -> Result<()> {
    Ok(process::run(command)?)
}

/// Runs a program and returns its standard output.
pub fn capture(command: &mut Command) -> Result<String> {
    Ok(process::capture(command)?)
}

/// Runs a program and measures it. Its output goes to the file `log`, and into the error if it fails.
pub fn measure(command: &mut Command, log: &File) -> Result<Usage> {
    let mut log = log.try_clone()?;
    let before = log.seek(SeekFrom::End(0))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot start {}", process::text(command)))?;
    let ended = child.wait4()?;
    let wall = start.elapsed();
    if !ended.status.success() {
        let length = log.seek(SeekFrom::End(0))?;
        log.seek(SeekFrom::Start(before.max(length.saturating_sub(OUTPUT_SHOWN))))?;
        let mut output = Vec::new();
        log.read_to_end(&mut output)?;
        process::check_status(command, ended.status, &String::from_utf8_lossy(&output))?;
    }
    Ok(Usage { wall, peak_memory: ended.rusage.maxrss })
}
