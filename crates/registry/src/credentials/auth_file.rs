//! The JSON of a credential file, and the choice of the entry for a repository.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::Value;

use super::Credential;
use crate::{Error, Result};

/// The maximum length of a file, in bytes.
const LIMIT: u64 = 4 << 20;

/// The names of Docker Hub in credential files and helpers, the usual one first.
const DOCKER_HUB: [&str; 4] = ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"];

/// Base64 with or without padding, and with or without trailing bits. People and scripts write all of these.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The user name that marks a password as an identity token.
pub(super) const TOKEN_USER: &str = "<token>";

/// Returns the names of a registry in `credHelpers`, and the server names for its helper.
pub(super) fn names(domain: &str) -> Vec<&str> {
    if DOCKER_HUB.contains(&domain) { DOCKER_HUB.to_vec() } else { vec![domain] }
}

/// The content of a credential file.
#[derive(Debug, Default, Deserialize)]
pub(super) struct AuthFile {
    /// Entries are parsed when they are used, because an entry for another registry may be malformed.
    auths: Option<BTreeMap<String, Value>>,
    #[serde(rename = "credHelpers")]
    helpers: Option<BTreeMap<String, Option<String>>>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
    /// Whether the file has Docker's oldest form, a map of `auths` alone.
    #[serde(skip)]
    is_legacy: bool,
}

/// Reads the text of a file, without a byte order mark. Returns `None` if the file does not exist or is blank.
pub(super) fn read_text(path: &Path) -> Result<Option<String>> {
    let failed = |reason: String| Error::AuthFile { path: path.to_owned(), reason };
    let mut text = Vec::new();
    match File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut text)) {
        Ok(length) if length as u64 > LIMIT => {
            return Err(Error::TooLarge { url: path.display().to_string(), limit: LIMIT });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    }
    // Some editors write a byte order mark.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let text = str::from_utf8(text).map_err(|_| failed("not a credential file: it is not UTF-8".to_owned()))?;
    Ok(Some(text.trim_ascii()).filter(|text| !text.is_empty()).map(str::to_owned))
}

/// An entry of `auths`. An empty entry only marks that a helper has the credential.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    /// `user:password` in base64.
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// The entry of `auths` that is used for a repository.
pub(super) struct FoundEntry {
    pub(super) key: String,
    pub(super) credential: Credential,
    /// The user. An entry may have one beside a token.
    pub(super) user: Option<String>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry")
    }
}

impl AuthFile {
    /// Reads a file. Returns `None` if it does not exist or is empty. A directory counts as a missing file: Kubernetes
    /// creates one for a secret that is optional and does not exist.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        if path.is_dir() {
            tracing::debug!(path = %path.display(), "skipping a directory in place of a credential file");
            return Ok(None);
        }
        read_text(path)?.map(|text| Self::parse(path, text.as_bytes())).transpose()
    }

    /// Parses the text of a file. Its name decides whether it has Docker's oldest form.
    pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Self> {
        // serde's messages for wrong types quote values, which may be secrets. So the message has the position only.
        let json = |error: serde_json::Error| Error::AuthFile {
            path: path.to_owned(),
            reason: format!("not a credential file: error at line {}, column {}", error.line(), error.column()),
        };
        if path.file_name().is_some_and(|name| name == ".dockercfg") {
            let auths = serde_json::from_slice(text).map_err(json)?;
            return Ok(Self { auths: Some(auths), is_legacy: true, ..Self::default() });
        }
        serde_json::from_slice(text).map_err(json)
    }

    /// Returns the registries in `credHelpers` with their helpers.
    pub(super) fn helpers(&self) -> impl Iterator<Item = (&str, &str)> {
        let helpers = self.helpers.iter().flatten();
        helpers.filter_map(|(registry, helper)| Some((registry.as_str(), helper.as_deref()?)))
    }

    /// Returns whether `auths` has an entry with exactly this key.
    pub(super) fn contains(&self, key: &str) -> bool {
        self.auths.as_ref().is_some_and(|auths| auths.contains_key(key))
    }

    /// Returns the helper in `credHelpers` for the registry.
    pub(super) fn helper(&self, domain: &str) -> Option<&str> {
        let helpers = self.helpers.as_ref()?;
        let exact = names(domain).into_iter().filter_map(|name| helpers.get(name));
        let loose = helpers.iter().filter(|(key, _)| is_of(key, domain)).map(|(_, helper)| helper);
        exact.chain(loose).filter_map(Option::as_deref).find(|helper| !helper.is_empty())
    }

    /// Returns the helper in `credsStore`, which is for all registries.
    pub(super) fn store(&self) -> Option<&str> {
        self.store.as_deref().filter(|store| !store.is_empty())
    }

    /// Returns the credential of the most specific entry for a repository. Empty entries are skipped.
    /// In Docker's oldest form, keys name registries only.
    pub(super) fn entry(&self, path: &Path, domain: &str, repository: &str) -> Result<Option<FoundEntry>> {
        let Some(auths) = &self.auths else { return Ok(None) };
        let repository = if self.is_legacy { "" } else { repository };
        let keys = namespaces(domain, repository).flat_map(|key| [format!("{key}/"), key]);
        let exact = keys.filter_map(|key| auths.get_key_value(&key));
        let loose = auths.iter().filter(|(key, _)| is_of(key, domain));
        for (key, entry) in exact.chain(loose) {
            let failed = |reason: &str| Error::AuthFile { path: path.to_owned(), reason: format!("{key}: {reason}") };
            let entry = Option::<Entry>::deserialize(entry).map_err(|_| failed("invalid entry"))?.unwrap_or_default();
            if let Some(credential) = entry.credential().map_err(failed)? {
                return Ok(Some(FoundEntry { key: key.clone(), user: entry.user(), credential }));
            }
        }
        Ok(None)
    }
}

