//! `sigstoreSigned` and `vmrootBundleSigned`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use tempfile::TempDir;
use vmroot_model::Digest;
use vmroot_sigstore::{
    Bundle, PrivateKey, SIGNATURE_ANNOTATION, attestation_statement, sign_payload, signature_statement,
};
use vmroot_trust::{Coverage, Payload, PayloadKind, SIGSTORE_SIGNATURE_TYPE, Signature, StoredBundle};

use crate::memory::{MANIFEST, Memory, index_of, judge, refusal};

struct Signer {
    directory: TempDir,
    key: PrivateKey,
}

impl Signer {
    fn new() -> Self {
        let key = PrivateKey::generate();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("key.pub"), key.public().to_pem()).unwrap();
        Self { directory, key }
    }

    fn requirement(&self, type_: &str, rest: &str) -> String {
        let path = self.directory.path().join("key.pub");
        format!(r#"{{"type":"{type_}","keyPath":"{}"{rest}}}"#, path.display())
    }

    fn attachment(&self, digest: Digest, reference: &str, kind: PayloadKind) -> Signature {
        let payload = Payload::new(digest, reference, "test", SystemTime::now()).to_bytes(kind);
        let signature = sign_payload(&self.key, &payload);
        let annotations = BTreeMap::from([(SIGNATURE_ANNOTATION.to_owned(), signature)]);
        Signature::Sigstore { mime_type: SIGSTORE_SIGNATURE_TYPE.to_owned(), payload, annotations }
    }

    fn bundle(&self, digest: Digest) -> Vec<u8> {
        Bundle::sign(&self.key, &signature_statement(&digest.hex(), &BTreeMap::new())).unwrap()
    }
}

const NAME: &str = "example.com/a:1";

