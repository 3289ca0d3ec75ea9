//! The commands under `disk`.

mod ls;
mod serve;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::quantity::parse_size;
pub(crate) use ls::DiskLsArguments;
pub(crate) use serve::DiskServeArguments;

/// The commands under `disk`.
#[derive(Debug, Subcommand)]
pub(crate) enum DiskCommand {
    /// Make a writable disk with an ext4 file system, in a sparse file
    ///
    /// Equal options make equal disks, the UUID included, unless --random-id is given.
    Create(CreateArguments),
    /// Make a disk larger, in place; an interruption loses nothing, and the command can be repeated
    ///
    /// The disk must not be in use. It may be one that mke2fs made. Nothing on it is moved. If its guest did not unmount
    /// it, its journal is replayed first.
    Grow {
        /// The disk
        disk: PathBuf,
        /// The new size of the file (K, M, G, T are powers of 1024)
        #[arg(long, value_name = "BYTES", value_parser = parse_size)]
        size: u64,
    },
    /// Copy a disk that is not in use, by shared blocks where the file system can
    Clone {
        /// The disk
        source: PathBuf,
        /// The copy, which appears when it is complete
        target: PathBuf,
        /// Give the copy a random UUID. A kernel older than Linux 4.4 cannot mount it then
        #[arg(long)]
        random_id: bool,
        /// Replace a file that exists
        #[arg(long, short)]
        force: bool,
    },
    /// Describe a disk: its sizes, features, journal and last mount
    Info {
        /// The disk
        disk: PathBuf,
    },
    /// List a directory of a disk, without a mount
    ///
    /// The disk may be one that was never unmounted: its journal is replayed in memory. Nothing is written to it.
    Ls(DiskLsArguments),
    /// Print files of a disk, without a mount
    Cat {
        /// The disk
        disk: PathBuf,
        /// The files
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Serve an image's root as a disk that is never written: to VMMs, to NBD clients, or as a file
    ///
    /// The disk is one EROFS file system, which Linux mounts from 5.4 on, with any number of layers. Its bytes are those
    /// of `export --format erofs-meta` as one disk. Nothing is written: the metadata is made in memory, and the contents
    /// are read from the cache.
    Serve {
        /// Reference, id, prefix of an id, TRANSPORT:DETAILS, or prebaked:DIR
        image: String,
        #[command(flatten)]
        options: DiskServeArguments,
    },
}

/// The options of `disk create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// The new file
    pub(crate) disk: PathBuf,
    /// The size of the file (K, M, G, T are powers of 1024)
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub(crate) size: u64,
    /// Put a writable copy of this image's root on the disk
    #[arg(long, value_name = "IMAGE")]
    pub(crate) from: Option<String>,
    /// Label the file system, with at most 16 bytes
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) label: String,
    /// Use this UUID [default: one that depends on the options]
    #[arg(long, value_name = "UUID", conflicts_with = "random_id", value_parser = parse_uuid)]
    pub(crate) uuid: Option<[u8; 16]>,
    /// Use a random UUID
    #[arg(long)]
    pub(crate) random_id: bool,
    /// Make an inode for each BYTES of the disk, 4K to 64M [default: 4K for the first 32M, then 16K; more from 4T on]
    #[arg(long, value_name = "BYTES", value_parser = parse_size, conflicts_with = "from")]
    pub(crate) bytes_per_inode: Option<u64>,
    /// Make no journal; a disk of less than 8M has none
    #[arg(long)]
    pub(crate) no_journal: bool,
    /// Replace a file that exists
    #[arg(long, short)]
    pub(crate) force: bool,
}

/// Parses a UUID: 32 hexadecimal digits, with hyphens or without.
fn parse_uuid(text: &str) -> Result<[u8; 16], String> {
    let wrong = || "not a UUID, such as 01234567-89ab-4def-8123-456789abcdef".to_owned();
    let digits: String = text.chars().filter(|character| *character != '-').collect();
    if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    u128::from_str_radix(&digits, 16).map(u128::to_be_bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_32_digits() {
        let expected = [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4d, 0xef, 0x81, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        assert_eq!(parse_uuid("01234567-89ab-4def-8123-456789ABCDEF"), Ok(expected));
        assert_eq!(parse_uuid("0123456789ab4def8123456789abcdef"), Ok(expected));
        for wrong in ["", "0", "+1234567-89ab-4def-8123-456789abcdef", "01234567-89ab-4def-8123-456789abcdefa"] {
            assert!(parse_uuid(wrong).is_err(), "{wrong}");
        }
    }
}
