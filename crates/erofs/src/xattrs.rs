//! Extended attributes: stored after the inode, or shared by several inodes.

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
/// The most shared xattrs of an inode: their count has 8 bits.
const MAX_SHARED: usize = u8::MAX as usize;
/// The most bytes of xattrs after an inode. The count has 16 bits: one unit is the header, the others are 4 bytes
/// each.
const MAX_BODY: usize = size_of::<XattrHeader>() + 4 * (u16::MAX as usize - 1);
/// Xattrs of more bytes are always stored in the shared area. Inodes then lie closer together, so a walk reads fewer
/// blocks.
const MAX_UNSHARED: usize = 1024;

/// The prefixes that the format stores as a number, and whether a name must be longer than its prefix. The format has a
/// number for `lustre.*` too, but no kernel shows such xattrs.
const PREFIXES: [(&[u8], u8, bool); 5] = [
    (b"user.", 1, true),
    (b"system.posix_acl_access", 2, false),
    (b"system.posix_acl_default", 3, false),
    (b"trusted.", 4, true),
    (b"security.", 6, true),
];

type Xattr<'a> = (&'a [u8], &'a [u8]);

/// The shared xattrs of a root.
pub(crate) struct XattrTable<'a> {
    /// The position of each xattr in `order`.
    shared: HashMap<Xattr<'a>, usize>,
    order: Vec<Xattr<'a>>,
    /// The offset of each xattr of `order` from the start of the metadata, in units of 4 bytes.
    ids: Vec<u32>,
    groups: Vec<Group>,
}

/// Shared xattrs that are stored side by side. A group of several lies in one block.
struct Group {
    /// Positions in `order`.
    members: Range<usize>,
    /// Offset from the start of the metadata, in bytes.
    offset: u64,
}

/// The xattrs of one inode.
pub(crate) struct XattrBody<'a> {
    /// Positions in the table's `order`.
    shared: Vec<usize>,
    own: Vec<Xattr<'a>>,
    size: usize,
}

/// Returns the xattrs of the root that the format cannot hold.
pub(crate) fn omissions(fs: &ContainerFs) -> Omissions {
    let table = XattrTable::of(fs);
    let mut omissions = OmissionsByInode::default();
    for ino in fs.inodes().filter(|ino| fs.has_xattrs(*ino)) {
        table.body(fs, ino, |name, why| omissions.add(ino, Omitted::Xattr(name.into()), why));
    }
    omissions.with_paths(fs.first_paths())
}

/// Returns why the format cannot hold an xattr; `None` if it can.
fn reason_to_omit(name: &[u8], value: &[u8]) -> Option<OmissionReason> {
    let Some((_, rest)) = split(name) else {
        return Some(OmissionReason::form("EROFS has only user.*, trusted.*, security.* and access control lists"));
    };
    if rest.is_empty() && acl::to_disk(value).is_none() {
        // The kernel would deny access to the whole file.
        return Some(OmissionReason::form("it is not a valid access control list"));
    }
    (value.len() > MAX_VALUE).then(|| {
        OmissionReason::form(format!("it has {} bytes, and EROFS has values of at most {MAX_VALUE}", value.len()))
    })
}

/// Splits a name into the number of its prefix and the rest.
fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    PREFIXES.iter().find_map(|(prefix, number, has_rest)| {
        let rest = name.strip_prefix(*prefix)?;
        (rest.is_empty() != *has_rest).then_some((*number, rest))
    })
}

impl<'a> XattrTable<'a> {
    /// Selects the xattrs that are smaller when shared, among those that the format can hold.
    pub(crate) fn of(fs: &'a ContainerFs) -> Self {
        let mut table = Self { shared: HashMap::new(), order: Vec::new(), ids: Vec::new(), groups: Vec::new() };
        let mut counts: HashMap<Xattr<'a>, u32> = HashMap::new();
        let mut distinct = Vec::new();
        for xattr in fs.inodes().flat_map(|ino| fs.xattrs(ino)) {
            if reason_to_omit(xattr.0, xattr.1).is_some() {
                continue;
            }
            let count = counts.entry(xattr).or_insert_with(|| {
                distinct.push(xattr);
                0
            });
            *count += 1;
        }
        for xattr in distinct {
            let (count, size) = (counts[&xattr] as usize, entry_size(xattr));
            if size > MAX_UNSHARED || size + 4 * count < size * count {
                table.shared.insert(xattr, table.order.len());
                table.order.push(xattr);
            }
        }
        table
    }

