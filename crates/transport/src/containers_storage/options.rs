//! The location of a store, and `storage.conf`, which has it (containers-storage.conf(5)).

use std::path::{Path, PathBuf};

use serde::Deserialize;
use vmroot_compress::Limits;

use crate::name::StoreLocation;
use crate::{Error, Result};

/// The root's default store.
const SYSTEM_ROOT: &str = "/var/lib/containers/storage";

/// The default directory of the state of root's store.
const SYSTEM_RUN_ROOT: &str = "/run/containers/storage";

/// The end of a driver's option with the directory of more images.
const IMAGE_STORE_OPTION: &str = "imagestore";

/// The location of a store.
#[derive(Debug, Clone)]
pub struct StorageOptions {
    /// The directory of the store, `graphroot`.
    pub root: PathBuf,
    /// The directory of its state that a reboot removes, `runroot`. A store in memory keeps its list of layers there.
    pub run_root: Option<PathBuf>,
    /// The driver, such as `overlay`. `None` stands for the one whose images are in the store.
    pub driver: Option<String>,
    /// Directories of more stores, which have images and layers as well.
    pub additional_stores: Vec<PathBuf>,
    /// The limits on decompressing the tar-split files.
    pub limits: Limits,
}

/// The user whose store it is. The default locations depend on it.
#[derive(Debug, Clone, Default)]
pub struct StorageUser {
    /// The user id. User 0 has the system's store.
    pub uid: u32,
    /// `$HOME`.
    pub home: PathBuf,
    /// `$XDG_DATA_HOME`.
    pub data_home: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
}

/// The parts of `storage.conf` that locate a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageConfig {
    /// The driver.
    pub driver: Option<String>,
    /// The directory of the store.
    pub graph_root: Option<PathBuf>,
    /// The directory of its state.
    pub run_root: Option<PathBuf>,
    /// The directory of the store of users other than root. `$HOME`, `$USER` and `$UID` are not yet replaced.
    pub rootless_storage_path: Option<String>,
    /// The directory of images, if it is not the store's.
    pub image_store: Option<PathBuf>,
    /// Directories of more stores.
    pub additional_stores: Vec<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    storage: Storage,
}

/// The table `storage`. Most keys are about writing, and are ignored. An empty text is like a missing key.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Storage {
    driver: String,
    graphroot: String,
    runroot: String,
    imagestore: String,
    rootless_storage_path: String,
    options: DriverOptions,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DriverOptions {
    additionalimagestores: Vec<String>,
}

impl StorageConfig {
    /// Parses a `storage.conf`. `path` is its name in messages.
    ///
    /// # Errors
    /// [`Error::Member`] if it is not TOML or a value has another type.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let document: Document = toml::from_str(text).map_err(|error| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let directory = path.parent().unwrap_or(path);
            Error::member(directory, &name, format!("is not valid: {}", error.message()))
        })?;
        let storage = document.storage;
        let filled = |text: String| Some(text).filter(|text| !text.is_empty());
        let path = |text| filled(text).map(PathBuf::from);
        Ok(Self {
            driver: filled(storage.driver),
            graph_root: path(storage.graphroot),
            run_root: path(storage.runroot),
            rootless_storage_path: filled(storage.rootless_storage_path),
            image_store: path(storage.imagestore),
            additional_stores: storage.options.additionalimagestores.into_iter().filter_map(path).collect(),
        })
    }

    /// Returns the location of a user's store.
    ///
    /// For users other than root, `graphroot` and `runroot` of the system's file are root's. They count only in a file of
    /// the user's own, for which `is_of_user` is true.
    pub fn locate(&self, user: &StorageUser, is_of_user: bool) -> StorageOptions {
        let counts = user.uid == 0 || is_of_user;
        let (root, run_root) = user.default_roots();
        let rootless = || {
            let path = self.rootless_storage_path.as_deref().filter(|_| user.uid != 0)?;
            Some(user.expand(path))
        };
        let own_root = self.graph_root.clone().filter(|_| counts);
        StorageOptions {
            root: own_root.or_else(rootless).unwrap_or(root),
            run_root: self.run_root.clone().filter(|_| counts).or(run_root),
            driver: self.driver.clone(),
            additional_stores: self.image_store.iter().chain(&self.additional_stores).cloned().collect(),
            limits: Limits::default(),
        }
    }
}

impl StorageUser {
    /// Returns the default directories of the store and of its state.
    fn default_roots(&self) -> (PathBuf, Option<PathBuf>) {
        if self.uid == 0 {
            return (PathBuf::from(SYSTEM_ROOT), Some(PathBuf::from(SYSTEM_RUN_ROOT)));
        }
        let data_home = self.data_home.clone().unwrap_or_else(|| self.home.join(".local/share"));
        let run_root = self.runtime_dir.as_ref().map(|directory| directory.join("containers"));
        (data_home.join("containers/storage"), run_root)
    }

