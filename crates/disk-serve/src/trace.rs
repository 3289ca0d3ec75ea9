//! Boot traces: the blocks of a disk in the order in which they were first read.
//!
//! The format is documented in `docs/formats/trace.md`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{Device, Error, Result};

/// The size of a block of a trace in bytes.
pub const TRACE_BLOCK: u32 = 64 << 10;

/// The first bytes of a trace.
const MAGIC: [u8; 8] = *b"VMRTRACE";
/// The version of the format.
const VERSION: u32 = 1;
/// The most blocks that are read ahead by one call. The kernel begins to read when it gets a call.
const MAX_RUN: u64 = 16;

/// The start of a trace.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TraceHeader {
    /// `VMRTRACE`.
    pub magic: [u8; 8],
    /// The version of the format, 1.
    pub version: U32,
    /// The size of a block in bytes.
    pub block: U32,
    /// The length of the disk in bytes.
    pub length: U64,
    /// The number of blocks that follow.
    pub count: U32,
    /// Zeros.
    pub reserved: U32,
    /// The chain id of the root, as 64 hexadecimal digits.
    pub identity: [u8; 64],
}

/// The blocks of a disk in the order in which they were first read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    identity: [u8; 64],
    length: u64,
    blocks: Vec<u32>,
}

impl Trace {
    /// Returns the numbers of the blocks, each once. A block has [`TRACE_BLOCK`] bytes.
    pub fn blocks(&self) -> &[u32] {
        &self.blocks
    }

    /// Reads a trace of a disk.
    ///
    /// # Errors
    /// - [`Error::Trace`]: the file is not a trace, or a trace of another disk.
    /// - [`Error::TraceFile`]: the file cannot be read.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        let failed = |source| Error::TraceFile { path: path.to_owned(), source };
        // No trace of the disk is longer.
        let limit = size_of::<TraceHeader>() as u64 + block_count(device.length()) * 4;
        if fs::metadata(path).map_err(failed)?.len() > limit {
            return Err(Error::Trace { path: path.to_owned(), reason: "it is too long for this disk" });
        }
        Self::parse(&fs::read(path).map_err(failed)?, device)
            .map_err(|reason| Error::Trace { path: path.to_owned(), reason })
    }

    /// Parses a trace of a disk.
    ///
    /// # Errors
    /// The reason why the bytes are not a trace of this disk.
    pub fn parse(bytes: &[u8], device: &Device) -> std::result::Result<Self, &'static str> {
        let (header, rest) = TraceHeader::read_from_prefix(bytes).map_err(|_| "it is too short")?;
        if header.magic != MAGIC {
            return Err("it is not a boot trace");
        }
        if header.version != VERSION || header.block != TRACE_BLOCK {
            return Err("it is a boot trace of another version of vmroot");
        }
        if header.identity != identity(device) || header.length != device.length() {
            return Err("it is the boot trace of another disk");
        }
        let blocks = <[U32]>::ref_from_bytes(rest).map_err(|_| "it ends within a block number")?;
        if blocks.len() as u64 != u64::from(header.count.get()) {
            return Err("its length does not agree with its header");
        }
        let blocks: Vec<u32> = blocks.iter().map(|block| block.get()).collect();
        if blocks.iter().any(|block| u64::from(*block) >= block_count(device.length())) {
            return Err("it has a block after the end of the disk");
        }
        Ok(Self { identity: header.identity, length: device.length(), blocks })
    }

    /// Writes the trace.
    ///
    /// # Errors
    /// The error of the writer.
    pub fn write(&self, mut output: impl Write) -> io::Result<()> {
        let header = TraceHeader {
            magic: MAGIC,
            version: VERSION.into(),
            block: TRACE_BLOCK.into(),
            length: self.length.into(),
            count: (self.blocks.len() as u32).into(),
            reserved: 0.into(),
            identity: self.identity,
        };
        output.write_all(header.as_bytes())?;
        let blocks: Vec<U32> = self.blocks.iter().map(|block| (*block).into()).collect();
        output.write_all(blocks.as_bytes())
    }

    /// Returns the bytes to read ahead, as offsets and lengths. Consecutive blocks are joined, up to 1 MiB.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        let size = u64::from(TRACE_BLOCK);
        let runs = self.blocks.chunk_by(|one, other| one.checked_add(1) == Some(*other));
        runs.flat_map(|run| run.chunks(MAX_RUN as usize))
            .map(move |run| (u64::from(run[0]) * size, run.len() as u64 * size))
    }
}

/// Records the order in which blocks are first read.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// A bit for each block that was read.
    seen: Vec<AtomicU64>,
    order: Mutex<Vec<u32>>,
}

impl Recorder {
    /// Makes a recorder for a disk of `length` bytes. It needs at most 2 KiB and 64 KiB for each GiB: bits, and numbers.
    pub(crate) fn new(length: u64) -> Self {
        let words = block_count(length).div_ceil(64);
        Self { seen: (0..words).map(|_| AtomicU64::new(0)).collect(), order: Mutex::default() }
    }

    /// Records a read. All of it is on the disk.
    pub(crate) fn record(&self, offset: u64, length: u64) {
        if length == 0 {
            return;
        }
        let size = u64::from(TRACE_BLOCK);
        for block in offset / size..=(offset + length - 1) / size {
            let (Some(word), bit) = (self.seen.get((block / 64) as usize), 1 << (block % 64)) else { return };
            // A plain load first, because nearly all blocks were seen before.
            if word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
                self.order().push(block as u32);
            }
        }
    }

    /// Returns the trace so far.
    pub(crate) fn trace(&self, device: &Device) -> Trace {
        Trace { identity: identity(device), length: device.length(), blocks: self.order().clone() }
    }

    fn order(&self) -> MutexGuard<'_, Vec<u32>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the number of blocks of a disk. Disks have fewer than 16 TiB, so it fits into 28 bits.
fn block_count(length: u64) -> u64 {
    length.div_ceil(TRACE_BLOCK.into())
}

fn identity(device: &Device) -> [u8; 64] {
    let mut bytes = [0; 64];
    let hex = device.identity().hex();
    let length = hex.len().min(bytes.len());
    bytes[..length].copy_from_slice(&hex.as_bytes()[..length]);
    bytes
}
