//! squashfs, made by `sqfstar` of squashfs-tools from the root as a tar.
//!
//! Compression is nearly all of the work, and sqfstar does it on every processor. A tar has neither sockets nor what
//! squashfs itself lacks; [`TarReader::Sqfstar`] leaves out the rest of what it would stop at. The root directory is
//! not in the tar, for sqfstar does not take it from there: [`root`] sets its attributes afterwards.

mod root;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use vmroot_container_fs::ContainerFs;
use vmroot_output::{Hook, Omissions, Progress};

use crate::tar::{TarOptions, TarReader, TarReport, export_tar, tar_omissions};
use crate::{Error, Result};

const PROGRAM: &str = "sqfstar";
const PACKAGE: &str = "squashfs-tools, 4.5 or later";
/// Bytes that the program says of which the last are shown.
const MESSAGE: usize = 4096;

/// How often it is looked whether the program has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// How a root becomes a squashfs.
#[derive(Default, Clone, Copy)]
pub struct SquashfsOptions<'a> {
    /// How everything but inodes is compressed.
    pub compression: SquashfsCompression,
    /// Bytes that are compressed as one: a power of two from 4096 to 1,048,576; 131,072 if nothing is said.
    pub block_size: Option<u32>,
    /// How many processors compress; all, if nothing is said. The bytes are the same.
    pub processors: Option<NonZeroUsize>,
    /// Fail before anything is written if squashfs cannot hold all of the root.
    pub strict: bool,
    /// Hears of progress and may stop the writing.
    pub hook: Option<Hook<'a>>,
}

/// A compression that squashfs has, at the level that squashfs-tools gives it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum SquashfsCompression {
    /// zstd; needs Linux 4.14.
    #[default]
    Zstd,
    /// gzip, which every kernel with squashfs has.
    Gzip,
    /// LZ4: many times as fast to write, and half as large again.
    Lz4,
    /// xz.
    Xz,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SquashfsReport {
    /// Bytes of the image.
    pub bytes: u64,
    /// What is not as in the root: sockets, xattrs of namespaces that squashfs does not have and all of the root
    /// directory, times before 1970, after February 2106, or with parts of seconds.
    pub omissions: Omissions,
}

/// Writes the root as a squashfs to the file at `path`, in place of what it holds.
///
/// The bytes are a function of the root, the options and the version of squashfs-tools.
///
/// # Errors
/// [`Error::Incomplete`] if that is asked for, before anything is written; [`Error::MissingProgram`] where
/// squashfs-tools is not installed, [`Error::Program`] with what sqfstar said, [`Error::Stream`] when the root cannot
/// be read, [`Error::Image`], [`Error::Cancelled`].
pub fn write_squashfs(fs: &ContainerFs, path: &Path, options: &SquashfsOptions<'_>) -> Result<SquashfsReport> {
    if options.strict {
        tar_omissions(fs, TarReader::Sqfstar).check(true, "squashfs")?;
    }
    let report = run(fs, path, options)?;
    let file = File::options().read(true).write(true).open(path).map_err(Error::Image)?;
    let bytes = root::set_attributes(fs, &file)?;
    Ok(SquashfsReport { bytes, omissions: report.omissions })
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

/// Feeds the program, and waits for it.
fn run(fs: &ContainerFs, path: &Path, options: &SquashfsOptions<'_>) -> Result<TarReport> {
    let mut child = command(fs, path, options).spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::MissingProgram { program: PROGRAM, package: PACKAGE },
        _ => Error::Image(error),
    })?;
    let mut errors = child.stderr.take().expect("it is piped");
    // Read while the program is fed: it would wait for a full pipe, and we for it.
    let listener = thread::spawn(move || last_of(&mut errors));
    let fed = feed(fs, &mut child, options);
    if matches!(fed, Err(Error::Cancelled)) {
        // It may be gone already.
        let _ = child.kill();
    }
    let ended = wait(&mut child, options.hook).map_err(Error::Image)?;
    let message = listener.join().unwrap_or_default();
    let ControlFlow::Continue(status) = ended else { return Err(Error::Cancelled) };
    match fed {
        Err(Error::Cancelled) => Err(Error::Cancelled),
        // A pipe that broke is what it looks like from here when the program ends.
        Ok(_) | Err(Error::Stream(_)) if !status.success() => Err(Error::Program { program: PROGRAM, status, message }),
        fed => Ok(fed?),
    }
}

/// Waits for the program, which works on when it has been fed. A hook that breaks ends it.
fn wait(child: &mut Child, hook: Option<Hook<'_>>) -> io::Result<ControlFlow<(), ExitStatus>> {
    let Some(hook) = hook else { return child.wait().map(ControlFlow::Continue) };
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(ControlFlow::Continue(status));
        }
        // There is nothing to say of how far it is, but that all was read.
        if hook(Progress { bytes: 1, total_bytes: 1 }).is_break() {
            child.kill()?;
            child.wait()?;
            return Ok(ControlFlow::Break(()));
        }
        thread::sleep(PAUSE);
    }
}

fn command(fs: &ContainerFs, path: &Path, options: &SquashfsOptions<'_>) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["-comp", options.compression.name()]);
    if let Some(size) = options.block_size {
        command.args(["-b", &size.to_string()]);
    }
    if let Some(processors) = options.processors {
        command.args(["-processors", &processors.to_string()]);
    }
    command.args(["-mkfs-time", &fs.latest_mtime().to_string()]);
    // The root directory's inode is changed afterwards, so inodes are not compressed: they are a part in three hundred.
    command.args(["-noI", "-quiet", "-no-progress", "-exit-on-error", "-force"]);
    // A name that begins with a dash is no option.
    command.arg(Path::new(".").join(path));
    // It would contradict -mkfs-time, and change times.
    command.env_remove("SOURCE_DATE_EPOCH");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    // Ctrl-C at a terminal is for this process, which ends the program and says that it was cancelled.
    command.process_group(0);
    command
}

/// Writes the tar to the program, and ends it.
fn feed(fs: &ContainerFs, child: &mut Child, options: &SquashfsOptions<'_>) -> Result<TarReport> {
    let input = child.stdin.take().expect("it is piped");
    let tar = TarOptions { sparse: false, strict: false, hook: options.hook, reader: TarReader::Sqfstar };
    let (mut writer, report) = export_tar(fs, BufWriter::new(input), &tar)?;
    writer.flush().map_err(Error::Stream)?;
    Ok(report)
}

/// The end of what is said, in one line.
fn last_of(errors: &mut impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; MESSAGE];
    // An error here only means that there is nothing to show.
    while let Ok(count @ 1..) = errors.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        kept.drain(..kept.len().saturating_sub(MESSAGE));
    }
    let text = String::from_utf8_lossy(&kept);
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
