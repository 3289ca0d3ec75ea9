//! The whole file system, from the root to its last superblock.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

use vmroot_container_fs::ContainerFs;
use vmroot_output::ImageFile;
use vmroot_output::Jobs;
use vmroot_output::workers;
use vmroot_output::{Hook, Meter, Omissions};
use vmroot_sys::AlignedBuffer;

use crate::checksum::Seed;
use crate::content::Content;
use crate::format::BLOCK;
use crate::hash::NameHasher;
use crate::identity::Identity;
use crate::metadata::MetadataWriter;
use crate::output::Output;
use crate::{Error, FORM, Result, data, fit, group, superblock};

/// How a root becomes an ext4 file system.
#[derive(Clone, Copy)]
pub struct Ext4Options<'a> {
    /// Bytes of the file system, rounded down to 4096; by default the fewest that hold everything.
    pub size: Option<u64>,
    /// Bytes that can be written to it by any user, at least.
    pub free: u64,
    /// Makes a journal, of the size that mke2fs would choose.
    pub journal: bool,
    /// The name of the file system, up to 16 bytes.
    pub label: &'a str,
    /// Fail before anything is written if ext4 cannot hold all of the root.
    pub strict: bool,
    /// Threads that write contents; 1 at least. The file system does not depend on it.
    pub threads: usize,
    /// Hears of progress and may stop the writing.
    pub hook: Option<Hook<'a>>,
}

impl Default for Ext4Options<'_> {
    /// As small as can be, by one thread for each core.
    fn default() -> Self {
        Self {
            size: None,
            free: 0,
            journal: false,
            label: "",
            strict: false,
            threads: workers::core_count(),
            hook: None,
        }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ext4Report {
    /// Bytes of the file system.
    pub bytes: u64,
    /// Bytes of it that nothing is in.
    pub free: u64,
    /// Inodes, and how many of them are free.
    pub inodes: u64,
    /// Inodes that nothing is in.
    pub free_inodes: u64,
    /// The UUID.
    pub uuid: [u8; 16],
    /// What is left out: xattrs that ext4 has no name or no room for, and times before 1901 or after 2446.
    pub omissions: Omissions,
}

/// Writes the root as an ext4 file system to a regular file or a device, in place of what it holds.
///
/// The bytes are a function of the root and the options. Room that nothing is in is left as holes. Attributes of the
/// root directory are the root's; there is no `lost+found`.
///
/// # Errors
/// [`Error::Incomplete`] if that is asked for, before anything is written; [`Error::TooSmall`] says what size is
/// needed; [`Error::Unrepresentable`] for more than 65,000 names of a file or files of 16 TiB; [`Error::TooLarge`];
/// [`Error::Write`], [`Error::Root`], [`Error::Cancelled`].
pub fn write_ext4(fs: &ContainerFs, file: &File, options: &Ext4Options<'_>) -> Result<Ext4Report> {
    if options.label.len() > 16 {
        return Err(Error::TooLarge { what: format!("a label of {} bytes, only 16", options.label.len()) });
    }
    let identity = Identity::of(fs, options);
    let mut content = Content::of(fs, NameHasher::new(identity.hash_seed))?;
    let omissions = std::mem::take(&mut content.lacks).with_paths(fs.first_paths());
    omissions.check(options.strict, FORM)?;
    let fit = fit::fit(&content, options)?;
    let bytes = fit.blocks * BLOCK as u64;
    let target = ImageFile::new(file).map_err(Error::Write)?;
    let size = options.size.unwrap_or(bytes);
    if let Some(device) = target.device_size().map_err(Error::Write)?.filter(|device| *device < size) {
        return Err(Error::TooSmall { size: device, needed: size });
    }
    target.blank(size).map_err(Error::Write)?;

    let mut runs = data::runs(&content, &fit);
    let meter = Meter::new(options.hook, runs.bytes());
    let files: Vec<&File> = fs.contents().map(|contents| &contents.file).collect();
    meter.count(runs.share(&files, &target))?;
    let journal = MetadataWriter::new(&content, &fit, identity.uuid, file).write()?;
    let jobs = Mutex::new(Jobs::new(&files, runs, target.is_sparse()));
    workers::run(options.threads, &meter, || {
        let next_job = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next_job().map_err(Error::moving(fs));
        let mut buffer = AlignedBuffer::new(0);
        while let Some(job) = next_job()? {
            job.run(&files, &target, &mut buffer).map_err(Error::moving(fs))?;
            meter.count(job.progress)?;
        }
        Ok::<(), Error>(())
    })?;

    let mut output = Output::new(file);
    let descriptors = group::write_groups(&content, &fit, Seed::of(&identity.uuid), &mut output)?;
    let record = superblock::superblock(&content, &fit, &identity, journal);
    superblock::write_superblocks(&record, &descriptors, fit.geometry.groups(), &mut output)?;

    let inodes = fit.geometry.inodes();
    let (free_inodes, free) = (inodes - content.last_inode(), fit.free() * BLOCK as u64);
    Ok(Ext4Report { bytes, free, inodes, free_inodes, uuid: identity.uuid, omissions })
}
