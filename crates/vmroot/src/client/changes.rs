//! Changes of images: the differences of two, the layers that a path comes from, and the history.

use vmroot_container_fs::{Change, DiffOptions, Error as RootError, Located, Origin};
use vmroot_image_store::{HistoryStep, Image, LayerSize};
use vmroot_layer_index::Index;

use super::Client;
use crate::Result;

/// The layers that a path of an image comes from, from [`Client::why`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Why {
    /// The path, and the symbolic links on the way.
    pub located: Located,
    /// The layers that the path comes from, and those that hide it.
    pub origin: Origin,
    /// The indexes of the image's layers, lowest first. They have the attributes of all versions.
    pub layers: Vec<Index>,
}

impl Client {
    /// Returns the paths at which `new` differs from `old`, as a comparison of their exported directories would find
    /// them.
    ///
    /// [`ContainerFs::diff`](crate::ContainerFs::diff) finds the same for opened roots, without a list of all changes.
    /// File contents are compared by digest, and not read.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// use vmroot::{DiffOptions, Platform};
    ///
    /// let arm64 = client.pull_for("oci:../../testdata/demo:demo", &Platform::linux("arm64")?)?;
    /// let amd64 = client.pull_for("oci:../../testdata/demo:demo", &Platform::linux("amd64")?)?;
    /// assert!(client.diff(&arm64, &arm64, &DiffOptions::default())?.is_empty());
    /// for change in client.diff(&arm64, &amd64, &DiffOptions::default())? {
    ///     println!("{} {:?}", String::from_utf8_lossy(&change.path), change.kind);
    /// }
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::root`].
    pub fn diff(&self, old: &Image, new: &Image, options: &DiffOptions) -> Result<Vec<Change>> {
        let (old, new) = (self.root(old)?, self.root(new)?);
        Ok(old.diff(&new, options).collect())
    }

    /// Returns the layers that brought a path of an image, or deleted it, and the versions that they hide.
    ///
    /// Symbolic links in the directories of the path are followed in the image's root. One at the end is not followed,
    /// unless a slash follows it.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// let image = client.pull("oci:../../testdata/demo:demo")?;
    /// let why = client.why(&image, b"/etc/passwd")?;
    /// let layer = why.origin.layer().expect("the image has the file");
    /// println!("{} comes from {}", "/etc/passwd", image.record().layers[layer].digest);
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): no layer has the path.
    /// - [`ErrorKind::Limit`](crate::ErrorKind::Limit): the path leads through more than 40 symbolic links.
    /// - The errors of [`Self::root`].
    pub fn why(&self, image: &Image, path: &[u8]) -> Result<Why> {
        let root = self.root(image)?;
        let located = root.locate(path)?;
        let layers = self.layer_indexes(image)?;
        let origin = Origin::of(&layers, &located.path);
        // An image without layers has a root directory, but no layer with it.
        if origin.versions.is_empty() && origin.hidden.is_empty() {
            // A path below a file is another error than a missing path.
            return Err(root.resolve_link(path).err().unwrap_or_else(|| RootError::NotFound(path.into())).into());
        }
        Ok(Why { located, origin, layers })
    }

    /// Returns the steps of building an image with the sizes of their layers, the first step first.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// let image = client.pull("oci:../../testdata/demo:demo")?;
    /// for (step, size) in client.history(&image)? {
    ///     let command = step.entry.and_then(|entry| entry.created_by).unwrap_or_default();
    ///     println!("{} bytes: {command}", size.map_or(0, |size| size.files));
    /// }
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::root`].
    pub fn history(&self, image: &Image) -> Result<Vec<(HistoryStep, Option<LayerSize>)>> {
        let sizes = self.store.layer_sizes(image, &self.progress)?;
        let with_size = |step: HistoryStep| {
            let size = step.layer.and_then(|layer| sizes.get(layer).copied());
            (step, size)
        };
        Ok(image.steps().into_iter().map(with_size).collect())
    }

    /// Opens the indexes of an image's layers, lowest first. Missing or damaged ones are rebuilt from the blobs in the
    /// cache.
    ///
    /// # Errors
    /// As [`Self::root`].
    pub fn layer_indexes(&self, image: &Image) -> Result<Vec<Index>> {
        Ok(self.store.layer_indexes(image, &self.progress)?)
    }
}
