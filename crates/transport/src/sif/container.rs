//! The header and the descriptors of a SIF file, version 1 (the package sylabs/sif, `pkg/sif`).
//!
//! All numbers are little-endian, and fields are packed.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use vmroot_errors::describe_content;

use crate::section::Section;
use crate::{Error, Result};

/// The length of the header in bytes.
const HEADER: u64 = 128;
/// The magic number, and its offset.
const MAGIC: (usize, &[u8]) = (32, b"SIF_MAGIC\0");
/// The only version, and its offset.
const VERSION: (usize, &[u8]) = (42, b"01\0");
/// The offset of the architecture.
const ARCHITECTURE: usize = 45;
/// The offset of the UUID.
const UUID: usize = 48;
/// The offset of the time of the last change, in seconds since 1970.
const MODIFIED: usize = 72;
/// The offset of the number of descriptors, the unused ones included.
const DESCRIPTOR_COUNT: usize = 88;
/// The offset of the offset of the descriptors.
const DESCRIPTORS: usize = 96;

/// The length of a descriptor in bytes.
const DESCRIPTOR: usize = 585;
/// The offset of a descriptor's used flag. Its type is before it.
const USED: usize = 4;
/// The offset of the offset of the object. Its size follows.
const OBJECT: usize = 17;
/// The offset of the fields of one type.
const EXTRA: usize = 201;

/// The maximum number of descriptors. Files have about 48.
const DESCRIPTORS_LIMIT: u64 = 4096;
/// The maximum length in bytes of a definition file.
const DEFINITION_LIMIT: u64 = 1 << 20;

/// The type of a definition file.
const DEFINITION: u32 = 0x4001;
/// The type of a partition.
const PARTITION: u32 = 0x4004;
/// The type of the partition with the root file system.
const PRIMARY_SYSTEM: u32 = 2;
/// A squashfs.
const SQUASHFS: u32 = 1;
/// An encrypted squashfs.
const ENCRYPTED_SQUASHFS: u32 = 5;

/// The architectures by their codes, with the names of images.
const ARCHITECTURES: [(&[u8], &str); 13] = [
    (b"01", "386"),
    (b"02", "amd64"),
    (b"03", "arm"),
    (b"04", "arm64"),
    (b"05", "ppc64"),
    (b"06", "ppc64le"),
    (b"07", "mips"),
    (b"08", "mipsle"),
    (b"09", "mips64"),
    (b"10", "mips64le"),
    (b"11", "s390x"),
    (b"12", "riscv64"),
    (b"13", "loong64"),
];

/// The parts of a SIF file that make an image.
#[derive(Debug)]
pub(super) struct Container {
    /// The squashfs.
    pub(super) root: Section,
    /// The definition file. Empty if there is none.
    pub(super) definition: Vec<u8>,
    /// The architecture, `unknown` if the file does not have it.
    pub(super) architecture: &'static str,
    /// The UUID of the file.
    pub(super) uuid: String,
    /// The time of the last change, in seconds since 1970.
    pub(super) modified: u64,
}

