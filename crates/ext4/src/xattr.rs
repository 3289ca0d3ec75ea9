//! Extended attributes. They are stored in the inode, or in a block that inodes share. Values that are too large for
//! the block have inodes of their own (`ea_inode`).

use std::borrow::Cow;

use vmroot_container_fs::acl;
use vmroot_output::OmissionReason;

use super::checksum::Seed;
use super::format::{BLOCK, EXTRA, INODE};

const MAGIC: u32 = 0xea02_0000;
/// Bytes of an entry without its name (`struct ext4_xattr_entry`).
const ENTRY: usize = 16;
/// Bytes of a block's header (`struct ext4_xattr_header`).
const HEADER: usize = 32;
/// Bytes of zeros after the last entry.
const END: usize = 4;
/// Bytes for entries and values in an inode, without the magic number.
const IN_INODE: usize = INODE - 128 - EXTRA - 4;
/// Bytes for entries and values in a block.
const IN_BLOCK: usize = BLOCK - HEADER;
/// The most inodes that the kernel allows to share a block.
pub(super) const MAX_SHARERS: u32 = 1024;

/// The namespaces of the disk format, longer prefixes first.
const NAMESPACES: [(&[u8], u8); 5] = [
    (b"system.posix_acl_default", 3),
    (b"system.posix_acl_access", 2),
    (b"security.", 6),
    (b"trusted.", 4),
    (b"user.", 1),
];

/// An attribute as stored on disk.
#[derive(Debug)]
pub(super) struct Xattr<'a> {
    namespace: u8,
    /// The name without the namespace's prefix.
    name: &'a [u8],
    value: Cow<'a, [u8]>,
}

/// The place of an inode's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum XattrPlace {
    /// There are no attributes.
    None,
    /// All attributes are in the inode.
    Inode,
    /// All names are in a block. The largest values have inodes of their own, the others are in the block.
    Block {
        /// Number of values that have inodes of their own.
        external_values: usize,
    },
}

/// The attributes of an inode, in the order of the disk format.
#[derive(Debug)]
pub(super) struct XattrSet<'a> {
    xattrs: Vec<Xattr<'a>>,
    place: XattrPlace,
}

impl<'a> Xattr<'a> {
    fn new(name: &'a [u8], value: &'a [u8]) -> Result<Self, OmissionReason> {
        let unknown_name =
            || OmissionReason::form("ext4 has only user.*, trusted.*, security.* and access control lists");
        let namespace = NAMESPACES.iter().find(|(prefix, _)| name.starts_with(prefix));
        let (prefix, namespace) = namespace.ok_or_else(unknown_name)?;
        let name = &name[prefix.len()..];
        let is_list = matches!(namespace, 2 | 3);
        if name.is_empty() != is_list {
            return Err(unknown_name());
        }
        let value = match is_list {
            true => Cow::Owned(
                acl::to_disk(value).ok_or_else(|| OmissionReason::form("it is not a valid access control list"))?,
            ),
            false => Cow::Borrowed(value),
        };
        Ok(Self { namespace: *namespace, name, value })
    }

    /// Returns the name with its prefix.
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

    /// Computes `ext4_xattr_hash_entry`: over the name, then over the words of the value, or over the checksum of an
    /// external value.
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
    /// Sorts the attributes and chooses their place. Calls `left_out` for each attribute that ext4 cannot store.
    pub(super) fn new(
        pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        mut left_out: impl FnMut(&[u8], OmissionReason),
    ) -> Self {
        let mut xattrs = Vec::new();
        for (name, value) in pairs {
            match Xattr::new(name, value) {
                Ok(xattr) => xattrs.push(xattr),
                Err(why) => left_out(name, why),
            }
        }
        // The kernel searches blocks in this order.
        xattrs.sort_by(|a, b| (a.namespace, a.name.len(), a.name).cmp(&(b.namespace, b.name.len(), b.name)));
        loop {
            let Some(place) = place(&xattrs) else {
                // Removing the longest removes the fewest. The attributes that the kernel interprets have short names.
                let lengths = xattrs.iter().map(Xattr::entry_length).enumerate();
                let (longest, _) = lengths.max_by_key(|(_, length)| *length).expect("no names have room");
                let why = format!("ext4 has room for names of {IN_BLOCK} bytes, with {ENTRY} for each");
                left_out(&xattrs.remove(longest).full_name(), OmissionReason::form(why));
                continue;
            };
            return Self { xattrs, place };
        }
    }

    pub(super) fn place(&self) -> XattrPlace {
        self.place
    }

