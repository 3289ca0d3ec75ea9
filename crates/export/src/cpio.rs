//! Exporting a root as a cpio in the `newc` format, which the kernel unpacks as an initramfs.
//!
//! [`header`] writes the header of an entry. [`CpioWriter`] writes small archives that do not come from a root.
//!
//! The format follows the kernel's unpacker, `init/initramfs.c`. Directories come before their entries, because it does
//! not create missing ones. Of several names of an inode the last one has the bytes, as in GNU cpio, which the kernel
//! and cpio read alike. A symbolic link is never a hard link. A path has at most 4095 bytes and is not `TRAILER!!!`.

mod header;
mod writer;

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use vmroot_compress::EncoderOptions;
use vmroot_container_fs::{ContainerFs, InodeId, InodeKind, Stat, WalkEntry};
use vmroot_output::{
    Counter, Hook, LastHoles, Meter, OmissionReason, Omissions, Omitted, OutputFile, Report, display_path,
};

use crate::root::total_bytes;
use crate::stream::{Stream, copy_with_holes};
use crate::{Result, write_stream};
use header::Header;
use writer::size_of_file;

pub use writer::CpioWriter;

/// Options of [`export_cpio`] and [`write_cpio`].
#[derive(Debug, Default, Clone, Copy)]
pub struct CpioOptions<'a> {
    /// The compression of the cpio. `None` is none.
    ///
    /// The output is a single gzip member or zstd frame, because the kernel does not unpack an archive in several. A
    /// zstd frame needs the kernel memory of its window: up to 8 MiB for levels up to 19, and 128 MiB for level 22.
    pub compression: Option<EncoderOptions>,
    /// Fail before anything is written if a cpio cannot hold the whole root.
    pub strict: bool,
    /// Receives progress. `Break` cancels the export.
    pub hook: Option<Hook<'a>>,
}

/// Writes the root as a cpio to the file at `path`, which appears under its name only when it is complete.
///
/// # Errors
/// - [`Error::Io`](crate::Error::Io): the file cannot be created, written, synced or renamed.
/// - The errors of [`write_cpio`].
pub fn export_cpio(fs: &ContainerFs, path: &Path, options: &CpioOptions<'_>) -> Result<Report> {
    OutputFile::create(path)?.write_with(|writer| write_cpio(fs, writer, options))
}

/// Writes the root as a cpio, and flushes the writer.
///
/// The first entry is the root directory, `.`. Directories come before their entries, and siblings are in byte order.
/// Holes are written as zeros, because the format has no holes. The bytes depend only on the root and the compression.
///
/// The report lists the parts of the root that the cpio lacks: all xattrs, including file capabilities and access
/// control lists, times outside 1970 to February 2106, and fractions of seconds.
///
/// # Errors
/// - [`Error::Incomplete`](crate::Error::Incomplete): a cpio cannot hold the whole root, and `strict` is set. Nothing
///   was written.
/// - [`Error::BeyondCpio`](crate::Error::BeyondCpio): a file has 4 GiB or more, in which case nothing was written, or a
///   path has more than 4095 bytes.
/// - [`Error::Stream`](crate::Error::Stream): the writer failed.
/// - [`Error::Compression`](crate::Error::Compression): the compression is not supported for writing, or it does not
///   have this level.
/// - [`Error::Root`](crate::Error::Root): the contents cannot be read.
/// - [`Error::Cancelled`](crate::Error::Cancelled): the hook returned `Break`.
pub fn write_cpio(fs: &ContainerFs, writer: &mut dyn Write, options: &CpioOptions<'_>) -> Result<Report> {
    check_sizes(fs)?;
    if options.strict {
        omissions_of(fs).require_complete("a cpio")?;
    }
    write_stream(writer, options.compression.as_ref(), |writer| {
        let meter = Meter::new(options.hook, total_bytes(fs));
        let mut export = Export {
            fs,
            counter: Counter::new(&meter),
            output: Stream::new(writer),
            holes: LastHoles::default(),
            names: HashMap::new(),
            omissions: Omissions::default(),
        };
        for entry in fs.walk() {
            export.add_entry(&entry)?;
        }
        export.counter.report()?;
        header::finish(export.output)?;
        Ok(export.omissions)
    })
}

