//! Opening whatever a file or a directory holds.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmroot_compress::Limits;

use crate::bundle::{Bundle, Directory};
use crate::dir::DirImage;
use crate::docker_archive::{DockerArchive, MANIFEST_JSON, REPOSITORIES};
use crate::oci_layout::{INDEX_JSON, OCI_LAYOUT, OciLayout};
use crate::pick::{self, ArchiveImage, Pick};
use crate::source::ImageSource;
use crate::spool::open_plain;
use crate::tar_members::TarMembers;
use crate::{Error, Result};

/// How to open archives.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the plain form of a compressed archive goes while it is in use: an unnamed file, as long as that form.
    pub spool: PathBuf,
    /// How far the compression around an archive may go.
    pub limits: Limits,
}

/// The forms in which images are kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// What `docker save` writes.
    DockerArchive,
    /// An OCI layout in a directory.
    OciLayout,
    /// A tar of an OCI layout.
    OciArchive,
    /// A directory of one image's parts, as skopeo writes it.
    Dir,
}

impl Format {
    /// The name of the transport, as in `oci:PATH`.
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

/// A file or a directory with images in it.
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

impl Archive {
    /// Opens a file or a directory in whichever form it is.
    ///
    /// A tar that is both a docker save archive and an OCI layout is read as the first: only its list has the names of
    /// all images, and only their parts are sure to be there.
    ///
    /// # Errors
    /// [`Error::NoManifestJson`] or [`Error::NotAnArchive`] where it is in none; whatever can be wrong with it.
    pub fn open(path: &Path, options: &Options) -> Result<Self> {
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
        let is_docker = members.has(MANIFEST_JSON) || members.has(REPOSITORIES);
        let is_oci = members.has(OCI_LAYOUT) || members.has(INDEX_JSON);
        let format = if !is_docker && is_oci { Format::OciArchive } else { Format::DockerArchive };
        Self::read(path, format, Arc::new(members), options)
    }

    /// Opens a file or a directory that must be in one form.
    ///
    /// # Errors
    /// Whatever can be wrong with it.
    pub fn open_as(format: Format, path: &Path, options: &Options) -> Result<Self> {
        let bundle: Arc<dyn Bundle> = match format {
            Format::DockerArchive | Format::OciArchive => Arc::new(TarMembers::scan(path, open_plain(path, options)?)?),
            Format::OciLayout | Format::Dir => Arc::new(Directory(path.to_owned())),
        };
        Self::read(path, format, bundle, options)
    }

    fn read(path: &Path, format: Format, bundle: Arc<dyn Bundle>, options: &Options) -> Result<Self> {
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

    /// The form it is in.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The images in it, in its own order; there may be none.
    pub fn images(&self) -> &[ArchiveImage] {
        &self.images
    }

    /// Finds one image.
    ///
    /// # Errors
    /// [`Error::NoImages`], [`Error::NoSuchImage`], or [`Error::SeveralImages`] with the list of them.
    pub fn select(&self, pick: &Pick) -> Result<ArchiveImage> {
        pick::select(&self.path, &self.images, pick)
    }

    /// Makes a source of one image, which [`Self::images`] or [`Self::select`] gave.
    ///
    /// It reads from the archive, and needs this value no longer.
    ///
    /// # Errors
    /// Whatever can be wrong with the image: members that are missing, another number of layers than its config says.
    pub fn source(&self, image: &ArchiveImage) -> Result<Box<dyn ImageSource>> {
        Ok(match &self.reader {
            Reader::Docker(archive) => Box::new(archive.source(image.index)?),
            Reader::Oci(layout) => Box::new(layout.source(image, self.format.transport())?),
            Reader::Dir(image) => Box::new(image.clone()),
        })
    }
}
