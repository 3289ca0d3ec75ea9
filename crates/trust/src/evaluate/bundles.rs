//! `vmrootBundleSigned`: the bundles of cosign 3, and the attachments of older versions.

use std::time::SystemTime;

use vmroot_sigstore::{
    Bundle, BundleTrust, CertificateIdentity, Matcher, PublicKey, Signer, TrustedRoot, VerifiedBundle,
};

use crate::{
    Accepted, BUNDLES_LIMIT, BundleSigners, DataSource, Payload, PayloadKind, Signature, SignatureSource, StoredBundle,
    VerifiedAttestation,
};

use super::attachments::{attachment, certificate_name, key_name, signer};
use super::examiner::Examiner;
use super::files::{contents, public_keys};
use super::targets::{Target, Targets};

pub(super) fn judge(examiner: &mut Examiner<'_, '_>, signers: &BundleSigners) -> Result<Accepted, String> {
    let trust = Trust::load(signers)?;
    let now = examiner.now;
    let check = |stored: &StoredBundle, target: &Target<'_>| check(stored, target, &trust, now);
    // cosign signs the document that a name refers to, which is the top one.
    for target in examiner.targets().rev() {
        if let Some(accepted) = examiner.bundles_of(target, check) {
            return Ok(accepted);
        }
        // Attachments with a log's promise or a certificate are the business of sigstoreSigned.
        if let Trust::Keys { keys, root: None } = &trust
            && let Some(accepted) = examiner.signatures_of(target, |signature, of| old_form(signature, of, keys))
        {
            return Ok(accepted);
        }
    }
    let further = examiner.targets().rev().find_map(|target| examiner.further_bundles_of(target, check));
    further.ok_or_else(|| examiner.refusal())
}

fn check(stored: &StoredBundle, target: &Target<'_>, trust: &Trust, now: SystemTime) -> Result<Accepted, String> {
    let bundle = Bundle::parse(&stored.bytes).map_err(|error| error.to_string())?;
    let VerifiedBundle { statement, signer, .. } =
        bundle.verify(&trust.borrowed(), now).map_err(|error| error.to_string())?;
    statement.expect_signature().map_err(|error| error.to_string())?;
    if !statement.is_about_sha256(&target.sha256()) {
        return Err(format!("it is for another digest than {}", target.digest));
    }
    Ok(target.accepted(signer_name(&signer), None))
}

/// Checks an attachment. Its name is not compared, as a bundle has none.
fn old_form(signature: &Signature, target: &Target<'_>, keys: &[PublicKey]) -> Result<Accepted, String> {
    let (attachment, payload) = attachment(signature)?;
    let verified = attachment.verify_with_keys(keys, &[]).map_err(|error| error.to_string())?;
    let payload = Payload::parse(payload, PayloadKind::Sigstore).map_err(|error| error.to_string())?;
    target.check_digest(&payload.digest)?;
    Ok(target.accepted(signer(&verified), Some(payload.reference)))
}

/// Returns the attestations among the bundles that were found for an image, if a signer of the requirement made them.
pub(super) fn attestations(
    targets: &Targets<'_>,
    source: &dyn SignatureSource,
    signers: &BundleSigners,
    now: SystemTime,
) -> Result<Vec<VerifiedAttestation>, String> {
    let trust = Trust::load(signers)?;
    let mut found = Vec::new();
    for target in targets.iter() {
        let bundles = source.bundles(&target.digest).map_err(|error| error.to_string())?;
        for stored in bundles.take(BUNDLES_LIMIT) {
            let stored = stored.map_err(|error| error.to_string())?;
            let Ok(bundle) = Bundle::parse(&stored.bytes) else { continue };
            let Ok(VerifiedBundle { statement, signer, .. }) = bundle.verify(&trust.borrowed(), now) else { continue };
            if statement.expect_signature().is_ok() || !statement.is_about_sha256(&target.sha256()) {
                continue;
            }
            found.push(VerifiedAttestation {
                verified: target.digest,
                coverage: target.coverage,
                manifest: stored.manifest,
                predicate_type: statement.predicate_type,
                signer: signer_name(&signer),
            });
        }
    }
    Ok(found)
}

/// Returns a text for the signer of a bundle.
fn signer_name(signer: &Signer) -> String {
    match signer {
        Signer::Key(key) => key_name(key),
        Signer::Certificate(certificate) => certificate_name(certificate),
        _ => "unknown signer".to_owned(),
    }
}

/// The keys or certificates of a requirement, read.
enum Trust {
    Keys { keys: Vec<PublicKey>, root: Option<TrustedRoot> },
    Certificates { root: TrustedRoot, identity: CertificateIdentity },
}

impl Trust {
    fn load(signers: &BundleSigners) -> Result<Self, String> {
        Ok(match signers {
            BundleSigners::Keys { keys, trusted_root } => {
                Self::Keys { keys: public_keys(keys)?, root: trusted_root.as_ref().map(root).transpose()? }
            }
            BundleSigners::Certificates { trusted_root, identity, oidc_issuer } => Self::Certificates {
                root: root(trusted_root)?,
                identity: CertificateIdentity {
                    subject: Matcher::Exact(identity.clone()),
                    issuer: Matcher::Exact(oidc_issuer.clone()),
                },
            },
        })
    }

    fn borrowed(&self) -> BundleTrust<'_> {
        match self {
            Self::Keys { keys, root } => BundleTrust::Keys { keys, log: root.as_ref() },
            Self::Certificates { root, identity } => BundleTrust::Certificates { root, identity },
        }
    }
}

fn root(source: &DataSource) -> Result<TrustedRoot, String> {
    let contents = contents(source)?;
    let [(name, bytes)] = &contents[..] else { return Err("more than one trusted root".to_owned()) };
    TrustedRoot::parse(bytes).map_err(|error| format!("{name}: {error}"))
}
