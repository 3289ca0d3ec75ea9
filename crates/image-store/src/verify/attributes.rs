//! Types and permissions of the files, and the errors of reading that are faults of a file.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::io::Errno;
use vmroot_cache::PUBLISHED_MODE;

use super::{Check, Condition, FileKind, Finding};
use crate::Result;

/// The permission that the owner needs.
const OWNER_READS: u32 = 0o400;
/// The permissions with which other users could change a file.
const OTHERS_WRITE: u32 = 0o022;

/// Errors of reading that show a fault of the file or the disk, and not of this process.
const FAULTS: [Errno; 8] =
    [Errno::IO, Errno::ACCESS, Errno::ISDIR, Errno::UCLEAN, Errno::BADMSG, Errno::NXIO, Errno::NODATA, Errno::LOOP];

/// Returns the fault of a file that an error of reading it shows. Other errors, such as too many open files, say nothing
/// about the file.
pub(crate) fn fault_of_read(error: &io::Error) -> Option<String> {
    let code = error.raw_os_error()?;
    FAULTS.iter().any(|fault| fault.raw_os_error() == code).then(|| format!("cannot be read: {error}"))
}

/// Returns `Damaged` for something that is not a regular file. Opening a FIFO would wait for a writer.
pub(super) fn type_of(path: &Path) -> Result<Condition> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Condition::Whole),
        Ok(_) => Ok(Condition::Damaged("is not a regular file".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Condition::Missing),
        Err(error) => match fault_of_read(&error) {
            Some(fault) => Ok(Condition::Damaged(fault)),
            None => Err(vmroot_output::Error::on("stat", path)(error).into()),
        },
    }
}

/// Returns the fault of a file's permissions.
fn fault_of_mode(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok().filter(fs::Metadata::is_file)?.permissions().mode() & 0o7777;
    (mode & OWNER_READS == 0 || mode & OTHERS_WRITE != 0)
        .then(|| format!("has the permissions {mode:04o} instead of {PUBLISHED_MODE:04o}"))
}

impl Check<'_> {
    /// Checks the permissions of a file, and corrects them if it is to be repaired. Returns a finding for a wrong one.
    pub(super) fn check_mode(&self, path: &Path, kind: FileKind) -> Option<Finding> {
        let finding = Finding::new(path, kind, fault_of_mode(path)?);
        if !self.is_repair() {
            return Some(finding);
        }
        Some(match fs::set_permissions(path, Permissions::from_mode(PUBLISHED_MODE)) {
            Ok(()) => finding.repaired("its permissions were corrected"),
            Err(error) => finding.unrepaired(format!("its permissions cannot be corrected: {error}")),
        })
    }
}
