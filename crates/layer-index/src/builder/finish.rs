//! Writing the index of a layer's tree, and publishing its two files.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use vmroot_model::Digest;
use vmroot_output::{TemporaryFile, sync_directory};

use super::apply::Applier;
use super::numbering::Numbering;
use super::tree::{Node, Tree};
use crate::format::{ContentsRecord, KIND_LAYER, Section, mode};
use crate::open::ContentsFile;
use crate::write::IndexWriter;
use crate::{Error, Result};

/// The mode of published files. They are never written again.
const PUBLISHED_MODE: u32 = 0o444;

pub(super) fn create_temporary(directory: &Path) -> Result<TemporaryFile> {
    Ok(TemporaryFile::create_in(directory, 0o600)?)
}

/// The two files of a layer, complete but under temporary names.
///
/// Dropping this removes the files.
#[derive(Debug)]
pub struct BuiltLayer {
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The length of the uncompressed tar in bytes.
    pub tar_length: u64,
    /// The length of `.idx` in bytes.
    pub index_length: u64,
    /// The length of `.contents` in bytes, holes included.
    pub contents_length: u64,
    directory: PathBuf,
    index: TemporaryFile,
    contents: TemporaryFile,
}

impl BuiltLayer {
    /// Returns the digest of the tar.
    pub fn diff_id(&self) -> &Digest {
        &self.diff_id
    }

    /// Syncs the files, renames them to `<hex>.contents` and `<hex>.idx`, and returns the path of the index.
    ///
    /// The index is renamed last, so its contents file exists whenever the index does. Existing files of these names
    /// are replaced: they have the same bytes, or are damaged.
    ///
    /// # Errors
    /// [`Error::Io`] when the files cannot be synced or renamed.
    pub fn publish(self) -> Result<PathBuf> {
        self.index.sync(Some(PUBLISHED_MODE))?;
        self.contents.sync(Some(PUBLISHED_MODE))?;
        let directory = self.directory.clone();
        let index = self.rename()?;
        sync_directory(&directory)?;
        Ok(index)
    }

    /// Does the same as [`Self::publish`] without syncing, for files that need not survive a crash.
    ///
    /// # Errors
    /// [`Error::Io`] when the files cannot be renamed.
    pub fn publish_unsynced(self) -> Result<PathBuf> {
        self.index.set_mode(Some(PUBLISHED_MODE))?;
        self.contents.set_mode(Some(PUBLISHED_MODE))?;
        self.rename()
    }

    fn rename(self) -> Result<PathBuf> {
        let hex = self.diff_id.hex();
        let index = self.directory.join(format!("{hex}.idx"));
        self.contents.rename(&self.directory.join(format!("{hex}.contents")))?;
        self.index.rename(&index)?;
        Ok(index)
    }
}

/// Writes the index of a layer that has been read to its end.
pub(super) fn finish(mut applier: Applier, directory: &Path, diff_id: Digest, tar_length: u64) -> Result<BuiltLayer> {
    applier.complete()?;
    let Applier { mut tree, contents, contents_file, .. } = applier;
    let contents_length = contents.finish()?;
    tree.free_tables();

    let index = create_temporary(directory)?;
    let file = ContentsFile { diff_id, length: contents_length };
    let index_length = write(&tree, &file, index.file()).map_err(Error::io(index.path()))?;
    Ok(BuiltLayer {
        diff_id,
        tar_length,
        index_length,
        contents_length,
        directory: directory.to_owned(),
        index,
        contents: contents_file,
    })
}

fn write(tree: &Tree, contents: &ContentsFile, file: &File) -> io::Result<u64> {
    let numbering = Numbering::of(tree);
    let is_link = |node: &&Node| matches!(node.kind(), mode::SYMLINK | mode::LINK);
    let target = |node: &Node| &tree.symlinks[node.data as usize..(node.data + node.size) as usize];
    let digest = |node: &Node| Some(tree.digests[node.digest.checked_sub(1)? as usize]);

    let mut writer = IndexWriter::new(file)?;
    writer.write_records(Section::Inodes, numbering.inodes())?;
    writer.write_records(Section::Dirents, numbering.dirents())?;
    writer.write_strings(Section::Names, numbering.names())?;
    writer.write_strings(Section::Symlinks, numbering.nodes().filter(is_link).map(target))?;
    writer.write_records(Section::XattrSets, tree.xattrs.sets.iter().copied())?;
    writer.write_records(Section::Xattrs, tree.xattrs.xattrs.iter().copied())?;
    writer.write_bytes(Section::XattrBytes, &tree.xattrs.bytes)?;
    writer.write_records(Section::Digests, numbering.nodes().filter_map(digest))?;
    writer.write_records(Section::Contents, std::iter::once(ContentsRecord::from(contents)))?;
    let (_, length) = writer.finish(KIND_LAYER, &contents.diff_id)?;
    Ok(length)
}
