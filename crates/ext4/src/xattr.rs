//! Extended attributes: in the spare room of an inode, in a block that inodes share, and values too large for it in
//! inodes of their own (`ea_inode`).

use std::borrow::Cow;

use vmroot_container_fs::acl;
use vmroot_output::OmissionReason;

use super::checksum::Seed;
use super::format::{BLOCK, EXTRA, INODE};

const MAGIC: u32 = 0xea02_0000;
/// Bytes of an entry in front of its name (`struct ext4_xattr_entry`).
const ENTRY: usize = 16;
/// Bytes of a block's header (`struct ext4_xattr_header`).
const HEADER: usize = 32;
/// The zeros behind the last entry.
const END: usize = 4;
/// Bytes for entries and values in an inode, the magic number taken off.
const IN_INODE: usize = INODE - 128 - EXTRA - 4;
/// The same in a block.
const IN_BLOCK: usize = BLOCK - HEADER;
/// The most inodes that the kernel lets share a block.
pub(super) const MAX_SHARERS: u32 = 1024;

/// The namespaces of the disk format, longer prefixes first.
const NAMESPACES: [(&[u8], u8); 5] = [
    (b"system.posix_acl_default", 3),
    (b"system.posix_acl_access", 2),
    (b"security.", 6),
    (b"trusted.", 4),
    (b"user.", 1),
];

/// One attribute as the disk has it.
#[derive(Debug)]
pub(super) struct Xattr<'a> {
    namespace: u8,
    /// The name without the namespace's prefix.
    name: &'a [u8],
    value: Cow<'a, [u8]>,
}

/// Where the attributes of an inode go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// There are none.
    None,
    /// All are in the inode.
    Inode,
    /// All names are in a block, and all values but these many, the largest, which are in inodes of their own.
    Block {
        /// How many values are elsewhere.
        apart: usize,
    },
}

/// The attributes of an inode, in the order of the disk.
#[derive(Debug)]
pub(super) struct XattrSet<'a> {
    xattrs: Vec<Xattr<'a>>,
    room: Room,
}

impl<'a> Xattr<'a> {
    fn new(name: &'a [u8], value: &'a [u8]) -> Result<Self, OmissionReason> {
        let no_name = || OmissionReason::form("ext4 has only user.*, trusted.*, security.* and access control lists");
        let namespace = NAMESPACES.iter().find(|(prefix, _)| name.starts_with(prefix));
        let (prefix, namespace) = namespace.ok_or_else(no_name)?;
        let name = &name[prefix.len()..];
        let is_list = matches!(namespace, 2 | 3);
        if name.is_empty() != is_list {
            return Err(no_name());
        }
        let value = match is_list {
            true => {
                Cow::Owned(acl::to_disk(value).ok_or_else(|| OmissionReason::form("it is no access control list"))?)
            }
            false => Cow::Borrowed(value),
        };
        Ok(Self { namespace: *namespace, name, value })
    }

    /// The name with its prefix.
    fn full_name(&self) -> Vec<u8> {
        let prefix =
            NAMESPACES.iter().find(|(_, number)| *number == self.namespace).map_or(&b""[..], |(prefix, _)| prefix);
        [prefix, self.name].concat()
    }

    fn entry_length(&self) -> usize {
        ENTRY + self.name.len().next_multiple_of(4)
    }

    fn value_length(&self) -> usize {
        self.value.len().next_multiple_of(4)
    }

    /// `ext4_xattr_hash_entry`: over the name, then over words of the value, or over the checksum of one that is apart.
    fn hash(&self, words: impl Iterator<Item = u32>) -> u32 {
        let name = self.name.iter().fold(0_u32, |hash, &byte| hash.rotate_left(5) ^ u32::from(byte));
        words.fold(name, |hash, word| hash.rotate_left(16) ^ word)
    }

    fn value_words(&self) -> impl Iterator<Item = u32> {
        self.value.chunks(4).map(|chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            u32::from_le_bytes(word)
        })
    }
}

impl<'a> XattrSet<'a> {
    /// Sorts attributes and finds room for them; `left_out` hears the names of those that ext4 has no place for.
    pub(super) fn new(
        xattrs: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        mut left_out: impl FnMut(&[u8], OmissionReason),
    ) -> Self {
        let mut known = Vec::new();
        for (name, value) in xattrs {
            match Xattr::new(name, value) {
                Ok(xattr) => known.push(xattr),
                Err(why) => left_out(name, why),
            }
        }
        // The kernel searches blocks in this order.
        known.sort_by(|a, b| (a.namespace, a.name.len(), a.name).cmp(&(b.namespace, b.name.len(), b.name)));
        loop {
            let Some(room) = room(&known) else {
                // The fewest that make room; those that the kernel heeds have short names.
                let lengths = known.iter().map(Xattr::entry_length).enumerate();
                let (longest, _) = lengths.max_by_key(|(_, length)| *length).expect("no names have room");
                let why = format!("ext4 has room for names of {IN_BLOCK} bytes, with {ENTRY} for each");
                left_out(&known.remove(longest).full_name(), OmissionReason::form(why));
                continue;
            };
            return Self { xattrs: known, room };
        }
    }