    /// Places all shared xattrs. They must lie early in the image: an index has less than 4 GiB of xattrs, and ids
    /// reach 16 GiB.
    pub(crate) fn place(&mut self, packer: &mut Packer) {
        let mut start = 0;
        while start < self.order.len() {
            let sizes = self.order[start..].iter().map(|xattr| entry_size(*xattr) as u64);
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

    /// Returns the offsets of the groups in the metadata.
    pub(crate) fn group_offsets(&self) -> impl ExactSizeIterator<Item = u64> {
        self.groups.iter().map(|group| group.offset)
    }

    /// Appends a group of shared xattrs to `bytes`.
    pub(crate) fn write_group(&self, group: usize, bytes: &mut Vec<u8>) {
        for xattr in &self.order[self.groups[group].members.clone()] {
            write_entry(*xattr, bytes);
        }
    }

    /// Returns the xattrs of an inode. Calls `left_out` for every xattr that has no room or that the format cannot
    /// hold.
    pub(crate) fn body(
        &self,
        fs: &'a ContainerFs,
        ino: InodeId,
        mut left_out: impl FnMut(&'a [u8], OmissionReason),
    ) -> XattrBody<'a> {
        let mut body = XattrBody { shared: Vec::new(), own: Vec::new(), size: 0 };
        for xattr in fs.xattrs(ino) {
            if let Some(why) = reason_to_omit(xattr.0, xattr.1) {
                left_out(xattr.0, why);
                continue;
            }
            match self.shared.get(&xattr) {
                Some(position) if body.shared.len() < MAX_SHARED => body.shared.push(*position),
                _ => body.own.push(xattr),
            }
        }
        if body.shared.is_empty() && body.own.is_empty() {
            return body;
        }
        let own: usize = body.own.iter().map(|xattr| entry_size(*xattr)).sum();
        body.size = size_of::<XattrHeader>() + 4 * body.shared.len() + own;
        while body.size > MAX_BODY {
            // Removing the longest removes the fewest. The xattrs that the kernel interprets are short.
            let sizes = body.own.iter().map(|xattr| entry_size(*xattr));
            let (longest, size) = sizes.enumerate().max_by_key(|(_, size)| *size).expect("shared ones have room");
            let (name, _) = body.own.remove(longest);
            body.size -= size;
            left_out(name, OmissionReason::form(format!("EROFS has room for {MAX_BODY} bytes of xattrs of an inode")));
        }
        body
    }
}

impl XattrBody<'_> {
    /// Returns the size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Returns the size in the unit of the inode's field.
    pub(crate) fn count(&self) -> u16 {
        let units = |size| 1 + (size - size_of::<XattrHeader>()) / 4;
        self.size.checked_sub(1).map_or(0, |_| units(self.size) as u16)
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
        for xattr in &self.own {
            write_entry(*xattr, bytes);
        }
    }
}

fn entry_size((name, value): Xattr<'_>) -> usize {
    let rest = split(name).map_or(name, |(_, rest)| rest);
    (size_of::<XattrEntry>() + rest.len() + value.len()).next_multiple_of(4)
}

fn write_entry((name, value): Xattr<'_>, bytes: &mut Vec<u8>) {
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
    fn names_must_have_a_known_prefix_and_a_matching_rest() {
        assert_eq!(split(b"user.mime"), Some((1, &b"mime"[..])));
        assert_eq!(split(b"security.capability"), Some((6, &b"capability"[..])));
        assert_eq!(split(b"system.posix_acl_default"), Some((3, &b""[..])));
        for name in [&b"user."[..], b"system.posix_acl_access.x", b"system.nfs4_acl", b"none", b"User.x"] {
            assert_eq!(split(name), None);
            assert!(reason_to_omit(name, b"").is_some());
        }
    }

    #[test]
    fn a_value_has_less_than_64_kib() {
        assert_eq!(reason_to_omit(b"user.x", &[0; 65535]), None);
        assert!(reason_to_omit(b"user.x", &[0; 65536]).unwrap().to_string().contains("65535"));
    }
}
