//! What may be typed after `export`: the forms, and their options.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::quantity::size;
use crate::init::InitArguments;
use crate::top::TopArguments;

/// How to write a root out.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExportArguments {
    /// The form; with --from-upper it may be left out where OUT ends in .tar, .tar.gz or .tar.zst
    #[arg(long, value_enum, required_unless_present = "from_upper")]
    pub(crate) format: Option<Format>,
    /// Write the upper directory of an overlay, such as `mount --upper` has, as a layer: changes, deletions and all
    #[arg(long, value_name = "DIR", conflicts_with_all = ["rootless", "config_out", "layer", "add", "init"])]
    pub(crate) from_upper: Option<PathBuf>,
    /// The overlay of --from-upper was mounted with userxattr: its marks are user.overlay.*, which everybody sees
    #[arg(long, requires = "from_upper")]
    pub(crate) userxattr: bool,
    /// Record owners, devices and modes that only root may set in user.* xattrs instead (dir only)
    #[arg(long)]
    pub(crate) rootless: bool,
    /// Leave the zeros of large files out of a tar, as GNU tar, bsdtar, Go and Python read it; others, such as busybox,
    /// do not find these files (tar)
    #[arg(long)]
    pub(crate) sparse: bool,
    /// Fail if the form cannot hold everything, instead of leaving it out and saying so
    #[arg(long)]
    pub(crate) strict: bool,
    /// Compress the contents of files [default for squashfs: zstd, for erofs none] (erofs, squashfs)
    #[arg(long, value_enum, value_name = "ALGORITHM")]
    pub(crate) compress: Option<FileCompression>,
    /// Compression level (gz: 0 to 9, zst and zstd: 1 to 22, lz4: 1 to 9)
    #[arg(long, value_name = "N")]
    pub(crate) level: Option<i32>,
    /// How large the file system is, in bytes, or with K, M, G or T [default: as small as can be] (ext4)
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) size: Option<u64>,
    /// How much can be written to the file system, at least (ext4)
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) free: Option<u64>,
    /// Give the file system a journal (ext4)
    #[arg(long)]
    pub(crate) journal: bool,
    /// Name the file system, in up to 16 bytes (ext4)
    #[arg(long, value_name = "NAME")]
    pub(crate) label: Option<String>,
    /// Write how to run the image to this file as well: the config.json of a prebaked directory
    #[arg(long, value_name = "FILE")]
    pub(crate) config_out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) top: TopArguments,
    #[command(flatten)]
    pub(crate) init: InitArguments,
}

/// How the contents of files are compressed in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileCompression {
    /// Fast to read; EROFS has it from Linux 5.4 on
    Lz4,
    /// Smaller; EROFS has it from Linux 6.10 on
    Zstd,
}

/// The forms of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A directory that another machine opens as it is
    Prebaked,
    /// Plain files
    Dir,
    /// A tar
    Tar,
    /// A tar, compressed by gzip
    #[value(name = "tar.gz")]
    TarGz,
    /// A tar, compressed by zstd
    #[value(name = "tar.zst")]
    TarZst,
    /// An initramfs (cpio, newc)
    Cpio,
    /// An initramfs, compressed by gzip
    #[value(name = "cpio.gz")]
    CpioGz,
    /// An initramfs, compressed by zstd
    #[value(name = "cpio.zst")]
    CpioZst,
    /// An EROFS image with everything in it
    Erofs,
    /// An EROFS image of the metadata, with the cache's own files as its devices; OUT.vmdk joins them to one disk for
    /// QEMU, and OUT.rdonly.vmdk for libkrun
    ErofsMeta,
    /// An ext4 image, which a guest can write to
    Ext4,
    /// A squashfs image; needs sqfstar of squashfs-tools
    Squashfs,
}