    /// Returns the external values, in the order of the names.
    pub(super) fn external_values(&self) -> impl Iterator<Item = &[u8]> {
        let external = self.is_external();
        self.xattrs.iter().zip(external).filter(|(_, external)| *external).map(|(xattr, _)| &*xattr.value)
    }

    /// Returns the bytes of the inode after its fields.
    pub(super) fn in_inode(&self) -> [u8; INODE - 128 - EXTRA] {
        let mut bytes = [0; INODE - 128 - EXTRA];
        if self.place == XattrPlace::Inode {
            bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
            // Entries in an inode have no hash, and their offsets count from the first entry.
            self.fill(&mut bytes[4..], 0, |_, _| 0, &mut std::iter::empty());
        }
        bytes
    }

    /// Returns a block with the attributes, to be stored at block `at` and shared by `sharers` inodes. `inodes` are the
    /// inodes of the external values.
    pub(super) fn block(
        &self,
        seed: Seed,
        at: u64,
        sharers: u32,
        mut inodes: impl Iterator<Item = u32>,
    ) -> Box<[u8; BLOCK]> {
        let mut bytes = Box::new([0; BLOCK]);
        let mut block_hash = 0_u32;
        let hash = |xattr: &Xattr<'_>, external: bool| {
            let hash = match external {
                true => xattr.hash([seed.with(&xattr.value).value()].into_iter()),
                false => xattr.hash(xattr.value_words()),
            };
            block_hash = block_hash.rotate_left(16) ^ hash;
            hash
        };
        self.fill(&mut bytes[..], HEADER, hash, &mut inodes);
        // Magic number, sharers, blocks, hash; then the checksum, computed with zeros in its place.
        for (field, value) in bytes.chunks_exact_mut(4).zip([MAGIC, sharers, 1, block_hash]) {
            field.copy_from_slice(&value.to_le_bytes());
        }
        let checksum = seed.with(&at.to_le_bytes()).with(&bytes[..]).value();
        bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn is_external(&self) -> impl Iterator<Item = bool> {
        let count = if let XattrPlace::Block { external_values } = self.place { external_values } else { 0 };
        let mut external = vec![false; self.xattrs.len()];
        for position in by_size(&self.xattrs).into_iter().take(count) {
            external[position] = true;
        }
        external.into_iter()
    }

    /// Writes entries from `start` on, and values backwards from the end.
    fn fill(
        &self,
        bytes: &mut [u8],
        start: usize,
        mut hash: impl FnMut(&Xattr<'_>, bool) -> u32,
        inodes: &mut impl Iterator<Item = u32>,
    ) {
        let (mut at, mut value_start) = (start, bytes.len());
        for (xattr, external) in self.xattrs.iter().zip(self.is_external()) {
            let inode = if external { inodes.next().expect("each external value has an inode") } else { 0 };
            let mut offset = 0;
            if !external && !xattr.value.is_empty() {
                value_start -= xattr.value_length();
                bytes[value_start..value_start + xattr.value.len()].copy_from_slice(&xattr.value);
                offset = value_start as u16;
            }
            let entry = &mut bytes[at..];
            entry[0] = xattr.name.len() as u8;
            entry[1] = xattr.namespace;
            entry[2..4].copy_from_slice(&offset.to_le_bytes());
            entry[4..8].copy_from_slice(&inode.to_le_bytes());
            entry[8..12].copy_from_slice(&(xattr.value.len() as u32).to_le_bytes());
            entry[12..16].copy_from_slice(&hash(xattr, external).to_le_bytes());
            entry[ENTRY..ENTRY + xattr.name.len()].copy_from_slice(xattr.name);
            at += xattr.entry_length();
        }
    }
}

/// Returns the positions of the attributes, largest values first.
fn by_size(xattrs: &[Xattr<'_>]) -> Vec<usize> {
    let mut positions: Vec<_> = (0..xattrs.len()).collect();
    positions.sort_by_key(|&position| std::cmp::Reverse(xattrs[position].value.len()));
    positions
}

/// Chooses the place of the attributes; `None` if their names do not fit a block.
fn place(xattrs: &[Xattr<'_>]) -> Option<XattrPlace> {
    if xattrs.is_empty() {
        return Some(XattrPlace::None);
    }
    let entries = xattrs.iter().map(Xattr::entry_length).sum::<usize>() + END;
    let mut needed = entries + xattrs.iter().map(Xattr::value_length).sum::<usize>();
    if needed <= IN_INODE {
        return Some(XattrPlace::Inode);
    }
    if entries > IN_BLOCK {
        return None;
    }
    let mut external_values = 0;
    for position in by_size(xattrs) {
        if needed <= IN_BLOCK {
            break;
        }
        needed -= xattrs[position].value_length();
        external_values += 1;
    }
    Some(XattrPlace::Block { external_values })
}
