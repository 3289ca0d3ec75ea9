//! Extracts a layer tar with GNU tar.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::attributes::tag_explicit;
use crate::error::{Error, Result};
use crate::layer::Mtime;

/// Extracts a tar into an empty directory, with markers as plain files, and marks the directories that have an entry.
pub(super) fn untar(tar: &Path, directory: &Path) -> Result<()> {
    let started = now(directory)?;
    gnu_tar(tar, directory)?;
    let implicit = started..=now(directory)?;
    let mut directories = vec![directory.to_path_buf()];
    while let Some(place) = directories.pop() {
        let metadata = fs::symlink_metadata(&place).map_err(Error::io("look at", &place))?;
        let mtime = (metadata.mtime(), metadata.mtime_nsec());
        if !implicit.contains(&mtime) {
            let nanoseconds = u32::try_from(mtime.1).expect("below 1e9");
            tag_explicit(&place, Mtime { seconds: mtime.0, nanoseconds })?;
        }
        directories.extend(subdirectories(&place)?);
    }
    Ok(())
}

/// Returns the current time of the file system's clock. Files that are created later are not older.
fn now(directory: &Path) -> Result<(i64, i64)> {
    let clock = directory.with_extension("clock");
    let metadata = File::create(&clock).and_then(|file| file.metadata()).map_err(Error::io("make", &clock))?;
    Ok((metadata.mtime(), metadata.mtime_nsec()))
}

/// Runs GNU tar with options to keep all attributes. It does not write outside of the directory.
pub(crate) fn gnu_tar(tar: &Path, directory: &Path) -> Result<()> {
    let output = Command::new("tar")
        .args(["--extract", "--numeric-owner", "--same-owner", "--same-permissions", "--xattrs", "--xattrs-include=*"])
        .args(["--delay-directory-restore", "--warning=no-timestamp"])
        .arg("--file")
        .arg(tar)
        .arg("--directory")
        .arg(directory)
        .output()
        .map_err(Error::io("run tar on", tar))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Program { program: "tar", message: String::from_utf8_lossy(&output.stderr).into_owned() })
}

fn subdirectories(place: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(place).map_err(Error::io("list", place))? {
        let entry = entry.map_err(Error::io("list", place))?;
        if entry.file_type().map_err(Error::io("look at", place))?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
