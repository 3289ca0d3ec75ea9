//! Blobs: files of bytes that were verified against their digest when they were written.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use vmroot_model::{Algorithm, Digest, Hasher};
use vmroot_output::flock::Mode;
use vmroot_output::{BlockWriter, Cancel, directory_of, sync_directory};

use crate::cache::{Cache, file_length, names, remove_file};
use crate::lock::{Lock, LockName, WaitHook};
use crate::{Error, PUBLISHED_MODE, Result};

/// Bytes that are hashed at a time.
const READ_SIZE: usize = 1 << 20;

/// A blob in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobFile {
    /// The path of the file, which has mode 0444.
    pub path: PathBuf,
    /// The length of the file in bytes.
    pub length: u64,
}

/// The result of [`Cache::open_writer`]: the blob itself, or a writer for it.
#[derive(Debug)]
pub enum BlobSlot {
    /// The blob is in the cache. Another process or thread may have finished it during the call.
    Present(BlobFile),
    /// The blob is missing. The caller writes it; other callers wait until the writer is committed or dropped.
    Absent(Box<BlobWriter>),
}

/// Writes one blob.
///
/// A writer that is dropped before [`BlobWriter::commit`] keeps its bytes on disk. The next writer of the same blob
/// resumes behind them.
#[derive(Debug)]
pub struct BlobWriter {
    digest: Digest,
    size: u64,
    /// The number of bytes that an earlier writer left.
    kept: u64,
    partial: PathBuf,
    target: PathBuf,
    writer: BlockWriter,
    hasher: Hasher,
    _lock: Lock,
}

/// A blob in the cache, complete or partial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobEntry {
    /// The digest of the complete blob.
    pub digest: Digest,
    /// The length on disk in bytes.
    pub length: u64,
    /// True if the blob is incomplete: it is being fetched, or its fetch was interrupted.
    pub is_partial: bool,
}

/// The result of [`Cache::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The bytes have the expected digest.
    Whole,
    /// The cache has no such blob.
    Missing,
    /// The bytes have a different digest.
    Damaged {
        /// The digest of the bytes on disk.
        actual: Digest,
        /// The path of the blob.
        path: PathBuf,
    },
}

impl Cache {
    /// Looks up a blob. It does not hash it: the bytes were verified when they were written, and [`Cache::verify`]
    /// verifies them again.
    ///
    /// # Errors
    /// - [`Error::Io`]: the directory cannot be searched.
    pub fn get(&self, digest: &Digest) -> Result<Option<BlobFile>> {
        let path = self.layout().blob(digest);
        Ok(file_length(&path)?.map(|length| BlobFile { path, length }))
    }

    /// Returns the blob if the cache has it, or a writer for its `size` bytes. Waits while another process or thread
    /// writes it.
    ///
    /// The writer resumes behind the bytes that an earlier writer left ([`BlobWriter::offset`]). These are hashed
    /// again, in bounded memory. A blob of a wrong length whose bytes are damaged is removed, so that it is fetched
    /// again.
    ///
    /// # Errors
    /// - [`Error::Cancelled`]: `on_wait` returned `Break`.
    /// - [`Error::SizeMismatch`]: the cache has the blob undamaged, and its length is not `size`.
    /// - [`Error::Io`]: a file cannot be created or read.
    pub fn open_writer(&self, digest: &Digest, size: u64, on_wait: WaitHook<'_>) -> Result<BlobSlot> {
        // Most blobs are present or have no other writer, so try without the lock first.
        if let Some(blob) = self.get(digest)?.filter(|blob| blob.length == size) {
            return Ok(BlobSlot::Present(blob));
        }
        let lock = self.lock(&LockName::Blob(*digest), Mode::Exclusive, on_wait)?;
        if let Some(blob) = self.get(digest)? {
            if blob.length == size {
                return Ok(BlobSlot::Present(blob));
            }
            if self.verify(digest, &Cancel::new())? == Verdict::Whole {
                return Err(Error::SizeMismatch { digest: *digest, size, actual: blob.length, path: blob.path });
            }
            remove_file(&blob.path)?;
        }
        let partial = self.layout().partial(digest);
        let (kept, writer, hasher) = resume(&partial, digest.algorithm(), size)?;
        let target = self.layout().blob(digest);
        let writer = BlobWriter { digest: *digest, size, kept, partial, target, writer, hasher, _lock: lock };
        Ok(BlobSlot::Absent(Box::new(writer)))
    }

