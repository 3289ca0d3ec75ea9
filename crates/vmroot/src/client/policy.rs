//! Policies on signatures: the images of the cache, and explanations.

use vmroot_image_store::{Fallback, Image, choose};
use vmroot_model::Platform;
use vmroot_signatures::{ImageIdentity, Judge, Requirement, Section, Verdict};
use vmroot_transport::{Admission, ImageName, ImageSource};

use super::Client;
use crate::Result;

/// The part of a policy that applies to an image, and its verdict.
#[derive(Debug)]
#[non_exhaustive]
pub struct PolicyReport {
    /// The image, as the policy names it.
    pub identity: ImageIdentity,
    /// The file of the policy, if it is in one.
    pub file: Option<std::path::PathBuf>,
    /// The section of the policy that applies.
    pub section: Section,
    /// The requirements of the section. All must be met.
    pub requirements: Vec<Requirement>,
    /// The verdict. `None` if the image was not read.
    pub verdict: Option<Verdict>,
}

impl Client {
    /// Returns the policy on signatures.
    pub fn policy(&self) -> Option<&Admission> {
        self.policy.as_ref()
    }

    /// Returns a clone with another policy on signatures, in place of [`ClientOptions::policy`].
    ///
    /// [`ClientOptions::policy`]: crate::ClientOptions::policy
    pub fn with_policy(&self, policy: Option<Admission>) -> Self {
        Self { policy, ..self.clone() }
    }

    /// Fails if the policy does not accept an image of the cache. Its signatures are those that were kept when it was
    /// pulled or loaded. An image that a commit made here has no origin, and is accepted.
    pub(super) fn admit_cached(&self, image: &Image) -> Result<()> {
        let Some(admission) = &self.policy else { return Ok(()) };
        if image.record().is_made_here() || admission.accepts_everything() {
            return Ok(());
        }
        let source = self.store.source(image);
        self.store.check_policy(&source, None, admission)?;
        Ok(())
    }

    /// Judges an image of the cache by the client's policy, with the signatures that were kept when it was pulled or
    /// loaded. Nothing is fetched. Returns `None` without a policy. An image that is not accepted is no error: the verdict
    /// has the reason, and [`Verdict::into_result`] makes an error of it.
    ///
    /// # Errors
    /// The image has no name in policies, or its documents are damaged.
    pub fn check_policy(&self, image: &Image) -> Result<Option<PolicyReport>> {
        let Some(admission) = &self.policy else { return Ok(None) };
        let source = self.store.source(image);
        let identity = source.identity()?;
        let verdict = self.store.judge(&source, Some(&identity), admission)?.map(|(verdict, _)| verdict);
        Ok(Some(PolicyReport { verdict, ..report(&*admission.policy, identity) }))
    }

    /// Explains which part of the client's policy applies to an image at its source, and judges it for a platform. Returns
    /// `None` without a policy. An image that is not accepted is no error: the verdict has the reason.
    ///
    /// Nothing is read if the policy accepts or rejects the image by its name alone.
    ///
    /// # Errors
    /// As [`Self::pull`], except for the policy.
    pub fn explain_policy(&self, name: &str, platform: Option<&Platform>) -> Result<Option<PolicyReport>> {
        let Some(admission) = &self.policy else { return Ok(None) };
        self.try_sources(name, platform, |source, _| {
            let identity = source.identity()?;
            let report = report(&*admission.policy, identity.clone());
            let is_open = |requirement: &Requirement| {
                !matches!(requirement, Requirement::InsecureAcceptAnything | Requirement::Reject)
            };
            if !report.requirements.iter().any(is_open) && !admission.require_signed {
                return Ok(Some(report));
            }
            let default = if ImageName::is_archive(name) { Fallback::Only } else { Fallback::Single };
            let (platform, fallback) = self.platform(platform, default);
            let verdict = judge(admission, &identity, &*source, &platform, fallback)?;
            if self.cancel().is_cancelled() {
                return Err(vmroot_image_store::Error::Cancelled.into());
            }
            Ok(Some(PolicyReport { verdict: Some(verdict), ..report }))
        })
    }
}

fn report(policy: &dyn Judge, identity: ImageIdentity) -> PolicyReport {
    let applicable = policy.requirements(&identity);
    PolicyReport {
        file: applicable.file.map(ToOwned::to_owned),
        section: applicable.section(),
        requirements: applicable.requirements.to_vec(),
        verdict: None,
        identity,
    }
}

fn judge(
    admission: &Admission,
    identity: &ImageIdentity,
    source: &dyn ImageSource,
    platform: &Platform,
    fallback: Fallback,
) -> Result<Verdict> {
    let chosen = choose(source, platform, fallback)?;
    Ok(admission.judge(identity, source, &chosen.judged_documents(source).as_judged()).0)
}
