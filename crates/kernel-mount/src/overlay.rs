//! A writable view of a root: overlayfs.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::mount::{FsMountFlags, fsconfig_create, fsconfig_set_string, fsmount};

use crate::{Error, MountOptions, Mounted, Result, erofs};

const FORM: &str = "overlay";

/// Where changes of a writable view go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upper<'a> {
    /// The changes, from one mount to the next: a directory on a file system that is no overlayfs itself.
    pub upper: &'a Path,
    /// An empty directory on the same file system, which overlayfs works in.
    pub work: &'a Path,
}

/// Mounts a writable view of the root at `lower` on a directory.
///
/// The mount holds on to the file system at `lower`, which may be unmounted at once: it ends when this mount does. What
/// is changed is in `upper` as a whole: files are copied there whole, and directories cannot be renamed by reference.
///
/// # Errors
/// [`Error::Mountpoint`] for any of the directories, [`Error::NotPermitted`], [`Error::NoFileSystem`], and
/// [`Error::Mount`].
pub fn mount_overlay(lower: &Path, upper: Upper<'_>, mountpoint: &Path, options: &MountOptions) -> Result<Mounted> {
    let whole = |path: &Path| path.canonicalize().map_err(Error::mountpoint(path));
    let (mountpoint, lower) = (whole(mountpoint)?, whole(lower)?);
    let (upper, work) = (whole(upper.upper)?, whole(upper.work)?);
    let context = erofs::open(FORM, &mountpoint)?;
    let create = || {
        fsconfig_set_string(&context, "source", "vmroot")?;
        fsconfig_set_string(&context, "lowerdir", escaped(&lower))?;
        fsconfig_set_string(&context, "upperdir", &upper)?;
        fsconfig_set_string(&context, "workdir", &work)?;
        // Whoever reads the upper directory need not know of files that are only half there, or elsewhere.
        fsconfig_set_string(&context, "metacopy", "off")?;
        fsconfig_set_string(&context, "redirect_dir", "off")?;
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, options.attributes())
    };
    let mount = create().map_err(Error::mount(FORM, &mountpoint))?;
    Mounted::attach(&mount, FORM, &mountpoint)
}

/// Colons stand between lower directories.
fn escaped(path: &Path) -> OsString {
    let bytes = path.as_os_str().as_bytes().iter();
    let escape = |byte: &u8| if matches!(byte, b':' | b'\\') { vec![b'\\', *byte] } else { vec![*byte] };
    OsString::from_vec(bytes.flat_map(escape).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colons_are_escaped() {
        assert_eq!(escaped("/a:b\\c,d".as_ref()), "/a\\:b\\\\c,d");
    }
}
