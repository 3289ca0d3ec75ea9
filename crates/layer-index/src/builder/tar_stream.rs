//! A layer's tar as a stream of entries, hashed on the way.
//!
//! The `tar` crate gives the layout of headers; the walk is ours, because a layer needs what that crate's iterator
//! leaves out: nanosecond times, sparse files in PAX form, global headers, and a limit on what one entry may make us
//! hold.

use std::io::{self, BufRead};

use bstr::BString;
use tar::EntryType;
use vmroot_model::{Digest, Hasher};

use super::header::{self, BLOCK, Fields};
use super::pax::{Overrides, SparseKeys};
use super::sparse::{self, SparseMap};
use crate::inode::{Timestamp, encode_device};
use crate::{Error, Result};

// The type flags of headers that describe the entry after them (POSIX pax; GNU tar, "tar.h").
const GNU_LONG_NAME: u8 = b'L';
const GNU_LONG_LINK: u8 = b'K';
const GNU_VOLUME: u8 = b'V';
const PAX: u8 = b'x';
const SOLARIS_PAX: u8 = b'X';
const PAX_GLOBAL: u8 = b'g';

/// One entry, extended headers applied.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    /// As they came; of two with one name the later holds: libarchive writes both forms of the same xattr.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is, with what only that kind has.
#[derive(Debug)]
pub(super) enum EntryKind {
    /// The data follows: `stored` bytes, which `sparse` places in the file if it is sparse.
    File {
        stored: u64,
        sparse: Option<SparseMap>,
    },
    Directory,
    Symlink {
        target: Vec<u8>,
    },
    HardLink {
        target: Vec<u8>,
    },
    /// With its device number as [`encode_device`] packs it.
    Character(u32),
    /// As for character devices.
    Block(u32),
    Fifo,
}

/// Reads entries from an uncompressed tar.
pub(super) struct TarStream<R> {
    inner: R,
    hasher: Hasher,
    /// Bytes at the front of the reader's buffer that are hashed already: whole buffers are hashed at once.
    hashed: usize,
    position: u64,
    /// Bytes of data and padding before the next header.
    pending: u64,
    /// Where the last header read begins, and what it says its name is: for errors.
    header_offset: u64,
    header_name: Vec<u8>,
    globals: Overrides,
    max_metadata: usize,
}

impl<R: BufRead> TarStream<R> {
    pub(super) fn new(inner: R, hasher: Hasher, max_metadata: usize) -> Self {
        let globals = Overrides::default();
        let (header_offset, header_name) = (0, Vec::new());
        Self { inner, hasher, hashed: 0, position: 0, pending: 0, header_offset, header_name, globals, max_metadata }
    }

