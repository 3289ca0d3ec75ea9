//! The content of a regular file, with holes.

use std::fmt;

use vmroot_model::{Algorithm, Digest, Hasher};

use crate::tar_builder::{BLOCK, SparseMap};

/// The content of a file: runs of data with zeros between them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Content {
    size: u64,
    runs: Vec<(u64, Vec<u8>)>,
}

/// A block of zeros for hashing and writing holes.
static ZEROS: [u8; 65536] = [0; 65536];

impl Content {
    /// Returns content without holes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let runs = if bytes.is_empty() { Vec::new() } else { vec![(0, bytes.to_vec())] };
        Self { size: bytes.len() as u64, runs }
    }

    /// Returns `size` bytes with these runs of data, which are ascending, do not touch and end within `size`. The rest
    /// is zeros.
    pub fn sparse(size: u64, runs: Vec<(u64, Vec<u8>)>) -> Self {
        let mut end = 0;
        for (offset, run) in &runs {
            assert!(*offset >= end && offset + run.len() as u64 <= size, "runs ascend and end within the size");
            end = offset + run.len() as u64;
        }
        Self { size, runs }
    }

    /// Returns the size in bytes, including holes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the runs of data with their offsets.
    pub fn runs(&self) -> &[(u64, Vec<u8>)] {
        &self.runs
    }

    /// Returns whether there is a hole.
    pub fn is_sparse(&self) -> bool {
        self.runs.iter().map(|(_, run)| run.len() as u64).sum::<u64>() != self.size
    }

    /// Returns the sparse map that GNU tar would write, and the data for it.
    ///
    /// Stretches begin and end at multiples of 512 bytes or at the end of the file. GNU tar reads each stretch from a
    /// new block, and other readers read them without padding; with this alignment both read the same.
    pub fn sparse_map(&self) -> (SparseMap, Vec<u8>) {
        let block = BLOCK as u64;
        let mut stretches: Vec<(u64, u64)> = Vec::new();
        for (offset, run) in self.runs.iter().filter(|(_, run)| !run.is_empty()) {
            let start = offset / block * block;
            let end = (offset + run.len() as u64).next_multiple_of(block).min(self.size);
            match stretches.last_mut() {
                Some((first, length)) if *first + *length >= start => *length = end - *first,
                _ => stretches.push((start, end - start)),
            }
        }
        let data = stretches.iter().flat_map(|(offset, length)| self.slice(*offset, *length)).collect();
        if stretches.last().is_none_or(|(offset, length)| offset + length < self.size) {
            stretches.push((self.size, 0));
        }
        (SparseMap { stretches, real_size: self.size }, data)
    }

    fn slice(&self, start: u64, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(length).expect("runs are in memory")];
        let within =
            |at: u64| (start..start + length).contains(&at).then(|| usize::try_from(at - start).expect("in memory"));
        for (offset, run) in &self.runs {
            for (at, byte) in (*offset..).zip(run) {
                if let Some(place) = within(at) {
                    bytes[place] = *byte;
                }
            }
        }
        bytes
    }

    /// Returns all bytes, with holes as zeros. The content must fit into memory.
    pub fn expand(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.for_each_piece(|piece| bytes.extend_from_slice(piece));
        bytes
    }

    /// Returns the digest of all bytes.
    pub fn sha256(&self) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        self.for_each_piece(|piece| hasher.update(piece));
        hasher.finish()
    }

    fn for_each_piece(&self, mut take: impl FnMut(&[u8])) {
        let mut at = 0;
        for (offset, run) in
            self.runs.iter().map(|(offset, run)| (*offset, run.as_slice())).chain([(self.size, &[][..])])
        {
            while at < offset {
                let piece = ZEROS.len().min(usize::try_from(offset - at).unwrap_or(usize::MAX));
                take(&ZEROS[..piece]);
                at += piece as u64;
            }
            take(run);
            at += run.len() as u64;
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes:", self.size)?;
        self.runs.iter().try_for_each(|(offset, run)| write!(f, " {offset}+\"{}\"", run.escape_ascii()))
    }
}
