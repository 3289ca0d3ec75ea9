//! Blobs: bytes that were checked against their digest when they came in.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use vmroot_model::{Algorithm, Digest, Hasher};

use crate::atomic::publish;
use crate::cache::{Cache, file_length, names, remove_file, sync_directory};
use crate::lock::{Lock, LockName, Mode, Waiting};
use crate::sink::Sink;
use crate::{Error, Result};

/// How many bytes to hash at a time.
const READ_SIZE: usize = 1 << 20;

/// A blob in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobFile {
    /// Its file, mode 0444.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: u64,
}

/// What [`Cache::writer`] found, once nobody else was fetching the blob.
#[derive(Debug)]
pub enum Claim {
    /// It is here: it was before, or another process or thread has just fetched it.
    Present(BlobFile),
    /// It is the caller's to write. Others that want it wait until the writer is committed or dropped.
    Absent(Box<BlobWriter>),
}

/// A blob that a caller fetches.
///
/// Dropped before [`BlobWriter::commit`], what it has is kept for the next writer of the same blob to resume.
#[derive(Debug)]
pub struct BlobWriter {
    digest: Digest,
    size: u64,
    /// How many bytes an earlier writer left.
    kept: u64,
    partial: PathBuf,
    target: PathBuf,
    sink: Sink,
    _lock: Lock,
}

/// One blob that the cache holds, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobEntry {
    /// What it is, or will be.
    pub digest: Digest,
    /// Its length on disk in bytes.
    pub len: u64,
    /// Whether it is the start of a blob that somebody fetches, or stopped fetching.
    pub partial: bool,
}

/// What [`Cache::verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The bytes are those that the digest names.
    Whole,
    /// There is no such blob.
    Missing,
    /// The bytes have another digest.
    Damaged {
        /// The digest they have.
        actual: Digest,
        /// The blob's file.
        path: PathBuf,
    },
}

impl Cache {
    /// Finds a blob. Its bytes were checked when they came in; [`Cache::verify`] checks them again.
    ///
    /// # Errors
    /// [`Error::Io`] where the directory cannot be searched.
    pub fn get(&self, digest: &Digest) -> Result<Option<BlobFile>> {
        let path = self.layout().blob(digest);
        Ok(file_length(&path)?.map(|len| BlobFile { path, len }))
    }

    /// Claims a blob of `size` bytes for writing, or finds that it is here. Waits while another is fetching it.
    ///
    /// What an earlier writer left is hashed again, in bounded memory, and resumed: see [`BlobWriter::offset`]. A blob
    /// that is here but was damaged to another length is removed, to be fetched again.
    ///
    /// # Errors
    /// [`Error::GaveUp`] if `waiting` breaks off; [`Error::SizeMismatch`] where the blob is here and whole, and its size
    /// is not `size`; [`Error::Io`] where a file cannot be made or read.
    pub fn writer(&self, digest: &Digest, size: u64, waiting: Waiting<'_>) -> Result<Claim> {
        // Most blobs are here or wanted by nobody else: look before locking.
        if let Some(blob) = self.get(digest)?.filter(|blob| blob.len == size) {
            return Ok(Claim::Present(blob));
        }
        let lock = self.lock(&LockName::Blob(*digest), Mode::Exclusive, waiting)?;
        if let Some(blob) = self.get(digest)? {
            if blob.len == size {
                return Ok(Claim::Present(blob));
            }
            if self.verify(digest)? == Verdict::Whole {
                return Err(Error::SizeMismatch { digest: *digest, size, actual: blob.len, path: blob.path });
            }
            remove_file(&blob.path)?;
        }
        let partial = self.layout().partial(digest);
        let (kept, sink) = resume(&partial, digest.algorithm(), size)?;
        let target = self.layout().blob(digest);
        let writer = BlobWriter { digest: *digest, size, kept, partial, target, sink, _lock: lock };
        Ok(Claim::Absent(Box::new(writer)))
    }

    /// Hashes a blob again.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read.
    pub fn verify(&self, digest: &Digest) -> Result<Verdict> {
        self.verify_while(digest, &|| ControlFlow::Continue(()))
    }

