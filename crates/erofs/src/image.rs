//! The one-file form: metadata first, then the contents of files.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

use vmroot_container_fs::ContainerFs;
use vmroot_output::ImageFile;
use vmroot_output::workers;
use vmroot_output::{Hook, Meter, Omissions};
use vmroot_output::{Job, Jobs};
use vmroot_sys::AlignedBuffer;

use super::compress::ErofsCompression;
use super::compressed::write_compressed;
use super::data::Data;
use super::format::{BLOCK, Superblock};
use super::metadata::{ItemRuns, write_directories};
use super::plan::{Files, Plan};
use super::superblock::{seal, superblock};
use super::{FORM, xattrs};
use crate::{Error, Result};

/// How a root becomes an EROFS image.
#[derive(Clone, Copy)]
pub struct ErofsOptions<'a> {
    /// Whether and how the contents of files are compressed.
    pub compression: Option<ErofsCompression>,
    /// Fail before anything is written if EROFS cannot hold all of the root.
    pub strict: bool,
    /// Threads that compress and write; 1 at least. The image does not depend on it.
    pub threads: usize,
    /// Hears of progress and may stop the export.
    pub hook: Option<Hook<'a>>,
}

impl Default for ErofsOptions<'_> {
    /// One thread for each core.
    fn default() -> Self {
        Self { compression: None, strict: false, threads: workers::core_count(), hook: None }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErofsReport {
    /// Inodes.
    pub inodes: u64,
    /// Length of the image in bytes, a multiple of 4096.
    pub bytes: u64,
    /// Bytes of it that are not the contents of files, or ends of files that are packed with the metadata.
    pub metadata_bytes: u64,
    /// Bytes that share their blocks with contents files.
    pub shared_bytes: u64,
    /// Xattrs that EROFS has no name or no room for; they are left out.
    pub omissions: Omissions,
}

/// Writes the root to an empty file, or to a device, as an EROFS image that any kernel from Linux 5.4 on mounts.
///
/// What does not fill a block is packed behind the inode. Blocks of zeros stay holes.
///
/// # Errors
/// [`Error::Incomplete`] if that is asked for, [`Error::TooLarge`] from 16 TiB on, [`Error::Write`], [`Error::Root`]
/// when contents cannot be read, and [`Error::Cancelled`].
pub fn write_erofs(fs: &ContainerFs, file: &File, options: &ErofsOptions<'_>) -> Result<ErofsReport> {
    let omissions = xattrs::omissions(fs);
    omissions.check(options.strict, FORM)?;
    let report = match options.compression {
        Some(compression) => write_compressed(fs, file, compression, options)?,
        None => write_plain(fs, file, options)?,
    };
    Ok(ErofsReport { omissions, ..report })
}

fn write_plain(fs: &ContainerFs, file: &File, options: &ErofsOptions<'_>) -> Result<ErofsReport> {
    let mut plan = Plan::of(fs, Files::Packed, 0)?;
    let mut data = Data::place(&mut plan)?;
    let target = ImageFile::new(file).map_err(Error::Write)?;
    let bytes = u64::from(data.end) * BLOCK;
    let total = data.bytes + plan.end * BLOCK;
    let blocks = data.end;
    target.set_length(bytes).map_err(Error::Write)?;
    let meter = Meter::new(options.hook, total);
    let files: Vec<&File> = fs.contents().map(|contents| &contents.file).collect();
    let shared_bytes = data.runs.share(&files, &target);
    meter.count(shared_bytes)?;
    let superblock = superblock(&plan, blocks, 0, "");
    Writer::new(&plan, &target, &files, data, Some(superblock), meter).run(options.threads)?;
    Ok(ErofsReport {
        inodes: plan.inodes.len() as u64,
        bytes,
        metadata_bytes: plan.end * BLOCK,
        shared_bytes,
        omissions: Omissions::default(),
    })
}

/// Writes metadata, and files as they are.
pub(crate) struct Writer<'a> {
    plan: &'a Plan<'a>,
    target: &'a ImageFile<'a>,
    /// The contents files, by number.
    files: &'a [&'a File],
    /// What is in the first block of the metadata, if it is there.
    superblock: Option<Superblock>,
    items: ItemRuns,
    jobs: Mutex<Queue<'a>>,
    meter: Meter<'a>,
}

/// What is still to be done.
struct Queue<'a> {
    data: Jobs<'a>,
    next_run: usize,
}

enum Work {
    Data(Job),
    Items(usize),
}

impl<'a> Writer<'a> {
    pub(crate) fn new(
        plan: &'a Plan<'a>,
        target: &'a ImageFile<'a>,
        files: &'a [&'a File],
        data: Data,
        superblock: Option<Superblock>,
        meter: Meter<'a>,
    ) -> Self {
        let jobs = Mutex::new(Queue { data: Jobs::new(files, data.runs, target.is_sparse()), next_run: 0 });
        Self { plan, target, files, superblock, items: ItemRuns::of(plan), jobs, meter }
    }

    pub(crate) fn run(&self, threads: usize) -> Result<()> {
        workers::run(threads, &self.meter, || self.work())?;
        let mut buffer = AlignedBuffer::new(0);
        write_directories(self.plan, |bytes, offset| {
            buffer.resize(bytes.len()).copy_from_slice(bytes);
            self.target.write(buffer.as_slice(), offset).map_err(Error::Write)
        })
    }

    fn work(&self) -> Result<()> {
        let mut buffer = AlignedBuffer::new(0);
        while let Some(work) = self.next_work()? {
            match work {
                Work::Data(job) => {
                    job.run(self.files, self.target, &mut buffer).map_err(Error::moving(self.plan.fs))?;
                    self.meter.count(job.progress)?;
                }
                Work::Items(run) => {
                    let length = self.write_items(run, &mut buffer)?;
                    self.meter.count(length)?;
                }
            }
        }
        Ok(())
    }

    /// Data first: reading it brings the ends of files into memory, which inodes are written with.
    fn next_work(&self) -> Result<Option<Work>> {
        let mut queue = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = queue.data.next_job().map_err(Error::moving(self.plan.fs))? {
            return Ok(Some(Work::Data(job)));
        }
        queue.next_run += 1;
        Ok((queue.next_run <= self.items.count()).then(|| Work::Items(queue.next_run - 1)))
    }

    fn write_items(&self, run: usize, buffer: &mut AlignedBuffer) -> Result<u64> {
        let blocks = self.items.blocks(self.plan, run);
        let bytes = buffer.resize(blocks.length as usize);
        bytes.fill(0);
        self.items.write(self.plan, run, bytes)?;
        if let (0, Some(superblock)) = (run, &self.superblock) {
            seal(superblock, bytes);
        }
        self.target.write(buffer.as_slice(), blocks.offset).map_err(Error::Write)?;
        Ok(blocks.length)
    }
}
