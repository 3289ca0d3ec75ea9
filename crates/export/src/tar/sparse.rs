//! Which parts of a file hold more than zeros, and GNU's sparse format 1.0 to say so (GNU tar manual, "PAX Format,
//! Version 1.0").
//!
//! Blocks of zeros are found by looking at the bytes, not by asking the file system, which may have filled the holes:
//! a tar is a function of the root alone.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use vmroot_output::Holes;

use super::BLOCK;

/// Zeros are left out of a file if at least this many bytes are saved: a sparse entry costs headers, and the
/// understanding of simpler readers.
const WORTHWHILE: u64 = 1 << 20;
/// Zeros count in pieces of this many bytes.
const PAGE: usize = 4096;
/// The most runs of data that are told apart, so that neither this map nor a reader's takes much memory: Go reads a
/// mebibyte of it at most.
const MAX_RUNS: usize = 16_384;
/// Bytes looked at at once.
const BUFFER: usize = 256 << 10;

/// The runs of data of a file, ascending and apart.
pub(super) struct Map {
    pub(super) runs: Vec<Range<u64>>,
    size: u64,
    /// Runs closer than this are one.
    smallest_hole: u64,
}

impl Map {
    /// Looks at a range of a file, which is a file for the tar; nothing if its zeros are not worth a map.
    pub(super) fn of(holes: &mut Holes<'_>, file: Range<u64>) -> io::Result<Option<Self>> {
        let size = file.end - file.start;
        if size < WORTHWHILE {
            return Ok(None);
        }
        let mut map = Self { runs: Vec::new(), size, smallest_hole: 1 };
        let mut position = file.start;
        let mut buffer = vec![0; BUFFER];
        while let Some(data) = holes.next_data(position..file.end)? {
            // In whole pages from the start of the file, wherever the file system sees the data begin and end.
            let start = (data.start - file.start) / PAGE as u64 * PAGE as u64;
            let stop = (data.end - file.start).next_multiple_of(PAGE as u64).min(size);
            let length = BUFFER.min(usize::try_from(stop - start).unwrap_or(BUFFER));
            holes.file().read_exact_at(&mut buffer[..length], file.start + start)?;
            map.look_at(&buffer[..length], start);
            position = file.start + start + length as u64;
        }
        Ok((map.size - map.data_length() >= WORTHWHILE).then_some(map))
    }

    fn look_at(&mut self, bytes: &[u8], start: u64) {
        for (page, at) in bytes.chunks(PAGE).zip((start..).step_by(PAGE)) {
            if page.iter().any(|&byte| byte != 0) {
                self.add(at..at + page.len() as u64);
            }
        }
    }

    fn add(&mut self, run: Range<u64>) {
        match self.runs.last_mut() {
            Some(last) if run.start < last.end + self.smallest_hole => last.end = run.end,
            _ => self.runs.push(run),
        }
        while self.runs.len() > MAX_RUNS {
            self.join_close_runs();
        }
    }

    fn join_close_runs(&mut self) {
        self.smallest_hole = (2 * self.smallest_hole).max(2 * PAGE as u64);
        let distance = self.smallest_hole;
        self.runs.dedup_by(|run, before| {
            let close = run.start < before.end + distance;
            if close {
                before.end = run.end;
            }
            close
        });
    }

    /// The bytes before the data: the number of runs, then offset and length of each, one a line.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // A run of nothing at the end says where the file ends, if that is in a hole.
        let end = self.runs.last().is_none_or(|last| last.end < self.size).then_some(self.size..self.size);
        let runs = self.runs.iter().chain(&end);
        let mut text = format!("{}\n", runs.clone().count());
        for run in runs {
            text += &format!("{}\n{}\n", run.start, run.end - run.start);
        }
        let mut bytes = text.into_bytes();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    /// The bytes of all runs.
    pub(super) fn data_length(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }
}
