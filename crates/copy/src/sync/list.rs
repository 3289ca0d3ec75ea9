//! The file of `sync --src yaml`: registries, repositories and tags.
//!
//! ```yaml
//! registry.example.com:
//!   images:
//!     busybox: []              # all tags
//!     redis: ["1.0", "sha256:0000000000000000000000000000000011111111111111111111111111111111"]
//!   images-by-tag-regex:
//!     nginx: ^1\.13\.[12]-alpine-perl$
//!   images-by-semver:
//!     alpine: ">= 3.12.0"
//!   credentials: {username: john, password: secret}
//!   tls-verify: true
//!   cert-dir: /home/john/certs
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;
use vmroot_model::{Digest, Reference};

use super::{Constraint, InvalidConstraint, InvalidPattern, TagPattern, Version};

/// The largest length of a list in bytes.
pub const SYNC_LIST_LIMIT: usize = 4 << 20;

/// Registries with repositories to copy, sorted by their hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncList {
    /// The registries.
    pub registries: Vec<SyncRegistry>,
    /// The keys that have no meaning, as `HOST: KEY`. The user should see them: they may be mistyped.
    pub unknown: Vec<String>,
}

/// A registry with repositories to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRegistry {
    /// The host, and optionally a port.
    pub host: String,
    /// The tags and digests of repositories. An empty list stands for all tags.
    pub images: BTreeMap<String, Vec<TagOrDigest>>,
    /// Repositories of which all tags with a match of a regular expression are copied.
    pub by_regex: BTreeMap<String, TagPattern>,
    /// Repositories of which all tags that satisfy a constraint are copied.
    pub by_semver: BTreeMap<String, Constraint>,
    /// The credentials for the registry, instead of those of files.
    pub credentials: Option<SyncCredentials>,
    /// Whether certificates are verified. `None` leaves it to other configuration.
    pub tls_verify: Option<bool>,
    /// A directory with certificates.
    pub cert_dir: Option<PathBuf>,
}

/// A tag or a digest of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagOrDigest {
    /// A tag.
    Tag(String),
    /// A digest.
    Digest(Digest),
}

/// A user and a password. `Debug` does not print the password.
#[derive(Clone, PartialEq, Eq)]
pub struct SyncCredentials {
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for SyncCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncCredentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// An error in a list. The message names the registry and the repository.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// The list is not YAML, or a value has the wrong type.
    #[error("malformed list of images: {0}")]
    Yaml(String),
    /// The list exceeds [`SYNC_LIST_LIMIT`].
    #[error("the list of images is longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// A repository is not a name, or has a tag or a digest.
    #[error("{host}: {repository:?} is not a repository: {reason}")]
    Repository {
        /// The registry.
        host: String,
        /// The key.
        repository: String,
        /// The reason.
        reason: String,
    },
    /// An item is neither a tag nor a digest.
    #[error("{host}/{repository}: {item:?} is neither a tag nor a digest: {reason}")]
    Item {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// The item.
        item: String,
        /// The reason.
        reason: String,
    },
    /// A regular expression is malformed.
    #[error("{host}/{repository}: {error}")]
    Pattern {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// The regular expression and the reason.
        error: InvalidPattern,
    },
    /// A constraint on versions is malformed.
    #[error("{host}/{repository}: {error}")]
    Constraint {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// The constraint and the reason.
        error: InvalidConstraint,
    },
}

/// A choice of tags from all tags of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagFilter<'a> {
    /// All tags.
    All,
    /// The tags that contain a match of a regular expression.
    Pattern(&'a TagPattern),
    /// The tags that are versions and satisfy a constraint.
    Versions(&'a Constraint),
}

impl TagFilter<'_> {
    /// Returns the chosen tags, in their order.
    pub fn select<'t>(&self, tags: &'t [String]) -> Vec<&'t str> {
        let is_chosen = |tag: &&str| match self {
            Self::All => true,
            Self::Pattern(pattern) => pattern.matches(tag),
            Self::Versions(constraint) => Version::parse(tag).is_some_and(|version| constraint.matches(&version)),
        };
        tags.iter().map(String::as_str).filter(is_chosen).collect()
    }
}

impl SyncRegistry {
    /// Returns the reference of a repository, without a tag and a digest. The keys of the maps are valid here.
    ///
    /// # Errors
    /// [`ListError::Repository`]: `repository` is not the name of a repository.
    pub fn reference(&self, repository: &str) -> Result<Reference, ListError> {
        reference(&self.host, repository)
    }

    /// Returns the repositories whose tags must be listed, with the choice of tags.
    pub fn filters(&self) -> impl Iterator<Item = (&str, TagFilter<'_>)> {
        let all = self.images.iter().filter(|(_, items)| items.is_empty()).map(|(name, _)| (name, TagFilter::All));
        let patterns = self.by_regex.iter().map(|(name, pattern)| (name, TagFilter::Pattern(pattern)));
        let versions = self.by_semver.iter().map(|(name, constraint)| (name, TagFilter::Versions(constraint)));
        all.chain(patterns).chain(versions).map(|(name, filter)| (name.as_str(), filter))
    }
}

