//! A layer's tar, put together from its tar-split file and the files of the layer.
//!
//! A tar-split file has one JSON object a line. An object of type 1 stands for the bytes of a file, with its name, size
//! and CRC-64. An object of type 2 has bytes of the tar itself: headers and padding, in base64.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc::{CRC_64_GO_ISO, Crc, Table};
use serde::Deserialize;
use vmroot_compress::{Decoder, Limits};

use super::files::LayerFiles;
use crate::bundle::read_error;
use crate::regular::open_regular;
use crate::{Error, Result};

/// The maximum length in bytes of a line. A segment has at most 1 MiB of padding, or the headers of one entry.
const LINE_LIMIT: u64 = 16 << 20;

/// The algorithm of the checksums: CRC-64 of ISO 3309, as in Go.
type Crc64 = Crc<u64, Table<16>>;

static CRC64: LazyLock<Crc64> = LazyLock::new(|| Crc64::new(&CRC_64_GO_ISO));

/// An object of a tar-split file.
#[derive(Deserialize)]
struct Line<'l> {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(default, borrow)]
    name: Cow<'l, str>,
    /// The name in base64, if it is not UTF-8.
    #[serde(default, borrow)]
    name_raw: Option<Cow<'l, str>>,
    #[serde(default)]
    size: i64,
    /// The bytes of the segment, or the CRC-64 of the file, in base64.
    #[serde(default, borrow)]
    payload: Option<Cow<'l, str>>,
}

/// A part of a tar.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Bytes of headers or padding.
    Segment(Vec<u8>),
    /// The bytes of a file.
    File { name: Vec<u8>, size: u64, checksum: [u8; 8] },
}

/// A reader of the parts of a tar.
#[derive(Debug)]
pub(super) struct TarSplit {
    path: PathBuf,
    reader: Decoder<File>,
    line: Vec<u8>,
    number: u64,
}

impl TarSplit {
    /// Opens a tar-split file.
    pub(super) fn open(path: &Path, limits: &Limits) -> Result<Self> {
        let file = match open_regular(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let member = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let path = path.parent().unwrap_or(path).to_owned();
                return Err(Error::Missing { path, role: "tar-split file", member });
            }
            Err(source) => return Err(Error::Io { action: "open", path: path.to_owned(), source }),
        };
        let reader =
            Decoder::new(file, limits).map_err(|source| Error::Decompress { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), reader, line: Vec::new(), number: 0 })
    }

    /// Returns the next part that has bytes, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Part>> {
        loop {
            self.line.clear();
            self.number += 1;
            let mut limited = (&mut self.reader).take(LINE_LIMIT);
            let read = limited.read_until(b'\n', &mut self.line).map_err(|error| read_error(&self.path, error))?;
            if read == 0 {
                return Ok(None);
            }
            if read as u64 == LINE_LIMIT && self.line.last() != Some(&b'\n') {
                return Err(self.broken(format!("is longer than {LINE_LIMIT} bytes")));
            }
            match parse(&self.line).map_err(|reason| self.broken(reason))? {
                Some(Part::Segment(bytes)) if bytes.is_empty() => {}
                Some(part) => return Ok(Some(part)),
                None => {}
            }
        }
    }

    /// Returns the length in bytes of the tar. Reads to the end.
    pub(super) fn size(mut self) -> Result<u64> {
        let mut size = 0u64;
        while let Some(part) = self.next()? {
            let len = match part {
                Part::Segment(bytes) => bytes.len() as u64,
                Part::File { size, .. } => size,
            };
            size = size.checked_add(len).ok_or_else(|| self.broken("makes the layer too large".to_owned()))?;
        }
        Ok(size)
    }

    fn broken(&self, reason: String) -> Error {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let directory = self.path.parent().unwrap_or(&self.path);
        Error::member(directory, &format!("line {} of {name}", self.number), reason)
    }
}

/// Parses a line. Returns `None` for an entry without bytes: a directory, a link, an empty file. On an error returns the
/// reason.
fn parse(line: &[u8]) -> std::result::Result<Option<Part>, String> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| format!("is not of tar-split: {error}"))?;
    let decode = |text: &str, field: &str| {
        STANDARD.decode(text).map_err(|error| format!("has a {field} that is not base64: {error}"))
    };
    let payload = decode(line.payload.as_deref().unwrap_or_default(), "payload")?;
    match line.kind {
        1 => {
            let size = u64::try_from(line.size).map_err(|_| format!("has the size {}", line.size))?;
            if size == 0 {
                return Ok(None);
            }
            let name = match line.name_raw {
                Some(raw) if !raw.is_empty() => decode(&raw, "name_raw")?,
                _ => line.name.into_owned().into_bytes(),
            };
            let checksum = payload.try_into().map_err(|_| "has a checksum that is not of 8 bytes".to_owned())?;
            Ok(Some(Part::File { name, size, checksum }))
        }
        2 => Ok(Some(Part::Segment(payload))),
        kind => Err(format!("has the unknown type {kind}")),
    }
}

/// A reader of a layer's tar. Its errors are [`Error`]s in [`io::Error`]s.
#[derive(Debug)]
pub(super) struct LayerReader {
    split: TarSplit,
    files: LayerFiles,
    /// The number of bytes of the tar that are still to be skipped.
    skip: u64,
    current: Current,
}

