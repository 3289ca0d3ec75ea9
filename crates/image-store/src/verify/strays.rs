//! Files that do not belong to the store.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use vmroot_model::{Algorithm, Digest};
use vmroot_output::TEMPORARY_PREFIX;

use super::{Check, FileKind, Finding};
use crate::Result;
use crate::collect::list;
use crate::journal::is_journal;

const STRAY: &str = "does not belong to the cache";

impl Check<'_> {
    /// Looks for files in the directories of the store whose names are not those of its files.
    ///
    /// Other directories are left alone: a later version may have made them. So are files with the digest of a layer, a
    /// root or an image and an unknown extension.
    pub(super) fn strays(&self) -> Result<()> {
        let layout = self.store.cache.layout();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            self.strays_of(&layout.blobs(algorithm), |name| {
                let hex = name.strip_suffix(".partial").unwrap_or(name);
                Digest::parse(&format!("{}:{hex}", algorithm.name())).is_ok()
            })?;
        }
        for directory in [layout.layers(), layout.roots()] {
            self.strays_of(&directory, has_digest)?;
        }
        self.strays_of(&layout.images(), |name| has_digest(name) || is_journal(name))?;
        self.strays_of(&layout.locks(), |name| name.ends_with(".lock"))
    }

    fn strays_of(&self, directory: &Path, belongs: impl Fn(&str) -> bool) -> Result<()> {
        let is_own = |name: &OsStr| {
            let name = name.to_str();
            name.is_some_and(|name| name.starts_with(TEMPORARY_PREFIX) || belongs(name))
        };
        for path in list(directory)? {
            if path.file_name().is_some_and(|name| !is_own(name)) && is_there(&path) {
                let found = Finding::new(path, FileKind::Foreign, STRAY);
                self.settle(found, |found| {
                    let aside = self.quarantine(&found)?;
                    Ok(aside.map(|aside| found.set_aside(Some(aside.path), "the cache does not need it")))
                })?;
            }
        }
        Ok(())
    }
}

/// Returns whether a file was not removed since its directory was listed.
fn is_there(path: &Path) -> bool {
    !matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Returns whether a name has the digits of a digest before its first dot, and an extension.
fn has_digest(name: &str) -> bool {
    let Some((hex, _)) = name.split_once('.') else { return false };
    Digest::parse(&format!("sha256:{hex}")).is_ok()
}