    /// The same, which asks `going_on` before each part that it reads.
    ///
    /// # Errors
    /// As [`Self::verify`], and [`Error::Stopped`] when `going_on` breaks.
    pub fn verify_while(&self, digest: &Digest, going_on: &dyn Fn() -> ControlFlow<()>) -> Result<Verdict> {
        let path = self.layout().blob(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Verdict::Missing),
            Err(source) => return Err(Error::Io { action: "open", path, source }),
        };
        let mut hasher = Hasher::new(digest.algorithm());
        let flow = hash_while(file, &mut hasher, going_on).map_err(Error::io("read", &path))?;
        if flow.is_break() {
            return Err(Error::Stopped { path });
        }
        let actual = hasher.finish();
        Ok(if actual == *digest { Verdict::Whole } else { Verdict::Damaged { actual, path } })
    }

    /// Hashes a blob again and removes it if it is damaged, while nobody else fetches or removes it.
    ///
    /// # Errors
    /// [`Error::GaveUp`] if `waiting` breaks off; [`Error::Io`] where it cannot be read or removed.
    pub fn remove_damaged(&self, digest: &Digest, waiting: Waiting<'_>) -> Result<Verdict> {
        let _lock = self.lock(&LockName::Blob(*digest), Mode::Exclusive, waiting)?;
        let verdict = self.verify(digest)?;
        if let Verdict::Damaged { path, .. } = &verdict {
            remove_file(path)?;
            sync_directory(&self.layout().blobs(digest.algorithm()))?;
        }
        Ok(verdict)
    }

    /// Removes a blob and what there is of it in part. Says how many bytes that freed: `None` where there was nothing, or
    /// another is fetching it.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be removed.
    pub fn remove(&self, digest: &Digest) -> Result<Option<u64>> {
        let Some(_lock) = self.try_lock(&LockName::Blob(*digest), Mode::Exclusive)? else { return Ok(None) };
        let mut freed = None;
        for path in [self.layout().blob(digest), self.layout().partial(digest)] {
            if let Some(len) = file_length(&path)?
                && remove_file(&path)?
            {
                freed = Some(freed.unwrap_or(0) + len);
            }
        }
        if freed.is_some() {
            sync_directory(&self.layout().blobs(digest.algorithm()))?;
        }
        Ok(freed)
    }

    /// All blobs, whole and partial, sorted by algorithm and digest.
    ///
    /// # Errors
    /// [`Error::Io`] where a directory cannot be listed.
    pub fn blobs(&self) -> Result<Vec<BlobEntry>> {
        let mut blobs = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let directory = self.layout().blobs(algorithm);
            for name in names(&directory)? {
                let (hex, partial) = match name.strip_suffix(".partial") {
                    Some(hex) => (hex, true),
                    None => (name.as_str(), false),
                };
                let Ok(digest) = Digest::parse(&format!("{}:{hex}", algorithm.name())) else { continue };
                // Gone since it was listed: then it is not here.
                let Some(len) = file_length(&directory.join(&name))? else { continue };
                blobs.push(BlobEntry { digest, len, partial });
            }
        }
        Ok(blobs)
    }
}

impl BlobWriter {
    /// The digest that the bytes must have.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The size in bytes that the blob must have.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where the next byte goes: how many bytes there are.
    pub fn offset(&self) -> u64 {
        self.sink.len()
    }

    /// Whether all bytes are there, so that only [`BlobWriter::commit`] is left to call.
    pub fn is_complete(&self) -> bool {
        self.sink.len() == self.size
    }

    /// Reads the bytes that an earlier writer left, from the first to where this writer began.
    ///
    /// They are as they were found: only [`BlobWriter::commit`] tells whether they are the right ones.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be opened.
    pub fn kept(&self) -> Result<impl Read + Send + use<>> {
        let file = File::open(&self.partial).map_err(Error::io("open", &self.partial))?;
        Ok(file.take(self.kept))
    }

