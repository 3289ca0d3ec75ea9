//! Writes the whole file system.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use vmroot_container_fs::ContainerFs;
use vmroot_output::{ImageFile, Jobs, Meter, OutputFile, Report, workers};
use vmroot_sys::AlignedBuffer;

use crate::checksum::Seed;
use crate::content::Content;
use crate::format::BLOCK;
use crate::group::Usage;
use crate::hash::NameHasher;
use crate::identity::Identity;
use crate::metadata::MetadataWriter;
use crate::output::Output;
use crate::{Error, Ext4Options, FORM, MAX_LABEL, Result, data, group, layout, superblock};

/// Writes the root as an ext4 file system to the file at `path`, which appears under its name only when it is complete.
///
/// # Errors
/// - [`Error::Io`]: the file cannot be created, written, synced or renamed.
/// - The errors of [`write_ext4`].
pub fn export_ext4(fs: &ContainerFs, path: &Path, options: &Ext4Options<'_>) -> Result<Report> {
    let file = OutputFile::create(path)?;
    let report = write_ext4(fs, file.file(), options).map_err(Error::at(path))?;
    file.commit()?;
    Ok(report)
}

/// Writes the root as an ext4 file system to a regular file or a device, replacing its previous contents.
///
/// The bytes depend only on the root and the options. Unused room is left as holes. The root directory has the
/// attributes of the root, and there is no `lost+found`. The report lists the attributes that were left out: xattrs that
/// ext4 has no namespace or no room for, and times before 1901 or after 2446.
///
/// # Errors
/// - [`Error::Incomplete`]: [`Ext4Options::strict`] is set and ext4 cannot hold the whole root. Nothing is
///   written.
/// - [`Error::TooSmall`]: the content does not fit into [`Ext4Options::size`], or the device is too small. The error
///   contains the size that is needed.
/// - [`Error::Unrepresentable`]: a file has more than 65,000 names or 16 TiB, or a directory has too many entries.
/// - [`Error::TooLarge`]: ext4 has too few block or inode numbers for the root.
/// - [`Error::LabelTooLong`]: the label has more than 16 bytes. Nothing is written.
/// - [`Error::Write`]: the file cannot be written.
/// - [`Error::Root`]: the contents of a file cannot be read.
/// - [`Error::Cancelled`]: the hook cancelled the export.
pub fn write_ext4(fs: &ContainerFs, file: &File, options: &Ext4Options<'_>) -> Result<Report> {
    if options.label.len() > MAX_LABEL {
        return Err(Error::LabelTooLong { length: options.label.len(), limit: MAX_LABEL });
    }
    let identity = Identity::of(fs, options);
    let mut content = Content::of(fs, NameHasher::new(identity.hash_seed))?;
    let omissions = std::mem::take(&mut content.omissions).with_paths(fs.first_paths());
    if options.strict {
        omissions.require_complete(FORM)?;
    }
    let layout = layout::choose(&content, options)?;
    let bytes = layout.blocks * BLOCK as u64;
    let target = ImageFile::new(file).map_err(Error::Write)?;
    let size = options.size.unwrap_or(bytes);
    if let Some(device) = target.device_size().map_err(Error::Write)?.filter(|device| *device < size) {
        return Err(Error::TooSmall { size: device, needed: size });
    }
    target.blank(size).map_err(Error::Write)?;

    let mut runs = data::runs(&content, &layout);
    runs.report(options.runs);
    let meter = Meter::new(options.hook, runs.bytes());
    let files: Vec<&File> = fs.contents().map(|contents| &contents.file).collect();
    meter.count(runs.share(&files, &target))?;
    let journal = MetadataWriter::new(&content, &layout, identity.uuid, file).write()?;
    let jobs = Mutex::new(Jobs::new(&files, runs, &target));
    workers::run(workers::count(options.threads), &meter, || {
        let next_job = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next_job().map_err(Error::moving(fs));
        let mut buffer = AlignedBuffer::new(0);
        while let Some(job) = next_job()? {
            job.run(&files, &target, &mut buffer).map_err(Error::moving(fs))?;
            meter.count(job.progress)?;
        }
        Ok::<(), Error>(())
    })?;

    let mut output = Output::new(file);
    let usage = Usage::of(&content, &layout);
    let descriptors = group::write_groups(&usage, Seed::of(&identity.uuid), &mut output)?;
    let record = superblock::superblock(&usage, !content.values.is_empty(), &identity, journal);
    superblock::write_superblocks(&record, &descriptors, layout.geometry.groups(), &mut output)?;
    Ok(Report::new(size, omissions))
}
