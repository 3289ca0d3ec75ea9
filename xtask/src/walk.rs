//! Lists and reads whole trees, as users of a mount do.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::Path,
};

use anyhow::{Context, Result};

/// The buffer size of cat(1) and cp(1).
const BUFFER: usize = 128 << 10;

/// The totals of a walk.
#[derive(Default)]
pub struct Totals {
    /// The number of entries whose attributes were read.
    pub paths: u64,
    /// The number of bytes that were read from files.
    pub bytes: u64,
    /// The number of files and directories that this user may not open.
    pub refused: u64,
}

/// Lists every directory and reads the attributes of every entry.
pub fn stat_all(directory: &Path) -> Result<Totals> {
    let mut seen = Totals::default();
    seen.refused = visit(directory, &mut |_, _| {
        seen.paths += 1;
        Ok(())
    })?;
    Ok(seen)
}

/// Reads every byte of every regular file.
pub fn read_all(directory: &Path) -> Result<Totals> {
    let mut buffer = vec![0; BUFFER];
    let mut seen = Totals::default();
    let closed = visit(directory, &mut |path, metadata| {
        seen.paths += 1;
        if metadata.is_file() {
            match allowed(File::open(path)).with_context(|| format!("cannot open {}", path.display()))? {
                Some(file) => {
                    seen.bytes += read(file, &mut buffer).with_context(|| format!("cannot read {}", path.display()))?;
                }
                None => seen.refused += 1,
            }
        }
        Ok(())
    })?;
    seen.refused += closed;
    Ok(seen)
}

fn read(mut file: File, buffer: &mut [u8]) -> io::Result<u64> {
    let mut bytes = 0;
    loop {
        match file.read(buffer)? {
            0 => return Ok(bytes),
            read => bytes += read as u64,
        }
    }
}

/// Calls `seen` for every entry below `directory`, for directories before their content. Returns the number of
/// directories that this user may not list.
pub fn visit(directory: &Path, seen: &mut dyn FnMut(&Path, &fs::Metadata) -> Result<()>) -> Result<u64> {
    let mut refused = 0;
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        let entries = allowed(fs::read_dir(&directory));
        let Some(entries) = entries.with_context(|| format!("cannot list {}", directory.display()))? else {
            refused += 1;
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            let metadata = path.symlink_metadata().with_context(|| format!("cannot stat {}", path.display()))?;
            seen(&path, &metadata)?;
            if metadata.is_dir() {
                pending.push(path);
            }
        }
    }
    Ok(refused)
}

/// Returns `None` for an error of missing permissions.
fn allowed<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(None),
        result => result.map(Some),
    }
}
