//! Removal of images, and of files that no image needs.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmroot_model::Digest;
use vmroot_output::TEMPORARY_PREFIX;

use crate::journal::Transaction;
use crate::root::chain_id;
use crate::store::until_cancelled;
use crate::{Error, Image, Record, Result, Store};

/// The result of removing an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removal {
    /// The removed records.
    pub records: Vec<Record>,
    /// Whether another record still refers to the image.
    pub still_named: bool,
}

/// The files that no image needs: removed by a collection, or only listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collection {
    /// The records of images without a name, if these are not kept.
    pub dangling: Vec<Record>,
    /// The files.
    pub files: Vec<PathBuf>,
    /// The disk space of these files in bytes.
    pub bytes: u64,
}

/// The action on a file that no image needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Collector {
    Remove,
    List,
}

/// The images without a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dangling {
    Stay,
    Go,
}

impl Store {
    /// Removes the name by which the image was found: [`Record::reference`] with its platform.
    ///
    /// The files stay until [`Store::collect`] runs, and longer if another thread holds an [`Image`] of its own. Once
    /// no name is left, `image` and its clones no longer keep the files.
    ///
    /// # Errors
    /// [`Error::Cache`] if the records cannot be locked, read or removed.
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
        self.commit(&lock, &Transaction { remove: gone.clone(), ..Transaction::default() })?;
        if kept.is_empty() {
            image.release();
        }
        Ok(Removal { records: gone, still_named: !kept.is_empty() })
    }

    /// Removes every file that no image needs: blobs, layers, roots, partial blobs, and files left by crashed
    /// processes.
    ///
    /// A file is needed if a record or a live [`Image`] of this store refers to it, or if another thread of this store
    /// is fetching or checking it.
    ///
    /// # Errors
    /// - [`Error::InUse`] if another process, or another `Store` of this process, has the cache open.
    /// - [`Error::Record`] if a record is damaged, because the files that it needs are unknown.
    /// - [`Error::Cache`] if a file cannot be listed or removed.
    /// - [`Error::Cancelled`] if the work was cancelled.
    pub fn collect(&self) -> Result<Collection> {
        self.collect_alone(Collector::Remove, Dangling::Stay)
    }

    /// Removes the images without a name, and then as [`Self::collect`]. An image from which another one was made stays
    /// as long as that one.
    ///
    /// # Errors
    /// As [`Self::collect`]. With [`Error::InUse`], no image was removed.
    pub fn collect_dangling(&self) -> Result<Collection> {
        self.collect_alone(Collector::Remove, Dangling::Go)
    }

    /// Returns the files that [`Self::collect`] would remove now.
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub fn list_unneeded(&self) -> Result<Collection> {
        self.collect_alone(Collector::List, Dangling::Stay)
    }

    /// Returns the images and files that [`Self::collect_dangling`] would remove now.
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub fn list_dangling(&self) -> Result<Collection> {
        self.collect_alone(Collector::List, Dangling::Go)
    }

    /// Runs the collector while no other process has the cache open.
    fn collect_alone(&self, collector: Collector, dangling: Dangling) -> Result<Collection> {
        let mut waiting = until_cancelled(&self.options.cancel);
        let collected = self.presence.run_alone(&mut waiting, || self.run_collector(collector, dangling))?;
        collected.unwrap_or_else(|| Err(Error::InUse { path: self.directory().to_owned() }))
    }

    fn run_collector(&self, collector: Collector, dangling: Dangling) -> Result<Collection> {
        self.recover()?;
        let gone = match dangling {
            Dangling::Stay => Vec::new(),
            Dangling::Go => self.take_dangling(collector)?,
        };
        let freeze = self.in_use.freeze();
        let mut records = self.records()?;
        records.whole.retain(|record| !gone.contains(record));
        if let Some(error) = records.damaged.into_iter().next() {
            return Err(error);
        }
        let mut needed = Needed::by(&records.whole);
        for record in freeze.records() {
            needed.add(record);
            needed.growing.extend(record.layers.iter().map(|layer| layer.digest));
        }
        let mut collected = Collection { dangling: gone, ..Collection::default() };
        for path in self.unneeded(&needed, freeze.is_idle())? {
            self.check_cancelled()?;
            collected.take(path, collector)?;
        }
        // Files of processes that were killed while writing, and lock files.
        if collector == Collector::Remove && freeze.is_idle() {
            self.cache.sweep()?;
        }
        Ok(collected)
    }

    /// Returns the records of images without a name, and removes them unless they are only listed.
    fn take_dangling(&self, collector: Collector) -> Result<Vec<Record>> {
        let lock = self.lock_records(None)?;
        let snapshot = self.snapshot()?;
        let is_nameless = |records: &[Arc<Record>]| records.iter().all(|record| record.reference.is_none());
        let nameless = snapshot.by_id.iter().filter(|(_, records)| is_nameless(records));
        let mut gone: HashSet<Digest> = nameless.map(|(id, _)| *id).collect();
        loop {
            let is_parent = |id: &&Digest| snapshot.children(id).iter().any(|child| !gone.contains(child));
            let parents: Vec<Digest> = gone.iter().filter(is_parent).copied().collect();
            if parents.is_empty() {
                break;
            }
            gone.retain(|id| !parents.contains(id));
        }
        let records = snapshot.records.iter().filter(|record| gone.contains(record.id()));
        let remove: Vec<Record> = records.map(|record| (**record).clone()).collect();
        if collector == Collector::Remove {
            let metadata = gone.iter().map(|id| (*id, None)).collect();
            self.commit(&lock, &Transaction { remove: remove.clone(), metadata, ..Transaction::default() })?;
        }
        Ok(remove)
    }

    /// Returns the files that no image needs. Temporary files are included only if `idle`: no thread is writing any.
    fn unneeded(&self, needed: &Needed, idle: bool) -> Result<Vec<PathBuf>> {
        let layout = self.cache.layout();
        let mut unneeded = Vec::new();
        for blob in self.cache.blobs()? {
            if blob.is_partial {
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

/// The files that records need. Layers and roots are identified by the stems of their file names.
#[derive(Default)]
pub(crate) struct Needed {
    pub(crate) blobs: HashSet<Digest>,
    /// Blobs that may be being fetched.
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
        self.blobs.extend(&record.indexes);
        self.blobs.extend(record.layers.iter().map(|layer| layer.digest));
        let diff_ids: Vec<Digest> = record.layers.iter().map(|layer| layer.diff_id).collect();
        self.layers.extend(diff_ids.iter().map(Digest::hex));
        self.roots.insert(chain_id(&diff_ids).hex());
    }
}

impl Collection {
    fn take(&mut self, path: PathBuf, collector: Collector) -> Result<()> {
        use std::os::unix::fs::MetadataExt;
        // Another thread may have removed the file since it was listed, because it was damaged.
        let metadata = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            metadata => metadata.map_err(vmroot_output::Error::on("stat", &path))?,
        };
        if !metadata.is_file() {
            return Ok(());
        }
        if collector == Collector::Remove && !remove(&path)? {
            return Ok(());
        }
        self.bytes += metadata.blocks() * 512;
        self.files.push(path);
        Ok(())
    }
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
