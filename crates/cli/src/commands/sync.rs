//! `sync`.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use serde_json::{Value, json};
use vmroot::copy::sync::{SYNC_LIST_LIMIT, SyncList, SyncRegistry, TagOrDigest};
use vmroot::{Client, Copier, Reference, SyncDestination, SyncItem, SyncOptions, SyncSource, SyncTargets, with_causes};

use super::copy::{copy_options, create_digest_file, side};
use super::repository::refuse_registry;
use crate::args::{SyncArguments, SyncFrom, SyncTo};
use crate::context::Context;
use crate::exit::{Advised, UsageError};
use crate::progress::CopyTasks;
use crate::registry_access::RegistryAccess;
use crate::{human, output};

/// Copies all images of a source.
pub(crate) fn sync(
    context: &Context,
    source: &str,
    destination: &str,
    arguments: &SyncArguments,
) -> anyhow::Result<()> {
    if (arguments.src, arguments.dest) == (SyncFrom::Dir, SyncTo::Dir) {
        let message = "sync copies no directories to directories";
        return Err(Advised::usage(message, "`cp -a` and rsync copy directories").into());
    }
    let is_there = Path::new(destination).exists();
    let client = context.client()?;
    let reader = side::source_client(context, &client, &arguments.source)?;
    let parallel = arguments.transfer.image_parallel_copies;
    let writer = side::destination_client(context, &client, &arguments.destination, parallel)?;
    let options = SyncOptions { scoped: arguments.scoped, append_suffix: arguments.append_suffix.clone() };
    let target = parse_destination(destination, arguments.dest);
    let (items, unlisted) =
        Planner { context, arguments, reader: &reader, destination: &target, options: &options }.plan(source)?;
    let items = distinct(items)?;
    let copier = writer
        .copier(copy_options(context, &arguments.images, &arguments.transfer, None)?)
        .with_progress(CopyTasks::progress());
    let digests = create_digest_file(arguments.digestfile.as_deref(), &arguments.transfer)?;
    let run = Run {
        context,
        arguments,
        targets: writer.sync_targets(items.iter().map(|(_, item)| &item.destination)),
        copier: &copier,
        items: &items,
        digests,
        failures: Mutex::new(unlisted),
        copied: Mutex::default(),
        present: AtomicUsize::new(0),
    };
    let result = run.all();
    if let (Err(_), false, SyncTo::Dir) = (&result, is_there, arguments.dest) {
        // Only an empty directory is removed. The error is ignored: images that were copied stay in it.
        let _ = std::fs::remove_dir(destination);
    }
    result
}

/// The copies of one synchronisation.
struct Run<'a> {
    context: &'a Context,
    arguments: &'a SyncArguments,
    targets: SyncTargets,
    copier: &'a Copier,
    items: &'a [(Client, SyncItem)],
    digests: Option<File>,
    failures: Mutex<Vec<anyhow::Error>>,
    /// The copies in the order of the source, for JSON.
    copied: Mutex<BTreeMap<usize, Value>>,
    /// The number of images that the destination had already.
    present: AtomicUsize,
}

