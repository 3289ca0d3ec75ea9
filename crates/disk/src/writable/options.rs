//! Options of new disks.

use vmroot_ext4::MIN_SIZE_WITH_JOURNAL;

/// Options of a new disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct CreateOptions<'a> {
    /// Size of the file in bytes. The file system has the largest multiple of 4096 that it can use.
    pub size: u64,
    /// The label of the file system, at most 16 bytes.
    pub label: &'a str,
    /// The UUID of the file system.
    pub identity: Identity,
    /// Bytes of the disk for each inode. `None` is the ratio of mke2fs for the size: 4096 for the first 32 MiB, then
    /// 16,384, and more from 4 TiB on.
    pub bytes_per_inode: Option<u64>,
    /// `Some(false)` makes no journal. `None` makes one if the disk has at least 8 MiB.
    pub journal: Option<bool>,
    /// Replace an existing file. Otherwise it is an error.
    pub replace: bool,
}

/// The UUID of a file system, and the seed of its name hashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Identity {
    /// Derived from the options: equal options make equal disks.
    #[default]
    Derived,
    /// A random UUID (version 4).
    Random,
    /// A chosen UUID.
    Uuid([u8; 16]),
}

impl CreateOptions<'_> {
    /// Returns the options of a disk of this many bytes.
    pub fn new(size: u64) -> Self {
        Self { size, ..Self::default() }
    }

    /// Returns whether the disk gets a journal.
    pub fn has_journal(&self) -> bool {
        self.journal.unwrap_or(self.size >= MIN_SIZE_WITH_JOURNAL)
    }
}
