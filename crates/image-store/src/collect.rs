//! Removing images, and everything that no image needs any more.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vmroot_blob_cache::{LockName, Mode};
use vmroot_model::Digest;

use crate::root::chain_id;
use crate::store::until;
use crate::{Error, Image, Record, Result, Store};

/// What removing an image did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The records that are gone.
    pub records: Vec<Record>,
    /// Whether another record still names the same image.
    pub still_named: bool,
}

/// What a collection removed, or would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// The files.
    pub files: Vec<PathBuf>,
    /// The bytes that they take on disk.
    pub bytes: u64,
}

impl Store {
    /// Forgets a name of an image, or, when the image was found by id (`by_name` is false), all its names.
    ///
    /// Its files stay until [`Store::collect`].
    ///
    /// # Errors
    /// When the records cannot be read or removed.
    pub fn remove(&self, image: &Image, by_name: bool) -> Result<Removed> {
        let _lock = self.cache.lock(&LockName::Images, Mode::Exclusive, &mut until(&self.options.cancel))?;
        let (records, _) = self.records()?;
        let same_image: Vec<Record> = records.into_iter().filter(|record| record.id() == image.id()).collect();
        let (gone, kept): (Vec<_>, Vec<_>) =
            same_image.into_iter().partition(|record| !by_name || record == image.record());
        for record in &gone {
            self.remove_record(record)?;
        }
        Ok(Removed { records: gone, still_named: !kept.is_empty() })
    }

    /// Removes every file that no record needs: blobs, layers, roots, what was fetched in part, what crashes left.
    ///
    /// With `dry_run` nothing is removed; the result says what would be.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process, or another `Store` of this one, has the cache open;
    /// [`Error::Record`] when a record is damaged: what it needs is not known.
    pub fn collect(&self, dry_run: bool) -> Result<Collected> {
        let mut in_use = self.in_use.lock().expect("nobody panics while holding it");
        drop(in_use.take());
        let collected = match self.cache.try_lock(&LockName::Cache, Mode::Exclusive) {
            Ok(Some(_exclusive)) => self.collect_alone(dry_run),
            Ok(None) => Err(Error::InUse { path: self.directory().to_owned() }),
            Err(error) => Err(error.into()),
        };
        *in_use = Some(self.cache.lock(&LockName::Cache, Mode::Shared, &mut until(&self.options.cancel))?);
        collected
    }

    fn collect_alone(&self, dry_run: bool) -> Result<Collected> {
        let (records, damaged) = self.records()?;
        if let Some(error) = damaged.into_iter().next() {
            return Err(error);
        }
        let mut collected = Collected::default();
        for path in self.unneeded(&Needed::by(&records))? {
            self.check_cancelled()?;
            collected.take(path, dry_run)?;
        }
        if !dry_run {
            // What a process was writing when it was killed, and locks.
            self.cache.sweep()?;
        }
        Ok(collected)
    }

    /// The files that nobody needs, if nobody is at work.
    fn unneeded(&self, needed: &Needed) -> Result<Vec<PathBuf>> {
        let layout = self.cache.layout();
        let mut unneeded = Vec::new();
        for blob in self.cache.blobs()? {
            if blob.partial {
                unneeded.push(layout.partial(&blob.digest));
            } else if !needed.blobs.contains(&blob.digest) {
                unneeded.push(layout.blob(&blob.digest));
            }
        }
        for (directory, names) in [(layout.layers(), &needed.layers), (layout.roots(), &needed.roots)] {
            let is_needed = |path: &PathBuf| {
                path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| names.contains(stem))
            };
            unneeded.extend(list(&directory)?.into_iter().filter(|path| !is_needed(path)));
        }
        Ok(unneeded)
    }
}

/// What records need, the layers and roots by the names of their files.
#[derive(Default)]
struct Needed {
    blobs: HashSet<Digest>,
    layers: HashSet<String>,
    roots: HashSet<String>,
}

impl Needed {
    fn by(records: &[Record]) -> Self {
        let mut needed = Self::default();
        for record in records {
            needed.blobs.extend([record.digest, record.manifest.digest, record.config.digest]);
            needed.blobs.extend(record.layers.iter().map(|layer| layer.digest));
            let diff_ids: Vec<Digest> = record.layers.iter().map(|layer| layer.diff_id).collect();
            needed.layers.extend(diff_ids.iter().map(Digest::hex));
            needed.roots.insert(chain_id(&diff_ids).hex());
        }
        needed
    }
}

impl Collected {
    fn take(&mut self, path: PathBuf, dry_run: bool) -> Result<()> {
        use std::os::unix::fs::MetadataExt;
        let failed = |action| {
            let path = path.clone();
            move |source| vmroot_blob_cache::Error::Io { action, path, source }
        };
        let metadata = fs::symlink_metadata(&path).map_err(failed("stat"))?;
        if !metadata.is_file() {
            return Ok(());
        }
        if !dry_run {
            fs::remove_file(&path).map_err(failed("remove"))?;
        }
        self.bytes += metadata.blocks() * 512;
        self.files.push(path);
        Ok(())
    }
}

/// The files of a directory, sorted.
pub(crate) fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = || -> io::Result<Vec<PathBuf>> {
        let mut paths = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort_unstable();
        Ok(paths)
    };
    let failed = |source| vmroot_blob_cache::Error::Io { action: "list", path: directory.to_owned(), source };
    Ok(entries().map_err(failed)?)
}
