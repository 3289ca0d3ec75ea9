//! Changes to credential files.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vmroot_errors::with_causes;
use vmroot_output::{directory_of, write_atomically};

use super::auth_file::{self, AuthFile};
use super::json_text::{self, Layout};
use crate::{Error, Result};

/// The member with the credentials.
const AUTHS: &str = "auths";

/// A credential file (containers-auth.json(5), or Docker's `config.json`) that is being changed.
///
/// Only the changed members are written anew; all other bytes of the file stay as they are. The file gets mode 0600 and
/// appears complete or not at all. Another editor of a file in the same directory waits until this one is dropped.
#[derive(Debug)]
pub struct AuthFileEditor {
    path: PathBuf,
    /// The whole file: a JSON object.
    text: String,
    content: AuthFile,
    /// Holds the lock on the directory.
    _directory: File,
}

impl AuthFileEditor {
    /// Opens a file. A missing or empty file counts as one without credentials. Its directory is created with mode 0700
    /// if it is missing. A symbolic link is followed.
    ///
    /// # Errors
    /// [`Error::AuthFile`] if the file cannot be read, is not a credential file or has Docker's oldest form, or the
    /// directory cannot be created.
    pub fn open(path: &Path) -> Result<Self> {
        // `rename` would replace a link by a file. Users link these files to where they keep their settings.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if path.file_name().is_some_and(|name| name == ".dockercfg") {
            let reason = "docker no longer writes files of this form".to_owned();
            return Err(Error::AuthFile { path, reason });
        }
        let failed = |error: io::Error| Error::AuthFile { path: path.clone(), reason: error.to_string() };
        let directory = directory_of(&path);
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let directory = File::open(directory).map_err(failed)?;
        // The error is ignored: on a file system without locks, the last of two writers wins.
        let _ = directory.lock();
        let text = match auth_file::read_text(&path)? {
            Some(text) => text,
            None => "{}".to_owned(),
        };
        let content = AuthFile::parse(&path, text.as_bytes())?;
        let editor = Self { path, text, content, _directory: directory };
        editor.auths()?;
        Ok(editor)
    }

    /// Returns the path of the file, after symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the name of the helper in `credHelpers` for a registry.
    pub fn helper(&self, registry: &str) -> Option<&str> {
        self.content.helper(registry)
    }

    /// Returns the name of the helper in `credsStore`, which only Docker uses.
    pub fn store(&self) -> Option<&str> {
        self.content.store()
    }

    /// Returns all registries in `credHelpers` with their helpers.
    pub fn helpers(&self) -> Vec<(String, String)> {
        self.content.helpers().map(|(registry, helper)| (registry.to_owned(), helper.to_owned())).collect()
    }

    /// Returns whether `auths` has an entry with exactly this key, even an empty one.
    pub fn contains(&self, key: &str) -> bool {
        self.content.contains(key)
    }

    /// Sets the user and password of a key, in place of a former entry.
    ///
    /// # Errors
    /// [`Error::AuthFile`] if `auths` is not an object.
    pub fn set(&mut self, key: &str, user: &str, password: &str) -> Result<()> {
        let auth = STANDARD.encode(format!("{user}:{password}"));
        let layout = Layout::of(&self.text);
        let entry = layout.object(2, "auth", &serde_json::Value::from(auth).to_string());
        self.set_entry(&layout, key, &entry)
    }

    /// Sets an empty entry, with which Docker marks a registry whose credential a helper has.
    ///
    /// # Errors
    /// [`Error::AuthFile`] if `auths` is not an object.
    pub fn set_marker(&mut self, key: &str) -> Result<()> {
        self.set_entry(&Layout::of(&self.text), key, "{}")
    }

    fn set_entry(&mut self, layout: &Layout, key: &str, entry: &str) -> Result<()> {
        let changed = match self.auths()? {
            Some(auths) => json_text::set(&mut self.text, auths, layout, 1, key, entry),
            None => {
                let auths = layout.object(1, key, entry);
                let all = 0..self.text.len();
                json_text::set(&mut self.text, all, layout, 0, AUTHS, &auths)
            }
        };
        changed.map_err(|error| self.invalid(&error))?;
        self.reparse()
    }

    /// Removes the entry of a key. Returns whether there was one.
    ///
    /// # Errors
    /// [`Error::AuthFile`] if `auths` is not an object.
    pub fn remove(&mut self, key: &str) -> Result<bool> {
        let Some(auths) = self.auths()? else { return Ok(false) };
        let removed = json_text::remove(&mut self.text, auths, key).map_err(|error| self.invalid(&error))?;
        self.reparse()?;
        Ok(removed)
    }

    /// Removes all entries and all helpers of registries.
    ///
    /// # Errors
    /// [`Error::AuthFile`] if the file is not an object.
    pub fn clear(&mut self) -> Result<()> {
        let layout = Layout::of(&self.text);
        let all = |text: &String| 0..text.len();
        let range = all(&self.text);
        json_text::set(&mut self.text, range, &layout, 0, AUTHS, "{}").map_err(|error| self.invalid(&error))?;
        let range = all(&self.text);
        json_text::remove(&mut self.text, range, "credHelpers").map_err(|error| self.invalid(&error))?;
        self.reparse()
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`Error::AuthFile`] if the file cannot be written. The old one is then unchanged.
    pub fn save(self) -> Result<()> {
        let written = write_atomically(&self.path, 0o600, self.text.as_bytes());
        written.map_err(|error| Error::AuthFile { path: self.path.clone(), reason: with_causes(&error) })
    }

    /// Returns the position of the object `auths`, or `None` if it is missing or null.
    fn auths(&self) -> Result<Option<Range<usize>>> {
        let members = json_text::members(&self.text, 0..self.text.len()).map_err(|error| self.invalid(&error))?;
        let auths = members.into_iter().rfind(|member| member.key == AUTHS).map(|member| member.value);
        Ok(auths.filter(|range| &self.text[range.clone()] != "null"))
    }

    fn reparse(&mut self) -> Result<()> {
        self.content = AuthFile::parse(&self.path, self.text.as_bytes())?;
        Ok(())
    }

    /// serde's message is omitted, because it may quote a secret.
    fn invalid(&self, error: &serde_json::Error) -> Error {
        let reason = format!("not a credential file: error at line {}, column {}", error.line(), error.column());
        Error::AuthFile { path: self.path.clone(), reason }
    }
}
