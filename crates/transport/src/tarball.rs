//! `tarball:` sources: an image made of tars, each of which is one layer.
//!
//! The files are not copied. Each is read once in advance, for its digest and its diff id. The config and the manifest
//! are created, with the same history as containers/image creates.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use vmroot_compress::{Compression, Decoder};
use vmroot_errors::describe_content;
use vmroot_model::{Algorithm, Descriptor, Digest, Hasher, History, MediaType, Platform};

use crate::bundle::read_error;
use crate::created_image::{CreatedConfig, CreatedImage, CreatedLayer};
use crate::section::{Section, drain};
use crate::source::ImageSource;
use crate::spool::{spool_plain, spool_unchanged};
use crate::{ArchiveOptions, Error, Result};
use vmroot_model::rfc3339;

/// The path that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// The comment in the history, as containers/image writes it.
const COMMENT: &str = "imported from tarball";

/// The size in bytes of a tar's header.
const HEADER: usize = 512;

/// The number of bytes that show the kind of a file.
const CONTENT_START: usize = 2048;

/// Options for images that are made of tars.
#[derive(Debug, Clone)]
pub struct TarballOptions {
    /// The spool directory and the limits on decompressing a layer. A tar from a pipe is spooled as it is. A tar
    /// inside bzip2 or xz is spooled decompressed, because no media type of layers names these.
    pub archive: ArchiveOptions,
    /// The platform of the image. A tar does not tell it.
    pub platform: Platform,
    /// The time of the image. `None` stands for the newest modification time of the files, or the current time for
    /// standard input.
    pub created: Option<SystemTime>,
}

/// Opens tars as an image. Each file is one layer, the base layer first. The path `-` stands for standard input.
///
/// # Errors
/// - [`Error::InvalidName`]: `files` is empty, or has `-` several times.
/// - [`Error::Io`]: a file cannot be read, or the spool cannot be written.
/// - [`Error::NotAnArchive`]: a file is not a tar.
/// - [`Error::Decompress`]: a file's compression is broken or exceeds the limits.
pub fn open_tarball(files: &[PathBuf], options: &TarballOptions) -> Result<Box<dyn ImageSource>> {
    let paths: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    let name = format!("tarball:{}", paths.join(":"));
    let invalid = |reason: &str| Error::InvalidName { name: name.clone(), reason: reason.to_owned() };
    if files.is_empty() {
        return Err(invalid("it names no file"));
    }
    if files.iter().filter(|file| is_standard_input(file)).count() > 1 {
        return Err(invalid("standard input can be read only once"));
    }
    let mut layers = Vec::new();
    let mut history = Vec::new();
    let mut newest = None;
    for file in files {
        let (section, modified) = open_file(file, options)?;
        let layer = describe(file, section, options)?;
        let created = options.created.unwrap_or(modified);
        history.push(History {
            created: Some(rfc3339(created)),
            created_by: Some(format!("/bin/sh -c #(nop) ADD file:{} in /", layer.diff_id.hex())),
            comment: Some(COMMENT.to_owned()),
            ..History::default()
        });
        newest = newest.max(Some(created));
        layers.push(layer);
    }
    let config = CreatedConfig {
        created: rfc3339(newest.unwrap_or(SystemTime::UNIX_EPOCH)),
        platform: options.platform.clone(),
        cmd: Vec::new(),
        labels: Default::default(),
        history,
    };
    Ok(Box::new(CreatedImage::new(name, &config, layers)))
}

fn is_standard_input(path: &Path) -> bool {
    path == Path::new(STANDARD_INPUT)
}

/// Opens a file for reading at any offset. Returns it with its modification time.
fn open_file(path: &Path, options: &TarballOptions) -> Result<(Section, SystemTime)> {
    let archive = &options.archive;
    let (file, modified) = if is_standard_input(path) {
        (spool_unchanged(path, io::stdin().lock(), archive)?, SystemTime::now())
    } else {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let metadata = file.metadata().map_err(Error::io("stat", path))?;
        if metadata.is_dir() {
            return Err(Error::NotAnArchive { path: path.to_owned(), reason: "it is a directory".to_owned() });
        }
        let modified = metadata.modified().map_err(Error::io("stat", path))?;
        (if metadata.is_file() { file } else { spool_unchanged(path, file, archive)? }, modified)
    };
    let len = file.metadata().map_err(Error::io("stat", path))?.len();
    Ok((Section::new(Arc::new(file), 0, len), modified))
}