/// Returns the namespaces of a repository, the most specific first: `host/a/b`, `host/a`, `host`.
fn namespaces(domain: &str, repository: &str) -> impl Iterator<Item = String> {
    let full = if repository.is_empty() { domain.to_owned() } else { format!("{domain}/{repository}") };
    std::iter::successors(Some(full), |key| key.rsplit_once('/').map(|(parent, _)| parent.to_owned()))
}

/// Returns whether a key names the whole registry: by its host, or by a URL as older versions of `docker login` wrote
/// it.
fn is_of(key: &str, domain: &str) -> bool {
    let host = host_of(key);
    names(domain).iter().any(|name| name.eq_ignore_ascii_case(host))
}

/// Returns the host of a key that is a URL, or that ends in the path of the registry's API. Returns any other key
/// unchanged.
fn host_of(key: &str) -> &str {
    let strip = |scheme: &str| {
        let (head, rest) = key.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    if let Some(rest) = strip("https://").or_else(|| strip("http://")) {
        return rest.split('/').next().unwrap_or(rest);
    }
    let key = key.trim_end_matches('/');
    key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key)
}

/// Decodes base64 that may be wrapped into lines, lack padding, or use the URL-safe alphabet.
fn decode(text: &str) -> Option<Vec<u8>> {
    let plain = |byte: u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => byte,
    };
    let text: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).map(plain).collect();
    LENIENT.decode(text).ok()
}

impl Entry {
    /// Returns the user of `auth` or `username`, unless it only marks a token.
    fn user(&self) -> Option<String> {
        let decoded = self.auth.as_deref().and_then(decode).and_then(|auth| String::from_utf8(auth).ok());
        let user = decoded.as_deref().and_then(|auth| auth.split_once(':')).map(|(user, _)| user.to_owned());
        let user = user.filter(|user| !user.is_empty()).or_else(|| self.username.clone());
        user.filter(|user| !user.is_empty() && user != TOKEN_USER)
    }

    fn credential(&self) -> std::result::Result<Option<Credential>, &'static str> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        // Tokens contain no white space. White space around them comes from copying.
        let token = |text: &Option<String>| given(text).map(|text| text.trim().to_owned());
        if let Some(token) = token(&self.identitytoken) {
            return Ok(Some(Credential::IdentityToken(token)));
        }
        if let Some(token) = token(&self.registrytoken) {
            return Ok(Some(Credential::RegistryToken(token)));
        }
        if let Some(auth) = given(&self.auth) {
            let decoded = decode(&auth).ok_or("`auth` is not base64")?;
            let decoded = String::from_utf8(decoded).map_err(|_| "`auth` is not UTF-8")?;
            let (user, password) = decoded.split_once(':').ok_or("`auth` has no colon between user and password")?;
            // Some versions of Docker padded the password with NULs.
            return Ok(Some(password_or_token(user, password.trim_end_matches('\0'))));
        }
        let pair = given(&self.username).zip(given(&self.password));
        Ok(pair.map(|(user, password)| password_or_token(&user, &password)))
    }
}

/// Returns an identity token if the user is [`TOKEN_USER`], else a user and a password.
pub(super) fn password_or_token(user: &str, password: &str) -> Credential {
    if user == TOKEN_USER {
        return Credential::IdentityToken(password.to_owned());
    }
    Credential::Password { user: user.to_owned(), password: password.to_owned() }
}
