//! The prebaked directory: the files of a root in one place, for machines without a cache (`docs/formats/prebaked.md`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use vmroot_container_fs::{ContainerFs, ExtraLayer, LayerFiles};
use vmroot_model::{Digest, chain_ids};
use vmroot_output::{
    Copier, Holes, Hook, Meter, Omissions, Report, TemporaryFile, directory_of, is_source_failure, sync_directory,
};

use crate::{Error, Result};

/// The name of the merged index.
const ROOT_INDEX: &str = "root.idx";
/// The name of the file with the runtime configuration of the image.
const CONFIG: &str = "config.json";

/// The mode of indexes and contents, which are never changed.
const READ_ONLY: u32 = 0o444;

/// The files that are copied to a prebaked directory.
#[derive(Debug, Clone)]
pub struct PrebakedSources {
    /// The path of the merged index.
    pub root_index: PathBuf,
    /// The layers, lowest first.
    pub layers: Vec<LayerFiles>,
}

/// Writes the prebaked directory `directory`. `config` becomes its `config.json`.
///
/// The directory is created if it is missing; its parent must exist. Existing files of the same names are replaced
/// atomically, and other files are kept. `config.json` is written last, so all files that it refers to exist. The files
/// share blocks with their sources where the file system supports it, and are copied otherwise. They are never hard
/// links, so that later changes to them do not reach the cache. Everything is synced to disk.
///
/// After an error, files and the directory are removed if they did not exist before.
///
/// # Errors
/// - [`Error::Io`]: a file cannot be read or written.
/// - [`Error::Cancelled`]: `hook`, which is called repeatedly during the copy, returned `Break`.
pub fn export_prebaked(
    sources: &PrebakedSources,
    config: &[u8],
    directory: &Path,
    hook: Option<Hook<'_>>,
) -> Result<Report> {
    let meter = Meter::new(hook, sources.bytes());
    let is_new = create_directory(directory).map_err(vmroot_output::Error::on("make the directory", directory))?;
    let mut writer = PrebakedWriter { copier: Copier::default(), meter: &meter, bytes: 0, created: Vec::new() };
    let written = writer.write(sources, config, directory);
    if written.is_err() {
        // Errors of the removal are ignored: the first error is the useful one.
        for file in &writer.created {
            let _ = fs::remove_file(file);
        }
        if is_new {
            let _ = fs::remove_dir(directory);
        }
    }
    written?;
    Ok(Report::new(writer.bytes, Omissions::default()))
}

/// A prebaked directory that is being written.
struct PrebakedWriter<'a> {
    copier: Copier,
    meter: &'a Meter<'a>,
    /// The number of bytes of the files so far.
    bytes: u64,
    /// Files that did not exist before.
    created: Vec<PathBuf>,
}

impl PrebakedSources {
    /// Returns the bytes of all files. A missing file counts as empty: copying it reports the error.
    fn bytes(&self) -> u64 {
        let files = self.layers.iter().flat_map(|layer| [&layer.contents, &layer.index]).chain([&self.root_index]);
        files.map(|file| fs::metadata(file).map_or(0, |metadata| metadata.len())).sum()
    }
}

impl PrebakedWriter<'_> {
    fn write(&mut self, sources: &PrebakedSources, config: &[u8], directory: &Path) -> Result<()> {
        for LayerFiles { diff_id, index, contents } in &sources.layers {
            self.copy_file(contents, contents_path(directory, diff_id))?;
            self.copy_file(index, index_path(directory, diff_id))?;
        }
        self.copy_file(&sources.root_index, directory.join(ROOT_INDEX))?;
        sync_directory(directory)?;
        publish(&directory.join(CONFIG), 0o644, |mut file| file.write_all(config))?;
        self.bytes += config.len() as u64;
        Ok(sync_directory(directory)?)
    }

    fn copy_file(&mut self, source: &Path, target: PathBuf) -> Result<()> {
        let file = File::open(source).map_err(vmroot_output::Error::on("open", source))?;
        let is_new = !target.exists();
        let mut flow = ControlFlow::Continue(());
        let mut failed = None;
        let copied = publish(&target, READ_ONLY, |copy| {
            let length = file.metadata()?.len();
            self.bytes += length;
            let done = self.copier.copy(&mut Holes::new(&file), 0..length, copy, |count| self.meter.advance(count));
            flow = done.inspect_err(|error| {
                failed = is_source_failure(&file, &(0..length), error).then(|| same_error(error));
            })?;
            // Shared blocks cause a single call, after the work, so its result counts as well.
            if flow.is_break() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        });
        if flow.is_break() {
            return Err(Error::Cancelled);
        }
        if let Some(error) = failed {
            return Err(vmroot_output::Error::on("read", source)(error).into());
        }
        copied?;
        if is_new {
            self.created.push(target);
        }
        Ok(())
    }
}

/// Opens the root of a prebaked directory. `layers` are the diff ids in its `config.json`, lowest first.
///
/// If `root.idx` is missing, damaged or made of other layers, the indexes of the layers are merged in memory.
///
/// # Errors
/// - [`Error::Root`]: a file is missing or damaged.
/// - [`Error::WrongLayer`]: an index belongs to another layer than its file name.
pub fn open_prebaked(directory: &Path, layers: &[Digest]) -> Result<ContainerFs> {
    let chain_id = chain_ids(layers).pop();
    let is_this_root = |root: &ContainerFs| chain_id.is_none_or(|chain_id| *root.chain_id() == chain_id);
    let opened = ContainerFs::open_files(&directory.join(ROOT_INDEX), &|diff_id| contents_path(directory, diff_id));
    if opened.as_ref().is_ok_and(is_this_root) {
        return Ok(opened?);
    }
    let Some(chain_id) = chain_id else { return Ok(opened?) };
    let files =
        |diff_id| ExtraLayer { index: index_path(directory, diff_id), contents: contents_path(directory, diff_id) };
    let merged = ContainerFs::of_layers(&layers.iter().map(files).collect::<Vec<_>>(), &chain_id)?;
    // An index of another layer cannot be used.
    let mut merged_layers = merged.contents().map(|contents| contents.diff_id).zip(layers);
    if let Some((actual, expected)) = merged_layers.find(|(actual, expected)| actual != *expected) {
        return Err(Error::WrongLayer { path: index_path(directory, expected), actual });
    }
    drop(merged_layers);
    Ok(merged)
}

fn index_path(directory: &Path, diff_id: &Digest) -> PathBuf {
    directory.join(format!("{}.idx", diff_id.hex()))
}

fn contents_path(directory: &Path, diff_id: &Digest) -> PathBuf {
    directory.join(format!("{}.contents", diff_id.hex()))
}

/// Creates a directory. Returns false if it already exists.
fn create_directory(directory: &Path) -> io::Result<bool> {
    match fs::DirBuilder::new().mode(0o755).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(false),
        result => result.map(|()| true),
    }
}

/// Returns an error of the system once more.
fn same_error(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// Writes a file under a temporary name, syncs it, and renames it.
fn publish(path: &Path, mode: u32, write: impl FnOnce(&File) -> io::Result<()>) -> Result<()> {
    let file = TemporaryFile::create_in(directory_of(path), 0o600)?;
    write(file.file()).map_err(vmroot_output::Error::on("write", path))?;
    file.sync(Some(mode))?;
    Ok(file.rename(path)?)
}
