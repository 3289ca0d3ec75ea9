//! The table of contents and the other frames behind the data, which decoders of zstd skip.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::header::{Header, Time};
use super::{Fault, Sha256Digest};
use crate::recompress::Result;

/// The most bytes of the table of contents and of the data of tar-split, each before compression. Podman reads tables
/// of up to 150 MiB.
const MAX_SIZE: u64 = 128 << 20;

/// The annotation with the digest of the compressed table of contents.
const CHECKSUM: &str = "io.github.containers.zstd-chunked.manifest-checksum";

/// The annotation with the offset, the size, the size before compression and the type of the table of contents.
const POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";

/// The annotation with the offset, the size and the size before compression of the data of tar-split.
const TAR_SPLIT_POSITION: &str = "io.github.containers.zstd-chunked.tarsplit-position";

/// The type of a table of contents in JSON.
const TYPE: u64 = 1;

/// The last bytes of a layer.
const MAGIC: [u8; 8] = *b"GNUlInUx";

/// The magic number of a skippable frame (RFC 8878 section 3.1.2), and the size of its header.
const SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];
const SKIPPABLE_HEADER: u64 = 8;

/// An entry of the table of contents.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    pub(super) name: &'a str,
    #[serde(rename = "linkName", skip_serializing_if = "str::is_empty")]
    link: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    mode: i64,
    #[serde(skip_serializing_if = "is_zero")]
    size: i64,
    #[serde(skip_serializing_if = "is_zero")]
    uid: i64,
    #[serde(skip_serializing_if = "is_zero")]
    gid: i64,
    #[serde(rename = "modtime", skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(rename = "accesstime", skip_serializing_if = "Option::is_none")]
    accessed: Option<String>,
    #[serde(rename = "changetime", skip_serializing_if = "Option::is_none")]
    changed: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    dev_major: i64,
    #[serde(skip_serializing_if = "is_zero")]
    dev_minor: i64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<&'a str, String>,
    /// The digest of the data. Empty if there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) digest: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) offset: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) end_offset: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) chunk_size: i64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_offset: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) chunk_digest: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) chunk_type: &'static str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde needs")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl<'a> Entry<'a> {
    /// Returns the entry of a header, without its data.
    pub(super) fn new(header: &'a Header) -> Result<Self, Fault> {
        let kind = match header.kind {
            b'1' => "hardlink",
            b'2' => "symlink",
            b'3' => "char",
            b'4' => "block",
            b'5' => "dir",
            b'6' => "fifo",
            _ => "reg",
        };
        let xattrs = header.xattrs.iter().map(|(name, value)| Ok((utf8(name)?, BASE64_STANDARD.encode(value))));
        Ok(Self {
            kind,
            name: utf8(&header.name)?,
            link: utf8(&header.link)?,
            mode: header.mode,
            size: header.size,
            uid: header.uid,
            gid: header.gid,
            modified: Some(rfc_3339(header.modified)?),
            accessed: header.accessed.map(rfc_3339).transpose()?,
            changed: header.changed.map(rfc_3339).transpose()?,
            dev_major: header.device.0,
            dev_minor: header.device.1,
            xattrs: xattrs.collect::<Result<_, Fault>>()?,
            ..Self::default()
        })
    }

    /// Returns an entry for a chunk other than the first of a file.
    pub(super) fn chunk(name: &'a str, offset: i64) -> Self {
        Self { kind: "chunk", name, chunk_offset: offset, ..Self::default() }
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    str::from_utf8(bytes).map_err(|_| "it has a name that is not UTF-8")
}

/// Formats a digest as in descriptors.
pub(super) fn digest_text(digest: &Sha256Digest) -> String {
    let mut text = "sha256:".to_owned();
    for byte in digest {
        let _ = write!(text, "{byte:02x}"); // a String does not fail
    }
    text
}

