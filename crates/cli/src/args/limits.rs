//! How far a hostile image may go.

use clap::Args;

use super::quantity::size;

/// How far a hostile image may go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArguments {
    /// Most bytes that a layer may decompress to, zeros and holes included (K, M, G, T are powers of 1024)
    #[arg(long, global = true, value_name = "BYTES", default_value = "2T", value_parser = size)]
    pub(crate) max_layer_size: u64,
    /// Most bytes that a layer may decompress to, blocks of zeros not counted
    #[arg(long, global = true, value_name = "BYTES", default_value = "64G", value_parser = size)]
    pub(crate) max_data: u64,
    /// Most bytes, blocks of zeros not counted, that may come out of a layer for each byte of its compressed form
    #[arg(long, global = true, value_name = "N", default_value_t = 400)]
    pub(crate) max_ratio: u64,
    /// Largest zstd window, as a power of two
    #[arg(long, global = true, value_name = "N", default_value = "27", value_parser = clap::value_parser!(u32).range(10..=31))]
    pub(crate) zstd_window_log: u32,
    /// Most entries that a layer may have
    #[arg(long, global = true, value_name = "N", default_value_t = 4_000_000)]
    pub(crate) max_entries: u32,
    /// Most bytes of files that may be stored of a layer, blocks of zeros and holes not counted
    #[arg(long, global = true, value_name = "BYTES", default_value = "64G", value_parser = size)]
    pub(crate) max_contents: u64,
    /// Most bytes of names, link targets and xattrs that one entry may have
    #[arg(long, global = true, value_name = "BYTES", default_value = "1M", value_parser = size)]
    pub(crate) max_metadata: u64,
    /// Most bytes of names, link targets and xattrs that a layer may have
    #[arg(long, global = true, value_name = "BYTES", default_value = "256M", value_parser = size)]
    pub(crate) max_names: u64,
}
