//! The quarantine: damaged files that could not be repaired.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use vmroot_cache::PUBLISHED_MODE;
use vmroot_output::{TEMPORARY_PREFIX, directory_of, sync_directory, write_atomically};

use super::{Check, Finding};
use crate::collect::{list, remove};
use crate::{Result, Store};

/// The end of the name of a description.
const SUFFIX: &str = ".quarantine.json";

/// The description of a file in the quarantine, in a file beside it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    /// The path of the file before, relative to the cache.
    path: String,
    /// The time of the move, in seconds since the Unix epoch.
    time: u64,
    kind: String,
    digest: Option<String>,
    problem: String,
    images: Vec<String>,
}

/// A file in the quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuarantinedFile {
    /// The path of the file in the quarantine.
    pub path: PathBuf,
    /// The path of the file before, relative to the cache. `None` if its description is lost.
    pub origin: Option<String>,
    /// The fault; empty if its description is lost.
    pub problem: String,
    /// The length in bytes.
    pub length: u64,
}

/// A file that was moved to the quarantine by this repair.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) path: PathBuf,
}

impl Check<'_> {
    /// Moves the file of a finding to the quarantine. Returns `None` if the file does not exist any more.
    ///
    /// The description is written first, so each file in the quarantine has one.
    pub(super) fn quarantine(&self, finding: &Finding) -> Result<Option<Aside>> {
        let (from, root) = (&finding.path, self.store.directory());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{}-{}-{name}", now.as_nanos(), std::process::id());
        let to = self.store.cache.layout().quarantine().join(name);
        let description = Description {
            path: from.strip_prefix(root).unwrap_or(from).to_string_lossy().into_owned(),
            time: now.as_secs(),
            kind: finding.kind.name().to_owned(),
            digest: finding.digest.map(|digest| digest.to_string()),
            problem: finding.problem.clone(),
            images: finding.images.iter().map(ToString::to_string).collect(),
        };
        let bytes = serde_json::to_vec_pretty(&description).expect("a description has no keys but strings");
        write_atomically(&description_of(&to), PUBLISHED_MODE, &bytes)?;
        match fs::rename(from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                remove(&description_of(&to))?;
                return Ok(None);
            }
            moved => moved.map_err(vmroot_output::Error::on("move to the quarantine", from))?,
        }
        sync_directory(directory_of(&to))?;
        sync_directory(directory_of(from))?;
        Ok(Some(Aside { path: to }))
    }
}

impl Aside {
    /// Removes the file: a whole one has replaced it.
    pub(super) fn discard(self) -> Result<()> {
        discard(&self.path)
    }
}

fn discard(path: &Path) -> Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        fs::remove_dir_all(path).map_err(vmroot_output::Error::on("remove", path))?;
    } else {
        remove(path)?;
    }
    remove(&description_of(path)).map(drop)
}

/// Returns the path of the description of a file in the quarantine.
fn description_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(SUFFIX);
    PathBuf::from(name)
}

impl Store {
    /// Returns the damaged files that [`Self::repair`] has moved to the quarantine, the oldest first. They are kept until
    /// [`Self::empty_quarantine`].
    ///
    /// # Errors
    /// [`Error::Cache`](crate::Error::Cache) if the directory cannot be listed.
    pub fn quarantined(&self) -> Result<Vec<QuarantinedFile>> {
        let names = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut files = list(&self.cache.layout().quarantine())?;
        files.retain(|path| !names(path).ends_with(SUFFIX) && !names(path).starts_with(TEMPORARY_PREFIX));
        Ok(files.iter().map(|path| described(path)).collect())
    }

    /// Removes all files of the quarantine, and returns what they were.
    ///
    /// # Errors
    /// [`Error::Cache`](crate::Error::Cache) if a file cannot be listed or removed.
    pub fn empty_quarantine(&self) -> Result<Vec<QuarantinedFile>> {
        let files = self.quarantined()?;
        for file in &files {
            discard(&file.path)?;
        }
        // The others are descriptions of files that a killed repair did not move.
        for path in list(&self.cache.layout().quarantine())? {
            if let Some(of) = path.to_str().and_then(|path| path.strip_suffix(SUFFIX))
                && fs::symlink_metadata(of).is_err()
            {
                remove(&path)?;
            }
        }
        Ok(files)
    }
}

fn described(path: &Path) -> QuarantinedFile {
    let description = fs::read(description_of(path)).ok();
    let description: Option<Description> = description.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    QuarantinedFile {
        path: path.to_owned(),
        length: fs::metadata(path).map_or(0, |metadata| metadata.len()),
        problem: description.as_ref().map_or_else(String::new, |description| description.problem.clone()),
        origin: description.map(|description| description.path),
    }
}
