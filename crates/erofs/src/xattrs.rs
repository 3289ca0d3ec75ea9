//! Extended attributes: behind the inode, or once for all somewhere between the inodes.

use std::collections::HashMap;
use std::ops::Range;

use vmroot_container_fs::acl;
use vmroot_container_fs::{ContainerFs, InodeId};
use vmroot_output::OmissionsByInode;
use vmroot_output::{OmissionReason, Omissions, Omitted};
use zerocopy::IntoBytes;

use super::format::{BLOCK, XattrEntry, XattrHeader};
use super::packer::Packer;

/// The longest value in bytes: its length has 16 bits.
const MAX_VALUE: usize = u16::MAX as usize;
/// The most shared ones that an inode can name.
const MAX_SHARED: usize = u8::MAX as usize;
/// The most bytes behind one inode: a count of 16 bits, of which one stands for the header and each other for 4 bytes.
const MAX_BODY: usize = size_of::<XattrHeader>() + 4 * (u16::MAX as usize - 1);
/// A longer one is shared even if nobody shares it: inodes behind each other make a walk read fewer blocks.
const LONG: usize = 1024;

/// The prefixes that are written as a number, and whether more of the name has to follow. The format has a number for
/// `lustre.*` as well, but no kernel shows such xattrs.
const PREFIXES: [(&[u8], u8, bool); 5] = [
    (b"user.", 1, true),
    (b"system.posix_acl_access", 2, false),
    (b"system.posix_acl_default", 3, false),
    (b"trusted.", 4, true),
    (b"security.", 6, true),
];

type Pair<'a> = (&'a [u8], &'a [u8]);

/// The shared xattrs of a root.
pub(crate) struct XattrTable<'a> {
    /// The position of each in `order`.
    shared: HashMap<Pair<'a>, usize>,
    order: Vec<Pair<'a>>,
    /// Where each is in the image, in units of 4 bytes.
    ids: Vec<u32>,
    groups: Vec<Group>,
}

/// Shared xattrs that stand side by side, in one block if there are several.
struct Group {
    /// Positions in `order`.
    members: Range<usize>,
    /// From the start of the image, in bytes.
    offset: u64,
}

/// The xattrs of one inode.
pub(crate) struct XattrBody<'a> {
    /// Positions in the table's order.
    shared: Vec<usize>,
    own: Vec<Pair<'a>>,
    size: usize,
}

/// What of the xattrs of a root the format cannot hold.
pub(crate) fn omissions(fs: &ContainerFs) -> Omissions {
    let table = XattrTable::of(fs);
    let mut lacks = OmissionsByInode::default();
    for ino in fs.inodes().filter(|ino| fs.has_xattrs(*ino)) {
        table.body(fs, ino, |name, why| lacks.add(ino, Omitted::Xattr(name.into()), why));
    }
    lacks.with_paths(fs.first_paths())
}

/// Why an xattr cannot be held.
fn refusal(name: &[u8], value: &[u8]) -> Option<OmissionReason> {
    let Some((_, rest)) = split(name) else {
        return Some(OmissionReason::form("EROFS has only user.*, trusted.*, security.* and access control lists"));
    };
    if rest.is_empty() && acl::to_disk(value).is_none() {
        // The kernel would refuse access to the whole file.
        return Some(OmissionReason::form("it is no access control list"));
    }
    (value.len() > MAX_VALUE).then(|| {
        OmissionReason::form(format!("it has {} bytes, and EROFS has values of at most {MAX_VALUE}", value.len()))
    })
}

/// The number of a name's prefix, and the rest of the name.
fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    PREFIXES.iter().find_map(|(prefix, number, has_rest)| {
        let rest = name.strip_prefix(*prefix)?;
        (rest.is_empty() != *has_rest).then_some((*number, rest))
    })
}

impl<'a> XattrTable<'a> {
    /// Finds what is worth sharing, among xattrs that the format can hold.
    pub(crate) fn of(fs: &'a ContainerFs) -> Self {
        let mut table = Self { shared: HashMap::new(), order: Vec::new(), ids: Vec::new(), groups: Vec::new() };
        let mut counts: HashMap<Pair<'a>, u32> = HashMap::new();
        let mut seen = Vec::new();
        for pair in fs.inodes().flat_map(|ino| fs.xattrs(ino)) {
            if refusal(pair.0, pair.1).is_some() {
                continue;
            }
            let count = counts.entry(pair).or_insert_with(|| {
                seen.push(pair);
                0
            });
            *count += 1;
        }
        for pair in seen {
            let (count, size) = (counts[&pair] as usize, entry_size(pair));
            if size > LONG || size + 4 * count < size * count {
                table.shared.insert(pair, table.order.len());
                table.order.push(pair);
            }
        }
        table
    }

