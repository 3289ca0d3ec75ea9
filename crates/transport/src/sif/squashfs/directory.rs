//! The entries of directories.

use super::Squashfs;
use super::inode::Listing;
use super::metadata::Cursor;
use crate::Result;

/// The length in bytes of a header, which comes before up to 256 entries with inodes in one block.
const HEADER: u32 = 12;
/// The length in bytes of an entry without its name.
const ENTRY: u32 = 8;
/// The most entries of a header.
const ENTRIES: u32 = 256;
/// The maximum length of a name in bytes.
const NAME: usize = 256;

/// A position in a directory.
#[derive(Debug)]
pub(in crate::sif) struct Entries {
    cursor: Cursor,
    /// The number of bytes left.
    left: u32,
    /// The number of entries left until the next header.
    in_run: u32,
    /// The offset of the block with the inodes of these entries.
    inodes: u32,
}

impl Squashfs {
    /// Starts reading a directory.
    pub(in crate::sif) fn entries(&self, listing: &Listing) -> Result<Entries> {
        let reference = u64::from(listing.block) << 16 | u64::from(listing.offset);
        let cursor = self.cursor(self.directory_table, reference)?;
        Ok(Entries { cursor, left: listing.len, in_run: 0, inodes: 0 })
    }

    /// Reads the next entry: its name and the reference of its inode. Returns `None` at the end.
    ///
    /// # Errors
    /// The directory is damaged, or the name is no name of a file.
    pub(in crate::sif) fn next_entry(&mut self, entries: &mut Entries) -> Result<Option<(Vec<u8>, u64)>> {
        if entries.in_run == 0 {
            if entries.left == 0 {
                return Ok(None);
            }
            self.consume(entries, HEADER)?;
            let count = self.u32(&mut entries.cursor)?.saturating_add(1);
            entries.inodes = self.u32(&mut entries.cursor)?;
            let _number = self.u32(&mut entries.cursor)?;
            if count > ENTRIES {
                return Err(self.broken(format!("has a directory with a run of {count} entries")));
            }
            entries.in_run = count;
        }
        self.consume(entries, ENTRY)?;
        let offset = self.u16(&mut entries.cursor)?;
        let _number = self.u16(&mut entries.cursor)?;
        let _kind = self.u16(&mut entries.cursor)?;
        let len = usize::from(self.u16(&mut entries.cursor)?) + 1;
        if len > NAME {
            return Err(self.broken(format!("has a name of {len} bytes")));
        }
        self.consume(entries, len as u32)?;
        let mut name = vec![0; len];
        self.fill(&mut entries.cursor, &mut name)?;
        if name == b"." || name == b".." || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return Err(self.broken(format!("has the invalid name {:?}", String::from_utf8_lossy(&name))));
        }
        entries.in_run -= 1;
        Ok(Some((name, u64::from(entries.inodes) << 16 | u64::from(offset))))
    }

    fn consume(&self, entries: &mut Entries, len: u32) -> Result<()> {
        entries.left = entries.left.checked_sub(len).ok_or_else(|| self.broken("has a directory that is cut off"))?;
        Ok(())
    }
}
