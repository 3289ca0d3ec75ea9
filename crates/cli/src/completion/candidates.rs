//! The candidates for arguments, from the cache, the mounts and the file system.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use clap::ArgMatches;
use clap_complete::engine::CompletionCandidate as Candidate;
use vmroot::{Client, ContainerFs, ImageFilter, InodeKind, Prebaked, Reference};

use super::{context, given};
use crate::context::Context;
use crate::mounts::VmrootMount;
use crate::transports;

/// The most candidates of a completion. A shell cannot show more in a useful way.
const MAX_CANDIDATES: usize = 20_000;

/// The transport of images in the cache.
const CACHE: &str = "vmroot:";

/// The shortest id that tables show, in hexadecimal digits.
const SHORT_ID: usize = 12;

fn opened() -> Option<(Context, Client)> {
    let context = context(&given()?)?;
    let client = context.client().ok()?;
    Some((context, client))
}

/// Completes names of images in the cache.
pub(super) fn names(current: &OsStr) -> Vec<Candidate> {
    found_names(current.to_str(), false).unwrap_or_default()
}

/// Completes names and ids of images in the cache.
pub(super) fn images(current: &OsStr) -> Vec<Candidate> {
    found_names(current.to_str(), true).unwrap_or_default()
}

/// Completes names and ids of images in the cache, transports, and the paths after them.
pub(super) fn sources(current: &OsStr) -> Vec<Candidate> {
    let Some(text) = current.to_str() else { return Vec::new() };
    if let Some(name) = text.strip_prefix(CACHE) {
        let named = found_names(Some(name), true).unwrap_or_default();
        return named.into_iter().map(|candidate| candidate.add_prefix(CACHE)).collect();
    }
    let is_file = |transport: &&str| !["docker", "vmroot", "containers-storage"].contains(transport);
    let mut of_files = transports::NAMES.into_iter().filter(is_file).map(transports::prefix);
    if let Some(transport) = of_files.find(|transport| text.starts_with(transport)) {
        let files = files(&text[transport.len()..]);
        return files.into_iter().map(|candidate| candidate.add_prefix(&transport)).collect();
    }
    let mut transports = transports::NAMES.map(transports::prefix).to_vec();
    transports.retain(|transport| transport.starts_with(text));
    transports.sort();
    images(current).into_iter().chain(transports.into_iter().map(Candidate::new)).collect()
}

/// Returns the names that begin with a text, and with `ids` also the ids.
fn found_names(text: Option<&str>, ids: bool) -> Option<Vec<Candidate>> {
    let text = text?;
    let (_, client) = opened()?;
    let records = client.list_images(&ImageFilter::new().all()).ok()?;
    let (prefix, digits) = match text.strip_prefix("sha256:") {
        Some(digits) => ("sha256:", digits),
        None => ("", text),
    };
    // Without a digit, each image would be offered twice.
    let wants_ids =
        ids && (!prefix.is_empty() || !digits.is_empty()) && digits.bytes().all(|it| it.is_ascii_hexdigit());
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for record in &records {
        let platform = record.platform.to_string();
        let name = record.reference.as_ref().map(Reference::familiar).filter(|name| name.starts_with(text));
        if let Some(name) = name {
            found
                .entry(name)
                .and_modify(|platforms| *platforms += &format!(", {platform}"))
                .or_insert(platform.clone());
        }
        let hex = record.id().hex();
        if wants_ids && hex.starts_with(digits) {
            let length = if prefix.is_empty() && digits.len() <= SHORT_ID { SHORT_ID } else { hex.len() };
            let name = record.reference.as_ref().map(Reference::familiar).unwrap_or(platform);
            found.entry(format!("{prefix}{}", &hex[..length])).or_insert(name);
        }
    }
    let described = |(value, help): (String, String)| Candidate::new(value).help(Some(help.into()));
    Some(found.into_iter().take(MAX_CANDIDATES).map(described).collect())
}

/// Completes a path of the image that the command line names.
pub(super) fn paths(current: &OsStr) -> Vec<Candidate> {
    found_paths(current).unwrap_or_default()
}

