//! Random access to the plain tar of an archive.

use std::fs::File;
use std::io::{BufRead, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use vmroot_compress::{Compression, Decoder};

use crate::bundle::read_error;
use crate::{ArchiveOptions, Error, Result};

/// Opens an archive for reading at any offset.
///
/// A plain tar file is read in place. An archive that is compressed or comes from a pipe is decoded once, into an
/// unnamed sparse file. The kernel deletes this file after its last reader.
pub(crate) fn open_plain(path: &Path, options: &ArchiveOptions) -> Result<File> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let metadata = file.metadata().map_err(Error::io("stat", path))?;
    if metadata.is_dir() {
        return Err(Error::NotAnArchive { path: path.to_owned(), reason: "it is a directory".to_owned() });
    }
    if metadata.is_file() && sniff(&file).map_err(Error::io("read", path))? == Compression::None {
        return Ok(file);
    }
    let total = metadata.is_file().then_some(metadata.len());
    spool_plain(path, file, total, options)
}

/// Copies the bytes of `reader` to an unnamed sparse file in the spool directory, as they are. `path` is the reader's name
/// in messages.
pub(crate) fn spool_unchanged(path: &Path, reader: impl Read, options: &ArchiveOptions) -> Result<File> {
    let directory = &options.spool;
    let mut reader = Observed::new(reader, None, options);
    let spool = tempfile::tempfile_in(directory).map_err(Error::io("make a temporary file in", directory))?;
    let mut buffer = vec![0; COPY_SIZE];
    let mut position = 0;
    loop {
        let len = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(read_error(path, error)),
        };
        write_sparse(&spool, &buffer[..len], position).map_err(Error::io("write a temporary file in", directory))?;
        position += len as u64;
    }
    spool.set_len(position).map_err(Error::io("write a temporary file in", directory))?;
    reader.end();
    Ok(spool)
}

/// The size in bytes of the buffer of [`spool_unchanged`].
const COPY_SIZE: usize = 256 << 10;

fn sniff(file: &File) -> std::io::Result<Compression> {
    let mut start = [0; Compression::SNIFF_LEN];
    let mut filled = 0;
    while filled < start.len() {
        match file.read_at(&mut start[filled..], filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(Compression::sniff(&start[..filled]))
}

/// A reader whose bytes are counted for [`ArchiveOptions::reading`].
struct Observed<'a, R> {
    reader: R,
    read: u64,
    total: Option<u64>,
    options: &'a ArchiveOptions,
}

impl<'a, R> Observed<'a, R> {
    fn new(reader: R, total: Option<u64>, options: &'a ArchiveOptions) -> Self {
        let observed = Self { reader, read: 0, total, options };
        observed.report();
        observed
    }

    fn report(&self) {
        if let Some(hook) = &self.options.reading {
            hook(self.read, self.total);
        }
    }

    /// Reports the end.
    fn end(&mut self) {
        self.total = Some(self.read);
        self.report();
    }
}

impl<R: Read> Read for Observed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.read += count as u64;
        self.report();
        Ok(count)
    }
}

/// Decodes the bytes of `reader` into an unnamed sparse file. `path` is the reader's name in messages, and `total` the
/// number of its bytes, if it is known.
pub(crate) fn spool_plain(
    path: &Path,
    reader: impl Read,
    total: Option<u64>,
    options: &ArchiveOptions,
) -> Result<File> {
    let decompress = |source| Error::Decompress { path: path.to_owned(), source };
    let mut observed = Observed::new(reader, total, options);
    let mut decoder = Decoder::new(&mut observed, &options.limits).map_err(decompress)?;
    let plain = tempfile::tempfile_in(&options.spool).map_err(Error::io("make a temporary file in", &options.spool))?;
    let mut position = 0;
    loop {
        let piece = decoder.fill_buf().map_err(|error| read_error(path, error))?;
        if piece.is_empty() {
            // Zeros at the end are a hole, so the length is set explicitly.
            plain.set_len(position).map_err(Error::io("write a temporary file in", &options.spool))?;
            drop(decoder);
            observed.end();
            return Ok(plain);
        }
        write_sparse(&plain, piece, position).map_err(Error::io("write a temporary file in", &options.spool))?;
        let len = piece.len();
        position += len as u64;
        decoder.consume(len);
    }
}

/// Writes bytes to a new file, with holes for blocks of zeros: a layer may contain gigabytes of them.
pub(crate) fn write_sparse(file: &File, mut bytes: &[u8], mut position: u64) -> std::io::Result<()> {
    let write = |bytes: &[u8], position| if is_zero(bytes) { Ok(()) } else { file.write_all_at(bytes, position) };
    let to_boundary = position.next_multiple_of(BLOCK as u64) - position;
    let (front, rest) = bytes.split_at(bytes.len().min(to_boundary as usize));
    write(front, position)?;
    position += front.len() as u64;
    bytes = rest;
    while !bytes.is_empty() {
        // A run of blocks that are either all zeros or all not.
        let zero = is_zero(&bytes[..bytes.len().min(BLOCK)]);
        let alike = bytes.chunks(BLOCK).take_while(|block| is_zero(block) == zero);
        let (run, rest) = bytes.split_at(alike.map(<[u8]>::len).sum());
        if !zero {
            file.write_all_at(run, position)?;
        }
        position += run.len() as u64;
        bytes = rest;
    }
    Ok(())
}

/// The size in bytes of a file system's block, which can be a hole.
const BLOCK: usize = 4096;

fn is_zero(bytes: &[u8]) -> bool {
    bytes == &[0; BLOCK][..bytes.len()]
}
