//! Writing squashfs with `sqfstar` of squashfs-tools, which reads the root as a tar.
//!
//! Nearly all of the work is compression, which sqfstar does on every processor. [`TarReader::Sqfstar`] leaves out the
//! entries and xattrs that would make sqfstar fail. The root directory is not in the tar, because sqfstar ignores its
//! attributes: [`root`] sets them afterwards.

mod root;

use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use vmroot_container_fs::ContainerFs;
use vmroot_output::{Hook, Omissions, OutputFile, Report, WriteProgress};

use crate::root::total_bytes;
use crate::tar::{TarOptions, TarReader, tar_omissions, write_tar};
use crate::{Error, Result};

const PROGRAM: &str = "sqfstar";
const PACKAGE: &str = "squashfs-tools, 4.5 or later";
/// The most bytes of the program's messages that are kept: the last ones.
const MAX_MESSAGE: usize = 4096;

/// The interval at which the program is polled for its end.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Options of [`export_squashfs`] and [`write_squashfs`].
#[derive(Debug, Default, Clone, Copy)]
pub struct SquashfsOptions<'a> {
    /// The compression of everything but inodes.
    pub compression: SquashfsCompression,
    /// The size of a compressed block in bytes: a power of two from 4096 to 1,048,576. `None` is 131,072.
    pub block_size: Option<u32>,
    /// The number of threads that compress. `None` is one for each core. The bytes do not depend on it.
    pub threads: Option<NonZeroUsize>,
    /// Fail before anything is written if squashfs cannot hold the whole root.
    pub strict: bool,
    /// Receives progress. `Break` cancels the export.
    pub hook: Option<Hook<'a>>,
}

/// A compression of squashfs, at the default level of squashfs-tools.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SquashfsCompression {
    /// zstd. Needs Linux 4.14.
    #[default]
    Zstd,
    /// gzip. Supported by every kernel with squashfs.
    Gzip,
    /// LZ4. Many times as fast to write, and about 50 % larger.
    Lz4,
    /// xz.
    Xz,
}

/// Writes the root as a squashfs to the file at `path`, which appears under its name only when it is complete.
///
/// # Errors
/// - [`Error::Io`]: the file cannot be created, written, synced or renamed.
/// - [`Error::Output`]: sqfstar failed, or wrote an image with a different structure.
/// - The other errors of [`write_squashfs`].
pub fn export_squashfs(fs: &ContainerFs, path: &Path, options: &SquashfsOptions<'_>) -> Result<Report> {
    let file = OutputFile::create_named(path)?;
    let report = write_squashfs(fs, file.path(), options).map_err(Error::at(path))?;
    file.commit()?;
    Ok(report)
}

/// Writes the root as a squashfs over the file at `path`.
///
/// The bytes depend only on the root, the options and the version of squashfs-tools.
///
/// The report lists the parts of the root that the image lacks: sockets, xattrs of namespaces that squashfs does not
/// support, all xattrs of the root directory, times outside 1970 to February 2106, and fractions of seconds.
///
/// # Errors
/// - [`Error::Incomplete`]: squashfs cannot hold the whole root, and `strict` is set. Nothing was written.
/// - [`Error::MissingProgram`]: squashfs-tools is not installed.
/// - [`Error::Program`]: sqfstar failed. The error has its messages.
/// - [`Error::Unexpected`]: sqfstar wrote an image with a different structure.
/// - [`Error::Root`]: the root cannot be read.
/// - [`Error::Io`]: sqfstar cannot be started.
/// - [`Error::Stream`]: the pipe to sqfstar failed.
/// - [`Error::Image`]: the image cannot be read or written.
/// - [`Error::Cancelled`]: the hook returned `Break`.
pub fn write_squashfs(fs: &ContainerFs, path: &Path, options: &SquashfsOptions<'_>) -> Result<Report> {
    if options.strict {
        tar_omissions(fs, TarReader::Sqfstar).require_complete("squashfs")?;
    }
    let omissions = run(fs, path, options)?;
    let file = File::options().read(true).write(true).open(path).map_err(Error::Image)?;
    let bytes = root::set_attributes(fs, &file)?;
    Ok(Report::new(bytes, omissions))
}

impl SquashfsCompression {
    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Xz => "xz",
        }
    }
}

