//! `vmrootBundleSigned`: the bundles of cosign 3, and the attachments of older versions.

use std::time::SystemTime;

use vmroot_sigstore::{
    Bundle, BundleTrust, CertificateIdentity, Matcher, PublicKey, Signer, TrustedRoot, VerifiedBundle,
};

use crate::{Accepted, BundleSigners, DataSource, Payload, PayloadKind, StoredBundle};

use super::attachments::{attachment, certificate_name, key_name, signer};
use super::examiner::Examiner;
use super::files::{contents, public_keys};
use super::targets::Target;

pub(super) fn judge(examiner: &mut Examiner<'_>, signers: &BundleSigners) -> Result<Accepted, String> {
    let trust = Trust::load(signers)?;
    let now = examiner.now;
    if let Some(accepted) = examiner.bundles(|stored, target| check(stored, target, &trust, now)) {
        return Ok(accepted);
    }
    // Attachments with a log's promise or a certificate are the business of sigstoreSigned.
    if let Trust::Keys { keys, root: None } = &trust
        && let Some(accepted) = old_form(examiner, keys)
    {
        return Ok(accepted);
    }
    Err(examiner.refusal())
}

fn check(stored: &StoredBundle, target: &Target<'_>, trust: &Trust, now: SystemTime) -> Result<Accepted, String> {
    let bundle = Bundle::parse(&stored.bytes).map_err(|error| error.to_string())?;
    let VerifiedBundle { statement, signer, .. } =
        bundle.verify(&trust.borrowed(), now).map_err(|error| error.to_string())?;
    statement.expect_signature().map_err(|error| error.to_string())?;
    if !statement.is_about_sha256(&target.sha256()) {
        return Err(format!("it is for another digest than {}", target.digest));
    }
    let signer = match signer {
        Signer::Key(key) => key_name(&key),
        Signer::Certificate(certificate) => certificate_name(&certificate),
        _ => "unknown signer".to_owned(),
    };
    Ok(target.accepted(signer, None))
}

/// Examines attachments. Their name is not compared, as that of a bundle, which has none.
fn old_form(examiner: &mut Examiner<'_>, keys: &[PublicKey]) -> Option<Accepted> {
    examiner.signatures(|signature, target| {
        let (attachment, payload) = attachment(signature)?;
        let verified = attachment.verify_with_keys(keys, &[]).map_err(|error| error.to_string())?;
        let payload = Payload::parse(payload, PayloadKind::Sigstore).map_err(|error| error.to_string())?;
        target.check_digest(&payload.digest)?;
        Ok(target.accepted(signer(&verified), Some(payload.reference)))
    })
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
