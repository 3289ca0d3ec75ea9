//! The formats in which GNU tar writes sparse files.

use super::{BLOCK, Field, Header, PaxRecords};

/// A format of sparse files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SparseForm {
    /// Holes are written as zeros.
    Expanded,
    /// Old GNU: type `S`, with descriptors in the header and in extension blocks.
    OldGnu,
    /// PAX 0.0: repeated `GNU.sparse.offset` and `GNU.sparse.numbytes`.
    Pax00,
    /// PAX 0.1: `GNU.sparse.map`.
    Pax01,
    /// PAX 1.0: the map precedes the data.
    Pax10,
}

impl SparseForm {
    /// All formats.
    pub const ALL: [Self; 5] = [Self::Expanded, Self::OldGnu, Self::Pax00, Self::Pax01, Self::Pax10];
}

/// The stretches of data in a sparse file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparseMap {
    /// The offset and length of each stretch in bytes. GNU tar ends the list with an empty one at the end of the file.
    pub stretches: Vec<(u64, u64)>,
    /// The size of the file in bytes, including holes.
    pub real_size: u64,
}

/// The numbers of descriptors in the header and in each extension block.
const IN_HEADER: usize = 4;
const IN_EXTENSION: usize = 21;

impl SparseMap {
    /// Returns an old GNU header for this map, and the extension blocks that follow it.
    pub fn old_gnu(&self, header: Header) -> (Header, Vec<u8>) {
        let (first, rest) = self.stretches.split_at(self.stretches.len().min(IN_HEADER));
        let header = header
            .field(Field::GNU_SPARSE, &descriptors(first))
            .field(Field::GNU_IS_EXTENDED, &[u8::from(!rest.is_empty())])
            .number(Field::GNU_REAL_SIZE, self.real_size.into());
        let mut extensions = Vec::new();
        let mut chunks = rest.chunks(IN_EXTENSION).peekable();
        while let Some(chunk) = chunks.next() {
            let mut block = descriptors(chunk);
            block.resize(BLOCK, 0);
            block[504] = u8::from(chunks.peek().is_some());
            extensions.extend_from_slice(&block);
        }
        (header, extensions)
    }

    /// Adds the records of format 0.0.
    pub fn pax_00(&self, records: PaxRecords) -> PaxRecords {
        let records = records
            .record("GNU.sparse.size", self.real_size.to_string())
            .record("GNU.sparse.numblocks", self.stretches.len().to_string());
        self.stretches.iter().fold(records, |records, (offset, length)| {
            records.record("GNU.sparse.offset", offset.to_string()).record("GNU.sparse.numbytes", length.to_string())
        })
    }

    /// Adds the records of format 0.1.
    pub fn pax_01(&self, records: PaxRecords, name: &[u8]) -> PaxRecords {
        let map: Vec<String> = self.stretches.iter().map(|(offset, length)| format!("{offset},{length}")).collect();
        records
            .record("GNU.sparse.name", name)
            .record("GNU.sparse.size", self.real_size.to_string())
            .record("GNU.sparse.numblocks", self.stretches.len().to_string())
            .record("GNU.sparse.map", map.join(","))
    }

    /// Adds the records of format 1.0, and returns them with the map that precedes the data.
    pub fn pax_10(&self, records: PaxRecords, name: &[u8]) -> (PaxRecords, Vec<u8>) {
        let records = records
            .record("GNU.sparse.major", "1")
            .record("GNU.sparse.minor", "0")
            .record("GNU.sparse.name", name)
            .record("GNU.sparse.realsize", self.real_size.to_string());
        let mut map = format!("{}\n", self.stretches.len()).into_bytes();
        for (offset, length) in &self.stretches {
            map.extend_from_slice(format!("{offset}\n{length}\n").as_bytes());
        }
        map.resize(map.len().next_multiple_of(BLOCK), 0);
        (records, map)
    }
}

fn descriptors(stretches: &[(u64, u64)]) -> Vec<u8> {
    stretches.iter().flat_map(|(offset, length)| [number(*offset), number(*length)].concat()).collect()
}

/// Returns a number in twelve bytes: octal digits, or base-256 from 8 GiB on.
fn number(value: u64) -> Vec<u8> {
    if value <= 0o77_777_777_777 {
        return format!("{value:011o}\0").into_bytes();
    }
    let mut bytes = vec![0x80, 0, 0, 0];
    bytes.extend_from_slice(&value.to_be_bytes());
    bytes
}
