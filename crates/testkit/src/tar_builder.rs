//! Writes tar streams byte by byte, in every dialect of layers, valid or malformed.
//!
//! Headers have the values that the test sets, without checks. [`crate::layer`] uses this module to write valid layers.

mod header;
mod pax;
mod sparse;

pub use header::{Field, Header, Magic, typeflag};
pub use pax::PaxRecords;
pub use sparse::{SparseForm, SparseMap};

/// The size of a tar block in bytes. A header is one block, and data is padded to a multiple.
pub const BLOCK: usize = 512;

/// Builds a tar stream in memory.
#[derive(Debug, Default, Clone)]
pub struct TarBuilder {
    bytes: Vec<u8>,
}

impl TarBuilder {
    /// Returns an empty stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes without padding.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends a header with a correct checksum.
    pub fn header(&mut self, header: &Header) -> &mut Self {
        self.raw(&header.to_block())
    }

    /// Appends data, padded with zeros to a multiple of the block size.
    pub fn data(&mut self, data: &[u8]) -> &mut Self {
        self.raw(data);
        let padded = self.bytes.len().next_multiple_of(BLOCK);
        self.bytes.resize(padded, 0);
        self
    }

    /// Appends `data` with a header that has its size.
    pub fn entry(&mut self, header: Header, data: &[u8]) -> &mut Self {
        self.header(&header.size(data.len() as u64)).data(data)
    }

    /// Appends a PAX extended header (`x`) for the next entry.
    pub fn pax(&mut self, records: &PaxRecords) -> &mut Self {
        self.extended(typeflag::PAX, b"PaxHeaders/entry", records)
    }

    /// Appends a PAX global header (`g`) for all later entries.
    pub fn global_pax(&mut self, records: &PaxRecords) -> &mut Self {
        self.extended(typeflag::PAX_GLOBAL, b"pax_global_header", records)
    }

    fn extended(&mut self, kind: u8, name: &[u8], records: &PaxRecords) -> &mut Self {
        self.entry(Header::new(Magic::Ustar, kind).name(name), records.as_bytes())
    }

    /// Appends a GNU long name (`L`) for the next entry.
    pub fn gnu_long_name(&mut self, name: &[u8]) -> &mut Self {
        self.gnu_long(typeflag::GNU_LONG_NAME, name)
    }

    /// Appends a GNU long link target (`K`) for the next entry.
    pub fn gnu_long_link(&mut self, target: &[u8]) -> &mut Self {
        self.gnu_long(typeflag::GNU_LONG_LINK, target)
    }

    fn gnu_long(&mut self, kind: u8, text: &[u8]) -> &mut Self {
        let terminated: Vec<u8> = text.iter().copied().chain([0]).collect();
        self.entry(Header::new(Magic::Gnu, kind).name(b"././@LongLink"), &terminated)
    }

    /// Returns the stream so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the stream, closed by two blocks of zeros.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }

    /// Returns the stream, closed and padded to a record of 20 blocks, as written by GNU tar and Docker's classic
    /// builder.
    pub fn finish_record(self) -> Vec<u8> {
        let mut bytes = self.finish();
        let padded = bytes.len().next_multiple_of(20 * BLOCK);
        bytes.resize(padded, 0);
        bytes
    }

    /// Returns the stream without closing blocks, which readers also accept.
    pub fn finish_unterminated(self) -> Vec<u8> {
        self.bytes
    }
}
