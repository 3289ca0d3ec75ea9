//! Image references: `[domain/]path[:tag][@digest]`, with the defaults of Docker (grammar of distribution/reference).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::ReferencePart as Part;
use crate::{Digest, Error, Result};

const DEFAULT_DOMAIN: &str = "docker.io";
/// The old name of Docker Hub in references.
const LEGACY_DOMAIN: &str = "index.docker.io";
/// The host of Docker Hub's registry API. `docker.io` itself is a web site.
const DEFAULT_REGISTRY_HOST: &str = "registry-1.docker.io";
/// The namespace of Docker Hub images without a namespace of their own.
const OFFICIAL_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";

/// The name of an image: a repository and, optionally, a tag and a digest.
///
/// Parsing fills in all defaults except the tag: `alpine` is `docker.io/library/alpine`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The largest length of a name (`domain/path`) in bytes.
    pub const NAME_LIMIT: usize = 255;
    /// The largest length of a tag in bytes.
    pub const TAG_LIMIT: usize = 128;

    /// Parses a reference like `docker pull`.
    ///
    /// The part before the first slash is a registry if it has a dot or a colon, or is `localhost`. Otherwise the
    /// registry is Docker Hub. Docker takes a first part with capitals (`User/image`) for a registry; here it is an
    /// error like any other repository with capitals.
    ///
    /// # Errors
    /// - [`Error::UppercaseRepository`] for a repository with capital letters.
    /// - [`Error::InvalidReference`] for any other invalid part, including an invalid digest.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |part, reason: String| Error::InvalidReference { reference: text.to_owned(), part, reason };
        check_text(text).map_err(|reason| invalid(Part::Reference, reason))?;

        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (text, None),
        };
        let (domain, rest) = split_domain(named);
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };

        check_domain(domain).map_err(|reason| invalid(Part::Domain, reason))?;
        if path.bytes().any(|it| it.is_ascii_uppercase()) {
            return Err(Error::UppercaseRepository { reference: text.to_owned(), repository: path.to_owned() });
        }
        check_path(path).map_err(|reason| invalid(Part::Repository, reason))?;
        if let Some(tag) = tag {
            check_tag(tag).map_err(|reason| invalid(Part::Tag, reason))?;
        }
        let digest = match digest.map(Digest::parse).transpose() {
            Ok(digest) => digest,
            Err(Error::InvalidDigest { digest, reason }) => {
                return Err(invalid(Part::Digest, format!("{digest:?}: {reason}")));
            }
            Err(other) => return Err(other),
        };

        let official = if domain == DEFAULT_DOMAIN && !path.contains('/') { OFFICIAL_PREFIX } else { "" };
        let path = format!("{official}{path}");
        let length = domain.len() + 1 + path.len();
        if length > Self::NAME_LIMIT {
            let reason = format!("is {length} bytes long with its registry; {} is the limit", Self::NAME_LIMIT);
            return Err(invalid(Part::Repository, reason));
        }
        Ok(Self { domain: domain.to_owned(), path, tag: tag.map(str::to_owned), digest })
    }

    /// Returns the registry in references: a host and optionally a port. The default is `docker.io`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Returns the host (and port) of the registry's API: `registry-1.docker.io` for `docker.io`, else
    /// [`Self::domain`].
    pub fn registry_host(&self) -> &str {
        if self.domain == DEFAULT_DOMAIN { DEFAULT_REGISTRY_HOST } else { &self.domain }
    }

    /// Returns the repository within the registry, such as `library/alpine`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the repository with its registry, `domain/path`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Returns the tag, if the reference has one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the tag, or `latest` if the reference has neither a tag nor a digest.
    pub fn tag_or_default(&self) -> Option<&str> {
        self.tag().or(if self.digest.is_none() { Some(DEFAULT_TAG) } else { None })
    }

    /// Returns the digest, if the reference has one. It takes precedence over a tag.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the identifier for a registry's `manifests` endpoint: the digest, else the tag, else `latest`.
    pub fn identifier(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// Returns the same repository with another tag and no digest.
    ///
    /// # Errors
    /// [`Error::InvalidReference`] if `tag` is not a valid tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self> {
        check_tag(tag).map_err(|reason| Error::InvalidReference {
            reference: format!("{}:{tag}", self.name()),
            part: Part::Tag,
            reason,
        })?;
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// Returns the same reference, with its tag, and another digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// Returns the shortest text that parses to this reference, like `docker images`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(short) = full.strip_prefix("docker.io/") else { return full };
        let shortest = short.strip_prefix(OFFICIAL_PREFIX).unwrap_or(short);
        // Names like `docker.io/localhost/x` and 64 hex digits have another meaning without their prefixes.
        let reads_back = |it: &&str| Self::parse(it).is_ok_and(|parsed| parsed == *self);
        [shortest, short].into_iter().find(reads_back).map_or_else(|| full.clone(), str::to_owned)
    }
}

