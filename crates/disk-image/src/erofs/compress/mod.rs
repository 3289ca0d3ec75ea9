//! Compression of the contents of files.

pub(crate) mod extent;
pub(crate) mod lz4;
pub(crate) mod zstd;
