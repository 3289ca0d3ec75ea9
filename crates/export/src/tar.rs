//! A root as one tar: ustar headers, and PAX records (POSIX pax, "pax Extended Header") for what those cannot say.
//!
//! [`header`] writes the headers of an entry, [`pax`] the records, [`sparse`] finds holes that are worth leaving out, and
//! [`archive`] puts entries one behind the other: those of a root here, those of other writers by [`Archive`].

mod archive;
mod header;
mod pax;
mod reader;
mod sparse;

use std::io::Write;

use vmroot_compress::{Encoder, EncoderOptions};
use vmroot_container_fs::{ContainerFs, Extent, InodeKind, WalkEntry};
use vmroot_output::{Counter, Hook, LastHoles, Meter, Omissions};

use crate::error::going_on;
use crate::root::total_bytes;
use crate::{Error, Result};

pub use archive::Archive;
pub use header::{Attributes, EntryHeader};
pub use reader::TarReader;

/// A tar is made of blocks of this many bytes.
const BLOCK: usize = 512;
/// What errors call it.
const FORM: &str = "a tar";

/// How a root becomes a tar.
#[derive(Default, Clone, Copy)]
pub struct TarOptions<'a> {
    /// Leave the zeros of a file out where they add up to a megabyte or more, in GNU's sparse format 1.0. GNU tar,
    /// libarchive, Go and Python read it; for others such a file has another name. Without this every file has its bytes
    /// in full, which everything reads.
    pub sparse: bool,
    /// Fail before anything is written if a tar cannot hold all of the root.
    pub strict: bool,
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
    /// What is not as in the root: sockets, for which a tar has no type, and what the [`TarReader`] does not take.
    pub omissions: Omissions,
}

/// Writes the root as a tar, and gives the writer back after a flush.
///
/// The first entry is the root directory itself, `./`; then come directories before what they hold, siblings in byte
/// order, the first name of a file before its hard links. The bytes are a function of the root and the options.
///
/// # Errors
/// [`Error::Incomplete`] if that is asked for, [`Error::Stream`] when the writer fails, [`Error::Root`] when the
/// contents cannot be read, [`Error::Cancelled`].
pub fn export_tar<W: Write>(fs: &ContainerFs, writer: W, options: &TarOptions<'_>) -> Result<(W, TarReport)> {
    let reader = options.reader;
    if options.strict {
        tar_omissions(fs, reader).check(true, FORM)?;
    }
    let meter = Meter::new(options.hook, total_bytes(fs));
    let mut export = Export {
        fs,
        counter: Counter::new(&meter),
        archive: Archive::new(writer, options.sparse),
        holes: LastHoles::default(),
        reader,
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

/// What [`export_tar`] will report as missing.
pub fn tar_omissions(fs: &ContainerFs, reader: TarReader) -> Omissions {
    let mut omissions = Omissions::default();
    for entry in fs.walk() {
        reader.note_omissions(fs, &entry, &mut omissions);
    }
    omissions
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
        self.reader.note_omissions(self.fs, entry, &mut self.report.omissions);
        let mut stat = self.fs.stat(entry.ino);
        if stat.kind == InodeKind::Socket || !self.reader.takes(entry) {
            return Ok(());
        }
        stat.mtime = self.reader.time(stat.mtime);
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
            (InodeKind::Regular, Some(extent)) => return self.file(header, extent),
            (InodeKind::Symlink, _) if self.reader == TarReader::Sqfstar => {
                header.set_symlink_of_gnu(self.fs.readlink(entry.ino)?);
            }
            (InodeKind::Symlink, _) => header.set_symlink(self.fs.readlink(entry.ino)?),
            _ => {}
        }
        self.archive.entry(header)
    }

    fn file(&mut self, header: EntryHeader, extent: Extent) -> Result<()> {
        let holes = self.holes.of(extent.file, &self.fs.contents_file(extent.file).file);
        let range = extent.offset..extent.offset + extent.length;
        let read = self.archive.file(header, holes, range, &mut self.counter)?;
        read.map_err(|source| Error::unreadable(self.fs, extent.file, source))
    }
}