    /// Forgets all bytes and starts again at offset 0, for a source that cannot start elsewhere.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be truncated.
    pub fn restart(&mut self) -> Result<()> {
        let mut file = self.sink.file().try_clone().map_err(Error::io("open", &self.partial))?;
        let emptied = file.set_len(0).and_then(|()| file.rewind());
        emptied.map_err(Error::io("truncate", &self.partial))?;
        self.kept = 0;
        self.sink = Sink::new(file, Some(self.digest.algorithm()));
        Ok(())
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`Error::TooLong`] where they would make the blob longer than its size: then none of them is written;
    /// [`Error::Io`] where the disk is full or bad.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 > self.size - self.sink.len() {
            return Err(Error::TooLong { digest: self.digest, size: self.size, path: self.partial.clone() });
        }
        self.sink.write_all(bytes).map_err(Error::io("write", &self.partial))
    }

    /// Checks size and digest, syncs, and gives the blob its name.
    ///
    /// # Errors
    /// [`Error::TooShort`] if bytes are missing: what is there is kept; [`Error::DigestMismatch`] if they are others than
    /// the digest names: they are removed; [`Error::Io`] where the file cannot be synced or renamed: it is kept.
    pub fn commit(mut self) -> Result<BlobFile> {
        self.sink.settle().map_err(Error::io("write", &self.partial))?;
        let (digest, size, path) = (self.digest, self.size, self.partial.clone());
        if !self.is_complete() {
            return Err(Error::TooShort { digest, size, actual: self.offset(), path });
        }
        let actual = self.sink.digest().expect("the sink of a blob writer hashes");
        if actual != digest {
            remove_file(&path)?;
            return Err(Error::DigestMismatch { digest, actual, path });
        }
        publish(self.sink.file(), &path, &self.target)?;
        Ok(BlobFile { path: self.target.clone(), len: size })
    }
}

/// [`BlobWriter::append`] with its error inside an [`io::Error`] of the same kind.
impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.append(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(Error::Io { action, path, source }) => {
                let kind = source.kind();
                Err(io::Error::new(kind, Error::Io { action, path, source }))
            }
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens what there is of a blob, cut to `size`, and hashes it. Returns its length and a sink that goes on behind it.
fn resume(partial: &Path, algorithm: Algorithm, size: u64) -> Result<(u64, Sink)> {
    let mut file = open_partial(partial)?;
    let read = |error| Error::io("read", partial)(error);
    if file.metadata().map_err(read)?.len() > size {
        file.set_len(size).map_err(Error::io("truncate", partial))?;
    }
    let mut hasher = Hasher::new(algorithm);
    let len = hash_all(&file, &mut hasher).map_err(read)?;
    file.seek(SeekFrom::Start(len)).map_err(read)?;
    Ok((len, Sink::resumed(file, partial, len, hasher)))
}

fn open_partial(partial: &Path) -> Result<File> {
    let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(partial);
    let opened = match open() {
        // Its writer was killed after it made the file read-only and before it renamed it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            std::fs::set_permissions(partial, Permissions::from_mode(0o600)).and_then(|()| open())
        }
        opened => opened,
    };
    opened.map_err(Error::io("open", partial))
}

/// Hashes all that `source` reads; returns how many bytes that was.
fn hash_all(source: impl Read, hasher: &mut Hasher) -> io::Result<u64> {
    hash_while(source, hasher, &|| ControlFlow::Continue(()))
        .map(|(ControlFlow::Continue(total) | ControlFlow::Break(total))| total)
}

/// The same until `going_on` breaks, which is asked before each part.
fn hash_while(
    mut source: impl Read,
    hasher: &mut Hasher,
    going_on: &dyn Fn() -> ControlFlow<()>,
) -> io::Result<ControlFlow<u64, u64>> {
    let mut buffer = vec![0; READ_SIZE];
    let mut total = 0;
    loop {
        if going_on().is_break() {
            return Ok(ControlFlow::Break(total));
        }
        match source.read(&mut buffer) {
            Ok(0) => return Ok(ControlFlow::Continue(total)),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                total += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // Nobody is left to tell when this fails: what is missing is fetched again.
        let _ = self.sink.settle();
        // The lock is still held. After a commit there is no such file; a file that stays is swept later.
        if self.sink.len() == 0 {
            let _ = remove_file(&self.partial);
        }
    }
}
