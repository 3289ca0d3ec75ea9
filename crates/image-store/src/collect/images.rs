//! The images that a collection removes.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use vmroot_cache::Needs;
use vmroot_model::Digest;

use super::files::{Kind, is_held};
use super::{CollectOptions, Collection, KeptImage, Reason, RemovedImage, list};
use crate::catalogue::Snapshot;
use crate::holders::{Held, Holder, children};
use crate::in_use::add_needs;
use crate::journal::Transaction;
use crate::store::until_cancelled;
use crate::{Record, Result, Store};

/// The most images whose records are removed at a time.
const BATCH: usize = 64;

/// The images that a collection removes, and those that it keeps for others.
#[derive(Default)]
pub(super) struct Plan {
    /// The least recently used first.
    pub(super) remove: Vec<Planned>,
    kept: Vec<KeptImage>,
    /// The disk space that the cache then takes, in bytes.
    size: Option<u64>,
}

pub(super) struct Planned {
    id: Digest,
    reason: Reason,
    last_used: SystemTime,
}

/// All images, and what is known about them.
struct Selection<'a> {
    snapshot: &'a Snapshot,
    held: &'a Held,
    /// The ids with the times of their last uses, the least recent one first.
    by_use: Vec<(SystemTime, Digest)>,
    gone: HashMap<Digest, Reason>,
    kept: Vec<KeptImage>,
}

impl Store {
    /// Plans which images to remove.
    pub(super) fn plan_images(&self, options: &CollectOptions) -> Result<Plan> {
        if !options.removes_images() {
            return Ok(Plan::default());
        }
        let snapshot = self.current_snapshot()?;
        snapshot.check_records()?;
        let held = self.held_now()?;
        let mut by_use: Vec<_> = snapshot.ids.iter().map(|id| (self.last_used(&snapshot, id), *id)).collect();
        by_use.sort_unstable();
        let mut selection =
            Selection { snapshot: &snapshot, held: &held, by_use, gone: HashMap::new(), kept: Vec::new() };
        selection.select(options);
        selection.keep_parents();
        let size = match options.max_size {
            Some(limit) => Some(selection.shrink(limit, self.sizes(&snapshot, &held, options)?)),
            None => None,
        };
        let Selection { by_use, gone, mut kept, .. } = selection;
        kept.retain(|image| !gone.contains_key(&image.id));
        let planned = |(last_used, id)| Some(Planned { id, reason: *gone.get(&id)?, last_used });
        Ok(Plan { remove: by_use.into_iter().filter_map(planned).collect(), kept, size })
    }

    /// Removes the images of a plan, or lists them.
    pub(super) fn remove_images(&self, plan: Plan, dry_run: bool, found: &mut Collection) -> Result<()> {
        found.kept = plan.kept;
        found.size = plan.size;
        if dry_run {
            let snapshot = self.current_snapshot()?;
            for planned in &plan.remove {
                found.take_image(&snapshot, planned);
            }
            return Ok(());
        }
        let planned: HashSet<Digest> = plan.remove.iter().map(|image| image.id).collect();
        for batch in plan.remove.chunks(BATCH) {
            self.check_cancelled()?;
            self.remove_batch_of_images(batch, &planned, found)?;
        }
        Ok(())
    }

    /// Removes the records of images that are still not in use.
    fn remove_batch_of_images(
        &self,
        batch: &[Planned],
        planned: &HashSet<Digest>,
        found: &mut Collection,
    ) -> Result<()> {
        let gate = self.presence.close_gate(&mut until_cancelled(&self.options.cancel))?;
        let gate = gate.ok_or_else(|| self.in_use_by_earlier_version())?;
        let lock = self.lock_records(None)?;
        let mut exclusion = gate.exclude()?;
        let snapshot = self.current_snapshot()?;
        let held = self.held_in(&mut exclusion)?;
        let mut transaction = Transaction::default();
        for image in batch {
            let holders: Vec<Holder> = held.of_image(&image.id);
            let is_parent = snapshot.children(&image.id).iter().any(|child| !planned.contains(child));
            let was_used = self.last_used(&snapshot, &image.id) > image.last_used;
            if !holders.is_empty() {
                found.kept.extend(KeptImage::of(&snapshot, &image.id, holders));
            } else if !is_parent && (!was_used || image.reason == Reason::Dangling) {
                transaction.remove.extend(found.take_image(&snapshot, image));
                transaction.metadata.push((image.id, None));
            }
        }
        self.commit(&lock, &transaction)
    }

    /// Returns the sizes of all files, and the images that need them.
    fn sizes(&self, snapshot: &Snapshot, held: &Held, options: &CollectOptions) -> Result<Sizes> {
        let mut sizes = Sizes { keep_blobs: options.keep_blobs, ..Sizes::default() };
        for file in self.stored_files()? {
            // A file may have been removed meanwhile.
            let bytes = fs::symlink_metadata(&file.path).map_or(0, |metadata| metadata.blocks() * 512);
            sizes.total += bytes;
            let stored = sizes.files.entry(file.kind).or_default();
            stored.bytes += bytes;
            stored.is_held = is_held(&held.needs, file.kind);
        }
        for path in list(&self.cache.layout().images())? {
            let bytes = fs::symlink_metadata(&path).map_or(0, |metadata| metadata.blocks() * 512);
            sizes.total += bytes;
            if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) {
                *sizes.records.entry(stem.to_owned()).or_default() += bytes;
            }
        }
        for records in snapshot.by_id.values() {
            each_kind(records, |kind| {
                if let Some(file) = sizes.files.get_mut(&kind) {
                    file.images += 1;
                }
            });
        }
        // Files that no image needs go in any case.
        let unneeded: u64 = sizes
            .files
            .iter()
            .filter(|(kind, it)| it.images == 0 && sizes.goes(**kind, it))
            .map(|(_, it)| it.bytes)
            .sum();
        sizes.total -= unneeded;
        Ok(sizes)
    }
}

