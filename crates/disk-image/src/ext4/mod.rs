//! ext4, the kernel's own read-write file system (kernel documentation, `Documentation/filesystems/ext4`).
//!
//! [`content`] says what needs blocks, [`fit`] how large the file system is and where all of it goes; then [`metadata`]
//! writes inodes and their blocks, [`data`] moves file contents, and [`group`] and [`superblock`] say what is taken.
//!
//! 64-bit block numbers are always on: descriptors then have room for whole checksums of bitmaps, and a file system can
//! be grown past 16 TiB. There is no `resize_inode`: since Linux 3.7 a mounted file system grows without one, by putting
//! new descriptors elsewhere (`meta_bg`), and resize2fs moves what is in the way of one that is not mounted. Neither is
//! there a `lost+found`, which no layer has: e2fsck makes one when it needs it.

mod checksum;
mod content;
mod data;
mod directory;
mod extents;
mod fit;
mod format;
mod geometry;
mod group;
mod hash;
mod holes;
mod htree;
mod identity;
mod inode;
mod journal;
mod metadata;
mod output;
mod space;
mod superblock;
mod time;
mod xattr;

use std::fs::File;
use std::sync::{Mutex, PoisonError};

use vmroot_container_fs::ContainerFs;
use vmroot_export::{Hook, Meter, Omissions};
use vmroot_sys::AlignedBuffer;

use crate::contents::Jobs;
use crate::target::Target;
use crate::workers::{self, going_on};
use crate::{Error, Result};
use checksum::Seed;
use content::Content;
use format::BLOCK;
use hash::NameHasher;
use identity::Identity;
use metadata::MetadataWriter;
use output::Output;

const FORM: &str = "ext4";

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
        Self { size: None, free: 0, journal: false, label: "", strict: false, threads: workers::all(), hook: None }
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
        return Err(Error::TooLarge { form: FORM, what: format!("a label of {} bytes, only 16", options.label.len()) });
    }
    let identity = Identity::of(fs, options);
    let mut content = Content::of(fs, NameHasher::new(identity.hash_seed))?;
    let omissions = std::mem::take(&mut content.lacks).with_paths(fs);
    omissions.check(options.strict, FORM)?;
    let fit = fit::fit(&content, options)?;
    let bytes = fit.blocks * BLOCK as u64;
    let target = Target::new(file).map_err(Error::Write)?;
    target.blank(options.size.unwrap_or(bytes))?;

    let mut runs = data::runs(&content, &fit);
    let meter = Meter::new(options.hook, runs.bytes());
    going_on(&meter, runs.share(fs, &target))?;
    let journal = MetadataWriter::new(&content, &fit, identity.uuid, file).write()?;
    let jobs = Mutex::new(Jobs::new(fs, runs, target.is_sparse()));
    workers::run(options.threads, &meter, || {
        let next_job = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next_job();
        let mut buffer = AlignedBuffer::new(0);
        while let Some(job) = next_job()? {
            job.run(fs, &target, &mut buffer)?;
            going_on(&meter, job.progress)?;
        }
        Ok(())
    })?;

    let mut output = Output::new(file);
    let descriptors = group::write_groups(&content, &fit, Seed::of(&identity.uuid), &mut output)?;
    let record = superblock::superblock(&content, &fit, &identity, journal);
    superblock::write_superblocks(&record, &descriptors, fit.geometry.groups(), &mut output)?;

    let inodes = fit.geometry.inodes();
    let (free_inodes, free) = (inodes - content.last_inode(), fit.free() * BLOCK as u64);
    Ok(Ext4Report { bytes, free, inodes, free_inodes, uuid: identity.uuid, omissions })
}
