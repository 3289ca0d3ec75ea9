//! Uses of a cache's files, between processes.
//!
//! Each user of a cache has a file in `uses/`, which lists the files that it needs and is locked as long as the user
//! exists. The file of a killed process is unlocked, and is swept. A mount that the kernel serves without a process has
//! a file that names the mount.
//!
//! A user adds to its file while it holds [`LockName::Uses`] shared. A collection holds this lock exclusively while it
//! decides and removes. So files that exist after they were added stay until they are released.

mod mount;
mod own;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use vmroot_model::Digest;
use vmroot_output::flock::{Mode, is_at, try_flock};

pub use self::own::{Hold, Uses};
use crate::cache::{Cache, names};
use crate::lock::{Lock, LockName, wait_forever};
use crate::{Layout, Result};

/// The extension of the file of a process.
const PROCESS: &str = "use";
/// The extension of the file of a process that needs all files of the cache, because its needs could not be written.
const EVERYTHING: &str = "all";
/// The extension of the file of a mount.
const MOUNT: &str = "mount";

/// Files of a cache that a user or a lease needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// The ids of the images that the files belong to. Their records are not among the files.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub images: BTreeSet<Digest>,
    /// Blobs, complete or partial.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub blobs: BTreeSet<Digest>,
    /// The diff ids of layers.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub layers: BTreeSet<Digest>,
    /// The chain ids of roots.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roots: BTreeSet<Digest>,
}

/// A user of a cache, and its needs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Use {
    /// The user.
    pub user: User,
    /// The time since which the user exists.
    pub since: SystemTime,
    /// The files that it needs.
    pub needs: Needs,
    /// Whether it needs all files of the cache. Its needs could not be written, or cannot be read.
    pub everything: bool,
    /// Whether it is the caller.
    pub is_own: bool,
}

/// A user of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// A process.
    Process {
        /// Its id, in its own PID namespace.
        pid: u32,
        /// What it does, such as `mount /mnt`. May be empty.
        purpose: String,
    },
    /// A mount that the kernel serves without a process.
    Mount {
        /// The mountpoint, as it was when it was mounted.
        mountpoint: PathBuf,
    },
}

/// A line of a file of a process, after the byte with its state.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// The process. It is in the first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<Process>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    needs: Option<Needs>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Process {
    pid: u32,
    /// In seconds since the Unix epoch.
    since: u64,
    purpose: String,
}

impl Needs {
    /// Adds the needs of `other`.
    pub fn extend(&mut self, other: &Self) {
        self.images.extend(&other.images);
        self.blobs.extend(&other.blobs);
        self.layers.extend(&other.layers);
        self.roots.extend(&other.roots);
    }

    /// Returns whether nothing is needed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Layout {
    /// Returns the directory with the files of the users.
    pub(crate) fn uses(&self) -> PathBuf {
        self.root().join("uses")
    }
}

impl Cache {
    /// Takes [`LockName::Uses`], which is never held for long. Its holder must not wait for any other lock.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): the lock file cannot be created or locked.
    pub fn lock_uses(&self, mode: Mode) -> Result<Lock> {
        self.lock(&LockName::Uses, mode, &mut wait_forever)
    }

    /// Returns the users of the cache, with the caller as `own`. Removes the files of killed processes and of mounts that
    /// have ended.
    ///
    /// Only with [`LockName::Uses`] held exclusively are the needs complete. With the shared lock, or without any, needs
    /// that are added meanwhile may be missing.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): a file cannot be listed, read or removed.
    pub fn uses(&self, own: Option<&Uses>) -> Result<Vec<Use>> {
        let directory = self.layout().uses();
        let mut mounts = mount::Tables::default();
        let mut uses: Vec<Use> = own.and_then(Uses::own_use).into_iter().collect();
        for name in names(&directory)? {
            if own.is_some_and(|own| own.is_own_file(&name)) {
                continue;
            }
            let path = directory.join(&name);
            uses.extend(match name.rsplit_once('.') {
                Some((stem, PROCESS)) => read_process(&path, stem, false)?,
                Some((stem, EVERYTHING)) => read_process(&path, stem, true)?,
                Some((_, MOUNT)) => mount::read(&path, &mut mounts)?,
                _ => None,
            });
        }
        Ok(uses)
    }
}

/// Reads the file of a process. Removes it and returns `None` if the process has ended.
fn read_process(path: &Path, stem: &str, everything: bool) -> Result<Option<Use>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(vmroot_output::Error::on("open", path))?,
    };
    if try_flock(&file, Mode::Exclusive).map_err(vmroot_output::Error::on("lock", path))? {
        if is_at(&file, path)? {
            crate::cache::remove_file(path)?;
        }
        return Ok(None);
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(vmroot_output::Error::on("read", path))?;
    let pid = stem.split('-').next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
    let mut found = Use {
        user: User::Process { pid, purpose: String::new() },
        since: file.metadata().and_then(|metadata| metadata.modified()).unwrap_or(UNIX_EPOCH),
        needs: Needs::default(),
        everything,
        is_own: false,
    };
    // The last line is not complete if the process was killed or is writing it now.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let Some(line) = line.strip_prefix('+') else { continue };
        match serde_json::from_str::<Line>(line) {
            Ok(Line { process: Some(process), .. }) => {
                found.user = User::Process { pid: process.pid, purpose: process.purpose };
                found.since = UNIX_EPOCH + Duration::from_secs(process.since);
            }
            Ok(Line { needs: Some(needs), .. }) => found.needs.extend(&needs),
            // A later version wrote it.
            Ok(_) | Err(_) => found.everything = true,
        }
    }
    Ok(Some(found))
}

/// Returns whether there is a file of a process, killed or not.
pub(crate) fn has_files(layout: &Layout) -> Result<bool> {
    let is_of_process =
        |name: &String| name.rsplit_once('.').is_some_and(|(_, end)| end == PROCESS || end == EVERYTHING);
    Ok(names(&layout.uses())?.iter().any(is_of_process))
}

/// Returns the number of files of processes that exist.
pub(crate) fn count_processes(layout: &Layout) -> Result<usize> {
    let directory = layout.uses();
    let mut count = 0;
    for name in names(&directory)? {
        let path = directory.join(&name);
        if !path.extension().is_some_and(|extension| extension == PROCESS || extension == EVERYTHING) {
            continue;
        }
        let Ok(file) = File::open(&path) else { continue };
        if !try_flock(&file, Mode::Exclusive).map_err(vmroot_output::Error::on("lock", &path))? {
            count += 1;
        }
    }
    Ok(count)
}

/// Returns the seconds since the Unix epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Reads a small file of the kernel, without the line break at its end.
fn read_kernel_file(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}