/// Calls `visit` once for each file that an image needs.
fn each_kind(records: &[Arc<Record>], mut visit: impl FnMut(Kind)) {
    let mut needs = Needs::default();
    records.iter().for_each(|record| add_needs(&mut needs, record));
    needs.blobs.into_iter().map(Kind::Blob).for_each(&mut visit);
    needs.layers.into_iter().map(Kind::Layer).for_each(&mut visit);
    needs.roots.into_iter().map(Kind::Root).for_each(&mut visit);
}

/// The sizes of the files of a cache.
#[derive(Default)]
struct Sizes {
    /// The disk space of all files that stay, in bytes.
    total: u64,
    files: HashMap<Kind, FileSize>,
    /// The sizes of both copies of each record, by the stems of their names.
    records: HashMap<String, u64>,
    keep_blobs: bool,
}

#[derive(Default)]
struct FileSize {
    bytes: u64,
    /// The number of images that need it.
    images: u64,
    is_held: bool,
}

impl Sizes {
    /// Returns whether a file goes once no image needs it.
    fn goes(&self, kind: Kind, file: &FileSize) -> bool {
        let is_kept = self.keep_blobs && matches!(kind, Kind::Blob(_) | Kind::Partial(_));
        !file.is_held && !is_kept
    }

    /// Subtracts the records of an image, and the files that no other image needs.
    fn remove(&mut self, records: &[Arc<Record>]) {
        let of_record = |record: &Arc<Record>| self.records.get(&record.key().hex()).copied().unwrap_or(0);
        let mut freed: u64 = records.iter().map(of_record).sum();
        each_kind(records, |kind| {
            let Some(file) = self.files.get_mut(&kind) else { return };
            file.images -= 1;
            let file = &self.files[&kind];
            if file.images == 0 && self.goes(kind, file) {
                freed += file.bytes;
            }
        });
        self.total -= freed;
    }
}

impl Selection<'_> {
    /// Selects the images that are dangling, unused or too long unused, and are not held.
    fn select(&mut self, options: &CollectOptions) {
        let now = SystemTime::now();
        for (last_used, id) in &self.by_use {
            let is_nameless = self.snapshot.by_id[id].iter().all(|record| record.reference.is_none());
            // A time in the future is that of a wrong clock.
            let age = now.duration_since(*last_used).unwrap_or_default();
            let is_old = options.older_than.is_none_or(|least| age >= least);
            let reason = match options {
                _ if !is_old => continue,
                CollectOptions { dangling: true, .. } if is_nameless => Reason::Dangling,
                CollectOptions { unused: true, .. } => Reason::Unused,
                CollectOptions { dangling: false, older_than: Some(_), .. } => Reason::Old,
                _ => continue,
            };
            let holders = self.held.of_image(id);
            if holders.is_empty() {
                self.gone.insert(*id, reason);
            } else {
                self.kept.extend(KeptImage::of(self.snapshot, id, holders));
            }
        }
    }

    /// Keeps the images from which others were made that stay.
    fn keep_parents(&mut self) {
        let parent = |id: &Digest| self.snapshot.metadata(id).parent;
        let staying = self.snapshot.ids.iter().filter(|id| !self.gone.contains_key(*id));
        let mut next: Vec<Digest> = staying.filter_map(parent).collect();
        while let Some(id) = next.pop() {
            if self.gone.remove(&id).is_some() {
                next.extend(self.snapshot.metadata(&id).parent);
                let holders = children(self.snapshot, &id).collect();
                self.kept.extend(KeptImage::of(self.snapshot, &id, holders));
            }
        }
    }

    /// Selects further images until the cache is small enough. Returns the size that it then has.
    fn shrink(&mut self, limit: u64, mut sizes: Sizes) -> u64 {
        for id in self.gone.keys() {
            sizes.remove(&self.snapshot.by_id[id]);
        }
        // The removal of a child lets its parent go.
        let mut has_changed = true;
        while std::mem::take(&mut has_changed) && sizes.total > limit {
            for (_, id) in &self.by_use {
                if sizes.total <= limit {
                    break;
                }
                let stays = |child: &Digest| !self.gone.contains_key(child);
                if self.gone.contains_key(id) || self.snapshot.children(id).iter().any(stays) {
                    continue;
                }
                let holders = self.held.of_image(id);
                if holders.is_empty() {
                    sizes.remove(&self.snapshot.by_id[id]);
                    self.gone.insert(*id, Reason::Size);
                    has_changed = true;
                } else if !self.kept.iter().any(|kept| kept.id == *id) {
                    self.kept.extend(KeptImage::of(self.snapshot, id, holders));
                }
            }
        }
        sizes.total
    }
}

impl KeptImage {
    fn of(snapshot: &Snapshot, id: &Digest, holders: Vec<Holder>) -> Option<Self> {
        let records = snapshot.by_id.get(id)?.iter().map(|record| (**record).clone()).collect();
        Some(Self { id: *id, records, holders })
    }
}

impl Collection {
    /// Adds an image, and returns its records.
    fn take_image(&mut self, snapshot: &Snapshot, image: &Planned) -> Vec<Record> {
        let Some(records) = snapshot.by_id.get(&image.id) else { return Vec::new() };
        let records: Vec<Record> = records.iter().map(|record| (**record).clone()).collect();
        let last_used = image.last_used.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.images.push(RemovedImage { id: image.id, records: records.clone(), reason: image.reason, last_used });
        records
    }
}
