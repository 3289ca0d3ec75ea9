//! registries.conf and its drop-ins: which mirrors and locations stand for a name (containers-registries.conf(5)).

pub(crate) mod file;
mod resolution;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use vmroot_model::Reference;

use crate::{Error, Locations, Result};
use file::File;
pub use resolution::{Endpoint, Resolution};

/// The merged content of registries.conf and its drop-ins.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    registries: Vec<Registry>,
    search: Vec<String>,
    search_file: Option<PathBuf>,
    credential_helpers: Vec<String>,
    mode: ShortNameMode,
    layer_store_helper: Option<String>,
    aliases: BTreeMap<String, Alias>,
}

/// A `[[registry]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// The prefix of the names that the entry is for: `host[:port][/path]`, or `*.domain`.
    pub prefix: String,
    /// The text in place of the prefix. Empty for a wildcard prefix that is not replaced.
    pub location: String,
    /// Whether the location is reached without verification of its certificate, or over plain HTTP.
    pub insecure: bool,
    /// Whether the location may not be used.
    pub blocked: bool,
    /// Whether mirrors are used only for references with a digest.
    pub mirror_by_digest_only: bool,
    /// The mirrors, in order of precedence.
    pub mirrors: Vec<Mirror>,
    /// The file with the entry.
    pub file: PathBuf,
}

/// A `[[registry.mirror]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The text in place of the registry's prefix.
    pub location: String,
    /// Whether the mirror is reached without verification of its certificate, or over plain HTTP.
    pub insecure: bool,
    /// The references that the mirror is used for.
    pub used_for: MirrorUse,
}

/// The references that a mirror is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorUse {
    /// All references.
    All,
    /// References with a digest.
    Digests,
    /// References without a digest.
    Tags,
}

/// How short names with several meanings are resolved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ShortNameMode {
    /// The user must choose. Without a terminal, that is an error.
    Enforcing,
    /// The user may choose. Without a terminal, all registries are tried.
    #[default]
    Permissive,
    /// All registries are tried.
    Disabled,
}

/// The meaning of a short name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The repository. `None` if the file takes an alias of an earlier file back.
    pub value: Option<Reference>,
    /// The file with the alias.
    pub file: PathBuf,
}

/// The name of the helper that stands for credential files.
pub(crate) const AUTH_FILES: &str = "containers-auth.json";

impl Registries {
    /// Reads the main file and the drop-ins.
    ///
    /// A missing main file counts as empty, unless [`Locations::registries_conf`] names it. Of the drop-ins, files named
    /// `*.conf` are read in the order of their names; later files replace single keys, `[[registry]]` entries with the
    /// same prefix, and aliases of the same name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Syntax`] or [`Error::Invalid`] for a file.
    pub fn load(locations: &Locations) -> Result<Self> {
        let (path, must_exist) = locations.main_registries_conf();
        let mut merged = Self::default();
        match File::read(&path, false)? {
            Some(file) => merged.update(file, &path),
            None if must_exist => {
                return Err(Error::io("read", &path)(Errno::NOENT.into()));
            }
            None => {}
        }
        for directory in locations.registries_conf_dirs() {
            for path in drop_ins(&directory)? {
                // A file that was removed since the listing is skipped.
                if let Some(file) = File::read(&path, true)? {
                    merged.update(file, &path);
                }
            }
        }
        if merged.credential_helpers.is_empty() {
            merged.credential_helpers = vec![AUTH_FILES.to_owned()];
        }
        Ok(merged)
    }

    fn update(&mut self, file: File, path: &Path) {
        let mut by_prefix: BTreeMap<String, Registry> =
            self.registries.drain(..).map(|registry| (registry.prefix.clone(), registry)).collect();
        by_prefix.extend(file.registries.into_iter().map(|registry| (registry.prefix.clone(), registry)));
        self.registries = by_prefix.into_values().collect();
        if let Some(search) = file.search {
            self.search = search;
            self.search_file = Some(path.to_owned());
        }
        if let Some(helpers) = file.credential_helpers {
            self.credential_helpers = helpers;
        }
        self.mode = file.mode.unwrap_or(self.mode);
        self.layer_store_helper = file.layer_store_helper.or(self.layer_store_helper.take());
        self.aliases.extend(file.aliases);
    }

    /// Returns the `[[registry]]` entries, sorted by prefix.
    pub fn entries(&self) -> &[Registry] {
        &self.registries
    }

    /// Returns the registries to search for short names, and the file that lists them.
    pub fn search_registries(&self) -> (&[String], Option<&Path>) {
        (&self.search, self.search_file.as_deref())
    }

    /// Returns the credential helpers, in order of precedence. `containers-auth.json` stands for credential files.
    pub fn credential_helpers(&self) -> &[String] {
        &self.credential_helpers
    }

    /// Returns how short names with several meanings are resolved.
    pub fn short_name_mode(&self) -> ShortNameMode {
        self.mode
    }

    /// Returns the program that passes credentials to an additional layer store.
    pub fn layer_store_helper(&self) -> Option<&str> {
        self.layer_store_helper.as_deref()
    }

    /// Returns the aliases by their short names.
    pub fn aliases(&self) -> &BTreeMap<String, Alias> {
        &self.aliases
    }

    /// Returns the entry for a registry, a namespace, a repository or a reference: the one with the longest prefix.
    pub fn find(&self, name: &str) -> Option<&Registry> {
        file::find(&self.registries, name)
    }

    /// Returns the locations for a reference.
    ///
    /// # Errors
    /// [`Error::Rewrite`]: a location that would be used does not give a reference.
    pub fn resolve(&self, reference: &Reference) -> Result<Resolution> {
        resolution::resolve(self, reference)
    }
}

/// Returns the files `*.conf` of a directory, sorted by name. A missing directory has none.
fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", directory)(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("list", directory))?;
        let is_conf = entry.file_name().as_encoded_bytes().ends_with(b".conf");
        let is_directory = entry.file_type().map_err(Error::io("list", directory))?.is_dir();
        if is_conf && !is_directory {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Returns the number of bytes of a name that a prefix matches. The match ends at the name's end or at `/`, `:` or `@`.
///
/// `*.example.com` matches any number of subdomains, but not the domain itself.
pub(crate) fn matching_length(name: &str, prefix: &str) -> Option<usize> {
    let length = match prefix.strip_prefix('*').filter(|domain| domain.starts_with('.')) {
        Some(domain) => {
            let start = name.find(domain)?;
            (!name[..start].contains('/')).then_some(start + domain.len())?
        }
        None => name.starts_with(prefix).then_some(prefix.len())?,
    };
    match name.as_bytes().get(length) {
        None | Some(b'/' | b':' | b'@') => Some(length),
        Some(_) => None,
    }
}
