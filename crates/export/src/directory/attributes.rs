//! Owners, xattrs, modes and times, in the order in which none undoes another.

use std::path::PathBuf;

use rustix::io::Errno;
use vmroot_container_fs::{InodeKind, Stat};

use super::acl;
use super::export::Export;
use super::made::Made;
use super::rootless;
use crate::{Error, Omitted, Result};

/// What the kernel says to owners: no privilege, or an id that the user namespace does not have.
const NO_OWNER: &[Errno] = &[Errno::PERM, Errno::INVAL, Errno::OVERFLOW];
/// What file systems say to modes and times that are not theirs to give, and to times that they do not have.
const NO_CHANGE: &[Errno] = &[Errno::PERM, Errno::RANGE];
/// No privilege, no such namespace, not on this kind of inode, no room beside the inode, no procfs to name it by.
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
    /// Gives an inode its attributes. `path` names it in messages.
    ///
    /// The owner comes first, for changing it clears setuid bits and capabilities; then xattrs, which a later mode may
    /// forbid to write; then the mode; then the times, which nothing changes any more.
    pub(super) fn set_attributes(&self, made: Made<'_>, stat: &Stat, path: &dyn Fn() -> PathBuf) -> Result<()> {
        let mode = if self.options.rootless {
            self.record_attributes(made, stat, path)?;
            rootless::accessible_mode(stat)
        } else {
            let owned = self.set_owner(made, stat, path)?;
            for (name, value) in self.fs.xattrs(stat.ino) {
                let set = self.set_xattr(made, name, name, value, path)?;
                if set && name == acl::NAME && !acl::agrees(value, stat.mode) {
                    self.refuse(path, Omitted::Xattr(name.into()), Errno::INVAL)?;
                }
            }
            self.mode_for(stat, owned, path)?
        };
        if stat.kind != InodeKind::Symlink && !self.mode_is_postponed(stat) {
            self.set_mode(made, mode, path)?;
        }
        self.unless(NO_CHANGE, made.set_times(stat.mtime), || Omitted::Time, "set the times of", path)?;
        Ok(())
    }

    /// Whether a directory can no longer be entered once it has its mode: that comes when nothing else is to be done.
    pub(super) fn mode_is_postponed(&self, stat: &Stat) -> bool {
        stat.kind == InodeKind::Directory && stat.mode & 0o700 != 0o700 && !self.options.rootless
    }

    pub(super) fn set_mode(&self, made: Made<'_>, mode: u32, path: &dyn Fn() -> PathBuf) -> Result<()> {
        let refused = || Omitted::Mode(mode & 0o7777);
        self.unless(NO_CHANGE, made.set_mode(mode), refused, "change the mode of", path)?;
        Ok(())
    }

    fn set_owner(&self, made: Made<'_>, stat: &Stat, path: &dyn Fn() -> PathBuf) -> Result<bool> {
        let (uid, gid) = (stat.uid, stat.gid);
        self.unless(NO_OWNER, made.set_owner(uid, gid), || Omitted::Owner { uid, gid }, "change the owner of", path)
    }

    /// Sets an xattr, which is `name` in the image and `as_name` on the disk.
    fn set_xattr(
        &self,
        made: Made<'_>,
        name: &[u8],
        as_name: &[u8],
        value: &[u8],
        path: &dyn Fn() -> PathBuf,
    ) -> Result<bool> {
        let refused = || Omitted::Xattr(name.into());
        self.unless(NO_XATTR, made.set_xattr(as_name, value), refused, "set an xattr of", path)
    }

    /// Without its owner, a setuid file would run with the rights of whoever exported it.
    fn mode_for(&self, stat: &Stat, owned: bool, path: &dyn Fn() -> PathBuf) -> Result<u32> {
        if owned || stat.kind != InodeKind::Regular || stat.mode & 0o6000 == 0 {
            return Ok(stat.mode);
        }
        self.refuse(path, Omitted::Mode(stat.mode & 0o7777), Errno::PERM)?;
        Ok(stat.mode & !0o6000)
    }

    /// Records in xattrs what only root could set.
    fn record_attributes(&self, made: Made<'_>, stat: &Stat, path: &dyn Fn() -> PathBuf) -> Result<()> {
        if stat.kind == InodeKind::Symlink {
            if (stat.uid, stat.gid) != self.exporter {
                self.refuse(path, Omitted::Owner { uid: stat.uid, gid: stat.gid }, Errno::PERM)?;
            }
            for (name, _) in self.fs.xattrs(stat.ino) {
                self.refuse(path, Omitted::Xattr(name.into()), Errno::PERM)?;
            }
            return Ok(());
        }
        for (name, value) in self.fs.xattrs(stat.ino) {
            match rootless::recorded_name(name) {
                Some(as_name) => {
                    self.set_xattr(made, name, &as_name, value, path)?;
                }
                None => self.refuse(path, Omitted::Xattr(name.into()), Errno::PERM)?,
            }
        }
        let name = rootless::OVERRIDE_STAT.as_bytes();
        self.set_xattr(made, name, name, rootless::override_stat(stat).as_bytes(), path)?;
        Ok(())
    }

    /// Whether a call was done; an expected refusal of it is noted, any other is an error.
    pub(super) fn unless(
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
                self.refuse(path, what(), errno)?;
                Ok(false)
            }
            Err(errno) => Err(Error::io(action, self.target.join(path()))(errno)),
        }
    }
}
