//! The one-file image: metadata first, then the contents of files.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use vmroot_container_fs::ContainerFs;
use vmroot_output::{Hook, ImageFile, Job, Jobs, Meter, OutputFile, Report, workers};
use vmroot_sys::AlignedBuffer;

use super::compress::ErofsCompression;
use super::compressed::write_compressed;
use super::data::Data;
use super::format::{BLOCK, Superblock};
use super::metadata::{ItemRuns, write_directories};
use super::plan::{FilePlacement, Plan};
use super::superblock::{seal, superblock};
use super::{FORM, xattrs};
use crate::{Error, Result};

/// Options of [`export_erofs`] and [`write_erofs`].
#[derive(Clone, Copy)]
pub struct ErofsOptions<'a> {
    /// The compression of file contents; `None` stores them as they are.
    pub compression: Option<ErofsCompression>,
    /// Fail before anything is written if EROFS cannot represent the whole root.
    pub strict: bool,
    /// Number of threads that compress and write, at least 1. The bytes of the image do not depend on it.
    pub threads: usize,
    /// Receives progress and can cancel the export.
    pub hook: Option<Hook<'a>>,
}

impl Default for ErofsOptions<'_> {
    /// Returns the default options: no compression, not strict, one thread for each core, and no hook.
    fn default() -> Self {
        Self { compression: None, strict: false, threads: workers::core_count(), hook: None }
    }
}

/// Writes the root as an EROFS image to the file at `path`, which appears under its name only when it is complete.
///
/// # Errors
/// - [`Error::Io`]: the file cannot be created, synced or renamed.
/// - The errors of [`write_erofs`].
pub fn export_erofs(fs: &ContainerFs, path: &Path, options: &ErofsOptions<'_>) -> Result<Report> {
    let file = OutputFile::create(path)?;
    let report = write_erofs(fs, file.file(), options)?;
    file.commit()?;
    Ok(report)
}

/// Writes the root as an EROFS image to an empty file or to a device. Linux 5.4 and later mount it
/// (6.10 with [Zstandard](ErofsCompression::Zstd)).
///
/// The part of a file that does not fill a block is packed after its inode. Holes stay holes. The report lists the
/// xattrs that were left out because EROFS has no prefix or no room for them.
///
/// # Errors
/// - [`Error::Incomplete`]: [`ErofsOptions::strict`] is set and EROFS cannot represent the whole root.
/// - [`Error::TooLarge`]: the image would have 16 TiB or more.
/// - [`Error::Write`]: the file cannot be written.
/// - [`Error::Root`]: the contents of a file cannot be read.
/// - [`Error::Cancelled`]: the hook cancelled the export.
pub fn write_erofs(fs: &ContainerFs, file: &File, options: &ErofsOptions<'_>) -> Result<Report> {
    let omissions = xattrs::omissions(fs);
    omissions.check(options.strict, FORM)?;
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
    meter.count(data.runs.share(&files, &target))?;
    let superblock = superblock(&plan, blocks, 0, "");
    Writer::new(&plan, &target, &files, data, Some(superblock), meter).run(options.threads)?;
    Ok(bytes)
}

/// Writes the metadata and the uncompressed contents of files with several threads.
pub(crate) struct Writer<'a> {
    plan: &'a Plan<'a>,
    target: &'a ImageFile<'a>,
    /// The contents files, indexed by their number.
    files: &'a [&'a File],
    /// The superblock to write at the start of the metadata; `None` if the metadata does not begin the image.
    superblock: Option<Superblock>,
    items: ItemRuns,
    jobs: Mutex<Queue<'a>>,
    meter: Meter<'a>,
}

/// The work that no thread has taken yet.
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

    /// Returns the next piece of work, file contents first: they bring the ends of files into the page cache, and the
    /// inodes that are written later contain those ends.
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