/// Rejects files that are too large, before anything is written.
fn check_sizes(fs: &ContainerFs) -> Result<()> {
    let size = |ino| fs.extent(ino).map_or(0, |extent| extent.length);
    // Inodes are checked first, because the walk for the path is nearly never needed.
    if fs.inodes().all(|ino| u32::try_from(size(ino)).is_ok()) {
        return Ok(());
    }
    fs.walk().try_for_each(|entry| size_of_file(&entry.path, size(entry.ino)).map(drop))
}

struct Export<'a> {
    fs: &'a ContainerFs,
    counter: Counter<'a>,
    output: Stream<'a>,
    holes: LastHoles<'a>,
    /// The number of names written so far, for inodes with several names.
    names: HashMap<InodeId, u32>,
    omissions: Omissions,
}

impl Export<'_> {
    fn add_entry(&mut self, entry: &WalkEntry) -> Result<()> {
        let stat = self.fs.stat(entry.ino);
        let target = match stat.kind {
            InodeKind::Symlink => self.fs.readlink(entry.ino)?,
            _ => b"",
        };
        let extent = match stat.kind {
            InodeKind::Regular if self.is_last_name(&stat) => self.fs.extent(entry.ino),
            _ => None,
        };
        let size = size_of_file(&entry.path, extent.map_or(target.len() as u64, |extent| extent.length))?;
        let header = Header {
            // Numbers start at 1, because some readers treat 0 as missing.
            ino: entry.ino.0 + 1,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            nlink: stat.nlink,
            mtime: time(&stat),
            size,
            device: stat.device,
        };
        note_omissions(self.fs, entry, &mut self.omissions);
        header.write(&entry.path, &mut self.output)?;
        self.output.write(target)?;
        if let Some(extent) = extent {
            let holes = self.holes.of(extent.file, &self.fs.contents_file(extent.file).file);
            let range = extent.offset..extent.offset + extent.length;
            let read = copy_with_holes(&mut self.output, holes, range, &mut self.counter)?;
            read.map_err(|source| self.fs.unreadable(extent.file, extent.offset, source))?;
        }
        header::pad(&mut self.output)
    }

    fn is_last_name(&mut self, stat: &Stat) -> bool {
        if stat.nlink < 2 {
            return true;
        }
        let names = self.names.entry(stat.ino).or_default();
        *names += 1;
        *names == stat.nlink
    }
}

/// Returns the parts of the root that a cpio lacks.
fn omissions_of(fs: &ContainerFs) -> Omissions {
    let mut omissions = Omissions::default();
    for entry in fs.walk() {
        note_omissions(fs, &entry, &mut omissions);
    }
    omissions
}

/// Adds the parts of an entry that a cpio lacks. Hard links are skipped, because their attributes were added before.
fn note_omissions(fs: &ContainerFs, entry: &WalkEntry, omissions: &mut Omissions) {
    if entry.link_to.is_some() {
        return;
    }
    let path = || display_path(&entry.path);
    for (name, _) in fs.xattrs(entry.ino) {
        omissions.add(path, Omitted::Xattr(name.into()), OmissionReason::form("a cpio has none"));
    }
    let stat = fs.stat(entry.ino);
    if i64::from(time(&stat)) != stat.mtime.seconds {
        omissions.add(path, Omitted::Time, OmissionReason::form("a cpio has times from 1970 to 2106"));
    } else if stat.mtime.nanoseconds != 0 {
        omissions.cut_times += 1;
    }
}

/// Returns the modification time, or the nearest time that a cpio can hold.
fn time(stat: &Stat) -> u32 {
    let seconds = stat.mtime.seconds.clamp(0, u32::MAX.into());
    u32::try_from(seconds).expect("it is clamped to u32")
}
