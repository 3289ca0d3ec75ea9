//! A cpio archive (newc), which a kernel unpacks into its initial root.

use std::fs;
use std::path::Path;

/// A list of entries. Parents come first.
#[derive(Debug, Clone, Default)]
pub struct Initramfs {
    bytes: Vec<u8>,
    entries: u32,
}

impl Initramfs {
    /// Returns an empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns an archive that was written elsewhere.
    pub fn of(bytes: Vec<u8>) -> Self {
        Self { bytes, entries: 0 }
    }

    /// Adds a directory.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(path, 0o040_000 | mode, (0, 0), b"")
    }

    /// Adds a file owned by root.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, bytes: &[u8]) -> Self {
        self.entry(path, 0o100_000 | mode, (0, 0), bytes)
    }

    /// Adds a copy of a file of the host.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn copy(self, path: &str, mode: u32, source: &Path) -> Self {
        let bytes = fs::read(source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        self.file(path, mode, &bytes)
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, 0o120_777, (0, 0), target.as_bytes())
    }

    /// Adds a directory with an owner and a group.
    #[must_use]
    pub fn directory_of(self, path: &str, mode: u32, owner: (u32, u32)) -> Self {
        self.entry(path, 0o040_000 | mode, owner, b"")
    }

    /// Returns the archive with its end.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), b"").bytes
    }

    fn entry(mut self, path: &str, mode: u32, owner: (u32, u32), bytes: &[u8]) -> Self {
        self.entries += 1;
        let path = path.trim_start_matches('/');
        let (size, name_size) = (bytes.len() as u32, path.len() as u32 + 1);
        let links = 1;
        let (time, device, check) = (0, 0, 0);
        let fields =
            [self.entries, mode, owner.0, owner.1, links, time, size, device, device, device, device, name_size, check];
        self.bytes.extend(b"070701");
        fields.iter().for_each(|field| self.bytes.extend(format!("{field:08x}").as_bytes()));
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(bytes);
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
