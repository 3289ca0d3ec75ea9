//! Serialising an index. Sections are streamed in order, and the header is written last.

use std::io::{self, Seek, SeekFrom, Write};

use vmroot_model::{Algorithm, Digest};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use crate::format::{
    ALIGNMENT, ContentsRecord, Header, MAGIC, MAJOR, MINOR, SECTION_ALIGNMENT, SECTIONS, SHA256, SHA512, Section,
    SectionRecord,
};
use crate::open::ContentsFile;

/// The size of the write buffer in bytes. Checksumming and writing are slow for one record at a time.
const BUFFER_SIZE: usize = 1 << 17;

/// Writes one index to an empty file.
///
/// Each section must be written once, in the order of [`Section::ALL`].
pub(crate) struct IndexWriter<W: Write + Seek> {
    out: W,
    buffer: Vec<u8>,
    sections: Vec<SectionRecord>,
    position: u64,
    checksum: crc32fast::Hasher,
}

impl<W: Write + Seek> IndexWriter<W> {
    pub(crate) fn new(mut out: W) -> io::Result<Self> {
        let position = size_of::<Header>() as u64;
        out.write_all(&[0; size_of::<Header>()])?;
        let (buffer, sections) = (Vec::with_capacity(BUFFER_SIZE), Vec::with_capacity(SECTIONS));
        Ok(Self { out, buffer, sections, position, checksum: crc32fast::Hasher::new() })
    }

    /// Writes the next section from an iterator of records.
    pub(crate) fn write_records<R>(&mut self, section: Section, records: impl Iterator<Item = R>) -> io::Result<()>
    where
        R: IntoBytes + Immutable,
    {
        self.begin_section(section)?;
        for record in records {
            self.write(record.as_bytes())?;
        }
        self.end_section()
    }

    /// Writes the next section from an iterator of strings, without separators.
    pub(crate) fn write_strings<'a>(
        &mut self,
        section: Section,
        strings: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        self.begin_section(section)?;
        for string in strings {
            self.write(string)?;
        }
        self.end_section()
    }

    /// Writes the next section from bytes.
    pub(crate) fn write_bytes(&mut self, section: Section, bytes: &[u8]) -> io::Result<()> {
        self.begin_section(section)?;
        self.write(bytes)?;
        self.end_section()
    }

    /// Flushes the buffer, writes the header, and returns the file and its length in bytes.
    pub(crate) fn finish(mut self, kind: u32, identity: &Digest) -> io::Result<(W, u64)> {
        self.pad()?;
        self.flush()?;
        let (identity_algorithm, identity) = digest_fields(identity);
        let mut header = Header {
            magic: MAGIC,
            major: MAJOR.into(),
            minor: MINOR.into(),
            kind: kind.into(),
            file_length: self.position.into(),
            checksum: 0.into(),
            alignment: (ALIGNMENT as u32).into(),
            identity_algorithm: identity_algorithm.into(),
            section_count: (SECTIONS as u32).into(),
            identity,
            reserved: [0; 24],
            sections: <[SectionRecord; SECTIONS]>::new_zeroed(),
        };
        assert_eq!(self.sections.len(), SECTIONS, "every section is written");
        header.sections.copy_from_slice(&self.sections);
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(header.as_bytes());
        checksum.combine(&self.checksum);
        header.checksum = checksum.finalize().into();

        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(header.as_bytes())?;
        Ok((self.out, self.position))
    }

    fn begin_section(&mut self, section: Section) -> io::Result<()> {
        assert_eq!(section as usize, self.sections.len(), "sections are written in order");
        self.pad()?;
        self.sections.push(SectionRecord {
            offset: self.position.into(),
            length: 0.into(),
            stride: (section.stride() as u32).into(),
            id: (section as u32).into(),
        });
        Ok(())
    }

    fn end_section(&mut self) -> io::Result<()> {
        let section = self.sections.last_mut().expect("begin_section() pushed it");
        section.length = (self.position - section.offset.get()).into();
        Ok(())
    }

    fn pad(&mut self) -> io::Result<()> {
        let padding = self.position.next_multiple_of(SECTION_ALIGNMENT) - self.position;
        self.write(&[0; SECTION_ALIGNMENT as usize][..padding as usize])
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as u64;
        if bytes.len() > BUFFER_SIZE - self.buffer.len() {
            self.flush()?;
        }
        if bytes.len() > BUFFER_SIZE {
            self.checksum.update(bytes);
            return self.out.write_all(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.checksum.update(&self.buffer);
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

fn digest_fields(digest: &Digest) -> (u32, [u8; 64]) {
    let mut padded = [0; 64];
    padded[..digest.as_bytes().len()].copy_from_slice(digest.as_bytes());
    let algorithm = match digest.algorithm() {
        Algorithm::Sha256 => SHA256,
        Algorithm::Sha512 => SHA512,
    };
    (algorithm, padded)
}

impl From<&ContentsFile> for ContentsRecord {
    fn from(file: &ContentsFile) -> Self {
        let (algorithm, diff_id) = digest_fields(&file.diff_id);
        Self { diff_id, algorithm: algorithm.into(), reserved: 0.into(), length: file.length.into() }
    }
}
