//! Copying between files: by shared blocks or in the kernel where possible. Holes are kept.

use std::fs::File;
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::copy_file_range;
use rustix::io::Errno;

use crate::Holes;

/// Shared blocks begin and end at multiples of this.
const BLOCK: u64 = 4096;
/// The most bytes that are copied between two progress callbacks.
const STEP: u64 = 16 << 20;
/// The buffer of the fallback copy. It fits in the L2 cache of a core.
const BUFFER: usize = 256 << 10;

const CLONE: u8 = 0;
const IN_KERNEL: u8 = 1;
const PLAIN: u8 = 2;

/// Copies between files of two file systems. A method that these do not support is tried only once.
#[derive(Debug, Default)]
pub struct Copier {
    method: AtomicU8,
}

impl Copier {
    /// Copies `range` of a file to the empty file `target`.
    ///
    /// The source must have zeros between the end of the range and the next multiple of 4096, or end there. `copied` is
    /// called every few megabytes with the number of bytes since the last call, holes included. If it returns `Break`,
    /// the copy stops.
    ///
    /// # Errors
    /// - `UnexpectedEof`: the source is shorter than the range.
    /// - The error of a read or write.
    pub fn copy(
        &self,
        holes: &mut Holes<'_>,
        range: Range<u64>,
        target: &File,
        copied: impl FnMut(u64) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        let length = range.end - range.start;
        let flow = self.copy_to(holes, range, target, 0, copied)?;
        if flow.is_continue() && target.metadata()?.len() != length {
            target.set_len(length)?;
        }
        Ok(flow)
    }

    /// Copies `range` to offset `at` of `target`. `at` is a multiple of 4096, and `target` has a hole or ends there.
    ///
    /// A hole at the end of the range does not extend the target. Shared blocks may extend it by up to one block.
    ///
    /// # Errors
    /// As [`Self::copy`].
    pub fn copy_to(
        &self,
        holes: &mut Holes<'_>,
        range: Range<u64>,
        target: &File,
        at: u64,
        mut copied: impl FnMut(u64) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        if self.share(holes.file(), &range, target, at)? {
            return Ok(copied(range.end - range.start));
        }
        let mut position = range.start;
        while position < range.end {
            let data = holes.next_data(position..range.end)?.unwrap_or(range.end..range.end);
            let step = data.start..data.end.min(data.start + STEP);
            self.copy_data(holes.file(), step.clone(), target, at + (step.start - range.start))?;
            let flow = copied(step.end - position);
            position = step.end;
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Shares the blocks. Returns `false` if the file systems cannot.
    fn share(&self, source: &File, range: &Range<u64>, target: &File, at: u64) -> io::Result<bool> {
        if self.method.load(Ordering::Relaxed) != CLONE {
            return Ok(false);
        }
        // The length must be a multiple of the block size, except at the end of the source.
        let source_length = source.metadata()?.len();
        if source_length < range.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = range.end.next_multiple_of(BLOCK).min(source_length);
        match vmroot_sys::clone_range(source, range.start, end - range.start, target, at) {
            Ok(()) => Ok(true),
            Err(error) if is_refusal(&error) => {
                self.method.fetch_max(IN_KERNEL, Ordering::Relaxed);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn copy_data(&self, source: &File, mut range: Range<u64>, target: &File, mut at: u64) -> io::Result<()> {
        while !range.is_empty() {
            let in_kernel = self.method.load(Ordering::Relaxed) != PLAIN;
            let result = if in_kernel {
                copy_in_kernel(source, &range, target, at)
            } else {
                copy_through_buffer(source, &range, target, at)
            };
            let count = match result {
                Err(error) if in_kernel && is_refusal(&error) => 0,
                result => result?,
            };
            if count == 0 && !in_kernel {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if count == 0 {
                // The call was refused, or the file system copies nothing and reports success.
                self.method.store(PLAIN, Ordering::Relaxed);
            }
            range.start += count;
            at += count;
        }
        Ok(())
    }
}

/// Returns whether a copy of `range` failed because its source cannot be read, and not because of the target. The error of
/// copy_file_range(2) does not tell, so the range's ends are read.
pub fn is_source_failure(source: &File, range: &Range<u64>, error: &io::Error) -> bool {
    let can_read = |at: u64| source.read_exact_at(&mut [0], at).is_ok();
    let is_readable = || range.is_empty() || can_read(range.start) && can_read(range.end - 1);
    error.kind() == io::ErrorKind::UnexpectedEof || !is_readable()
}

/// Returns true if the file systems do not support the call, so that another method may work.
fn is_refusal(error: &io::Error) -> bool {
    use Errno as E;
    let refusals = [E::OPNOTSUPP, E::XDEV, E::INVAL, E::NOTTY, E::NOSYS, E::PERM];
    Errno::from_io_error(error).is_some_and(|errno| refusals.contains(&errno))
}

fn copy_in_kernel(source: &File, range: &Range<u64>, target: &File, at: u64) -> io::Result<u64> {
    let (mut from, mut to) = (range.start, at);
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    Ok(copy_file_range(source, Some(&mut from), target, Some(&mut to), length)? as u64)
}

fn copy_through_buffer(source: &File, range: &Range<u64>, target: &File, at: u64) -> io::Result<u64> {
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(BUFFER);
    let mut buffer = vec![0; length];
    let count = source.read_at(&mut buffer, range.start)?;
    target.write_all_at(&buffer[..count], at)?;
    Ok(count as u64)
}