    /// Hashes a blob and compares the result with its digest.
    ///
    /// # Errors
    /// - [`Error::Io`]: the file cannot be read.
    /// - [`Error::Cancelled`]: `cancel` is set, which is checked before each read.
    pub fn verify(&self, digest: &Digest, cancel: &Cancel) -> Result<Verdict> {
        self.verify_with_progress(digest, cancel, &mut |_| {})
    }

    /// Verifies a blob as [`Self::verify`]. Calls `advanced` with the number of bytes of each read, at most 1 MiB.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_with_progress(
        &self,
        digest: &Digest,
        cancel: &Cancel,
        advanced: &mut dyn FnMut(u64),
    ) -> Result<Verdict> {
        let path = self.layout().blob(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Verdict::Missing),
            Err(source) => return Err(vmroot_output::Error { action: "open", path, source }.into()),
        };
        let mut hasher = Hasher::new(digest.algorithm());
        let flow = hash_until(cancel, file, &mut hasher, advanced).map_err(vmroot_output::Error::on("read", &path))?;
        if flow.is_break() {
            return Err(Error::Cancelled { path });
        }
        let actual = hasher.finish();
        Ok(if actual == *digest { Verdict::Whole } else { Verdict::Damaged { actual, path } })
    }

    /// Hashes a blob and removes it if it is damaged. Holds the lock of the blob meanwhile.
    ///
    /// # Errors
    /// - [`Error::Cancelled`]: `on_wait` returned `Break`.
    /// - [`Error::Io`]: the file cannot be read or removed.
    pub fn remove_damaged(&self, digest: &Digest, on_wait: WaitHook<'_>) -> Result<Verdict> {
        let _lock = self.lock(&LockName::Blob(*digest), Mode::Exclusive, on_wait)?;
        let verdict = self.verify(digest, &Cancel::new())?;
        if let Verdict::Damaged { path, .. } = &verdict {
            remove_file(path)?;
            sync_directory(&self.layout().blobs(digest.algorithm()))?;
        }
        Ok(verdict)
    }

    /// Removes a blob, complete or partial, and returns the number of bytes freed. Returns `None` if the cache does not
    /// have the blob, or if it is being fetched.
    ///
    /// # Errors
    /// - [`Error::Io`]: a file cannot be removed.
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

    /// Returns all blobs, complete and partial, sorted by algorithm and digest.
    ///
    /// # Errors
    /// - [`Error::Io`]: a directory cannot be listed.
    pub fn blobs(&self) -> Result<Vec<BlobEntry>> {
        let mut blobs = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let directory = self.layout().blobs(algorithm);
            for name in names(&directory)? {
                let (hex, is_partial) = match name.strip_suffix(".partial") {
                    Some(hex) => (hex, true),
                    None => (name.as_str(), false),
                };
                let Ok(digest) = Digest::parse(&format!("{}:{hex}", algorithm.name())) else { continue };
                // The file was removed after the directory was listed.
                let Some(length) = file_length(&directory.join(&name))? else { continue };
                blobs.push(BlobEntry { digest, length, is_partial });
            }
        }
        Ok(blobs)
    }
}

impl BlobWriter {
    /// Returns the digest that the bytes must have.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the size in bytes that the blob must have.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the offset of the next byte, which is the number of bytes present.
    pub fn offset(&self) -> u64 {
        self.writer.position()
    }

    /// Returns true if all bytes are present, so that only [`BlobWriter::commit`] is left to call.
    pub fn is_complete(&self) -> bool {
        self.writer.position() == self.size
    }

    /// Returns a reader of the bytes that an earlier writer left.
    ///
    /// The bytes are not verified before [`BlobWriter::commit`].
    ///
    /// # Errors
    /// - [`Error::Io`]: the file cannot be opened.
    pub fn read_kept(&self) -> Result<impl Read + Send + use<>> {
        let file = File::open(&self.partial).map_err(vmroot_output::Error::on("open", &self.partial))?;
        Ok(file.take(self.kept))
    }

