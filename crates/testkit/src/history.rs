//! Random histories of a mounted file system: what a guest might do with its disk, without system calls of its own.
//!
//! Steps that the kernel refuses, for example because a name is taken, are left out. So a history can be played on any
//! file system, and the result is read from there.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dev, FallocateFlags, FileType, Mode, Timespec, Timestamps, fallocate, makedev, mknodat, utimensat,
};

use crate::xattr;

/// The size of the small pieces of files, in bytes.
const PIECE: usize = 20_000;

/// A history that is the same for each seed.
#[derive(Debug)]
pub struct History {
    state: u64,
    /// The paths that were created, relative to the root. Some may not exist any more.
    known: Vec<PathBuf>,
}

impl History {
    /// Begins a history. `known` are paths that exist already, relative to the root.
    pub fn new(seed: u64, known: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, known: known.into_iter().collect() }
    }

    /// Returns a number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        // xorshift64*, Vigna 2016.
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % limit
    }

    /// Plays some steps below `root`. Returns the number of steps that the kernel did not refuse.
    pub fn play(&mut self, root: &Path, steps: usize) -> usize {
        (0..steps).filter(|_| self.step(root).is_ok()).count()
    }

    fn step(&mut self, root: &Path) -> std::io::Result<()> {
        match self.below(26) {
            0..=3 => self.create(root),
            4 | 5 => self.create_directory(root),
            6 | 7 => self.write(root),
            8 => self.truncate(root),
            9 | 10 => self.rename(root),
            11 => self.link(root),
            12 => self.set_xattr(root),
            13 => self.set_list(root),
            14 => self.set_mode(root),
            15 | 16 => self.delete(root),
            17 => self.allocate(root),
            18 => self.write_sparsely(root),
            19 => self.make_link(root),
            20 => self.make_node(root),
            21 => self.replace(root),
            22 => self.set_time(root),
            23 => self.set_owner(root),
            24 => self.fill_directory(root),
            _ => self.sync(root),
        }
    }

    /// Deletes entries until at most `limit` are known, so that a long history does not fill its disk.
    pub fn prune(&mut self, root: &Path, limit: usize) {
        self.known.retain(|path| root.join(path).symlink_metadata().is_ok());
        while self.known.len() > limit {
            let index = self.below(self.known.len() as u64) as usize;
            let path = root.join(self.known.swap_remove(index));
            // Errors are ignored: the entry may be in a directory that was deleted.
            let _ = match path.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
                _ => fs::remove_file(path),
            };
        }
    }

    fn some(&mut self) -> PathBuf {
        match self.known.len() {
            0 => PathBuf::new(),
            count => {
                let index = self.below(count as u64) as usize;
                self.known[index].clone()
            }
        }
    }

    /// Returns an unused path in a directory that exists, as a rule.
    fn unused(&mut self, root: &Path) -> PathBuf {
        let mut parent = PathBuf::new();
        for _ in 0..3 {
            let some = self.some();
            if root.join(&some).symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                parent = some;
                break;
            }
        }
        let number = self.below(10_000);
        let name = match number % 12 {
            0 => format!("{number}{}", "long name ".repeat(24)),
            1 => format!("\u{e4}\u{1f600} {number}"),
            _ => format!("n{number}"),
        };
        parent.join(name)
    }

    fn add(&mut self, path: PathBuf) {
        self.known.push(path);
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut seed = self.below(1 << 30) as u32;
        let next = || {
            seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12345);
            (seed >> 16) as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    fn create(&mut self, root: &Path) -> std::io::Result<()> {
        let path = self.unused(root);
        let length = match self.below(10) {
            0 => 0,
            1 => 60 + self.below(80) as usize,
            2 => 4096,
            3 => self.below(300_000) as usize,
            4 => {
                // A block that looks like one of the journal.
                let mut bytes = 0xc03b_3998_u32.to_be_bytes().to_vec();
                bytes.extend(self.bytes(5000));
                fs::write(root.join(&path), bytes)?;
                self.add(path);
                return Ok(());
            }
            _ => self.below(PIECE as u64) as usize,
        };
        let bytes = self.bytes(length);
        fs::write(root.join(&path), bytes)?;
        self.add(path);
        Ok(())
    }

    fn create_directory(&mut self, root: &Path) -> std::io::Result<()> {
        let path = self.unused(root);
        fs::create_dir(root.join(&path))?;
        self.add(path);
        Ok(())
    }

    fn open(&mut self, root: &Path) -> std::io::Result<File> {
        let path = root.join(self.some());
        if !path.symlink_metadata()?.is_file() {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn write(&mut self, root: &Path) -> std::io::Result<()> {
        let file = self.open(root)?;
        let (offset, length) = (self.below(100_000), self.below(PIECE as u64) as usize);
        let bytes = self.bytes(length);
        file.write_all_at(&bytes, offset)
    }

    fn truncate(&mut self, root: &Path) -> std::io::Result<()> {
        let file = self.open(root)?;
        file.set_len(self.below(200_000))
    }

    fn allocate(&mut self, root: &Path) -> std::io::Result<()> {
        let file = self.open(root)?;
        let flags = [
            FallocateFlags::empty(),
            FallocateFlags::KEEP_SIZE,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            FallocateFlags::ZERO_RANGE,
        ];
        let flags = flags[self.below(4) as usize];
        Ok(fallocate(&file, flags, self.below(300_000), 1 + self.below(100_000))?)
    }

    fn write_sparsely(&mut self, root: &Path) -> std::io::Result<()> {
        let file = self.open(root)?;
        for _ in 0..self.below(40) {
            let offset = self.below(1 << 26);
            let bytes = self.bytes(1000);
            file.write_all_at(&bytes, offset)?;
        }
        Ok(())
    }

    fn rename(&mut self, root: &Path) -> std::io::Result<()> {
        let (from, to) = (self.some(), self.unused(root));
        fs::rename(root.join(&from), root.join(&to))?;
        self.add(to);
        Ok(())
    }

    fn link(&mut self, root: &Path) -> std::io::Result<()> {
        let (from, to) = (self.some(), self.unused(root));
        fs::hard_link(root.join(&from), root.join(&to))?;
        self.add(to);
        Ok(())
    }

    fn set_xattr(&mut self, root: &Path) -> std::io::Result<()> {
        let path = root.join(self.some());
        let prefix = ["user", "trusted", "security"][self.below(3) as usize];
        let name = format!("{prefix}.x{}", self.below(4));
        let length = [0, 5, 40, 300, 2000][self.below(5) as usize];
        let value = self.bytes(length);
        match self.below(5) {
            0 => Ok(xattr::remove(&path, name.as_bytes())?),
            _ => Ok(xattr::set(&path, name.as_bytes(), &value)?),
        }
    }

    fn set_list(&mut self, root: &Path) -> std::io::Result<()> {
        let path = root.join(self.some());
        let user = self.below(60_000) as u32;
        let mut list = vec![2, 0, 0, 0];
        for (tag, id) in [(1_u16, u32::MAX), (2, user), (4, u32::MAX), (16, u32::MAX), (32, u32::MAX)] {
            list.extend(tag.to_le_bytes());
            list.extend((self.below(8) as u16).to_le_bytes());
            list.extend(id.to_le_bytes());
        }
        let name = ["system.posix_acl_access", "system.posix_acl_default"][self.below(2) as usize];
        Ok(xattr::set(&path, name.as_bytes(), &list)?)
    }

    fn set_mode(&mut self, root: &Path) -> std::io::Result<()> {
        let path = root.join(self.some());
        if path.symlink_metadata()?.is_symlink() {
            return Ok(());
        }
        fs::set_permissions(path, fs::Permissions::from_mode(self.below(0o10000) as u32))
    }

    fn set_owner(&mut self, root: &Path) -> std::io::Result<()> {
        let path = root.join(self.some());
        let (user, group) = (self.below(200_000) as u32, self.below(200_000) as u32);
        match self.below(2) {
            0 => lchown(path, Some(user), Some(group)),
            _ if path.symlink_metadata()?.is_symlink() => Ok(()),
            _ => chown(path, Some(user), None),
        }
    }

    fn set_time(&mut self, root: &Path) -> std::io::Result<()> {
        let path = root.join(self.some());
        // From 1901 to 2446.
        let seconds = self.below(17_000_000_000).cast_signed() - 2_000_000_000;
        let time = Timespec { tv_sec: seconds, tv_nsec: self.below(1_000_000_000).cast_signed() };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn delete(&mut self, root: &Path) -> std::io::Result<()> {
        let path = self.some();
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        let path = root.join(path);
        match path.symlink_metadata()?.is_dir() {
            true => fs::remove_dir_all(path),
            false => fs::remove_file(path),
        }
    }

    /// Replaces a file by a directory of the same name, or a directory by a file.
    fn replace(&mut self, root: &Path) -> std::io::Result<()> {
        let path = self.some();
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        let path = root.join(path);
        if path.symlink_metadata()?.is_dir() {
            fs::remove_dir_all(&path)?;
            return match self.below(2) {
                0 => fs::write(path, "now a file"),
                _ => fs::create_dir(path),
            };
        }
        fs::remove_file(&path)?;
        fs::create_dir(&path)?;
        fs::write(path.join("inside"), "of a directory that was a file")
    }

    fn make_link(&mut self, root: &Path) -> std::io::Result<()> {
        let path = self.unused(root);
        let length = [1, 58, 59, 60, 61, 200, 1000, 4000][self.below(8) as usize];
        symlink("t".repeat(length), root.join(&path))?;
        self.add(path);
        Ok(())
    }

    fn make_node(&mut self, root: &Path) -> std::io::Result<()> {
        let path = self.unused(root);
        let device: Dev = [makedev(1, 3), makedev(260, 70_000), makedev(8, 1)][self.below(3) as usize];
        let kind = [FileType::CharacterDevice, FileType::BlockDevice, FileType::Fifo][self.below(3) as usize];
        let device = if kind == FileType::Fifo { 0 } else { device };
        let full = CString::new(root.join(&path).as_os_str().as_bytes()).map_err(std::io::Error::other)?;
        mknodat(CWD, full, kind, Mode::from_raw_mode(0o640), device)?;
        self.add(path);
        Ok(())
    }

    /// Makes a directory of several blocks, or empties one.
    fn fill_directory(&mut self, root: &Path) -> std::io::Result<()> {
        let path = self.unused(root);
        fs::create_dir(root.join(&path))?;
        for number in 0..self.below(400) {
            File::create(root.join(&path).join(format!("entry {number} of a larger directory")))?;
        }
        self.add(path);
        Ok(())
    }

    fn sync(&mut self, root: &Path) -> std::io::Result<()> {
        match self.below(3) {
            0 => {
                let root = File::open(root)?;
                Ok(rustix::fs::syncfs(&root)?)
            }
            _ => self.open(root)?.sync_all(),
        }
    }
}