    /// The next entry; what was not read of the one before is skipped. `None` at the end of the archive.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>> {
        self.skip_pending()?;
        let mut extended = Extended::new(self.globals.clone());
        loop {
            self.header_offset = self.position;
            self.header_name.clear();
            let mut block = [0; BLOCK];
            if !self.read_header(&mut block, extended.bytes > 0)? {
                return Ok(None);
            }
            let fields = header::parse(&block).map_err(|reason| self.invalid(reason))?;
            self.header_name.clone_from(&fields.name);
            let size = u64::try_from(fields.size).map_err(|_| self.invalid(format!("a size of {}", fields.size)))?;
            if !is_extension(fields.kind) {
                return self.entry(&block, fields, size, extended).map(Some);
            }
            let data = self.read_metadata(size, extended.bytes)?;
            extended.take(fields.kind, data, &mut self.globals).map_err(|reason| self.invalid(reason))?;
            self.skip_pending()?;
        }
    }

    /// The error for a header, or for data that belongs to it, that no archive should have.
    /// An error for an entry that passes a limit.
    pub(super) fn limit(&self, name: &'static str, what: &'static str, limit: usize) -> Error {
        Error::Limit { entry: self.header_name.as_slice().into(), name, what, limit: limit as u64 }
    }

    pub(super) fn invalid(&self, reason: impl Into<String>) -> Error {
        let entry = BString::from(self.header_name.as_slice());
        Error::InvalidTar { offset: self.header_offset, entry, reason: reason.into() }
    }

    /// Reads exactly `bytes.len()` bytes of an entry's data.
    pub(super) fn read_exact(&mut self, mut bytes: &mut [u8]) -> Result<()> {
        self.read_data(bytes.len() as u64, |data| {
            let (filled, rest) = std::mem::take(&mut bytes).split_at_mut(data.len());
            filled.copy_from_slice(data);
            bytes = rest;
            Ok(())
        })
    }

    /// Hands the next `length` bytes to `sink`, in pieces as large as the reader's buffer.
    pub(super) fn read_data(&mut self, mut length: u64, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.pending = self.pending.saturating_sub(length);
        while length > 0 {
            let data = self.fill()?;
            if data.is_empty() {
                return Err(self.invalid(format!("the tar ends inside it, at byte {}", self.position)));
            }
            let count = data.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            sink(&data[..count])?;
            self.consume(count);
            length -= count as u64;
        }
        Ok(())
    }

    /// Reads what follows the archive's end, and gives the digest and length of everything.
    pub(super) fn finish(mut self) -> Result<(Digest, u64)> {
        loop {
            match self.fill()?.len() {
                0 => return Ok((self.hasher.finish(), self.position)),
                count => self.consume(count),
            }
        }
    }

    fn fill(&mut self) -> Result<&[u8]> {
        let data = loop {
            match self.inner.fill_buf() {
                // The borrow of a match arm would last to the end of the loop; asking again costs nothing.
                Ok(_) => break self.inner.fill_buf(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Stream { offset: self.position, source }),
            }
        };
        let data = data.map_err(|source| Error::Stream { offset: self.position, source })?;
        if data.len() > self.hashed {
            self.hasher.update(&data[self.hashed..]);
            self.hashed = data.len();
        }
        Ok(data)
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.hashed -= count;
        self.position += count as u64;
    }

    fn skip_pending(&mut self) -> Result<()> {
        self.read_data(self.pending, |_| Ok(()))
    }

    /// Reads a header; `false` at the end: two zero blocks, or the end of the stream where a header might begin.
    fn read_header(&mut self, block: &mut [u8; BLOCK], after_extension: bool) -> Result<bool> {
        let mut at_end = self.fill()?.is_empty();
        if !at_end {
            self.read_exact(block)?;
            at_end = header::is_end(block);
            // Half an end marker is a damaged archive: what follows would be lost silently.
            if at_end && !self.fill()?.is_empty() {
                self.read_exact(block)?;
                if !header::is_end(block) {
                    return Err(self.invalid("a lone zero block"));
                }
            }
        }
        if at_end && after_extension {
            return Err(self.invalid("the tar ends after an extended header"));
        }
        Ok(!at_end)
    }

    fn read_metadata(&mut self, size: u64, before: usize) -> Result<Vec<u8>> {
        let limit = self.max_metadata;
        let size = usize::try_from(size).ok().filter(|size| before.saturating_add(*size) <= limit);
        let Some(size) = size else {
            let entry = BString::from(self.header_name.as_slice());
            let what = "bytes of extended headers";
            return Err(Error::Limit { entry, name: "max_metadata", what, limit: limit as u64 });
        };
        self.pending = padding(size as u64) + size as u64;
        let mut data = vec![0; size];
        self.read_exact(&mut data)?;
        Ok(data)
    }

    /// Makes an entry of a header and the extended headers before it.
    fn entry(&mut self, block: &[u8; BLOCK], fields: Fields, size: u64, extended: Extended) -> Result<Entry> {
        let Extended { mut pax, long_name, long_link, .. } = extended;
        let sparse = pax.sparse.map.is_some() || pax.sparse.major.is_some();
        if pax.sparse.name.is_some() && !sparse {
            return Err(self.invalid("the name of a sparse file on an entry that is none"));
        }
        let long = pax.sparse.name.take().or(pax.path.take());
        let name = one_name(long, long_name, fields.name).map_err(|reason| self.invalid(reason))?;
        let target = one_name(pax.link.take(), long_link, fields.link).map_err(|reason| self.invalid(reason))?;
        self.header_name.clone_from(&name);
        let owner = |what, pax: Option<u32>, header: i64| {
            pax.map_or_else(|| u32::try_from(header).map_err(|_| self.invalid(format!("a {what} of {header}"))), Ok)
        };
        let (uid, gid) = (owner("uid", pax.uid, fields.uid)?, owner("gid", pax.gid, fields.gid)?);
        let mtime = pax.mtime.unwrap_or(Timestamp { seconds: fields.mtime, nanoseconds: 0 });
        let kind = match fields.kind {
            // Before there was a type for directories, a slash at the end of the name said it. A file of POSIX's type is a
            // file whatever its name: Docker, umoci and buildah write its bytes to the name without the slash.
            EntryType::Regular if fields.old_type && name.ends_with(b"/") => {
                self.expect_data(pax.size.unwrap_or(size))?;
                EntryKind::Directory
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let stored = pax.size.unwrap_or(size);
                self.file(block, fields.kind, stored, pax.sparse)?
            }
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink => EntryKind::Symlink { target },
            EntryType::Link => EntryKind::HardLink { target },
            EntryType::Char => EntryKind::Character(self.device(block)?),
            EntryType::Block => EntryKind::Block(self.device(block)?),
            EntryType::Fifo => EntryKind::Fifo,
            other => {
                let kind = char::from(other.as_byte());
                return Err(self.invalid(format!("an entry of the unknown type {kind:?}")));
            }
        };
        Ok(Entry { name, kind, mode: fields.mode, uid, gid, mtime, xattrs: pax.xattrs })
    }

    fn device(&self, block: &[u8; BLOCK]) -> Result<u32> {
        let (major, minor) = header::device(block).map_err(|reason| self.invalid(reason))?;
        let encoded = u64::try_from(major).ok().zip(u64::try_from(minor).ok());
        let encoded = encoded.and_then(|(major, minor)| encode_device(major, minor));
        encoded.ok_or_else(|| self.invalid(format!("device number {major}:{minor} is out of the kernel's range")))
    }

    /// `stored` bytes of data follow, and padding.
    fn expect_data(&mut self, stored: u64) -> Result<()> {
        let pending = stored.checked_add(padding(stored));
        self.pending = pending.ok_or_else(|| self.invalid(format!("a size of {stored}")))?;
        Ok(())
    }

    fn file(&mut self, block: &[u8; BLOCK], kind: EntryType, stored: u64, keys: SparseKeys) -> Result<EntryKind> {
        self.expect_data(stored)?;
        if kind == EntryType::GNUSparse {
            // The extension blocks of the map come before the data and do not count in its size.
            let data = self.pending;
            let sparse = Some(sparse::old_gnu(block, stored, self)?);
            self.pending = data;
            return Ok(EntryKind::File { stored, sparse });
        }
        if keys.map.is_some() || keys.major.is_some() {
            let (map, stored) = sparse::pax(keys, stored, self)?;
            return Ok(EntryKind::File { stored, sparse: Some(map) });
        }
        Ok(EntryKind::File { stored, sparse: None })
    }
}