    /// Finds a place for each, early in the image: an index has less than 4 GiB of xattrs, and ids reach up to 16 GiB.
    pub(crate) fn place(&mut self, packer: &mut Packer) {
        let mut start = 0;
        while start < self.order.len() {
            let sizes = self.order[start..].iter().map(|pair| entry_size(*pair) as u64);
            let ends = sizes.scan(0, |end, size| {
                *end += size;
                Some(*end)
            });
            let ends: Vec<u64> =
                ends.enumerate().take_while(|(n, end)| *n == 0 || *end <= BLOCK).map(|(_, end)| end).collect();
            let offset = packer.place(ends[ends.len() - 1]);
            let starts = std::iter::once(0).chain(ends.iter().copied()).take(ends.len());
            self.ids.extend(starts.map(|start| ((offset + start) / 4) as u32));
            self.groups.push(Group { members: start..start + ends.len(), offset });
            start += ends.len();
        }
    }

    /// Where in the image the groups of shared ones are.
    pub(crate) fn group_offsets(&self) -> impl ExactSizeIterator<Item = u64> {
        self.groups.iter().map(|group| group.offset)
    }

    /// Writes a group of shared ones.
    pub(crate) fn write_group(&self, group: usize, bytes: &mut Vec<u8>) {
        for pair in &self.order[self.groups[group].members.clone()] {
            write_entry(*pair, bytes);
        }
    }

    /// What stands behind an inode; `left_out` hears of every xattr for which there is no place.
    pub(crate) fn body(
        &self,
        fs: &'a ContainerFs,
        ino: InodeId,
        mut left_out: impl FnMut(&'a [u8], OmissionReason),
    ) -> XattrBody<'a> {
        let mut body = XattrBody { shared: Vec::new(), own: Vec::new(), size: 0 };
        for pair in fs.xattrs(ino) {
            if let Some(why) = refusal(pair.0, pair.1) {
                left_out(pair.0, why);
                continue;
            }
            match self.shared.get(&pair) {
                Some(position) if body.shared.len() < MAX_SHARED => body.shared.push(*position),
                _ => body.own.push(pair),
            }
        }
        if body.shared.is_empty() && body.own.is_empty() {
            return body;
        }
        let own: usize = body.own.iter().map(|pair| entry_size(*pair)).sum();
        body.size = size_of::<XattrHeader>() + 4 * body.shared.len() + own;
        while body.size > MAX_BODY {
            // The fewest that make room; those that the kernel heeds are short.
            let sizes = body.own.iter().map(|pair| entry_size(*pair));
            let (longest, size) = sizes.enumerate().max_by_key(|(_, size)| *size).expect("shared ones have room");
            let (name, _) = body.own.remove(longest);
            body.size -= size;
            left_out(name, OmissionReason::form(format!("EROFS has room for {MAX_BODY} bytes of xattrs of an inode")));
        }
        body
    }
}

impl XattrBody<'_> {
    /// In bytes.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The size as an inode says it.
    pub(crate) fn count(&self) -> u16 {
        let beyond = |size| 1 + (size - size_of::<XattrHeader>()) / 4;
        self.size.checked_sub(1).map_or(0, |_| beyond(self.size) as u16)
    }

    pub(crate) fn write(&self, table: &XattrTable<'_>, bytes: &mut Vec<u8>) {
        if self.size == 0 {
            return;
        }
        let header = XattrHeader { shared_count: self.shared.len() as u8, ..XattrHeader::default() };
        bytes.extend_from_slice(header.as_bytes());
        for position in &self.shared {
            bytes.extend_from_slice(&table.ids[*position].to_le_bytes());
        }
        for pair in &self.own {
            write_entry(*pair, bytes);
        }
    }
}

fn entry_size((name, value): Pair<'_>) -> usize {
    let rest = split(name).map_or(name, |(_, rest)| rest);
    (size_of::<XattrEntry>() + rest.len() + value.len()).next_multiple_of(4)
}

fn write_entry((name, value): Pair<'_>, bytes: &mut Vec<u8>) {
    let (prefix, rest) = split(name).expect("names were checked first");
    let value_length = (value.len() as u16).into();
    bytes.extend_from_slice(XattrEntry { name_length: rest.len() as u8, prefix, value_length }.as_bytes());
    bytes.extend_from_slice(rest);
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_known_prefix_and_what_belongs_behind_it() {
        assert_eq!(split(b"user.mime"), Some((1, &b"mime"[..])));
        assert_eq!(split(b"security.capability"), Some((6, &b"capability"[..])));
        assert_eq!(split(b"system.posix_acl_default"), Some((3, &b""[..])));
        for name in [&b"user."[..], b"system.posix_acl_access.x", b"system.nfs4_acl", b"none", b"User.x"] {
            assert_eq!(split(name), None);
            assert!(refusal(name, b"").is_some());
        }
    }

    #[test]
    fn a_value_has_less_than_64_kib() {
        assert_eq!(refusal(b"user.x", &[0; 65535]), None);
        assert!(refusal(b"user.x", &[0; 65536]).unwrap().to_string().contains("65535"));
    }
}
