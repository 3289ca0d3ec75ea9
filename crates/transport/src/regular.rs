//! Opening of files in directories that others wrote.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file for reading. Symbolic links are followed.
///
/// Other files are refused and not opened: a named pipe blocks, and opening a device can have effects. A file that
/// takes the place of a regular one between the check and the opening does not block either.
///
/// # Errors
/// The error of stat(2) or open(2), or [`io::ErrorKind::InvalidInput`] if the file is not regular.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    require_regular(&fs::metadata(path)?)?;
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    require_regular(&file.metadata()?)?;
    Ok(file)
}

fn require_regular(metadata: &fs::Metadata) -> io::Result<()> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        std::os::unix::fs::symlink("loop", path("loop")).unwrap();
        mkfifoat(CWD, path("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        for name in ["file", "link"] {
            assert_eq!(io::read_to_string(open_regular(&path(name)).unwrap()).unwrap(), "text");
        }
        for name in [path("pipe"), directory.path().to_owned(), "/dev/zero".into()] {
            assert_eq!(open_regular(&name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{}", name.display());
        }
        assert_eq!(open_regular(&path("missing")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(open_regular(&path("loop")).is_err());
    }
}