/// What the headers before an entry's own say about it.
struct Extended {
    pax: Overrides,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    /// How many bytes of them were read; there is an entry to come if any.
    bytes: usize,
}

impl Extended {
    fn new(globals: Overrides) -> Self {
        Self { pax: globals, long_name: None, long_link: None, bytes: 0 }
    }

    fn take(&mut self, kind: EntryType, data: Vec<u8>, globals: &mut Overrides) -> std::result::Result<(), String> {
        let first = self.bytes == 0;
        self.bytes += data.len();
        match kind.as_byte() {
            GNU_LONG_NAME => self.long_name = Some(until_nul(data)),
            GNU_LONG_LINK => self.long_link = Some(until_nul(data)),
            PAX_GLOBAL | GNU_VOLUME if !first => {
                return Err("an extended header belongs to no entry".to_owned());
            }
            PAX_GLOBAL => {
                let mut overrides = globals.clone();
                overrides.apply(&data)?;
                *globals = overrides.into_global()?;
                self.pax = globals.clone();
                // No entry need follow a global header.
                self.bytes = 0;
            }
            PAX | SOLARIS_PAX => self.pax.apply(&data)?,
            // A volume's label names no file.
            _ => self.bytes = 0,
        }
        Ok(())
    }
}

fn is_extension(kind: EntryType) -> bool {
    matches!(kind.as_byte(), GNU_LONG_NAME | GNU_LONG_LINK | GNU_VOLUME | PAX | SOLARIS_PAX | PAX_GLOBAL)
}

/// The name from a PAX record, a GNU long name or the header. Two extensions that disagree are an attempt to show
/// different readers different names.
fn one_name(pax: Option<Vec<u8>>, gnu: Option<Vec<u8>>, header: Vec<u8>) -> std::result::Result<Vec<u8>, String> {
    match (pax, gnu) {
        (Some(pax), Some(gnu)) if pax != gnu => Err("its PAX and GNU long names differ".to_owned()),
        (Some(long), _) | (None, Some(long)) => Ok(long),
        (None, None) => Ok(header),
    }
}

fn until_nul(mut data: Vec<u8>) -> Vec<u8> {
    data.truncate(data.iter().position(|&byte| byte == 0).unwrap_or(data.len()));
    data
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}
