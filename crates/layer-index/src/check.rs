//! The checks of [`Index::open`](crate::Index::open). Reading an index relies on them.
//!
//! Sections are in a canonical order: the data that records refer to in another section lies there in the order of the
//! records, without gaps. Each check is therefore one pass over a section with a cursor into the next. No two records
//! can refer to the same bytes, and the time is linear in the length of the file.

mod dirents;
mod inodes;
mod sections;

use std::ops::Range;

use vmroot_model::{Algorithm, Digest};
use zerocopy::FromBytes;

use crate::format::{
    ALIGNMENT, ContentsRecord, DirentRecord, Header, InodeRecord, KIND_LAYER, KIND_ROOT, MAGIC, MAJOR, MAX_XATTR_NAME,
    MAX_XATTR_VALUE, SECTIONS, SHA256, SHA512, Section, XattrRecord, XattrSetRecord,
};
use crate::open::ContentsFile;

/// The header and section ranges of an index that has passed all checks.
pub(crate) struct Shape {
    pub(crate) ranges: [Range<usize>; SECTIONS],
    pub(crate) kind: u32,
    pub(crate) minor: u16,
    pub(crate) identity: Digest,
    pub(crate) contents: Vec<ContentsFile>,
}

/// The result of a check. The error is the reason for the failure.
type Check<T> = std::result::Result<T, String>;

/// Fails the check with a formatted reason unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($reason:tt)*) => {
        if !$condition {
            return Err(format!($($reason)*));
        }
    };
}
use ensure;

/// Checks a whole index.
pub(crate) fn check_shape(bytes: &[u8]) -> Check<Shape> {
    let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| "shorter than a header".to_owned())?;
    ensure!(header.magic == MAGIC, "the magic number is wrong");
    let major = header.major.get();
    ensure!(major == MAJOR, "version {major}, this program reads version {MAJOR}");
    ensure!(
        header.file_length.get() == bytes.len() as u64,
        "{} bytes, but {} in its header",
        bytes.len(),
        header.file_length
    );
    ensure!(
        u64::from(header.alignment.get()) == ALIGNMENT,
        "contents aligned to {}, expected {ALIGNMENT}",
        header.alignment
    );
    ensure!(header.reserved == [0; 24], "reserved bytes of the header are not zero");
    let kind = header.kind.get();
    ensure!(kind == KIND_LAYER || kind == KIND_ROOT, "kind {kind} is neither a layer nor a root");
    let identity = check_digest(header.identity_algorithm.get(), &header.identity)?;
    let ranges = sections::check(header, bytes)?;
    // The checksum finds accidental damage. The checks after it are for forged files.
    let checksum = checksum(bytes);
    ensure!(header.checksum.get() == checksum, "checksum {checksum:08x}, but {:08x} in its header", header.checksum);
    let tables = Tables::of(bytes, &ranges, kind);
    let contents = tables.check_contents()?;
    tables.check_xattrs()?;
    tables.check_inodes(&contents)?;
    tables.check_dirents()?;
    Ok(Shape { ranges, kind, minor: header.minor.get(), identity, contents })
}

/// Computes the CRC-32 of an index with its checksum field taken as zero.
fn checksum(bytes: &[u8]) -> u32 {
    const FIELD: Range<usize> = 24..28;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..FIELD.start]);
    hasher.update(&[0; FIELD.end - FIELD.start]);
    hasher.update(&bytes[FIELD.end..]);
    hasher.finalize()
}

fn check_digest(algorithm: u32, padded: &[u8; 64]) -> Check<Digest> {
    let size = match algorithm {
        SHA256 => Algorithm::Sha256.size(),
        SHA512 => Algorithm::Sha512.size(),
        _ => return Err(format!("digest algorithm {algorithm} is unknown")),
    };
    ensure!(padded[size..].iter().all(|&byte| byte == 0), "a digest is not zero padded");
    Ok(match <[u8; 32]>::try_from(&padded[..size]) {
        Ok(sha256) => Digest::from_sha256(sha256),
        Err(_) => Digest::from_sha512(*padded),
    })
}

