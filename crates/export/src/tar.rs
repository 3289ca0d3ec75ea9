//! Exporting a root as a tar: ustar headers, with PAX records (POSIX pax, "pax Extended Header") for values that these
//! cannot hold.
//!
//! [`header`] writes the headers of an entry and [`pax`] the records. [`sparse`] finds holes that are worth leaving
//! out. [`archive`] writes the entries, also for other crates ([`Archive`]).

mod archive;
mod header;
mod pax;
mod reader;
mod sparse;

use std::io::Write;
use std::path::Path;

use vmroot_compress::EncoderOptions;
use vmroot_container_fs::{ContainerFs, Extent, InodeId, InodeKind, WalkEntry};
use vmroot_output::{Counter, Hook, LastHoles, Meter, Omissions, OutputFile, Report};

use crate::root::bytes_below;
use crate::{Result, write_stream};

pub use archive::Archive;
pub use header::{Attributes, EntryHeader};
pub use reader::TarReader;

/// The block size of a tar in bytes.
const BLOCK: usize = 512;
/// The name of the format in errors.
const FORM: &str = "a tar";

/// Options of [`export_tar`] and [`write_tar`].
#[derive(Debug, Default, Clone, Copy)]
pub struct TarOptions<'a> {
    /// Leave zeros out of files with at least a mebibyte of them, in GNU's sparse format 1.0. GNU tar, libarchive, Go
    /// and Python read this format. Other programs extract such a file under another name. If false, all bytes are
    /// written, which every program reads.
    pub sparse: bool,
    /// The compression of the tar. `None` is none.
    pub compression: Option<EncoderOptions>,
    /// Fail before anything is written if a tar cannot hold the whole root.
    pub strict: bool,
    /// Receives progress. `Break` cancels the export.
    pub hook: Option<Hook<'a>>,
    /// The program that reads the tar.
    pub reader: TarReader,
}

/// Writes the root as a tar to the file at `path`, which appears under its name only when it is complete.
///
/// # Errors
/// - [`Error::Io`](crate::Error::Io): the file cannot be created, written, synced or renamed.
/// - The errors of [`write_tar`].
pub fn export_tar(fs: &ContainerFs, path: &Path, options: &TarOptions<'_>) -> Result<Report> {
    OutputFile::create(path)?.write_with(|writer| write_tar(fs, writer, options))
}

/// Writes the root as a tar, and flushes the writer.
///
/// The first entry is the root directory, `./`. Directories come before their entries, siblings are in byte order, and
/// the first name of a file comes before its hard links. The bytes depend only on the root and the options.
///
/// The report lists the parts of the root that the tar lacks: sockets, for which a tar has no type, and the parts that
/// the [`TarReader`] does not accept.
///
/// # Errors
/// - [`Error::Incomplete`](crate::Error::Incomplete): a tar cannot hold the whole root, and `strict` is set. Nothing
///   was written.
/// - [`Error::Stream`](crate::Error::Stream): the writer failed.
/// - [`Error::Compression`](crate::Error::Compression): the compression is not supported for writing, or it does not
///   have this level.
/// - [`Error::Root`](crate::Error::Root): the contents cannot be read.
/// - [`Error::Cancelled`](crate::Error::Cancelled): the hook returned `Break`.
pub fn write_tar(fs: &ContainerFs, writer: &mut dyn Write, options: &TarOptions<'_>) -> Result<Report> {
    write_tar_below(fs, InodeId::ROOT, b"", writer, options)
}

/// Writes an inode and all paths in it as [`write_tar`] does. Its entry has the path `name`, and those in it begin with
/// `name` and a slash. For an empty name, they are those of a root.
pub(crate) fn write_tar_below(
    fs: &ContainerFs,
    start: InodeId,
    name: &[u8],
    writer: &mut dyn Write,
    options: &TarOptions<'_>,
) -> Result<Report> {
    let reader = options.reader;
    if options.strict {
        omissions_below(fs, start, reader).require_complete(FORM)?;
    }
    write_stream(writer, options.compression.as_ref(), |writer| {
        let meter = Meter::new(options.hook, bytes_below(fs, start));
        let mut export = Export {
            fs,
            counter: Counter::new(&meter),
            archive: Archive::new(writer).sparse(options.sparse),
            holes: LastHoles::default(),
            reader,
            omissions: Omissions::default(),
        };
        for mut entry in fs.walk_below(start) {
            entry.path = joined(name, entry.path);
            entry.link_to = entry.link_to.map(|first| joined(name, first));
            export.add_entry(&entry)?;
        }
        export.counter.report()?;
        export.archive.finish()?;
        Ok(export.omissions)
    })
}

/// Returns the omissions that [`write_tar`] will report.
pub fn tar_omissions(fs: &ContainerFs, reader: TarReader) -> Omissions {
    omissions_below(fs, InodeId::ROOT, reader)
}

fn omissions_below(fs: &ContainerFs, start: InodeId, reader: TarReader) -> Omissions {
    let mut omissions = Omissions::default();
    for entry in fs.walk_below(start) {
        reader.note_omissions(fs, &entry, &mut omissions);
    }
    omissions
}

/// Returns a path below a name. Either may be empty.
fn joined(name: &[u8], path: Vec<u8>) -> Vec<u8> {
    match (name, &path[..]) {
        (b"", _) => path,
        (name, b"") => name.to_owned(),
        (name, path) => [name, path].join(&b'/'),
    }
}

struct Export<'a> {
    fs: &'a ContainerFs,
    counter: Counter<'a>,
    archive: Archive<'a>,
    holes: LastHoles<'a>,
    reader: TarReader,
    omissions: Omissions,
}

impl Export<'_> {
    fn add_entry(&mut self, entry: &WalkEntry) -> Result<()> {
        self.reader.note_omissions(self.fs, entry, &mut self.omissions);
        let mut stat = self.fs.stat(entry.ino);
        if stat.kind == InodeKind::Socket || !self.reader.accepts(entry) {
            return Ok(());
        }
        stat.mtime = self.reader.clamp_time(stat.mtime);
        let mut header = EntryHeader::new(&entry.path, &Attributes::from(&stat));
        if let Some(first) = &entry.link_to {
            header.set_hard_link(first);
            return self.archive.add_entry(header);
        }
        for (name, value) in self.fs.xattrs(entry.ino).filter(|(name, _)| self.reader.accepts_xattr(name)) {
            header.set_xattr(name, value);
        }
        match (stat.kind, self.fs.extent(entry.ino)) {
            (InodeKind::Regular, Some(extent)) => return self.add_file(header, extent),
            (InodeKind::Symlink, _) if self.reader == TarReader::Sqfstar => {
                header.set_gnu_symlink(self.fs.readlink(entry.ino)?);
            }
            (InodeKind::Symlink, _) => header.set_symlink(self.fs.readlink(entry.ino)?),
            _ => {}
        }
        self.archive.add_entry(header)
    }

    fn add_file(&mut self, header: EntryHeader, extent: Extent) -> Result<()> {
        let holes = self.holes.of(extent.file, &self.fs.contents_file(extent.file).file);
        let range = extent.offset..extent.offset + extent.length;
        let unreadable = |source| self.fs.unreadable(extent.file, extent.offset, source).into();
        self.archive.add_file(header, holes, range, &mut self.counter, unreadable)
    }
}
