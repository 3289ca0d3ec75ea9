//! Copies of disks.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use vmroot_ext4 as ext4;
use vmroot_output::{Copier, Error as FileError, Holes, Hook, Meter, OutputFile};

use super::create::replaced;
use super::lock::{LockMode, lock_disk};
use super::{Error, Identity, Result};

/// Options of [`clone_disk`].
#[derive(Debug, Clone, Copy, Default)]
pub struct CloneOptions<'a> {
    /// The UUID of the copy. [`Identity::Derived`] keeps that of the original.
    pub identity: Identity,
    /// Replace an existing file. Otherwise it is an error.
    pub replace: bool,
    /// Receives progress. `Break` cancels the copy.
    pub hook: Option<Hook<'a>>,
}

/// Copies a disk. The copy shares the blocks of the original where the file system can (Btrfs, XFS), and is sparse
/// elsewhere. It appears under its name only when it is complete.
///
/// The original may be any disk image. Another UUID needs an ext4 file system that was unmounted.
///
/// # Errors
/// - [`Error::Exists`]: the copy exists, and [`CloneOptions::replace`] is not set.
/// - [`Error::InUse`]: another process writes the original, or uses the file that is replaced.
/// - [`Error::Ext4`]: the UUID cannot be changed.
/// - [`Error::Io`]: a file cannot be read or written.
/// - [`Error::Cancelled`]: the hook cancelled the copy.
pub fn clone_disk(original: &Path, copy: &Path, options: &CloneOptions<'_>) -> Result<()> {
    // Several copies can be made at once.
    let source = lock_disk(original, LockMode::Read)?;
    let length = length_of(source.file()).map_err(FileError::on("read", original))?;
    if is_same(source.file(), copy) {
        return Err(Error::Same { path: copy.to_owned() });
    }
    let _replaced = replaced(copy, options.replace)?;
    let output = OutputFile::create(copy)?;
    let meter = Meter::new(options.hook, length);
    let mut is_cancelled = false;
    let copied = Copier::default().copy(&mut Holes::new(source.file()), 0..length, output.file(), |bytes| {
        is_cancelled = meter.count(bytes).is_err();
        if is_cancelled { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let flow = copied.map_err(FileError::on("copy to", copy))?;
    if flow.is_break() || is_cancelled {
        return Err(Error::Cancelled);
    }
    if let Some(uuid) = options.identity.uuid().map_err(FileError::on("make", copy))? {
        ext4::set_uuid(output.file(), uuid).map_err(Error::of(copy))?;
    }
    Ok(output.commit()?)
}

fn length_of(file: &File) -> std::io::Result<u64> {
    use std::io::Seek as _;
    let mut file = file;
    file.seek(std::io::SeekFrom::End(0))
}

/// Returns whether `path` names the file.
fn is_same(file: &File, path: &Path) -> bool {
    let (Ok(own), Ok(other)) = (file.metadata(), path.metadata()) else { return false };
    (own.dev(), own.ino()) == (other.dev(), other.ino())
}
