//! Image references: `[domain/]path[:tag][@digest]`, with Docker's defaults (the grammar of distribution/reference).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::ReferencePart as Part;
use crate::{Digest, Error, Result};

const DEFAULT_DOMAIN: &str = "docker.io";
/// What Docker Hub was called in references before it was `docker.io`.
const LEGACY_DOMAIN: &str = "index.docker.io";
/// Where Docker Hub's registry API is; `docker.io` itself is a web site.
const DEFAULT_REGISTRY_HOST: &str = "registry-1.docker.io";
/// The namespace of Docker Hub's images that have none.
const OFFICIAL_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";

/// The name of an image: a repository and, optionally, which of its images.
///
/// Defaults are filled in when a reference is parsed, but for the tag: `alpine` is `docker.io/library/alpine`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The most bytes that a name (`domain/path`) may have.
    pub const NAME_LIMIT: usize = 255;
    /// The most bytes that a tag may have.
    pub const TAG_LIMIT: usize = 128;

    /// Parses a reference as `docker pull` would.
    ///
    /// What comes before the first slash is a registry if it has a dot or a colon or is `localhost`; otherwise the
    /// registry is Docker Hub. A first part in capitals (`User/image`), which Docker takes for a registry, is refused
    /// like any other repository in capitals.
    ///
    /// # Errors
    /// [`Error::InvalidReference`] names the part that is wrong; [`Error::UppercaseRepository`] for capital letters;
    /// [`Error::InvalidDigest`] never: a bad digest is an invalid reference.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |part, reason: String| Error::InvalidReference { reference: text.to_owned(), part, reason };
        check_whole(text).map_err(|reason| invalid(Part::Reference, reason))?;

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

    /// The registry as references name it: a host and perhaps a port, `docker.io` by default.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The host (and port) that answers for the registry: [`Self::domain`], but `registry-1.docker.io` for `docker.io`.
    pub fn registry_host(&self) -> &str {
        if self.domain == DEFAULT_DOMAIN { DEFAULT_REGISTRY_HOST } else { &self.domain }
    }

    /// The repository within the registry, such as `library/alpine`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The repository with its registry, `domain/path`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The tag to ask for: the one given, or `latest` if there is no digest either.
    pub fn tag_or_default(&self) -> Option<&str> {
        self.tag().or(if self.digest.is_none() { Some(DEFAULT_TAG) } else { None })
    }

    /// The digest, if one was given; it wins over a tag.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What to ask a registry's `manifests` endpoint for: the digest, else the tag, else `latest`.
    pub fn identifier(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// The same repository with another tag and no digest.
    ///
    /// # Errors
    /// [`Error::InvalidReference`] if `tag` is not one.
    pub fn with_tag(&self, tag: &str) -> Result<Self> {
        check_tag(tag).map_err(|reason| Error::InvalidReference {
            reference: format!("{}:{tag}", self.name()),
            part: Part::Tag,
            reason,
        })?;
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same reference with another digest; its tag stays.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The shortest text that parses to this reference, as `docker images` prints it.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(short) = full.strip_prefix("docker.io/") else { return full };
        let shortest = short.strip_prefix(OFFICIAL_PREFIX).unwrap_or(short);
        // `docker.io/localhost/x` and 64 hex digits are names that mean something else without their prefixes.
        let reads_back = |it: &&str| Self::parse(it).is_ok_and(|parsed| parsed == *self);
        [shortest, short].into_iter().find(reads_back).map_or_else(|| full.clone(), str::to_owned)
    }
}

/// Refuses what is not a reference at all but is given for one.
fn check_whole(text: &str) -> std::result::Result<(), String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.contains("://") {
        return Err("has a scheme; it starts with the registry or the repository".to_owned());
    }
    if text.len() == 64 && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("is 64 hex digits, which would be an image id and not a name".to_owned());
    }
    Ok(())
}

/// Splits off the registry, or takes the default one.
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
            // The grammar has neither zones nor embedded IPv4 addresses.
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
        return Err(format!("{other:?} may not be in it; letters, digits, '.', '_' and '-' may"));
    }
    if !component.starts_with(is_alphanumeric) || !component.ends_with(is_alphanumeric) {
        return Err(format!("{component:?} does not start and end with a letter or digit"));
    }
    // Not empty ones only: splitting at each letter gives an empty text between neighbours.
    let mut separators = component.split(is_alphanumeric).filter(|it| !it.is_empty());
    match separators.find(|it| !matches!(*it, "." | "_" | "__") && !it.bytes().all(|byte| byte == b'-')) {
        Some(separator) => Err(format!("{separator:?} may not join its words; '.', '_', '__' and '-' may")),
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
        return Err(format!("{tag:?}: {other:?} may not be in it; letters, digits, '_', '.' and '-' may"));
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
