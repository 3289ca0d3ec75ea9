//! The one-file image: metadata first, then the contents of files.

use std::fs::File;
use std::path::Path;

use vmroot_container_fs::ContainerFs;
use vmroot_output::{ImageFile, Meter, OutputFile, Report, workers};

use super::compressed::write_compressed;
use super::data::Data;
use super::format::BLOCK;
use super::plan::{FilePlacement, Plan};
use super::superblock::superblock;
use super::writer::Writer;
use super::{ErofsOptions, FORM, xattrs};
use crate::{Error, Result};

/// Writes the root as an EROFS image to the file at `path`, which appears under its name only when it is complete.
///
/// # Errors
/// - [`Error::Io`]: the file cannot be created, written, synced or renamed.
/// - The errors of [`write_erofs`].
pub fn export_erofs(fs: &ContainerFs, path: &Path, options: &ErofsOptions<'_>) -> Result<Report> {
    let file = OutputFile::create(path)?;
    let report = write_erofs(fs, file.file(), options).map_err(Error::at(path))?;
    file.commit()?;
    Ok(report)
}

/// Writes the root as an EROFS image to an empty file or to a device. Linux 5.4 and later mount it
/// (6.10 with [Zstandard](crate::ErofsCompression::Zstd)).
///
/// The part of a file that does not fill a block is packed after its inode. Holes stay holes. The report lists the
/// xattrs that were left out because EROFS has no prefix or no room for them.
///
/// # Errors
/// - [`Error::Incomplete`]: [`ErofsOptions::strict`] is set and EROFS cannot hold the whole root.
/// - [`Error::TooLarge`]: the image would have 16 TiB or more.
/// - [`Error::Write`]: the file cannot be written.
/// - [`Error::Root`]: the contents of a file cannot be read.
/// - [`Error::Cancelled`]: the hook cancelled the export.
pub fn write_erofs(fs: &ContainerFs, file: &File, options: &ErofsOptions<'_>) -> Result<Report> {
    let omissions = xattrs::omissions(fs);
    if options.strict {
        omissions.require_complete(FORM)?;
    }
    let bytes = match options.compression {
        Some(compression) => write_compressed(fs, file, compression, options)?,
        None => write_plain(fs, file, options)?,
    };
    Ok(Report::new(bytes, omissions))
}

/// Writes the image without compression. Returns its length in bytes.
fn write_plain(fs: &ContainerFs, file: &File, options: &ErofsOptions<'_>) -> Result<u64> {
    let mut plan = Plan::of(fs, FilePlacement::Packed, 0)?;
    let mut data = Data::place(&mut plan)?;
    let target = ImageFile::new(file).map_err(Error::Write)?;
    let bytes = u64::from(data.end) * BLOCK;
    let total = data.bytes + plan.end * BLOCK;
    let blocks = data.end;
    target.set_length(bytes).map_err(Error::Write)?;
    let meter = Meter::new(options.hook, total);
    let files: Vec<&File> = fs.contents().map(|contents| &contents.file).collect();
    data.runs.report(options.runs);
    meter.count(data.runs.share(&files, &target))?;
    let superblock = superblock(&plan, blocks, 0, "");
    Writer::new(&plan, &target, &files, data, Some(superblock), meter).run(workers::count(options.threads))?;
    Ok(bytes)
}