/// Runs the program, writes the tar to it, and waits for its end. Returns the omissions of the tar.
fn run(fs: &ContainerFs, path: &Path, options: &SquashfsOptions<'_>) -> Result<Omissions> {
    let mut child = command(fs, path, options).spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::MissingProgram { program: PROGRAM, package: PACKAGE },
        _ => vmroot_output::Error::on("start", PROGRAM)(error).into(),
    })?;
    let mut errors = child.stderr.take().expect("it was configured as a pipe");
    // Read in another thread: with a full pipe the program would block, and so would this process.
    let reader = thread::spawn(move || read_tail(&mut errors));
    let fed = feed(fs, &mut child, options);
    if matches!(fed, Err(Error::Cancelled)) {
        // An error is ignored: the program may have ended already.
        let _ = child.kill();
    }
    let total = total_bytes(fs);
    let done = WriteProgress { bytes: total, total_bytes: total };
    let ended = wait(&mut child, options.hook, done).map_err(vmroot_output::Error::on("wait for", PROGRAM))?;
    let message = reader.join().unwrap_or_default();
    let ControlFlow::Continue(status) = ended else { return Err(Error::Cancelled) };
    match fed {
        Err(Error::Cancelled) => Err(Error::Cancelled),
        // When the program fails early, the write to it fails with a broken pipe. Its own error is the cause.
        Ok(_) | Err(Error::Stream(_)) if !status.success() => Err(failure(status, message)),
        fed => Ok(fed?.omissions),
    }
}

/// Returns the error for a failed run with these messages.
fn failure(status: ExitStatus, message: String) -> Error {
    let cause = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG, Errno::IO, Errno::ROFS, Errno::NOENT, Errno::ACCESS]
        .map(io::Error::from)
        .into_iter()
        // The program prints the text of strerror(3).
        .find(|error| error.to_string().split(" (os error").next().is_some_and(|text| message.contains(text)));
    match cause {
        Some(cause) => Error::Image(cause),
        None => Error::Program { program: PROGRAM, status, message },
    }
}

/// Waits until the program has finished its work after the end of its input. Kills it if the hook returns `Break`.
fn wait(child: &mut Child, hook: Option<Hook<'_>>, done: WriteProgress) -> io::Result<ControlFlow<(), ExitStatus>> {
    let Some(hook) = hook else { return child.wait().map(ControlFlow::Continue) };
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(ControlFlow::Continue(status));
        }
        // The progress of the program is unknown, except that it has read everything.
        if hook.call(done).is_break() {
            child.kill()?;
            child.wait()?;
            return Ok(ControlFlow::Break(()));
        }
        thread::sleep(POLL_INTERVAL);
    }
}

fn command(fs: &ContainerFs, path: &Path, options: &SquashfsOptions<'_>) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["-comp", options.compression.name()]);
    if let Some(size) = options.block_size {
        command.args(["-b", &size.to_string()]);
    }
    if let Some(threads) = options.threads {
        command.args(["-processors", &threads.to_string()]);
    }
    command.args(["-mkfs-time", &fs.latest_mtime().to_string()]);
    // Inodes are not compressed, because the root directory's inode is changed afterwards. This adds about 0.3 %.
    command.args(["-noI", "-quiet", "-no-progress", "-exit-on-error", "-force"]);
    // The prefix `./` keeps a path that begins with a dash from being an option.
    command.arg(Path::new(".").join(path));
    // This variable conflicts with -mkfs-time and changes times.
    command.env_remove("SOURCE_DATE_EPOCH");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    // Ctrl-C at a terminal must reach only this process, which kills the program and reports the cancellation.
    command.process_group(0);
    command
}

/// Writes the tar to the program and closes the pipe.
fn feed(fs: &ContainerFs, child: &mut Child, options: &SquashfsOptions<'_>) -> Result<Report> {
    let input = child.stdin.take().expect("it was configured as a pipe");
    let tar = TarOptions { hook: options.hook, reader: TarReader::Sqfstar, ..TarOptions::default() };
    write_tar(fs, &mut BufWriter::new(input), &tar)
}

/// Returns the last [`MAX_MESSAGE`] bytes of the output as one line.
fn read_tail(errors: &mut impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; MAX_MESSAGE];
    // After an error there are only fewer messages to show.
    while let Ok(count @ 1..) = errors.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        kept.drain(..kept.len().saturating_sub(MAX_MESSAGE));
    }
    let text = String::from_utf8_lossy(&kept);
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
