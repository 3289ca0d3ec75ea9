//! The checksums of `metadata_csum`: CRC-32C, seeded with the file system's UUID and, for parts of an inode, with its
//! number. So a block of another file system or inode is detected.

/// The state of a checksum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed(u32);

impl Seed {
    pub(super) fn of(uuid: &[u8; 16]) -> Self {
        Self(crc32c(!0, uuid))
    }

    /// Returns the seed that a superblock with `metadata_csum_seed` holds.
    pub(super) fn starting_with(value: u32) -> Self {
        Self(value)
    }

    /// Returns the seed for an inode that this crate writes, and its directory and extent blocks. The generation is
    /// always 0.
    pub(super) fn inode(self, number: u32) -> Self {
        self.inode_of(number, 0)
    }

    /// Returns the seed for an inode of this generation (`i_generation`).
    pub(super) fn inode_of(self, number: u32, generation: u32) -> Self {
        Self(crc32c(crc32c(self.0, &number.to_le_bytes()), &generation.to_le_bytes()))
    }

    /// Returns the state after further bytes.
    pub(super) fn with(self, bytes: &[u8]) -> Self {
        Self(crc32c(self.0, bytes))
    }

    /// Returns the checksum.
    pub(super) fn value(self) -> u32 {
        self.0
    }
}

/// Continues the checksum `crc` over `bytes`. Like the kernel's `crc32c()`, it inverts neither the start nor the
/// result.
pub(super) fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!crc, bytes)
}
