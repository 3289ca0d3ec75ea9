//! What can be wrong with a place that images come from.

use std::io;
use std::path::{Path, PathBuf};

use vmroot_errors::{ErrorKind, Limit};
use vmroot_model::Digest;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A place that images come from and what is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A registry.
    #[error(transparent)]
    Registry(#[from] vmroot_registry::Error),
    /// A name that is not `TRANSPORT:details` as the transport wants its details.
    #[error("invalid image name {name:?}: {reason}")]
    InvalidName {
        /// The text as given.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused something.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done, as in "cannot … PATH".
        action: &'static str,
        /// The file or directory it was done to.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The compression around an archive, or of a layer in it, is broken or goes past its limits.
    #[error("cannot decompress {}", path.display())]
    Decompress {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        source: vmroot_compress::Error,
    },
    /// A file that is neither a tar nor a directory with images.
    #[error("{} is not an image archive: {reason}", path.display())]
    NotAnArchive {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A docker save archive without its list of images.
    #[error("invalid archive: does not contain a manifest.json ({})", path.display())]
    NoManifestJson {
        /// The archive.
        path: PathBuf,
    },
    /// A `manifest.json` that is `null`.
    #[error("invalid manifest, manifest cannot be null (but can be []) (manifest.json in {})", path.display())]
    NullManifest {
        /// The archive.
        path: PathBuf,
    },
    /// An archive with more in it than anybody needs.
    #[error("{} has too much in it: {what} is over the limit of {limit}", path.display())]
    ArchiveLimit {
        /// The archive.
        path: PathBuf,
        /// The quantity that is too large.
        what: &'static str,
        /// How much there may be.
        limit: u64,
    },
    /// A member that is named in the archive and is not there.
    #[error("{role} {member} not found in {}", path.display())]
    Missing {
        /// The archive or directory.
        path: PathBuf,
        /// What the member is for: `image config`, `layer`, `blob`.
        role: &'static str,
        /// The member.
        member: String,
    },
    /// A member that is longer than anything of its kind.
    #[error("{member} in {} has {size} bytes; {limit} is the limit", path.display())]
    MemberTooLarge {
        /// The archive or directory.
        path: PathBuf,
        /// The member.
        member: String,
        /// Its length.
        size: u64,
        /// The most bytes that it may have.
        limit: u64,
    },
    /// A member that is reached through too many links.
    #[error("{member} in {} is a link that leads through more than {limit} links", path.display())]
    TooManyLinks {
        /// The archive.
        path: PathBuf,
        /// The member.
        member: String,
        /// How many are followed.
        limit: u32,
    },
    /// A member that is not what it must be.
    #[error("{member} in {} {reason}", path.display())]
    Member {
        /// The archive or directory.
        path: PathBuf,
        /// The member.
        member: String,
        /// What is wrong with it, as in "MEMBER in PATH …".
        reason: String,
    },
    /// A document whose fields cannot be what they are.
    #[error("{member} in {}", path.display())]
    Document {
        /// The archive or directory.
        path: PathBuf,
        /// The member.
        member: String,
        /// What is wrong.
        source: vmroot_model::Error,
    },
    /// An image of an archive that has not as many layers as its config says.
    #[error(
        "invalid manifest, layers length mismatch: expected {expected}, got {actual} (image config {config} in {})",
        path.display()
    )]
    LayerCount {
        /// The archive.
        path: PathBuf,
        /// The member that is the config.
        config: String,
        /// How many layers the config describes.
        expected: usize,
        /// How many layers the archive lists for it.
        actual: usize,
    },
    /// A member whose bytes are not those that its name or a descriptor says.
    #[error("{member} in {} should have digest {digest} but has {actual}", path.display())]
    DigestMismatch {
        /// The archive or directory.
        path: PathBuf,
        /// The member.
        member: String,
        /// The digest it should have.
        digest: Digest,
        /// The digest it has.
        actual: Digest,
    },
    /// An archive without a single image.
    #[error("no images in {}", path.display())]
    NoImages {
        /// The archive or directory.
        path: PathBuf,
    },
    /// An image that was asked for and is not in the archive.
    #[error("no image {wanted} in {}; it has {available}", path.display())]
    NoSuchImage {
        /// The archive or directory.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: String,
    },
    /// An archive with several images of which none was asked for, or with several of the name that was.
    #[error("{} has more than one image, choose one of {available}", path.display())]
    SeveralImages {
        /// The archive or directory.
        path: PathBuf,
        /// What there is.
        available: String,
    },
    /// Something that a source was asked for and that is no part of its image.
    #[error("{digest} is not in {place}")]
    Unknown {
        /// The source.
        place: String,
        /// What it was asked for.
        digest: Digest,
    },
    /// A tar that [`validate_tar`](crate::validate_tar) could not open.
    #[error("open tar {}", path.display())]
    OpenTar {
        /// The tar.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A tar that [`validate_tar`](crate::validate_tar) could not read to its end.
    #[error("read tar {}", path.display())]
    ReadTar {
        /// The tar.
        path: PathBuf,
        /// What went wrong.
        source: Box<Error>,
    },
    /// A tar in which [`validate_tar`](crate::validate_tar) found no list of images.
    #[error("manifest.json not found in tar archive {}", path.display())]
    NoManifestInTar {
        /// The tar.
        path: PathBuf,
    },
    /// A tar whose list of images [`validate_tar`](crate::validate_tar) could not read.
    #[error("parse {member} of {}: {reason}", path.display())]
    ParseManifest {
        /// The tar.
        path: PathBuf,
        /// The member that is the list.
        member: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A tar whose list of images is empty.
    #[error("no images in tar archive {}", path.display())]
    NoImagesInTar {
        /// The tar.
        path: PathBuf,
    },
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Registry(error) => error.kind(),
            Self::Missing { .. } | Self::NoSuchImage { .. } | Self::NoImages { .. } | Self::Unknown { .. } => {
                ErrorKind::NotFound
            }
            Self::Io { source, .. } => ErrorKind::of_named_file(source),
            Self::InvalidName { .. } => ErrorKind::Usage,
            Self::Document { source, .. } => source.kind(),
            Self::Decompress { source, .. } => source.kind(),
            Self::ReadTar { source, .. } => source.kind(),
            Self::ArchiveLimit { .. } | Self::MemberTooLarge { .. } | Self::TooManyLinks { .. } => ErrorKind::Limit,
            Self::DigestMismatch { .. }
            | Self::Member { .. }
            | Self::LayerCount { .. }
            | Self::NotAnArchive { .. }
            | Self::NoManifestJson { .. }
            | Self::NullManifest { .. } => ErrorKind::Integrity,
            _ => ErrorKind::Other,
        }
    }

    /// Returns the limit that an input passed, for an error of [`ErrorKind::Limit`] that has one with a name.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Decompress { source, .. } => source.limit(),
            Self::ReadTar { source, .. } => source.limit(),
            _ => None,
        }
    }
}

impl Error {
    /// For `map_err`: adds what was done, and to which file, to what the system said.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn member_too_large(path: &Path, member: &str, size: u64, limit: u64) -> Self {
        Self::MemberTooLarge { path: path.to_owned(), member: member.to_owned(), size, limit }
    }

    pub(crate) fn member(path: &Path, member: &str, reason: impl Into<String>) -> Self {
        Self::Member { path: path.to_owned(), member: member.to_owned(), reason: reason.into() }
    }
}
