//! `disk info`: describes a disk.

use std::path::Path;

use serde_json::{Value, json};
use vmroot::disk::writable::{DiskInfo, UpperState, disk_info};
use vmroot::ext4::JournalState;

use super::super::files::bytes_to_text;
use crate::context::Context;
use crate::{output, times};

/// Prints the description of a disk.
pub(super) fn print(context: &Context, path: &Path) -> anyhow::Result<()> {
    let info = disk_info(path).map_err(vmroot::Error::from)?;
    match context.json() {
        true => Ok(output::print_json(&to_json(path, &info))?),
        false => Ok(output::print_text(to_text(&info).as_bytes())?),
    }
}

fn to_json(path: &Path, info: &DiskInfo) -> Value {
    let system = &info.file_system;
    let (journal, journal_size) = journal(system.journal);
    json!({
        "path": bytes_to_text(path.as_os_str().as_encoded_bytes()),
        "kind": "ext4",
        "size": info.size,
        "allocated": info.allocated,
        "fileSystemSize": system.size,
        "free": system.free,
        "used": system.size.saturating_sub(system.free),
        "reserved": system.reserved,
        "blockSize": system.block_size,
        "inodes": system.inodes,
        "freeInodes": system.free_inodes,
        "uuid": uuid(&system.uuid),
        "label": bytes_to_text(&system.label),
        "features": system.features,
        "journal": journal,
        "journalSize": journal_size,
        "clean": system.is_clean,
        "errors": system.has_errors,
        "growthInterrupted": system.growth_interrupted,
        "mounts": system.mounts,
        "lastMount": system.last_mount.and_then(times::rfc3339_of_seconds),
        "lastMountpoint": mountpoint(info).map(bytes_to_text),
        "upper": match info.upper {
            UpperState::Yes => Some(true),
            UpperState::No => Some(false),
            _ => None,
        },
        "image": info.image.as_ref().map(|image| &image.id),
        "imageName": info.image.as_ref().map(|image| &image.name),
    })
}

fn to_text(info: &DiskInfo) -> String {
    let system = &info.file_system;
    let bytes = output::format_bytes;
    let journal = match journal(system.journal) {
        (None, _) => "none".to_owned(),
        (Some(state), None) => state.to_owned(),
        (Some(state), Some(size)) => format!("{}, {state}", bytes(size)),
    };
    let state = match (system.is_clean, system.has_errors, system.growth_interrupted) {
        (true, ..) => "clean",
        (_, true, _) => "with errors that the kernel found",
        (_, _, true) => "a growth was interrupted",
        _ => "not unmounted",
    };
    let mounted = system.last_mount.and_then(times::rfc3339_of_seconds).unwrap_or_else(|| "never".to_owned());
    let mounted = match mountpoint(info) {
        Some(directory) => format!("{mounted}, at {}", shown(directory)),
        None => mounted,
    };
    let upper = match info.upper {
        UpperState::Yes => "yes",
        UpperState::No => "no",
        _ => "unknown: it cannot be read",
    };
    let upper = match &info.image {
        Some(image) => format!("{upper}, of {} ({})", shown(image.name.as_bytes()), shown(image.id.as_bytes())),
        None => upper.to_owned(),
    };
    let rows = [
        ("Kind", format!("ext4, blocks of {} bytes", system.block_size)),
        ("Size", format!("{}, {} on disk", bytes(info.size), bytes(info.allocated))),
        (
            "File system",
            format!(
                "{}, {} used, {} free",
                bytes(system.size),
                bytes(system.size.saturating_sub(system.free)),
                bytes(system.free)
            ),
        ),
        ("Inodes", format!("{}, {} free", system.inodes, system.free_inodes)),
        ("UUID", uuid(&system.uuid)),
        ("Label", if system.label.is_empty() { "none".to_owned() } else { shown(&system.label) }),
        ("Features", system.features.join(" ")),
        ("Journal", journal),
        ("State", state.to_owned()),
        ("Last mount", mounted),
        ("Writable layer", upper),
    ];
    rows.iter().map(|(name, value)| format!("{name:16}{value}\n")).collect()
}

/// Returns the state and the size of a journal.
fn journal(state: JournalState) -> (Option<&'static str>, Option<u64>) {
    match state {
        JournalState::Clean(size) => (Some("clean"), size),
        JournalState::Dirty(size) => (Some("dirty"), size),
        _ => (None, None),
    }
}

fn mountpoint(info: &DiskInfo) -> Option<&[u8]> {
    let bytes = &info.file_system.last_mountpoint;
    (!bytes.is_empty()).then_some(bytes)
}

fn uuid(bytes: &[u8; 16]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// Returns a name for a terminal.
fn shown(bytes: &[u8]) -> String {
    output::escape_for_terminal(&bytes_to_text(bytes))
}
