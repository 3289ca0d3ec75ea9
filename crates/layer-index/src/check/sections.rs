//! Checks of the section table.

use std::ops::Range;

use super::{Check, ensure};
use crate::format::{Header, NO_INODE, SECTION_ALIGNMENT, SECTIONS, Section};

/// Checks that the sections follow each other to the end of the file, and returns their ranges.
pub(super) fn check(header: &Header, bytes: &[u8]) -> Check<[Range<usize>; SECTIONS]> {
    let length = bytes.len() as u64;
    ensure!(header.section_count.get() as usize == SECTIONS, "{} sections, expected {SECTIONS}", header.section_count);
    let mut ranges: [Range<usize>; SECTIONS] = std::array::from_fn(|_| 0..0);
    let mut end = size_of::<Header>() as u64;
    for (section, record) in Section::ALL.into_iter().zip(&header.sections) {
        let (name, stride) = (section.name(), section.stride() as u64);
        ensure!(record.id.get() as usize == section as usize, "section {name} is not in its place");
        ensure!(u64::from(record.stride.get()) == stride, "section {name} has records of {} bytes", record.stride);
        let (offset, size) = (record.offset.get(), record.length.get());
        ensure!(offset == end.next_multiple_of(SECTION_ALIGNMENT), "section {name} does not follow the previous one");
        ensure!(offset <= length && size <= length - offset, "section {name} ends after the file");
        check_padding(&bytes[end as usize..offset as usize])?;
        ensure!(size % stride == 0, "section {name} is not whole records");
        ensure!(size / stride < u64::from(NO_INODE), "section {name} has too many records");
        end = offset + size;
        ranges[section as usize] = offset as usize..end as usize;
    }
    ensure!(end.next_multiple_of(SECTION_ALIGNMENT) == length, "the file continues after its last section");
    check_padding(&bytes[end as usize..])?;
    Ok(ranges)
}

fn check_padding(bytes: &[u8]) -> Check<()> {
    ensure!(bytes.iter().all(|&byte| byte == 0), "the padding of a section is not zero");
    Ok(())
}
