//! Changed policies, payloads and signatures: none accepts what it should not, and none panics.

use std::collections::BTreeMap;
use std::time::SystemTime;

use vmroot_model::{Digest, Reference};
use vmroot_sigstore::{Bundle, PrivateKey, SIGNATURE_ANNOTATION, sign_payload, signature_statement};
use vmroot_testkit::mutation::Mutator;
use vmroot_trust::{
    EvaluationOptions, ImageIdentity, ImageToJudge, NoSignatures, Payload, PayloadKind, Policy,
    SIGSTORE_SIGNATURE_TYPE, Signature, evaluate,
};

use crate::memory::{MANIFEST, Memory, judge};

const NAME: &str = "example.com/a:1";

#[test]
fn changed_policies_do_not_accept_an_unsigned_image() {
    let good = br#"{"default":[{"type":"reject"}],"transports":{"docker":{"example.com":[{"type":"signedBy",
        "keyType":"GPGKeys","keyPath":"/k","signedIdentity":{"type":"remapIdentity","prefix":"a.b","signedPrefix":"c.d"}},
        {"type":"sigstoreSigned","rekorPublicKeyDatas":["YQ=="],"fulcio":{"caPath":"/c","oidcIssuer":"i",
        "subjectEmail":"s"}}],"":[{"type":"vmrootBundleSigned","keyPath":"/k"}]}}}"#;
    Policy::parse(good).unwrap();
    let identity = ImageIdentity::docker(&Reference::parse(NAME).unwrap()).unwrap();
    let image = ImageToJudge { identity: &identity, manifest: MANIFEST, digest: Digest::of(MANIFEST), indexes: &[] };
    let options = EvaluationOptions { now: SystemTime::now(), require_signed: false };
    let mut mutator = Mutator::new(1);
    let mut read = 0;
    for _ in 0..8000 {
        let Ok(policy) = Policy::parse(&mutator.mutate(good)) else { continue };
        read += 1;
        assert!(!evaluate(&policy, &image, &NoSignatures, &options).is_accepted());
    }
    assert!(read > 100, "{read}");
}

#[test]
fn changed_payloads_and_stored_signatures_keep_their_meaning_or_are_refused() {
    let digest = Digest::of(MANIFEST);
    let payload = Payload::new(digest, NAME, "test", SystemTime::now());
    let key = PrivateKey::generate();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.pub");
    std::fs::write(&path, key.public().to_pem()).unwrap();
    let requirement = format!(r#"{{"type":"sigstoreSigned","keyPath":"{}"}}"#, path.display());
    let bytes = payload.to_bytes(PayloadKind::Sigstore);
    let signature = sign_payload(&key, &bytes);
    let attachment = |payload: Vec<u8>, signature: &str| Signature::Sigstore {
        mime_type: SIGSTORE_SIGNATURE_TYPE.to_owned(),
        payload,
        annotations: BTreeMap::from([(SIGNATURE_ANNOTATION.to_owned(), signature.to_owned())]),
    };
    let stored = attachment(bytes.clone(), &signature).to_stored();
    let accepts = |signature: Signature| judge(&requirement, NAME, &Memory::signed(&[signature]), &[]).is_accepted();
    assert!(accepts(Signature::from_stored(&stored)));
    let mut mutator = Mutator::new(2);
    for _ in 0..500 {
        let changed = mutator.mutate(&bytes);
        if changed != bytes {
            assert!(!accepts(attachment(changed.clone(), &signature)), "{}", String::from_utf8_lossy(&changed));
        }
        let text = mutator.mutate_text(&signature);
        assert!(text == signature || !accepts(attachment(bytes.clone(), &text)), "{text}");
        let changed = Signature::from_stored(&mutator.mutate(&stored));
        let Signature::Sigstore { payload, .. } = &changed else { continue };
        assert!(*payload == bytes || !accepts(changed), "a changed file was accepted");
    }
}

#[test]
fn changed_bundles_are_not_signatures_of_another_image() {
    let key = PrivateKey::generate();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.pub");
    std::fs::write(&path, key.public().to_pem()).unwrap();
    let requirement = format!(r#"{{"type":"vmrootBundleSigned","keyPath":"{}"}}"#, path.display());
    let bundle = |digest: Digest| Bundle::sign(&key, &signature_statement(&digest.hex(), &BTreeMap::new())).unwrap();
    let (good, other) = (bundle(Digest::of(MANIFEST)), bundle(Digest::of(b"other")));
    assert!(judge(&requirement, NAME, &Memory::bundled(&[&good]), &[]).is_accepted());
    let mut mutator = Mutator::new(3);
    for _ in 0..500 {
        let changed = mutator.mutate(&other);
        assert!(!judge(&requirement, NAME, &Memory::bundled(&[&changed]), &[]).is_accepted());
    }
}
