//! Saving of images into one tar that Docker, podman, skopeo and buildah load.

mod blobs;
mod legacy;
pub(crate) mod lists;
mod names;

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::str::FromStr;
use std::sync::Arc;

use vmroot_model::Platform;
use vmroot_output::OutputFile;
use vmroot_transport::TarWriter;

use self::blobs::Blobs;
use self::names::Selected;
use crate::{Error, Progress, Record, Result, Store};

/// The permission bits of the members.
const MODE: u32 = 0o644;

/// The form of a saved archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SaveFormat {
    /// The form of `docker save` since version 25: the tar is a docker save archive and an OCI layout at once. Layers
    /// and manifests have the bytes that were pulled or loaded.
    #[default]
    DockerArchive,
    /// The form of `docker save` up to version 24: a directory for each layer, with its uncompressed `layer.tar`.
    DockerArchiveV24,
    /// An OCI layout, without the lists of `docker save`.
    OciArchive,
}

impl SaveFormat {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::DockerArchive, Self::DockerArchiveV24, Self::OciArchive];

    /// Returns the name for `--format`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DockerArchive => "docker-archive",
            Self::DockerArchiveV24 => "docker-archive-v24",
            Self::OciArchive => "oci-archive",
        }
    }
}

impl fmt::Display for SaveFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SaveFormat {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let found = Self::ALL.into_iter().find(|format| format.name() == text);
        found.ok_or_else(|| format!("{text}: expected docker-archive, docker-archive-v24 or oci-archive"))
    }
}

/// Options of [`Store::save`].
#[derive(Debug, Clone, Default)]
pub struct SaveOptions {
    /// The form of the archive.
    pub format: SaveFormat,
    /// The platforms to save. If there are none, an image is saved for each platform that the store has, but in the form
    /// of Docker 24 only for the host's, or else for the first one: a name has one image there.
    pub platforms: Vec<Platform>,
}

impl Store {
    /// Writes images into one archive, as a stream and in bounded memory.
    ///
    /// A name is a reference, an id, or the beginning of an id. `NAME:TAG` is saved under that name, `NAME` under each tag
    /// that the store has, and an id or `NAME@DIGEST` without a name. Parents are named if they are saved too. The bytes
    /// depend only on the images, the names and the options. Each blob is checked against its digest as it is written; an archive that is cut off has no end.
    ///
    /// # Errors
    /// - [`Error::NoSuchImage`]: the store has no image with one of the names.
    /// - [`Error::OtherPlatforms`]: it has one for other platforms only.
    /// - [`Error::Ambiguous`]: the beginning of an id is that of several images.
    /// - [`Error::InvalidName`]: a name is malformed.
    /// - [`Error::Damaged`] or [`Error::Blob`]: a file of an image is missing or damaged.
    /// - [`Error::SaveEncrypted`]: an image has encrypted layers, and the form has plain ones. The other forms have the
    ///   encrypted blobs.
    /// - [`Error::WriteArchive`]: the writer failed.
    /// - [`Error::Cancelled`]: the work was cancelled.
    pub fn save<N: AsRef<str>>(
        &self,
        names: &[N],
        options: &SaveOptions,
        writer: &mut dyn Write,
        progress: &Arc<dyn Progress>,
    ) -> Result<()> {
        self.write_archive(names, options, writer, None, progress)
    }

    /// Writes images into a file, and commits it. Otherwise as [`Self::save`]. Layers in a regular file are decoded only
    /// once.
    ///
    /// # Errors
    /// As [`Self::save`], and [`Error::Cache`] if the file cannot be committed.
    pub fn save_to_file<N: AsRef<str>>(
        &self,
        names: &[N],
        options: &SaveOptions,
        output: OutputFile,
        progress: &Arc<dyn Progress>,
    ) -> Result<()> {
        let file = output.file();
        let is_regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
        let file = if is_regular { file.try_clone().ok() } else { None };
        output.write_with(|writer| self.write_archive(names, options, writer, file.as_ref(), progress))
    }

    fn write_archive<N: AsRef<str>>(
        &self,
        names: &[N],
        options: &SaveOptions,
        writer: &mut dyn Write,
        file: Option<&File>,
        progress: &Arc<dyn Progress>,
    ) -> Result<()> {
        let (_pin, _records, (selected, parents)) = self.in_use.pin_all(|| {
            let snapshot = self.visible()?;
            let mut selected = names::select(&snapshot, names, &options.platforms)?;
            if options.format == SaveFormat::DockerArchiveV24 && options.platforms.is_empty() {
                selected.iter_mut().for_each(Selected::keep_first_platform);
            }
            let parents = names::parents_among(&snapshot, &selected);
            Ok((selected.iter().flat_map(Selected::records).cloned().collect(), (selected, parents)))
        })?;
        selected.iter().flat_map(Selected::records).for_each(|record| self.touch(record));
        if options.format == SaveFormat::DockerArchiveV24 {
            check_plain(selected.iter().flat_map(Selected::records))?;
        }
        let mut tar = TarWriter::new(writer, 0);
        match options.format {
            SaveFormat::DockerArchiveV24 => legacy::write(self, &selected, &parents, &mut tar, file, progress)?,
            SaveFormat::DockerArchive | SaveFormat::OciArchive => {
                let lists = lists::describe(self, &selected, &parents)?;
                let mut blobs = Blobs::new(self);
                blobs.add_all(&selected, &lists)?;
                blobs.write(&mut tar, progress)?;
                lists.write(options.format, &mut tar)?;
            }
        }
        tar.finish().map_err(Error::write_archive)?;
        Ok(())
    }
}

/// Fails if an image has encrypted layers, whose plain form must not leave the cache.
fn check_plain<'a>(mut records: impl Iterator<Item = &'a Record>) -> Result<()> {
    let Some(record) = records.find(|record| record.is_encrypted()) else { return Ok(()) };
    let image = record.reference.as_ref().map_or_else(|| record.id().to_string(), ToString::to_string);
    Err(Error::SaveEncrypted { image })
}