#[test]
fn attachments_are_accepted_with_their_name() {
    let signer = Signer::new();
    let requirement = signer.requirement("sigstoreSigned", "");
    let digest = Digest::of(MANIFEST);
    let good = signer.attachment(digest, NAME, PayloadKind::Sigstore);
    let verdict = judge(&requirement, NAME, &Memory::signed(std::slice::from_ref(&good)), &[]);
    let accepted = verdict.accepted_signatures().next().unwrap();
    assert_eq!(accepted.signer, format!("public key {}", signer.key.public().hint()));
    for (bad, wanted) in [
        (signer.attachment(digest, "example.com/a:2", PayloadKind::Sigstore), "it is for example.com/a:2"),
        (signer.attachment(digest, "example.com/a", PayloadKind::Sigstore), "it is for example.com/a,"),
        (signer.attachment(digest, NAME, PayloadKind::Simple), "its type is"),
        (signer.attachment(Digest::of(b"x"), NAME, PayloadKind::Sigstore), "another digest"),
        (Signer::new().attachment(digest, NAME, PayloadKind::Sigstore), "any of the keys"),
        (Signature::Simple(vec![0xa3]), "OpenPGP"),
    ] {
        let source = Memory::signed(std::slice::from_ref(&bad));
        let reason = refusal(judge(&requirement, NAME, &source, &[]));
        assert!(reason.contains(wanted), "{wanted}: {reason}");
        assert!(judge(&requirement, NAME, &Memory::signed(&[bad, good.clone()]), &[]).is_accepted());
        assert!(source.requests.borrow().iter().all(|(kind, _)| *kind == "signatures"));
    }
    let of_cosign = signer.attachment(digest, "example.com/a", PayloadKind::Sigstore);
    let repository = signer.requirement("sigstoreSigned", r#","signedIdentity":{"type":"matchRepository"}"#);
    assert!(judge(&repository, NAME, &Memory::signed(&[of_cosign]), &[]).is_accepted());
}

#[test]
fn a_bundle_meets_only_our_own_requirement() {
    let signer = Signer::new();
    let bundle = signer.bundle(Digest::of(MANIFEST));
    let source = Memory::bundled(&[&bundle]);
    let verdict = judge(&signer.requirement("vmrootBundleSigned", ""), NAME, &source, &[]);
    assert!(verdict.accepted_signatures().next().unwrap().reference.is_none());
    assert_eq!(*source.requests.borrow(), [("bundles", Digest::of(MANIFEST))]);
    assert!(!judge(&signer.requirement("sigstoreSigned", ""), NAME, &source, &[]).is_accepted());
}

#[test]
fn broken_bundles_and_attestations_do_not_count_and_hide_nothing() {
    let signer = Signer::new();
    let requirement = signer.requirement("vmrootBundleSigned", "");
    let digest = Digest::of(MANIFEST);
    let attestation =
        attestation_statement("a", &digest.hex(), "https://slsa.dev/provenance/v1", &serde_json::json!({}));
    let bad = [
        Signer::new().bundle(digest),
        signer.bundle(Digest::of(b"x")),
        Bundle::sign(&signer.key, &attestation).unwrap(),
        b"{}".to_vec(),
        vec![],
    ];
    let bad: Vec<&[u8]> = bad.iter().map(Vec::as_slice).collect();
    let verdict = judge(&requirement, NAME, &Memory::bundled(&bad), &[]);
    assert_eq!(verdict.judgements[0].examined.len(), bad.len());
    let reasons: Vec<_> = verdict.judgements[0].examined.iter().map(|it| it.result.clone().unwrap_err()).collect();
    assert!(reasons[1].contains("another digest") && reasons[2].contains("attestation"), "{reasons:?}");
    let good = signer.bundle(digest);
    let with_good = [&bad[..], &[&good]].concat();
    assert!(judge(&requirement, NAME, &Memory::bundled(&with_good), &[]).is_accepted());
    let mut old = Memory::bundled(&bad);
    old.signatures.insert(digest, vec![signer.attachment(digest, "any.example.com/x", PayloadKind::Sigstore)]);
    assert!(judge(&requirement, NAME, &old, &[]).is_accepted(), "an attachment beside bundles");
}

#[test]
fn a_signed_index_covers_its_instance() {
    let signer = Signer::new();
    let index = index_of(&Digest::of(MANIFEST));
    let bytes = signer.bundle(index.0);
    let source = Memory {
        bundles: [(index.0, vec![StoredBundle { manifest: Digest::of(&bytes), bytes }])].into(),
        ..Memory::default()
    };
    let requirement = signer.requirement("vmrootBundleSigned", "");
    let verdict = judge(&requirement, NAME, &source, std::slice::from_ref(&index));
    let accepted = verdict.accepted_signatures().next().unwrap();
    assert_eq!((accepted.verified, accepted.coverage), (index.0, Coverage::Index));
    assert!(!judge(&requirement, NAME, &source, &[]).is_accepted());
}

#[test]
fn bundles_of_the_top_are_requested_first_and_unlikely_ones_last() {
    let signer = Signer::new();
    let manifest = Digest::of(MANIFEST);
    let index = index_of(&manifest);
    let stored = |of: Digest| {
        let bytes = signer.bundle(of);
        StoredBundle { manifest: Digest::of(&bytes), bytes }
    };
    let requirement = signer.requirement("vmrootBundleSigned", "");
    let signed = Memory { bundles: [(index.0, vec![stored(index.0)])].into(), ..Memory::default() };
    assert!(judge(&requirement, NAME, &signed, std::slice::from_ref(&index)).is_accepted());
    assert_eq!(*signed.requests.borrow(), [("bundles", index.0)]);
    // Both requirements read the same list, and neither asks for it again.
    let twice = format!("{requirement},{requirement}");
    let bad = StoredBundle { manifest, bytes: b"{}".to_vec() };
    let source = Memory {
        bundles: [(manifest, vec![bad])].into(),
        further: [(manifest, vec![stored(manifest)])].into(),
        ..Memory::default()
    };
    let verdict = judge(&twice, NAME, &source, &[]);
    assert!(verdict.is_accepted() && verdict.judgements.len() == 2);
    let numbers: Vec<usize> = verdict.judgements[0].examined.iter().map(|it| it.number).collect();
    assert_eq!(numbers, [1, 2]);
    let kinds = ["bundles", "signatures", "further bundles"];
    assert_eq!(*source.requests.borrow(), kinds.map(|kind| (kind, manifest)));
}
