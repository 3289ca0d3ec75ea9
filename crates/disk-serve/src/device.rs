//! The disk: EROFS metadata in memory, and the contents files of the layers after it.

mod part;
mod volatile;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, memfd_create};
use vm_memory::VolatileSlice;
use vmroot_container_fs::ContainerFs;
use vmroot_erofs::{ErofsMeta, ErofsMetaOptions, erofs_devices, write_erofs_meta};
use vmroot_model::Digest;
use vmroot_output::Hook;
use vmroot_verity::{Data, Formatted, KeptLeaves, Options, Parameters, format};

use crate::trace::Recorder;
use crate::{Error, Result, Trace};
use part::Part;

/// The size of a block in bytes. The length of a disk is a multiple of it.
pub const BLOCK: u64 = 4096;

/// The number of omissions that are named in warnings. The others are only counted.
const MAX_NAMED_OMISSIONS: usize = 20;

/// A root as a disk: one EROFS file system.
///
/// The disk begins with the metadata, which is in memory. The contents files of the layers follow, each layer once. The
/// bytes depend only on the root, and never change.
#[derive(Debug)]
pub struct Device {
    parts: Vec<Part>,
    length: u64,
    identity: Digest,
    recorder: Option<Recorder>,
}

/// Consecutive bytes of a disk that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The number of bytes.
    pub length: u64,
    /// Whether the bytes are a hole of a file, which reads as zeros.
    pub is_hole: bool,
}

impl Device {
    /// Makes the disk of a root. The root is not needed afterwards.
    ///
    /// Attributes that EROFS cannot hold are left out, with a warning.
    ///
    /// # Errors
    /// - [`Error::Erofs`]: EROFS cannot hold the root.
    /// - [`Error::Device`]: there is no memory for the metadata, or there are too many open files.
    pub fn of_root(root: &ContainerFs) -> Result<Self> {
        let head = new_memory_file()?;
        let meta = write_erofs_meta(root, &head, &ErofsMetaOptions::default())?;
        meta.report.omissions.lines(MAX_NAMED_OMISSIONS).iter().for_each(|line| tracing::warn!("{line}"));
        head.write_all_at(&meta.head[..], 0).map_err(Error::Device)?;
        Self::join(root, head, &meta).map_err(Error::Device)
    }

    fn join(root: &ContainerFs, head: File, meta: &ErofsMeta) -> io::Result<Self> {
        let mut parts = vec![Part::new(head, 0, u64::from(meta.blocks) * BLOCK)];
        for (contents, device) in erofs_devices(root).zip(&meta.devices) {
            let (start, length) = (u64::from(device.mapped_block) * BLOCK, u64::from(device.blocks) * BLOCK);
            parts.push(Part::new(contents.file.try_clone()?, start, length));
        }
        Ok(Self { parts, length: u64::from(meta.total_blocks) * BLOCK, identity: *root.chain_id(), recorder: None })
    }

    /// Returns the length in bytes, a multiple of [`BLOCK`].
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the chain id of the root, by which clients can recognise the disk.
    pub fn identity(&self) -> &Digest {
        &self.identity
    }

    /// Appends the hash tree of dm-verity, which is made in memory: 1 % of the disk. `root` is that of the disk. All of
    /// the disk is read, but for files whose digests are in `leaves`.
    ///
    /// # Errors
    /// - [`Error::Verity`]: the disk cannot be read, or the hook cancelled the work.
    /// - [`Error::Device`]: there is no memory for the tree.
    pub fn with_verity(
        mut self,
        root: &ContainerFs,
        leaves: Option<&KeptLeaves>,
        hook: Option<Hook<'_>>,
    ) -> Result<(Self, Formatted)> {
        let tree = new_memory_file()?;
        let paths = [None].into_iter().chain(erofs_devices(root).map(|contents| Some(&contents.path)));
        let data = Data::new(self.parts.iter().zip(paths).map(|(part, path)| {
            let leaves = leaves.zip(path).and_then(|(leaves, path)| leaves.of(path));
            vmroot_verity::Part { file: &part.file, offset: 0, length: part.length, leaves }
        }));
        let options = Options { hook, ..Options::default() };
        let built = format(&data, &tree, 0, &Parameters::default(), None, &options)?;
        self.parts.push(Part::new(tree, self.length, built.end));
        self.length += built.end;
        Ok((self, built))
    }

