//! Checks of inodes: the fields of each, and their references to other sections.

use super::{Check, Tables, ensure};
use crate::format::{ALIGNMENT, IMPLICIT, InodeRecord, KIND_LAYER, KIND_ROOT, MAX_SYMLINK, OPAQUE, PASSIVE};
use crate::inode::InodeKind;
use crate::open::ContentsFile;

/// The ends of the dirents, link targets and digests that belong to the inodes checked so far.
#[derive(Default)]
struct Cursors {
    dirents: u64,
    symlinks: u64,
    digests: u32,
}

impl Tables<'_> {
    /// Checks each inode, and that the inodes cover dirents, link targets and digests in order and without gaps.
    pub(super) fn check_inodes(&self, contents: &[ContentsFile]) -> Check<()> {
        let root = self.inodes.first().map(|root| InodeKind::of_mode(root.mode.get()));
        ensure!(root == Some(Some(InodeKind::Directory)), "inode 0 is not a directory");
        ensure!(!self.symlinks.contains(&0), "a link's target has a NUL in it");
        let mut cursors = Cursors::default();
        for (number, inode) in self.inodes.iter().enumerate() {
            let kind = InodeKind::of_mode(inode.mode.get()).filter(|_| inode.mode.get() <= 0o177_777);
            let kind = kind.ok_or_else(|| format!("inode {number} has mode {:o}", inode.mode))?;
            ensure!(inode.mtime_nanoseconds.get() < 1_000_000_000, "inode {number} has an invalid mtime");
            ensure!(
                inode.xattrs.get() as usize <= self.xattr_sets.len(),
                "inode {number} refers to a missing xattr set"
            );
            self.check_fields(number, inode, kind)?;
            self.check_data(number, inode, kind, contents, &mut cursors)?;
        }
        let Cursors { dirents, symlinks, digests } = cursors;
        ensure!(
            dirents == self.dirents.len() as u64,
            "directories have {dirents} dirents, expected {}",
            self.dirents.len()
        );
        ensure!(symlinks == self.symlinks.len() as u64, "bytes of SYMLINKS that do not belong to a link");
        ensure!(digests as usize == self.digests, "files have {digests} digests, expected {}", self.digests);
        Ok(())
    }

    /// Checks the fields that only some kinds of inode may have.
    fn check_fields(&self, number: usize, inode: &InodeRecord, kind: InodeKind) -> Check<()> {
        let flags = match (kind, self.kind) {
            (InodeKind::Directory, KIND_LAYER) => OPAQUE | IMPLICIT | PASSIVE,
            _ => 0,
        };
        ensure!(inode.flags.get() & !flags == 0, "inode {number} has flags {:x}", inode.flags);
        let passive = inode.flags.get() & PASSIVE != 0;
        ensure!(!passive || inode.flags.get() & IMPLICIT != 0, "inode {number} is passive and not implicit");
        ensure!(!passive || number != 0, "the root is passive");
        let is_link = kind == InodeKind::Link;
        ensure!(!is_link || self.kind != KIND_ROOT, "inode {number} is a link to a path, in a root");
        ensure!(!is_link || inode.mode.get() == 0, "inode {number} is a link to a path with mode {:o}", inode.mode);
        let is_device = matches!(kind, InodeKind::Character | InodeKind::Block);
        ensure!(is_device || inode.rdev.get() == 0, "inode {number} has a device number");
        Ok(())
    }

    /// Checks `size`, `data`, `count` and `digest`, whose meaning depends on the kind.
    fn check_data(
        &self,
        number: usize,
        inode: &InodeRecord,
        kind: InodeKind,
        contents: &[ContentsFile],
        cursors: &mut Cursors,
    ) -> Check<()> {
        let (size, data, count) = (inode.size.get(), inode.data.get(), inode.count.get());
        let mut digest = 0;
        match kind {
            InodeKind::Regular if size > 0 => {
                let file = contents.get(count as usize);
                let file = file.ok_or_else(|| format!("inode {number} refers to a missing contents file"))?;
                let fits = data.checked_add(size).is_some_and(|end| end <= file.length);
                ensure!(
                    fits && data % ALIGNMENT == 0,
                    "inode {number} lies at {data}, {size} bytes, outside its contents file"
                );
                cursors.digests += 1;
                digest = cursors.digests;
            }
            InodeKind::Symlink | InodeKind::Link => {
                // The path of a link to a lower layer may be longer than PATH_MAX. Only the size of a tar header limits
                // it.
                let limit = if kind == InodeKind::Symlink { MAX_SYMLINK as u64 } else { u64::MAX };
                let valid = (1..=limit).contains(&size) && size == u64::from(count) && data == cursors.symlinks;
                cursors.symlinks += u64::from(count);
                ensure!(
                    valid && cursors.symlinks <= self.symlinks.len() as u64,
                    "inode {number} has an invalid target"
                );
            }
            InodeKind::Directory => {
                let follows = size == 0 && data == cursors.dirents;
                cursors.dirents += u64::from(count);
                ensure!(
                    follows && cursors.dirents <= self.dirents.len() as u64,
                    "directory {number} does not follow the previous one"
                );
            }
            _ => ensure!(size == 0 && data == 0 && count == 0, "inode {number} has data"),
        }
        ensure!(inode.digest.get() == digest, "inode {number} has digest {}, expected {digest}", inode.digest);
        Ok(())
    }
}
