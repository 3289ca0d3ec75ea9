//! The options of `export`: the formats and their options.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Salt;
use super::quantity::parse_size;
use crate::init::InitArguments;
use crate::top::TopArguments;

/// Options of `export`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExportArguments {
    /// Write this format [default: that of OUT's name: .tar, .tar.gz, .tgz, .tar.zst, .cpio, .cpio.gz, .cpio.zst, .erofs,
    /// .ext4 or .squashfs; a tar for `-`]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Replace a file, a link, a disk, or the files of a prebaked directory, at OUT and at --config-out. An existing
    /// directory of --format dir must be empty even so
    #[arg(long, short)]
    pub(crate) force: bool,
    /// Fail if the format cannot hold everything; by default, omissions are reported as notes
    #[arg(long)]
    pub(crate) strict: bool,
    /// Write how to run the image to this file, as in the config.json of a prebaked directory; `-` is a file of this
    /// name
    #[arg(long, value_name = "FILE")]
    pub(crate) config_out: Option<PathBuf>,
    /// Compress the contents of files [default: zstd for squashfs, none for erofs] (erofs, squashfs)
    #[arg(long, value_enum, value_name = "ALGORITHM")]
    #[arg(help_heading = "Compression")]
    pub(crate) compress: Option<FileCompression>,
    /// Compress at this level (gz: 0 to 9, zst and zstd: 1 to 22, lz4: 1 to 9)
    #[arg(long, value_name = "N")]
    #[arg(help_heading = "Compression")]
    pub(crate) level: Option<i32>,
    /// Record in user.* xattrs the owners, devices and modes that only root may set (dir only)
    #[arg(long)]
    #[arg(help_heading = "Directories and tars")]
    pub(crate) rootless: bool,
    /// Omit the zeros of large files from a tar. GNU tar, bsdtar, Go and Python read such files; others, such as
    /// busybox, do not find them (tar)
    #[arg(long)]
    #[arg(help_heading = "Directories and tars")]
    pub(crate) sparse: bool,
    /// Make the file system this large (K, M, G, T are powers of 1024) [default: the smallest size that fits] (ext4)
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    #[arg(help_heading = "Size and features of ext4")]
    pub(crate) size: Option<u64>,
    /// Leave at least this much free space in the file system [default: 0] (ext4)
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    #[arg(help_heading = "Size and features of ext4")]
    pub(crate) free: Option<u64>,
    /// Give the file system a journal (ext4)
    #[arg(long)]
    #[arg(help_heading = "Size and features of ext4")]
    pub(crate) journal: bool,
    /// Label the file system, with at most 16 bytes (ext4)
    #[arg(long, value_name = "NAME")]
    #[arg(help_heading = "Size and features of ext4")]
    pub(crate) label: Option<String>,
    /// Write the image's dm-verity hash tree to this file, or after the image with `append`, and print its root hash; in
    /// the JSON and in --config-out, it is `verity.rootHash` (erofs, erofs-meta, ext4, squashfs)
    #[arg(long, value_name = "FILE|append")]
    #[arg(help_heading = "Verification by the guest")]
    pub(crate) verity: Option<PathBuf>,
    /// Hash with this salt, in hexadecimal digits; `-` is none [default: 32 zero bytes]
    #[arg(long, value_name = "HEX|-", requires = "verity")]
    #[arg(help_heading = "Verification by the guest")]
    pub(crate) verity_salt: Option<Salt>,
    /// Write the upper directory of an overlay, as of `mount --upper`, or the ext4 disk of a guest, as a layer that holds
    /// all changes and deletions
    #[arg(long, value_name = "DIR|DISK", conflicts_with_all = ["rootless", "config_out", "verity", "layer", "add", "init"])]
    #[arg(help_heading = "Changes of a writable mount")]
    pub(crate) from_upper: Option<PathBuf>,
    /// Read the marks of --from-upper from user.overlay.* xattrs, for an overlay that was mounted with userxattr
    #[arg(long, requires = "from_upper")]
    #[arg(help_heading = "Changes of a writable mount")]
    pub(crate) userxattr: bool,
    /// Compare the disk of --from-upper, which has a whole root, with this image's root
    #[arg(long, value_name = "IMAGE", requires = "from_upper", conflicts_with = "userxattr")]
    #[arg(help_heading = "Changes of a writable mount")]
    pub(crate) base: Option<String>,
    #[command(flatten)]
    pub(crate) top: TopArguments,
    #[command(flatten)]
    pub(crate) init: InitArguments,
}

/// The compression of file contents in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileCompression {
    /// Fast to read; for EROFS, requires Linux 5.4
    Lz4,
    /// Smaller; for EROFS, requires Linux 6.10
    Zstd,
}

/// The formats of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A directory that vmroot opens on any machine, without a cache
    Prebaked,
    /// A directory tree of plain files
    Dir,
    /// A tar
    Tar,
    /// A tar, compressed with gzip
    #[value(name = "tar.gz")]
    TarGz,
    /// A tar, compressed with zstd
    #[value(name = "tar.zst")]
    TarZst,
    /// An initramfs (cpio, newc)
    Cpio,
    /// An initramfs, compressed with gzip
    #[value(name = "cpio.gz")]
    CpioGz,
    /// An initramfs, compressed with zstd
    #[value(name = "cpio.zst")]
    CpioZst,
    /// An EROFS image
    Erofs,
    /// An EROFS image of the metadata, with the cache's files as its devices. OUT.vmdk joins them to one disk for QEMU,
    /// and OUT.rdonly.vmdk for libkrun. OUT.head has the start of that disk, OUT.devices lists the devices
    ErofsMeta,
    /// A writable ext4 image
    Ext4,
    /// A squashfs image; requires sqfstar of squashfs-tools
    Squashfs,
}
