//! A tar header block with valid or invalid fields.

use super::BLOCK;

/// Values of the type field.
pub mod typeflag {
    /// Regular file.
    pub const FILE: u8 = b'0';
    /// Regular file of V7 tar. With a trailing slash in its name, it is a directory.
    pub const OLD_FILE: u8 = 0;
    /// Hard link.
    pub const HARD_LINK: u8 = b'1';
    /// Symbolic link.
    pub const SYMLINK: u8 = b'2';
    /// Character device.
    pub const CHAR_DEVICE: u8 = b'3';
    /// Block device.
    pub const BLOCK_DEVICE: u8 = b'4';
    /// Directory.
    pub const DIRECTORY: u8 = b'5';
    /// Named pipe.
    pub const FIFO: u8 = b'6';
    /// Contiguous file, which is read as a regular file.
    pub const CONTIGUOUS: u8 = b'7';
    /// PAX extended header.
    pub const PAX: u8 = b'x';
    /// PAX global header.
    pub const PAX_GLOBAL: u8 = b'g';
    /// GNU long name.
    pub const GNU_LONG_NAME: u8 = b'L';
    /// GNU long link target.
    pub const GNU_LONG_LINK: u8 = b'K';
    /// Old GNU sparse file.
    pub const GNU_SPARSE: u8 = b'S';
}

/// The values of the magic and version fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Magic {
    /// Zeros, as before POSIX.
    V7,
    /// `ustar\0` `00`, POSIX.
    Ustar,
    /// `ustar  \0`, GNU.
    Gnu,
}

/// A field of the header: its offset and length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field(pub usize, pub usize);

impl Field {
    /// `name`
    pub const NAME: Self = Self(0, 100);
    /// `mode`
    pub const MODE: Self = Self(100, 8);
    /// `uid`
    pub const UID: Self = Self(108, 8);
    /// `gid`
    pub const GID: Self = Self(116, 8);
    /// `size`
    pub const SIZE: Self = Self(124, 12);
    /// `mtime`
    pub const MTIME: Self = Self(136, 12);
    /// `chksum`
    pub const CHECKSUM: Self = Self(148, 8);
    /// `typeflag`
    pub const TYPEFLAG: Self = Self(156, 1);
    /// `linkname`
    pub const LINK_NAME: Self = Self(157, 100);
    /// `magic` and `version`
    pub const MAGIC: Self = Self(257, 8);
    /// `uname`
    pub const USER_NAME: Self = Self(265, 32);
    /// `gname`
    pub const GROUP_NAME: Self = Self(297, 32);
    /// `devmajor`
    pub const DEVICE_MAJOR: Self = Self(329, 8);
    /// `devminor`
    pub const DEVICE_MINOR: Self = Self(337, 8);
    /// `prefix` (POSIX)
    pub const PREFIX: Self = Self(345, 155);
    /// The four sparse descriptors of the old GNU header.
    pub const GNU_SPARSE: Self = Self(386, 96);
    /// Whether sparse extension blocks follow (old GNU).
    pub const GNU_IS_EXTENDED: Self = Self(482, 1);
    /// The size of the file with its holes (old GNU).
    pub const GNU_REAL_SIZE: Self = Self(483, 12);

    /// Returns the largest number that fits into the field as octal digits with a terminator.
    pub fn octal_max(self) -> u64 {
        (1 << (3 * (self.1 - 1))) - 1
    }
}

/// A header under construction. Each setter returns the changed header.
#[derive(Clone, Debug)]
pub struct Header {
    block: [u8; BLOCK],
}

impl Header {
    /// Returns a header with mode 0644, owner 0:0, size 0 and mtime 0.
    pub fn new(magic: Magic, typeflag: u8) -> Self {
        let magic_bytes: &[u8] = match magic {
            Magic::V7 => b"",
            Magic::Ustar => b"ustar\x0000",
            Magic::Gnu => b"ustar  \0",
        };
        Self { block: [0; BLOCK] }
            .field(Field::TYPEFLAG, &[typeflag])
            .field(Field::MAGIC, magic_bytes)
            .mode(0o644)
            .uid(0)
            .gid(0)
            .size(0)
            .mtime(0)
    }

