//! The contents of files, moved in long writes.
//!
//! Files lie in an image in the order in which they lie in contents files, as far as its form lets them, so nearly
//! everything is read and written front to back. Contents lie in whole blocks, zeros behind the end of a file, and an
//! index that says otherwise does not open.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use vmroot_sys::{AlignedBuffer, clone_range};

use crate::{ImageFile, LastHoles};

/// Bytes of a block, which contents files and both forms have in common.
const BLOCK: u64 = 4096;

/// The most bytes of one write.
const JOB: u64 = 4 << 20;

/// Blocks of a contents file that are to be moved.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Number of the contents file.
    pub file: u32,
    /// Where they are there, in bytes.
    pub from: u64,
    /// Where they go in the image, in bytes.
    pub to: u64,
    /// In bytes, a multiple of the block.
    pub length: u64,
}

/// All that is to be moved.
#[derive(Default)]
pub struct Runs(Vec<Run>);

impl Runs {
    /// Puts more blocks behind the others.
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

    /// How much it is.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|run| run.length).sum()
    }

    /// Shares with the image what the file systems let it, and takes it off the list; gives its bytes. Whatever is in the
    /// way: what is not shared is copied, and if the disk is at fault, copying will say so.
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

/// One write: blocks that follow each other in the image.
pub struct Job {
    pieces: Vec<Run>,
    /// Bytes of the image that are done with it, holes before it included.
    pub progress: u64,
}

/// Hands out what is to be moved, front to back, without the holes.
pub struct Jobs<'a> {
    files: &'a [&'a File],
    runs: std::vec::IntoIter<Run>,
    holes: LastHoles<'a>,
    /// What is left of the run that was begun.
    current: Option<Run>,
    sparse: bool,
}

impl<'a> Jobs<'a> {
    /// Of an image that reads as zeros where nothing is written, if it is `sparse`.
    pub fn new(files: &'a [&'a File], runs: Runs, sparse: bool) -> Self {
        Self { files, runs: runs.0.into_iter(), holes: LastHoles::default(), current: None, sparse }
    }

    /// The next write; nothing when all are handed out.
    pub fn next_job(&mut self) -> Result<Option<Job>, MoveError> {
        let mut job = Job { pieces: Vec::new(), progress: 0 };
        let mut length = 0;
        while length < JOB {
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
            let piece = Run { from: data.start, to, length: (data.end - data.start).min(JOB - length), ..run };
            let done = piece.from + piece.length - run.from;
            length += piece.length;
            job.progress += done;
            job.pieces.push(piece);
            let rest = Run { from: run.from + done, to: run.to + done, length: run.length - done, ..run };
            self.current = (rest.length > 0).then_some(rest);
        }
        Ok((job.progress > 0).then_some(job))
    }

    /// The first blocks of a run that are no hole.
    fn data_of(&mut self, run: &Run) -> Result<Option<Range<u64>>, MoveError> {
        let range = run.from..run.from + run.length;
        if !self.sparse {
            return Ok(Some(range));
        }
        let data = self.holes.of(run.file, self.files[run.file as usize]).next_data(range);
        let data = data.map_err(|source| MoveError::Read { file: run.file, source })?;
        // File systems with smaller blocks than ours have smaller holes.
        Ok(data.map(|data| data.start - data.start % BLOCK..data.end.next_multiple_of(BLOCK)))
    }
}

impl Job {
    /// Moves the blocks.
    ///
    /// # Errors
    /// [`MoveError::Read`] when a file cannot be read, [`MoveError::Write`] when the image cannot be written.
    pub fn run(&self, files: &[&File], target: &ImageFile<'_>, buffer: &mut AlignedBuffer) -> Result<(), MoveError> {
        let Some(first) = self.pieces.first() else { return Ok(()) };
        let length: u64 = self.pieces.iter().map(|piece| piece.length).sum();
        let mut rest = buffer.resize(length as usize);
        for piece in &self.pieces {
            let (bytes, behind) = rest.split_at_mut(piece.length as usize);
            let read = files[piece.file as usize].read_exact_at(bytes, piece.from);
            read.map_err(|source| MoveError::Read { file: piece.file, source })?;
            rest = behind;
        }
        target.write(buffer.as_slice(), first.to).map_err(MoveError::Write)
    }
}

/// A failed move.
#[derive(Debug)]
pub enum MoveError {
    /// A contents file cannot be read.
    Read {
        /// Its number.
        file: u32,
        /// The system's answer.
        source: io::Error,
    },
    /// The image cannot be written.
    Write(io::Error),
}
