//! Reproducible compression of layers and archives.

use std::io::Write;

use flate2::GzBuilder;

/// A compression format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// No compression.
    None,
    /// One gzip member.
    #[default]
    Gzip,
    /// One Zstandard frame.
    Zstd,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
}

impl Compression {
    /// All formats.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Zstd, Self::Bzip2, Self::Xz];

    /// Returns the compressed form of `bytes`.
    pub fn compress(self, bytes: &[u8]) -> Vec<u8> {
        let in_memory = "writing to memory does not fail";
        match self {
            Self::None => bytes.to_vec(),
            Self::Gzip => {
                let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::fast());
                encoder.write_all(bytes).expect(in_memory);
                encoder.finish().expect(in_memory)
            }
            Self::Zstd => zstd::bulk::compress(bytes, 1).expect(in_memory),
            Self::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(bytes).expect(in_memory);
                encoder.finish().expect(in_memory)
            }
            Self::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
                encoder.write_all(bytes).expect(in_memory);
                encoder.finish().expect(in_memory)
            }
        }
    }

    /// Returns the ending of layers' media types.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        }
    }
}
