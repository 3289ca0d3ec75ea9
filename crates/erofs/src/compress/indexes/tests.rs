//! Reads the written indexes back as the kernel does.

use proptest::prelude::*;

use super::*;

/// Reads indexes as the kernel does (`fs/erofs/zmap.c`).
struct Reader<'a> {
    scheme: Scheme,
    bytes: &'a [u8],
    start: usize,
    entries: usize,
}

#[derive(Debug, PartialEq)]
enum Read {
    Head { kind: u16, offset: u64, block: u32 },
    Rest { back: usize, blocks: Option<u32> },
}

impl Reader<'_> {
    /// Returns the pack of an entry, the entry's number in it, the pack's number of entries, and their width in bits.
    fn pack(&self, entry: usize) -> (&[u8], usize, usize, usize) {
        let before = (32 - self.start % 32) / 4 % 8;
        let large = if before < self.entries { (self.entries - before) / 16 * 16 } else { 0 };
        let in_large = (before..before + large).contains(&entry);
        let at = match entry {
            _ if entry < before => self.start + entry * 4,
            _ if in_large => self.start + before * 4 + (entry - before) * 2,
            _ => self.start + before * 4 + large * 2 + (entry - before - large) * 4,
        };
        let (size, count) = if in_large { (32, 16) } else { (8, 2) };
        let base = at - at % size;
        (&self.bytes[base..base + size], (at - base) * count / size, count, (size - 4) * 8 / count)
    }

    fn entry(pack: &[u8], number: usize, width: usize) -> (u16, u16) {
        let bit = |at: usize| u16::from(pack[at / 8] >> (at % 8) & 1);
        let value = (0..14).fold(0, |value, at| value | bit(number * width + at) << at);
        (value >> 12, value & 0xFFF)
    }

    fn read(&self, entry: usize) -> Read {
        let (pack, mut number, count, width) = self.pack(entry);
        let get = |number| Self::entry(pack, number, width);
        let (kind, value) = get(number);
        if kind == 2 {
            if value & 0x800 != 0 {
                assert!(self.scheme.many_blocks);
                return Read::Rest { back: 1, blocks: Some((value & 0x7FF).into()) };
            }
            let back = match number + 1 == count {
                false => value,
                true => match get(number - 1) {
                    (2, value) if value & 0x800 != 0 => 2,
                    (2, value) => value + 1,
                    _ => 1,
                },
            };
            return Read::Rest { back: back.into(), blocks: None };
        }
        let mut block = u32::from_le_bytes(*pack.last_chunk().unwrap());
        if !self.scheme.many_blocks {
            block += 1;
        }
        while number > 0 {
            number -= 1;
            block += match get(number) {
                (2, value) if value & 0x800 != 0 => {
                    number = number.saturating_sub(1);
                    (value & 0x7FF).into()
                }
                (2, value) if self.scheme.many_blocks => {
                    assert!(value > 1);
                    number = (number + 2).saturating_sub(value.into());
                    0
                }
                (2, value) if usize::from(value) > number => break,
                (2, value) => {
                    number -= usize::from(value);
                    1
                }
                _ => 1,
            };
        }
        Read::Head { kind, offset: value.into(), block }
    }

    /// Returns the number of entries from a rest to the next head; `None` if the pack does not contain it.
    fn ahead(&self, entry: usize) -> Option<usize> {
        let (pack, number, count, width) = self.pack(entry);
        let rest = (number..count).take_while(|number| Self::entry(pack, *number, width).0 == 2).count();
        let (_, last) = Self::entry(pack, count - 1, width);
        match number + rest < count {
            true => Some(rest),
            false => (last & 0x800 == 0).then_some(rest - 1 + usize::from(last)),
        }
    }

    /// Returns all extents: start, first block, number of blocks, and whether it is plain.
    fn extents(&self, size: u64) -> Vec<(u64, u32, u32, bool)> {
        let mut extents = Vec::new();
        let mut head = 0;
        for entry in 0..self.entries {
            match self.read(entry) {
                Read::Head { kind, offset, block } => {
                    head = entry;
                    extents.push((entry as u64 * BLOCK + offset, block, 1, kind == 0));
                }
                Read::Rest { back, blocks } => {
                    assert_eq!(entry - back, head);
                    if let Some(next) = self.ahead(entry).map(|ahead| entry + ahead) {
                        assert!(next == self.entries || matches!(self.read(next), Read::Head { .. }));
                    }
                    if let Some(blocks) = blocks {
                        extents.last_mut().unwrap().2 = blocks;
                    }
                }
            }
        }
        // An extent that begins at the end of the file is not part of it.
        extents.retain(|(start, ..)| *start < size);
        extents
    }
}

