//! Finding the zeros of a file, for GNU's sparse format 1.0 (GNU tar manual, "PAX Format, Version 1.0").
//!
//! Zeros are found in the bytes and not only in the holes that the file system reports, because these may differ
//! between copies. The tar depends only on the root.

use std::io;
use std::ops::Range;

use vmroot_output::SparseRead;

use super::BLOCK;

/// The least number of bytes to save. A sparse entry costs headers, and simple programs do not understand it.
const MIN_SAVING: u64 = 1 << 20;
/// The unit in which zeros are left out, in bytes.
const PAGE: usize = 4096;
/// The most runs of data. It bounds the memory of this map and of its readers: Go reads at most a mebibyte of it.
const MAX_RUNS: usize = 16_384;
/// The size of the read buffer in bytes.
const BUFFER: usize = 256 << 10;

/// The runs of data of a file, ascending and not adjacent.
pub(super) struct SparseMap {
    pub(super) runs: Vec<Range<u64>>,
    size: u64,
    /// Runs that are closer than this are merged.
    smallest_hole: u64,
}

impl SparseMap {
    /// Finds the runs of data in a range of a file. Returns `None` if leaving out its zeros does not save enough.
    pub(super) fn find(source: &mut dyn SparseRead, file: Range<u64>) -> io::Result<Option<Self>> {
        let size = file.end - file.start;
        if size < MIN_SAVING {
            return Ok(None);
        }
        let mut map = Self { runs: Vec::new(), size, smallest_hole: 1 };
        let mut position = file.start;
        let mut buffer = vec![0; BUFFER];
        while let Some(data) = source.next_data(position..file.end)? {
            // Runs are aligned to pages from the start of the file, independent of the holes that the file system
            // reports.
            let start = (data.start - file.start) / PAGE as u64 * PAGE as u64;
            let stop = (data.end - file.start).next_multiple_of(PAGE as u64).min(size);
            let length = BUFFER.min(usize::try_from(stop - start).unwrap_or(BUFFER));
            source.read_exact_at(&mut buffer[..length], file.start + start)?;
            map.add_bytes(&buffer[..length], start);
            position = file.start + start + length as u64;
        }
        Ok((map.size - map.data_length() >= MIN_SAVING).then_some(map))
    }

    fn add_bytes(&mut self, bytes: &[u8], start: u64) {
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

    /// Returns the map as it is stored before the data: the number of runs, then the offset and length of each, one a
    /// line.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // An empty run at the end marks the end of a file that ends in a hole.
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

    /// Returns the number of bytes in all runs.
    pub(super) fn data_length(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }
}
