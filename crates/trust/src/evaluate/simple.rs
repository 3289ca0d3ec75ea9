//! `signedBy`: OpenPGP messages.

use vmroot_openpgp::Keyring;

use crate::{Accepted, DataSource, ImageIdentity, KeyType, Payload, PayloadKind, Signature, SignedIdentity};

use super::examiner::Examiner;
use super::files::contents;

pub(super) fn judge(
    examiner: &mut Examiner<'_, '_>,
    image: &ImageIdentity,
    key_type: KeyType,
    keys: &DataSource,
    signed_identity: &SignedIdentity,
) -> Result<Accepted, String> {
    if key_type != KeyType::GpgKeys {
        return Err(format!("the keyType {} is not supported", key_type.name()));
    }
    let keyring = keyring(keys)?;
    let now = examiner.now;
    let accepted = examiner.signatures(|signature, target| {
        let Signature::Simple(message) = signature else {
            return Err(match signature {
                Signature::Unreadable { reason, .. } => reason.clone(),
                _ => "it is a sigstore attachment, and signedBy needs an OpenPGP signature".to_owned(),
            });
        };
        let verified = keyring.verify(message, now).map_err(|error| error.to_string())?;
        let payload = Payload::parse(&verified.content, PayloadKind::Simple).map_err(|error| error.to_string())?;
        target.check_digest(&payload.digest)?;
        signed_identity.check(image.reference(), &payload.reference)?;
        let signer = format!("OpenPGP key {}", verified.fingerprint);
        Ok(target.accepted(signer, Some(payload.reference)))
    });
    accepted.ok_or_else(|| examiner.refusal())
}

/// Returns the keys of all files. A file without any is an error.
fn keyring(keys: &DataSource) -> Result<Keyring, String> {
    let mut keyring = Keyring::default();
    for (name, bytes) in contents(keys)? {
        keyring.merge(Keyring::read(&bytes).map_err(|error| format!("{name}: {error}"))?);
    }
    Ok(keyring)
}
