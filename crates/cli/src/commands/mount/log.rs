//! The log of a detached mount.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::environment;

/// A file that replaces standard error.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    /// Whether the user has named the file. It is then never removed, as it may have existed before.
    is_named: bool,
}

impl Log {
    /// Opens the file that the user has named, or creates one for this process in the runtime directory, or else in the
    /// cache.
    pub(super) fn create(named: Option<&Path>, cache: &Path) -> anyhow::Result<Self> {
        let own = || {
            let directory = environment::runtime_directory().unwrap_or_else(|| cache.to_owned());
            directory.join(format!("mount-{}.log", std::process::id()))
        };
        let path = named.map_or_else(own, Path::to_owned);
        let open = || {
            if let Some(directory) = path.parent().filter(|_| named.is_none()) {
                DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            }
            OpenOptions::new().create(true).append(true).mode(0o600).open(&path)
        };
        let file = open().with_context(|| path.display().to_string())?;
        let path = std::path::absolute(&path)?;
        tracing::info!("the log of the mount is {}", path.display());
        Ok(Self { path, file, is_named: named.is_some() })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn remove_if_empty(self) {
        if !self.is_named && self.file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            // The error is ignored: an empty file does no harm.
            let _ = fs::remove_file(self.path);
        }
    }
}
