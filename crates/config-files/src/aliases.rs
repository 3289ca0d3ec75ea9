//! The file with the short names that the user chose, `short-name-aliases.conf`. Podman uses the same file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, fcntl_lock};
use serde::Deserialize;
use vmroot_model::Reference;
use vmroot_output::{directory_of, write_atomically};

use crate::registries::file;
use crate::short_names::{check_short_name, parse_alias};
use crate::{Alias, Error, Result, text_file};

/// Excludes other threads from changing a file. Locks by fcntl(2) exclude other processes only.
static WRITER: Mutex<()> = Mutex::new(());

/// The file with the short names that the user chose. It takes precedence over registries.conf.
#[derive(Debug, Clone)]
pub struct Aliases {
    path: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Content {
    aliases: BTreeMap<String, String>,
}

impl Aliases {
    /// Names a file, which need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the aliases by their short names. A missing file has none.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Syntax`] or [`Error::Invalid`].
    pub fn read(&self) -> Result<BTreeMap<String, Alias>> {
        file::aliases(&self.path, self.content()?)
    }

    /// Records the meaning of a short name, and replaces the former one.
    ///
    /// # Errors
    /// - [`Error::Invalid`]: `name` is not a short name without tag and digest, or `repository` has a tag or a digest.
    /// - The errors of [`Self::read`].
    /// - [`Error::Io`]: the file cannot be written.
    pub fn record(&self, name: &str, repository: &Reference) -> Result<()> {
        check_short_name(name).map_err(|reason| Error::invalid(&self.path, format!("alias {name:?}: {reason}")))?;
        let value = repository.to_string();
        parse_alias(&value).map_err(|reason| Error::invalid(&self.path, format!("alias {name:?}: {reason}")))?;
        self.change(|aliases| {
            aliases.insert(name.to_owned(), value);
            Ok(())
        })
    }

    /// Removes a short name.
    ///
    /// # Errors
    /// - [`Error::Invalid`]: the file does not have it.
    /// - The errors of [`Self::record`].
    pub fn remove(&self, name: &str) -> Result<()> {
        self.change(|aliases| match aliases.remove(name) {
            Some(_) => Ok(()),
            None => Err(Error::invalid(&self.path, format!("it has no alias {name:?}; registries.conf may have"))),
        })
    }

    fn content(&self) -> Result<BTreeMap<String, String>> {
        let Some(text) = text_file::read(&self.path)? else { return Ok(BTreeMap::new()) };
        let content: Content = toml::from_str(&text).map_err(|error| Error::Syntax {
            path: self.path.clone(),
            reason: error.to_string().trim_end().to_owned(),
        })?;
        Ok(content.aliases)
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<()>) -> Result<()> {
        let _writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = directory_of(&self.path);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(Error::io("make the directory", directory))?;
        let _lock = self.lock()?;
        let mut aliases = self.content()?;
        file::aliases(&self.path, aliases.clone())?;
        change(&mut aliases)?;
        // Checked names and references have no characters that TOML escapes.
        let mut text = "[aliases]\n".to_owned();
        for (name, value) in aliases {
            let _ = writeln!(text, "  \"{name}\" = \"{value}\"");
        }
        Ok(write_atomically(&self.path, 0o600, text.as_bytes())?)
    }

    /// Takes the lock that containers/storage uses for the file.
    fn lock(&self) -> Result<File> {
        let mut path = self.path.clone().into_os_string();
        path.push(".lock");
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(Error::io("open", &path))?;
        fcntl_lock(&file, FlockOperation::LockExclusive).map_err(|error| Error::io("lock", &path)(error.into()))?;
        Ok(file)
    }
}
