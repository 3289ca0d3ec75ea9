//! Removal of images, and of files that no image needs.

mod files;
mod images;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use vmroot_model::Digest;

use crate::holders::Holder;
use crate::journal::Transaction;
use crate::{Image, NoProgress, Progress, Record, Result, Store};

/// The result of removing an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removal {
    /// The removed records.
    pub records: Vec<Record>,
    /// Whether another record still refers to the image.
    pub still_named: bool,
}

/// Options of [`Store::collect_with`]. By default, no image is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectOptions {
    /// Whether to list what would be removed, and to remove nothing.
    pub dry_run: bool,
    /// Whether to remove the images without a name.
    pub dangling: bool,
    /// Whether to remove all images that are not in use.
    pub unused: bool,
    /// Remove images that were not used for this long. With [`Self::dangling`] or [`Self::unused`], only these are
    /// removed, of those.
    pub older_than: Option<Duration>,
    /// Remove further images, the least recently used first, until the cache takes at most this disk space in bytes.
    pub max_size: Option<u64>,
    /// Whether to keep all blobs, so that removed images can be pulled again without a download.
    pub keep_blobs: bool,
}

/// The images and files that were removed by a collection, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collection {
    /// The images, the least recently used first.
    pub images: Vec<RemovedImage>,
    /// The images that the options select but that stay, because something needs them.
    pub kept: Vec<KeptImage>,
    /// The files, and temporary directories of killed processes.
    pub files: Vec<PathBuf>,
    /// The number of temporary directories among [`Self::files`].
    pub directories: u64,
    /// The disk space of the files in bytes.
    pub bytes: u64,
    /// The holders of files that no image needs and that stay.
    pub held_by: Vec<Holder>,
    /// The disk space of the cache afterwards, in bytes, if [`CollectOptions::max_size`] is set. It is larger than that
    /// if the images that stay need more.
    pub size: Option<u64>,
}

/// An image that a collection removes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemovedImage {
    /// Its id.
    pub id: Digest,
    /// Its records.
    pub records: Vec<Record>,
    /// Why it is removed.
    pub reason: Reason,
    /// The time of its last use, in seconds since the Unix epoch, to the minute.
    pub last_used: u64,
}

/// An image that a collection keeps for others.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptImage {
    /// Its id.
    pub id: Digest,
    /// Its records.
    pub records: Vec<Record>,
    /// What keeps it.
    pub holders: Vec<Holder>,
}

/// Why a collection removes an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It has no name.
    Dangling,
    /// Nothing uses it.
    Unused,
    /// It was not used for a long time.
    Old,
    /// The cache is too large.
    Size,
}

impl CollectOptions {
    fn removes_images(&self) -> bool {
        self.dangling || self.unused || self.older_than.is_some() || self.max_size.is_some()
    }
}

impl Store {
    /// Removes the name by which the image was found: [`Record::reference`] with its platform.
    ///
    /// The files stay until [`Store::collect`] runs, and longer if another user of the cache needs them. Once
    /// no name is left, `image` and its clones no longer keep the files.
    ///
    /// # Errors
    /// - [`Error::Cache`](crate::Error::Cache) if the records cannot be locked, read or removed.
    /// - [`Error::Shared`](crate::Error::Shared) if only a shared cache has the image under this name.
    pub fn remove_name(&self, image: &Image) -> Result<Removal> {
        // Other fields are not compared: the same image may have been pulled again since.
        let name = |record: &Record| (record.reference.clone(), record.platform.normalised());
        self.remove_records(image, |record| name(record) == name(image.record()))
    }

    /// Removes all names of an image. Otherwise as [`Self::remove_name`].
    ///
    /// # Errors
    /// As [`Self::remove_name`].
    pub fn remove(&self, image: &Image) -> Result<Removal> {
        self.remove_records(image, |_| true)
    }

