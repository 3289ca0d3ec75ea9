//! The options of `ls` and `cp`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

/// The options of `ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArguments {
    /// Reference, id, prefix of an id, TRANSPORT:DETAILS, or prebaked:DIR
    pub(crate) image: String,
    /// The directories and files; of several, the files come first, and each directory has a heading
    #[arg(default_value = "/")]
    pub(crate) paths: Vec<PathBuf>,
    /// Print attributes: mode, links, owner, size and time
    #[arg(long, short)]
    pub(crate) long: bool,
    /// List subdirectories recursively
    #[arg(long, short = 'R')]
    pub(crate) recursive: bool,
    /// List directories themselves, not their entries
    #[arg(long, short, conflicts_with = "recursive")]
    pub(crate) directory: bool,
    /// Print sizes with units; among other letters, -h does the same, as in -lh
    #[arg(long)]
    pub(crate) human_readable: bool,
    /// Accepted for habit: entries whose names begin with a dot are always listed
    #[arg(long, short)]
    pub(crate) all: bool,
}

/// The options of `cp`, which have the names and meanings of `docker cp`.
#[derive(Debug, Args)]
pub(crate) struct CpArguments {
    /// IMAGE:/PATH and DEST, or IMAGE, PATH and DEST
    ///
    /// IMAGE is a reference, id, prefix of an id, TRANSPORT:DETAILS, or prebaked:DIR, and PATH a file or a directory in
    /// it. IMAGE ends at the last `:/` before which it is the name of an image, so a PATH that contains `:/` needs three
    /// arguments. DEST is a file or a directory of this machine; `-` writes a tar to standard output
    #[arg(required = true, num_args = 2..=3, value_names = ["IMAGE:/PATH", "DEST"])]
    pub(crate) operands: Vec<OsString>,
    /// Copy the target of PATH if it is a symbolic link, not the link
    #[arg(long, short = 'L')]
    pub(crate) follow_link: bool,
    /// Keep owners and groups [default: the copies belong to you]
    #[arg(long, short)]
    pub(crate) archive: bool,
    /// Fail if an attribute or a file cannot be written as in the image; by default, this is reported as notes
    #[arg(long)]
    pub(crate) strict: bool,
}