    pub(super) fn room(&self) -> Room {
        self.room
    }

    /// The values that are in inodes of their own, in the order of the names.
    pub(super) fn apart(&self) -> impl Iterator<Item = &[u8]> {
        let apart = self.is_apart();
        self.xattrs.iter().zip(apart).filter(|(_, apart)| *apart).map(|(xattr, _)| &*xattr.value)
    }

    /// What stands in the inode behind its fields.
    pub(super) fn in_inode(&self) -> [u8; INODE - 128 - EXTRA] {
        let mut bytes = [0; INODE - 128 - EXTRA];
        if self.room == Room::Inode {
            bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
            // Entries in an inode have no hash, and offsets count from the first of them.
            self.fill(&mut bytes[4..], 0, |_, _| 0, &mut std::iter::empty());
        }
        bytes
    }

    /// A block at `at` that `sharers` inodes have; `inodes` are those of the values that are apart.
    pub(super) fn block(
        &self,
        seed: Seed,
        at: u64,
        sharers: u32,
        mut inodes: impl Iterator<Item = u32>,
    ) -> Box<[u8; BLOCK]> {
        let mut bytes = Box::new([0; BLOCK]);
        let mut block_hash = 0_u32;
        let hash = |xattr: &Xattr<'_>, apart: bool| {
            let hash = match apart {
                true => xattr.hash([seed.with(&xattr.value).value()].into_iter()),
                false => xattr.hash(xattr.value_words()),
            };
            block_hash = block_hash.rotate_left(16) ^ hash;
            hash
        };
        self.fill(&mut bytes[..], HEADER, hash, &mut inodes);
        // magic, sharers, blocks, hash, and the checksum with zeros in its place
        for (field, value) in bytes.chunks_exact_mut(4).zip([MAGIC, sharers, 1, block_hash]) {
            field.copy_from_slice(&value.to_le_bytes());
        }
        let checksum = seed.with(&at.to_le_bytes()).with(&bytes[..]).value();
        bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn is_apart(&self) -> impl Iterator<Item = bool> {
        let count = if let Room::Block { apart } = self.room { apart } else { 0 };
        let mut apart = vec![false; self.xattrs.len()];
        for position in by_size(&self.xattrs).into_iter().take(count) {
            apart[position] = true;
        }
        apart.into_iter()
    }

    /// Writes entries from `start` on, and values from the end backwards.
    fn fill(
        &self,
        bytes: &mut [u8],
        start: usize,
        mut hash: impl FnMut(&Xattr<'_>, bool) -> u32,
        inodes: &mut impl Iterator<Item = u32>,
    ) {
        let (mut at, mut value_at) = (start, bytes.len());
        for (xattr, apart) in self.xattrs.iter().zip(self.is_apart()) {
            let inode = if apart { inodes.next().expect("each value that is apart has an inode") } else { 0 };
            let mut offset = 0;
            if !apart && !xattr.value.is_empty() {
                value_at -= xattr.value_length();
                bytes[value_at..value_at + xattr.value.len()].copy_from_slice(&xattr.value);
                offset = value_at as u16;
            }
            let entry = &mut bytes[at..];
            entry[0] = xattr.name.len() as u8;
            entry[1] = xattr.namespace;
            entry[2..4].copy_from_slice(&offset.to_le_bytes());
            entry[4..8].copy_from_slice(&inode.to_le_bytes());
            entry[8..12].copy_from_slice(&(xattr.value.len() as u32).to_le_bytes());
            entry[12..16].copy_from_slice(&hash(xattr, apart).to_le_bytes());
            entry[ENTRY..ENTRY + xattr.name.len()].copy_from_slice(xattr.name);
            at += xattr.entry_length();
        }
    }
}

/// Positions of attributes, those with the largest values first.
fn by_size(xattrs: &[Xattr<'_>]) -> Vec<usize> {
    let mut positions: Vec<_> = (0..xattrs.len()).collect();
    positions.sort_by_key(|&position| std::cmp::Reverse(xattrs[position].value.len()));
    positions
}

/// Where attributes go; nothing if their names fill more than a block.
fn room(xattrs: &[Xattr<'_>]) -> Option<Room> {
    if xattrs.is_empty() {
        return Some(Room::None);
    }
    let entries = xattrs.iter().map(Xattr::entry_length).sum::<usize>() + END;
    let mut needed = entries + xattrs.iter().map(Xattr::value_length).sum::<usize>();
    if needed <= IN_INODE {
        return Some(Room::Inode);
    }
    if entries > IN_BLOCK {
        return None;
    }
    let mut apart = 0;
    for position in by_size(xattrs) {
        if needed <= IN_BLOCK {
            break;
        }
        needed -= xattrs[position].value_length();
        apart += 1;
    }
    Some(Room::Block { apart })
}