impl Run<'_> {
    fn all(self) -> anyhow::Result<()> {
        let copied = self.copier.run_batch(self.items.len(), self.arguments.keep_going, |position| {
            let (_, item) = &self.items[position];
            self.one(position).map_err(|error| {
                let error = error.context(format!("cannot copy {}", item.source));
                if self.arguments.keep_going {
                    output::print_note(&format!("{error:#}"));
                }
                self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(error);
            })
        });
        if self.context.json() {
            let copied = std::mem::take(&mut *self.copied.lock().unwrap_or_else(PoisonError::into_inner));
            output::print_json(&copied.into_values().collect())?;
        }
        copied.map_err(vmroot::Error::from)?;
        self.context.cancel().check().map_err(vmroot::copy::Error::from).map_err(vmroot::Error::from)?;
        let mut failures = self.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        let total = self.items.len();
        if failures.is_empty() {
            let done = if self.arguments.transfer.dry_run { "would have synced" } else { "synced" };
            let present = match self.present.into_inner() {
                0 => String::new(),
                present if present == total => ", present already".to_owned(),
                present => format!(", {present} of them present already"),
            };
            output::print_note(&format!("{done} {}{present}", human::count(total as u64, "image")));
            return Ok(());
        }
        if self.arguments.keep_going {
            let found = if total == 1 { "was found" } else { "were found" };
            let (images, errors) = (human::count(total as u64, "image"), human::count(failures.len() as u64, "error"));
            let text = format!("{images} {found}, and {errors} occurred");
            return Err(failures.swap_remove(0).context(text));
        }
        Err(failures.swap_remove(0))
    }

    /// Keeps the result of one copy for JSON. A dry run has no digest.
    fn record(&self, position: usize, digest: Value, was_present: bool, notes: &[String]) {
        let (_, item) = &self.items[position];
        let result = json!({
            "source": item.source.to_string(),
            "destination": item.destination.to_string(),
            "digest": digest,
            "present": was_present,
            "dryRun": self.arguments.transfer.dry_run,
            "notes": notes,
        });
        self.copied.lock().unwrap_or_else(PoisonError::into_inner).insert(position, result);
    }

    /// Copies one image.
    fn one(&self, position: usize) -> anyhow::Result<()> {
        let (reader, item) = &self.items[position];
        if self.arguments.transfer.dry_run {
            output::print_note(&format!("would copy {} to {}", item.source, item.destination));
            self.record(position, json!(null), false, &[]);
            return Ok(());
        }
        let source = reader.open_source(&item.source)?;
        let destination = self.targets.open(&item.destination)?;
        let report = self.copier.copy(&*source, &*destination).map_err(vmroot::Error::from)?;
        let digest = report.manifest.digest;
        if let Some(mut file) = self.digests.as_ref() {
            file.write_all(format!("{digest} {}\n", item.destination).as_bytes()).context("--digestfile")?;
        }
        if report.was_present {
            self.present.fetch_add(1, Ordering::Relaxed);
        }
        self.record(position, json!(digest), report.was_present, &report.losses);
        for loss in &report.losses {
            output::print_note(&format!("note: {}: {loss}", item.destination));
        }
        Ok(())
    }
}

/// The images to copy, each with the client that reads it, and the errors of repositories that could not be listed.
type Plan = (Vec<(Client, SyncItem)>, Vec<anyhow::Error>);

/// Finds the images of the source.
struct Planner<'a> {
    context: &'a Context,
    arguments: &'a SyncArguments,
    reader: &'a Client,
    destination: &'a SyncDestination,
    options: &'a SyncOptions,
}

