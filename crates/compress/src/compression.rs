//! The compressions of layers, and their detection.

use std::fmt;

/// The compression of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// No compression.
    None,
    /// One or more gzip members (RFC 1952).
    Gzip,
    /// One or more zstd frames (RFC 8878), including skippable ones.
    Zstd,
    /// One or more bzip2 streams.
    Bzip2,
    /// One or more xz streams.
    Xz,
}

impl Compression {
    /// The number of bytes that identify every compression.
    pub const SNIFF_LEN: usize = 6;

    /// Detects the compression from the first bytes of a stream. Pass [`Self::SNIFF_LEN`] bytes, unless the stream is
    /// shorter.
    ///
    /// Returns [`Compression::None`] if the bytes have no known magic number, and for an empty stream.
    pub fn sniff(bytes: &[u8]) -> Self {
        match bytes {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame may come first. Its magic number is 0x184D2A50 to 0x184D2A5F (RFC 8878 section 3.1.2).
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => Self::Xz,
            _ => Self::None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_numbers() {
        assert_eq!(Compression::sniff(b"\x1f\x8b\x08\x00"), Compression::Gzip);
        assert_eq!(Compression::sniff(b"\x28\xb5\x2f\xfd"), Compression::Zstd);
        assert_eq!(Compression::sniff(b"\x50\x2a\x4d\x18"), Compression::Zstd);
        assert_eq!(Compression::sniff(b"\x5f\x2a\x4d\x18"), Compression::Zstd);
        assert_eq!(Compression::sniff(b"BZh9"), Compression::Bzip2);
        assert_eq!(Compression::sniff(b"\xfd7zXZ\x00"), Compression::Xz);
    }

    #[test]
    fn other_bytes_are_plain() {
        for bytes in [&b""[..], b"\x1f", b"\x1f\x8b", b"\x1f\x8b\x07", b"BZ", b"\xfd7zXZ", b"\x60\x2a\x4d\x18", b"etc/"]
        {
            assert_eq!(Compression::sniff(bytes), Compression::None, "{bytes:x?}");
        }
    }
}
