//! The data of tar-split: the bytes of a tar that are not the data of files, and the checksums of that data. With it and
//! the files, podman rebuilds the tar.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crc::{CRC_64_GO_ISO, Crc, Digest, Table};
use serde::Serialize;

use super::metadata::{Finished, Frame, FrameError};
use crate::recompress::Result;

/// The most bytes of a segment. Longer ones are divided.
const MAX_SEGMENT: usize = 1 << 20;

/// The values of `type`.
const FILE: u32 = 1;
const SEGMENT: u32 = 2;

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_GO_ISO);

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(rename = "type")]
    kind: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    payload: Option<String>,
    position: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde needs")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A writer of the data of tar-split.
pub(super) struct TarSplit {
    frame: Frame,
    segment: Vec<u8>,
    position: u64,
}

/// The checksum of a file's data.
pub(super) struct Checksum(Digest<'static, u64, Table<16>>);

impl Checksum {
    pub(super) fn new() -> Self {
        Self(CRC.digest())
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

impl TarSplit {
    pub(super) fn new(level: i32) -> Result<Self> {
        Ok(Self { frame: Frame::new(level)?, segment: Vec::new(), position: 0 })
    }

    /// Adds bytes that are not the data of a file.
    pub(super) fn raw(&mut self, mut bytes: &[u8]) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(bytes.len().min(MAX_SEGMENT - self.segment.len()));
            self.segment.extend_from_slice(part);
            bytes = rest;
            if self.segment.len() == MAX_SEGMENT {
                self.end_segment()?;
            }
        }
        Ok(())
    }

    /// Adds an entry of the tar. Entries without data are added, too.
    pub(super) fn file(&mut self, name: &str, size: u64, checksum: Checksum) -> Result<(), FrameError> {
        self.end_segment()?;
        let payload = (size > 0).then(|| BASE64_STANDARD.encode(checksum.0.finalize().to_be_bytes()));
        self.write(FILE, name, size, payload)
    }

    fn end_segment(&mut self) -> Result<(), FrameError> {
        if self.segment.is_empty() {
            return Ok(());
        }
        let payload = BASE64_STANDARD.encode(&self.segment);
        self.segment.clear();
        self.write(SEGMENT, "", 0, Some(payload))
    }

    fn write(&mut self, kind: u32, name: &str, size: u64, payload: Option<String>) -> Result<(), FrameError> {
        let position = self.position;
        self.position += 1;
        self.frame.write_json(&Entry { kind, name, size, payload, position })?;
        self.frame.write("\n")
    }

    pub(super) fn finish(mut self) -> Result<Finished, FrameError> {
        self.end_segment()?;
        self.frame.finish().map_err(|error| FrameError::Io(error.into()))
    }
}
