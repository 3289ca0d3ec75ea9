//! File contents copied to an image in long writes.
//!
//! An image has files in the order of the contents files, as far as its format allows, so nearly all reads and writes
//! are sequential. In a contents file every file begins at a block boundary, and its last block is padded with zeros.
//! An index that violates this does not open.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use vmroot_sys::{AlignedBuffer, clone_range};

use crate::{ImageFile, LastHoles};

/// The block size in bytes of contents files and of both image formats.
const BLOCK: u64 = 4096;

/// The most bytes of one write.
const MAX_WRITE: u64 = 4 << 20;

/// Blocks to copy from a contents file to the image.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// The number of the contents file.
    pub file: u32,
    /// The offset in the contents file in bytes.
    pub from: u64,
    /// The offset in the image in bytes.
    pub to: u64,
    /// The length in bytes, a multiple of the block size.
    pub length: u64,
}

/// Receives the runs of an image before they are written, for a caller that knows something about the blocks of the
/// contents files, such as their digests.
#[derive(Clone, Copy)]
pub struct RunsHook<'a>(&'a (dyn Fn(&[Run]) + Sync));

impl<'a> RunsHook<'a> {
    /// Wraps a callback.
    pub fn new(callback: &'a (dyn Fn(&[Run]) + Sync)) -> Self {
        Self(callback)
    }
}

impl fmt::Debug for RunsHook<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunsHook")
    }
}

/// All blocks to copy.
#[derive(Debug, Default)]
pub struct Runs(Vec<Run>);

impl Runs {
    /// Appends blocks, and merges them with the last run if they are adjacent to it.
    pub fn push(&mut self, run: Run) {
        match self.0.last_mut() {
            Some(last)
                if last.file == run.file && last.from + last.length == run.from && last.to + last.length == run.to =>
            {
                last.length += run.length;
            }
            _ => self.0.push(run),
        }
    }

    /// Passes all runs to a hook.
    pub fn report(&self, hook: Option<RunsHook<'_>>) {
        if let Some(RunsHook(callback)) = hook {
            callback(&self.0);
        }
    }

    /// Returns the sum of the lengths in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|run| run.length).sum()
    }

    /// Shares blocks with the image where the file systems support it, and removes these from the list. Returns the
    /// number of bytes shared. Errors are ignored: blocks that are not shared are copied, which reports errors of the
    /// disk.
    pub fn share(&mut self, files: &[&File], target: &ImageFile<'_>) -> u64 {
        let mut shared = 0;
        let mut refused = None;
        self.0.retain(|run| {
            if refused == Some(run.file) {
                return true;
            }
            let source = files[run.file as usize];
            match clone_range(source, run.from, run.length, target.file(), run.to) {
                Ok(()) => shared += run.length,
                Err(_) => refused = Some(run.file),
            }
            refused == Some(run.file)
        });
        shared
    }
}

/// One write: blocks that are contiguous in the image.
#[derive(Debug)]
pub struct Job {
    pieces: Vec<Run>,
    /// Bytes of the image that are done after this write, including the holes before it.
    pub progress: u64,
}

/// Hands out the writes, front to back and without holes.
#[derive(Debug)]
pub struct Jobs<'a> {
    files: &'a [&'a File],
    runs: std::vec::IntoIter<Run>,
    holes: LastHoles<'a>,
    /// The rest of the current run.
    current: Option<Run>,
    /// Whether parts of the image that are not written read as zeros.
    sparse: bool,
}

impl<'a> Jobs<'a> {
    /// Creates the jobs for an image.
    pub fn new(files: &'a [&'a File], runs: Runs, target: &ImageFile<'_>) -> Self {
        let (holes, sparse) = (LastHoles::default(), target.is_sparse());
        Self { files, runs: runs.0.into_iter(), holes, current: None, sparse }
    }

    /// Returns the next write, or `None` at the end.
    ///
    /// # Errors
    /// [`MoveError::Read`]: the holes of a contents file cannot be found.
    pub fn next_job(&mut self) -> Result<Option<Job>, MoveError> {
        let mut job = Job { pieces: Vec::new(), progress: 0 };
        let mut length = 0;
        while length < MAX_WRITE {
            let Some(run) = self.current.take().or_else(|| self.runs.next()) else { break };
            let Some(data) = self.data_of(&run)? else {
                job.progress += run.length;
                continue;
            };
            let to = run.to + (data.start - run.from);
            if job.pieces.last().is_some_and(|last| last.to + last.length != to) {
                self.current = Some(run);
                break;
            }
            let piece = Run { from: data.start, to, length: (data.end - data.start).min(MAX_WRITE - length), ..run };
            let done = piece.from + piece.length - run.from;
            length += piece.length;
            job.progress += done;
            job.pieces.push(piece);
            let rest = Run { from: run.from + done, to: run.to + done, length: run.length - done, ..run };
            self.current = (rest.length > 0).then_some(rest);
        }
        Ok((job.progress > 0).then_some(job))
    }

    /// Returns the first blocks of a run that are not a hole.
    fn data_of(&mut self, run: &Run) -> Result<Option<Range<u64>>, MoveError> {
        let range = run.from..run.from + run.length;
        if !self.sparse {
            return Ok(Some(range));
        }
        let data = self.holes.of(run.file, self.files[run.file as usize]).next_data(range);
        let data = data.map_err(|source| MoveError::Read { file: run.file, offset: run.from, source })?;
        // A file system with smaller blocks may have smaller holes.
        Ok(data.map(|data| data.start - data.start % BLOCK..data.end.next_multiple_of(BLOCK)))
    }
}

impl Job {
    /// Copies the blocks.
    ///
    /// # Errors
    /// - [`MoveError::Read`]: a contents file cannot be read.
    /// - [`MoveError::Write`]: the image cannot be written.
    pub fn run(&self, files: &[&File], target: &ImageFile<'_>, buffer: &mut AlignedBuffer) -> Result<(), MoveError> {
        let Some(first) = self.pieces.first() else { return Ok(()) };
        let length: u64 = self.pieces.iter().map(|piece| piece.length).sum();
        let mut rest = buffer.resize(length as usize);
        for piece in &self.pieces {
            let (bytes, behind) = rest.split_at_mut(piece.length as usize);
            let read = files[piece.file as usize].read_exact_at(bytes, piece.from);
            read.map_err(|source| MoveError::Read { file: piece.file, offset: piece.from, source })?;
            rest = behind;
        }
        target.write(buffer.as_slice(), first.to).map_err(MoveError::Write)
    }
}

/// An error of copying contents to an image.
#[derive(Debug)]
pub enum MoveError {
    /// A contents file cannot be read.
    Read {
        /// The number of the contents file.
        file: u32,
        /// The start of the read in the contents file, in bytes.
        offset: u64,
        /// The error of the system.
        source: io::Error,
    },
    /// The image cannot be written.
    Write(io::Error),
}
