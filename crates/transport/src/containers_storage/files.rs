//! Access to the files of a layer by the names in its tar.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use vmroot_output::beneath;

use crate::{Error, Result};

/// The flags for opening a file: read-only, without following a symbolic link, without waiting for a pipe.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// The directory of a layer.
///
/// A tar may have a file beneath a symbolic link, as in `lib -> usr/lib` and `lib/x`. So links to directories are
/// followed. The directory is their root, so they cannot lead out of it.
#[derive(Debug)]
pub(super) struct LayerFiles {
    path: PathBuf,
    directory: OwnedFd,
}

impl LayerFiles {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let directory = openat(CWD, path, beneath::DIRECTORY, Mode::empty()).map_err(|error| Error::Io {
            action: "open",
            path: path.to_owned(),
            source: error.into(),
        })?;
        Ok(Self { path: path.to_owned(), directory })
    }

    /// Returns the directory's path, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file of a tar's entry, which must have `size` bytes.
    pub(super) fn open_file(&self, name: &[u8], size: u64) -> Result<File> {
        let shown = String::from_utf8_lossy(name).into_owned();
        let fail = |errno: Errno| match errno {
            Errno::NOENT => Error::Missing { path: self.path.clone(), role: "file", member: shown.clone() },
            Errno::LOOP => Error::member(&self.path, &shown, "is a symbolic link, and should be a file"),
            Errno::ACCESS => Error::member(&self.path, &shown, "may not be read by this user"),
            errno => Error::Io { action: "open", path: self.path.join(&shown), source: errno.into() },
        };
        let path = CString::new(name).map_err(|_| Error::member(&self.path, &shown, "is not a name of a file"))?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let opened = loop {
            match openat2(&self.directory, &*path, FILE, Mode::empty(), resolve) {
                // A rename elsewhere raced with the call.
                Err(Errno::AGAIN) => {}
                // Linux before 5.6, or a sandbox that does not know the call.
                Err(Errno::NOSYS | Errno::PERM) => break self.open_one_by_one(name),
                result => break result,
            }
        };
        let file = File::from(opened.map_err(fail)?);
        let metadata = file.metadata().map_err(|source| self.io("stat", &shown, source))?;
        if !metadata.is_file() {
            return Err(Error::member(&self.path, &shown, "is not a file"));
        }
        if metadata.len() != size {
            let reason = format!("has {} bytes, and should have {size}", metadata.len());
            return Err(Error::member(&self.path, &shown, reason));
        }
        Ok(file)
    }

    /// Opens a file without following any symbolic link.
    fn open_one_by_one(&self, name: &[u8]) -> rustix::io::Result<OwnedFd> {
        let names: Vec<&[u8]> =
            name.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect();
        if names.contains(&&b".."[..]) {
            return Err(Errno::XDEV);
        }
        let (last, parents) = names.split_last().ok_or(Errno::ISDIR)?;
        if parents.is_empty() {
            return openat(&self.directory, *last, FILE, Mode::empty());
        }
        let parent = beneath::open_below(self.directory.as_fd(), parents)?;
        openat(&parent, *last, FILE, Mode::empty())
    }

    pub(super) fn io(&self, action: &'static str, name: &str, source: io::Error) -> Error {
        Error::Io { action, path: self.path.join(name.trim_start_matches('/')), source }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn layer() -> (tempfile::TempDir, LayerFiles) {
        let directory = tempfile::tempdir().unwrap();
        let diff = directory.path().join("diff");
        std::fs::create_dir_all(diff.join("usr/lib")).unwrap();
        std::fs::write(directory.path().join("secret"), "secret").unwrap();
        std::fs::write(diff.join("usr/lib/x"), "file").unwrap();
        for (target, link) in [("usr/lib", "lib"), ("/usr/lib", "absolute"), ("usr/lib/x", "link")] {
            symlink(target, diff.join(link)).unwrap();
        }
        for (target, link) in [("..", "up"), ("../..", "higher"), (directory.path().to_str().unwrap(), "out")] {
            symlink(target, diff.join(link)).unwrap();
        }
        let files = LayerFiles::open(&diff).unwrap();
        (directory, files)
    }

    #[test]
    fn links_to_directories_are_followed_in_the_layer_only() {
        let (_directory, files) = layer();
        for name in ["usr/lib/x", "./usr//lib/x", "/usr/lib/x", "lib/x", "absolute/x", "up/usr/lib/x"] {
            let mut text = String::new();
            files.open_file(name.as_bytes(), 4).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "file", "{name}");
        }
        for name in ["up/secret", "higher/secret", "../secret", "out/secret", "usr/lib/../../../secret"] {
            assert!(matches!(files.open_file(name.as_bytes(), 6).unwrap_err(), Error::Missing { .. }), "{name}");
        }
    }

    #[test]
    fn only_files_of_the_right_size_are_opened() {
        let (directory, files) = layer();
        rustix::fs::mknodat(CWD, directory.path().join("diff/pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0)
            .unwrap();
        for (name, size, reason) in [
            (&b"usr/lib/x"[..], 5, "has 4 bytes, and should have 5"),
            (b"usr/lib", 4, "is not a file"),
            (b"pipe", 4, "is not a file"),
            (b"link", 4, "is a symbolic link"),
            (b"a\0b", 4, "is not a name"),
            (b"missing", 4, "not found"),
            (b"", 4, "not found"),
        ] {
            let error = files.open_file(name, size).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn without_openat2_no_link_is_followed() {
        let (_directory, files) = layer();
        for name in ["usr/lib/x", "./usr//lib/x", "/usr/lib/x"] {
            assert!(files.open_one_by_one(name.as_bytes()).is_ok(), "{name}");
        }
        for name in ["lib/x", "link", "../secret", "up/secret", "", "."] {
            assert!(files.open_one_by_one(name.as_bytes()).is_err(), "{name}");
        }
    }
}
