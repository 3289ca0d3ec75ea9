//! The contents of files, moved in long writes.
//!
//! Files lie in an image in the order in which they lie in contents files, as far as its form lets them, so nearly
//! everything is read and written front to back. Contents lie in whole blocks, zeros behind the end of a file, and an
//! index that says otherwise does not open.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use vmroot_container_fs::ContainerFs;
use vmroot_output::LastHoles;
use vmroot_sys::{AlignedBuffer, clone_range};

use crate::target::Target;
use crate::{Error, Result};

/// Bytes of a block, which contents files and both forms have in common.
const BLOCK: u64 = 4096;

/// The most bytes of one write.
const JOB: u64 = 4 << 20;

/// Blocks of a contents file that are to be moved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// Number of the contents file.
    pub(crate) file: u32,
    /// Where they are there, in bytes.
    pub(crate) from: u64,
    /// Where they go in the image, in bytes.
    pub(crate) to: u64,
    /// In bytes, a multiple of the block.
    pub(crate) length: u64,
}

/// All that is to be moved.
#[derive(Default)]
pub(crate) struct Runs(Vec<Run>);

impl Runs {
    /// Puts more blocks behind the others.
    pub(crate) fn push(&mut self, run: Run) {
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
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|run| run.length).sum()
    }

    /// Shares with the image what the file systems let it, and takes it off the list; gives its bytes. Whatever is in the
    /// way: what is not shared is copied, and if the disk is at fault, copying will say so.
    pub(crate) fn share(&mut self, fs: &ContainerFs, target: &Target<'_>) -> u64 {
        let mut shared = 0;
        let mut refused = None;
        self.0.retain(|run| {
            if refused == Some(run.file) {
                return true;
            }
            let source = &fs.contents_file(run.file).file;
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
pub(crate) struct Job {
    pieces: Vec<Run>,
    /// Bytes of the image that are done with it, holes before it included.
    pub(crate) progress: u64,
}

/// Hands out what is to be moved, front to back, without the holes.
pub(crate) struct Jobs<'a> {
    fs: &'a ContainerFs,
    runs: std::vec::IntoIter<Run>,
    holes: LastHoles<'a>,
    /// What is left of the run that was begun.
    current: Option<Run>,
    sparse: bool,
}

impl<'a> Jobs<'a> {
    /// Of an image that reads as zeros where nothing is written, if it is `sparse`.
    pub(crate) fn new(fs: &'a ContainerFs, runs: Runs, sparse: bool) -> Self {
        Self { fs, runs: runs.0.into_iter(), holes: LastHoles::default(), current: None, sparse }
    }

    /// The next write; nothing when all are handed out.
    pub(crate) fn next_job(&mut self) -> Result<Option<Job>> {
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
    fn data_of(&mut self, run: &Run) -> Result<Option<Range<u64>>> {
        let range = run.from..run.from + run.length;
        if !self.sparse {
            return Ok(Some(range));
        }
        let data = self.holes.of(run.file, &self.fs.contents_file(run.file).file).next_data(range);
        let data = data.map_err(|error| unreadable(self.fs, run.file, error))?;
        // File systems with smaller blocks than ours have smaller holes.
        Ok(data.map(|data| data.start - data.start % BLOCK..data.end.next_multiple_of(BLOCK)))
    }
}

impl Job {
    /// Moves the blocks.
    pub(crate) fn run(&self, fs: &ContainerFs, target: &Target<'_>, buffer: &mut AlignedBuffer) -> Result<()> {
        let Some(first) = self.pieces.first() else { return Ok(()) };
        let length: u64 = self.pieces.iter().map(|piece| piece.length).sum();
        let mut rest = buffer.resize(length as usize);
        for piece in &self.pieces {
            let (bytes, behind) = rest.split_at_mut(piece.length as usize);
            let file = &fs.contents_file(piece.file).file;
            file.read_exact_at(bytes, piece.from).map_err(|error| unreadable(fs, piece.file, error))?;
            rest = behind;
        }
        target.write(buffer.as_slice(), first.to).map_err(Error::Write)
    }
}

/// What a contents file that cannot be read is reported as.
pub(crate) fn unreadable(fs: &ContainerFs, file: u32, source: io::Error) -> Error {
    let path = fs.contents_file(file).path.clone();
    Error::Root(vmroot_container_fs::Error::Contents { path, source })
}
