//! Removing images, and everything that no image needs any more.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vmroot_cache::{LockName, Mode};
use vmroot_model::Digest;
use vmroot_output::TEMPORARY_PREFIX;

use crate::root::chain_id;
use crate::store::until_cancelled;
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
    /// Its files stay until [`Store::collect`], and longer where another thread holds an [`Image`] of its own. `image` and
    /// its clones keep them no longer, once no name is left.
    ///
    /// # Errors
    /// When the records cannot be read or removed.
    pub fn remove(&self, image: &Image, by_name: bool) -> Result<Removed> {
        let _lock = self.cache.lock(&LockName::Images, Mode::Exclusive, &mut until_cancelled(&self.options.cancel))?;
        let records = self.records()?.whole;
        let same_image: Vec<Record> = records.into_iter().filter(|record| record.id() == image.id()).collect();
        // Not by all of the record: the same image may have been pulled again since.
        let name = |record: &Record| (record.reference.clone(), record.platform.normalised());
        let (gone, kept): (Vec<_>, Vec<_>) =
            same_image.into_iter().partition(|record| !by_name || name(record) == name(image.record()));
        for record in &gone {
            self.remove_record(record)?;
        }
        if kept.is_empty() {
            image.release();
        }
        Ok(Removed { records: gone, still_named: !kept.is_empty() })
    }

    /// Removes every file that no image needs: blobs, layers, roots, partial blobs, and files that crashes left.
    ///
    /// Needed is what a record names, what an [`Image`] of this store names that is still alive, and what other threads of
    /// this store are fetching or checking now. With `dry_run` nothing is removed; the result says what would be.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process, or another `Store` of this one, has the cache open;
    /// [`Error::Record`] when a record is damaged: what it needs is not known.
    pub fn collect(&self, dry_run: bool) -> Result<Collected> {
        let collected =
            self.presence.run_alone(&mut until_cancelled(&self.options.cancel), || self.collect_alone(dry_run))?;
        collected.unwrap_or_else(|| Err(Error::InUse { path: self.directory().to_owned() }))
    }

    fn collect_alone(&self, dry_run: bool) -> Result<Collected> {
        let still = self.in_use.still();
        let records = self.records()?;
        if let Some(error) = records.damaged.into_iter().next() {
            return Err(error);
        }
        let mut needed = Needed::by(&records.whole);
        for record in still.records() {
            needed.add(record);
            needed.growing.extend(record.layers.iter().map(|layer| layer.digest));
        }
        let mut collected = Collected::default();
        for path in self.unneeded(&needed, still.is_idle())? {
            self.check_cancelled()?;
            collected.take(path, dry_run)?;
        }
        // What a process was writing when it was killed, and locks.
        if !dry_run && still.is_idle() {
            self.cache.sweep()?;
        }
        Ok(collected)
    }

    /// The files that no image needs; temporary ones only where none is being written.
    fn unneeded(&self, needed: &Needed, idle: bool) -> Result<Vec<PathBuf>> {
        let layout = self.cache.layout();
        let mut unneeded = Vec::new();
        for blob in self.cache.blobs()? {
            if blob.partial {
                if !needed.growing.contains(&blob.digest) {
                    unneeded.push(layout.partial(&blob.digest));
                }
            } else if !needed.blobs.contains(&blob.digest) {
                unneeded.push(layout.blob(&blob.digest));
            }
        }
        for (directory, names) in [(layout.layers(), &needed.layers), (layout.roots(), &needed.roots)] {
            let is_needed = |path: &PathBuf| {
                let stem = path.file_stem().and_then(|stem| stem.to_str());
                stem.is_some_and(|stem| names.contains(stem) || !idle && stem.starts_with(TEMPORARY_PREFIX))
            };
            unneeded.extend(list(&directory)?.into_iter().filter(|path| !is_needed(path)));
        }
        Ok(unneeded)
    }
}

/// What records need, the layers and roots by the names of their files.
#[derive(Default)]
pub(crate) struct Needed {
    pub(crate) blobs: HashSet<Digest>,
    /// The blobs that may be on their way.
    growing: HashSet<Digest>,
    layers: HashSet<String>,
    roots: HashSet<String>,
}

impl Needed {
    pub(crate) fn by(records: &[Record]) -> Self {
        let mut needed = Self::default();
        records.iter().for_each(|record| needed.add(record));
        needed
    }

    fn add(&mut self, record: &Record) {
        self.blobs.extend([record.digest, record.manifest.digest, record.config.digest]);
        self.blobs.extend(record.layers.iter().map(|layer| layer.digest));
        let diff_ids: Vec<Digest> = record.layers.iter().map(|layer| layer.diff_id).collect();
        self.layers.extend(diff_ids.iter().map(Digest::hex));
        self.roots.insert(chain_id(&diff_ids).hex());
    }
}

impl Collected {
    fn take(&mut self, path: PathBuf, dry_run: bool) -> Result<()> {
        use std::os::unix::fs::MetadataExt;
        let failed = |action| {
            let path = path.clone();
            move |source| vmroot_cache::Error::Io { action, path, source }
        };
        // Another thread may have removed it since it was listed: because it was damaged.
        let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let metadata = match fs::symlink_metadata(&path) {
            Err(error) if missing(&error) => return Ok(()),
            metadata => metadata.map_err(failed("stat"))?,
        };
        if !metadata.is_file() {
            return Ok(());
        }
        if !dry_run && let Err(error) = fs::remove_file(&path) {
            return if missing(&error) { Ok(()) } else { Err(failed("remove")(error).into()) };
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
    let failed = |source| vmroot_cache::Error::Io { action: "list", path: directory.to_owned(), source };
    Ok(entries().map_err(failed)?)
}
