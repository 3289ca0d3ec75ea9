//! The files of a cache, and those that no image needs.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use vmroot_cache::{Exclusion, LockName, Mode, Needs};
use vmroot_model::{Algorithm, Digest};
use vmroot_output::TEMPORARY_PREFIX;

use super::{CollectOptions, Collection, list, remove};
use crate::catalogue::Snapshot;
use crate::holders::Held;
use crate::progress::WorkMeter;
use crate::root::chain_id;
use crate::store::until_cancelled;
use crate::{Error, Progress, Record, Result, Store, Work};

/// The most files that are removed at a time, while users wait.
const BATCH: usize = 256;

/// The time after which a batch ends.
const BATCH_TIME: Duration = Duration::from_millis(25);

/// The pause in which waiting users go on.
const PAUSE: Duration = Duration::from_millis(5);

/// A file of a cache.
#[derive(Debug, Clone)]
pub(crate) struct StoredFile {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
}

/// The subject of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Blob(Digest),
    Partial(Digest),
    /// The index or the contents of a layer.
    Layer(Digest),
    Root(Digest),
    /// A file with any other name.
    Unknown,
}

/// The files that records need.
#[derive(Default)]
pub(crate) struct Needed {
    pub(crate) blobs: HashSet<Digest>,
    layers: HashSet<Digest>,
    roots: HashSet<Digest>,
}

impl Needed {
    pub(crate) fn by_each<'a>(records: impl Iterator<Item = &'a Record>) -> Self {
        let mut needed = Self::default();
        for record in records {
            needed.blobs.extend(record.documents());
            needed.blobs.extend(record.layers.iter().map(|layer| layer.digest));
            let diff_ids: Vec<Digest> = record.layers.iter().map(|layer| layer.diff_id).collect();
            needed.roots.insert(chain_id(&diff_ids));
            needed.layers.extend(diff_ids);
        }
        needed
    }

    fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Blob(digest) => self.blobs.contains(&digest),
            Kind::Layer(diff_id) => self.layers.contains(&diff_id),
            Kind::Root(chain_id) => self.roots.contains(&chain_id),
            Kind::Partial(_) | Kind::Unknown => false,
        }
    }
}

/// Returns whether a user or a lease needs a file.
pub(crate) fn is_held(needs: &Needs, kind: Kind) -> bool {
    match kind {
        Kind::Blob(digest) | Kind::Partial(digest) => needs.blobs.contains(&digest),
        Kind::Layer(diff_id) => needs.layers.contains(&diff_id),
        Kind::Root(chain_id) => needs.roots.contains(&chain_id),
        Kind::Unknown => false,
    }
}

/// The needed files of the last snapshot.
#[derive(Default)]
struct NeededNow {
    of: Option<(Arc<Snapshot>, Needed)>,
}

impl NeededNow {
    /// Returns the files that the records of a snapshot need.
    fn by(&mut self, snapshot: Arc<Snapshot>) -> Result<&Needed> {
        let is_it = |known: &(Arc<Snapshot>, Needed)| Arc::ptr_eq(&known.0, &snapshot);
        if !self.of.as_ref().is_some_and(is_it) {
            snapshot.check_records()?;
            let needed = Needed::by_each(snapshot.records.iter().map(|record| &**record));
            self.of = Some((snapshot, needed));
        }
        Ok(&self.of.as_ref().expect("it was set").1)
    }
}

impl Snapshot {
    /// Returns an error for a damaged record, because the files that it needs are unknown.
    pub(crate) fn check_records(&self) -> Result<()> {
        let mut damaged = self.damaged.iter().filter(|(path, _)| !crate::metadata::is_metadata(path));
        match damaged.next() {
            Some((path, reason)) => Err(Error::Record { path: path.clone(), reason: reason.clone() }),
            None => Ok(()),
        }
    }
}

impl Store {
    /// Lists the blobs, layers and roots, without temporary files.
    pub(crate) fn stored_files(&self) -> Result<Vec<StoredFile>> {
        let layout = self.cache.layout();
        let mut files = Vec::new();
        let blobs = [Algorithm::Sha256, Algorithm::Sha512].map(|algorithm| (layout.blobs(algorithm), algorithm));
        for (directory, algorithm) in blobs {
            let kind = |name: &str| match name.strip_suffix(".partial") {
                Some(hex) => digest(algorithm, hex).map(Kind::Partial),
                None => digest(algorithm, name).map(Kind::Blob),
            };
            // A file that is not a blob belongs to another program.
            files.extend(named_files(&directory)?.filter_map(|(path, name)| {
                let kind = kind(&name)?;
                Some(StoredFile { path, kind })
            }));
        }
        let of_layer = |stem: &str| digest(Algorithm::Sha256, stem).map(Kind::Layer);
        let of_root = |stem: &str| digest(Algorithm::Sha256, stem).map(Kind::Root);
        for (directory, kind) in
            [(layout.layers(), &of_layer as &dyn Fn(&str) -> Option<Kind>), (layout.roots(), &of_root)]
        {
            let mut named: Vec<_> = named_files(&directory)?.collect();
            // A layer's index is removed before its contents: without an index, a layer does not exist.
            named.reverse();
            files.extend(named.into_iter().map(|(path, name)| {
                let stem = name.split_once('.').map_or(name.as_str(), |(stem, _)| stem);
                let kind = kind(stem).unwrap_or(Kind::Unknown);
                StoredFile { path, kind }
            }));
        }
        Ok(files)
    }

