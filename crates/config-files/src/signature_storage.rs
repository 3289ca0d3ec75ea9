//! registries.d: the places of the signatures of images in registries (containers-registries.d(5)).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use vmroot_model::Reference;
use vmroot_registry::{Lookaside, SignatureLocations};

use crate::{Error, Result, text_file};

/// The ending of the names of the files that are read.
const ENDING: &str = ".yaml";

/// The maximum number of files of one directory.
const FILES_LIMIT: usize = 4096;

/// The content of a registries.d directory.
///
/// A key that a section lacks is looked for in the less specific sections, and at last in `default-docker`. So do the
/// libraries of podman and skopeo; their manual says that only the most specific section counts.
#[derive(Debug, Clone, Default)]
pub struct SignatureStorage {
    default: Option<Section>,
    /// By scope: `HOST/REPOSITORY:TAG`, `HOST/REPOSITORY`, a parent, `HOST`, or `*.DOMAIN`.
    scopes: BTreeMap<String, Section>,
}

/// A section, with its file.
#[derive(Debug, Clone)]
struct Section {
    file: PathBuf,
    lookaside: Option<Lookaside>,
    staging: Option<Lookaside>,
    attachments: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    default_docker: Option<Keys>,
    docker: Option<BTreeMap<String, Keys>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Keys {
    lookaside: Option<String>,
    lookaside_staging: Option<String>,
    /// The name of `lookaside` before 2022.
    sigstore: Option<String>,
    /// The name of `lookaside-staging` before 2022.
    sigstore_staging: Option<String>,
    use_sigstore_attachments: Option<bool>,
}

impl SignatureStorage {
    /// Reads all files `*.yaml` of a directory. One that does not exist has no sections.
    ///
    /// # Errors
    /// - [`Error::Io`]: the directory or a file cannot be read.
    /// - [`Error::Syntax`]: a file is not YAML, or has an unknown or repeated key, or a value of the wrong type.
    /// - [`Error::Invalid`]: an address is not one of a lookaside, two files have a section for the same scope, or there
    ///   are too many files.
    pub fn read(directory: &Path) -> Result<Self> {
        let mut storage = Self::default();
        for path in files(directory)? {
            // A file that was removed meanwhile does not matter.
            if let Some(text) = text_file::read(&path)? {
                storage.add(&path, &text)?;
            }
        }
        Ok(storage)
    }

    fn add(&mut self, path: &Path, text: &str) -> Result<()> {
        let options = serde_saphyr::options! { with_snippet: false };
        let file: Option<File> = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| Error::Syntax { path: path.to_owned(), reason: error.to_string() })?;
        let File { default_docker, docker } = file.unwrap_or_default();
        let twice = |name: &str, other: &Section| {
            Error::invalid(path, format!("{name} is defined in {} as well", other.file.display()))
        };
        if let Some(keys) = default_docker {
            let section = Section::of(path, "default-docker", keys)?;
            if let Some(other) = &self.default {
                return Err(twice("default-docker", other));
            }
            self.default = Some(section);
        }
        for (scope, keys) in docker.unwrap_or_default() {
            let section = Section::of(path, &scope, keys)?;
            if let Some(other) = self.scopes.get(&scope) {
                return Err(twice(&format!("the docker namespace {scope:?}"), other));
            }
            self.scopes.insert(scope, section);
        }
        Ok(())
    }

    /// Returns the places of the signatures of an image. `default` is the lookaside of images without one in the files.
    pub fn locations(&self, reference: &Reference, default: &Path) -> SignatureLocations {
        let sections = self.sections(reference);
        let find = |get: fn(&Section) -> Option<&Lookaside>| {
            let found = sections.iter().find_map(|section| get(section)).cloned();
            found.unwrap_or_else(|| Lookaside::Directory(default.to_owned()))
        };
        SignatureLocations {
            lookaside: find(|section| section.lookaside.as_ref()),
            staging: find(|section| section.staging.as_ref().or(section.lookaside.as_ref())),
            attachments: sections.iter().find_map(|section| section.attachments).unwrap_or(false),
        }
    }

    /// Returns the sections that apply to an image, the most specific first.
    fn sections(&self, reference: &Reference) -> Vec<&Section> {
        let scopes = scopes(reference);
        scopes.iter().filter_map(|scope| self.scopes.get(scope)).chain(&self.default).collect()
    }
}

impl Section {
    fn of(file: &Path, scope: &str, keys: Keys) -> Result<Self> {
        let parse = |key: &str, text: Option<String>| {
            // As in the libraries of podman, an empty text stands for a missing key.
            let text = text.filter(|text| !text.is_empty());
            let wrong = |reason| Error::invalid(file, format!("{key} of {scope}: {reason}"));
            text.map(|text| Lookaside::parse(&text).map_err(wrong)).transpose()
        };
        let lookaside = parse("lookaside", keys.lookaside)?;
        let old = parse("sigstore", keys.sigstore)?;
        let staging = parse("lookaside-staging", keys.lookaside_staging)?;
        let old_staging = parse("sigstore-staging", keys.sigstore_staging)?;
        Ok(Self {
            file: file.to_owned(),
            lookaside: lookaside.or(old),
            staging: staging.or(old_staging),
            attachments: keys.use_sigstore_attachments,
        })
    }
}