/// The sections of an index as slices.
struct Tables<'a> {
    kind: u32,
    inodes: &'a [InodeRecord],
    dirents: &'a [DirentRecord],
    names: &'a [u8],
    symlinks: &'a [u8],
    xattr_sets: &'a [XattrSetRecord],
    xattrs: &'a [XattrRecord],
    xattr_bytes: &'a [u8],
    digests: usize,
    contents: &'a [ContentsRecord],
}

impl<'a> Tables<'a> {
    fn of(bytes: &'a [u8], ranges: &[Range<usize>; SECTIONS], kind: u32) -> Self {
        const WHOLE: &str = "sections::check() checked that sections are whole records";
        let section = |section: Section| &bytes[ranges[section as usize].clone()];
        Self {
            kind,
            inodes: <[_]>::ref_from_bytes(section(Section::Inodes)).expect(WHOLE),
            dirents: <[_]>::ref_from_bytes(section(Section::Dirents)).expect(WHOLE),
            names: section(Section::Names),
            symlinks: section(Section::Symlinks),
            xattr_sets: <[_]>::ref_from_bytes(section(Section::XattrSets)).expect(WHOLE),
            xattrs: <[_]>::ref_from_bytes(section(Section::Xattrs)).expect(WHOLE),
            xattr_bytes: section(Section::XattrBytes),
            digests: section(Section::Digests).len() / Section::Digests.stride(),
            contents: <[_]>::ref_from_bytes(section(Section::Contents)).expect(WHOLE),
        }
    }

    fn check_contents(&self) -> Check<Vec<ContentsFile>> {
        ensure!(
            self.kind == KIND_ROOT || self.contents.len() == 1,
            "a layer with {} contents files",
            self.contents.len()
        );
        let check = |(number, record): (usize, &ContentsRecord)| {
            let length = record.length.get();
            ensure!(length % ALIGNMENT == 0, "contents file {number} is {length} bytes, not whole blocks");
            // File offsets are signed in system calls.
            ensure!(length <= i64::MAX as u64, "contents file {number} is too long");
            ensure!(record.reserved.get() == 0, "reserved bytes of contents file {number} are not zero");
            let diff_id = check_digest(record.algorithm.get(), &record.diff_id)?;
            Ok(ContentsFile { diff_id, length })
        };
        self.contents.iter().enumerate().map(check).collect()
    }

    /// Checks that the xattr sets cover the xattrs in order and without gaps, and checks each xattr.
    fn check_xattrs(&self) -> Check<()> {
        let mut cursor = 0;
        for (number, set) in self.xattr_sets.iter().enumerate() {
            let (first, count) = (set.first.get() as usize, set.count.get() as usize);
            ensure!(first == cursor && count > 0, "xattr set {number} does not follow the previous one");
            cursor += count;
            let members = self.xattrs.get(first..cursor);
            let members = members.ok_or_else(|| format!("xattr set {number} ends after its section"))?;
            let mut last: Option<&[u8]> = None;
            for xattr in members {
                let name = self.xattr_bytes(xattr.name_offset.get(), xattr.name_length.get(), MAX_XATTR_NAME);
                let name = name.filter(|name| !name.is_empty() && !name.contains(&0));
                let name = name.ok_or_else(|| format!("xattr set {number} has an invalid name"))?;
                ensure!(last < Some(name), "xattr set {number} is not sorted by name");
                let value = self.xattr_bytes(xattr.value_offset.get(), xattr.value_length.get(), MAX_XATTR_VALUE);
                ensure!(value.is_some(), "xattr set {number} has an invalid value");
                last = Some(name);
            }
        }
        ensure!(cursor == self.xattrs.len(), "sets have {cursor} xattrs, expected {}", self.xattrs.len());
        Ok(())
    }

    fn xattr_bytes(&self, offset: u32, length: u32, limit: usize) -> Option<&'a [u8]> {
        let (offset, length) = (offset as usize, length as usize);
        self.xattr_bytes.get(offset..offset + length).filter(|bytes| bytes.len() <= limit)
    }
}
