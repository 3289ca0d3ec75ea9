//! The metadata-only image as a file, with files beside it that join it and the contents files to one disk.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use vmroot_container_fs::ContainerFs;
use vmroot_model::Digest;
use vmroot_output::{Copier, Error as FileError, Holes, Hook, Meter, OutputFile, Report};

use super::{ErofsMeta, write_erofs_meta};
use crate::format::BLOCK;
use crate::{Error, Result, VmdkAccess, VmdkTail};

/// Options of [`export_erofs_meta`] and [`write_erofs_meta`].
#[derive(Debug, Default, Clone, Copy)]
pub struct ErofsMetaOptions<'a> {
    /// The diff ids of layers whose contents files do not last. [`export_erofs_meta`] writes a copy of each beside the
    /// image, which is the device in its place. [`write_erofs_meta`] copies nothing.
    pub copied: &'a [Digest],
    /// Fail before anything is written if EROFS cannot hold the whole root.
    pub strict: bool,
    /// Receives progress. `Break` cancels the export. Only copies have progress.
    pub hook: Option<Hook<'a>>,
}

/// The ends of the names of the files that [`export_erofs_meta`] always writes beside its image.
pub const SIDE_FILES: [&str; 4] = [HEAD, DEVICES, VMDK, READ_ONLY_VMDK];
const HEAD: &str = ".head";
const DEVICES: &str = ".devices";
const VMDK: &str = ".vmdk";
const READ_ONLY_VMDK: &str = ".rdonly.vmdk";

/// Writes the metadata of the root to the file `path`, and beside it the files that join it and its devices to one disk.
/// All files appear under their names only when all are complete.
///
/// For `path` `ROOT`, the other files are:
/// - `ROOT.head`: the start of the single disk ([`ErofsMeta::write_head`]).
/// - `ROOT.devices`: the paths of the devices ([`ErofsMeta::device_list`]).
/// - `ROOT.vmdk` and `ROOT.rdonly.vmdk`: the single disk, with each [`VmdkAccess`] ([`ErofsMeta::vmdk`]).
/// - `ROOT.DIFF_ID.contents`: a copy for each of [`ErofsMetaOptions::copied`], with shared blocks where the file system
///   supports it.
///
/// # Errors
/// - [`Error::Unlistable`], [`Error::PathTooLong`]: a list cannot contain the path of a device.
/// - [`Error::Io`]: a file cannot be created, read, written, synced or renamed.
/// - [`Error::Cancelled`]: the hook cancelled the export.
/// - The errors of [`write_erofs_meta`].
pub fn export_erofs_meta(fs: &ContainerFs, path: &Path, options: &ErofsMetaOptions<'_>) -> Result<Report> {
    ErofsMetaFiles::write(fs, path, options)?.commit(None)
}

/// The files of [`export_erofs_meta`] before they have their names, for a caller that adds a hash tree.
#[derive(Debug)]
pub struct ErofsMetaFiles<'p> {
    meta: ErofsMeta,
    /// The files that have the bytes of the devices now.
    sources: Vec<PathBuf>,
    image: OutputFile,
    head: OutputFile,
    neighbours: Neighbours<'p>,
}

impl<'p> ErofsMetaFiles<'p> {
    /// Writes the image, its head, and the copies of contents files.
    ///
    /// # Errors
    /// The errors of [`export_erofs_meta`].
    pub fn write(fs: &ContainerFs, path: &'p Path, options: &ErofsMetaOptions<'_>) -> Result<Self> {
        let image = OutputFile::create(path)?;
        let mut meta = write_erofs_meta(fs, image.file(), options).map_err(Error::at(path))?;
        let sources = meta.devices.iter().map(|device| device.path.clone()).collect();
        let mut neighbours = Neighbours { path, files: Vec::new(), paths: Vec::new() };
        neighbours.copy_contents(&mut meta, options)?;
        for device in &mut meta.devices {
            device.path = std::path::absolute(&device.path).map_err(FileError::on("find", &device.path))?;
        }
        let name = neighbours.name(HEAD);
        let head = OutputFile::create(&name)?;
        meta.copy_head(image.file(), head.file()).map_err(FileError::on("write", &name))?;
        Ok(Self { meta, sources, image, head, neighbours })
    }