    /// Discards all bytes and starts again at offset 0. For sources that cannot resume in the middle.
    ///
    /// # Errors
    /// - [`Error::Io`]: the file cannot be truncated.
    pub fn restart(&mut self) -> Result<()> {
        let file = self.writer.file().try_clone().map_err(vmroot_output::Error::on("open", &self.partial))?;
        let emptied = file.set_len(0).and_then(|()| BlockWriter::new(file, &self.partial, 0));
        self.writer = emptied.map_err(vmroot_output::Error::on("truncate", &self.partial))?;
        self.hasher = Hasher::new(self.digest.algorithm());
        self.kept = 0;
        Ok(())
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// - [`Error::TooLong`]: the bytes exceed the size of the blob. None of them is written.
    /// - [`Error::Io`]: the file cannot be written, for example because the disk is full.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 > self.size - self.writer.position() {
            return Err(Error::TooLong { digest: self.digest, size: self.size, path: self.partial.clone() });
        }
        self.writer.append(bytes).map_err(vmroot_output::Error::on("write", &self.partial))?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Checks size and digest, syncs the file, and renames it to its final name.
    ///
    /// # Errors
    /// - [`Error::TooShort`]: bytes are missing. Those present are kept.
    /// - [`Error::DigestMismatch`]: the bytes have another digest. They are removed.
    /// - [`Error::Io`]: the file cannot be synced or renamed. It is kept.
    pub fn commit(mut self) -> Result<BlobFile> {
        self.writer.flush().map_err(vmroot_output::Error::on("write", &self.partial))?;
        let (digest, size, path) = (self.digest, self.size, self.partial.clone());
        if !self.is_complete() {
            return Err(Error::TooShort { digest, size, actual: self.offset(), path });
        }
        let actual = self.hasher.clone().finish();
        if actual != digest {
            remove_file(&path)?;
            return Err(Error::DigestMismatch { digest, actual, path });
        }
        publish(self.writer.file(), &path, &self.target)?;
        Ok(BlobFile { path: self.target.clone(), length: size })
    }
}

/// Calls [`BlobWriter::append`]. The [`io::Error`] contains its error and has the same kind.
impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.append(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(Error::Io(error)) => Err(io::Error::new(error.source.kind(), Error::Io(error))),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens the partial file of a blob, truncates it to `size`, and hashes it. Returns its length, and a writer and a
/// hasher that continue at its end.
fn resume(partial: &Path, algorithm: Algorithm, size: u64) -> Result<(u64, BlockWriter, Hasher)> {
    let file = open_partial(partial)?;
    let read = |error| vmroot_output::Error::on("read", partial)(error);
    if file.metadata().map_err(read)?.len() > size {
        file.set_len(size).map_err(vmroot_output::Error::on("truncate", partial))?;
    }
    let mut hasher = Hasher::new(algorithm);
    let len = hash_all(&file, &mut hasher).map_err(read)?;
    let writer = BlockWriter::new(file, partial, len).map_err(read)?;
    Ok((len, writer, hasher))
}

fn open_partial(partial: &Path) -> Result<File> {
    let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(partial);
    let opened = match open() {
        // An earlier writer was killed after it made the file read-only and before it renamed it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            std::fs::set_permissions(partial, Permissions::from_mode(0o600)).and_then(|()| open())
        }
        opened => opened,
    };
    Ok(opened.map_err(vmroot_output::Error::on("open", partial))?)
}

/// Hashes everything that `source` returns, and returns the number of bytes.
fn hash_all(source: impl Read, hasher: &mut Hasher) -> io::Result<u64> {
    hash_until(&Cancel::new(), source, hasher, &mut |_| {})
        .map(|(ControlFlow::Continue(total) | ControlFlow::Break(total))| total)
}

/// Like [`hash_all`], but stops with `Break` once `cancel` is set.
fn hash_until(
    cancel: &Cancel,
    mut source: impl Read,
    hasher: &mut Hasher,
    advanced: &mut dyn FnMut(u64),
) -> io::Result<ControlFlow<u64, u64>> {
    let mut buffer = vec![0; READ_SIZE];
    let mut total = 0;
    loop {
        if cancel.is_cancelled() {
            return Ok(ControlFlow::Break(total));
        }
        match source.read(&mut buffer) {
            Ok(0) => return Ok(ControlFlow::Continue(total)),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                total += read as u64;
                advanced(read as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // An error is ignored, because the bytes that were not flushed are fetched again.
        let _ = self.writer.flush();
        // The lock is still held. After a commit the file does not exist. A file that cannot be removed now is swept
        // later.
        if self.writer.position() == 0 {
            let _ = remove_file(&self.partial);
        }
    }
}

/// Makes `file`, at path `from`, durable and read-only, and renames it to `to` in the same directory.
fn publish(file: &File, from: &Path, to: &Path) -> Result<()> {
    file.set_permissions(Permissions::from_mode(PUBLISHED_MODE))
        .map_err(vmroot_output::Error::on("set the mode of", from))?;
    file.sync_all().map_err(vmroot_output::Error::on("sync", from))?;
    std::fs::rename(from, to).map_err(vmroot_output::Error::on("rename to", to))?;
    Ok(sync_directory(directory_of(to))?)
}