impl Container {
    /// Reads the header and the descriptors.
    pub(super) fn read(path: &Path, file: &Arc<File>) -> Result<Self> {
        let end = file.metadata().map_err(Error::io("stat", path))?.len();
        let reader = Reader { path, file, end };
        if end < HEADER {
            return Err(reader.not_sif("it is shorter than a header"));
        }
        let header = reader.bytes("header", 0, HEADER)?;
        let has = |(at, wanted): (usize, &[u8])| header[at..].starts_with(wanted);
        if !has(MAGIC) {
            return Err(reader.not_sif(&match describe_content(&header) {
                Some(content) => format!("it has no SIF header; it seems to be {content}"),
                None => "it has no SIF header".to_owned(),
            }));
        }
        if !has(VERSION) {
            return Err(reader.not_sif("its version is not 01"));
        }
        let count = u64_at(&header, DESCRIPTOR_COUNT);
        if count > DESCRIPTORS_LIMIT {
            let path = path.to_owned();
            return Err(Error::ArchiveLimit { path, what: "the number of descriptors", limit: DESCRIPTORS_LIMIT });
        }
        let descriptors = reader.bytes("descriptors", u64_at(&header, DESCRIPTORS), count * DESCRIPTOR as u64)?;
        let used = || descriptors.chunks_exact(DESCRIPTOR).filter(|descriptor| descriptor[USED] != 0);
        let is_root =
            |descriptor: &&[u8]| u32_at(descriptor, 0) == PARTITION && u32_at(descriptor, EXTRA + 4) == PRIMARY_SYSTEM;
        let root = used().find(is_root).ok_or_else(|| reader.not_sif("it has no root file system"))?;
        match u32_at(root, EXTRA) {
            SQUASHFS => {}
            ENCRYPTED_SQUASHFS => return Err(reader.not_sif("its root file system is encrypted")),
            kind => return Err(reader.not_sif(&format!("its root file system has type {kind}, and is not a squashfs"))),
        }
        let definition = match used().find(|descriptor| u32_at(descriptor, 0) == DEFINITION) {
            Some(descriptor) => reader.definition(descriptor)?,
            None => Vec::new(),
        };
        Ok(Self {
            root: reader.section("root file system", root)?,
            definition,
            architecture: architecture(&root[EXTRA + 8..])
                .or_else(|| architecture(&header[ARCHITECTURE..]))
                .unwrap_or("unknown"),
            uuid: uuid(&header[UUID..UUID + 16]),
            // A time before 1970 is negative.
            modified: u64::try_from(u64_at(&header, MODIFIED).cast_signed()).unwrap_or(0).min(u64::from(u32::MAX)),
        })
    }
}

struct Reader<'a> {
    path: &'a Path,
    file: &'a Arc<File>,
    end: u64,
}

impl Reader<'_> {
    fn not_sif(&self, reason: &str) -> Error {
        Error::NotAnArchive { path: self.path.to_owned(), reason: reason.to_owned() }
    }

    /// Returns a range of the file. `part` is its name in messages.
    fn range(&self, part: &str, offset: u64, len: u64) -> Result<Section> {
        if offset.checked_add(len).is_none_or(|end| end > self.end) {
            let reason = format!("ends at byte {offset} + {len}, and the file has {} bytes", self.end);
            return Err(Error::member(self.path, &format!("the {part}"), reason));
        }
        Ok(Section::new(Arc::clone(self.file), offset, len))
    }

    fn bytes(&self, part: &str, offset: u64, len: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.range(part, offset, len)?.read_to_end(&mut bytes).map_err(Error::io("read", self.path))?;
        Ok(bytes)
    }

    fn section(&self, part: &str, descriptor: &[u8]) -> Result<Section> {
        self.range(part, u64_at(descriptor, OBJECT), u64_at(descriptor, OBJECT + 8))
    }

    fn definition(&self, descriptor: &[u8]) -> Result<Vec<u8>> {
        let section = self.section("definition file", descriptor)?;
        if section.len() > DEFINITION_LIMIT {
            return Err(Error::member_too_large(self.path, "the definition file", section.len(), DEFINITION_LIMIT));
        }
        let mut bytes = Vec::new();
        let mut section = section;
        section.read_to_end(&mut bytes).map_err(Error::io("read", self.path))?;
        Ok(bytes)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// A negative number becomes one that no file has.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn architecture(code: &[u8]) -> Option<&'static str> {
    ARCHITECTURES.iter().find(|(known, _)| code.starts_with(known)).map(|(_, name)| *name)
}

fn uuid(bytes: &[u8]) -> String {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..4], &hex[4..6], &hex[6..8], &hex[8..10], &hex[10..]].map(|part| part.concat()).join("-")
}
