//! Tags for manifests that a registry has, in the same or another repository.

use vmroot_copy::{Copier, CopyOptions, Selection};
use vmroot_model::{Digest, MediaType, Reference};
use vmroot_transport::{DestinationOptions, ImageName};

use super::Client;
use crate::Result;

impl Client {
    /// Gives the manifest or index of a reference another tag, in the same or another repository. Its bytes stay the
    /// same, and so does its digest. Returns the digest.
    ///
    /// In another repository, the manifests of an index and their blobs are mounted if the registries are the same, and
    /// else copied. A tag that exists is moved.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// # let registry = vmroot_testkit::registry::Registry::start();
    /// # registry.put_layout("../../testdata/demo".as_ref(), "team/app").unwrap();
    /// # let host = registry.host();
    /// use vmroot::Reference;
    ///
    /// let source = Reference::parse(&format!("{host}/team/app:latest"))?;
    /// let stable = source.with_tag("stable")?;
    /// let other = Reference::parse(&format!("{host}/mirror/app:v1"))?;
    /// assert_eq!(client.set_tag(&source, &stable)?, client.get_digest(&source)?);
    /// assert_eq!(client.set_tag(&source, &other)?, client.get_digest(&other)?);
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::get_manifest`], and:
    /// - [`ErrorKind::Usage`](crate::ErrorKind::Usage): the destination has a digest, not a tag.
    /// - [`ErrorKind::Other`](crate::ErrorKind::Other): the registry does not accept the manifest.
    pub fn set_tag(&self, source: &Reference, destination: &Reference) -> Result<Digest> {
        if destination.digest().is_some() {
            let reason = "a tag cannot be set for a digest".to_owned();
            let name = destination.to_string();
            return Err(vmroot_transport::Error::InvalidName { name, reason }.into());
        }
        if (source.domain(), source.path()) == (destination.domain(), destination.path()) {
            return self.set_tag_here(source, destination);
        }
        let mut options = CopyOptions::default();
        options.selection = Selection::All;
        options.preserve_digests = true;
        options.cancel = self.cancel().clone();
        let reader = self.open_source(&ImageName::Docker(source.clone()))?;
        let open = DestinationOptions::new(self.temporary_dir());
        let writer = self.open_destination(&ImageName::Docker(destination.clone()), &open)?;
        Ok(Copier::new(options).copy(&*reader, &*writer)?.manifest.digest)
    }

    /// Writes the same bytes under another tag of the same repository.
    fn set_tag_here(&self, source: &Reference, destination: &Reference) -> Result<Digest> {
        let fetched = self.get_manifest(source)?;
        let media_type = match &fetched.media_type {
            // The parameters of a Content-Type are no part of the media type.
            Some(stated) => MediaType::new(stated.split(';').next().unwrap_or_default().trim().to_owned()),
            None => vmroot_model::Document::parse(fetched.bytes.clone(), None)?.media_type().clone(),
        };
        let tag = destination.tag_or_default().unwrap_or("latest");
        self.registry().put_manifest(destination, tag, &fetched.bytes, &media_type)?;
        Ok(fetched.digest)
    }
}