/// The part that is being read.
#[derive(Debug)]
enum Current {
    None,
    Segment { bytes: Vec<u8>, taken: usize },
    File(Box<OpenFile>),
}

struct OpenFile {
    file: File,
    name: Vec<u8>,
    size: u64,
    left: u64,
    digest: crc::Digest<'static, u64, Table<16>>,
    checksum: [u8; 8],
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFile").field("file", &self.file).field("left", &self.left).finish_non_exhaustive()
    }
}

impl LayerReader {
    /// Creates a reader of a tar from `offset` bytes on.
    pub(super) fn new(split: TarSplit, files: LayerFiles, offset: u64) -> Self {
        Self { split, files, skip: offset, current: Current::None }
    }

    /// Opens the next part. Returns false at the end of the tar.
    fn advance(&mut self) -> Result<bool> {
        self.current = match self.split.next()? {
            None => return Ok(false),
            Some(Part::Segment(bytes)) => {
                let taken = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                self.skip -= taken as u64;
                Current::Segment { bytes, taken }
            }
            // A file that is skipped is not opened, and its checksum is not checked.
            Some(Part::File { size, .. }) if size <= self.skip => {
                self.skip -= size;
                Current::None
            }
            Some(Part::File { name, size, checksum }) => {
                let file = self.files.open_file(&name, size)?;
                Current::File(Box::new(OpenFile { file, name, size, left: size, digest: CRC64.digest(), checksum }))
            }
        };
        Ok(true)
    }

    /// Reads bytes of the current part. Returns 0 at its end.
    fn read_part(&mut self, out: &mut [u8]) -> Result<usize> {
        match &mut self.current {
            Current::None => Ok(0),
            Current::Segment { bytes, taken } => {
                let mut rest = &bytes[*taken..];
                let read = rest.read(out).expect("a slice can be read");
                *taken += read;
                Ok(read)
            }
            Current::File(open) => open.read(&self.files, out),
        }
    }
}

impl OpenFile {
    fn read(&mut self, files: &LayerFiles, out: &mut [u8]) -> Result<usize> {
        let name = || String::from_utf8_lossy(&self.name).into_owned();
        let wanted = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.file.read(&mut out[..wanted]).map_err(|source| files.io("read", &name(), source))?;
        if read == 0 {
            let reason = format!("became shorter than {} bytes while it was read", self.size);
            return Err(Error::member(files.path(), &name(), reason));
        }
        self.digest.update(&out[..read]);
        self.left -= read as u64;
        if self.left == 0 && self.digest.clone().finalize().to_be_bytes() != self.checksum {
            let reason = "does not have the checksum of its tar-split file: it was changed in the store";
            return Err(Error::member(files.path(), &name(), reason));
        }
        Ok(read)
    }
}

impl Read for LayerReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            let mut read = self.read_part(out).map_err(io::Error::other)?;
            if read == 0 {
                if !self.advance().map_err(io::Error::other)? {
                    return Ok(0);
                }
                continue;
            }
            // The start of a file at the offset is read for its checksum.
            let skipped = read.min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            if skipped > 0 {
                self.skip -= skipped as u64;
                out.copy_within(skipped..read, 0);
                read -= skipped;
            }
            if read > 0 {
                return Ok(read);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_types() {
        let segment = br#"{"type":2,"payload":"AAEC","position":0}"#;
        assert_eq!(parse(segment).unwrap(), Some(Part::Segment(vec![0, 1, 2])));
        let file = br#"{"type":1,"name":"./a\u00e9","size":3,"payload":"AAECAwQFBgc=","position":1}"#;
        let part = Part::File { name: "./aé".as_bytes().to_vec(), size: 3, checksum: [0, 1, 2, 3, 4, 5, 6, 7] };
        assert_eq!(parse(file).unwrap(), Some(part));
        let raw = br#"{"type":1,"name_raw":"/w==","size":3,"payload":"AAECAwQFBgc=","position":1}"#;
        assert!(matches!(parse(raw).unwrap(), Some(Part::File { name, .. }) if name == [0xff]));
        for empty in [&br#"{"type":1,"name":"dir/","payload":null,"position":2}"#[..], b"\n", b""] {
            assert_eq!(parse(empty).unwrap(), None);
        }
    }

    #[test]
    fn broken_lines_are_errors() {
        for (line, reason) in [
            (&b"{"[..], "is not of tar-split"),
            (b"[]", "is not of tar-split"),
            (br#"{"type":3}"#, "unknown type 3"),
            (br#"{"type":300}"#, "is not of tar-split"),
            (br#"{"type":2,"payload":"!"}"#, "is not base64"),
            (br#"{"type":1,"name":"a","size":-1}"#, "has the size -1"),
            (br#"{"type":1,"name":"a","size":1,"payload":"AAEC"}"#, "not of 8 bytes"),
            (br#"{"type":1,"name_raw":"!","size":1,"payload":"AAECAwQFBgc="}"#, "is not base64"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn the_checksum_is_that_of_go() {
        // crc64.Checksum([]byte("123456789"), crc64.MakeTable(crc64.ISO))
        assert_eq!(CRC64.checksum(b"123456789"), 0xb909_56c7_75a4_1001);
    }
}
