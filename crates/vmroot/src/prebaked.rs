//! Prebaked directories: an image in a directory of its own, for machines without a cache
//! (`docs/formats/prebaked.md`).

use std::path::{Path, PathBuf};

use vmroot_container_fs::{ContainerFs, LayerFiles};
use vmroot_model::Platform;
use vmroot_output::Report;

use crate::{Client, Error, ExtendedRoot, Image, Result, RuntimeConfig, Top};

/// An open prebaked directory.
#[derive(Debug)]
pub struct Prebaked {
    directory: PathBuf,
    config: RuntimeConfig,
    root: ContainerFs,
}

impl Prebaked {
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

/// Opens a prebaked directory, which [`export_to_dir`] may have written on another machine.
///
/// ```
/// # use vmroot::{Client, ClientOptions};
/// # let cache = tempfile::tempdir().unwrap();
/// # let directory = cache.path().join("web");
/// # let client = Client::new(ClientOptions::new(cache.path().join("cache")))?;
/// # let image = client.pull_for("oci:../../testdata/demo:demo", &vmroot::Platform::linux("arm64")?)?;
/// # vmroot::export_to_dir(&client, &image, &directory)?;
/// let image = vmroot::load_from_dir(&directory)?;
/// assert_eq!(image.config().command(), ["/bin/sh", "-c", "echo $GREETING"]);
/// assert_eq!(image.config().process.uid, Some(1000));
/// # Ok::<(), vmroot::Error>(())
/// ```
///
/// # Errors
/// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): there is no `config.json`, or the root has no such user as it
///   names.
/// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): `config.json` is malformed, or an index or a contents file
///   is missing or damaged.
pub fn load_from_dir(directory: &Path) -> Result<Prebaked> {
    let mut config = RuntimeConfig::read(&directory.join("config.json"))?;
    let root = vmroot_export::open_prebaked(directory, &config.layers)?;
    config.resolve_user(&root)?;
    Ok(Prebaked { directory: directory.to_owned(), config, root })
}

/// Opens a prebaked directory for a platform, of which only the architecture is compared. A directory that names no
/// architecture is accepted.
///
/// ```
/// # use vmroot::{Client, ClientOptions};
/// # let cache = tempfile::tempdir().unwrap();
/// # let directory = cache.path().join("web");
/// # let client = Client::new(ClientOptions::new(cache.path().join("cache")))?;
/// # let image = client.pull_for("oci:../../testdata/demo:demo", &vmroot::Platform::linux("arm64")?)?;
/// # vmroot::export_to_dir(&client, &image, &directory)?;
/// use vmroot::Platform;
///
/// assert!(vmroot::load_from_dir_for(&directory, &Platform::linux("aarch64")?).is_ok());
/// let error = vmroot::load_from_dir_for(&directory, &Platform::linux("amd64")?).unwrap_err();
/// assert_eq!(error.to_string(), "image architecture mismatch: image is for arm64 but expected amd64");
/// # Ok::<(), vmroot::Error>(())
/// ```
///
/// # Errors
/// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the directory is for another architecture.
/// - The errors of [`load_from_dir`].
pub fn load_from_dir_for(directory: &Path, platform: &Platform) -> Result<Prebaked> {
    let config = RuntimeConfig::read(&directory.join("config.json"))?;
    if !config.architecture.is_empty() {
        let expected = platform.normalised();
        let actual = Platform::linux(&config.architecture).unwrap_or_else(|_| Platform {
            os: "linux".to_owned(),
            architecture: config.architecture.clone(),
            ..Platform::default()
        });
        if expected.architecture != actual.architecture {
            return Err(Error::architecture_mismatch(expected.architecture, config.architecture));
        }
    }
    load_from_dir(directory)
}

/// Writes an image as a prebaked directory, which is created if it is missing. The report has the bytes of its files.
///
/// ```
/// # use vmroot::{Client, ClientOptions};
/// # let cache = tempfile::tempdir().unwrap();
/// # let directory = cache.path().join("web");
/// # let client = Client::new(ClientOptions::new(cache.path().join("cache")))?;
/// # let image = client.pull_for("oci:../../testdata/demo:demo", &vmroot::Platform::linux("arm64")?)?;
/// vmroot::export_to_dir(&client, &image, &directory)?;
/// assert!(directory.join("config.json").is_file());
/// # Ok::<(), vmroot::Error>(())
/// ```
///
/// # Errors
/// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): the image is damaged, and cannot be repaired from the cache.
/// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the root has no such user as the image names.
/// - [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled): the call was cancelled.
/// - The directory cannot be written.
pub fn export_to_dir(client: &Client, image: &Image, directory: &Path) -> Result<Report> {
    let root = client.put_on_top(client.root(image)?, &Top::default())?;
    export_on_top_to_dir(client, image, &root, directory)
}

/// Writes an image with layers on top, of [`Client::put_on_top`], as a prebaked directory. The layers on top become
/// further layers of the directory.
///
/// # Errors
/// The errors of [`export_to_dir`].
pub fn export_on_top_to_dir(client: &Client, image: &Image, on_top: &ExtendedRoot, directory: &Path) -> Result<Report> {
    client.make_complete(image)?;
    let mut config = RuntimeConfig::new(image.config(), on_top.root())?;
    let below = config.layers.iter().map(|diff_id| client.layer_files(diff_id));
    let layers: Vec<LayerFiles> = below.chain(on_top.layers().iter().cloned()).collect();
    config.layers = layers.iter().map(|layer| layer.diff_id).collect();
    let root_index = on_top.index_file()?.unwrap_or_else(|| client.root_index(image));
    let sources = vmroot_export::PrebakedSources { root_index, layers };
    let cancel = client.cancel();
    let going_on = || cancel.control_flow();
    Ok(vmroot_export::export_prebaked_while(&sources, config.to_json().as_bytes(), directory, &going_on)?)
}