    fn remove_records(&self, image: &Image, is_meant: impl Fn(&Record) -> bool) -> Result<Removal> {
        let lock = self.lock_records(None)?;
        let snapshot = self.snapshot()?;
        let same_image = snapshot.by_id.get(image.id()).into_iter().flatten().map(|record| (**record).clone());
        let (gone, kept): (Vec<_>, Vec<_>) = same_image.partition(is_meant);
        if gone.is_empty()
            && let Some(error) = self.only_shared(image.record())
        {
            return Err(error);
        }
        self.commit(&lock, &Transaction { remove: gone.clone(), ..Transaction::default() })?;
        if kept.is_empty() {
            image.release();
        }
        Ok(Removal { records: gone, still_named: !kept.is_empty() })
    }

    /// Removes every file that no image needs: blobs, layers, roots, partial blobs, and files left by crashed
    /// processes.
    ///
    /// A file is needed if a record, a live [`Image`] or a lease refers to it, or if another user of the cache is fetching
    /// or checking it: see `docs/formats/cache.md`. All users may continue meanwhile.
    ///
    /// # Errors
    /// As [`Self::collect_with`].
    pub fn collect(&self) -> Result<Collection> {
        self.collect_with(&CollectOptions::default(), &no_progress())
    }

    /// Removes the images without a name, and then as [`Self::collect`]. An image from which another one was made stays
    /// as long as that one.
    ///
    /// # Errors
    /// As [`Self::collect_with`].
    pub fn collect_dangling(&self) -> Result<Collection> {
        self.collect_with(&CollectOptions { dangling: true, ..CollectOptions::default() }, &no_progress())
    }

    /// Returns the files that [`Self::collect`] would remove now.
    ///
    /// # Errors
    /// As [`Self::collect_with`].
    pub fn list_unneeded(&self) -> Result<Collection> {
        self.collect_with(&CollectOptions { dry_run: true, ..CollectOptions::default() }, &no_progress())
    }

    /// Returns the images and files that [`Self::collect_dangling`] would remove now.
    ///
    /// # Errors
    /// As [`Self::collect_with`].
    pub fn list_dangling(&self) -> Result<Collection> {
        self.collect_with(
            &CollectOptions { dry_run: true, dangling: true, ..CollectOptions::default() },
            &no_progress(),
        )
    }

    /// Removes the images that the options select, and then the files that no image needs, as [`Self::collect`].
    ///
    /// An image stays if it is in use, if a lease has it, or if an image was made from it that stays.
    ///
    /// # Errors
    /// - [`Error::InUse`](crate::Error::InUse) if a user of the cache does not list the files that it needs: a process of
    ///   an earlier version, or one that found the disk full.
    /// - [`Error::Record`](crate::Error::Record) if a record is damaged, because the files that it needs are unknown.
    /// - [`Error::Cache`](crate::Error::Cache) if a lease is damaged, or a file cannot be listed, read or removed.
    /// - [`Error::Cancelled`](crate::Error::Cancelled) if the work was cancelled. What was removed until then is gone.
    pub fn collect_with(&self, options: &CollectOptions, progress: &Arc<dyn Progress>) -> Result<Collection> {
        self.cache.check_writable()?;
        self.recover()?;
        let mut found = Collection::default();
        let plan = self.plan_images(options)?;
        self.remove_images(plan, options.dry_run, &mut found)?;
        let gone = found.images.iter().map(|image| image.id).collect();
        self.collect_files(options, &gone, &mut found, progress)?;
        let swept = match options.dry_run {
            true => self.cache.list_abandoned()?,
            false => {
                self.remove_expired_leases()?;
                self.cache.sweep()?
            }
        };
        found.directories = swept.directories;
        found.bytes += swept.bytes;
        found.files.extend(swept.paths);
        found.files.sort_unstable();
        Ok(found)
    }
}

fn no_progress() -> Arc<dyn Progress> {
    Arc::new(NoProgress)
}

/// Returns the paths of a directory's entries, sorted.
pub(crate) fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = || -> io::Result<Vec<PathBuf>> {
        let mut paths = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort_unstable();
        Ok(paths)
    };
    Ok(entries().map_err(vmroot_output::Error::on("list", directory))?)
}

/// Removes a file. Returns false if it did not exist.
pub(crate) fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => Ok(removed.map(|()| true).map_err(vmroot_output::Error::on("remove", path))?),
    }
}
