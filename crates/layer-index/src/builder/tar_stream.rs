//! Reading a layer's tar as a stream of entries, and hashing it.
//!
//! The `tar` crate provides the layout of headers. Its iterator is not used, since it lacks nanosecond times, sparse
//! files in PAX formats, global headers, and a limit on the memory for one entry.

use std::io::{self, BufRead};

use bstr::BString;
use tar::EntryType;
use vmroot_errors::describe_content;
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

/// One entry, with its extended headers applied.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    /// In the order of the headers. Of two xattrs with one name, the last counts: libarchive writes each xattr in two
    /// forms.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The type of an entry, with the values that only this type has.
#[derive(Debug)]
pub(super) enum EntryKind {
    /// A file of `stored` bytes of data, which follow in the stream. `sparse` is the map of a sparse file.
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
    /// A character device, with its number as [`encode_device`] packs it.
    Character(u32),
    /// A block device, with its number as [`encode_device`] packs it.
    Block(u32),
    Fifo,
}

/// The number of bytes at the start of a stream that tell what it is, if it is not a tar.
const CONTENT_START: usize = 2048;

/// The length of a header in bytes.
const BLOCK_BYTES: u64 = BLOCK as u64;

/// Returns the error for a stream that does not begin as a tar, with these first bytes.
fn not_a_tar(start: &[u8]) -> Error {
    Error::NotATar { content: describe_content(start) }
}

/// Reads entries from an uncompressed tar.
pub(super) struct TarStream<R> {
    inner: R,
    hasher: Hasher,
    /// The number of bytes at the front of the reader's buffer that are already hashed. Whole buffers are hashed at
    /// once.
    hashed: usize,
    position: u64,
    /// The number of bytes of data and padding before the next header.
    pending: u64,
    /// The offset and the name of the current header, for errors.
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

