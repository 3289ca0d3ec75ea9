//! Extended attributes (kernel documentation, "Extended Attributes"): in the inode, in a block, and in inodes of their
//! own (`ea_inode`).

use vmroot_container_fs::acl;

use super::features::inode_flags;
use super::volume::{u16_at, u32_at};
use super::{Ext4Reader, Inode, ReadAt, ReadError, ReadResult};

const MAGIC: u32 = 0xea02_0000;
/// Bytes of an entry without its name.
const ENTRY: usize = 16;
/// Bytes of a block's header.
const HEADER: usize = 32;
/// The longest value that the kernel returns (`XATTR_SIZE_MAX`).
const XATTR_VALUE_LIMIT: usize = 64 << 10;
/// The most bytes of all values of an inode.
const XATTRS_LIMIT: usize = 1 << 20;

/// The namespaces that the kernel lists.
const NAMESPACES: [(u8, &[u8]); 5] =
    [(1, b"user."), (2, ACCESS), (3, b"system.posix_acl_default"), (4, b"trusted."), (6, b"security.")];
const ACCESS: &[u8] = b"system.posix_acl_access";
/// The namespace of `system.data`, which holds inline data.
const SYSTEM: u8 = 7;
const DATA: &[u8] = b"data";

/// An attribute of an inode.
struct Stored<'b> {
    namespace: u8,
    /// The name without the prefix of its namespace.
    name: &'b [u8],
    value: Value<'b>,
}

enum Value<'b> {
    Here(&'b [u8]),
    /// In another inode, with this length.
    Inode(u32, usize),
}

impl<R: ReadAt> Ext4Reader<R> {
    /// Returns the xattrs of an inode, sorted by name, as the kernel lists them: `user.*`, `trusted.*`, `security.*`,
    /// and access control lists in the format of xattrs.
    ///
    /// # Errors
    /// - [`ReadError::Damaged`]: an entry, a value or a checksum is invalid.
    /// - [`ReadError::Limit`]: the values are too long.
    /// - [`ReadError::Io`]: the disk cannot be read.
    pub fn xattrs(&self, inode: &Inode) -> ReadResult<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut xattrs = Vec::new();
        let mut total = 0;
        self.for_each_xattr(inode, |xattr| {
            let Some((_, prefix)) = NAMESPACES.iter().find(|(number, _)| *number == xattr.namespace) else {
                return Ok(());
            };
            let is_list = matches!(xattr.namespace, 2 | 3);
            if xattr.name.is_empty() != is_list {
                return Err(damaged(inode, "has an xattr without a name"));
            }
            let value = self.xattr_value(inode, &xattr.value)?;
            total += value.len();
            if total > XATTRS_LIMIT {
                let what = format!("the xattrs of inode {} have more than {XATTRS_LIMIT} bytes", inode.number());
                return Err(ReadError::Limit { what, limit: "XATTRS_LIMIT" });
            }
            let value = match is_list {
                true => acl::from_disk(&value).ok_or_else(|| damaged(inode, "has an invalid access control list"))?,
                false => value,
            };
            xattrs.push(([prefix, xattr.name].concat(), value));
            Ok(())
        })?;
        xattrs.sort();
        Ok(xattrs)
    }

    /// Returns the inline data that does not fit `i_block`.
    pub(super) fn inline_rest(&self, inode: &Inode) -> ReadResult<Option<Vec<u8>>> {
        let mut rest = None;
        for_each(inode, inode_area(inode)?, 0, |xattr| {
            if xattr.namespace == SYSTEM && xattr.name == DATA {
                rest = Some(self.xattr_value(inode, &xattr.value)?);
            }
            Ok(())
        })?;
        Ok(rest)
    }

    fn for_each_xattr(&self, inode: &Inode, mut call: impl FnMut(Stored<'_>) -> ReadResult<()>) -> ReadResult<()> {
        for_each(inode, inode_area(inode)?, 0, &mut call)?;
        let at = inode.xattr_block();
        if at == 0 {
            return Ok(());
        }
        let mut block = self.read_block(at, "an xattr")?;
        if u32_at(&block, 0) != MAGIC || u32_at(&block, 8) != 1 {
            return Err(damaged(inode, "has an invalid block of xattrs"));
        }
        if let Some(seed) = self.volume.seed {
            let stored = u32_at(&block, 16);
            block[16..20].fill(0);
            if seed.with(&at.to_le_bytes()).with(&block).value() != stored {
                return Err(damaged(inode, "has a block of xattrs with a wrong checksum"));
            }
        }
        for_each(inode, &block, HEADER, call)
    }

    fn xattr_value(&self, inode: &Inode, value: &Value<'_>) -> ReadResult<Vec<u8>> {
        let (number, length) = match value {
            Value::Here(bytes) => return Ok(bytes.to_vec()),
            Value::Inode(number, length) => (*number, *length),
        };
        if length > XATTR_VALUE_LIMIT {
            let what = format!("an xattr of inode {} has {length} bytes", inode.number());
            return Err(ReadError::Limit { what, limit: "XATTR_VALUE_LIMIT" });
        }
        let holder = self.inode(number)?;
        if !holder.has_flag(inode_flags::EA_INODE) || holder.size() != length as u64 {
            return Err(damaged(inode, "has an xattr whose value is in another inode, which does not have it"));
        }
        let mut bytes = vec![0; length];
        self.open_file(&holder)?.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

fn damaged(inode: &Inode, what: &str) -> ReadError {
    ReadError::damaged(format!("inode {} {what}", inode.number()))
}

/// Returns the entries and values in the inode. Their offsets count from the first entry.
fn inode_area(inode: &Inode) -> ReadResult<&[u8]> {
    let rest = inode.rest();
    match rest.len() >= 4 && u32_at(rest, 0) == MAGIC {
        true => Ok(&rest[4..]),
        false => Ok(&[]),
    }
}

/// Calls `call` for each entry of `area`, from offset `at` on.
fn for_each<'b>(
    inode: &Inode,
    area: &'b [u8],
    mut at: usize,
    mut call: impl FnMut(Stored<'b>) -> ReadResult<()>,
) -> ReadResult<()> {
    // Zeros in place of the next entry end the list.
    while at + 4 <= area.len() && u32_at(area, at) != 0 {
        let invalid = || damaged(inode, "has an invalid xattr");
        let entry = area.get(at..at + ENTRY).ok_or_else(invalid)?;
        let name = area.get(at + ENTRY..at + ENTRY + usize::from(entry[0])).ok_or_else(invalid)?;
        let (offset, holder, length) = (usize::from(u16_at(entry, 2)), u32_at(entry, 4), u32_at(entry, 8) as usize);
        let value = match holder {
            0 if length == 0 => Value::Here(&[]),
            0 => Value::Here(area.get(offset..).and_then(|rest| rest.get(..length)).ok_or_else(invalid)?),
            _ => Value::Inode(holder, length),
        };
        call(Stored { namespace: entry[1], name, value })?;
        at += ENTRY + name.len().next_multiple_of(4);
    }
    Ok(())
}