/// A registry as the file has it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct RawRegistry {
    images: Option<BTreeMap<String, Option<Vec<String>>>>,
    images_by_tag_regex: Option<BTreeMap<String, String>>,
    images_by_semver: Option<BTreeMap<String, String>>,
    credentials: Option<RawCredentials>,
    tls_verify: Option<bool>,
    cert_dir: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawCredentials {
    username: Option<String>,
    password: Option<String>,
}

const KEYS: [&str; 6] = ["images", "images-by-tag-regex", "images-by-semver", "credentials", "tls-verify", "cert-dir"];

impl SyncList {
    /// Parses the text of a file.
    ///
    /// Types and names are checked. A key that is there twice is an error, an unknown key is listed in
    /// [`Self::unknown`].
    ///
    /// # Errors
    /// - [`ListError::Yaml`], [`ListError::TooLong`]: the text is not such a list.
    /// - [`ListError::Repository`], [`ListError::Item`], [`ListError::Pattern`], [`ListError::Constraint`]: a repository,
    ///   a tag, a regular expression or a constraint is malformed.
    pub fn parse(text: &str) -> Result<Self, ListError> {
        if text.len() > SYNC_LIST_LIMIT {
            return Err(ListError::TooLong { limit: SYNC_LIST_LIMIT });
        }
        let raw: Option<BTreeMap<String, Option<RawRegistry>>> = from_yaml(text)?;
        let keys: Option<BTreeMap<String, Option<BTreeMap<String, IgnoredAny>>>> = from_yaml(text)?;
        let unknown = keys.unwrap_or_default().into_iter().flat_map(|(host, keys)| {
            let unknown = keys.unwrap_or_default().into_keys().filter(|key| !KEYS.contains(&key.as_str()));
            unknown.map(move |key| format!("{host}: {key}")).collect::<Vec<_>>()
        });
        let registries = raw.unwrap_or_default().into_iter();
        let registries = registries.map(|(host, raw)| registry(host, raw.unwrap_or_default()));
        Ok(Self { registries: registries.collect::<Result<_, _>>()?, unknown: unknown.collect() })
    }
}

fn from_yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, ListError> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| ListError::Yaml(error.to_string()))
}

fn registry(host: String, raw: RawRegistry) -> Result<SyncRegistry, ListError> {
    let mut images = BTreeMap::new();
    for (repository, items) in raw.images.unwrap_or_default() {
        let name = reference(&host, &repository)?;
        let items = items.unwrap_or_default().into_iter().map(|item| tag_or_digest(&host, &name, &repository, item));
        let items = items.collect::<Result<Vec<_>, _>>()?;
        images.insert(repository, items);
    }
    let mut by_regex = BTreeMap::new();
    for (repository, text) in raw.images_by_tag_regex.unwrap_or_default() {
        reference(&host, &repository)?;
        let pattern = TagPattern::parse(&text).map_err(|error| {
            let (host, repository) = (host.clone(), repository.clone());
            ListError::Pattern { host, repository, error }
        })?;
        by_regex.insert(repository, pattern);
    }
    let mut by_semver = BTreeMap::new();
    for (repository, text) in raw.images_by_semver.unwrap_or_default() {
        reference(&host, &repository)?;
        let constraint = text.parse().map_err(|error| {
            let (host, repository) = (host.clone(), repository.clone());
            ListError::Constraint { host, repository, error }
        })?;
        by_semver.insert(repository, constraint);
    }
    let credentials = raw.credentials.map(|raw| SyncCredentials {
        username: raw.username.unwrap_or_default(),
        password: raw.password.unwrap_or_default(),
    });
    // skopeo takes empty credentials for none.
    let credentials = credentials.filter(|it| !it.username.is_empty() || !it.password.is_empty());
    let cert_dir = raw.cert_dir.filter(|directory| !directory.is_empty()).map(PathBuf::from);
    Ok(SyncRegistry { host, images, by_regex, by_semver, credentials, tls_verify: raw.tls_verify, cert_dir })
}

fn reference(host: &str, repository: &str) -> Result<Reference, ListError> {
    let invalid =
        |reason: String| ListError::Repository { host: host.to_owned(), repository: repository.to_owned(), reason };
    let reference = Reference::parse(&format!("{host}/{repository}")).map_err(|error| invalid(error.to_string()))?;
    if reference.tag().is_some() || reference.digest().is_some() {
        return Err(invalid("tags and digests are items of its list".to_owned()));
    }
    Ok(reference)
}

