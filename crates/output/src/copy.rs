//! Bytes from file to file: shared blocks where the file system can, copied by the kernel where not, holes kept.

use std::fs::File;
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::copy_file_range;
use rustix::io::Errno;

use crate::Holes;

/// Blocks can be shared where they begin and end on multiples of this.
const BLOCK: u64 = 4096;
/// The most bytes that are copied between two calls of the meter.
const STEP: u64 = 16 << 20;
/// The buffer of the last resort: it stays in a core's own cache.
const BUFFER: usize = 256 << 10;

const CLONE: u8 = 0;
const IN_KERNEL: u8 = 1;
const PLAIN: u8 = 2;

/// Copies between two file systems; what they cannot do is tried once.
#[derive(Debug, Default)]
pub struct Copier {
    method: AtomicU8,
}

impl Copier {
    /// Makes `target`, an empty file, the bytes of `range` of the file that `holes` looks at; what is behind the range
    /// up to the next block boundary must be zeros, or the file's end. `copied` hears of every few megabytes, holes
    /// included, and stops the copy by `Break`.
    ///
    /// # Errors
    /// What the system says to a read or a write; `UnexpectedEof` when the source ends before the range does.
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

    /// The same into the middle of a file: to `at`, a multiple of 4096, where `target` has a hole, or ends. A hole at
    /// the range's end does not make the target longer, and shared blocks may make it longer by up to a block.
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

    /// Shares the blocks; `false` where that cannot be.
    fn share(&self, source: &File, range: &Range<u64>, target: &File, at: u64) -> io::Result<bool> {
        if self.method.load(Ordering::Relaxed) != CLONE {
            return Ok(false);
        }
        // A length that is no multiple of a block is fine only at the source's end.
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
                // Refused, or one of the file systems that copy nothing and call it done.
                self.method.store(PLAIN, Ordering::Relaxed);
            }
            range.start += count;
            at += count;
        }
        Ok(())
    }
}

/// Whether the file systems cannot do it, so that another way may work.
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