    /// Reads the next entry, or returns `None` at the end of the archive. Skips unread data of the entry before.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>> {
        self.skip_pending()?;
        let mut extended = ExtendedHeaders::new(self.globals.clone());
        loop {
            self.header_offset = self.position;
            self.header_name.clear();
            let mut block = [0; BLOCK];
            if !self.read_header(&mut block, extended.bytes > 0)? {
                if self.header_offset == 0 {
                    self.check_empty()?;
                }
                return Ok(None);
            }
            let fields = header::parse(&block).map_err(|reason| match self.header_offset {
                0 if !header::has_magic(&block) => not_a_tar(&block),
                _ => self.invalid(reason),
            })?;
            self.header_name.clone_from(&fields.name);
            let size = u64::try_from(fields.size).map_err(|_| self.invalid(format!("a size of {}", fields.size)))?;
            if !is_extension(fields.kind) {
                return self.create_entry(&block, fields, size, extended).map(Some);
            }
            let data = self.read_metadata(size, extended.bytes)?;
            extended.add(fields.kind, data, &mut self.globals).map_err(|reason| self.invalid(reason))?;
            self.skip_pending()?;
        }
    }

    /// Returns the error for an entry that exceeds a limit.
    pub(super) fn limit(&self, name: &'static str, what: &'static str, limit: usize) -> Error {
        Error::Limit { entry: self.header_name.as_slice().into(), name, what, limit: limit as u64 }
    }

    /// Returns the error for an invalid header, or for invalid data that belongs to it.
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

    /// Passes the next `length` bytes to `sink`, in chunks of up to the size of the reader's buffer.
    pub(super) fn read_data(&mut self, mut length: u64, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.pending = self.pending.saturating_sub(length);
        while length > 0 {
            let data = self.fill()?;
            if data.is_empty() {
                return Err(self.invalid(format!("the tar ends inside the entry, at byte {}", self.position)));
            }
            let count = data.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            sink(&data[..count])?;
            self.consume(count);
            length -= count as u64;
        }
        Ok(())
    }

    /// Reads the stream to its end, and returns the digest and length of all of it.
    pub(super) fn finish(mut self) -> Result<(Digest, u64)> {
        loop {
            match self.fill()?.len() {
                0 => return Ok((self.hasher.finish(), self.position)),
                count => self.consume(count),
            }
        }
    }

    /// Returns the reader's buffer, filled and hashed. It is empty at the end of the stream.
    fn fill(&mut self) -> Result<&[u8]> {
        let data = loop {
            match self.inner.fill_buf() {
                // Returning the borrow of this arm would extend it over the loop. A second call is cheap.
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

    /// Reads a header, or returns `false` at the end of the archive.
    ///
    /// The end is two zero blocks, or the end of the stream in place of a header.
    fn read_header(&mut self, block: &mut [u8; BLOCK], after_extension: bool) -> Result<bool> {
        let mut at_end = self.fill()?.is_empty();
        if !at_end {
            self.read_exact(block).map_err(|error| match (error, self.position) {
                (Error::InvalidTar { .. }, read @ ..BLOCK_BYTES) => not_a_tar(&block[..read as usize]),
                (error, _) => error,
            })?;
            at_end = header::is_end(block);
            // An archive with data after a single zero block is damaged. Ending here would lose the data silently.
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

    /// Fails if a stream that begins as an empty tar has other content after that: file systems such as EROFS and ext4
    /// leave their first 1024 bytes to boot loaders.
    fn check_empty(&mut self) -> Result<()> {
        let mut start = vec![0; usize::try_from(self.position).unwrap_or(0)];
        while start.len() < CONTENT_START {
            let data = self.fill()?;
            let count = data.len().min(CONTENT_START - start.len());
            if count == 0 {
                break;
            }
            start.extend_from_slice(&data[..count]);
            self.consume(count);
        }
        if start.iter().all(|&byte| byte == 0) { Ok(()) } else { Err(not_a_tar(&start)) }
    }

    /// Reads the data of an extended header. `before` is the size of the extended headers before it.
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

    /// Creates an entry from a header and the extended headers before it.
    fn create_entry(
        &mut self,
        block: &[u8; BLOCK],
        fields: Fields,
        size: u64,
        extended: ExtendedHeaders,
    ) -> Result<Entry> {
        let ExtendedHeaders { mut pax, long_name, long_link, .. } = extended;
        let sparse = pax.sparse.map.is_some() || pax.sparse.major.is_some();
        if pax.sparse.name.is_some() && !sparse {
            return Err(self.invalid("GNU.sparse.name on an entry that is not sparse"));
        }
        let long = pax.sparse.name.take().or(pax.path.take());
        let name = choose_name(long, long_name, fields.name).map_err(|reason| self.invalid(reason))?;
        let target = choose_name(pax.link.take(), long_link, fields.link).map_err(|reason| self.invalid(reason))?;
        self.header_name.clone_from(&name);
        let owner = |what, pax: Option<u32>, header: i64| {
            pax.map_or_else(|| u32::try_from(header).map_err(|_| self.invalid(format!("a {what} of {header}"))), Ok)
        };
        let (uid, gid) = (owner("uid", pax.uid, fields.uid)?, owner("gid", pax.gid, fields.gid)?);
        let mtime = pax.mtime.unwrap_or(Timestamp { seconds: fields.mtime, nanoseconds: 0 });
        let kind = match fields.kind {
            // V7 has no type for directories, and marks them with a slash at the end of the name. A file of the POSIX
            // type is a file even with such a name: Docker, umoci and buildah write its bytes to the name without the
            // slash.
            EntryType::Regular if fields.old_type && name.ends_with(b"/") => {
                self.expect_data(pax.size.unwrap_or(size))?;
                EntryKind::Directory
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let stored = pax.size.unwrap_or(size);
                self.parse_file(block, fields.kind, stored, pax.sparse)?
            }
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink => EntryKind::Symlink { target },
            EntryType::Link => EntryKind::HardLink { target },
            EntryType::Char => EntryKind::Character(self.parse_device(block)?),
            EntryType::Block => EntryKind::Block(self.parse_device(block)?),
            EntryType::Fifo => EntryKind::Fifo,
            other => {
                let kind = char::from(other.as_byte());
                return Err(self.invalid(format!("an entry of the unknown type {kind:?}")));
            }
        };
        Ok(Entry { name, kind, mode: fields.mode, uid, gid, mtime, xattrs: pax.xattrs })
    }

    fn parse_device(&self, block: &[u8; BLOCK]) -> Result<u32> {
        let (major, minor) = header::read_device(block).map_err(|reason| self.invalid(reason))?;
        let encoded = u64::try_from(major).ok().zip(u64::try_from(minor).ok());
        let encoded = encoded.and_then(|(major, minor)| encode_device(major, minor));
        encoded.ok_or_else(|| self.invalid(format!("device number {major}:{minor} is out of the kernel's range")))
    }

    /// Sets `pending` to `stored` bytes of data and their padding.
    fn expect_data(&mut self, stored: u64) -> Result<()> {
        let pending = stored.checked_add(padding(stored));
        self.pending = pending.ok_or_else(|| self.invalid(format!("a size of {stored}")))?;
        Ok(())
    }

    fn parse_file(&mut self, block: &[u8; BLOCK], kind: EntryType, stored: u64, keys: SparseKeys) -> Result<EntryKind> {
        self.expect_data(stored)?;
        if kind == EntryType::GNUSparse {
            // The extension blocks of the map precede the data, and are not part of its size.
            let data = self.pending;
            let sparse = Some(sparse::read_old_gnu_map(block, stored, self)?);
            self.pending = data;
            return Ok(EntryKind::File { stored, sparse });
        }
        if keys.map.is_some() || keys.major.is_some() {
            let (map, stored) = sparse::read_pax_map(keys, stored, self)?;
            return Ok(EntryKind::File { stored, sparse: Some(map) });
        }
        Ok(EntryKind::File { stored, sparse: None })
    }
}

/// The values of the extended headers before an entry's own header.
struct ExtendedHeaders {
    pax: Overrides,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    /// The size of the headers' data in bytes. If it is not 0, an entry must follow.
    bytes: usize,
}

impl ExtendedHeaders {
    fn new(globals: Overrides) -> Self {
        Self { pax: globals, long_name: None, long_link: None, bytes: 0 }
    }

    /// Adds one extended header. A global PAX header also changes `globals`.
    fn add(&mut self, kind: EntryType, data: Vec<u8>, globals: &mut Overrides) -> std::result::Result<(), String> {
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
                // A global header may be the last header of an archive.
                self.bytes = 0;
            }
            PAX | SOLARIS_PAX => self.pax.apply(&data)?,
            // The label of a volume does not describe an entry.
            _ => self.bytes = 0,
        }
        Ok(())
    }
}

fn is_extension(kind: EntryType) -> bool {
    matches!(kind.as_byte(), GNU_LONG_NAME | GNU_LONG_LINK | GNU_VOLUME | PAX | SOLARIS_PAX | PAX_GLOBAL)
}

/// Returns the name from a PAX record, a GNU long name, or the header.
///
/// Returns an error if the PAX and GNU names differ, since readers would disagree about the name.
fn choose_name(pax: Option<Vec<u8>>, gnu: Option<Vec<u8>>, header: Vec<u8>) -> std::result::Result<Vec<u8>, String> {
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

/// Returns the number of bytes of padding after `size` bytes of data.
fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}
