//! The budget of a cache: the disk space that it may take.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use vmroot_cache::Area;
use vmroot_model::Platform;

use crate::collect::KeptImage;
use crate::in_use::Pin;
use crate::{CollectOptions, Error, Holder, Progress, Record, Result, Store};

/// The most images that a message lists.
const LISTED: usize = 10;

impl Store {
    /// Runs `work`, which completes a pinned image. Before and after it, images are removed if the cache is too large.
    ///
    /// The size of decoded layers is not known before, so the cache can be larger than its budget during the work. An
    /// image that does not fit in the end is removed.
    pub(crate) fn within_budget(
        &self,
        record: &Record,
        pin: Pin,
        progress: &Arc<dyn Progress>,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<Pin> {
        if self.options.max_size.is_none() {
            work()?;
            return Ok(pin);
        }
        let reference = record.reference.as_ref().map(|reference| reference.familiar());
        let name = reference.or_else(|| record.loaded_from.clone()).unwrap_or_else(|| record.id().to_string());
        self.make_room(self.missing_bytes(record), &name, progress)?;
        work()?;
        if let Err(error) = self.make_room(0, &name, progress) {
            drop(pin);
            self.collect()?;
            return Err(error);
        }
        Ok(pin)
    }

    /// Removes the least recently used images until the cache can take `bytes` more within its budget.
    ///
    /// # Errors
    /// [`Error::Budget`] if it cannot, because the images that stay need more.
    pub(crate) fn make_room(&self, bytes: u64, image: &str, progress: &Arc<dyn Progress>) -> Result<()> {
        let Some(budget) = self.options.max_size else { return Ok(()) };
        let usage = self.cache.usage()?;
        let areas = [usage.blobs, usage.unfinished, usage.layers, usage.roots, usage.images];
        let size: u64 = areas.iter().map(|area: &Area| area.disk_bytes).sum();
        if size.saturating_add(bytes) <= budget {
            return Ok(());
        }
        let options =
            CollectOptions { dry_run: true, max_size: Some(budget.saturating_sub(bytes)), ..CollectOptions::default() };
        // Nothing is removed if that is not enough.
        let planned = self.collect_with(&options, progress)?;
        let least = planned.size.unwrap_or(size);
        if least.saturating_add(bytes) > budget {
            let kept = kept_text(&planned.kept);
            return Err(Error::Budget { image: image.to_owned(), needed: bytes, size: least, budget, kept });
        }
        let collected = self.collect_with(&CollectOptions { dry_run: false, ..options }, progress)?;
        for removed in &collected.images {
            let names = names(&removed.records);
            let message = format!("removed {names} from the cache, the image that was not used for the longest time");
            tracing::info!("{message}");
            progress.message(&message);
        }
        let size = collected.size.unwrap_or(size);
        if size.saturating_add(bytes) <= budget {
            return Ok(());
        }
        let kept = kept_text(&collected.kept);
        Err(Error::Budget { image: image.to_owned(), needed: bytes, size, budget, kept })
    }

    /// Returns the bytes that an image needs at least, besides those in the cache. The contents of a layer count as much
    /// as its blob.
    fn missing_bytes(&self, record: &Record) -> u64 {
        let layout = self.cache.layout();
        let missing = |path: PathBuf, size: u64| if fs::exists(path).unwrap_or(false) { 0 } else { size };
        let documents = [&record.manifest, &record.config];
        let documents = documents.iter().map(|blob| missing(layout.blob(&blob.digest), blob.size));
        let layers = record.layers.iter().map(|layer| {
            let index = missing(layout.layer_index(&layer.diff_id), layer.size);
            // A layer that is there does not need its blob.
            if index == 0 { 0 } else { missing(layout.blob(&layer.digest), layer.size).saturating_add(index) }
        });
        documents.chain(layers).fold(0, u64::saturating_add)
    }
}

/// Returns the names of an image, or its id, and its platform if that is not the host's.
fn names(records: &[Record]) -> String {
    let names: Vec<_> = records.iter().filter_map(|it| it.reference.as_ref()).map(|it| it.familiar()).collect();
    let Some(first) = records.first() else { return String::new() };
    let names = if names.is_empty() { first.id().to_string() } else { names.join(", ") };
    match first.platform.normalised() == Platform::host() {
        true => names,
        // The images of a name for several platforms are removed one by one.
        false => format!("{names} ({})", first.platform),
    }
}

fn kept_text(kept: &[KeptImage]) -> String {
    // This process itself uses the image that it completes.
    let is_other = |holder: &&Holder| !matches!(holder, Holder::Process { pid, .. } if *pid == std::process::id());
    let one = |image: &KeptImage| {
        let holders: Vec<String> = image.holders.iter().filter(is_other).map(ToString::to_string).collect();
        (!holders.is_empty()).then(|| format!("{} by {}", names(&image.records), holders.join(" and ")))
    };
    let mut listed: Vec<String> = kept.iter().filter_map(one).collect();
    if listed.is_empty() {
        return String::new();
    }
    let more = listed.len().saturating_sub(LISTED);
    listed.truncate(LISTED);
    if more > 0 {
        listed.push(format!("{more} more"));
    }
    format!("; in use: {}", listed.join(", "))
}