    /// Replaces the variables in a path.
    fn expand(&self, path: &str) -> PathBuf {
        let home = self.home.to_string_lossy();
        let uid = self.uid.to_string();
        let name = self.home.file_name().unwrap_or_default().to_string_lossy();
        let pairs = [("${HOME}", &*home), ("$HOME", &home), ("${UID}", &uid), ("$UID", &uid), ("$USER", &name)];
        PathBuf::from(pairs.iter().fold(path.to_owned(), |path, (from, to)| path.replace(from, to)))
    }
}

impl StorageOptions {
    /// Returns the options of the store in a directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let (run_root, driver, additional_stores) = Default::default();
        Self { root: root.into(), run_root, driver, additional_stores, limits: Limits::default() }
    }

    /// Returns the options with the location of an image's name.
    ///
    /// Another root has another driver and other stores, unless the name has them.
    pub(super) fn at(&self, location: &StoreLocation) -> Self {
        let mut options = self.clone();
        if let Some(root) = &location.root {
            if *root != self.root {
                options.driver = None;
                options.run_root = None;
                options.additional_stores.clear();
            }
            options.root = root.clone();
        }
        options.driver = location.driver.clone().or(options.driver);
        options.run_root = location.run_root.clone().or(options.run_root);
        let stores = location.options.iter().filter_map(|option| option.split_once('='));
        // `overlay.imagestore=PATH`, and without the driver's name.
        let stores = stores.filter(|(key, _)| key.rsplit('.').next() == Some(IMAGE_STORE_OPTION));
        options.additional_stores.extend(stores.map(|(_, path)| PathBuf::from(path)));
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        [storage]
        driver = "overlay"
        runroot = "/run/x"
        graphroot = "/var/x"
        rootless_storage_path = "$HOME/$UID/storage"
        [storage.options]
        additionalimagestores = ["/usr/share/images", ""]
        pull_options = { enable_partial_images = "true" }
        [storage.options.overlay]
        mountopt = "nodev"
    "#;

    fn user(uid: u32) -> StorageUser {
        StorageUser { uid, home: "/home/u".into(), data_home: None, runtime_dir: Some("/run/user/7".into()) }
    }

    #[test]
    fn the_location_depends_on_the_user() {
        let config = StorageConfig::parse(CONFIG, Path::new("/etc/containers/storage.conf")).unwrap();
        let system = config.locate(&user(0), false);
        assert_eq!((system.root, system.run_root), ("/var/x".into(), Some("/run/x".into())));
        assert_eq!(system.additional_stores, [PathBuf::from("/usr/share/images")]);
        let rootless = config.locate(&user(7), false);
        assert_eq!(
            (rootless.root, rootless.run_root),
            ("/home/u/7/storage".into(), Some("/run/user/7/containers".into()))
        );
        assert_eq!(config.locate(&user(7), true).root, Path::new("/var/x"));

        let empty = StorageConfig::parse("", Path::new("storage.conf")).unwrap();
        assert_eq!(empty.locate(&user(0), false).root, Path::new(SYSTEM_ROOT));
        assert_eq!(empty.locate(&user(7), false).root, Path::new("/home/u/.local/share/containers/storage"));
        let elsewhere = StorageUser { data_home: Some("/data".into()), ..user(7) };
        assert_eq!(empty.locate(&elsewhere, false).root, Path::new("/data/containers/storage"));
    }

    #[test]
    fn a_broken_file_is_an_error_with_its_name() {
        for text in ["[storage", "[storage]\ngraphroot = 7", "[storage.options]\nadditionalimagestores = \"/x\""] {
            let error = StorageConfig::parse(text, Path::new("/etc/containers/storage.conf")).unwrap_err().to_string();
            assert!(error.starts_with("storage.conf in /etc/containers is not valid: "), "{error}");
        }
    }

    #[test]
    fn the_location_in_a_name_takes_precedence() {
        let config = StorageConfig::parse(CONFIG, Path::new("storage.conf")).unwrap();
        let options = config.locate(&user(0), false);
        let location = StoreLocation {
            root: Some("/other".into()),
            options: vec!["overlay.imagestore=/more".to_owned(), "overlay.mountopt=nodev".to_owned()],
            ..StoreLocation::default()
        };
        let other = options.at(&location);
        assert_eq!((other.root, other.driver, other.run_root), ("/other".into(), None, None));
        assert_eq!(other.additional_stores, [PathBuf::from("/more")]);
        let same = options.at(&StoreLocation { driver: Some("vfs".to_owned()), ..StoreLocation::default() });
        assert_eq!((same.root, same.driver.as_deref()), ("/var/x".into(), Some("vfs")));
    }
}
