//! Owners, xattrs, modes and times, set in an order in which none changes another.

use std::path::PathBuf;

use rustix::io::Errno;
use vmroot_container_fs::{InodeKind, Stat};
use vmroot_output::{OmissionReason, Omitted};

use super::acl;
use super::export::Export;
use super::new_inode::NewInode;
use super::rootless;
use crate::Result;

/// Errors of chown(2) that are reported: no privilege, or an id that the user namespace does not map.
const NO_OWNER: &[Errno] = &[Errno::PERM, Errno::INVAL, Errno::OVERFLOW];
/// Errors that are reported for modes and times: no privilege, or a time that the file system does not support.
const NO_CHANGE: &[Errno] = &[Errno::PERM, Errno::RANGE];
/// Errors that are reported for xattrs: no privilege, an unsupported namespace or inode kind, no space, or no procfs.
const NO_XATTR: &[Errno] = &[
    Errno::PERM,
    Errno::ACCESS,
    Errno::OPNOTSUPP,
    Errno::INVAL,
    Errno::RANGE,
    Errno::TOOBIG,
    Errno::NOSPC,
    Errno::NOENT,
];

impl Export<'_> {
    /// Sets the attributes of an inode. `path` is for messages.
    ///
    /// The owner comes first, because changing it clears setuid bits and capabilities. Then come xattrs, which the mode
    /// may make unwritable, then the mode. The times are last, because nothing changes them afterwards.
    pub(super) fn set_attributes(&self, inode: NewInode<'_>, stat: &Stat, path: &dyn Fn() -> PathBuf) -> Result<()> {
        let mode = if self.options.rootless {
            self.record_attributes(inode, stat, path)?;
            rootless::accessible_mode(stat)
        } else {
            let owned = match &self.merge {
                Some(merge) if !merge.keep_owners => self.has_owner(inode, stat, path)?,
                _ => self.set_owner(inode, stat, path)?,
            };
            for (name, value) in self.fs.xattrs(stat.ino) {
                let set = self.set_xattr(inode, name, name, value, path)?;
                if set && name == acl::NAME && !acl::is_consistent(value, stat.mode) {
                    self.add_omission(path, Omitted::Xattr(name.into()), Errno::INVAL)?;
                }
            }
            self.mode_for(stat, owned, path)?
        };
        if stat.kind != InodeKind::Symlink && !self.is_mode_postponed(stat) {
            self.set_mode(inode, mode, path)?;
        }
        self.tolerate(NO_CHANGE, inode.set_times(stat.mtime), || Omitted::Time, "set the times of", path)?;
        Ok(())
    }

    /// Returns true if the mode makes a directory inaccessible. Such a mode is set at the end of the export.
    pub(super) fn is_mode_postponed(&self, stat: &Stat) -> bool {
        stat.kind == InodeKind::Directory && stat.mode & 0o700 != 0o700 && !self.options.rootless
    }

    pub(super) fn set_mode(&self, inode: NewInode<'_>, mode: u32, path: &dyn Fn() -> PathBuf) -> Result<()> {
        let refused = || Omitted::Mode(mode & 0o7777);
        self.tolerate(NO_CHANGE, inode.set_mode(mode), refused, "change the mode of", path)?;
        Ok(())
    }

    fn set_owner(&self, inode: NewInode<'_>, stat: &Stat, path: &dyn Fn() -> PathBuf) -> Result<bool> {
        let (uid, gid) = (stat.uid, stat.gid);
        self.tolerate(NO_OWNER, inode.set_owner(uid, gid), || Omitted::Owner { uid, gid }, "change the owner of", path)
    }

    /// Returns whether a new inode, whose owner is not set, has that of the image.
    fn has_owner(&self, inode: NewInode<'_>, stat: &Stat, path: &dyn Fn() -> PathBuf) -> Result<bool> {
        if !has_set_id(stat) {
            return Ok(true);
        }
        let owner = inode.owner().map_err(vmroot_output::Error::on("read the owner of", self.target.join(path())))?;
        Ok(owner == (stat.uid, stat.gid))
    }

    /// Sets an xattr. Its name is `name` in the image and `as_name` on disk.
    fn set_xattr(
        &self,
        inode: NewInode<'_>,
        name: &[u8],
        as_name: &[u8],
        value: &[u8],
        path: &dyn Fn() -> PathBuf,
    ) -> Result<bool> {
        let refused = || Omitted::Xattr(name.into());
        self.tolerate(NO_XATTR, inode.set_xattr(as_name, value), refused, "set an xattr of", path)
    }

    /// Returns the mode to set. Setuid and setgid are removed if the owner could not be set, because the file would run
    /// with the rights of the exporting user.
    fn mode_for(&self, stat: &Stat, owned: bool, path: &dyn Fn() -> PathBuf) -> Result<u32> {
        if owned || !has_set_id(stat) {
            return Ok(stat.mode);
        }
        let why = match &self.merge {
            Some(merge) if !merge.keep_owners => OmissionReason::form("the copy belongs to another user or group"),
            _ => OmissionReason::System(Errno::PERM),
        };
        self.omit(path, Omitted::Mode(stat.mode & 0o7777), why)?;
        Ok(stat.mode & !0o6000)
    }

    /// Records in xattrs the attributes that only root can set.
    fn record_attributes(&self, inode: NewInode<'_>, stat: &Stat, path: &dyn Fn() -> PathBuf) -> Result<()> {
        if stat.kind == InodeKind::Symlink {
            if (stat.uid, stat.gid) != self.exporter {
                self.add_omission(path, Omitted::Owner { uid: stat.uid, gid: stat.gid }, Errno::PERM)?;
            }
            for (name, _) in self.fs.xattrs(stat.ino) {
                self.add_omission(path, Omitted::Xattr(name.into()), Errno::PERM)?;
            }
            return Ok(());
        }
        for (name, value) in self.fs.xattrs(stat.ino) {
            match rootless::recorded_name(name) {
                Some(as_name) => {
                    self.set_xattr(inode, name, &as_name, value, path)?;
                }
                None => self.add_omission(path, Omitted::Xattr(name.into()), Errno::PERM)?,
            }
        }
        let name = rootless::OVERRIDE_STAT.as_bytes();
        self.set_xattr(inode, name, name, rootless::override_stat(stat).as_bytes(), path)?;
        Ok(())
    }

    /// Returns true if a call succeeded. Adds an omission for an expected error. Any other error is returned.
    pub(super) fn tolerate(
        &self,
        expected: &[Errno],
        result: rustix::io::Result<()>,
        what: impl FnOnce() -> Omitted,
        action: &'static str,
        path: &dyn Fn() -> PathBuf,
    ) -> Result<bool> {
        match result {
            Ok(()) => Ok(true),
            Err(errno) if expected.contains(&errno) => {
                self.add_omission(path, what(), errno)?;
                Ok(false)
            }
            Err(errno) => Err(vmroot_output::Error::on(action, self.target.join(path()))(errno).into()),
        }
    }
}

/// Returns whether a program runs with the rights of its owner or group.
fn has_set_id(stat: &Stat) -> bool {
    stat.kind == InodeKind::Regular && stat.mode & 0o6000 != 0
}
