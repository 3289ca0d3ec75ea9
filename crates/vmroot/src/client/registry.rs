//! Work on registries, without the cache: manifests, tags, repositories, deletion.

mod instances;
mod set_tag;

use vmroot_model::{Descriptor, Digest, ImageConfig, Manifest, Reference};
use vmroot_registry::{Error as RegistryError, FetchedManifest};

pub use instances::ImageInstance;

use super::Client;
use crate::Result;

impl Client {
    /// Fetches the manifest or index of a reference, with its exact bytes and its digest.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// # let registry = vmroot_testkit::registry::Registry::start();
    /// # registry.put_manifest("team/app", Some("v1"), "application/vnd.oci.image.index.v1+json", br#"{"manifests":[]}"#);
    /// # let name = format!("{}/team/app:v1", registry.host());
    /// use vmroot::Reference;
    ///
    /// let manifest = client.get_manifest(&Reference::parse(&name)?)?;
    /// assert_eq!(manifest.bytes, br#"{"manifests":[]}"#);
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the registry does not have it.
    /// - [`ErrorKind::Authentication`](crate::ErrorKind::Authentication),
    ///   [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable) or
    ///   [`ErrorKind::RateLimited`](crate::ErrorKind::RateLimited): the registry refused, or failed.
    /// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): the bytes do not have the digest.
    pub fn get_manifest(&self, reference: &Reference) -> Result<FetchedManifest> {
        Ok(self.registry().manifest(reference)?)
    }

    /// Fetches the manifest and the config of the image of a reference, for the client's platform.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// # let registry = vmroot_testkit::registry::Registry::start();
    /// # registry.put_layout("../../testdata/demo".as_ref(), "team/app").unwrap();
    /// # let name = format!("{}/team/app:latest", registry.host());
    /// use vmroot::Reference;
    ///
    /// let (manifest, config) = client.get_config(&Reference::parse(&name)?)?;
    /// assert_eq!(manifest.config().digest, *config.digest());
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::documents`].
    pub fn get_config(&self, reference: &Reference) -> Result<(Manifest, ImageConfig)> {
        let documents = self.documents(&format!("docker://{reference}"), None)?;
        Ok((documents.manifest, documents.config))
    }

    /// Returns the digest of a reference's manifest or index. Asks for the bytes only if the registry does not state the
    /// digest.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// # let registry = vmroot_testkit::registry::Registry::start();
    /// # registry.put_manifest("team/app", Some("v1"), "application/vnd.oci.image.index.v1+json", b"{}");
    /// # let name = format!("{}/team/app:v1", registry.host());
    /// use vmroot::{Digest, Reference};
    ///
    /// assert_eq!(client.get_digest(&Reference::parse(&name)?)?, Digest::of(b"{}"));
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::get_manifest`].
    pub fn get_digest(&self, reference: &Reference) -> Result<Digest> {
        Ok(self.registry().digest(reference)?)
    }

    /// Returns the tags of a reference's repository, in the order of the registry.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// # let registry = vmroot_testkit::registry::Registry::start();
    /// # registry.put_manifest("team/app", Some("v1"), "application/vnd.oci.image.index.v1+json", b"{}");
    /// # let name = format!("{}/team/app", registry.host());
    /// use vmroot::Reference;
    ///
    /// assert_eq!(client.list_tags(&Reference::parse(&name)?)?, ["v1"]);
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::get_manifest`], and [`ErrorKind::Other`](crate::ErrorKind::Other) for a list that does not end.
    pub fn list_tags(&self, reference: &Reference) -> Result<Vec<String>> {
        Ok(self.registry().tags(reference)?.tags)
    }

    /// Returns the repositories of a registry, in its order. Many registries refuse this.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// # let registry = vmroot_testkit::registry::Registry::start();
    /// # registry.put_manifest("team/app", Some("v1"), "application/vnd.oci.image.index.v1+json", b"{}");
    /// # let host = registry.host();
    /// assert_eq!(client.list_repositories(&host)?, ["team/app"]);
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::list_tags`].
    pub fn list_repositories(&self, host: &str) -> Result<Vec<String>> {
        Ok(self.registry().repositories(host)?)
    }

    /// Deletes the manifest or index of a reference from its repository in a registry, with all tags that name it. Returns
    /// its digest. [`Self::delete_image`] deletes an image of the cache.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// # let registry = vmroot_testkit::registry::Registry::start();
    /// # registry.put_manifest("team/app", Some("v1"), "application/vnd.oci.image.index.v1+json", b"{}");
    /// # let name = format!("{}/team/app:v1", registry.host());
    /// use vmroot::{ErrorKind, Reference};
    ///
    /// let reference = Reference::parse(&name)?;
    /// client.delete(&reference)?;
    /// assert_eq!(client.get_digest(&reference).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::get_manifest`], and [`ErrorKind::Other`](crate::ErrorKind::Other) if the registry does not allow
    /// deletion.
    pub fn delete(&self, reference: &Reference) -> Result<Digest> {
        let digest = match reference.digest() {
            Some(digest) => *digest,
            None => self.get_digest(reference)?,
        };
        self.registry().delete_manifest(reference, &digest)?;
        Ok(digest)
    }

    /// Returns the descriptors of the documents that refer to the manifest or index of a reference: signatures, bills of
    /// materials, attestations. With an `artifact_type`, returns only those of this type.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// # let registry = vmroot_testkit::registry::Registry::start();
    /// # registry.put_manifest("team/app", Some("v1"), "application/vnd.oci.image.index.v1+json", b"{}");
    /// # let name = format!("{}/team/app:v1", registry.host());
    /// use vmroot::Reference;
    ///
    /// assert!(client.referrers(&Reference::parse(&name)?, None)?.is_empty());
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::list_tags`].
    pub fn referrers(&self, reference: &Reference, artifact_type: Option<&str>) -> Result<Vec<Descriptor>> {
        let digest = match reference.digest() {
            Some(digest) => *digest,
            None => self.get_digest(reference)?,
        };
        Ok(self.registry().referrers(reference, &digest, artifact_type)?)
    }
}

/// Returns whether an error means that a registry does not offer its list of tags: it denies it, or does not know the
/// address. An image there can still be read. skopeo tolerates the same two answers.
pub fn is_tag_list_refused(error: &RegistryError) -> bool {
    match error {
        RegistryError::Unauthorized { message, .. } => {
            message.split("; ").any(|entry| entry == "DENIED" || entry.starts_with("DENIED:"))
        }
        RegistryError::NotFound { message, .. } => message == "404 page not found",
        _ => false,
    }
}
