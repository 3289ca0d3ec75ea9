//! Prebaked directories: an image in a directory of its own, for machines without a cache
//! (`docs/formats/prebaked.md`).

use std::path::{Path, PathBuf};

use vmroot_container_fs::{ContainerFs, LayerFiles};
use vmroot_image_store::{Work, WorkProgress};
use vmroot_model::Platform;
use vmroot_output::{Hook, Report, WriteProgress};

use crate::{Client, Error, ExtendedRoot, Image, Result, RuntimeConfig, Top};

/// The name of the file that says how to run the image.
const CONFIG: &str = "config.json";

/// An open prebaked directory.
#[derive(Debug)]
pub struct Prebaked {
    directory: PathBuf,
    config: RuntimeConfig,
    root: ContainerFs,
}

impl Prebaked {
    /// Opens a prebaked directory, which [`Client::export_prebaked`] may have written on another machine.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let directory = cache.path().join("web");
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path().join("cache")))?;
    /// # let image = client.pull_for("oci:../../testdata/demo:demo", &vmroot::Platform::linux("arm64")?)?;
    /// # client.export_prebaked(&image, &directory)?;
    /// use vmroot::Prebaked;
    ///
    /// let image = Prebaked::open(&directory)?;
    /// assert_eq!(image.config().command(), ["/bin/sh", "-c", "echo $GREETING"]);
    /// assert_eq!(image.config().process.uid, Some(1000));
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): there is no `config.json`, or the root has no such user as
    ///   it names.
    /// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): `config.json` is malformed, or an index or a contents
    ///   file is missing or damaged.
    pub fn open(directory: &Path) -> Result<Self> {
        Self::open_with(directory, RuntimeConfig::read(&directory.join(CONFIG))?)
    }

    /// Opens a prebaked directory for a platform, of which only the architecture is compared. A directory that names no
    /// architecture is accepted.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let directory = cache.path().join("web");
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path().join("cache")))?;
    /// # let image = client.pull_for("oci:../../testdata/demo:demo", &vmroot::Platform::linux("arm64")?)?;
    /// # client.export_prebaked(&image, &directory)?;
    /// use vmroot::{Platform, Prebaked};
    ///
    /// assert!(Prebaked::open_for(&directory, &Platform::linux("aarch64")?).is_ok());
    /// let error = Prebaked::open_for(&directory, &Platform::linux("amd64")?).unwrap_err();
    /// assert_eq!(error.to_string(), "image architecture mismatch: image is for arm64 but expected amd64");
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the directory is for another architecture.
    /// - The errors of [`Self::open`].
    pub fn open_for(directory: &Path, platform: &Platform) -> Result<Self> {
        let config = RuntimeConfig::read(&directory.join(CONFIG))?;
        if !config.architecture.is_empty() {
            let expected = platform.normalised().architecture;
            // An unknown name of an architecture stands for itself.
            let known = Platform::linux(&config.architecture);
            if expected != known.map_or_else(|_| config.architecture.clone(), |platform| platform.architecture) {
                return Err(Error::architecture_mismatch(expected, config.architecture));
            }
        }
        Self::open_with(directory, config)
    }

    fn open_with(directory: &Path, mut config: RuntimeConfig) -> Result<Self> {
        let root = vmroot_export::open_prebaked(directory, &config.layers)?;
        config.resolve_user(&root)?;
        Ok(Self { directory: directory.to_owned(), config, root })
    }

    /// Returns the path of the directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns how to run the image, with the ids of its user.
    pub fn config(&self) -> &RuntimeConfig {
        &self.config
    }

    /// Returns the merged root.
    pub fn root(&self) -> &ContainerFs {
        &self.root
    }

    /// Returns the merged root, and drops the rest.
    pub fn into_root(self) -> ContainerFs {
        self.root
    }
}

impl Client {
    /// Writes an image as a prebaked directory, which is created if it is missing. The report has the bytes of its
    /// files.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let directory = cache.path().join("web");
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path().join("cache")))?;
    /// # let image = client.pull_for("oci:../../testdata/demo:demo", &vmroot::Platform::linux("arm64")?)?;
    /// client.export_prebaked(&image, &directory)?;
    /// assert!(directory.join("config.json").is_file());
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): the image is damaged, and cannot be repaired from the
    ///   cache.
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the root has no such user as the image names.
    /// - [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled): the call was cancelled.
    /// - The directory cannot be written.
    pub fn export_prebaked(&self, image: &Image, directory: &Path) -> Result<Report> {
        let root = self.put_on_top(self.root(image)?, &Top::default())?;
        self.export_prebaked_root(image, &root, directory)
    }

    /// Writes an image with layers on top, of [`Self::put_on_top`], as a prebaked directory. The layers on top become
    /// further layers of the directory.
    ///
    /// # Errors
    /// The errors of [`Self::export_prebaked`].
    pub fn export_prebaked_root(&self, image: &Image, root: &ExtendedRoot, directory: &Path) -> Result<Report> {
        self.make_complete(image)?;
        let mut config = RuntimeConfig::new(image.config(), root.root())?;
        let below = config.layers.iter().map(|diff_id| self.layer_files(diff_id));
        let layers: Vec<LayerFiles> = below.chain(root.layers().iter().cloned()).collect();
        config.layers = layers.iter().map(|layer| layer.diff_id).collect();
        let root_index = root.index_file()?.unwrap_or_else(|| self.root_index(image));
        let sources = vmroot_export::PrebakedSources { root_index, layers };
        let report = |progress: WriteProgress| {
            let (done, total) = (progress.bytes, Some(progress.total_bytes));
            self.progress.work(&WorkProgress::new(Work::Prebake, done, total));
            self.cancel().control_flow()
        };
        let hook = Some(Hook::new(&report));
        Ok(vmroot_export::export_prebaked(&sources, config.to_json().as_bytes(), directory, hook)?)
    }
}
