//! The chain from the name of an image to its root.

use vmroot_image_store::{Chain, Image, Judged};
use vmroot_signatures::VerifiedAttestation;
use vmroot_transport::ImageSource as _;

use super::Client;
use super::policy::PolicyReport;
use crate::Result;

/// The origin of an image of the cache: the signatures that were verified, and the documents between its name and its root.
#[derive(Debug)]
#[non_exhaustive]
pub struct Provenance {
    /// The verdict of the client's policy now, from the signatures that were kept with the image. `None` without a policy,
    /// and for an image that a commit made in this cache.
    pub policy: Option<PolicyReport>,
    /// The verdict when the image was pulled or loaded, if a policy verified it then. It is a note in the cache, and not
    /// verified again.
    pub judged: Option<Judged>,
    /// The attestations among the kept bundles that a signer of the policy has signed.
    pub attestations: Vec<VerifiedAttestation>,
    /// The documents, each of which was found to name the next one.
    pub chain: Chain,
}

impl Client {
    /// Returns the chain from the name of an image in the cache to its root. Nothing is fetched, and no layer is read.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// let image = client.pull("oci:../../testdata/demo:demo")?;
    /// let provenance = client.provenance(&image)?;
    /// assert_eq!(provenance.chain.config, *image.id());
    /// assert_eq!(provenance.chain.chain_id, *client.root(&image)?.chain_id());
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::Policy`](crate::ErrorKind::Policy): the client's policy does not accept the image.
    /// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): a document is damaged, or does not name the next one.
    pub fn provenance(&self, image: &Image) -> Result<Provenance> {
        let chain = self.store.chain(image)?;
        let (mut policy, mut attestations) = (None, Vec::new());
        if let Some(admission) = self.policy.as_ref().filter(|_| !image.record().is_made_here()) {
            self.admit_cached(image)?;
            policy = self.check_policy(image)?;
            let source = self.store.source(image);
            attestations = self.store.verified_attestations(&source, &source.identity()?, admission)?;
        }
        Ok(Provenance { policy, judged: self.store.judged(image.record()), attestations, chain })
    }
}
