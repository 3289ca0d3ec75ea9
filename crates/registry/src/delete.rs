//! Deletion, the check of credentials, and digests (OCI distribution-spec 1.1, "Content Management").

use reqwest::Method;
use vmroot_model::{Digest, Reference};

use crate::endpoint::Registry;
use crate::http::Access;
use crate::{Client, Error, Result};

impl Client {
    /// Deletes a manifest or index with all its tags from the reference's repository.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: the repository does not have it.
    /// - [`Error::DeleteUnsupported`]: the registry does not allow deletion.
    /// - [`Error::Unauthorized`]: the credentials, or the lack of them, do not allow deletion.
    /// - Any other variant for a failure of the connection, the registry, its token server, or the credentials.
    pub fn delete_manifest(&self, reference: &Reference, digest: &Digest) -> Result<()> {
        self.delete(reference, &digest.to_string())
    }

    /// Deletes a tag of the reference's repository. The manifest stays. Many registries do not support this.
    ///
    /// # Errors
    /// As for [`Self::delete_manifest`], and [`Error::Option`] if `tag` is not a tag.
    pub fn delete_tag(&self, reference: &Reference, tag: &str) -> Result<()> {
        let invalid = |error: vmroot_model::Error| Error::Option { option: "tag", reason: error.to_string() };
        reference.with_tag(tag).map_err(invalid)?;
        self.delete(reference, tag)
    }

    fn delete(&self, reference: &Reference, name: &str) -> Result<()> {
        let mut request = self.request(reference, Method::DELETE, &format!("manifests/{name}"))?;
        request.access = Access::Delete;
        let deleted = self.send(reference, &request, |response| {
            response.discard();
            Ok(())
        });
        deleted.map_err(|error| match error {
            Error::Status { url, status: status @ (400 | 405 | 501), message } => {
                Error::DeleteUnsupported { url, status, message }
            }
            error => error,
        })
    }

    /// Checks that the registry at `host`, such as `quay.io`, accepts the credentials of the client. Without
    /// credentials, checks that it allows anonymous access.
    ///
    /// # Errors
    /// - [`Error::Unauthorized`]: the registry or its token server refuses the credentials, or the lack of them.
    /// - [`Error::NotFound`]: the host is not a registry.
    /// - Any other variant for a failure of the connection, the registry, its token server, or the credentials.
    pub fn check_login(&self, host: &str) -> Result<()> {
        let registry = Registry::new(host);
        let request = self.registry_request(&registry, Access::Login, "/v2/")?;
        self.send_to_registry(&registry, &request, |response| {
            response.discard();
            Ok(())
        })
    }

    /// Returns the digest of the reference's manifest or index. Fetches its bytes only if the registry does not state
    /// the digest for a HEAD request.
    ///
    /// # Errors
    /// As for [`Self::manifest`].
    pub fn digest(&self, reference: &Reference) -> Result<Digest> {
        let stated = match self.head_manifest(reference) {
            // If another digest than the requested one is stated, the bytes decide.
            Ok(head) => head.digest.filter(|stated| reference.digest().is_none_or(|wanted| wanted == stated)),
            // Some registries do not support HEAD.
            Err(Error::Status { status: 400 | 405 | 501, .. }) => None,
            Err(error) => return Err(error),
        };
        stated.map_or_else(|| Ok(self.manifest(reference)?.digest), Ok)
    }
}
