//! One registries.conf file: its keys in versions 1 and 2, and their checks (containers-registries.conf(5)).

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{Alias, Mirror, MirrorUse, Registry, ShortNameMode, matching_length};
use crate::short_names::{check_short_name, parse_alias};
use crate::{Error, Result, text_file};

/// The content of one file. `None` means that the file does not set the key.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Sorted by prefix. Each prefix is there once.
    pub(super) registries: Vec<Registry>,
    pub(super) search: Option<Vec<String>>,
    pub(super) credential_helpers: Option<Vec<String>>,
    pub(super) mode: Option<ShortNameMode>,
    pub(super) layer_store_helper: Option<String>,
    pub(super) aliases: BTreeMap<String, Alias>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Keys {
    registry: Option<Vec<RegistryKeys>>,
    unqualified_search_registries: Option<Vec<String>>,
    credential_helpers: Option<Vec<String>>,
    short_name_mode: String,
    additional_layer_store_auth_helper: String,
    aliases: Option<BTreeMap<String, String>>,
    /// Version 1.
    registries: Version1,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RegistryKeys {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    pull_from_mirror: String,
    mirror: Vec<MirrorKeys>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct MirrorKeys {
    location: String,
    insecure: bool,
    pull_from_mirror: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Version1 {
    search: Version1List,
    insecure: Version1List,
    block: Version1List,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Version1List {
    registries: Option<Vec<String>>,
}

impl Version1 {
    fn is_set(&self) -> bool {
        [&self.search, &self.insecure, &self.block].iter().any(|list| list.registries.is_some())
    }
}

impl Keys {
    /// Returns whether a key of version 2 is set, be it to an empty list.
    fn is_version_2(&self) -> bool {
        self.registry.is_some()
            || self.unqualified_search_registries.is_some()
            || self.credential_helpers.is_some()
            || self.aliases.is_some()
            || !self.short_name_mode.is_empty()
            || !self.additional_layer_store_auth_helper.is_empty()
    }
}

impl File {
    /// Reads a file. Returns `None` if it does not exist. `is_drop_in` refuses version 1.
    pub(super) fn read(path: &Path, is_drop_in: bool) -> Result<Option<Self>> {
        text_file::read(path)?.map(|text| Self::parse(path, &text, is_drop_in)).transpose()
    }

    pub(super) fn parse(path: &Path, text: &str, is_drop_in: bool) -> Result<Self> {
        let syntax = |error: toml::de::Error| Error::Syntax {
            path: path.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        };
        let keys: Keys = toml::from_str(text).map_err(syntax)?;
        log_unknown_keys(path, text);
        let keys = match keys.registries.is_set() {
            true if is_drop_in => {
                return Err(Error::invalid(
                    path,
                    "a drop-in must have version 2 of the format; [registries] is version 1",
                ));
            }
            true if keys.is_version_2() => {
                let reason = "the file mixes [registries], which is version 1 of the format, with keys of version 2";
                return Err(Error::invalid(path, reason));
            }
            true => from_version_1(path, &keys.registries)?,
            false => keys,
        };
        Self::check(path, keys)
    }

    fn check(path: &Path, keys: Keys) -> Result<Self> {
        let registries = keys.registry.unwrap_or_default().into_iter();
        let registries = registries.map(|keys| registry(path, keys)).collect::<Result<Vec<_>>>()?;
        check_conflicts(path, &registries)?;
        let search = keys.unqualified_search_registries.map(|domains| search_registries(path, domains)).transpose()?;
        let mut by_prefix = BTreeMap::new();
        for registry in registries {
            // The first of several with one prefix counts.
            by_prefix.entry(registry.prefix.clone()).or_insert(registry);
        }
        let mode = match keys.short_name_mode.as_str() {
            "" => None,
            "enforcing" => Some(ShortNameMode::Enforcing),
            "permissive" => Some(ShortNameMode::Permissive),
            "disabled" => Some(ShortNameMode::Disabled),
            other => {
                let reason = format!("short-name-mode is {other:?}; it may be enforcing, permissive or disabled");
                return Err(Error::invalid(path, reason));
            }
        };
        Ok(Self {
            registries: by_prefix.into_values().collect(),
            search,
            credential_helpers: keys.credential_helpers,
            mode,
            layer_store_helper: Some(keys.additional_layer_store_auth_helper).filter(|helper| !helper.is_empty()),
            aliases: aliases(path, keys.aliases.unwrap_or_default())?,
        })
    }
}

/// Checks aliases. The error has all invalid ones.
pub(crate) fn aliases(path: &Path, aliases: BTreeMap<String, String>) -> Result<BTreeMap<String, Alias>> {
    let mut checked = BTreeMap::new();
    let mut errors = Vec::new();
    for (name, value) in aliases {
        let alias = check_short_name(&name).and_then(|()| match value.as_str() {
            // An empty value takes back an alias of an earlier file.
            "" => Ok(None),
            value => parse_alias(value).map(Some),
        });
        match alias {
            Ok(value) => _ = checked.insert(name, Alias { value, file: path.to_owned() }),
            Err(reason) => errors.push(format!("alias {name:?}: {reason}")),
        }
    }
    if errors.is_empty() { Ok(checked) } else { Err(Error::invalid(path, errors.join("; "))) }
}

fn from_version_1(path: &Path, keys: &Version1) -> Result<Keys> {
    let mut registries: BTreeMap<String, RegistryKeys> = BTreeMap::new();
    let list = |list: &Version1List| list.registries.clone().unwrap_or_default();
    for (location, blocked) in
        list(&keys.block).into_iter().map(|it| (it, true)).chain(list(&keys.insecure).into_iter().map(|it| (it, false)))
    {
        let location = check_location(path, &location)?;
        let registry = registries.entry(location.clone()).or_default();
        (registry.prefix, registry.location) = (location.clone(), location);
        registry.blocked |= blocked;
        registry.insecure |= !blocked;
    }
    Ok(Keys {
        registry: Some(registries.into_values().collect()),
        unqualified_search_registries: keys.search.registries.clone(),
        ..Keys::default()
    })
}

fn registry(path: &Path, keys: RegistryKeys) -> Result<Registry> {
    let location = check_location(path, &keys.location)?;
    let prefix = check_location(path, &keys.prefix)?;
    let prefix = match (keys.prefix.is_empty(), location.is_empty()) {
        (true, true) => return Err(Error::invalid(path, "a [[registry]] has neither a prefix nor a location")),
        (true, false) => location.clone(),
        (false, true) if !prefix.starts_with("*.") => {
            let reason = format!(
                "the [[registry]] with the prefix {prefix:?} has no location; only one for *.DOMAIN may omit it"
            );
            return Err(Error::invalid(path, reason));
        }
        (false, _) => prefix,
    };
    if prefix.starts_with("*.") && prefix.contains(['/', '@', ':']) {
        let reason = format!("the prefix {prefix:?} has more than a domain after its wildcard");
        return Err(Error::invalid(path, reason));
    }
    if !keys.pull_from_mirror.is_empty() {
        let reason =
            format!("pull-from-mirror is set for the [[registry]] {prefix:?}; it belongs to a [[registry.mirror]]");
        return Err(Error::invalid(path, reason));
    }
    let mirrors = keys.mirror.into_iter();
    let mirrors = mirrors.map(|mirror_keys| mirror(path, &prefix, keys.mirror_by_digest_only, mirror_keys));
    let mirrors = mirrors.collect::<Result<_>>()?;
    Ok(Registry {
        prefix,
        location,
        insecure: keys.insecure,
        blocked: keys.blocked,
        mirror_by_digest_only: keys.mirror_by_digest_only,
        mirrors,
        file: path.to_owned(),
    })
}

fn mirror(path: &Path, prefix: &str, by_digest_only: bool, keys: MirrorKeys) -> Result<Mirror> {
    let location = check_location(path, &keys.location)?;
    if location.is_empty() {
        return Err(Error::invalid(path, format!("a mirror of {prefix:?} has no location")));
    }
    if by_digest_only && !keys.pull_from_mirror.is_empty() {
        let reason =
            format!("{prefix:?} has mirror-by-digest-only, so its mirror {location:?} may not have pull-from-mirror");
        return Err(Error::invalid(path, reason));
    }
    let used_for = match keys.pull_from_mirror.as_str() {
        "" if by_digest_only => MirrorUse::Digests,
        "" | "all" => MirrorUse::All,
        "digest-only" => MirrorUse::Digests,
        "tag-only" => MirrorUse::Tags,
        other => {
            let reason = format!(
                "pull-from-mirror of the mirror {location:?} is {other:?}; it may be all, digest-only or tag-only"
            );
            return Err(Error::invalid(path, reason));
        }
    };
    Ok(Mirror { location, insecure: keys.insecure, used_for })
}

/// Checks a prefix or location, and removes the slashes at its end.
fn check_location(path: &Path, text: &str) -> Result<String> {
    let trimmed = text.trim_end_matches('/');
    if trimmed.starts_with("http://") || trimmed.starts_with("https://") {
        return Err(Error::invalid(path, format!("{text:?} has a scheme; a location starts with a host")));
    }
    Ok(trimmed.to_owned())
}

/// Checks that entries for one location agree.
fn check_conflicts(path: &Path, registries: &[Registry]) -> Result<()> {
    let key = |registry: &Registry| match registry.location.as_str() {
        "" => registry.prefix.clone(),
        location => location.to_owned(),
    };
    let mut first: BTreeMap<String, &Registry> = BTreeMap::new();
    for registry in registries {
        let other = *first.entry(key(registry)).or_insert(registry);
        for (name, conflict) in
            [("insecure", registry.insecure != other.insecure), ("blocked", registry.blocked != other.blocked)]
        {
            if conflict {
                let reason = format!("{:?} has several [[registry]] entries whose {name} differs", key(registry));
                return Err(Error::invalid(path, reason));
            }
        }
    }
    Ok(())
}

fn search_registries(path: &Path, domains: Vec<String>) -> Result<Vec<String>> {
    let check = |domain: String| {
        let domain = check_location(path, &domain)?;
        if is_domain(&domain) {
            return Ok(domain);
        }
        Err(Error::invalid(
            path,
            format!("unqualified-search-registries has {domain:?}, which is not HOST or HOST:PORT"),
        ))
    };
    domains.into_iter().map(check).collect()
}

/// Returns whether this is `host[:port]`, by the grammar of references. The host may be a single word.
fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let is_address = !address.is_empty() && address.bytes().all(|it| it.is_ascii_hexdigit() || it == b':');
            return is_address && (port.is_empty() || port.strip_prefix(':').is_some_and(is_number));
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_label = |label: &str| {
        let inner = label.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit())
}

/// Logs keys that have no meaning. They are no errors: another program may know them.
fn log_unknown_keys(path: &Path, text: &str) {
    const KEYS: [&str; 7] = [
        "registry",
        "unqualified-search-registries",
        "credential-helpers",
        "short-name-mode",
        "additional-layer-store-auth-helper",
        "aliases",
        "registries",
    ];
    const REGISTRY: [&str; 7] =
        ["prefix", "location", "insecure", "blocked", "mirror-by-digest-only", "pull-from-mirror", "mirror"];
    let Ok(table) = text.parse::<toml::Table>() else { return };
    let unknown = |keys: &toml::Table, known: &[&str]| {
        keys.keys().filter(|key| !known.contains(&key.as_str())).cloned().collect::<Vec<_>>()
    };
    let mut keys = unknown(&table, &KEYS);
    for registry in table.get("registry").and_then(toml::Value::as_array).into_iter().flatten() {
        keys.extend(registry.as_table().map(|registry| unknown(registry, &REGISTRY)).unwrap_or_default());
    }
    for key in keys {
        tracing::debug!(file = %path.display(), key, "ignoring an unknown key");
    }
}

/// Returns the entry with the longest prefix of a name.
pub(super) fn find<'r>(registries: &'r [Registry], name: &str) -> Option<&'r Registry> {
    let matching = registries.iter().filter(|registry| matching_length(name, &registry.prefix).is_some());
    // The first of several prefixes with one length counts.
    matching.rev().max_by_key(|registry| registry.prefix.len())
}