/// Checks the text for common mistakes: an empty text, a URL, or an image id.
fn check_text(text: &str) -> std::result::Result<(), String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.contains("://") {
        return Err("has a scheme; a reference starts with the registry or the repository".to_owned());
    }
    if text.len() == 64 && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("is 64 hex digits, which is an image id and not a name".to_owned());
    }
    Ok(())
}

/// Splits a name into its registry, or the default registry, and the rest.
fn split_domain(named: &str) -> (&str, &str) {
    match named.split_once('/') {
        Some((LEGACY_DOMAIN, rest)) => (DEFAULT_DOMAIN, rest),
        Some((domain, rest)) if domain == "localhost" || domain.contains(['.', ':', '[']) => (domain, rest),
        _ => (DEFAULT_DOMAIN, named),
    }
}

/// Checks `host[:port]`.
fn check_domain(domain: &str) -> std::result::Result<(), String> {
    let (host, port) = match domain.strip_prefix('[') {
        Some(bracketed) => {
            let (address, rest) =
                bracketed.split_once(']').ok_or_else(|| format!("{domain:?} has no ']' to end its IPv6 address"))?;
            // The grammar allows neither zones nor embedded IPv4 addresses.
            if address.contains('.') || address.parse::<Ipv6Addr>().is_err() {
                return Err(format!("{domain:?}: {address:?} is not an IPv6 address"));
            }
            let port = rest.strip_prefix(':');
            if port.is_none() && !rest.is_empty() {
                return Err(format!("{domain:?}: {rest:?} follows the IPv6 address"));
            }
            (None, port)
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        },
    };
    if let Some(host) = host {
        for label in host.split('.') {
            check_host_label(label).map_err(|reason| format!("{domain:?}: {reason}"))?;
        }
    }
    match port {
        Some(port) if !is_port(port) => Err(format!("{domain:?}: {port:?} is not a port number")),
        _ => Ok(()),
    }
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

fn check_host_label(label: &str) -> std::result::Result<(), &'static str> {
    if label.is_empty() {
        return Err("a part between dots is empty");
    }
    if !label.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-') {
        return Err("only letters, digits, '-' and '.' may be in a host name");
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err("a part of a host name may not start or end with '-'");
    }
    Ok(())
}

/// Checks `component(/component)*`.
fn check_path(path: &str) -> std::result::Result<(), String> {
    if path.is_empty() {
        return Err("is missing".to_owned());
    }
    for component in path.split('/') {
        check_component(component).map_err(|reason| format!("{path:?}: {reason}"))?;
    }
    Ok(())
}

/// Checks one component: runs of letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn check_component(component: &str) -> std::result::Result<(), String> {
    let is_alphanumeric = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
    if component.is_empty() {
        return Err("a part between slashes is empty".to_owned());
    }
    if let Some(other) = component.chars().find(|it| !is_alphanumeric(*it) && !"._-".contains(*it)) {
        return Err(format!("{other:?} is not allowed; letters, digits, '.', '_' and '-' are"));
    }
    if !component.starts_with(is_alphanumeric) || !component.ends_with(is_alphanumeric) {
        return Err(format!("{component:?} does not start and end with a letter or digit"));
    }
    // Splitting at each letter gives empty texts between neighbouring letters.
    let mut separators = component.split(is_alphanumeric).filter(|it| !it.is_empty());
    match separators.find(|it| !matches!(*it, "." | "_" | "__") && !it.bytes().all(|byte| byte == b'-')) {
        Some(separator) => Err(format!("{separator:?} is not a separator; '.', '_', '__' and '-' are")),
        None => Ok(()),
    }
}

/// Checks a tag.
fn check_tag(tag: &str) -> std::result::Result<(), String> {
    if tag.is_empty() {
        return Err("is empty".to_owned());
    }
    let is_word = |it: char| it.is_ascii_alphanumeric() || it == '_';
    if let Some(other) = tag.chars().find(|it| !is_word(*it) && !".-".contains(*it)) {
        return Err(format!("{tag:?}: {other:?} is not allowed; letters, digits, '_', '.' and '-' are"));
    }
    if !tag.starts_with(is_word) {
        return Err(format!("{tag:?} starts with '.' or '-'"));
    }
    if tag.len() > Reference::TAG_LIMIT {
        return Err(format!("is {} bytes long; {} is the limit", tag.len(), Reference::TAG_LIMIT));
    }
    Ok(())
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}
