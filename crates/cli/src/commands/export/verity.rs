//! `export --verity`: the hash tree of an image.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, anyhow};
use vmroot::ContainerFs;
use vmroot::erofs::{ErofsMetaFiles, ErofsMetaOptions, VmdkTail};
use vmroot::output::{Error as FileError, Hook, OutputFile, Report, Run, RunsHook, WriteProgress};
use vmroot::verity::{Data, Formatted, KeptLeaves, Options, Parameters, Part, format};

use super::super::verity::{TreeRecord, beside};
use crate::args::{ExportArguments, Format};
use crate::exit::UsageError;
use crate::paths;

/// The word for a tree after its image.
const APPEND: &str = "append";

/// The tree to write.
pub(super) struct TreePlan<'a> {
    /// The file of the tree. `None` for one after the image.
    file: Option<PathBuf>,
    is_appended: bool,
    parameters: Parameters,
    cancel: Hook<'a>,
}

/// Returns a hook that cancels the work, without progress: that of the image is complete.
pub(super) fn cancel_only(cancel: &vmroot::Cancel) -> impl Fn(WriteProgress) -> std::ops::ControlFlow<()> + Sync {
    move |_| cancel.control_flow()
}

/// Returns the file of the tree. That of `erofs-meta` is always a file of its own: `append` puts it behind the contents
/// files on the joined disk.
fn file_of(format: Format, out: &Path, verity: &Path) -> Option<PathBuf> {
    match (verity == Path::new(APPEND), format) {
        (false, _) => Some(verity.to_owned()),
        (true, Format::ErofsMeta) => Some(beside(out)),
        (true, _) => None,
    }
}

/// Fails if the tree cannot be written, before an image is fetched.
pub(super) fn check(format: Format, out: &Path, options: &ExportArguments) -> anyhow::Result<()> {
    let Some(file) = options.verity.as_deref().and_then(|verity| file_of(format, out, verity)) else { return Ok(()) };
    if file == out || options.config_out.as_ref() == Some(&file) {
        return Err(anyhow!(UsageError(format!("--verity {} is also another output", file.display()))));
    }
    if !options.force {
        paths::check_new(&file)?;
    }
    paths::check_file(&file)
}

impl<'a> TreePlan<'a> {
    /// Returns the plan of the options, if they have a tree.
    pub(super) fn new(format: Format, out: &Path, options: &ExportArguments, cancel: Hook<'a>) -> Option<Self> {
        let verity = options.verity.as_deref()?;
        let default = Parameters::default();
        let salt = options.verity_salt.clone().map_or(default.salt, |salt| salt.0);
        Some(Self {
            file: file_of(format, out, verity),
            is_appended: verity == Path::new(APPEND),
            parameters: Parameters { salt, ..Parameters::default() },
            cancel,
        })
    }

    /// Returns the plan of a tree after its image.
    pub(super) fn with_parameters(format: Format, out: &Path, parameters: Parameters, cancel: Hook<'a>) -> Self {
        Self { file: file_of(format, out, Path::new(APPEND)), is_appended: true, parameters, cancel }
    }

    /// Writes an image by `write`, and its tree, for which digests of the root's contents are known. Both appear under their names when both are complete.
    pub(super) fn write(
        &self,
        out: &Path,
        image: OutputFile,
        known: (&ContainerFs, &KeptLeaves),
        write: impl FnOnce(&OutputFile, RunsHook<'_>) -> vmroot::Result<Report>,
    ) -> anyhow::Result<(Report, TreeRecord)> {
        let runs = Mutex::new(Vec::new());
        let keep_runs = |placed: &[Run]| runs.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(placed);
        let mut report = write(&image, RunsHook::new(&keep_runs)).with_context(|| out.display().to_string())?;
        let length =
            self.pad(&image, report.bytes).map_err(FileError::on("write", out)).map_err(vmroot::Error::from)?;
        let runs = runs.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (root, leaves) = known;
        let paths: Vec<&Path> = root.contents().map(|contents| contents.path.as_path()).collect();
        let known = leaves.ranges(&runs, &paths, self.parameters.data_block);
        let data = Data::of_file(image.file(), length).with_known(known);
        let Some(path) = &self.file else {
            let formatted = self.format(&data, image.file(), length)?;
            image.commit().map_err(vmroot::Error::from)?;
            report.bytes = formatted.end;
            return Ok((report, TreeRecord::new(&formatted, None)));
        };
        let tree = OutputFile::create(path).map_err(vmroot::Error::from)?;
        let formatted = self.format(&data, tree.file(), 0)?;
        tree.commit().and_then(|()| image.commit()).map_err(vmroot::Error::from)?;
        report.files.push(path.clone());
        Ok((report, TreeRecord::new(&formatted, Some(path))))
    }

    /// Writes the metadata of an `erofs-meta` image and its files, and the tree over its joined disk.
    pub(super) fn write_erofs_meta(
        &self,
        root: &ContainerFs,
        leaves: &KeptLeaves,
        out: &Path,
        options: &ErofsMetaOptions<'_>,
    ) -> anyhow::Result<(Report, TreeRecord)> {
        let files = ErofsMetaFiles::write(root, out, options).map_err(vmroot::Error::from)?;
        let meta = files.meta();
        let open = |path: &PathBuf| File::open(path).map_err(FileError::on("open", path)).map_err(vmroot::Error::from);
        let contents: Vec<File> = files.sources().iter().map(open).collect::<vmroot::Result<_>>()?;
        let block = u64::from(self.parameters.data_block);
        let part = |file, blocks: u32, leaves| Part { file, offset: 0, length: u64::from(blocks) * block, leaves };
        let head = part(files.head(), meta.blocks, None);
        let devices = contents.iter().zip(&meta.devices).zip(files.sources());
        let devices = devices.map(|((file, device), path)| part(file, device.blocks, leaves.of(path)));
        let data = Data::new([head].into_iter().chain(devices));
        let path = self.file.clone().unwrap_or_else(|| beside(out));
        let tree = OutputFile::create(&path).map_err(vmroot::Error::from)?;
        let formatted = self.format(&data, tree.file(), 0)?;
        tree.commit().map_err(vmroot::Error::from)?;
        let blocks = u32::try_from(formatted.end / block).unwrap_or(u32::MAX);
        // Beside the image, as its other files.
        let name = path.file_name().map(PathBuf::from).unwrap_or_default();
        let tail = self.is_appended.then_some(VmdkTail { path: name, blocks });
        let mut report = files.commit(tail.as_ref()).map_err(vmroot::Error::from)?;
        report.files.push(path.clone());
        Ok((report, TreeRecord::new(&formatted, Some(&path))))
    }

    fn format(&self, data: &Data<'_>, file: &File, offset: u64) -> vmroot::Result<Formatted> {
        let options = Options { hook: Some(self.cancel), ..Options::default() };
        Ok(format(data, file, offset, &self.parameters, None, &options)?)
    }

    /// Pads an image of `length` bytes to whole blocks, and returns its length. A disk is hashed as far as the image
    /// goes.
    fn pad(&self, image: &OutputFile, length: u64) -> std::io::Result<u64> {
        let metadata = image.file().metadata()?;
        let block = u64::from(self.parameters.data_block);
        if !metadata.is_file() {
            return Ok(length.next_multiple_of(block));
        }
        let padded = metadata.len().next_multiple_of(block);
        image.file().set_len(padded)?;
        Ok(padded)
    }
}