    /// Returns the image. The paths of its devices are those that they have after [`Self::commit`].
    pub fn meta(&self) -> &ErofsMeta {
        &self.meta
    }

    /// Returns the start of the single disk, which the devices follow.
    pub fn head(&self) -> &File {
        self.head.file()
    }

    /// Returns the files that have the bytes of the devices now.
    pub fn sources(&self) -> &[PathBuf] {
        &self.sources
    }

    /// Writes the lists of the devices, and gives all files their names. With `tail`, that file follows the devices on
    /// the single disk.
    ///
    /// # Errors
    /// [`Error::Unlistable`], [`Error::PathTooLong`] or [`Error::Io`], as for [`export_erofs_meta`].
    pub fn commit(self, tail: Option<&VmdkTail>) -> Result<Report> {
        let Self { meta, image, head, mut neighbours, .. } = self;
        // The descriptors name the head without a directory, so that the files can be moved together.
        let head_path = neighbours.name(HEAD);
        let head_name = head_path.file_name().map(PathBuf::from).unwrap_or_default();
        let lists = [
            (DEVICES, meta.device_list()?),
            (VMDK, meta.vmdk_with_tail(&head_name, tail, VmdkAccess::ReadWrite)?),
            (READ_ONLY_VMDK, meta.vmdk_with_tail(&head_name, tail, VmdkAccess::ReadOnly)?),
        ];
        neighbours.paths.push(head_path);
        neighbours.files.push(head);
        for (suffix, bytes) in lists {
            let list = neighbours.name(suffix);
            neighbours.create(list.clone())?.write_all(&bytes).map_err(FileError::on("write", &list))?;
        }
        // Only once all are written: beside another image they would be wrong.
        for file in neighbours.files.into_iter().chain([image]) {
            file.commit()?;
        }
        let mut report = meta.report;
        report.files = neighbours.paths;
        Ok(report)
    }
}

/// The files beside an image, under temporary names.
#[derive(Debug)]
struct Neighbours<'p> {
    /// The path of the image.
    path: &'p Path,
    files: Vec<OutputFile>,
    /// The final paths of `files`.
    paths: Vec<PathBuf>,
}

impl Neighbours<'_> {
    fn name(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    }

    fn create(&mut self, path: PathBuf) -> Result<&mut OutputFile> {
        let file = OutputFile::create(&path)?;
        self.paths.push(path);
        Ok(self.files.push_mut(file))
    }

    /// Copies contents files, and makes the copies the devices.
    fn copy_contents(&mut self, meta: &mut ErofsMeta, options: &ErofsMetaOptions<'_>) -> Result<()> {
        let mut copied: Vec<_> =
            meta.devices.iter_mut().filter(|device| options.copied.contains(&device.diff_id)).collect();
        let meter = Meter::new(options.hook, copied.iter().map(|device| u64::from(device.blocks) * BLOCK).sum());
        for device in &mut copied {
            let source = File::open(&device.path).map_err(FileError::on("open", &device.path))?;
            let length = source.metadata().map_err(FileError::on("stat", &device.path))?.len();
            let path = self.name(&format!(".{}.contents", device.diff_id.hex()));
            let copy = self.create(path.clone())?;
            let advance = |bytes| meter.advance(bytes);
            let flow = Copier::default().copy(&mut Holes::new(&source), 0..length, copy.file(), advance);
            if flow.map_err(FileError::on("write", &path))?.is_break() {
                return Err(Error::Cancelled);
            }
            device.path = path;
        }
        Ok(())
    }
}
