//! A root as a cpio in the form that the kernel unpacks as its initramfs (`newc`).
//!
//! [`header`] writes what is before the bytes of an entry, and [`CpioWriter`] small archives that are of no root.
//!
//! What unpacks it is the kernel's `init/initramfs.c`, and these come of that: directories stand before what they hold,
//! for it makes none that are missing; files that share an inode have its bytes after the last of their names, as GNU
//! cpio does it, which kernel and cpio understand alike; a symbolic link is never a hard link; no path may have more
//! than 4095 bytes, and none is `TRAILER!!!`.

mod header;
mod writer;

use std::collections::HashMap;
use std::io::Write;

use vmroot_compress::{Encoder, EncoderOptions};
use vmroot_container_fs::{ContainerFs, InodeId, InodeKind, Stat, WalkEntry};
use vmroot_output::{Counter, Hook, LastHoles, Meter, OmissionReason, Omissions, Omitted, display_path};

use crate::error::going_on;
use crate::root::total_bytes;
use crate::stream::{Stream, copy_with_holes};
use crate::{Error, Result};
use header::Header;
use writer::size_of_file;

pub use writer::CpioWriter;

/// How a root becomes a cpio.
#[derive(Default, Clone, Copy)]
pub struct CpioOptions<'a> {
    /// Fail before anything is written if a cpio cannot hold all of the root.
    pub strict: bool,
    /// Hears of progress and may stop the export.
    pub hook: Option<Hook<'a>>,
}

/// What was written, and what of the root a cpio does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpioReport {
    /// Entries, the root directory included.
    pub entries: u64,
    /// Bytes of the cpio, before any compression.
    pub bytes: u64,
    /// What is not as in the root: all xattrs, file capabilities and access control lists among them, and times before
    /// 1970, after February 2106, or with parts of seconds.
    pub omissions: Omissions,
}

/// Writes the root as a cpio, and gives the writer back after a flush.
///
/// The first entry is the root directory itself, `.`; then come directories before what they hold, siblings in byte
/// order. The bytes are a function of the root alone, and no holes are left out of files: a cpio has none.
///
/// # Errors
/// [`Error::Incomplete`] if that is asked for, before anything is written; [`Error::BeyondCpio`] for a file of 4 GiB,
/// likewise, or for a path of more than 4095 bytes; [`Error::Stream`] when the writer fails, [`Error::Root`] when the
/// contents cannot be read, [`Error::Cancelled`].
pub fn export_cpio<W: Write>(fs: &ContainerFs, writer: W, options: &CpioOptions<'_>) -> Result<(W, CpioReport)> {
    check_sizes(fs)?;
    if options.strict {
        omissions_of(fs).check(true, "a cpio")?;
    }
    let meter = Meter::new(options.hook, total_bytes(fs));
    let mut export = Export {
        fs,
        counter: Counter::new(&meter),
        output: Stream::new(writer),
        holes: LastHoles::default(),
        names: HashMap::new(),
        report: CpioReport::default(),
    };
    for entry in fs.walk() {
        export.entry(&entry)?;
    }
    going_on(export.counter.report())?;
    let (writer, bytes) = header::finish(export.output)?;
    Ok((writer, CpioReport { bytes, ..export.report }))
}

/// The same, compressed: a single gzip member or zstd frame, because the kernel takes no archive in parts. It unpacks
/// zstd with the window that the level asks for, which is up to 8 MiB up to level 19, and 128 MiB of its memory for 22.
///
/// # Errors
/// As [`export_cpio`], and [`Error::Compression`] for a compression that is not written or a level that it does not
/// have.
pub fn export_compressed_cpio<W: Write>(
    fs: &ContainerFs,
    writer: W,
    options: &CpioOptions<'_>,
    compression: &EncoderOptions,
) -> Result<(W, CpioReport)> {
    let encoder = Encoder::new(writer, compression)?;
    let (encoder, report) = export_cpio(fs, encoder, options)?;
    Ok((encoder.finish().map_err(Error::Stream)?, report))
}

/// Refuses a file that is too large before anything is written.
fn check_sizes(fs: &ContainerFs) -> Result<()> {
    let size = |ino| fs.extent(ino).map_or(0, |extent| extent.length);
    // Nearly always there is none, and the walk, which knows the paths, is saved.
    if fs.inodes().all(|ino| u32::try_from(size(ino)).is_ok()) {
        return Ok(());
    }
    fs.walk().try_for_each(|entry| size_of_file(&entry.path, size(entry.ino)).map(drop))
}

struct Export<'a, W> {
    fs: &'a ContainerFs,
    counter: Counter<'a>,
    output: Stream<W>,
    holes: LastHoles<'a>,
    /// How many names of an inode that has several are written.
    names: HashMap<InodeId, u32>,
    report: CpioReport,
}

impl<W: Write> Export<'_, W> {
    fn entry(&mut self, entry: &WalkEntry) -> Result<()> {
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
            // From 1 on: some readers take 0 for none.
            ino: entry.ino.0 + 1,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            nlink: stat.nlink,
            mtime: time(&stat),
            size,
            device: stat.device,
        };
        note_omissions(self.fs, entry, &mut self.report.omissions);
        self.report.entries += 1;
        header.write(&entry.path, &mut self.output)?;
        self.output.write(target)?;
        if let Some(extent) = extent {
            let holes = self.holes.of(extent.file, &self.fs.contents_file(extent.file).file);
            let range = extent.offset..extent.offset + extent.length;
            let read = copy_with_holes(&mut self.output, holes, range, &mut self.counter)?;
            read.map_err(|source| Error::unreadable(self.fs, extent.file, source))?;
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

/// What a cpio of the root would lack.
fn omissions_of(fs: &ContainerFs) -> Omissions {
    let mut omissions = Omissions::default();
    for entry in fs.walk() {
        note_omissions(fs, &entry, &mut omissions);
    }
    omissions
}

/// Counts what of an entry a cpio does not hold. The other names of an inode have the same attributes.
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

/// The time of an inode, or the nearest that there is.
fn time(stat: &Stat) -> u32 {
    let seconds = stat.mtime.seconds.clamp(0, u32::MAX.into());
    u32::try_from(seconds).expect("it is clamped")
}
