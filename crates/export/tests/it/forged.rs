//! Indexes with entries that cannot be made from a tar.

use std::mem::{offset_of, size_of};
use std::ops::Range;

use vmroot_layer_index::format::{ContentsRecord, DirentRecord, Header, InodeRecord, Section, mode};
use zerocopy::FromBytes;

/// Turns every named pipe of an index into a socket. A layer tar cannot contain sockets.
pub(crate) fn with_sockets(mut index: Vec<u8>) -> Vec<u8> {
    const FIFO: u8 = 1;
    const SOCKET: u8 = 12;
    for at in records(&index, Section::Inodes) {
        let mode = field(&mut index, at + offset_of!(InodeRecord, mode), 4);
        let old = u32::from_le_bytes((&*mode).try_into().unwrap());
        if old & mode::TYPE == mode::FIFO {
            mode.copy_from_slice(&(old & !mode::TYPE | mode::SOCKET).to_le_bytes());
        }
    }
    for at in records(&index, Section::Dirents) {
        let kind = &mut index[at + offset_of!(DirentRecord, kind)];
        if *kind == FIFO {
            *kind = SOCKET;
        }
    }
    sealed(index)
}

/// Sets the size of the only file with contents. Returns the index and the length of contents file that it needs. So no
/// gigabytes need to be written and hashed.
pub(crate) fn with_size(mut index: Vec<u8>, size: u64) -> (Vec<u8>, u64) {
    let length = size.next_multiple_of(4096);
    for at in records(&index, Section::Inodes) {
        let old = field(&mut index, at + offset_of!(InodeRecord, size), 8);
        if old != [0; 8] {
            old.copy_from_slice(&size.to_le_bytes());
        }
    }
    for at in records(&index, Section::Contents) {
        field(&mut index, at + offset_of!(ContentsRecord, length), 8).copy_from_slice(&length.to_le_bytes());
    }
    (sealed(index), length)
}

fn records(index: &[u8], section: Section) -> impl Iterator<Item = usize> + use<> {
    let header = Header::read_from_bytes(&index[..size_of::<Header>()]).unwrap();
    let record = header.sections[section as usize];
    let range: Range<u64> = record.offset.get()..record.offset.get() + record.length.get();
    (range.start as usize..range.end as usize).step_by(section.stride())
}

fn field(index: &mut [u8], at: usize, length: usize) -> &mut [u8] {
    &mut index[at..at + length]
}

fn sealed(mut index: Vec<u8>) -> Vec<u8> {
    let checksum = offset_of!(Header, checksum);
    index[checksum..checksum + 4].fill(0);
    let sum = crc32fast::hash(&index);
    index[checksum..checksum + 4].copy_from_slice(&sum.to_le_bytes());
    index
}
