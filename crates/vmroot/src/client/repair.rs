//! Repair of a cache, with the sources of its images.

use std::path::Path;

use vmroot_errors::ErrorKind;
use vmroot_image_store::{ImageOrigins, QuarantinedFile, Record, VerifyReport};
use vmroot_transport::{Error as SourceError, Format, ImageName, ImageSelector, ImageSource};

use super::Client;
use crate::Result;

/// Options of [`Client::repair`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RepairOptions {
    /// Whether registries are not asked. Archives and layouts on this machine are read all the same.
    pub offline: bool,
}

/// The sources of a client's images.
struct Origins<'a> {
    client: &'a Client,
    options: &'a RepairOptions,
}

/// The error of a registry that is not asked.
#[derive(Debug, thiserror::Error)]
#[error("not asked, because the repair is offline")]
struct Offline;

impl Client {
    /// Verifies every file in the cache, and repairs the damaged ones.
    ///
    /// A blob is fetched again from the registry, archive or layout that the image came from. A layer is rebuilt from its
    /// blob, a root from its layers, a record from its other copy. A damaged file that cannot be repaired is moved to the
    /// quarantine of the cache: see [`Self::quarantined`]. Other threads and processes may use the cache meanwhile.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// use vmroot::{FindingState, RepairOptions};
    ///
    /// let image = client.pull("oci:../../testdata/demo:demo")?;
    /// std::fs::remove_file(client.root_index(&image)).unwrap();
    /// assert!(!client.verify()?.is_whole());
    /// let report = client.repair(&RepairOptions::default())?;
    /// assert!(report.is_whole() && report.count(FindingState::Repaired) == 1);
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// The cache cannot be read. A file that cannot be repaired is part of the result, and no error.
    pub fn repair(&self, options: &RepairOptions) -> Result<VerifyReport> {
        Ok(self.store.repair(&Origins { client: self, options }, &self.progress)?)
    }

    /// Returns the damaged files in the quarantine of the cache, the oldest first.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn quarantined(&self) -> Result<Vec<QuarantinedFile>> {
        Ok(self.store.quarantined()?)
    }

    /// Removes the files in the quarantine, and returns them.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn empty_quarantine(&self) -> Result<Vec<QuarantinedFile>> {
        Ok(self.store.empty_quarantine()?)
    }

    /// Opens the archive, layout or directory that an image was loaded from. Returns `None` if its name is not that of
    /// one, as for a commit.
    fn open_origin(&self, origin: &str) -> std::result::Result<Option<Box<dyn ImageSource>>, SourceError> {
        if !ImageName::is_archive(origin) {
            return Ok(None);
        }
        let Ok(name) = ImageName::parse(origin) else { return Ok(None) };
        let is_file = |path: &Path| {
            // A pipe and standard input had their bytes once.
            !path.starts_with("/dev") && !path.starts_with("/proc") && (path.is_file() || path.is_dir())
        };
        match &name {
            ImageName::Tarball(files) if files.files().iter().any(|path| !is_file(path.as_ref())) => Ok(None),
            _ if name.path().is_some_and(|path| !is_file(path)) => Err(missing(origin)),
            _ => match self
                .source_of(&name, None)
                .or_else(|error| self.source_of(&first_of_layout(&name).ok_or(error)?, None))
            {
                Ok((source, _)) => Ok(Some(source)),
                Err(error) => Err(SourceError::other(origin.to_owned(), error.kind(), error)),
            },
        }
    }
}

/// Returns the name of the first image of an OCI layout. All images of a layout share its blobs, so it serves those of an
/// image that has lost its name there.
fn first_of_layout(name: &ImageName) -> Option<ImageName> {
    match name {
        ImageName::Archive { format: format @ (Format::OciLayout | Format::OciArchive), path, .. } => {
            let selector = ImageSelector::Index(0);
            Some(ImageName::Archive { format: *format, path: path.clone(), selector })
        }
        _ => None,
    }
}

fn missing(origin: &str) -> SourceError {
    let cause = std::io::Error::new(std::io::ErrorKind::NotFound, "the file is not there any more");
    SourceError::other(origin.to_owned(), ErrorKind::NotFound, cause)
}

impl ImageOrigins for Origins<'_> {
    fn open(&self, record: &Record) -> std::result::Result<Option<Box<dyn ImageSource>>, SourceError> {
        match (&record.loaded_from, &record.reference) {
            (Some(origin), _) => self.client.open_origin(origin),
            (None, Some(reference)) if self.options.offline => {
                Err(SourceError::other(reference.domain().to_owned(), ErrorKind::Unreachable, Offline))
            }
            (None, Some(reference)) => match self.client.repository(reference.clone()) {
                Ok((source, _)) => Ok(Some(source)),
                Err(error) => Err(SourceError::other(reference.to_string(), error.kind(), error)),
            },
            (None, None) => Ok(None),
        }
    }
}
