//! The lists of a store.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use vmroot_model::Digest;

use super::big_data;
use super::options::StorageOptions;
use super::records::{ImageRecord, LayerRecord};
use crate::regular::open_regular;
use crate::{Error, Result};

/// The maximum length in bytes of a list of images or layers. A layer takes about 600 bytes.
const LIST_LIMIT: u64 = 256 << 20;

/// The maximum number of layers of an image, also the most that overlayfs can mount.
const CHAIN_LIMIT: usize = 1024;

/// The drivers whose layers can be read. The first one with images is the store's.
const DRIVERS: [Driver; 2] = [Driver::Overlay, Driver::Vfs];

/// The driver of a store: the form of its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
    /// A layer is a directory with its own files.
    Overlay,
    /// A layer is a directory with all files, those of the layers below as well.
    Vfs,
}

impl Driver {
    fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Vfs => "vfs",
        }
    }
}

/// One directory with images and layers.
#[derive(Debug, Clone)]
pub(super) struct Store {
    root: PathBuf,
    driver: Driver,
    pub(super) images: Vec<ImageRecord>,
    layers: HashMap<String, LayerRecord>,
}

/// A store with its additional stores.
#[derive(Debug)]
pub(super) struct Stores(pub(super) Vec<Store>);

impl Stores {
    /// Reads the lists of a store and of its additional stores. An additional store that does not exist is ignored, as
    /// podman does.
    pub(super) fn open(options: &StorageOptions) -> Result<Self> {
        let mut stores = vec![Store::open(&options.root, options.driver.as_deref(), options.run_root.as_deref())?];
        for root in &options.additional_stores {
            match Store::open(root, None, None) {
                Ok(store) => stores.push(store),
                Err(Error::NotAnArchive { .. } | Error::EmptyStore { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self(stores))
    }

    /// Returns the path of the store, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.0[0].root
    }

    /// Returns the layers of an image with their stores, the base layer first.
    pub(super) fn chain<'s>(&'s self, image: &ImageRecord) -> Result<Vec<(&'s Store, &'s LayerRecord)>> {
        let mut chain = Vec::new();
        let mut next = image.top_layer.as_deref().filter(|id| !id.is_empty());
        while let Some(id) = next {
            if chain.len() == CHAIN_LIMIT {
                let path = self.path().to_owned();
                return Err(Error::ArchiveLimit { path, what: "the layers of one image", limit: CHAIN_LIMIT as u64 });
            }
            let found = self.0.iter().find_map(|store| Some((store, store.layers.get(id)?)));
            let missing = || Error::Missing { path: self.path().to_owned(), role: "layer", member: id.to_owned() };
            let (store, layer) = found.ok_or_else(missing)?;
            chain.push((store, layer));
            next = layer.parent.as_deref().filter(|id| !id.is_empty());
        }
        chain.reverse();
        Ok(chain)
    }
}

impl Store {
    fn open(root: &Path, driver: Option<&str>, run_root: Option<&Path>) -> Result<Self> {
        let driver = match driver {
            Some(name) => DRIVERS.into_iter().find(|driver| driver.name() == name).ok_or_else(|| {
                let reason = format!("the driver {name} is not supported; only overlay and vfs are");
                Error::NotAnArchive { path: root.to_owned(), reason }
            })?,
            None => detect_driver(root)?,
        };
        let directory = |list: &str| root.join(format!("{}-{list}", driver.name()));
        let (images, layers) = (directory("images"), directory("layers"));
        // podman locks layers before images. The same order prevents a deadlock.
        let locks = (lock(&layers.join("layers.lock"))?, lock(&images.join("images.lock"))?);
        let mut store = Self {
            root: root.to_owned(),
            driver,
            images: read_list::<ImageRecord>(&images.join("images.json"))?.unwrap_or_default(),
            layers: HashMap::new(),
        };
        let volatile = run_root.map(|root| root.join(format!("{}-layers", driver.name())));
        for directory in std::iter::once(&layers).chain(&volatile) {
            for list in ["layers.json", "volatile-layers.json"] {
                let records = read_list::<LayerRecord>(&directory.join(list))?.unwrap_or_default();
                store.layers.extend(records.into_iter().map(|layer| (layer.id.clone(), layer)));
            }
        }
        drop(locks);
        store.check_ids()?;
        Ok(store)
    }

