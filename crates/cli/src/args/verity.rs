//! The commands under `verity`, and the options of hash trees.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use vmroot::verity::{Algorithm, HashType, Parameters, parse_salt};

use super::{DiskFormat, RootHashArguments};

/// The commands under `verity`.
#[derive(Debug, Subcommand)]
pub(crate) enum VerityCommand {
    /// Write the hash tree of a disk image, in the format of veritysetup, and print its root hash
    Format {
        /// The disk image, or the .vmdk of an erofs-meta image
        disk: PathBuf,
        /// Write the tree to this file [default: DISK.verity]
        #[arg(conflicts_with = "append")]
        tree: Option<PathBuf>,
        /// Write the tree after the disk image, in the same file
        #[arg(long)]
        append: bool,
        /// Replace a file that exists
        #[arg(long, short)]
        force: bool,
        #[command(flatten)]
        parameters: TreeArguments,
    },
    /// Verify each block of a disk image and of its hash tree, and that the disk image has the root of an image
    ///
    /// The exit code is 5 if a block is wrong, or if another image has the root hash. The error names the first wrong block.
    Verify {
        /// DISK, TREE and HASH, or IMAGE, DISK and HASH, or IMAGE, DISK, TREE and HASH
        ///
        /// DISK is the disk image, or the .vmdk of an erofs-meta image. TREE is the file of the tree, or DISK itself if the
        /// tree follows the image; without it, the tree follows DISK, or is in DISK.verity. HASH is the root hash in
        /// hexadecimal digits. IMAGE is the reference or the id of an image, or TRANSPORT:DETAILS: HASH must also be the
        /// root hash of the disk image that `export` writes of it with the same options. Of three operands, the first is
        /// DISK if it is a file.
        #[arg(required = true, num_args = 3..=4, value_names = ["IMAGE|DISK", "DISK|TREE", "HASH"])]
        operands: Vec<OsString>,
        /// The format of DISK [default: as its first bytes say] (with IMAGE)
        #[arg(long, value_enum)]
        format: Option<DiskFormat>,
        #[command(flatten)]
        root: Box<RootHashArguments>,
        /// The tree's superblock begins at this byte [default: 0, or the end of the image]
        #[arg(long, value_name = "BYTES")]
        hash_offset: Option<u64>,
    },
    /// Print the superblock of a hash tree
    Dump {
        /// The file of the tree, or a disk image that a tree follows
        tree: PathBuf,
        /// The superblock begins at this byte [default: 0, or the end of the image]
        #[arg(long, value_name = "BYTES")]
        hash_offset: Option<u64>,
    },
}

/// The parameters of a new tree, with the names and values of veritysetup.
#[derive(Debug, Clone, Args)]
pub(crate) struct TreeArguments {
    /// Hash with this algorithm
    #[arg(long, value_enum, default_value_t = HashName::Sha256)]
    hash: HashName,
    /// Hash with this salt, in hexadecimal digits; `-` is none [default: 32 zero bytes, which makes trees reproducible]
    #[arg(long, value_name = "HEX|-")]
    salt: Option<Salt>,
    /// Hash blocks of this size of the image
    #[arg(long, value_name = "BYTES", default_value_t = vmroot::verity::DEFAULT_BLOCK)]
    data_block_size: u32,
    /// Write hash blocks of this size
    #[arg(long, value_name = "BYTES", default_value_t = vmroot::verity::DEFAULT_BLOCK)]
    hash_block_size: u32,
    /// Write this format: 1, or 0 for Chromium OS
    #[arg(long, value_name = "0|1", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1))]
    format: u32,
}

impl TreeArguments {
    /// Returns the parameters.
    pub(crate) fn parameters(&self) -> Parameters {
        let default = Parameters::default();
        Parameters {
            algorithm: self.hash.into(),
            hash_type: HashType::of_number(self.format).unwrap_or_default(),
            data_block: self.data_block_size,
            hash_block: self.hash_block_size,
            salt: self.salt.clone().map_or(default.salt, |salt| salt.0),
        }
    }
}

/// A salt.
#[derive(Debug, Clone)]
pub(crate) struct Salt(pub(crate) Vec<u8>);

impl FromStr for Salt {
    type Err = vmroot::verity::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_salt(text).map(Self)
    }
}

/// A hash algorithm for new trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HashName {
    /// SHA-256
    Sha256,
    /// SHA-512
    Sha512,
}

impl From<HashName> for Algorithm {
    fn from(name: HashName) -> Self {
        match name {
            HashName::Sha256 => Self::Sha256,
            HashName::Sha512 => Self::Sha512,
        }
    }
}
