//! Leases: images whose files stay in the cache.

use std::time::SystemTime;

use vmroot_image_store::{Image, Lease};

use super::Client;
use crate::Result;

impl Client {
    /// Creates a lease: the files of `images` stay in the cache until it is released or expires, even if their
    /// names move or are removed. Without an id, it gets a random one.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(directory.path()))?;
    /// use std::time::{Duration, SystemTime};
    ///
    /// let image = client.pull("oci:../../testdata/demo:demo")?;
    /// let tomorrow = SystemTime::now() + Duration::from_secs(24 * 3600);
    /// let lease = client.create_lease(Some("job-7"), &[image], Some(tomorrow))?;
    /// assert_eq!(client.leases()?, [lease]);
    /// client.release_lease("job-7")?;
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::Usage`](crate::ErrorKind::Usage): the id is malformed, or a lease with it exists.
    /// - The lease cannot be written.
    pub fn create_lease(&self, id: Option<&str>, images: &[Image], expires: Option<SystemTime>) -> Result<Lease> {
        Ok(self.store.create_lease(id, images, expires)?)
    }

    /// Returns the leases that have not expired, sorted by id.
    ///
    /// # Errors
    /// The leases cannot be read, or one is damaged.
    pub fn leases(&self) -> Result<Vec<Lease>> {
        Ok(self.store.leases()?)
    }

    /// Ends a lease. [`Self::collect`] then removes the files of its images that nothing else needs.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): there is no lease with this id.
    /// - The lease cannot be removed.
    pub fn release_lease(&self, id: &str) -> Result<()> {
        Ok(self.store.release_lease(id)?)
    }
}