impl Planner<'_> {
    fn plan(&self, source: &str) -> anyhow::Result<Plan> {
        let source = match self.arguments.src {
            SyncFrom::Docker => {
                let source = source.strip_prefix("docker://").unwrap_or(source);
                refuse_registry(source)?;
                let reference = Reference::parse(source).map_err(|error| UsageError(with_causes(&error)))?;
                SyncSource::Registry(reference)
            }
            SyncFrom::Dir => SyncSource::Directory(PathBuf::from(source)),
            SyncFrom::Oci => SyncSource::Layout(PathBuf::from(source)),
            SyncFrom::Yaml => return self.plan_list(source),
        };
        Ok((self.items(self.reader, &source)?, Vec::new()))
    }

    fn items(&self, reader: &Client, source: &SyncSource<'_>) -> anyhow::Result<Vec<(Client, SyncItem)>> {
        let items = reader.plan_sync(source, self.destination, self.options)?;
        Ok(items.into_iter().map(|item| (reader.clone(), item)).collect())
    }

    /// Finds the images of a YAML file. With `--keep-going`, also returns the errors of repositories that could not be
    /// listed.
    fn plan_list(&self, path: &str) -> anyhow::Result<Plan> {
        let mut text = String::new();
        // One byte more than the limit, which the parser then reports.
        let opened = File::open(path).and_then(|file| file.take(SYNC_LIST_LIMIT as u64 + 1).read_to_string(&mut text));
        opened.with_context(|| path.to_owned())?;
        let list = SyncList::parse(&text).map_err(|error| UsageError(format!("{path}: {error}")))?;
        if list.registries.is_empty() {
            let hint = "a list names registries, and images in them, as skopeo-sync(1) describes";
            return Err(Advised::not_found(format!("{path}: names no registry"), hint).into());
        }
        list.unknown.iter().for_each(|key| output::print_note(&format!("{path}: {key} is not a key; it is ignored")));
        let (mut items, mut unlisted) = (Vec::new(), Vec::new());
        for registry in &list.registries {
            let reader = self.reader_for(registry)?;
            for source in sources(registry)? {
                match self.items(&reader, &source) {
                    Err(error) if self.arguments.keep_going => {
                        let error = error.context(format!("cannot list the images of {}", registry.host));
                        output::print_note(&format!("{error:#}"));
                        unlisted.push(error);
                    }
                    found => items.extend(found?),
                }
            }
        }
        Ok((items, unlisted))
    }

    /// Returns the client for a registry of the file, which has options of its own.
    fn reader_for(&self, registry: &SyncRegistry) -> anyhow::Result<Client> {
        let access = RegistryAccess {
            prefix: "src-",
            username: registry.credentials.as_ref().map(|it| it.username.clone()),
            password: registry.credentials.as_ref().map(|it| it.password.clone()),
            cert_dir: registry.cert_dir.clone(),
            tls_verify: registry.tls_verify,
            ..RegistryAccess::default()
        };
        let access = access.or(side::source_access(&self.arguments.source));
        side::with_access(self.context, self.reader, access, 1)
    }
}

/// Returns the sources of a registry of the file: single images, and repositories with a choice of tags.
fn sources(registry: &SyncRegistry) -> anyhow::Result<Vec<SyncSource<'_>>> {
    let mut sources = Vec::new();
    for (repository, items) in &registry.images {
        let reference = registry.reference(repository)?;
        for item in items {
            sources.push(SyncSource::Registry(match item {
                TagOrDigest::Tag(tag) => reference.with_tag(tag)?,
                TagOrDigest::Digest(digest) => reference.with_digest(*digest),
            }));
        }
    }
    for (repository, filter) in registry.filters() {
        sources.push(SyncSource::Tags(registry.reference(repository)?, filter));
    }
    Ok(sources)
}

/// Removes repeated copies. Several images for one place are an error, because all but one would be lost.
fn distinct(items: Vec<(Client, SyncItem)>) -> anyhow::Result<Vec<(Client, SyncItem)>> {
    let mut places: HashMap<String, String> = HashMap::new();
    let mut distinct = Vec::with_capacity(items.len());
    for (client, item) in items {
        let (place, source) = (item.destination.to_string(), item.source.to_string());
        match places.get(&place) {
            Some(first) if *first == source => continue,
            Some(first) => {
                let message = format!("{first} and {source} would both become {place}");
                return Err(Advised::usage(message, "--scoped keeps them apart").into());
            }
            None => places.insert(place, source),
        };
        distinct.push((client, item));
    }
    Ok(distinct)
}

fn parse_destination(destination: &str, kind: SyncTo) -> SyncDestination {
    match kind {
        SyncTo::Docker => {
            SyncDestination::Registry(destination.strip_prefix("docker://").unwrap_or(destination).to_owned())
        }
        SyncTo::Dir => SyncDestination::Directory(PathBuf::from(destination)),
        SyncTo::Oci => SyncDestination::Layout(PathBuf::from(destination)),
    }
}
