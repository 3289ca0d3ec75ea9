//! Writes the metadata and the contents of files.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

use vmroot_output::{ImageFile, Job, Jobs, Meter, workers};
use vmroot_sys::AlignedBuffer;

use super::data::Data;
use super::format::Superblock;
use super::metadata::{ItemRuns, write_directories};
use super::plan::Plan;
use super::superblock::seal;
use crate::{Error, Result};

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
        let jobs = Mutex::new(Queue { data: Jobs::new(files, data.runs, target), next_run: 0 });
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
