//! The options of `images`, `tag` and `untag`.

use clap::Args;

/// The options of `images`.
#[derive(Debug, Args)]
pub(crate) struct ImagesArguments {
    /// List only images with these names: NAME, NAME:TAG, or a pattern such as 'team/*' or '*:1.?'
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// List only images that meet this condition: reference=PATTERN, dangling=true|false, platform=OS/ARCH,
    /// before=IMAGE, since=IMAGE, until=TIME|AGE, label=NAME[=VALUE], label!=NAME[=VALUE]; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// List images without a name from which another one was made as well
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Print the digests that the names resolved to
    #[arg(long)]
    pub(crate) digests: bool,
    /// Print whole ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Print with a Go template, the last built image first: `TEMPLATE`, `table TEMPLATE`, `table`, `raw` or `json`; its
    /// fields are ID, Repository, Tag, Digest, Platform, CreatedSince, CreatedAt and Size
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// The options of `tag`.
#[derive(Debug, Args)]
pub(crate) struct TagArguments {
    /// Reference, id or prefix of an id of an image in the cache, or docker://NAME of an image in a registry
    pub(crate) source: String,
    /// The new names: NAME or NAME:TAG; in a registry a TAG of the same repository, or NAME:TAG
    #[arg(required = true, value_name = "NAME")]
    pub(crate) destinations: Vec<String>,
    /// Set the tag in the registry, even if the cache has the image
    #[arg(long)]
    pub(crate) remote: bool,
}