    /// Checks that the ids, which are names of files, contain no paths.
    fn check_ids(&self) -> Result<()> {
        let images = self.images.iter().map(|image| &image.id);
        for id in images.chain(self.layers.keys()) {
            let is_name = !matches!(&**id, "" | "." | "..") && !id.contains(['/', '\0']);
            if !is_name {
                return Err(Error::member(&self.root, &format!("{id:?}"), "is not an id: it is not a file name"));
            }
        }
        Ok(())
    }

    /// Returns the path of the store, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.root
    }

    /// Returns whether the image has a data item.
    pub(super) fn has_item(image: &ImageRecord, item: &str) -> bool {
        image.big_data.iter().any(|name| name == item)
    }

    /// Returns the name of the driver.
    pub(super) fn driver_name(&self) -> &'static str {
        self.driver.name()
    }

    /// Reads a data item of an image, and checks its digest if the record has it.
    pub(super) fn read_item(&self, image: &ImageRecord, item: &str, limit: u64) -> Result<Vec<u8>> {
        let member =
            Path::new(&format!("{}-images", self.driver.name())).join(&image.id).join(big_data::file_name(item));
        let path = self.root.join(&member);
        let missing =
            || Error::Missing { path: self.root.clone(), role: "data item", member: format!("{item} of {}", image.id) };
        let Some(file) = open(&path)? else { return Err(missing()) };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
        if bytes.len() as u64 > limit {
            return Err(Error::member_too_large(&self.root, item, bytes.len() as u64, limit));
        }
        if let Some(Ok(digest)) = image.big_data_digests.get(item).map(|digest| Digest::parse(digest))
            && !digest.is_of(&bytes)
        {
            let (path, member, actual) = (self.root.clone(), item.to_owned(), Digest::of(&bytes));
            return Err(Error::DigestMismatch { path, member, digest, actual });
        }
        Ok(bytes)
    }

    /// Returns the path of the tar-split file of a layer.
    pub(super) fn tar_split(&self, layer: &LayerRecord) -> PathBuf {
        self.root.join(format!("{}-layers", self.driver.name())).join(format!("{}.tar-split.gz", layer.id))
    }

    /// Returns the directory with the files of a layer.
    pub(super) fn files(&self, layer: &LayerRecord) -> PathBuf {
        match self.driver {
            Driver::Overlay => self.root.join("overlay").join(&layer.id).join("diff"),
            Driver::Vfs => self.root.join("vfs/dir").join(&layer.id),
        }
    }

    /// Returns whether the files of a layer are stored by their digests, for composefs.
    pub(super) fn is_composefs(&self, layer: &LayerRecord) -> bool {
        self.driver == Driver::Overlay && self.root.join("overlay").join(&layer.id).join("composefs-data").is_dir()
    }
}

/// Finds the driver whose images are in a store.
fn detect_driver(root: &Path) -> Result<Driver> {
    let found = DRIVERS.into_iter().find(|driver| root.join(format!("{}-images", driver.name())).is_dir());
    found.ok_or_else(|| Error::EmptyStore { path: root.to_owned() })
}

/// Opens a file of the store, or returns `None` if it does not exist.
fn open(path: &Path) -> Result<Option<File>> {
    match open_regular(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { action: "open", path: path.to_owned(), source }),
    }
}

/// Locks a list for reading, until the returned file is closed. A list without a lock file was never written to, or is
/// in an image of a file system.
fn lock(path: &Path) -> Result<Option<File>> {
    let Some(file) = open(path)? else { return Ok(None) };
    vmroot_sys::lock_shared(&file).map_err(Error::io("lock", path))?;
    Ok(Some(file))
}

/// Reads a list. Returns `None` if the file does not exist.
fn read_list<T: DeserializeOwned>(path: &Path) -> Result<Option<Vec<T>>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let size = file.metadata().map_err(Error::io("stat", path))?.len();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let directory = path.parent().unwrap_or(path);
    if size > LIST_LIMIT {
        return Err(Error::member_too_large(directory, &name, size, LIST_LIMIT));
    }
    if size == 0 {
        return Ok(None);
    }
    let list = serde_json::from_reader(BufReader::new(file.take(LIST_LIMIT)));
    list.map_err(|error| Error::member(directory, &name, format!("is not a list of a store: {error}")))
}
