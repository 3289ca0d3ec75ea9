//! Opening of destinations in files and directories.

use std::path::{Path, PathBuf};

use vmroot_model::{Digest, Reference};

use crate::dir::DirDestination;
use crate::docker_archive::DockerArchiveDestination;
use crate::oci_archive::OciArchiveDestination;
use crate::oci_layout::{self, OciLayoutDestination};
use crate::{Error, Format, ImageDestination, ImageName, ImageSelector, LayerForm, Result};

/// Options for writing images to files and directories.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DestinationOptions {
    /// The directory for the blobs of an archive that is written to a pipe. They are in an unnamed file, which exists
    /// until the archive is written. The blobs of other archives are beside them.
    pub spool: PathBuf,
    /// Further names for the image of a docker save archive. Each has a tag, or stands for `latest`.
    pub additional_tags: Vec<Reference>,
    /// A directory with the blobs of several OCI layouts, instead of the layout's own `blobs`.
    pub shared_blob_dir: Option<PathBuf>,
    /// Whether plain layers of OCI layouts and archives stay plain. By default they are compressed.
    pub accept_uncompressed_layers: bool,
    /// The treatment of layers in a `dir:` directory. By default they stay as they are.
    pub dir_layers: LayerForm,
    /// The time of the members of an archive, in seconds since 1970. By default it is 0.
    pub timestamp: Option<u64>,
    /// Whether the destination is only asked what it has, and nothing is created. A commit is then an error.
    pub dry_run: bool,
}

impl DestinationOptions {
    /// Creates the default options.
    pub fn new(spool: impl Into<PathBuf>) -> Self {
        Self {
            spool: spool.into(),
            additional_tags: Vec::new(),
            shared_blob_dir: None,
            accept_uncompressed_layers: false,
            dir_layers: LayerForm::Keep,
            timestamp: None,
            dry_run: false,
        }
    }
}

/// Opens a destination in a file or directory: `oci:`, `oci-archive:`, `dir:` or `docker-archive:`.
///
/// | transport | an existing file or directory |
/// |---|---|
/// | `oci` | keeps its images; one with the same name loses the name |
/// | `oci-archive` | is replaced |
/// | `dir` | is replaced if a `dir:` destination wrote it, else it must be empty |
/// | `docker-archive` | must be empty |
///
/// The directories of layouts and of `dir:` are created, with their parents, unless
/// [`DestinationOptions::dry_run`] is set. Archives can be written to pipes, such as `/dev/stdout`.
///
/// # Errors
/// - [`Error::InvalidName`]: the transport is another one, or the name selects an image by its index, or an additional
///   tag has a digest.
/// - [`Error::Occupied`]: the file or directory has contents that would be lost.
/// - [`Error::Member`]: the version or index of an existing layout or directory is not understood.
/// - [`Error::Io`]: a file or directory cannot be created.
pub fn open_destination(name: &ImageName, options: &DestinationOptions) -> Result<Box<dyn ImageDestination>> {
    let invalid = |reason: &str| Error::InvalidName { name: name.to_string(), reason: reason.to_owned() };
    let ImageName::Archive { format, path, selector } = name else {
        return Err(invalid(match name {
            ImageName::Storage(_) | ImageName::Tarball(_) | ImageName::Sif(_) => {
                "images of this transport are read-only"
            }
            _ => "the destination is not a file or directory",
        }));
    };
    let image = match selector {
        ImageSelector::Only => None,
        ImageSelector::Name(image) => Some(image.clone()),
        ImageSelector::Index(_) => {
            return Err(invalid("@N selects an image to read; a destination has a name, or none"));
        }
    };
    if options.additional_tags.iter().any(|tag| tag.digest().is_some()) {
        return Err(invalid("an additional tag has no digest"));
    }
    Ok(match format {
        Format::OciLayout => Box::new(OciLayoutDestination::open(path, image, options)?),
        Format::OciArchive => Box::new(OciArchiveDestination::open(path, image, options)?),
        Format::Dir => Box::new(DirDestination::open(path, options)?),
        Format::DockerArchive => {
            let reference = image.map(|image| Reference::parse(&image)).transpose();
            let reference = reference.map_err(|error| invalid(&error.to_string()))?;
            Box::new(DockerArchiveDestination::open(path, reference, options)?)
        }
    })
}

/// Removes an image from an OCI layout: its entry in the index, and the blobs that no other image of the layout uses.
/// Blobs in a shared directory stay, because other layouts may use them. Returns the digests of the removed manifests
/// and indexes.
///
/// # Errors
/// - [`Error::InvalidName`]: the transport is not `oci`.
/// - [`Error::NoSuchImage`], [`Error::SeveralImages`], [`Error::NoImages`]: the name does not select one image.
/// - [`Error::Member`], [`Error::Document`]: the index or a manifest is not understood, so the use of blobs is unknown.
/// - [`Error::Io`]: a file cannot be read, changed or removed.
pub fn delete_image(name: &ImageName, shared_blob_dir: Option<&Path>) -> Result<Vec<Digest>> {
    match name {
        ImageName::Archive { format: Format::OciLayout, path, selector } => {
            oci_layout::delete(path, selector, shared_blob_dir)
        }
        _ => {
            let reason = "of the files and directories, only oci: can delete an image".to_owned();
            Err(Error::InvalidName { name: name.to_string(), reason })
        }
    }
}
