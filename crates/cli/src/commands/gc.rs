//! `gc`: removes files and images that are not needed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use vmroot::{CollectOptions, Collection, Holder, KeptImage, Reason, Record, RemovedImage};

use super::remove::list;
use crate::args::GcArguments;
use crate::context::Context;
use crate::display::Action;
use crate::progress::StoreProgress;
use crate::{human, output, times};

/// Removes the images that the options select, and the files that no image needs.
pub(crate) fn collect(context: &Context, arguments: &GcArguments) -> anyhow::Result<()> {
    let options = CollectOptions {
        dry_run: arguments.dry_run,
        dangling: arguments.dangling,
        unused: arguments.unused,
        older_than: arguments.older_than,
        max_size: arguments.max_size,
        keep_blobs: arguments.keep_blobs,
    };
    let client = context.client()?.with_progress(StoreProgress::of_work(Action::Remove, ""));
    context.note_missing_cache();
    let collected = match context.has_cache() {
        true => client.collect_with(&options)?,
        false => Collection::default(),
    };
    drop(client);
    if context.json() {
        output::print_json(&to_json(&collected, arguments.dry_run))?;
    } else {
        print(&collected, arguments.dry_run)?;
    }
    note_size(&collected, arguments);
    Ok(())
}

fn print(collected: &Collection, dry_run: bool) -> anyhow::Result<()> {
    for image in &collected.images {
        output::print_line(format!("{}: {}", described(&image.records), reason(image)))?;
    }
    for image in &collected.kept {
        output::print_line(format!("{}: kept, in use by {}", described(&image.records), list(&image.holders)))?;
    }
    if dry_run {
        for file in &collected.files {
            output::print_line(file.display().to_string())?;
        }
    }
    if !collected.held_by.is_empty() {
        output::print_note(&format!("kept files that no image needs, in use by {}", list(&collected.held_by)));
    }
    let verb = if dry_run { "would free" } else { "freed" };
    let files = human::count(collected.files.len() as u64 - collected.directories, "file");
    let mut line = format!("{verb} {} in {files}", output::format_bytes(collected.bytes));
    match collected.directories {
        0 => {}
        1 => line += " and 1 temporary directory",
        several => line += &format!(" and {several} temporary directories"),
    }
    Ok(output::print_line(line)?)
}

/// Prints a note if the cache is still larger than requested.
fn note_size(collected: &Collection, arguments: &GcArguments) {
    if let (Some(size), Some(limit)) = (collected.size, arguments.max_size)
        && size > limit
    {
        let (size, limit) = (output::format_bytes(size), output::format_bytes(limit));
        let in_use = !collected.kept.is_empty() || !collected.held_by.is_empty();
        let reason = match (arguments.keep_blobs, in_use) {
            (true, false) => "--keep-blobs keeps the blobs of removed images",
            (true, true) => "--keep-blobs keeps the blobs of removed images, and other files are in use",
            (false, true) => "the rest is in use, as named above",
            (false, false) => "the rest is what a cache needs without images",
        };
        output::print_note(&format!("the cache takes {size}, more than {limit}: {reason}"));
    }
}

/// Returns the names of an image, or its id.
fn names(records: &[Record]) -> String {
    let names: Vec<_> =
        records.iter().filter_map(|it| it.reference.as_ref()).map(vmroot::Reference::familiar).collect();
    match (&names[..], records.first()) {
        ([], Some(record)) => record.id().to_string(),
        _ => names.join(", "),
    }
}

/// Returns the names of an image and its platform. Images for several platforms have one name.
fn described(records: &[Record]) -> String {
    match records.first() {
        Some(record) => format!("{} ({})", names(records), record.platform),
        None => names(records),
    }
}

fn reason(image: &RemovedImage) -> String {
    let used = UNIX_EPOCH + Duration::from_secs(image.last_used);
    let age = human::format_age(SystemTime::now().duration_since(used).unwrap_or_default());
    match image.reason {
        Reason::Dangling => format!("has no name; used {age} ago"),
        Reason::Unused => format!("not in use; used {age} ago"),
        Reason::Old => format!("used {age} ago"),
        Reason::Size => format!("the cache is too large; used {age} ago"),
        _ => String::new(),
    }
}

fn to_json(collected: &Collection, dry_run: bool) -> Value {
    let references = |records: &[Record]| -> Vec<String> {
        records.iter().filter_map(|it| it.reference.as_ref()).map(ToString::to_string).collect()
    };
    let image = |image: &RemovedImage| {
        json!({
            "id": image.id,
            "references": references(&image.records),
            "reason": reason_name(image.reason),
            "lastUsed": times::rfc3339_of_seconds(image.last_used),
        })
    };
    let kept = |image: &KeptImage| {
        let holders: Vec<Value> = image.holders.iter().map(holder_json).collect();
        json!({ "id": image.id, "references": references(&image.records), "heldBy": holders })
    };
    json!({
        "images": collected.images.iter().map(image).collect::<Vec<_>>(),
        "kept": collected.kept.iter().map(kept).collect::<Vec<_>>(),
        "files": collected.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
        "heldBy": collected.held_by.iter().map(holder_json).collect::<Vec<_>>(),
        "bytes": collected.bytes,
        "size": collected.size,
        "dryRun": dry_run,
    })
}

fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Dangling => "dangling",
        Reason::Unused => "unused",
        Reason::Old => "old",
        Reason::Size => "size",
        _ => "other",
    }
}

pub(super) fn holder_json(holder: &Holder) -> Value {
    match holder {
        Holder::Process { pid, purpose, since } => {
            json!({ "kind": "process", "pid": pid, "purpose": purpose, "since": times::rfc3339_of(*since) })
        }
        Holder::Mount { mountpoint, since } => {
            json!({ "kind": "mount", "mountpoint": mountpoint.display().to_string(), "since": times::rfc3339_of(*since) })
        }
        Holder::Lease { id, expires } => {
            json!({ "kind": "lease", "id": id, "expires": expires.and_then(times::rfc3339_of) })
        }
        Holder::Child { id, name } => json!({ "kind": "image", "id": id, "reference": name }),
        other => json!({ "kind": other.to_string() }),
    }
}
