//! `verity format|verify|dump`: hash trees of disk images.

mod disk;
mod record;
mod verify;

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use vmroot::output::{Error as FileError, Hook, OutputFile, WriteProgress};
use vmroot::verity::{Error, Options, Superblock, find_appended, format};

use crate::args::{TreeArguments, VerityCommand};
use crate::context::Context;
use crate::display::{Action, LONG, NewTask, Outcome};
use crate::exit::Advised;
use crate::{output, paths, progress};

use disk::Disk;
pub(super) use record::TreeRecord;
use verify::Operands;

/// The end of the name of a tree.
const END: &str = ".verity";

/// Runs a command on hash trees.
pub(crate) fn verity(context: &Context, command: VerityCommand) -> anyhow::Result<()> {
    match command {
        VerityCommand::Format { disk, tree, append, force, parameters } => {
            let tree = (!append).then(|| tree.unwrap_or_else(|| beside(&disk)));
            format_tree(context, &disk, tree.as_deref(), force, &parameters)
        }
        VerityCommand::Verify { operands, hash_offset, format, root } => {
            verify::run(context, &Operands::parse(&operands, is_disk)?, hash_offset, format, &root)
        }
        VerityCommand::Dump { tree, hash_offset } => dump(context, &tree, hash_offset),
    }
}

/// Returns the image that `verity verify` names, if it names one.
pub(crate) fn image_of(command: &VerityCommand) -> Option<String> {
    match command {
        VerityCommand::Verify { operands, .. } => Operands::parse(operands, is_disk).ok()?.image,
        _ => None,
    }
}

/// Returns whether a path is that of a file or a disk, and not of a directory.
fn is_disk(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| !metadata.is_dir())
}

/// Returns the name of the tree beside a disk image.
pub(super) fn beside(disk: &Path) -> PathBuf {
    let mut name = disk.as_os_str().to_owned();
    name.push(END);
    name.into()
}

fn format_tree(
    context: &Context,
    path: &Path,
    tree: Option<&Path>,
    force: bool,
    arguments: &TreeArguments,
) -> anyhow::Result<()> {
    let parameters = arguments.parameters();
    parameters.check().map_err(vmroot::Error::from)?;
    if let Some(tree) = tree {
        if !force {
            paths::check_new(tree)?;
        }
        paths::check_file(tree)?;
    }
    let disk = Disk::open(path, tree.is_none())?;
    let formatted = match tree {
        Some(tree) => {
            let output = OutputFile::create(tree).map_err(vmroot::Error::from)?;
            let formatted = with_progress(context, Action::Prepare, path, |options| {
                format(&disk.data(), output.file(), 0, &parameters, None, options)
            })?;
            output.commit().map_err(vmroot::Error::from)?;
            formatted
        }
        None => {
            let file = disk.single(path)?;
            let length = disk.length();
            if find_appended(file, length).map_err(vmroot::Error::from)?.is_some() {
                anyhow::bail!("{}: a hash tree follows the image already", path.display());
            }
            let offset = length.next_multiple_of(parameters.data_block.max(parameters.hash_block).into());
            file.set_len(offset).map_err(FileError::on("write", path)).map_err(vmroot::Error::from)?;
            let data = vmroot::verity::Data::of_file(file, offset);
            let formatted = with_progress(context, Action::Prepare, path, |options| {
                format(&data, file, offset, &parameters, None, options)
            })?;
            file.sync_all().map_err(FileError::on("write", path)).map_err(vmroot::Error::from)?;
            formatted
        }
    };
    if let Some(tree) = tree {
        output::print_note(&format!("the hash tree is in {}", tree.display()));
    }
    let record = TreeRecord::new(&formatted, tree);
    match context.json() {
        true => Ok(output::print_json(&serde_json::to_value(&record)?)?),
        false => Ok(output::print_line(formatted.root_hash.to_string())?),
    }
}

fn dump(context: &Context, path: &Path, offset: Option<u64>) -> anyhow::Result<()> {
    let file = open(path)?;
    let found = match offset {
        Some(offset) => Superblock::read(&file, offset).map(|superblock| (superblock, offset)),
        None => match Superblock::read(&file, 0) {
            Err(Error::NoSuperblock { .. }) => {
                let offset = appended(&file, path)?;
                Superblock::read(&file, offset).map(|superblock| (superblock, offset))
            }
            read => read.map(|superblock| (superblock, 0)),
        },
    };
    let (superblock, offset) = found.map_err(|error| of_tree(error, path))?;
    let record = TreeRecord::of(&superblock, None, Some(path), offset);
    match context.json() {
        true => Ok(output::print_json(&serde_json::to_value(&record)?)?),
        false => Ok(output::print_text(record.to_text().as_bytes())?),
    }
}

fn read_superblock(file: &File, path: &Path, offset: u64) -> anyhow::Result<Superblock> {
    Superblock::read(file, offset).map_err(|error| of_tree(error, path))
}

/// Returns an error about the file of a tree. A disk image may have been named in place of its tree.
fn of_tree(error: Error, path: &Path) -> anyhow::Error {
    let beside = beside(path);
    if matches!(error, Error::NoSuperblock { .. }) && beside.is_file() {
        let hint = format!("{} has the hash tree of this image", beside.display());
        return Advised::new(format!("{}: {error}", path.display()), hint).into();
    }
    anyhow::Error::from(vmroot::Error::from(error)).context(path.display().to_string())
}

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| path.display().to_string())
}

/// Returns the place of a tree that follows its image in a file.
fn appended(file: &File, path: &Path) -> anyhow::Result<u64> {
    let length = disk::length_of(file, path)?;
    let found = find_appended(file, length).map_err(vmroot::Error::from)?;
    found.ok_or_else(|| of_tree(Error::NoSuperblock { offset: 0 }, path))
}

/// Calls `work` with options that show its progress. An error has the name of the disk image.
fn with_progress<T>(
    context: &Context,
    action: Action,
    disk: &Path,
    work: impl FnOnce(&Options<'_>) -> vmroot::verity::Result<T>,
) -> anyhow::Result<T> {
    let name = disk.file_name().unwrap_or(disk.as_os_str()).to_string_lossy().into_owned();
    let (task, cancel) = (NewTask::new(action, &name).start(LONG), context.cancel());
    let hook = |progress: WriteProgress| progress::advance(Some(&task), &cancel, progress);
    let done = work(&Options { hook: Some(Hook::new(&hook)), ..Options::default() });
    let done = done.map_err(vmroot::Error::from).with_context(|| disk.display().to_string())?;
    task.end(Outcome::Done);
    Ok(done)
}

impl Disk {
    /// Returns whether the disk is this file.
    fn is_file(&self, file: &File) -> anyhow::Result<bool> {
        let identity = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
        Ok(match self.files() {
            [only] => identity(only)? == identity(file)?,
            _ => false,
        })
    }
}
