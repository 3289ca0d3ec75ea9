//! Jobs for threads that compress files.

use vmroot_container_fs::InodeId;

use super::files::{SEGMENT_BYTES, Segment};
use crate::plan::{Layout, Plan};

/// The fewest bytes of a job, unless fewer are left.
const MIN_JOB: u64 = 1 << 20;

/// Iterates over the segments of all files in the order of the contents files, several small ones in one job.
pub(crate) struct Jobs {
    /// Inode, size, and whether the end can follow the inode.
    files: std::vec::IntoIter<(InodeId, u64, bool)>,
    next: Option<Segment>,
    size: u64,
}

impl Jobs {
    /// Creates jobs for the files that have data blocks.
    pub(crate) fn of(plan: &Plan<'_>) -> Self {
        let files = plan.fs.files_in_order().into_iter().filter_map(|(ino, _)| {
            let placed = &plan.inodes[ino.0 as usize];
            (placed.blocks() > 0).then_some((ino, placed.size, matches!(placed.layout, Layout::Inline { .. })))
        });
        let files: Vec<_> = files.collect();
        Self { files: files.into_iter(), next: None, size: 0 }
    }

    /// Returns the bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.as_slice().iter().map(|(_, size, _)| size).sum()
    }

    fn next_segment(&mut self) -> Option<Segment> {
        let segment = match self.next.take() {
            Some(segment) => segment,
            None => {
                let (ino, size, inline) = self.files.next()?;
                self.size = size;
                Segment { ino, offset: 0, length: size.min(SEGMENT_BYTES), is_last: size <= SEGMENT_BYTES, inline }
            }
        };
        if !segment.is_last {
            let offset = segment.offset + segment.length;
            let length = (self.size - offset).min(SEGMENT_BYTES);
            self.next = Some(Segment { offset, length, is_last: offset + length == self.size, ..segment });
        }
        Some(segment)
    }
}

impl Iterator for Jobs {
    type Item = Vec<Segment>;

    fn next(&mut self) -> Option<Vec<Segment>> {
        let (mut segments, mut length) = (Vec::new(), 0);
        while length < MIN_JOB
            && let Some(segment) = self.next_segment()
        {
            length += segment.length;
            segments.push(segment);
        }
        (!segments.is_empty()).then_some(segments)
    }
}
