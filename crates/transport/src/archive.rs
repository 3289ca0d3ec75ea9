//! Opening of archives and directories with images.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmroot_compress::Limits;

use crate::bundle::{Bundle, Directory};
use crate::dir::DirImage;
use crate::docker_archive::{DockerArchive, MANIFEST_JSON, REPOSITORIES};
use crate::foreign::ForeignLayers;
use crate::oci_layout::{INDEX_JSON, OCI_LAYOUT, OciLayout};
use crate::selector::{self, ArchiveImage, ImageSelector};
use crate::source::ImageSource;
use crate::spool::open_plain;
use crate::tar_members::TarMembers;
use crate::{Error, Result};

/// Options for opening archives.
#[derive(Clone)]
pub struct ArchiveOptions {
    /// The directory for the decompressed form of a compressed archive. It is an unnamed file, which exists while the
    /// archive is in use.
    pub spool: PathBuf,
    /// The limits on decompressing an archive.
    pub limits: Limits,
    /// Called while an archive is read as a whole first: one that is compressed, or comes through a pipe.
    pub reading: Option<ReadingHook>,
}

/// A callback with the bytes that were read of a file or a pipe, and those of the whole if they are known. The first call
/// has none, and the last one the same number twice.
pub type ReadingHook = Arc<dyn Fn(u64, Option<u64>) + Send + Sync>;

impl fmt::Debug for ArchiveOptions {
    /// Omits the callback.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveOptions")
            .field("spool", &self.spool)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The formats of archives and directories with images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// An archive from `docker save`.
    DockerArchive,
    /// An OCI layout in a directory.
    OciLayout,
    /// A tar of an OCI layout.
    OciArchive,
    /// A directory with the parts of one image, as `skopeo copy … dir:PATH` writes it.
    Dir,
}

impl Format {
    /// Returns the name of the transport, as in `oci:PATH`.
    pub const fn transport(self) -> &'static str {
        match self {
            Self::DockerArchive => "docker-archive",
            Self::OciLayout => "oci",
            Self::OciArchive => "oci-archive",
            Self::Dir => "dir",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.transport())
    }
}

/// An open archive or directory with images.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    format: Format,
    reader: Reader,
    images: Vec<ArchiveImage>,
}

#[derive(Debug)]
enum Reader {
    Docker(DockerArchive),
    Oci(OciLayout),
    Dir(DirImage),
}

/// The lists of images that one file or directory has. Each image can be in both.
#[derive(Debug)]
pub struct ArchiveLists {
    /// The OCI layout, if there is a valid one.
    pub layout: Option<Archive>,
    /// The archive as `docker save` lists it, or the image of a `dir:` directory.
    pub list: Option<Archive>,
}

impl ArchiveLists {
    /// Opens a file or directory, and reads each list that it has.
    ///
    /// Since version 25, `docker save` writes a tar with both lists. Only the layout has the digests of the manifests, and
    /// only `manifest.json` has all images: an image without a name may be missing in the layout.
    ///
    /// # Errors
    /// As for [`Archive::open`]. A layout that cannot be read is an error only if there is no other list.
    pub fn open(path: &Path, options: &ArchiveOptions) -> Result<Self> {
        if path.is_dir() {
            let archive = Archive::open(path, options)?;
            return Ok(match archive.format {
                Format::OciLayout => Self { layout: Some(archive), list: None },
                _ => Self { layout: None, list: Some(archive) },
            });
        }
        let members = Arc::new(TarMembers::scan(path, open_plain(path, options)?)?);
        let is_docker = members.contains(MANIFEST_JSON) || members.contains(REPOSITORIES);
        let is_oci = members.contains(OCI_LAYOUT) || members.contains(INDEX_JSON);
        let read = |format| Archive::read(path, format, Arc::clone(&members) as Arc<dyn Bundle>, options);
        let list = if is_docker || !is_oci { Some(read(Format::DockerArchive)?) } else { None };
        let layout = match is_oci.then(|| read(Format::OciArchive)) {
            Some(Err(error)) if list.is_none() => return Err(error),
            Some(layout) => layout.ok(),
            None => None,
        };
        Ok(Self { layout, list })
    }
}

impl Archive {
    /// Opens a file or directory and detects its format.
    ///
    /// A tar that is both a docker save archive and an OCI layout is opened as the former: only its list has the names
    /// of all images, and the blobs of the OCI index may be missing.
    ///
    /// # Errors
    /// - [`Error::NoManifestJson`]: the file is a tar without images.
    /// - [`Error::NotAnArchive`]: the file is not a tar, or the directory has no image.
    /// - [`Error::Decompress`]: the compression is broken or exceeds the limits.
    /// - [`Error::Io`]: the file cannot be read, or the decompressed form cannot be written.
    /// - Any other variant if a member is malformed, too large or missing.
    pub fn open(path: &Path, options: &ArchiveOptions) -> Result<Self> {
        if path.is_dir() {
            let bundle = Directory(path.to_owned());
            let format = if bundle.find(OCI_LAYOUT)?.is_some() {
                Format::OciLayout
            } else if bundle.find(MANIFEST_JSON)?.is_some() {
                Format::Dir
            } else {
                let reason = format!("the directory has neither {OCI_LAYOUT} nor {MANIFEST_JSON}");
                return Err(Error::NotAnArchive { path: path.to_owned(), reason });
            };
            return Self::read(path, format, Arc::new(bundle), options);
        }
        let members = TarMembers::scan(path, open_plain(path, options)?)?;
        let is_docker = members.contains(MANIFEST_JSON) || members.contains(REPOSITORIES);
        let is_oci = members.contains(OCI_LAYOUT) || members.contains(INDEX_JSON);
        let format = if !is_docker && is_oci { Format::OciArchive } else { Format::DockerArchive };
        Self::read(path, format, Arc::new(members), options)
    }

