//! The limits on images, which protect against hostile ones.

use clap::Args;

use super::quantity::parse_size;

/// Limits on images, which protect against hostile ones.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArguments {
    /// Limit a layer to this many decompressed bytes, zeros and holes included (K, M, G, T are powers of 1024)
    #[arg(long, global = true, value_name = "BYTES", default_value = "2T", value_parser = parse_size)]
    pub(crate) max_layer_size: u64,
    /// Limit a layer to this many decompressed bytes, not counting blocks of zeros
    #[arg(long, global = true, value_name = "BYTES", default_value = "64G", value_parser = parse_size)]
    pub(crate) max_data: u64,
    /// Limit a layer to this many decompressed bytes for each compressed byte, not counting blocks of zeros
    #[arg(long, global = true, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_ratio: u64,
    /// Limit zstd windows to 2^N bytes, N from 10 to 31
    #[arg(long, global = true, value_name = "N", default_value = "27", value_parser = clap::value_parser!(u32).range(10..=31))]
    pub(crate) zstd_window_log: u32,
    /// Limit a layer to this many entries
    #[arg(long, global = true, value_name = "N", default_value_t = 4_000_000)]
    pub(crate) max_entries: u32,
    /// Limit a layer to this many stored bytes of file contents, not counting blocks of zeros and holes
    #[arg(long, global = true, value_name = "BYTES", default_value = "64G", value_parser = parse_size)]
    pub(crate) max_contents: u64,
    /// Limit the extended headers of an entry (long names, long link targets, PAX records, xattrs) to this many bytes
    #[arg(long, global = true, value_name = "BYTES", default_value = "1M", value_parser = parse_size)]
    pub(crate) max_metadata: u64,
    /// Limit a layer to this many bytes of names, link targets and xattrs
    #[arg(long, global = true, value_name = "BYTES", default_value = "256M", value_parser = parse_size)]
    pub(crate) max_names: u64,
}
