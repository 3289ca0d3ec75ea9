//! The options of commands that compute the root hash of an image's root.

use clap::{Args, ValueEnum};

use super::quantity::parse_size;
use super::{ExportArguments, FileCompression, Format};
use crate::init::InitArguments;
use crate::top::TopArguments;

/// The disk image whose root hash is computed. The options have the meaning that they have for `export`, because the disk
/// image is the one that `export` with these options writes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "The disk image of the root, as `export` writes it")]
pub(crate) struct RootHashArguments {
    /// The compression of the contents of files [default: zstd for squashfs, none for erofs] (erofs, squashfs)
    #[arg(long, value_enum, value_name = "ALGORITHM")]
    pub(crate) compress: Option<FileCompression>,
    /// The level of the compression (zstd: 1 to 22, lz4: 1 to 9) (erofs)
    #[arg(long, value_name = "N")]
    pub(crate) level: Option<i32>,
    /// The size of the file system [default: the smallest size that fits] (ext4)
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub(crate) size: Option<u64>,
    /// The free space in the file system, at least [default: 0] (ext4)
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub(crate) free: Option<u64>,
    /// The file system has a journal (ext4)
    #[arg(long)]
    pub(crate) journal: bool,
    /// The label of the file system (ext4)
    #[arg(long, value_name = "NAME")]
    pub(crate) label: Option<String>,
    #[command(flatten)]
    pub(crate) top: TopArguments,
    #[command(flatten)]
    pub(crate) init: InitArguments,
}

/// A format of disk images that have a hash tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiskFormat {
    /// EROFS metadata and the cache's files, joined to one disk
    ErofsMeta,
    /// An EROFS image
    Erofs,
    /// An ext4 image
    Ext4,
    /// A squashfs image; requires sqfstar of squashfs-tools
    Squashfs,
}

impl From<DiskFormat> for Format {
    fn from(format: DiskFormat) -> Self {
        match format {
            DiskFormat::ErofsMeta => Self::ErofsMeta,
            DiskFormat::Erofs => Self::Erofs,
            DiskFormat::Ext4 => Self::Ext4,
            DiskFormat::Squashfs => Self::Squashfs,
        }
    }
}

impl RootHashArguments {
    /// Returns the options of an export of the disk image, with its hash tree after it.
    pub(crate) fn export(&self, format: DiskFormat) -> ExportArguments {
        ExportArguments {
            format: Some(format.into()),
            force: false,
            strict: false,
            config_out: None,
            compress: self.compress,
            level: self.level,
            rootless: false,
            sparse: false,
            size: self.size,
            free: self.free,
            journal: self.journal,
            label: self.label.clone(),
            verity: Some("append".into()),
            verity_salt: None,
            from_upper: None,
            base: None,
            userxattr: false,
            top: self.top.clone(),
            init: self.init.clone(),
        }
    }
}
