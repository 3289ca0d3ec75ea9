//! The options of `copy`, which have the names and meanings of skopeo's.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use vmroot::Platform;

use super::encryption::EncryptionArguments;
use super::platform::parse_platform;
use super::quantity::parse_duration;
use super::signing::SigningArguments;
use super::switches::parse_bool;

/// The options of `copy`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CopyArguments {
    /// Give the copy this name as well: NAME:TAG, or TAG for docker:// (repeatable; docker:// and docker-archive: only)
    #[arg(long, value_name = "NAME:TAG")]
    pub(crate) additional_tag: Vec<String>,
    /// Write the digest of the copied manifest to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) digestfile: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) images: ImageArguments,
    #[command(flatten)]
    pub(crate) transfer: TransferArguments,
    #[command(flatten)]
    pub(crate) compression: CompressionArguments,
    #[command(flatten)]
    pub(crate) encryption: EncryptionArguments,
    #[command(flatten)]
    pub(crate) source: SourceArguments,
    #[command(flatten)]
    pub(crate) destination: DestinationArguments,
}

/// The images of a list to copy, and their form. `sync` has them, too.
#[derive(Debug, Clone, Args)]
pub(crate) struct ImageArguments {
    /// Copy all images of a list, and the list; the same as --multi-arch all
    #[arg(long, short, conflicts_with = "multi_arch")]
    #[arg(help_heading = "Image options")]
    pub(crate) all: bool,
    /// Copy these images of a list [default: system]
    #[arg(long, value_name = "WHICH")]
    #[arg(help_heading = "Image options")]
    pub(crate) multi_arch: Option<MultiArch>,
    /// Copy the image for this platform (repeatable: several give a list of their images) [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with_all = ["arch", "all", "multi_arch"], value_parser = parse_platform)]
    #[arg(help_heading = "Image options")]
    pub(crate) platform: Vec<Platform>,
    /// Keep or remove the entries of other images in a list of several platforms
    #[arg(long, value_name = "FORM", default_value = "strip")]
    #[arg(help_heading = "Image options")]
    pub(crate) list: ListArgument,
    /// Copy the documents that refer to the image, too: signatures, bills of materials, attestations
    #[arg(long)]
    #[arg(help_heading = "Image options")]
    pub(crate) referrers: bool,
    /// Write manifests in this format [default: that of the source, if the destination accepts it]
    #[arg(long, short, value_name = "FORMAT")]
    #[arg(help_heading = "Manifests")]
    pub(crate) format: Option<ManifestFormatArgument>,
    /// Fail if the copy would change a digest
    #[arg(long)]
    #[arg(help_heading = "Manifests")]
    pub(crate) preserve_digests: bool,
    /// Copy without the signatures of the image, so that the copy may differ from it
    #[arg(long)]
    #[arg(help_heading = "Manifests")]
    pub(crate) remove_signatures: bool,
}

/// Transfers. `sync` has these options, too.
#[derive(Debug, Clone, Args)]
pub(crate) struct TransferArguments {
    /// Print what would be copied, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Copy this many blobs at once; 0 stands for 6
    #[arg(long, value_name = "N", default_value = "6", value_parser = parse_parallel)]
    #[arg(help_heading = "Transfers")]
    pub(crate) image_parallel_copies: u16,
    /// Retry a blob whose transfer failed this many times
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(help_heading = "Transfers")]
    pub(crate) retry_times: u32,
    /// Wait this long before each retry [default: 1s, and twice as long before each further one]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    #[arg(help_heading = "Transfers")]
    pub(crate) retry_delay: Option<Duration>,
    #[command(flatten)]
    pub(crate) signing: SigningArguments,
}

/// Parses the number of blobs at once. As in skopeo, 0 stands for the default.
fn parse_parallel(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) => Ok(6),
        Ok(number @ 1..=256) => Ok(number),
        _ => Err("expected a number from 0 to 256".to_owned()),
    }
}

/// Compression of layers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Compression")]
pub(crate) struct CompressionArguments {
    /// Compress layers of a dir: destination [default format: gzip]
    #[arg(long)]
    pub(crate) dest_compress: bool,
    /// Decompress layers of a dir: destination
    #[arg(long, conflicts_with = "dest_compress")]
    pub(crate) dest_decompress: bool,
    /// Compress layers in this format
    #[arg(long, value_name = "FORMAT")]
    pub(crate) dest_compress_format: Option<CompressFormat>,
    /// Compress at this level: 1 to 9 for gzip, 1 to 20 for zstd
    #[arg(long, value_name = "LEVEL")]
    pub(crate) dest_compress_level: Option<u32>,
    /// Do not reuse layers of the destination that have another compression
    #[arg(long)]
    pub(crate) dest_force_compress_format: bool,
}

