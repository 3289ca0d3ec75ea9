//! An image in a directory of its own, for machines without a cache (`docs/formats/prebaked.md`).

use std::path::{Path, PathBuf};

use vmroot_container_fs::ContainerFs;
use vmroot_model::{Digest, Platform};

use crate::{Client, Error, ExtendedRoot, Image, Result, RuntimeConfig, Top};

/// An image in a directory.
#[derive(Debug)]
pub struct Prebaked {
    directory: PathBuf,
    config: RuntimeConfig,
    root: ContainerFs,
}

impl Prebaked {
    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How to run what it holds.
    pub fn config(&self) -> &RuntimeConfig {
        &self.config
    }

    /// The merged root.
    pub fn root(&self) -> &ContainerFs {
        &self.root
    }

    /// The merged root alone.
    pub fn into_root(self) -> ContainerFs {
        self.root
    }
}

/// Opens a prebaked directory, which [`export_to_dir`] made on any machine.
///
/// ```
/// # use vmroot::{Client, ClientOptions};
/// # let cache = tempfile::tempdir().unwrap();
/// # let directory = cache.path().join("web");
/// # let client = Client::new(ClientOptions::new(cache.path().join("cache")))?;
/// # let image = client.pull_for_arch("oci:../../testdata/demo:demo", "arm64")?;
/// # vmroot::export_to_dir(&client, &image, &directory)?;
/// let image = vmroot::load_from_dir(&directory)?;
/// assert_eq!(image.config().command(), ["/bin/sh", "-c", "echo $GREETING"]);
/// assert_eq!(image.config().uid, Some(1000));
/// # Ok::<(), vmroot::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`] and [`Error::InvalidConfig`] for its `config.json`, [`Error::Export`] and [`Error::Root`] for its
/// indexes and contents.
pub fn load_from_dir(directory: &Path) -> Result<Prebaked> {
    let mut config = RuntimeConfig::read(&directory.join("config.json"))?;
    let root = vmroot_export::open_prebaked(directory, &config.layers)?;
    config.resolve_user(&root)?;
    Ok(Prebaked { directory: directory.to_owned(), config, root })
}

/// Opens a prebaked directory that must be for an architecture, under any of its names; one that says nothing passes.
///
/// ```
/// # use vmroot::{Client, ClientOptions};
/// # let cache = tempfile::tempdir().unwrap();
/// # let directory = cache.path().join("web");
/// # let client = Client::new(ClientOptions::new(cache.path().join("cache")))?;
/// # let image = client.pull_for_arch("oci:../../testdata/demo:demo", "arm64")?;
/// # vmroot::export_to_dir(&client, &image, &directory)?;
/// assert!(vmroot::load_from_dir_for_arch(&directory, "aarch64").is_ok());
/// let error = vmroot::load_from_dir_for_arch(&directory, "amd64").unwrap_err();
/// assert_eq!(error.to_string(), "image architecture mismatch: image is for arm64 but expected amd64");
/// # Ok::<(), vmroot::Error>(())
/// ```
///
/// # Errors
/// [`Error::ArchitectureMismatch`], and those of [`load_from_dir`].
pub fn load_from_dir_for_arch(directory: &Path, architecture: &str) -> Result<Prebaked> {
    let config = RuntimeConfig::read(&directory.join("config.json"))?;
    if !config.architecture.is_empty() {
        let expected = Platform::linux(architecture)?;
        let actual = Platform::linux(&config.architecture).unwrap_or_else(|_| Platform {
            os: "linux".to_owned(),
            architecture: config.architecture.clone(),
            ..Platform::default()
        });
        if expected.architecture != actual.architecture {
            let (expected, actual) = (expected.architecture, config.architecture);
            return Err(Error::ArchitectureMismatch { expected, actual });
        }
    }
    load_from_dir(directory)
}

/// Writes an image as a prebaked directory, which is made if it is missing.
///
/// ```
/// # use vmroot::{Client, ClientOptions};
/// # let cache = tempfile::tempdir().unwrap();
/// # let directory = cache.path().join("web");
/// # let client = Client::new(ClientOptions::new(cache.path().join("cache")))?;
/// # let image = client.pull_for_arch("oci:../../testdata/demo:demo", "arm64")?;
/// vmroot::export_to_dir(&client, &image, &directory)?;
/// assert!(directory.join("config.json").is_file());
/// # Ok::<(), vmroot::Error>(())
/// ```
///
/// # Errors
/// [`Error::Store`] when the image is damaged beyond mending, [`Error::Export`] when the directory cannot be written.
pub fn export_to_dir(client: &Client, image: &Image, directory: &Path) -> Result<()> {
    export_on_top_to_dir(client, image, &Top::default(), directory).map(drop)
}

/// The same with something on top, which becomes further layers of the directory; gives what is on top.
///
/// # Errors
/// As [`export_to_dir`], and [`Error::OnTop`].
pub fn export_on_top_to_dir(client: &Client, image: &Image, top: &Top, directory: &Path) -> Result<ExtendedRoot> {
    client.make_complete(image)?;
    let on_top = client.put_on_top(client.root(image)?, top)?;
    let mut config = RuntimeConfig::new(image.config(), on_top.root())?;
    let below = config.layers.iter().map(|diff_id| client.layer_files(diff_id));
    let above = on_top.layers().iter().map(|layer| (layer.diff_id, layer.index.clone(), layer.contents.clone()));
    let layers: Vec<(Digest, PathBuf, PathBuf)> = below.chain(above).collect();
    config.layers = layers.iter().map(|(diff_id, ..)| *diff_id).collect();
    let root_index = on_top.index_file()?.unwrap_or_else(|| client.root_index(image));
    let sources = vmroot_export::PrebakedSources { root_index, layers };
    let cancel = client.cancel();
    let going_on = || cancel.control_flow();
    vmroot_export::export_prebaked_while(&sources, config.to_json().as_bytes(), directory, &going_on)?;
    Ok(on_top)
}