fn tag_or_digest(host: &str, reference: &Reference, repository: &str, item: String) -> Result<TagOrDigest, ListError> {
    if let Ok(digest) = Digest::parse(&item) {
        return Ok(TagOrDigest::Digest(digest));
    }
    match reference.with_tag(&item) {
        Ok(_) => Ok(TagOrDigest::Tag(item)),
        Err(error) => Err(ListError::Item {
            host: host.to_owned(),
            repository: repository.to_owned(),
            item,
            reason: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0000000000000000000000000000000011111111111111111111111111111111";

    #[test]
    fn a_full_list() {
        let list = SyncList::parse(&format!(
            "registry.example.com:\n  images:\n    busybox: []\n    alpine:\n    redis:\n      - 1.0\n      - 2\n      - \
             \"latest\"\n      - {DIGEST}\n  images-by-tag-regex:\n    nginx: ^1\\.13\\.[12]-alpine-perl$\n  \
             images-by-semver:\n    alpine: \">= 3.12.0\"\n  credentials:\n    username: john\n    password: 12345\n  \
             tls-verify: false\n  cert-dir: /home/john/certs\nquay.io:\n  tls-verify: yes\n  images:\n    \
             coreos/etcd: [latest]\nempty.example.com:\n"
        ))
        .unwrap();
        let [empty, quay, example] = &list.registries[..] else { panic!("{list:?}") };
        assert_eq!(empty.host, "empty.example.com");
        assert!(empty.images.is_empty() && empty.tls_verify.is_none() && empty.credentials.is_none());
        assert_eq!(quay.tls_verify, Some(true));
        assert_eq!(quay.images["coreos/etcd"], [TagOrDigest::Tag("latest".to_owned())]);
        let tag = |tag: &str| TagOrDigest::Tag(tag.to_owned());
        let digest = TagOrDigest::Digest(Digest::parse(DIGEST).unwrap());
        assert_eq!(example.images["redis"], [tag("1.0"), tag("2"), tag("latest"), digest]);
        assert!(example.images["busybox"].is_empty() && example.images["alpine"].is_empty());
        assert_eq!(example.credentials.as_ref().unwrap().password, "12345");
        assert!(!format!("{example:?}").contains("12345"));
        assert_eq!((example.tls_verify, example.cert_dir.clone()), (Some(false), Some("/home/john/certs".into())));
        let tags: Vec<String> = ["3.11.9", "3.12.0", "edge", "v4"].map(str::to_owned).into();
        let chosen: Vec<_> = example.filters().map(|(name, filter)| (name, filter.select(&tags))).collect();
        let all = vec!["3.11.9", "3.12.0", "edge", "v4"];
        assert_eq!(
            chosen,
            [("alpine", all.clone()), ("busybox", all), ("nginx", vec![]), ("alpine", vec!["3.12.0", "v4"])]
        );
        assert_eq!(example.reference("redis").unwrap().name(), "registry.example.com/redis");
        assert!(list.unknown.is_empty());
        assert_eq!(SyncList::parse("").unwrap(), SyncList::default());
        assert_eq!(SyncList::parse("# nothing\n").unwrap(), SyncList::default());
    }

    #[test]
    fn unknown_keys_are_listed() {
        let list = SyncList::parse("a.io:\n  image:\n    x: []\n  images: {}\n").unwrap();
        assert_eq!(list.unknown, ["a.io: image"]);
    }

    #[test]
    fn malformed_lists() {
        for (text, message) in [
            ("a.io: [x]", "malformed list"),
            ("a.io:\n  images: [x]", "malformed list"),
            ("a.io:\n  images:\n    x: latest", "malformed list"),
            ("a.io:\n  images:\n    x: [{a: b}]", "malformed list"),
            ("a.io:\n  tls-verify: maybe", "malformed list"),
            ("a.io:\n  images: {}\na.io:\n  images: {}", "malformed list"),
            ("a.io:\n  images:\n    x: []\n    x: []", "malformed list"),
            ("a.io: {", "malformed list"),
            ("a.io:\n  images:\n    X: []", "a.io: \"X\" is not a repository"),
            ("a.io:\n  images:\n    x:1: []", "a.io: \"x:1\" is not a repository: tags and digests"),
            ("a.io:\n  images:\n    x: [\"a b\"]", "a.io/x: \"a b\" is neither a tag nor a digest"),
            (
                "a.io:\n  images-by-tag-regex:\n    x: \"(\"",
                "a.io/x: \"(\" is not a regular expression: unclosed group",
            ),
            ("a.io:\n  images-by-semver:\n    x: \">= bar\"", "a.io/x: \">= bar\" is not a constraint on versions"),
        ] {
            let error = SyncList::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{text}: {error}");
        }
        let long = format!("a: {}", " ".repeat(SYNC_LIST_LIMIT));
        assert!(matches!(SyncList::parse(&long), Err(ListError::TooLong { .. })));
        // Aliases that multiply must not take memory.
        let bomb = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n".to_owned()
            + &(0..20).map(|level| format!("c{level}: &c{level} [*b, *b, *b, *b, *b, *b]\n")).collect::<String>();
        assert!(SyncList::parse(&bomb).is_err());
    }
}
