//! Reading the maps of sparse files in their four formats: old GNU headers, and PAX 0.0, 0.1 and 1.0.

use std::io::BufRead;

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use super::header::{BLOCK, parse_number};
use super::pax::{SparseKeys, parse_decimal};
use super::tar_stream::TarStream;

/// The largest number of runs of data in one sparse file.
const MAX_RUNS: usize = 1 << 20;

/// A run of data in a sparse file, in bytes. The bytes between runs are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// The map of a sparse file.
///
/// Its runs are in order, not empty, do not overlap, and end within `size` bytes.
#[derive(Debug)]
pub(super) struct SparseMap {
    pub(super) size: u64,
    pub(super) runs: Vec<Run>,
}

impl SparseMap {
    /// Creates a map from pairs of offset and length.
    ///
    /// Checks that the runs are in order, lie inside the file, and have `stored` bytes in total.
    fn from_pairs(size: u64, pairs: &[(u64, u64)], stored: u64) -> Result<Self, String> {
        let mut runs = Vec::new();
        let (mut end, mut total) = (0, 0_u64);
        for &(offset, length) in pairs {
            let next = offset.checked_add(length).filter(|next| *next <= size && offset >= end);
            end = next.ok_or("the map of the sparse file is not in order, or leaves the file")?;
            total += length;
            if length > 0 {
                runs.push(Run { offset, length });
            }
        }
        if total != stored {
            return Err(format!("the map of the sparse file has {total} bytes of data, the archive {stored}"));
        }
        Ok(Self { size, runs })
    }
}

/// Reads the map of an old GNU sparse entry (type `S`).
///
/// The header has four runs, and each extension block after it has 21.
pub(super) fn read_old_gnu_map<R: BufRead>(
    block: &[u8; BLOCK],
    stored: u64,
    stream: &mut TarStream<R>,
) -> crate::Result<SparseMap> {
    let gnu = Header::from_byte_slice(block).as_gnu();
    let gnu = gnu.ok_or_else(|| stream.invalid("a sparse entry without a GNU header"))?;
    let mut pairs = Vec::new();
    let mut valid = push_runs(&mut pairs, &gnu.sparse);
    let mut extended = gnu.isextended[0] != 0;
    while extended && valid.is_some() {
        if pairs.len() > MAX_RUNS {
            return Err(too_many_runs(stream));
        }
        let mut extension = GnuExtSparseHeader::new();
        stream.read_exact(extension.as_mut_bytes())?;
        valid = push_runs(&mut pairs, &extension.sparse);
        extended = extension.isextended[0] != 0;
    }
    let size = valid.and_then(|()| parse_unsigned(&gnu.realsize));
    let size = size.ok_or_else(|| stream.invalid(INVALID_NUMBERS))?;
    SparseMap::from_pairs(size, &pairs, stored).map_err(|reason| stream.invalid(reason))
}

fn too_many_runs<R: BufRead>(stream: &TarStream<R>) -> crate::Error {
    stream.limit("MAX_RUNS", "runs of data of a sparse file", MAX_RUNS)
}

const INVALID_NUMBERS: &str = "the map of the sparse file has invalid numbers";

/// Appends the runs of a header.
///
/// Unused records are zero bytes. A used record may have the numbers 0 and 0, but as digits.
fn push_runs(pairs: &mut Vec<(u64, u64)>, runs: &[GnuSparseHeader]) -> Option<()> {
    for run in runs.iter().take_while(|run| run.offset[0] != 0 || run.numbytes[0] != 0) {
        pairs.push((parse_unsigned(&run.offset)?, parse_unsigned(&run.numbytes)?));
    }
    Some(())
}

fn parse_unsigned(field: &[u8]) -> Option<u64> {
    u64::try_from(parse_number(field)?).ok()
}

/// Reads the map of a PAX sparse file, from its keys or, in format 1.0, from the beginning of its data.
///
/// Returns the map and the number of bytes of data after it.
pub(super) fn read_pax_map<R: BufRead>(
    keys: SparseKeys,
    stored: u64,
    stream: &mut TarStream<R>,
) -> crate::Result<(SparseMap, u64)> {
    let (numbers, stored) = match (keys.map, keys.major, keys.minor) {
        (Some(map), None | Some(0), _) => (map, stored),
        (None, Some(1), Some(0)) => {
            let (map, read) = read_map_data(stored, stream)?;
            (map, stored - read)
        }
        _ => return Err(stream.invalid("a sparse file of an unknown PAX form")),
    };
    let size = keys.real_size.ok_or_else(|| stream.invalid("a sparse file without its real size"))?;
    if numbers.len() % 2 != 0 {
        return Err(stream.invalid("the map of the sparse file is not in pairs"));
    }
    if numbers.len() / 2 > MAX_RUNS {
        return Err(too_many_runs(stream));
    }
    let pairs: Vec<_> = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let map = SparseMap::from_pairs(size, &pairs, stored).map_err(|reason| stream.invalid(reason))?;
    Ok((map, stored))
}

/// Reads a map of format 1.0: a line with the number of runs, then two lines for each run, padded to whole blocks.
///
/// Returns the numbers and the number of bytes read.
fn read_map_data<R: BufRead>(stored: u64, stream: &mut TarStream<R>) -> crate::Result<(Vec<u64>, u64)> {
    let mut lines = MapLines::default();
    let mut read = 0;
    while !lines.is_complete() {
        if read + BLOCK as u64 > stored {
            return Err(stream.invalid("the map of the sparse file ends early"));
        }
        let mut block = [0; BLOCK];
        stream.read_exact(&mut block)?;
        read += BLOCK as u64;
        lines.read_block(&block).ok_or_else(|| stream.invalid(INVALID_NUMBERS))?;
        if lines.expected.is_some_and(|expected| expected / 2 > MAX_RUNS) {
            return Err(too_many_runs(stream));
        }
    }
    Ok((lines.numbers, read))
}

/// The lines of a map of format 1.0 that have been read.
#[derive(Default)]
struct MapLines {
    /// The number of lines after the first one: twice the number in the first line, once it is read.
    expected: Option<usize>,
    numbers: Vec<u64>,
    line: Vec<u8>,
}

impl MapLines {
    fn is_complete(&self) -> bool {
        self.expected == Some(self.numbers.len())
    }

    /// Reads the lines of a block. Returns `None` for a line that is not a number.
    fn read_block(&mut self, block: &[u8; BLOCK]) -> Option<()> {
        for &byte in block {
            if self.is_complete() {
                break;
            }
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let value = parse_decimal(&self.line)?;
            self.line.clear();
            match self.expected {
                Some(_) => self.numbers.push(value),
                // The caller checks the limit after each block.
                None => self.expected = Some(usize::try_from(value).ok()?.checked_mul(2)?),
            }
        }
        // Without this check, a line without an end would grow with the data. A number has at most 20 digits.
        (self.line.len() <= 20).then_some(())
    }
}