/// Reads a file to its end, for its descriptor and its diff id.
fn describe(path: &Path, section: Section, options: &TarballOptions) -> Result<CreatedLayer> {
    let mut start = [0; Compression::SNIFF_LEN];
    let peeked = section.peek(&mut start).map_err(Error::io("read", path))?;
    let media_type = match Compression::sniff(&start[..peeked]) {
        Compression::None => MediaType::OCI_LAYER,
        Compression::Gzip => MediaType::OCI_LAYER_GZIP,
        Compression::Zstd => MediaType::OCI_LAYER_ZSTD,
        Compression::Bzip2 | Compression::Xz => {
            let total = Some(section.len());
            let plain = spool_plain(path, section, total, &options.archive)?;
            let len = plain.metadata().map_err(Error::io("stat", path))?.len();
            let section = Section::new(Arc::new(plain), 0, len);
            let diff_id = hash_tar(path, &mut section.clone())?;
            let descriptor = Descriptor::new(MediaType::OCI_LAYER, diff_id, len);
            return Ok(CreatedLayer { descriptor, diff_id, section });
        }
    };
    if media_type == MediaType::OCI_LAYER {
        let diff_id = hash_tar(path, &mut section.clone())?;
        let descriptor = Descriptor::new(media_type, diff_id, section.len());
        return Ok(CreatedLayer { descriptor, diff_id, section });
    }
    let compressed = Hashing { reader: section.clone(), hasher: Hasher::new(Algorithm::Sha256) };
    let mut decoder = Decoder::new(compressed, &options.archive.limits)
        .map_err(|source| Error::Decompress { path: path.to_owned(), source })?;
    let diff_id = hash_tar(path, &mut decoder)?;
    // The decoder has reached the end of its reader, so all bytes are hashed.
    let digest = decoder.into_inner().hasher.finish();
    Ok(CreatedLayer { descriptor: Descriptor::new(media_type, digest, section.len()), diff_id, section })
}

/// Returns the digest of a plain tar, and checks that it starts like one.
fn hash_tar(path: &Path, reader: &mut impl Read) -> Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut start = Vec::new();
    drain(reader, |bytes| {
        let wanted = CONTENT_START - start.len();
        start.extend_from_slice(&bytes[..bytes.len().min(wanted)]);
        hasher.update(bytes);
        Ok(())
    })
    .map_err(|error| read_error(path, error))?;
    if !starts_like_a_tar(&start) {
        let content = describe_content(&start).map_or_else(String::new, |it| format!("; it seems to be {it}"));
        let reason = format!("it does not start with the header of a tar{content}");
        return Err(Error::NotAnArchive { path: path.to_owned(), reason });
    }
    Ok(hasher.finish())
}

/// Returns whether a block is a tar header with the right checksum, or zeros, which end an empty tar.
fn starts_like_a_tar(start: &[u8]) -> bool {
    let Some((block, rest)) = start.split_first_chunk::<HEADER>() else { return false };
    let header = tar::Header::from_byte_slice(block);
    let sum = |add: fn(u8) -> i64| -> i64 {
        let counted = block[..148].iter().chain(&block[156..]);
        counted.map(|byte| add(*byte)).sum::<i64>() + 8 * i64::from(b' ')
    };
    let stored = header.cksum().ok().map(i64::from);
    // Some old programs add signed characters.
    // File systems such as EROFS and ext4 leave their first 1024 bytes to boot loaders.
    block.iter().chain(rest).all(|byte| *byte == 0)
        || stored == Some(sum(i64::from))
        || stored == Some(sum(|byte| i64::from(byte.cast_signed())))
}

/// A reader that hashes everything that is read.
struct Hashing<R> {
    reader: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(bytes)?;
        self.hasher.update(&bytes[..read]);
        Ok(read)
    }
}
