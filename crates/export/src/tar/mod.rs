//! A root as one tar: ustar headers, and PAX records (POSIX pax, "pax Extended Header") for what those cannot say.
//!
//! [`header`] writes the headers of an entry, [`pax`] the records, [`sparse`] finds holes that are worth leaving out, and
//! [`archive`] puts entries one behind the other: those of a root here, those of a layer in [`crate::layer`].

mod archive;
mod header;
mod pax;
mod reader;
mod sparse;

use std::io::Write;

use vmroot_compress::{Encoder, EncoderOptions};
use vmroot_container_fs::{ContainerFs, Extent, InodeKind, WalkEntry};

use crate::LastHoles;
use crate::omissions::Omissions;
use crate::progress::{Counter, Hook, Meter, going_on, total_bytes};
use crate::{Error, Result};

pub(crate) use archive::Archive;
pub use header::Attributes;
pub(crate) use header::EntryHeader;
pub use reader::{TarLacks, TarReader};

/// A tar is made of blocks of this many bytes.
const BLOCK: usize = 512;
/// How a root becomes a tar.
#[derive(Default, Clone, Copy)]
pub struct TarOptions<'a> {
    /// Hears of progress and may stop the export.
    pub hook: Option<Hook<'a>>,
    /// Who will read it.
    pub reader: TarReader,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TarReport {
    /// Entries, the root directory included.
    pub entries: u64,
    /// Bytes of the tar, before any compression.
    pub bytes: u64,
    /// Sockets that were left out, for a tar has no type for them. A program that listens on one makes it.
    pub omitted: Omissions,
    /// What else is not as in the root, for the reader's sake; nothing with [`TarReader::Any`].
    pub lacks: TarLacks,
}

/// Writes the root as a tar, and gives the writer back after a flush.
///
/// The first entry is the root directory itself, `./`; then come directories before what they hold, siblings in byte
/// order, the first name of a file before its hard links. The bytes are a function of the root alone. A file whose
/// blocks of zeros add up to a megabyte or more is written in GNU's sparse format 1.0, which GNU tar, libarchive, Go
/// and Python read; all others hold their bytes in full, which everything reads.
///
/// # Errors
/// [`Error::Stream`] when the writer fails, [`Error::Root`] when the contents cannot be read, [`Error::Cancelled`].
pub fn export_tar<W: Write>(fs: &ContainerFs, writer: W, options: &TarOptions<'_>) -> Result<(W, TarReport)> {
    let meter = Meter::new(options.hook, total_bytes(fs));
    let mut export = Export {
        fs,
        counter: Counter::new(&meter),
        archive: Archive::new(writer),
        holes: LastHoles::default(),
        reader: options.reader,
        report: TarReport::default(),
    };
    for entry in fs.walk() {
        export.entry(&entry)?;
    }
    going_on(export.counter.report())?;
    let (writer, bytes) = export.archive.finish()?;
    Ok((writer, TarReport { bytes, ..export.report }))
}

/// The same, compressed.
///
/// # Errors
/// As [`export_tar`], and [`Error::Compression`] for a compression that is not written or a level that it does not have.
pub fn export_compressed_tar<W: Write>(
    fs: &ContainerFs,
    writer: W,
    options: &TarOptions<'_>,
    compression: &EncoderOptions,
) -> Result<(W, TarReport)> {
    let encoder = Encoder::new(writer, compression)?;
    let (encoder, report) = export_tar(fs, encoder, options)?;
    Ok((encoder.finish().map_err(Error::Stream)?, report))
}

struct Export<'a, W> {
    fs: &'a ContainerFs,
    counter: Counter<'a>,
    archive: Archive<W>,
    holes: LastHoles<'a>,
    reader: TarReader,
    report: TarReport,
}

impl<W: Write> Export<'_, W> {
    fn entry(&mut self, entry: &WalkEntry) -> Result<()> {
        let mut stat = self.fs.stat(entry.ino);
        if stat.kind == InodeKind::Socket {
            self.report.omitted.add(&entry.path);
            return Ok(());
        }
        stat.mtime = self.reader.time(entry, stat.mtime, &mut self.report.lacks);
        if entry.link_to.is_none() && self.loses_xattrs(entry) {
            self.report.lacks.without_xattrs.add(&entry.path);
        }
        if !self.reader.takes(entry) {
            return Ok(());
        }
        self.report.entries += 1;
        let mut header = EntryHeader::new(&entry.path, &Attributes::from(&stat));
        if let Some(first) = &entry.link_to {
            header.set_hard_link(first);
            return self.archive.entry(header);
        }
        for (name, value) in self.fs.xattrs(entry.ino).filter(|(name, _)| self.reader.takes_xattr(name)) {
            header.set_xattr(name, value);
        }
        match (stat.kind, self.fs.extent(entry.ino)) {
            (InodeKind::Regular, Some(extent)) => return self.file(header, entry, extent),
            (InodeKind::Symlink, _) if self.reader == TarReader::Sqfstar => {
                header.set_symlink_of_gnu(self.fs.readlink(entry.ino)?);
            }
            (InodeKind::Symlink, _) => header.set_symlink(self.fs.readlink(entry.ino)?),
            _ => {}
        }
        self.archive.entry(header)
    }

    fn loses_xattrs(&self, entry: &WalkEntry) -> bool {
        let mut names = self.fs.xattrs(entry.ino).map(|(name, _)| name);
        if self.reader.takes(entry) { names.any(|name| !self.reader.takes_xattr(name)) } else { names.len() > 0 }
    }

    fn file(&mut self, header: EntryHeader, entry: &WalkEntry, extent: Extent) -> Result<()> {
        let holes = self.holes.of(self.fs, extent.file);
        let range = extent.offset..extent.offset + extent.length;
        let read = match self.reader {
            TarReader::Any => self.archive.file(header, &entry.path, holes, range, &mut self.counter),
            TarReader::Sqfstar => self.archive.whole_file(header, holes, range, &mut self.counter),
        }?;
        read.map_err(|source| Error::unreadable(self.fs, extent.file, source))
    }
}
