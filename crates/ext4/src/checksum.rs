//! The checksums of `metadata_csum`: CRC-32C, begun with the file system's UUID, so that a block of another one is
//! noticed, and for what belongs to an inode with its number.

/// Begins all checksums of a file system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed(u32);

impl Seed {
    pub(super) fn of(uuid: &[u8; 16]) -> Self {
        Self(crc32c(!0, uuid))
    }

    /// Begins those of an inode and of its directory and extent blocks; generations are 0 here.
    pub(super) fn inode(self, number: u32) -> Self {
        Self(crc32c(crc32c(self.0, &number.to_le_bytes()), &[0; 4]))
    }

    /// Goes on with bytes.
    pub(super) fn with(self, bytes: &[u8]) -> Self {
        Self(crc32c(self.0, bytes))
    }

    /// The checksum.
    pub(super) fn value(self) -> u32 {
        self.0
    }
}

/// Takes the checksum `crc` on over `bytes`, without inverting it before or after, as the kernel's `crc32c()`.
pub(super) fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!crc, bytes)
}