    /// Sets a field to these bytes, cut or padded with zeros to its length.
    pub fn field(mut self, field: Field, bytes: &[u8]) -> Self {
        let Field(start, len) = field;
        let taken = bytes.len().min(len);
        self.block[start..start + len].fill(0);
        self.block[start..start + taken].copy_from_slice(&bytes[..taken]);
        self
    }

    /// Sets a field to zero-padded octal digits with a NUL, or to base-256 (GNU) if the number does not fit.
    pub fn number(self, field: Field, value: i128) -> Self {
        match u64::try_from(value) {
            Ok(value) if value <= field.octal_max() => {
                let text = format!("{value:0width$o}\0", width = field.1 - 1);
                self.field(field, text.as_bytes())
            }
            _ => self.base_256(field, value),
        }
    }

    /// Sets a field to a big-endian two's complement number with the first bit set: GNU's base-256.
    pub fn base_256(self, field: Field, value: i128) -> Self {
        let wide = value.to_be_bytes();
        let mut bytes = if field.1 <= wide.len() { wide[wide.len() - field.1..].to_vec() } else { wide.to_vec() };
        bytes[0] |= 0x80;
        self.field(field, &bytes)
    }

    /// Sets the name, cut at 100 bytes.
    pub fn name(self, name: &[u8]) -> Self {
        self.field(Field::NAME, name)
    }

    /// Sets the POSIX prefix, cut at 155 bytes.
    pub fn prefix(self, prefix: &[u8]) -> Self {
        self.field(Field::PREFIX, prefix)
    }

    /// Sets the link target, cut at 100 bytes.
    pub fn link_name(self, target: &[u8]) -> Self {
        self.field(Field::LINK_NAME, target)
    }

    /// Sets the permission bits.
    pub fn mode(self, mode: u32) -> Self {
        self.number(Field::MODE, mode.into())
    }

    /// Sets the owner.
    pub fn uid(self, uid: u64) -> Self {
        self.number(Field::UID, uid.into())
    }

    /// Sets the group.
    pub fn gid(self, gid: u64) -> Self {
        self.number(Field::GID, gid.into())
    }

    /// Sets the size of the data in bytes.
    pub fn size(self, size: u64) -> Self {
        self.number(Field::SIZE, size.into())
    }

    /// Sets the modification time in seconds since the Unix epoch.
    pub fn mtime(self, seconds: i64) -> Self {
        self.number(Field::MTIME, seconds.into())
    }

    /// Sets the device numbers.
    pub fn device(self, major: u32, minor: u32) -> Self {
        self.number(Field::DEVICE_MAJOR, major.into()).number(Field::DEVICE_MINOR, minor.into())
    }

    /// Returns the block, with the sum of its bytes in the checksum field.
    pub fn to_block(&self) -> [u8; BLOCK] {
        self.with_checksum(i64::from)
    }

    /// Returns the block with the sum of its bytes as signed numbers, as in some old programs.
    pub fn to_block_signed(&self) -> [u8; BLOCK] {
        self.with_checksum(|byte| i64::from(byte.cast_signed()))
    }

    /// Returns the block with a wrong checksum.
    pub fn to_block_corrupt(&self) -> [u8; BLOCK] {
        let mut block = self.to_block();
        block[Field::CHECKSUM.0 + 5] ^= 1;
        block
    }

    fn with_checksum(&self, value: impl Fn(u8) -> i64) -> [u8; BLOCK] {
        let blank = self.clone().field(Field::CHECKSUM, b"        ");
        let sum: i64 = blank.block.iter().map(|byte| value(*byte)).sum();
        blank.field(Field::CHECKSUM, format!("{sum:06o}\0 ").as_bytes()).block
    }
}
