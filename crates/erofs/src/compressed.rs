//! The one-file image with compressed files: the superblock, the contents of files, then all other metadata.

use std::fs::File;

use vmroot_container_fs::ContainerFs;
use vmroot_output::{ImageFile, Meter, workers};
use vmroot_sys::AlignedBuffer;
use zerocopy::IntoBytes;

use super::compress::{ErofsCompression, Jobs, StoredFiles, WINDOW_BITS, Worker, run_in_order};
use super::data::Data;
use super::format::{
    BLOCK, INCOMPAT_COMPRESSION_CONFIGS, INCOMPAT_ZERO_PADDING, SUPERBLOCK_OFFSET, Superblock, ZstdConfig, check_blocks,
};
use super::plan::{FilePlacement, Plan};
use super::superblock::{seal, superblock};
use super::writer::Writer;
use crate::{ErofsOptions, Error, Result};

/// Bytes of one write.
const WRITE: usize = 4 << 20;

/// Writes the image. Returns its length in bytes.
pub(crate) fn write_compressed(
    fs: &ContainerFs,
    file: &File,
    compression: ErofsCompression,
    options: &ErofsOptions<'_>,
) -> Result<u64> {
    // This finds a root that EROFS cannot hold before any work is done.
    let jobs = Jobs::of(&Plan::of(fs, FilePlacement::Packed, 0)?);
    let target = ImageFile::new(file).map_err(Error::Write)?;
    let meter = Meter::new(options.hook, jobs.bytes());
    let mut stored = StoredFiles::new(compression.scheme(), 1);
    let mut output = Output { target: &target, buffer: AlignedBuffer::new(WRITE), offset: BLOCK };
    let work = || {
        let mut worker = Worker::new(fs, compression);
        move |segments| worker.work(segments)
    };
    let threads = workers::count(options.threads);
    run_in_order(threads, jobs, work, |segments| {
        for (segment, extents) in segments {
            output.write(stored.push(&segment, &extents)?)?;
            meter.count(segment.length)?;
        }
        Ok(())
    })?;
    output.flush()?;
    let plan = Plan::of(fs, FilePlacement::Stored(&stored), 0)?;
    let blocks = check_blocks(plan.end)?;
    let bytes = u64::from(blocks) * BLOCK;
    target.set_length(bytes).map_err(Error::Write)?;
    Writer::new(&plan, &target, &[], Data::default(), None, Meter::new(None, 0)).run(threads)?;
    write_superblock(&plan, blocks, compression, &target)?;
    Ok(bytes)
}

/// Collects consecutive blocks into long writes.
struct Output<'a> {
    target: &'a ImageFile<'a>,
    buffer: AlignedBuffer,
    /// Offset in the target of the buffer's first byte.
    offset: u64,
}

impl Output<'_> {
    fn write(&mut self, mut blocks: &[u8]) -> Result<()> {
        while !blocks.is_empty() {
            blocks = self.buffer.fill(blocks);
            if self.buffer.len() == self.buffer.capacity() {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.target.write(self.buffer.as_slice(), self.offset).map_err(Error::Write)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.resize(0);
        Ok(())
    }
}

fn write_superblock(plan: &Plan<'_>, blocks: u32, compression: ErofsCompression, target: &ImageFile<'_>) -> Result<()> {
    let plain = superblock(plan, blocks, 0, &compression.name());
    let mut block = AlignedBuffer::new(0);
    let bytes = block.resize(BLOCK as usize);
    bytes.fill(0);
    let superblock = match compression {
        ErofsCompression::Lz4 { .. } => Superblock { feature_incompat: INCOMPAT_ZERO_PADDING.into(), ..plain },
        ErofsCompression::Zstd { .. } => {
            let config = ZstdConfig { size: 6.into(), window_bits: WINDOW_BITS as u8 - 10, ..ZstdConfig::default() };
            let start = SUPERBLOCK_OFFSET + size_of::<Superblock>();
            bytes[start..start + size_of::<ZstdConfig>()].copy_from_slice(config.as_bytes());
            let feature_incompat = (INCOMPAT_ZERO_PADDING | INCOMPAT_COMPRESSION_CONFIGS).into();
            Superblock { feature_incompat, compression: (1 << compression.scheme().algorithm).into(), ..plain }
        }
    };
    seal(&superblock, bytes);
    target.write(block.as_slice(), 0).map_err(Error::Write)
}
