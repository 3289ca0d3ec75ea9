//! Descriptions of disks.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Deserialize;
use vmroot_container_fs::InodeKind;
use vmroot_errors::describe_content;
use vmroot_ext4::{self as ext4, ReadOptions, ReadResult, Summary, open_replayed};
use vmroot_output::Error as FileError;

use super::{Error, Result};

/// The longest record of an image in bytes.
const RECORD_LIMIT: u64 = 64 << 10;

/// The description of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskInfo {
    /// Bytes of the file or device.
    pub size: u64,
    /// Bytes of the file that take space, those that it shares with clones included.
    pub allocated: u64,
    /// The ext4 file system.
    pub file_system: Summary,
    /// Whether the disk holds the writable layer of an overlay.
    pub upper: UpperState,
    /// The image whose writable layer it is, if the disk says so. A guest can write anything there.
    pub image: Option<RecordedImage>,
}

/// The image of a writable layer, in `vmroot.json` on the disk (`docs/formats/upper.md`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct RecordedImage {
    /// The id of the image.
    #[serde(rename = "image")]
    pub id: String,
    /// The name by which it was called.
    #[serde(default)]
    pub name: String,
}

/// Whether a disk holds the writable layer of an overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpperState {
    /// It has no directories `upper` and `work`.
    No,
    /// It has them: an overlay can be mounted, or was.
    Yes,
    /// The root directory cannot be read.
    Unknown,
}

/// Describes a disk. It is only read, and may be in use. The numbers of a disk in use can be out of date.
///
/// # Errors
/// - [`Error::OtherContent`]: the file has no ext4 file system.
/// - [`Error::Ext4`]: the file system is damaged.
/// - [`Error::Io`]: the file cannot be opened or read.
pub fn disk_info(path: &Path) -> Result<DiskInfo> {
    let mut file = File::open(path).map_err(FileError::on("open", path))?;
    let metadata = file.metadata().map_err(FileError::on("read", path))?;
    let size = file.seek(SeekFrom::End(0)).map_err(FileError::on("read", path))?;
    let file_system = match Summary::read(&file) {
        Err(ext4::Error::NotExt4 { .. }) if !has_magic(&file) => {
            return Err(Error::OtherContent { path: path.to_owned(), content: content(file) });
        }
        read => read.map_err(Error::of(path))?,
    };
    let (upper, image) = match read_upper(&file) {
        Ok((true, image)) => (UpperState::Yes, image),
        Ok((false, image)) => (UpperState::No, image),
        Err(_) => (UpperState::Unknown, None),
    };
    Ok(DiskInfo { size, allocated: metadata.blocks() * 512, file_system, upper, image })
}

/// Returns whether the disk has the directories of a writable layer, and the record of its image.
fn read_upper(file: &File) -> ReadResult<(bool, Option<RecordedImage>)> {
    let reader = open_replayed(file, &ReadOptions::default())?;
    let root = reader.root()?;
    let mut is_upper = true;
    for name in [&b"upper"[..], b"work"] {
        let found = reader.lookup(&root, name)?;
        is_upper &= found.is_some_and(|inode| inode.kind() == InodeKind::Directory);
    }
    let record = reader.lookup(&root, b"vmroot.json")?.filter(|inode| inode.kind() == InodeKind::Regular);
    let Some(record) = record.filter(|inode| inode.size() <= RECORD_LIMIT) else { return Ok((is_upper, None)) };
    let mut bytes = vec![0; record.size() as usize];
    reader.open_file(&record)?.read_exact_at(&mut bytes, 0)?;
    Ok((is_upper, serde_json::from_slice(&bytes).ok()))
}

fn has_magic(file: &File) -> bool {
    use std::os::unix::fs::FileExt as _;
    let mut magic = [0; 2];
    file.read_exact_at(&mut magic, 1024 + 0x38).is_ok() && magic == [0x53, 0xef]
}

/// Returns what the file seems to be.
fn content(mut file: File) -> Option<&'static str> {
    let mut start = Vec::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(2048).read_to_end(&mut start).ok()?;
    describe_content(&start)
}