/// Formats a time in UTC (RFC 3339).
fn rfc_3339(time: Time) -> Result<String, Fault> {
    let days = time.seconds.div_euclid(86_400);
    let second = time.seconds.rem_euclid(86_400);
    let (year, month, day) = date(days);
    if !(0..=9999).contains(&year) {
        return Err("it has a time outside of the years 0 to 9999");
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if time.nanoseconds > 0 {
        let fraction = format!("{:09}", time.nanoseconds);
        let _ = write!(text, ".{}", fraction.trim_end_matches('0')); // a String does not fail
    }
    text.push('Z');
    Ok(text)
}

/// Returns the year, month and day of the Gregorian calendar for a number of days since 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    // Years that begin in March end with the leap day. 719,468 days are from 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = year + era * 400;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

/// JSON that is compressed while it is written.
pub(super) struct Frame {
    encoder: zstd::Encoder<'static, Vec<u8>>,
    size: u64,
}

/// The compressed bytes of a [`Frame`].
pub(super) struct Finished {
    bytes: Vec<u8>,
    size: u64,
}

impl Frame {
    pub(super) fn new(level: i32) -> Result<Self> {
        Ok(Self { encoder: zstd::Encoder::new(Vec::new(), level)?, size: 0 })
    }

    /// Writes text as it is.
    pub(super) fn write(&mut self, text: &str) -> Result<(), FrameError> {
        self.size += text.len() as u64;
        if self.size > MAX_SIZE {
            return Err(FrameError::Fault("its table of contents has more than 128 MiB"));
        }
        Ok(self.encoder.write_all(text.as_bytes())?)
    }

    /// Writes a value as JSON, which has no line ends.
    pub(super) fn write_json(&mut self, value: &impl Serialize) -> Result<(), FrameError> {
        self.write(&serde_json::to_string(value).map_err(std::io::Error::from)?)
    }

    pub(super) fn finish(self) -> Result<Finished> {
        Ok(Finished { bytes: self.encoder.finish()?, size: self.size })
    }
}

/// An error of writing a [`Frame`].
pub(super) enum FrameError {
    Fault(Fault),
    Io(std::io::Error),
}

impl From<std::io::Error> for FrameError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl Finished {
    pub(super) fn digest(&self) -> String {
        digest_text(&Sha256::digest(&self.bytes).into())
    }
}

/// Returns the skippable frames at the end of a layer whose data has `offset` bytes, and the annotations of the layer.
pub(super) fn end(offset: u64, table: &Finished, tar_split: &Finished) -> (Vec<u8>, BTreeMap<String, String>) {
    let table_offset = offset + SKIPPABLE_HEADER;
    let table_length = table.bytes.len() as u64;
    let tar_split_offset = table_offset + table_length + SKIPPABLE_HEADER;
    let tar_split_length = tar_split.bytes.len() as u64;
    let numbers = [table_offset, table_length, table.size, TYPE, tar_split_offset, tar_split_length, tar_split.size];
    let footer = [&numbers.map(u64::to_le_bytes).concat()[..], &MAGIC].concat();

    let mut frames = Vec::new();
    for bytes in [&table.bytes, &tar_split.bytes, &footer] {
        frames.extend(SKIPPABLE);
        frames.extend((bytes.len() as u32).to_le_bytes()); // compressed JSON of at most MAX_SIZE
        frames.extend(bytes);
    }
    let annotations = BTreeMap::from([
        (CHECKSUM.to_owned(), table.digest()),
        (POSITION.to_owned(), format!("{table_offset}:{table_length}:{}:{TYPE}", table.size)),
        (TAR_SPLIT_POSITION.to_owned(), format!("{tar_split_offset}:{tar_split_length}:{}", tar_split.size)),
    ]);
    (frames, annotations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc() {
        let text = |seconds, nanoseconds| rfc_3339(Time { seconds, nanoseconds });
        assert_eq!(text(0, 0).unwrap(), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_399, 0).unwrap(), "2000-02-28T23:59:59Z");
        assert_eq!(text(951_782_400, 0).unwrap(), "2000-02-29T00:00:00Z");
        assert_eq!(text(1_709_251_199, 120_000_000).unwrap(), "2024-02-29T23:59:59.12Z");
        assert_eq!(text(-1, 1).unwrap(), "1969-12-31T23:59:59.000000001Z");
        assert_eq!(text(253_402_300_799, 0).unwrap(), "9999-12-31T23:59:59Z");
        assert!(text(253_402_300_800, 0).is_err());
        assert!(text(i64::MAX, 0).is_err());
        assert!(text(i64::MIN, 0).is_err());
    }
}
