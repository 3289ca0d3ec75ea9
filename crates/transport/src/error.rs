//! Errors from reading images from registries, archives and directories.

use std::io;
use std::path::{Path, PathBuf};

use vmroot_errors::{ErrorKind, Limit};
use vmroot_model::Digest;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from reading an image from a registry, an archive or a directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error from a registry.
    #[cfg(feature = "registry")]
    #[error(transparent)]
    Registry(#[from] vmroot_registry::Error),
    /// Neither a mirror nor the mirrored place has the image.
    #[cfg(feature = "registry")]
    #[error("all mirrors failed: {mirrors}; then {place} failed")]
    AllPlaces {
        /// The mirrors with their errors.
        mirrors: String,
        /// The place that was tried last.
        place: vmroot_model::Reference,
        /// The error of that place.
        source: Box<Error>,
    },
    /// The configuration forbids the use of a repository.
    #[cfg(feature = "registry")]
    #[error("{reference} is blocked in {}", file.display())]
    Blocked {
        /// The image in the repository.
        reference: vmroot_model::Reference,
        /// The file that says so.
        file: PathBuf,
    },
    /// A source without places.
    #[cfg(feature = "registry")]
    #[error("{reference} has no place to be read from")]
    NoPlace {
        /// The image.
        reference: vmroot_model::Reference,
    },
    /// An image is not accepted by the policy on signatures.
    #[error(transparent)]
    RefusedByPolicy(vmroot_signatures::Refused),
    /// An image has no name in policies.
    #[error(transparent)]
    Name(#[from] vmroot_signatures::Error),
    /// An image has more signatures than are examined.
    #[error("{place} has more than {limit} signatures")]
    TooManySignatures {
        /// The image, or the directory with the signatures.
        place: String,
        /// The largest number of signatures.
        limit: usize,
    },
    /// A destination has no place for the signatures of an image.
    #[error("cannot write signatures to {place}: {reason}")]
    CannotHoldSignatures {
        /// The destination.
        place: String,
        /// The reason.
        reason: String,
    },
    /// A name that is not `TRANSPORT:details`, or whose details the transport does not accept.
    #[error("invalid image name {name:?}: {reason}")]
    InvalidName {
        /// The text that was parsed.
        name: String,
        /// The reason.
        reason: String,
    },
    /// A system call failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The action that failed, as in "cannot ACTION PATH".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The compressed stream of an archive, or of a layer in it, is damaged or exceeds a limit.
    #[error("cannot decompress {}", path.display())]
    Decompress {
        /// The archive.
        path: PathBuf,
        /// The cause.
        source: vmroot_compress::Error,
    },
    /// A file that is not a tar archive, or a directory without images.
    #[error("{} is not an image archive: {reason}", path.display())]
    NotAnArchive {
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A `docker save` archive without `manifest.json`.
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
    /// An archive that exceeds a limit.
    #[error("{} is too large: {what} exceeds the limit of {limit}", path.display())]
    ArchiveLimit {
        /// The archive.
        path: PathBuf,
        /// The quantity that is too large.
        what: &'static str,
        /// The largest allowed quantity.
        limit: u64,
    },
    /// A member that the archive refers to but does not contain.
    #[error("{role} {member} not found in {}", path.display())]
    Missing {
        /// The archive or directory.
        path: PathBuf,
        /// The role of the member: `image config`, `layer`, `blob`.
        role: &'static str,
        /// The member.
        member: String,
    },
    /// A member that exceeds the size limit of its kind.
    #[error("{member} in {} has {size} bytes; {limit} is the limit", path.display())]
    MemberTooLarge {
        /// The archive or directory.
        path: PathBuf,
        /// The member.
        member: String,
        /// Its length in bytes.
        size: u64,
        /// The largest allowed length in bytes.
        limit: u64,
    },
    /// A member that is reached through too many links.
    #[error("{member} in {} is a link that leads through more than {limit} links", path.display())]
    TooManyLinks {
        /// The archive.
        path: PathBuf,
        /// The member.
        member: String,
        /// The largest number of links that are followed.
        limit: u32,
    },
    /// A member with invalid contents.
    #[error("{member} in {} {reason}", path.display())]
    Member {
        /// The archive or directory.
        path: PathBuf,
        /// The member.
        member: String,
        /// The reason, as in "MEMBER in PATH REASON".
        reason: String,
    },
    /// A document that cannot be parsed.
    #[error("{member} in {}", path.display())]
    Document {
        /// The archive or directory.
        path: PathBuf,
        /// The member.
        member: String,
        /// The cause.
        source: vmroot_model::Error,
    },
    /// An image whose number of layers in the archive differs from its config.
    #[error(
        "invalid manifest, layers length mismatch: expected {expected}, got {actual} (image config {config} in {})",
        path.display()
    )]
    LayerCount {
        /// The archive.
        path: PathBuf,
        /// The member that is the config.
        config: String,
        /// The number of layers in the config.
        expected: usize,
        /// The number of layers that the archive lists.
        actual: usize,
    },
    /// A member whose digest differs from its name or its descriptor.
    #[error("{member} in {} should have digest {digest} but has {actual}", path.display())]
    DigestMismatch {
        /// The archive or directory.
        path: PathBuf,
        /// The member.
        member: String,
        /// The expected digest.
        digest: Digest,
        /// The digest of its bytes.
        actual: Digest,
    },
    /// An archive without images.
    #[error("no images in {}", path.display())]
    NoImages {
        /// The archive or directory.
        path: PathBuf,
    },
    /// The requested image is not in the archive.
    #[error("no image {wanted} in {}, which has {available}", path.display())]
    NoSuchImage {
        /// The archive or directory.
        path: PathBuf,
        /// The requested image.
        wanted: String,
        /// The images in the archive.
        available: String,
    },
    /// The requested image is not in a store of containers-storage.
    #[error("no image {wanted} in the store {}; it has {available}", path.display())]
    NoStoredImage {
        /// The directory of the store.
        path: PathBuf,
        /// The requested image.
        wanted: String,
        /// The images in the store.
        available: String,
    },
    /// A directory that is no store with images of the drivers overlay or vfs.
    #[error("no images of the drivers overlay or vfs in the store {}", path.display())]
    EmptyStore {
        /// The directory of the store.
        path: PathBuf,
    },
    /// An archive with several images and no request for one of them, or with several images of the requested name.
    #[error("{} has more than one image: {available}", path.display())]
    SeveralImages {
        /// The archive or directory.
        path: PathBuf,
        /// The images in the archive.
        available: String,
    },
    /// A blob whose size or digest differs from its descriptor.
    #[error("{place}: blob {digest} {reason}")]
    WrongBlob {
        /// The source's name.
        place: String,
        /// The digest of the descriptor.
        digest: Digest,
        /// The reason, as in "the blob REASON".
        reason: String,
    },
    /// A document that exceeds the size limit of its kind.
    #[error("{place}: blob {digest} has {size} bytes; {limit} is the limit")]
    BlobTooLarge {
        /// The source's name.
        place: String,
        /// The digest of the descriptor.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// The largest allowed size in bytes.
        limit: u64,
    },
    /// A blob that cannot be read.
    #[error("{place}: cannot read blob {digest}")]
    ReadBlob {
        /// The source's name.
        place: String,
        /// The digest of the descriptor.
        digest: Digest,
        /// The cause.
        source: io::Error,
    },
    /// A blob that is made on its way to the destination cannot be read or converted.
    #[error("cannot make a blob for {place}")]
    ReadNewBlob {
        /// The destination's name.
        place: String,
        /// The cause.
        source: io::Error,
    },
    /// An error of a source or destination that another crate implements.
    #[error("{place}")]
    Other {
        /// The name of the source or destination.
        place: String,
        /// The meaning of the error.
        kind: ErrorKind,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The destination does not take a manifest of this type, or with these contents.
    #[error("{place} does not accept the manifest ({media_type}): {reason}")]
    Refused {
        /// The destination's name.
        place: String,
        /// The media type of the manifest.
        media_type: String,
        /// The reason.
        reason: String,
    },
    /// A blob could not be read on its way to a destination: its source failed, or its bytes do not have its digest.
    #[error("cannot read a blob for {}", path.display())]
    Blob {
        /// The file or directory of the destination.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A commit of a destination without a manifest, or a second commit.
    #[error("no manifest was written to {place}")]
    NoManifest {
        /// The destination's name.
        place: String,
    },
    /// A destination that would have to change or remove files of another kind.
    #[error("cannot write to {}: {reason}", path.display())]
    Occupied {
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        reason: &'static str,
    },
    /// The requested blob is not part of the source's image.
    #[error("{digest} is not in {place}")]
    Unknown {
        /// The source's name.
        place: String,
        /// The requested digest.
        digest: Digest,
    },
    /// A Docker engine that does not answer, or whose connection broke.
    #[error("cannot reach the Docker engine at {host}: {reason}")]
    DaemonUnreachable {
        /// The engine's address.
        host: String,
        /// The reason.
        reason: String,
    },
    /// A Docker engine that answered with an error.
    #[error("the Docker engine at {host} did not {action}: {reason}")]
    DaemonRefused {
        /// The engine's address.
        host: String,
        /// The action, as in "did not ACTION".
        action: &'static str,
        /// The status of the response. It can be 200 for an error while an image is loaded.
        status: u16,
        /// The engine's reason.
        reason: String,
    },
    /// Certificates or a key for a Docker engine that cannot be used.
    #[error("cannot use the certificates in {}: {reason}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The caller cancelled the work.
    #[error("cancelled")]
    Cancelled,
    /// A tar that [`validate_tar`](crate::validate_tar) could not open.
    #[error("open tar {}", path.display())]
    OpenTar {
        /// The tar.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A tar that [`validate_tar`](crate::validate_tar) could not read to its end.
    #[error("read tar {}", path.display())]
    ReadTar {
        /// The tar.
        path: PathBuf,
        /// The cause.
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
        /// The reason.
        reason: String,
    },
    /// A tar whose list of images is empty.
    #[error("no images in tar archive {}", path.display())]
    NoImagesInTar {
        /// The tar.
        path: PathBuf,
    },
}

impl From<vmroot_output::Error> for Error {
    fn from(error: vmroot_output::Error) -> Self {
        Self::Io { action: error.action, path: error.path, source: error.source }
    }
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            #[cfg(feature = "registry")]
            Self::Registry(error) => error.kind(),
            #[cfg(feature = "registry")]
            Self::AllPlaces { source, .. } => source.kind(),
            Self::Missing { .. }
            | Self::NoSuchImage { .. }
            | Self::NoStoredImage { .. }
            | Self::EmptyStore { .. }
            | Self::NoImages { .. }
            | Self::Unknown { .. } => ErrorKind::NotFound,
            Self::Io { source, .. } => ErrorKind::of_named_file(source),
            Self::Blob { source, .. } if source.kind() == io::ErrorKind::InvalidData => ErrorKind::Integrity,
            Self::Blob { source, .. } => ErrorKind::of_io(source),
            Self::DaemonRefused { status: 404, .. } => ErrorKind::NotFound,
            Self::DaemonRefused { status: 401 | 403, .. } => ErrorKind::Authentication,
            Self::DaemonUnreachable { .. } => ErrorKind::Unreachable,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::InvalidName { .. } => ErrorKind::Usage,
            Self::Document { source, .. } => source.kind(),
            Self::Decompress { source, .. } => source.kind(),
            Self::ReadTar { source, .. } => source.kind(),
            Self::ArchiveLimit { .. } | Self::MemberTooLarge { .. } | Self::TooManyLinks { .. } => ErrorKind::Limit,
            Self::ReadBlob { source, .. } | Self::ReadNewBlob { source, .. }
                if source.kind() == io::ErrorKind::InvalidData =>
            {
                ErrorKind::Integrity
            }
            Self::ReadBlob { source, .. } | Self::ReadNewBlob { source, .. } => ErrorKind::of_io(source),
            Self::Other { kind, .. } => *kind,
            Self::BlobTooLarge { .. } | Self::TooManySignatures { .. } => ErrorKind::Limit,
            Self::RefusedByPolicy(_) => ErrorKind::Policy,
            Self::Name(error) => error.kind(),
            Self::WrongBlob { .. }
            | Self::DigestMismatch { .. }
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
    /// Returns a closure for `map_err` that adds the action and the path to the system's error.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Creates an error of a source or destination that another crate implements.
    pub fn other(place: String, kind: ErrorKind, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Other { place, kind, source: Box::new(source) }
    }

    /// Converts an error of a blob's reader, which may contain an error of this crate.
    pub fn of_reader(error: io::Error, place: String, digest: Digest) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(source) => Self::ReadBlob { place, digest, source },
        }
    }

    /// Converts an error of a blob's reader, for the destination at `path`. An error of a source is returned as it is.
    pub(crate) fn reading_blob(path: &Path, error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(source) => Self::Blob { path: path.to_owned(), source },
        }
    }

    pub(crate) fn member_too_large(path: &Path, member: &str, size: u64, limit: u64) -> Self {
        Self::MemberTooLarge { path: path.to_owned(), member: member.to_owned(), size, limit }
    }

    pub(crate) fn member(path: &Path, member: &str, reason: impl Into<String>) -> Self {
        Self::Member { path: path.to_owned(), member: member.to_owned(), reason: reason.into() }
    }
}