/// `--multi-arch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MultiArch {
    /// The image for the platform
    System,
    /// All images, and the list
    All,
    /// The list without its images
    IndexOnly,
}

/// `--list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListArgument {
    /// Keep them; some registries refuse such a list
    Sparse,
    /// Remove them; the list gets another digest
    Strip,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ManifestFormatArgument {
    /// OCI
    Oci,
    /// Docker schema 2
    V2s2,
    /// Docker schema 1
    V2s1,
}

/// `--dest-compress-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompressFormat {
    /// gzip
    Gzip,
    /// zstd
    Zstd,
    /// zstd with a table of contents
    #[value(name = "zstd:chunked")]
    ZstdChunked,
}

/// Defines the options of one side of a copy. clap cannot give flattened options a prefix.
macro_rules! side_arguments {
    ($name:ident, $heading:literal, $prefix:literal, $old_creds:literal) => {
        #[derive(Debug, Clone, Args)]
        #[command(next_help_heading = $heading)]
        pub(crate) struct $name {
            /// Log in to the registry with this user and password
            #[arg(id = concat!($prefix, "_creds"), long = concat!($prefix, "-creds"), alias = $old_creds, value_name = "USER[:PASSWORD]")]
            pub(crate) creds: Option<String>,
            /// Log in to the registry as this user
            #[arg(id = concat!($prefix, "_username"), long = concat!($prefix, "-username"), value_name = "USER")]
            pub(crate) username: Option<String>,
            /// Log in to the registry with this password
            #[arg(id = concat!($prefix, "_password"), long = concat!($prefix, "-password"), value_name = "PASSWORD")]
            pub(crate) password: Option<String>,
            /// Send this token to the registry
            #[arg(id = concat!($prefix, "_registry_token"), long = concat!($prefix, "-registry-token"), value_name = "TOKEN")]
            pub(crate) registry_token: Option<String>,
            /// Do not log in
            #[arg(id = concat!($prefix, "_no_creds"), long = concat!($prefix, "-no-creds"))]
            pub(crate) no_creds: bool,
            /// Read credentials from this file
            #[arg(id = concat!($prefix, "_authfile"), long = concat!($prefix, "-authfile"), value_name = "FILE")]
            pub(crate) authfile: Option<PathBuf>,
            /// Use the certificates in this directory (*.crt, *.cert, *.key)
            #[arg(id = concat!($prefix, "_cert_dir"), long = concat!($prefix, "-cert-dir"), value_name = "DIR")]
            pub(crate) cert_dir: Option<PathBuf>,
            /// Require HTTPS and valid certificates [default: true]
            #[arg(id = concat!($prefix, "_tls_verify"), long = concat!($prefix, "-tls-verify"), value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
            pub(crate) tls_verify: Option<bool>,
            /// Use the Docker engine at this address (docker-daemon:)
            #[arg(id = concat!($prefix, "_daemon_host"), long = concat!($prefix, "-daemon-host"), value_name = "HOST")]
            pub(crate) daemon_host: Option<String>,
            /// Keep the blobs of an OCI layout in this directory (oci:)
            #[arg(id = concat!($prefix, "_shared_blob_dir"), long = concat!($prefix, "-shared-blob-dir"), value_name = "DIR")]
            pub(crate) shared_blob_dir: Option<PathBuf>,
        }
    };
}

side_arguments!(SourceArguments, "Source options", "src", "screds");
side_arguments!(DestinationSide, "Destination options", "dest", "dcreds");

/// The options of the destination.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Destination options")]
pub(crate) struct DestinationArguments {
    #[command(flatten)]
    pub(crate) side: DestinationSide,
    /// Keep plain layers of an OCI layout as they are, instead of compressing them (oci:)
    #[arg(long)]
    pub(crate) dest_oci_accept_uncompressed_layers: bool,
    /// Accepted for skopeo's command lines: the digest of a layer is known before its upload, unless it is compressed anew
    #[arg(long)]
    pub(crate) dest_precompute_digests: bool,
}
