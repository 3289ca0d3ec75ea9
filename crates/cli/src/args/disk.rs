//! The commands under `disk`.

mod serve;

use clap::Subcommand;

pub(crate) use serve::DiskServeArguments;

/// The commands under `disk`.
#[derive(Debug, Subcommand)]
pub(crate) enum DiskCommand {
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
