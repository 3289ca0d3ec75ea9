//! The shape of the larger file system, and the places of the metadata of its new groups.

use std::ops::Range;

use crate::format::{compatible, incompatible};
use crate::geometry::GroupPlace;
use crate::shape::Shape;

/// The most groups that are planned at once. Larger values of `s_log_groups_per_flex` are treated like this one.
const MAX_LOG_RUN: u8 = 6;

/// New groups that keep their metadata together.
pub(in crate::grow) struct Run {
    pub(in crate::grow) first: u64,
    pub(in crate::grow) places: Vec<GroupPlace>,
    /// The used blocks: ascending, disjoint ranges.
    pub(in crate::grow) used: Vec<Range<u64>>,
}

/// Returns the shape with at most this number of blocks. It has fewer if the rest is too small for the metadata of a
/// group.
///
/// Descriptors that do not fit into the existing blocks of descriptors are placed in the new groups (`meta_bg`), so no
/// block has to be moved. The resize inode, which contradicts that, is removed with the first new group.
pub(in crate::grow) fn grown(old: &Shape, blocks: u64) -> Shape {
    let mut blocks = blocks;
    loop {
        let shape = with_blocks(old, blocks);
        let groups = shape.groups();
        if groups <= old.groups() {
            return shape;
        }
        let first = run_start(&shape, groups - 1).max(old.groups());
        if plan(&shape, first, groups - first).is_some() {
            return shape;
        }
        blocks = shape.group_start(groups - 1).max(old.blocks());
    }
}

fn with_blocks(old: &Shape, blocks: u64) -> Shape {
    let mut shape = old.clone();
    let record = &mut shape.record;
    (record.blocks_count_lo, record.blocks_count_hi) = ((blocks as u32).into(), ((blocks >> 32) as u32).into());
    let groups = old.groups_of(blocks);
    if groups > old.groups() {
        record.compatible = (record.compatible.get() & !compatible::RESIZE_INODE).into();
        record.reserved_descriptor_blocks = 0.into();
    }
    if !old.has_meta_groups() && groups.div_ceil(old.descriptors_per_block()) > old.descriptor_blocks() {
        record.incompatible = (record.incompatible.get() | incompatible::META_BG).into();
        record.first_meta_group = (old.descriptor_blocks() as u32).into();
    }
    shape
}

/// Returns the runs of the groups from `first` on, of which each is planned when it is asked for. `None` is a run whose
/// metadata does not fit.
pub(in crate::grow) fn runs(shape: &Shape, first: u64) -> impl Iterator<Item = Option<Run>> {
    let mut at = first;
    std::iter::from_fn(move || {
        let first = at;
        let end = (run_start(shape, first) + run_length(shape)).min(shape.groups());
        (first < end).then(|| {
            at = end;
            plan(shape, first, end - first)
        })
    })
}

fn run_length(shape: &Shape) -> u64 {
    let has_flex_groups = shape.record.incompatible & incompatible::FLEX_BG != 0;
    1 << if has_flex_groups { shape.record.log_groups_per_flex.min(MAX_LOG_RUN) } else { 0 }
}

fn run_start(shape: &Shape, group: u64) -> u64 {
    group / run_length(shape) * run_length(shape)
}

/// Places the metadata of `count` groups in the first of them, or each in its own group where that is impossible.
fn plan(shape: &Shape, first: u64, count: u64) -> Option<Run> {
    if let Some(run) = plan_together(shape, first, count) {
        return Some(run);
    }
    let mut run = Run { first, places: Vec::new(), used: Vec::new() };
    for group in first..first + count {
        let single = plan_together(shape, group, 1)?;
        run.places.extend(single.places);
        run.used.extend(single.used);
    }
    Some(run)
}

fn plan_together(shape: &Shape, first: u64, count: u64) -> Option<Run> {
    let heads = (first..first + count).map(|group| (shape.group_start(group), shape.head_blocks(group)));
    let heads: Vec<_> = heads.filter(|(_, length)| *length > 0).map(|(start, length)| start..start + length).collect();
    let end = shape.group_start(first + count).min(shape.blocks());
    let mut room = Room { heads: &heads, at: shape.group_start(first), end, taken: heads.clone() };
    let bitmaps = room.take(2 * count)?;
    let mut places = Vec::new();
    for block_bitmap in bitmaps..bitmaps + count {
        let inode_table = room.take(shape.table_blocks())?;
        places.push(GroupPlace { block_bitmap, inode_bitmap: block_bitmap + count, inode_table });
    }
    let mut used = room.taken;
    used.sort_unstable_by_key(|range| range.start);
    // A last group without a free block is of no use.
    let has_room = used.last().is_none_or(|last| last.end < end);
    has_room.then_some(Run { first, places, used })
}

/// The blocks of a run that are not taken yet.
struct Room<'h> {
    heads: &'h [Range<u64>],
    at: u64,
    end: u64,
    taken: Vec<Range<u64>>,
}

impl Room<'_> {
    /// Takes consecutive blocks. Returns the first.
    fn take(&mut self, count: u64) -> Option<u64> {
        while let Some(head) = self.heads.first().filter(|head| head.start < self.at + count) {
            self.at = self.at.max(head.end);
            self.heads = &self.heads[1..];
        }
        let start = self.at;
        self.at += count;
        (self.at <= self.end).then(|| {
            self.taken.push(start..self.at);
            start
        })
    }
}
