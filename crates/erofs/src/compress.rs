//! Compression of file contents.
//!
//! A file is divided into extents, which are decoded independently. With LZ4 an extent fills one block and holds as
//! much of the file as fits ([`lz4`]). With Zstandard it can have several blocks ([`zstd`]). [`indexes`] locate the
//! extents.
//!
//! Threads compress segments of files ([`files`], [`jobs`], [`worker`]). The blocks are written in the order of the files,
//! whichever thread finishes first ([`ordered`]).

mod extent;
mod files;
mod indexes;
mod jobs;
mod lz4;
mod ordered;
mod worker;
mod zstd;

pub(crate) use files::StoredFiles;
pub(crate) use indexes::{Scheme, size as index_size, write as write_indexes};
pub(crate) use jobs::Jobs;
pub(crate) use ordered::run_in_order;
pub(crate) use worker::Worker;
pub(crate) use zstd::WINDOW_BITS;

use extent::Encoder;

/// The compression of file contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErofsCompression {
    /// LZ4, readable from Linux 5.4 on.
    Lz4 {
        /// Effort of the search for matches, from 1 to [`ErofsCompression::HIGHEST_LZ4`]. Other values are clamped.
        level: u8,
    },
    /// Zstandard, readable from Linux 6.10 on.
    Zstd {
        /// The library's level, from 1 to [`ErofsCompression::HIGHEST_ZSTD`]. Other values are clamped.
        level: u8,
    },
}

/// Numbers of the algorithms in the format.
const LZ4: u8 = 0;
const ZSTD: u8 = 3;

impl ErofsCompression {
    /// LZ4 at level 5. Images are as small as the smallest of other encoders, and at most 1 % larger than at the
    /// highest level.
    pub const LZ4: Self = Self::Lz4 { level: 5 };
    /// Zstandard at level 3, the library's default.
    pub const ZSTD: Self = Self::Zstd { level: 3 };
    /// The highest level of LZ4.
    pub const HIGHEST_LZ4: u8 = 9;
    /// The highest level of Zstandard.
    pub const HIGHEST_ZSTD: u8 = 22;

    /// Returns the same algorithm at another level, clamped to the levels that exist.
    #[must_use]
    pub fn with_level(self, level: u8) -> Self {
        match self {
            Self::Lz4 { .. } => Self::Lz4 { level: level.clamp(1, Self::HIGHEST_LZ4) },
            Self::Zstd { .. } => Self::Zstd { level: level.clamp(1, Self::HIGHEST_ZSTD) },
        }
    }

    /// Returns the same algorithm with its level clamped.
    fn clamped(self) -> Self {
        match self {
            Self::Lz4 { level } | Self::Zstd { level } => self.with_level(level),
        }
    }

    fn encoder(self) -> Box<dyn Encoder> {
        match self.clamped() {
            Self::Lz4 { level } => Box::new(lz4::Lz4::new(1 << level)),
            Self::Zstd { level } => Box::new(zstd::Zstd::new(level)),
        }
    }

    pub(crate) fn scheme(self) -> Scheme {
        match self {
            Self::Lz4 { .. } => Scheme { algorithm: LZ4, many_blocks: false },
            Self::Zstd { .. } => Scheme { algorithm: ZSTD, many_blocks: true },
        }
    }

    /// Returns the part of an image's identity that depends on the compression.
    pub(crate) fn name(self) -> String {
        match self.clamped() {
            Self::Lz4 { level } => format!("lz4 {level}"),
            Self::Zstd { level } => format!("zstd {level}"),
        }
    }
}