    /// Removes the files that no image needs, or lists them.
    pub(super) fn collect_files(
        &self,
        options: &CollectOptions,
        gone: &HashSet<Digest>,
        found: &mut Collection,
        progress: &Arc<dyn Progress>,
    ) -> Result<()> {
        let snapshot = self.current_snapshot()?;
        snapshot.check_records()?;
        // In a dry run, the records of the images that would be removed are still there. Otherwise, the files of an image
        // that is there again are found to be needed when they would be removed.
        let records = snapshot.records.iter().map(|record| &**record);
        let needed = Needed::by_each(records.filter(|record| !gone.contains(record.id())));
        let held = self.held_now()?;
        let mut candidates = Vec::new();
        for file in self.stored_files()? {
            let is_kept = options.keep_blobs && matches!(file.kind, Kind::Blob(_) | Kind::Partial(_));
            if is_kept || needed.has(file.kind) {
                continue;
            }
            match is_held(&held.needs, file.kind) {
                true => found.add_holders(&held, file.kind),
                false => candidates.push(file),
            }
        }
        if options.dry_run {
            return candidates.iter().try_for_each(|file| found.take(&file.path, false));
        }
        let meter = WorkMeter::start(progress, Work::Collect, Some(candidates.len() as u64));
        let mut candidates = &candidates[..];
        let mut needed = NeededNow::default();
        while !candidates.is_empty() {
            self.check_cancelled()?;
            let mut exclusion = self.exclude()?;
            let done = self.remove_batch(candidates, &mut needed, &mut exclusion, found)?;
            drop(exclusion);
            meter.add(done as u64);
            candidates = &candidates[done..];
            if !candidates.is_empty() {
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// Removes the first of `files` that are still not needed. Returns the number of files that were looked at.
    fn remove_batch(
        &self,
        files: &[StoredFile],
        needed: &mut NeededNow,
        exclusion: &mut Exclusion<'_>,
        found: &mut Collection,
    ) -> Result<usize> {
        let needed = needed.by(self.current_snapshot()?)?;
        let held = self.held_in(exclusion)?;
        let started = Instant::now();
        for (number, file) in files.iter().enumerate() {
            if number == BATCH || started.elapsed() > BATCH_TIME {
                return Ok(number);
            }
            if needed.has(file.kind) || is_held(&held.needs, file.kind) {
                continue;
            }
            // A partial blob is also that of a program that does not list its uses.
            let _lock = match file.kind {
                Kind::Partial(digest) => match self.cache.try_lock(&LockName::Blob(digest), Mode::Exclusive)? {
                    Some(lock) => Some(lock),
                    None => continue,
                },
                _ => None,
            };
            found.take(&file.path, true)?;
        }
        Ok(files.len())
    }

    /// Waits until no user adds to its needs.
    pub(super) fn exclude(&self) -> Result<Exclusion<'_>> {
        let gate = self.presence.close_gate(&mut until_cancelled(&self.options.cancel))?;
        let gate = gate.ok_or_else(|| self.in_use_by_earlier_version())?;
        Ok(gate.exclude()?)
    }

    pub(super) fn in_use_by_earlier_version(&self) -> Error {
        let by = "a process of an earlier version of vmroot, which does not write down the files that it needs";
        Error::InUse { path: self.directory().to_owned(), by: by.to_owned() }
    }
}

impl Collection {
    fn add_holders(&mut self, held: &Held, kind: Kind) {
        for holder in held.with(|needs| is_held(needs, kind)) {
            if !self.held_by.contains(holder) {
                self.held_by.push(holder.clone());
            }
        }
    }

    /// Adds a file, and removes it if `is_removed`.
    fn take(&mut self, path: &Path, is_removed: bool) -> Result<()> {
        // Another thread may have removed the file since it was listed, because it was damaged.
        let metadata = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            metadata => metadata.map_err(vmroot_output::Error::on("stat", path))?,
        };
        if !metadata.is_file() || is_removed && !remove(path)? {
            return Ok(());
        }
        self.bytes += metadata.blocks() * 512;
        self.files.push(path.to_owned());
        Ok(())
    }
}

/// Returns the files of a directory with their names, but no temporary ones.
fn named_files(directory: &Path) -> Result<impl Iterator<Item = (PathBuf, String)>> {
    let named = list(directory)?.into_iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        Some((path, name))
    });
    Ok(named.filter(|(_, name)| !name.starts_with(TEMPORARY_PREFIX)))
}

fn digest(algorithm: Algorithm, hex: &str) -> Option<Digest> {
    Digest::parse(&format!("{}:{hex}", algorithm.name())).ok()
}
