//! Deletion of images in registries and OCI layouts.

use vmroot_model::Digest;
use vmroot_transport::{ImageName, delete_image};

use super::Client;
use crate::Result;

impl Client {
    /// Deletes an image of a registry (`docker://`), as `Client::delete` does, or of an OCI layout (`oci:`). Returns the
    /// digests of the deleted manifests and indexes.
    ///
    /// A layout loses the image's entry, and the blobs that none of its other images use. Blobs in
    /// [`shared_blob_dir`](crate::TransportOptions::shared_blob_dir) stay. The call waits for other processes of vmroot that
    /// write to the layout.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(directory.path().join("cache")))?;
    /// # let layout = directory.path().join("layout");
    /// use vmroot::{CopyOptions, ErrorKind, ImageName};
    ///
    /// let name = format!("oci:{}:demo", layout.display());
    /// client.copy("oci:../../testdata/demo:demo", &name, &CopyOptions::default())?;
    /// let deleted = client.delete_named(&ImageName::parse(&name)?)?;
    /// assert_eq!(deleted.len(), 1);
    /// assert_eq!(client.raw_manifest(&name).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::Usage`](crate::ErrorKind::Usage): another transport.
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the image or the layout does not exist.
    /// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): the layout's index or a manifest is not understood, so the
    ///   use of its blobs is unknown. The layout is not changed.
    /// - [`ErrorKind::Other`](crate::ErrorKind::Other): a file cannot be changed or removed, or the registry does not
    ///   allow deletion.
    pub fn delete_named(&self, name: &ImageName) -> Result<Vec<Digest>> {
        #[cfg(feature = "registry")]
        if let ImageName::Docker(reference) = name {
            return Ok(vec![self.delete(reference)?]);
        }
        Ok(delete_image(name, self.transports.shared_blob_dir.as_deref())?)
    }
}