/// Returns the paths of the files of a directory, in the order of their names.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("list", directory))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("list", directory))?;
        if entry.file_name().as_encoded_bytes().ends_with(ENDING.as_bytes()) {
            files.push(entry.path());
        }
        if files.len() > FILES_LIMIT {
            return Err(Error::invalid(directory, format!("the directory has more than {FILES_LIMIT} files")));
        }
    }
    files.sort();
    Ok(files)
}

/// Returns the scopes of an image, the most specific first: with its tag or digest, its repository, the parents of it, the
/// host, and the domains of the host with an asterisk.
fn scopes(reference: &Reference) -> Vec<String> {
    let name = reference.name();
    let mut scopes: Vec<String> = match (reference.digest(), reference.tag_or_default()) {
        (Some(digest), _) => vec![format!("{name}@{digest}")],
        (None, Some(tag)) => vec![format!("{name}:{tag}")],
        (None, None) => Vec::new(),
    };
    let parents = std::iter::successors(Some(&*name), |name| name.rsplit_once('/').map(|(parent, _)| parent));
    scopes.extend(parents.map(str::to_owned));
    let host = reference.domain();
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    let domains = std::iter::successors(host.split_once('.'), |(_, rest)| rest.split_once('.'));
    scopes.extend(domains.map(|(_, domain)| format!("*.{domain}")));
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    fn read(files: &[(&str, &str)]) -> Result<SignatureStorage> {
        SignatureStorage::read(directory(files).path())
    }

    fn locations(storage: &SignatureStorage, name: &str) -> (String, String, bool) {
        let found = storage.locations(&Reference::parse(name).unwrap(), "/default".as_ref());
        (found.lookaside.to_string(), found.staging.to_string(), found.attachments)
    }

    fn texts(read: &str, write: &str, attachments: bool) -> (String, String, bool) {
        (read.to_owned(), write.to_owned(), attachments)
    }

    #[test]
    fn the_most_specific_section_with_a_key_counts() {
        let storage = read(&[
            ("a.yaml", "default-docker:\n  lookaside: https://d.test\n  lookaside-staging: file:///staging\n"),
            ("b.yaml", "docker:\n  reg.test/a/b:\n    sigstore: https://b.test/\n  reg.test/a:\n    use-sigstore-attachments: true\n"),
            ("c.yaml", "docker:\n  '*.wild.test':\n    lookaside: http://w.test\n  reg.test/a/b:1:\n    use-sigstore-attachments: false\n"),
            ("d.yaml", "# nothing\n"),
            ("e.yml", "no: yaml file\n"),
        ])
        .unwrap();
        let check = |name, read, write, attachments| {
            assert_eq!(locations(&storage, name), texts(read, write, attachments), "{name}");
        };
        // The staging place of a section with a lookaside is that lookaside.
        check("reg.test/a/b:1", "https://b.test", "https://b.test", false);
        check("reg.test/a/b:2", "https://b.test", "https://b.test", true);
        check("reg.test/a/bc:1", "https://d.test", "file:///staging", true);
        check("reg.test/x:1", "https://d.test", "file:///staging", false);
        check("x.y.wild.test:5000/x:1", "http://w.test", "http://w.test", false);
        check("wild.test/x:1", "https://d.test", "file:///staging", false);
    }

    #[test]
    fn without_files_the_default_is_used() {
        let storage = SignatureStorage::read("/missing/registries.d".as_ref()).unwrap();
        assert_eq!(locations(&storage, "busybox"), texts("file:///default", "file:///default", false));
    }

    #[test]
    fn new_names_beat_old_ones() {
        let text = "docker:\n  reg.test:\n    sigstore: file:///old\n    lookaside: file:///new\n    sigstore-staging: file:///old-w\n    lookaside-staging: file:///new-w\n";
        let storage = read(&[("a.yaml", text)]).unwrap();
        assert_eq!(locations(&storage, "reg.test/x"), texts("file:///new", "file:///new-w", false));
    }

    #[test]
    fn files_are_read_strictly() {
        for (files, reason) in [
            (&[("a.yaml", "default-docker: {}"), ("b.yaml", "default-docker: {}")][..], "default-docker is defined"),
            (&[("a.yaml", "docker: {x: {}}"), ("b.yaml", "docker: {x: {}}")], "namespace \"x\" is defined"),
            (&[("a.yaml", "docker:\n  x: {}\n  x: {}\n")], "x"),
            (&[("a.yaml", "docker: {x: {look-aside: file:///a}}")], "look-aside"),
            (&[("a.yaml", "dockers: {}")], "dockers"),
            (&[("a.yaml", "docker: {x: {lookaside: /a}}")], "lookaside of x"),
            (&[("a.yaml", "docker: {x: {use-sigstore-attachments: maybe}}")], "boolean"),
            (&[("a.yaml", "docker: [")], "a.yaml"),
        ] {
            let error = read(files).unwrap_err().to_string();
            assert!(error.contains(reason), "{files:?}: {error}");
        }
    }
}
