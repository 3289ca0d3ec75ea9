//! `sigstoreSigned`: attachments.

use std::collections::BTreeMap;
use std::time::SystemTime;

use vmroot_sigstore::{
    Attachment, BUNDLE_ANNOTATION, CERTIFICATE_ANNOTATION, CHAIN_ANNOTATION, Certificate, Fulcio, Pki, PublicKey,
    SIGNATURE_ANNOTATION, VerifiedAttachment,
};

use crate::{
    Accepted, AttachmentSigners, DataSource, ImageIdentity, Payload, PayloadKind, SIGSTORE_SIGNATURE_TYPE, Signature,
    SignedIdentity,
};

use super::examiner::Examiner;
use super::files::{contents, public_keys};

pub(super) fn judge(
    examiner: &mut Examiner<'_, '_>,
    image: &ImageIdentity,
    signers: &AttachmentSigners,
    signed_identity: &SignedIdentity,
) -> Result<Accepted, String> {
    let verifier = Verifier::load(signers)?;
    let now = examiner.now;
    let accepted = examiner.signatures(|signature, target| {
        let (attachment, payload) = attachment(signature)?;
        let verified = verifier.verify(&attachment, now).map_err(|error| error.to_string())?;
        let payload = Payload::parse(payload, PayloadKind::Sigstore).map_err(|error| error.to_string())?;
        target.check_digest(&payload.digest)?;
        signed_identity.check(image.reference(), &payload.reference)?;
        Ok(target.accepted(signer(&verified), Some(payload.reference)))
    });
    accepted.ok_or_else(|| examiner.refusal())
}

/// Returns the parts of a signature in an attachment, and its payload.
pub(super) fn attachment(signature: &Signature) -> Result<(Attachment<'_>, &[u8]), String> {
    let (mime_type, payload, annotations) = match signature {
        Signature::Sigstore { mime_type, payload, annotations } => (mime_type, payload, annotations),
        Signature::Simple(_) => return Err("it is an OpenPGP signature, not a sigstore one".to_owned()),
        Signature::Unreadable { reason, .. } => return Err(reason.clone()),
    };
    if mime_type != SIGSTORE_SIGNATURE_TYPE {
        return Err(format!("its type {mime_type:?} is not that of a signature"));
    }
    let text = |name: &str| annotation(annotations, name);
    let signature = text(SIGNATURE_ANNOTATION).ok_or("it has no signature in its annotations")?;
    let attachment = Attachment {
        payload,
        signature,
        bundle: text(BUNDLE_ANNOTATION),
        certificate: text(CERTIFICATE_ANNOTATION),
        chain: text(CHAIN_ANNOTATION),
    };
    Ok((attachment, payload))
}

fn annotation<'a>(annotations: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    annotations.get(name).map(String::as_str)
}

/// Returns a text for the signer.
pub(super) fn signer(verified: &VerifiedAttachment) -> String {
    match &verified.certificate {
        Some(certificate) => certificate_name(certificate),
        None => key_name(&verified.key),
    }
}

/// Returns a text for a public key: the hint that bundles have for it.
pub(super) fn key_name(key: &PublicKey) -> String {
    format!("public key {}", key.hint())
}

/// Returns a text for the owner of a certificate.
pub(super) fn certificate_name(certificate: &Certificate) -> String {
    let names: Vec<_> = certificate.alternative_names().iter().take(5).map(|name| name.text()).collect();
    match certificate.oidc_issuer() {
        Ok(issuer) => format!("certificate of {} by {issuer}", names.join(", ")),
        Err(_) => format!("certificate of {}", names.join(", ")),
    }
}

/// The keys or certificates of a requirement, read.
enum Verifier {
    Keys { keys: Vec<PublicKey>, rekor: Vec<PublicKey> },
    Fulcio { fulcio: Fulcio, rekor: Vec<PublicKey> },
    Pki(Pki),
}

impl Verifier {
    fn load(signers: &AttachmentSigners) -> Result<Self, String> {
        Ok(match signers {
            AttachmentSigners::Keys { keys, rekor } => Self::Keys {
                keys: public_keys(keys)?,
                rekor: rekor.as_ref().map(public_keys).transpose()?.unwrap_or_default(),
            },
            AttachmentSigners::Fulcio { authority, oidc_issuer, subject_email, rekor } => Self::Fulcio {
                fulcio: Fulcio {
                    authorities: certificates(authority)?,
                    oidc_issuer: oidc_issuer.clone(),
                    email: subject_email.clone(),
                },
                rekor: public_keys(rekor)?,
            },
            AttachmentSigners::Pki { roots, intermediates, subject_email, subject_hostname } => Self::Pki(Pki {
                roots: certificates(roots)?,
                intermediates: intermediates.as_ref().map(certificates).transpose()?.unwrap_or_default(),
                email: subject_email.clone(),
                hostname: subject_hostname.clone(),
            }),
        })
    }

    fn verify(
        &self,
        attachment: &Attachment<'_>,
        now: SystemTime,
    ) -> Result<VerifiedAttachment, vmroot_sigstore::Error> {
        match self {
            Self::Keys { keys, rekor } => attachment.verify_with_keys(keys, rekor),
            Self::Fulcio { fulcio, rekor } => attachment.verify_with_fulcio(fulcio, rekor),
            Self::Pki(pki) => attachment.verify_with_pki(pki, now),
        }
    }
}

fn certificates(source: &DataSource) -> Result<Vec<Certificate>, String> {
    let mut certificates = Vec::new();
    for (name, text) in contents(source)? {
        let read = Certificate::all_from_pem(&text).map_err(|error| format!("{name}: {error}"))?;
        if read.is_empty() {
            return Err(format!("{name}: it has no certificate"));
        }
        certificates.extend(read);
    }
    Ok(certificates)
}