    /// Opens a file or directory in a given format.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_as(format: Format, path: &Path, options: &ArchiveOptions) -> Result<Self> {
        let bundle: Arc<dyn Bundle> = match format {
            Format::DockerArchive | Format::OciArchive => Arc::new(TarMembers::scan(path, open_plain(path, options)?)?),
            Format::OciLayout | Format::Dir => Arc::new(Directory(path.to_owned())),
        };
        Self::read(path, format, bundle, options)
    }

    fn read(path: &Path, format: Format, bundle: Arc<dyn Bundle>, options: &ArchiveOptions) -> Result<Self> {
        let reader = match format {
            Format::DockerArchive => Reader::Docker(DockerArchive::open(bundle, options.limits)?),
            Format::OciLayout | Format::OciArchive => Reader::Oci(OciLayout::open(bundle)?),
            Format::Dir => Reader::Dir(DirImage::open(bundle)?),
        };
        let images = match &reader {
            Reader::Docker(archive) => archive.images(),
            Reader::Oci(layout) => layout.images(),
            Reader::Dir(_) => vec![ArchiveImage::new(0, Vec::new(), Vec::new())],
        };
        Ok(Self { path: path.to_owned(), format, reader, images })
    }

    /// Reads the blobs of an OCI layout from a directory that several layouts share: it has a directory for each
    /// algorithm, like a layout's own `blobs`. Other formats ignore it.
    #[must_use]
    pub fn with_shared_blobs(mut self, directory: &Path) -> Self {
        if let Reader::Oci(layout) = &mut self.reader {
            layout.share_blobs(directory);
        }
        self
    }

    /// Fetches the foreign layers that an OCI layout or archive does not have. Other formats ignore it.
    #[must_use]
    pub fn with_foreign_layers(mut self, foreign: ForeignLayers) -> Self {
        if let Reader::Oci(layout) = &mut self.reader {
            layout.fetch_foreign(foreign);
        }
        self
    }

    /// Returns the format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the images, in the order of the archive's list. There may be none.
    pub fn images(&self) -> &[ArchiveImage] {
        &self.images
    }

    /// Returns the names of all images as written in the archive, in its order, and `@N` for an image without a name.
    pub fn tags(&self) -> Vec<String> {
        let names = |image: &ArchiveImage| match &image.names[..] {
            [] => vec![format!("@{}", image.index)],
            names => names.to_vec(),
        };
        self.images.iter().flat_map(names).collect()
    }

    /// Finds one image.
    ///
    /// # Errors
    /// - [`Error::NoImages`]: the archive has no images.
    /// - [`Error::NoSuchImage`]: no image is selected. Lists the images.
    /// - [`Error::SeveralImages`]: several images are selected. Lists them.
    pub fn select(&self, selector: &ImageSelector) -> Result<ArchiveImage> {
        // An index counts all entries, also those that are not images by themselves, such as attestations.
        if let (Reader::Oci(layout), &ImageSelector::Index(index)) = (&self.reader, selector)
            && !self.images.iter().any(|image| image.entries.contains(&index))
            && let Some(image) = layout.entry(index)
        {
            return Ok(image);
        }
        selector::select(&self.path, &self.images, selector)
    }

    /// Returns an image as its entries in the list, each an image of its own. There are several if some tool has written
    /// one entry for each platform.
    pub fn entries(&self, image: &ArchiveImage) -> Vec<ArchiveImage> {
        match &self.reader {
            Reader::Oci(layout) => image.entries.iter().filter_map(|&entry| layout.entry(entry)).collect(),
            Reader::Docker(_) | Reader::Dir(_) => vec![image.clone()],
        }
    }

    /// Returns the path of the archive.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a source of one of the archive's images, from [`Self::images`] or [`Self::select`].
    ///
    /// The source keeps the archive open and does not borrow this value.
    ///
    /// # Errors
    /// - [`Error::Missing`]: a member of the image is missing.
    /// - [`Error::LayerCount`]: the numbers of layers in the list and in the config differ.
    /// - [`Error::DigestMismatch`]: the config does not have the digest in its name.
    /// - [`Error::NoImages`]: the image is of another archive.
    /// - Any other variant if a member cannot be read or parsed.
    pub fn source(&self, image: &ArchiveImage) -> Result<Box<dyn ImageSource>> {
        Ok(match &self.reader {
            Reader::Docker(archive) => Box::new(archive.source(image.index)?),
            Reader::Oci(layout) => Box::new(layout.source(image, self.format.transport())?),
            Reader::Dir(image) => Box::new(image.clone()),
        })
    }
}