/// Completes `IMAGE:/PATH`, or a path of this machine.
pub(super) fn operands(current: &OsStr) -> Vec<Candidate> {
    let Some(text) = current.to_str() else { return Vec::new() };
    let is_first = || Some(given()?.subcommand()?.1.get_raw("operands").is_none());
    match text.rfind(":/") {
        Some(colon) => {
            let (image, path) = (&text[..colon], &text[colon + 1..]);
            let found = given().and_then(|given| paths_of(&given, image, path.as_ref())).unwrap_or_default();
            found.into_iter().map(|candidate| candidate.add_prefix(format!("{image}:"))).collect()
        }
        None if is_first() == Some(true) => sources(current),
        None => files(text),
    }
}

/// Completes names and ids of images in the cache, and paths of this machine.
pub(super) fn disks(current: &OsStr) -> Vec<Candidate> {
    let Some(text) = current.to_str() else { return Vec::new() };
    images(current).into_iter().chain(files(text)).collect()
}

fn found_paths(current: &OsStr) -> Option<Vec<Candidate>> {
    let given = given()?;
    let image = given.subcommand()?.1.get_one::<String>("image")?;
    paths_of(&given, image, current)
}

fn paths_of(given: &ArgMatches, image: &str, current: &OsStr) -> Option<Vec<Candidate>> {
    let root = root(&context(given)?, image)?;
    let current = current.as_bytes();
    let split = current.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (directory, start) = current.split_at(split);
    let resolved = root.resolve_path(if directory.is_empty() { b"/" } else { directory }).ok()?;
    let entries = root.readdir(resolved.ino, 0).ok()?;
    let fitting = entries.filter(|entry| entry.name.starts_with(start) && is_printable(entry.name));
    let candidate = |name: &[u8], is_directory: bool| {
        let slash: &[u8] = if is_directory { b"/" } else { b"" };
        Candidate::new(OsString::from_vec([directory, name, slash].concat()))
    };
    let candidates = fitting.map(|entry| candidate(entry.name, entry.kind == InodeKind::Directory));
    Some(candidates.take(MAX_CANDIDATES).collect())
}

/// Opens the root of an image that is here, without asking a registry.
fn root(context: &Context, image: &str) -> Option<ContainerFs> {
    if let Some(directory) = image.strip_prefix("prebaked:") {
        return Some(Prebaked::open(Path::new(directory)).ok()?.into_root());
    }
    let client = context.client().ok()?;
    let image = client.find(image, context.requested_platform()).ok()?;
    client.root(&image).ok()
}

/// Returns whether a shell can show a name, and insert it as one word.
fn is_printable(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| !name.chars().any(char::is_control))
}

/// Completes the directories of mounts.
pub(super) fn mounts(current: &OsStr) -> Vec<Candidate> {
    let find = || VmrootMount::all(&context(&given()?)?).ok();
    let directories = find().unwrap_or_default();
    let directories = directories.iter().map(|mount| mount.directory().as_os_str());
    let fits =
        |directory: &&OsStr| directory.as_bytes().starts_with(current.as_bytes()) && is_printable(directory.as_bytes());
    directories.filter(fits).map(Candidate::new).collect()
}

/// Completes the ids of leases.
pub(super) fn leases(current: &OsStr) -> Vec<Candidate> {
    let find = || opened()?.1.leases().ok();
    let leases = find().unwrap_or_default();
    let fitting = leases.into_iter().filter(|lease| lease.id.as_bytes().starts_with(current.as_bytes()));
    fitting.map(|lease| Candidate::new(lease.id)).collect()
}

/// Completes a path of this machine.
fn files(text: &str) -> Vec<Candidate> {
    let (directory, start) = text.split_at(text.rfind('/').map_or(0, |slash| slash + 1));
    let entries = std::fs::read_dir(if directory.is_empty() { "." } else { directory });
    let candidate = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let is_hidden = name.starts_with('.') && !start.starts_with('.');
        if !name.starts_with(start) || is_hidden || !is_printable(name.as_bytes()) {
            return None;
        }
        let slash = if entry.path().is_dir() { "/" } else { "" };
        Some(format!("{directory}{name}{slash}"))
    };
    let mut found: Vec<String> = entries.into_iter().flatten().flatten().filter_map(candidate).collect();
    found.sort_unstable();
    found.into_iter().take(MAX_CANDIDATES).map(Candidate::new).collect()
}