    /// Makes the device record the order in which its blocks are first read.
    #[must_use]
    pub fn recording(self) -> Self {
        Self { recorder: Some(Recorder::new(self.length)), ..self }
    }

    /// Returns the trace so far, if the device is [recording](Self::recording).
    pub fn trace(&self) -> Option<Trace> {
        self.recorder.as_ref().map(|recorder| recorder.trace(self))
    }

    /// Reads the blocks of a trace into the page cache, in their order, until `is_cancelled` returns true.
    ///
    /// The reads are not waited for, but a disk with many waiting reads delays the next one.
    pub fn prefetch(&self, trace: &Trace, is_cancelled: impl Fn() -> bool) {
        for (offset, length) in trace.runs() {
            if is_cancelled() {
                return;
            }
            self.read_ahead(offset, length);
        }
    }

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` if the disk, or a contents file, ends before; otherwise the error of pread(2).
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        self.record(offset, buffer.len() as u64);
        while !buffer.is_empty() {
            let (part, inside) = self.part_at(offset)?;
            let count = usize::try_from(part.length - inside).unwrap_or(usize::MAX).min(buffer.len());
            let (now, rest) = buffer.split_at_mut(count);
            part.file.read_exact_at(now, inside)?;
            (buffer, offset) = (rest, offset + count as u64);
        }
        Ok(())
    }

    /// Fills guest memory with the bytes from `offset` on, by preadv(2).
    ///
    /// # Errors
    /// Those of [`Self::read_exact_at`].
    pub(crate) fn read_into(&self, slices: &[VolatileSlice<'_>], mut offset: u64) -> io::Result<()> {
        self.record(offset, slices.iter().map(|slice| slice.len() as u64).sum());
        let mut cursor = volatile::Cursor::new(slices);
        while !cursor.is_done() {
            let (part, inside) = self.part_at(offset)?;
            let read = part.with_own_file(|file| cursor.read_some(file, inside, part.length - inside))?;
            offset += read as u64;
        }
        Ok(())
    }

    /// Starts reading `length` bytes from `offset` on into the page cache, without waiting for them.
    pub(crate) fn read_ahead(&self, mut offset: u64, length: u64) {
        let end = offset.saturating_add(length).min(self.length);
        while offset < end
            && let Ok((part, inside)) = self.part_at(offset)
        {
            let count = (part.length - inside).min(end - offset);
            part.read_ahead(inside, count);
            offset += count;
        }
    }

    /// Returns the bytes from `offset` on that are alike, at most up to `end`. `None` from the end of the disk on.
    ///
    /// # Errors
    /// The error of lseek(2).
    pub fn extent_at(&self, offset: u64, end: u64) -> io::Result<Option<Extent>> {
        let end = end.min(self.length);
        if offset >= end {
            return Ok(None);
        }
        let (part, inside) = self.part_at(offset)?;
        let mut extent = part.extent_at(inside)?;
        extent.length = extent.length.min(end - offset);
        Ok(Some(extent))
    }

    /// Records a read, before it waits for a disk.
    fn record(&self, offset: u64, length: u64) {
        if let Some(recorder) = &self.recorder
            && offset.checked_add(length).is_some_and(|end| end <= self.length)
        {
            recorder.record(offset, length);
        }
    }

    /// Returns the part with the byte at `offset`, and the offset in it.
    fn part_at(&self, offset: u64) -> io::Result<(&Part, u64)> {
        let next = self.parts.partition_point(|part| part.start <= offset);
        let part = next.checked_sub(1).and_then(|number| self.parts.get(number));
        let part = part.filter(|part| offset - part.start < part.length).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok((part, offset - part.start))
    }
}

/// Creates a file that exists only in memory.
fn new_memory_file() -> Result<File> {
    let file = memfd_create("vmroot-disk", MemfdFlags::CLOEXEC).map_err(|errno| Error::Device(errno.into()))?;
    Ok(file.into())
}