/// Extents of consecutive segments, as encoders produce them.
fn extents(many_blocks: bool) -> impl Strategy<Value = Vec<Extent>> {
    let blocks = if many_blocks { 1..32_u32 } else { 1..2 };
    let extent = (blocks, 1..30_000_u32, any::<bool>());
    (proptest::collection::vec(extent, 0..120), 1..4097_u32).prop_map(|(list, last)| {
        let extent = |(blocks, more, plain)| match plain {
            true => Extent { length: 4096, blocks: 1 },
            false => Extent { length: blocks * 4096 + more, blocks },
        };
        let mut extents: Vec<_> = list.into_iter().map(extent).collect();
        if extents.is_empty() || last % 2 == 0 {
            extents.push(Extent { length: last, blocks: 1 });
        }
        extents
    })
}

fn check(many_blocks: bool, head: usize, extents: &[Extent]) {
    let scheme = Scheme { algorithm: 3, many_blocks };
    let file_size: u64 = extents.iter().map(|extent| u64::from(extent.length)).sum();
    let mut bytes = vec![0xAA; head];
    write(scheme, 1000, extents, &mut bytes);
    assert_eq!(bytes.len() as u64, head as u64 + size(head as u64, file_size));
    let start = head.next_multiple_of(8) + 8;
    assert_eq!(bytes[start - 4..start], [if many_blocks { 7 } else { 1 }, 0, 3, 0]);
    let reader = Reader { scheme, bytes: &bytes, start, entries: file_size.div_ceil(BLOCK) as usize };
    let (mut position, mut block) = (0, 1000);
    let expected: Vec<_> = extents
        .iter()
        .map(|extent| {
            let expected = (position, block, extent.blocks, extent.is_plain());
            position += u64::from(extent.length);
            block += extent.blocks;
            expected
        })
        .collect();
    assert_eq!(reader.extents(file_size), expected);
    // Consecutive plain blocks can be joined to one extent.
    let mut joined: Vec<Extent> = Vec::new();
    for extent in extents {
        let rest = joined.last_mut().map_or(Some(*extent), |last| last.extend(*extent));
        joined.extend(rest);
    }
    let mut same = vec![0xAA; head];
    write(scheme, 1000, &joined, &mut same);
    assert!(same == bytes);
}

proptest! {
    #[test]
    fn a_reader_finds_extents_of_one_block(head in 8..60_usize, extents in extents(false)) {
        check(false, head * 4, &extents);
    }

    #[test]
    fn a_reader_finds_extents_of_many_blocks(head in 8..60_usize, extents in extents(true)) {
        check(true, head * 4, &extents);
    }
}

#[test]
fn short_and_long_files() {
    for many_blocks in [false, true] {
        for head in (32..96).step_by(4) {
            check(many_blocks, head, &[Extent { length: 1, blocks: 1 }]);
            check(many_blocks, head, &[Extent { length: 4096, blocks: 1 }]);
            check(many_blocks, head, &[Extent { length: 4097, blocks: 1 }]);
            check(many_blocks, head, &[Extent { length: 1_000_000, blocks: 1 }; 3]);
            check(many_blocks, head, &[Extent { length: 4096, blocks: 1 }; 300]);
        }
    }
}
