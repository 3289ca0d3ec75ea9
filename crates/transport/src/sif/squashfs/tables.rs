//! The tables of owners, fragments and xattrs. Each is an array of the offsets of metadata blocks.

use super::metadata::Cursor;
use super::{METADATA_BLOCK, Squashfs};
use crate::Result;

/// The length of an owner in bytes.
const ID: usize = 4;
/// The length of a fragment's record in bytes.
const FRAGMENT: usize = 16;
/// The length of a record of the xattr table in bytes.
const XATTR_SET: usize = 16;
/// The bit of an xattr's type for a value that is stored elsewhere.
const VALUE_ELSEWHERE: u16 = 0x100;
/// The maximum length in bytes of all names and values of one file, somewhat more than ext4 can store.
const XATTRS_LIMIT: usize = 256 << 10;

/// The table of the blocks with the ends of files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragments {
    pub(super) table: u64,
    pub(super) count: u32,
}

/// The table of sets of xattrs.
#[derive(Debug, Clone, Copy)]
pub(super) struct XattrTable {
    /// The offset of the array of blocks.
    array: u64,
    /// The offset of the names and values.
    pairs: u64,
    count: u32,
}

/// The full name and the value of an xattr.
pub(in crate::sif) type Xattr = (Vec<u8>, Vec<u8>);

impl Squashfs {
    /// Returns the position of a record of a table.
    fn record(&mut self, array: u64, index: u32, len: usize) -> Result<Cursor> {
        let at = index as usize * len;
        let pointer = array.checked_add((at / METADATA_BLOCK) as u64 * 8);
        let pointer = pointer.ok_or_else(|| self.broken("has an invalid table"))?;
        let block = u64::from_le_bytes(self.bytes_at(pointer, 8)?.try_into().unwrap_or_default());
        Ok(Cursor::new(block, at % METADATA_BLOCK))
    }

    /// Reads the table of owners.
    pub(super) fn read_ids(&mut self, table: u64, count: u16) -> Result<Vec<u32>> {
        let id = |index| {
            let mut cursor = self.record(table, index, ID)?;
            self.u32(&mut cursor)
        };
        (0..u32::from(count)).map(id).collect()
    }

    /// Returns the owner at an index of the table.
    pub(super) fn id(&self, index: u16) -> Result<u32> {
        let id = self.ids.get(usize::from(index)).copied();
        id.ok_or_else(|| self.broken(format!("has no owner {index}")))
    }

    /// Returns the offset and the size word of a fragment block.
    pub(super) fn fragment(&mut self, index: u32) -> Result<(u64, u32)> {
        let fragments = self.fragments.filter(|fragments| index < fragments.count);
        let fragments = fragments.ok_or_else(|| self.broken(format!("has no fragment {index}")))?;
        let mut cursor = self.record(fragments.table, index, FRAGMENT)?;
        Ok((self.u64(&mut cursor)?, self.u32(&mut cursor)?))
    }

    pub(super) fn read_xattr_table(&mut self, table: u64) -> Result<XattrTable> {
        let header = self.bytes_at(table, 16)?;
        let pairs = u64::from_le_bytes(header[..8].try_into().unwrap_or_default());
        let count = u32::from_le_bytes(header[8..12].try_into().unwrap_or_default());
        Ok(XattrTable { array: table + 16, pairs, count })
    }

    /// Reads a set of xattrs.
    pub(super) fn xattrs(&mut self, index: u32) -> Result<Vec<Xattr>> {
        let table = self.xattrs.filter(|table| index < table.count);
        let table = table.ok_or_else(|| self.broken(format!("has no xattrs {index}")))?;
        let mut cursor = self.record(table.array, index, XATTR_SET)?;
        let reference = self.u64(&mut cursor)?;
        let count = self.u32(&mut cursor)?;
        let mut pairs = self.cursor(table.pairs, reference)?;
        let mut xattrs = Vec::new();
        let mut total = 0;
        for _ in 0..count {
            let xattr = self.xattr(&mut pairs, table.pairs)?;
            total += xattr.0.len() + xattr.1.len();
            if total > XATTRS_LIMIT {
                return Err(self.broken(format!("has a file with xattrs of more than {XATTRS_LIMIT} bytes")));
            }
            xattrs.push(xattr);
        }
        xattrs.sort();
        Ok(xattrs)
    }

    fn xattr(&mut self, cursor: &mut Cursor, pairs: u64) -> Result<Xattr> {
        let kind = self.u16(cursor)?;
        let mut name = match kind & !VALUE_ELSEWHERE {
            0 => b"user.".to_vec(),
            1 => b"trusted.".to_vec(),
            2 => b"security.".to_vec(),
            other => return Err(self.broken(format!("has an xattr of the unknown type {other}"))),
        };
        let len = usize::from(self.u16(cursor)?);
        let prefix = name.len();
        name.resize(prefix + len, 0);
        self.fill(cursor, &mut name[prefix..])?;
        let value = if kind & VALUE_ELSEWHERE == 0 {
            self.value(cursor)?
        } else {
            let reference = self.value(cursor)?;
            let reference = reference.try_into().map_err(|_| self.broken("has an invalid reference to an xattr"))?;
            let mut elsewhere = self.cursor(pairs, u64::from_le_bytes(reference))?;
            self.value(&mut elsewhere)?
        };
        Ok((name, value))
    }

    fn value(&mut self, cursor: &mut Cursor) -> Result<Vec<u8>> {
        let len = self.u32(cursor)? as usize;
        if len > XATTRS_LIMIT {
            return Err(self.broken(format!("has an xattr of {len} bytes")));
        }
        let mut value = vec![0; len];
        self.fill(cursor, &mut value)?;
        Ok(value)
    }
}
