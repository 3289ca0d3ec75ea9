//! The prebaked directory: a root's files in one place, for machines without a cache (`docs/formats/prebaked.md`).

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};
use vmroot_container_fs::{ContainerFs, ExtraLayer};
use vmroot_model::{Digest, chain_ids};

use crate::copy::Copier;
use crate::holes::Holes;
use crate::{Error, Result};

/// The name of the merged index.
const ROOT_INDEX: &str = "root.idx";
/// The name of what says how to run the image.
const CONFIG: &str = "config.json";

/// Indexes and contents, which are never written again, wherever they are.
const READ_ONLY: u32 = 0o444;

/// The files that a prebaked directory is made of.
#[derive(Debug, Clone)]
pub struct PrebakedSources {
    /// The merged index.
    pub root_index: PathBuf,
    /// Of each layer, lowest first, its diff id, its `.idx` and its `.contents`.
    pub layers: Vec<(Digest, PathBuf, PathBuf)>,
}

/// Makes `directory` a prebaked directory, with `config` as its `config.json`.
///
/// A missing directory is made, its parent must be there. Files of the same names are replaced, each at once, and
/// `config.json` last: whoever finds it finds all that it speaks of. Other files are left alone. The files share blocks
/// with their sources where the file system can, and are copies where not, but never hard links: what is done to them
/// later must not reach the cache. Everything is on the disk when this returns.
///
/// # Errors
/// [`Error::Io`], with the file. No file is left half written.
pub fn export_prebaked(sources: &PrebakedSources, config: &[u8], directory: &Path) -> Result<()> {
    export_prebaked_while(sources, config, directory, &|| ControlFlow::Continue(()))
}

/// The same, which asks `going_on` again and again while it copies.
///
/// # Errors
/// As [`export_prebaked`], and [`Error::Cancelled`] when `going_on` breaks. What was made by then is removed: files that
/// were not there before, and the directory.
pub fn export_prebaked_while(
    sources: &PrebakedSources,
    config: &[u8],
    directory: &Path,
    going_on: &dyn Fn() -> ControlFlow<()>,
) -> Result<()> {
    let is_new = make_directory(directory).map_err(Error::io("make the directory", directory))?;
    let mut baking = Baking { copier: Copier::default(), going_on, made: Vec::new() };
    let baked = baking.bake(sources, config, directory);
    if baked.is_err() {
        // The first error says more than one of undoing.
        for file in &baking.made {
            let _ = fs::remove_file(file);
        }
        if is_new {
            let _ = fs::remove_dir(directory);
        }
    }
    baked
}

/// A directory while it is made.
struct Baking<'a> {
    copier: Copier,
    going_on: &'a dyn Fn() -> ControlFlow<()>,
    /// Files that were not there before.
    made: Vec<PathBuf>,
}

impl Baking<'_> {
    fn bake(&mut self, sources: &PrebakedSources, config: &[u8], directory: &Path) -> Result<()> {
        for (diff_id, index, contents) in &sources.layers {
            self.copy_file(contents, contents_path(directory, diff_id))?;
            self.copy_file(index, index_path(directory, diff_id))?;
        }
        self.copy_file(&sources.root_index, directory.join(ROOT_INDEX))?;
        let sync = || File::open(directory)?.sync_all();
        sync().map_err(Error::io("sync", directory))?;
        publish(&directory.join(CONFIG), 0o644, |file| file.as_file_mut().write_all(config))?;
        sync().map_err(Error::io("sync", directory))
    }

    fn copy_file(&mut self, source: &Path, target: PathBuf) -> Result<()> {
        let file = File::open(source).map_err(Error::io("open", source))?;
        let is_new = !target.exists();
        let mut flow = ControlFlow::Continue(());
        let copied = publish(&target, READ_ONLY, |copy| {
            let length = file.metadata()?.len();
            flow = self.copier.copy(&mut Holes::new(&file), 0..length, copy.as_file(), |_| (self.going_on)())?;
            // Sharing blocks takes a moment and ends with a last question, so an answer to that counts as well.
            if flow.is_break() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        });
        if flow.is_break() {
            return Err(Error::Cancelled);
        }
        copied?;
        if is_new {
            self.made.push(target);
        }
        Ok(())
    }
}

/// Opens the root of a prebaked directory; `layers` are the diff ids in its `config.json`, lowest first.
///
/// Without a `root.idx`, or with one that is damaged or made of other layers, the layers' indexes are merged in memory.
///
/// # Errors
/// [`Error::Root`], with the file that is missing or damaged.
pub fn open_prebaked(directory: &Path, layers: &[Digest]) -> Result<ContainerFs> {
    let chain_id = chain_ids(layers).pop();
    let is_this_root = |root: &ContainerFs| chain_id.is_none_or(|chain_id| *root.chain_id() == chain_id);
    let opened = ContainerFs::open(&directory.join(ROOT_INDEX), &|diff_id| contents_path(directory, diff_id));
    if opened.as_ref().is_ok_and(is_this_root) {
        return Ok(opened?);
    }
    let Some(chain_id) = chain_id else { return Ok(opened?) };
    let files =
        |diff_id| ExtraLayer { index: index_path(directory, diff_id), contents: contents_path(directory, diff_id) };
    let merged = ContainerFs::of_layers(&layers.iter().map(files).collect::<Vec<_>>(), &chain_id)?;
    // An index under another layer's name is as good as a missing one.
    let mut found = merged.contents().map(|contents| contents.diff_id).zip(layers);
    if let Some((actual, named)) = found.find(|(actual, named)| actual != *named) {
        return Err(Error::WrongLayer { path: index_path(directory, named), actual });
    }
    drop(found);
    Ok(merged)
}

fn index_path(directory: &Path, diff_id: &Digest) -> PathBuf {
    directory.join(format!("{}.idx", diff_id.hex()))
}

fn contents_path(directory: &Path, diff_id: &Digest) -> PathBuf {
    directory.join(format!("{}.contents", diff_id.hex()))
}

/// Makes a directory, and says whether it was not there.
fn make_directory(directory: &Path) -> io::Result<bool> {
    match fs::DirBuilder::new().mode(0o755).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(false),
        result => result.map(|()| true),
    }
}

/// Writes a file under a temporary name, puts it on the disk, and gives it its own.
fn publish(path: &Path, mode: u32, write: impl FnOnce(&mut NamedTempFile) -> io::Result<()>) -> Result<()> {
    let publish = || -> io::Result<()> {
        let directory = path.parent().expect("a file in a directory");
        let mut file = Builder::new().prefix(".tmp-").tempfile_in(directory)?;
        write(&mut file)?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    publish().map_err(Error::io("write", path))
}
