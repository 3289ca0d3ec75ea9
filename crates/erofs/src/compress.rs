//! Compression of the contents of files.
//!
//! A file is a row of extents: stretches of it that are decoded for themselves, each in as many blocks as it takes. With
//! LZ4 that is one, which is filled with as much of the file as will fit ([`lz4`]); with Zstandard some ([`zstd`]).
//! [`indexes`] say where extents begin. A thread takes segments of files ([`files`], [`worker`]); their blocks are
//! written in the order of the files, whoever was faster ([`ordered`]).

mod extent;
mod files;
mod indexes;
mod lz4;
mod ordered;
mod worker;
mod zstd;

pub(crate) use files::{Jobs, StoredFiles};
pub(crate) use indexes::{Scheme, size as index_size, write as write_indexes};
pub(crate) use ordered::in_order;
pub(crate) use worker::Worker;
pub(crate) use zstd::WINDOW_BITS;

use extent::Encoder;

/// How the contents of files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErofsCompression {
    /// LZ4, which every kernel from Linux 5.4 on reads.
    Lz4 {
        /// From 1 to [`ErofsCompression::HIGHEST_LZ4`], how long matches are sought; others are taken for the nearest.
        level: u8,
    },
    /// Zstandard, which kernels from Linux 6.10 on read.
    Zstd {
        /// From 1 to [`ErofsCompression::HIGHEST_ZSTD`], the library's; others are taken for the nearest.
        level: u8,
    },
}

/// The numbers of the algorithms.
const LZ4: u8 = 0;
const ZSTD: u8 = 3;

impl ErofsCompression {
    /// LZ4 at a level that is as small as others' best, at most a percent larger than the highest.
    pub const LZ4: Self = Self::Lz4 { level: 5 };
    /// Zstandard at the library's own level.
    pub const ZSTD: Self = Self::Zstd { level: 3 };
    /// The highest level of LZ4.
    pub const HIGHEST_LZ4: u8 = 9;
    /// The highest level of Zstandard.
    pub const HIGHEST_ZSTD: u8 = 22;

    /// The same algorithm at another level.
    #[must_use]
    pub fn with_level(self, level: u8) -> Self {
        match self {
            Self::Lz4 { .. } => Self::Lz4 { level: level.clamp(1, Self::HIGHEST_LZ4) },
            Self::Zstd { .. } => Self::Zstd { level: level.clamp(1, Self::HIGHEST_ZSTD) },
        }
    }

    /// The same at a level that there is.
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

    /// What the identity of an image depends on.
    pub(crate) fn name(self) -> String {
        match self.clamped() {
            Self::Lz4 { level } => format!("lz4 {level}"),
            Self::Zstd { level } => format!("zstd {level}"),
        }
    }
}
