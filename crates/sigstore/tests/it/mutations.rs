//! Changed signatures, bundles, certificates, payloads and keys: no one verifies that should not, and none panics.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vmroot_sigstore::{
    Attachment, Bundle, BundleTrust, Certificate, Error, PrivateKey, PublicKey, Statement, TrustedRoot, sign_payload,
    signature_statement,
};
use vmroot_testkit::mutation::Mutator;

use crate::authority::{Rekor, TIME, at};
use crate::bundles::{ARTIFACT, DSSE, KEY, KEY_PEM, MESSAGE, REKOR2, REKOR2_ROOT, ROOT, json_of, verify};

/// The texts of a JSON document by their JSON pointers.
fn texts(value: &Value, place: String, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| texts(value, format!("{place}/{name}"), found))
        }
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(index, value)| texts(value, format!("{place}/{index}"), found));
        }
        _ => found.push(place),
    }
}

/// Returns whether a change there may leave a bundle valid, because nobody signs the member or its meaning is kept.
fn is_hint(place: &str) -> bool {
    place.ends_with("/mediaType") || place.ends_with("/hint") || place.ends_with("/envelope")
}

#[test]
fn changed_documents_verify_only_if_they_mean_the_same() {
    let mut mutator = Mutator::new(1);
    for (bundle, root) in [(MESSAGE, ROOT), (DSSE, ROOT), (REKOR2, REKOR2_ROOT)] {
        let original = Parsed::of(bundle).unwrap();
        for _ in 0..400 {
            let mutated = mutator.mutate(bundle);
            let same = Parsed::of(&mutated).is_some_and(|parsed| parsed.same_as(&original));
            assert!(same || verify(&mutated, root).is_err(), "{}", String::from_utf8_lossy(&mutated));
            // A root that was changed may still be the same where it matters, but reading it does not panic.
            let _ = verify(bundle, &mutator.mutate(root));
        }
    }
}

/// The members of a bundle that must not change, decoded.
struct Parsed(BTreeMap<String, String>);

impl Parsed {
    fn of(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let mut places = Vec::new();
        texts(&value, String::new(), &mut places);
        let text = |place: &String| {
            let value = value.pointer(place)?;
            // Either alphabet of base64, with or without padding, means the same, and so do mutator as texts.
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Some((place.clone(), text.replace('-', "+").replace('_', "/").trim_end_matches('=').to_owned()))
        };
        Some(Self(places.iter().filter_map(text).collect()))
    }

    /// Ignores hints, and other signatures than the log's own of a checkpoint.
    fn same_as(&self, other: &Self) -> bool {
        let fixed = |parsed: &Self| -> Vec<_> {
            let is_fixed = |(place, _): &(&String, &String)| !is_hint(place);
            parsed.0.iter().filter(is_fixed).map(|(place, text)| (place.clone(), text.clone())).collect()
        };
        fixed(self) == fixed(other)
    }
}

#[test]
fn each_changed_member_of_a_bundle_is_noticed() {
    let mut mutator = Mutator::new(2);
    let mut unnoticed = Vec::new();
    for (bundle, root) in [(MESSAGE, ROOT), (DSSE, ROOT), (REKOR2, REKOR2_ROOT)] {
        let mut places = Vec::new();
        texts(&json_of(bundle), String::new(), &mut places);
        for place in places.iter().filter(|place| !is_hint(place)) {
            for _ in 0..12 {
                let mut mutated = json_of(bundle);
                let member = mutated.pointer_mut(place).unwrap();
                let before = member.as_str().map_or_else(|| member.to_string(), str::to_owned);
                let after = mutator.mutate_text(&before);
                if after.trim_end_matches('=') == before.trim_end_matches('=') {
                    continue;
                }
                *member = json!(after);
                if verify(mutated.to_string().as_bytes(), root).is_ok() {
                    unnoticed.push(place.clone());
                }
            }
        }
    }
    // Rekor v2 has neither a time nor an index of all its trees.
    unnoticed.retain(|place| !place.ends_with("/0/logIndex") && !place.ends_with("/integratedTime"));
    assert_eq!(unnoticed, Vec::<String>::new());
}

#[test]
fn changed_attachments_never_verify() {
    let (key, rekor, mut mutator) = (PrivateKey::generate(), Rekor::new(), Mutator::new(3));
    let payload = br#"{"critical":{"identity":{"docker-reference":"a/b"}},"optional":null}"#;
    let signature = sign_payload(&key, payload);
    let promise = rekor.promise(payload, &signature, &key.public().to_pem(), TIME);
    let (keys, logs) = ([key.public().clone()], [rekor.public()]);
    let verify = |payload: &[u8], signature: &str, promise: &str| {
        let attachment = Attachment { payload, signature, bundle: Some(promise), certificate: None, chain: None };
        attachment.verify_with_keys(&keys, &logs)
    };
    assert!(verify(payload, &signature, &promise).is_ok());
    for _ in 0..300 {
        let changed = mutator.mutate(payload);
        assert!(changed == payload || verify(&changed, &signature, &promise).is_err());
        let changed = mutator.mutate_text(&signature);
        assert!(changed == signature || verify(payload, &changed, &promise).is_err());
        let changed = mutator.mutate_text(&promise);
        let same = serde_json::from_str::<Value>(&changed).is_ok_and(|value| value == json_of(promise.as_bytes()));
        assert!(same || verify(payload, &signature, &changed).is_err(), "{changed}");
    }
}

#[test]
fn changed_keys_do_not_verify() {
    let (key, mut mutator) = (PrivateKey::generate(), Mutator::new(4));
    let signature = key.sign(ARTIFACT);
    let (der, pem) = (key.public().to_der(), key.public().to_pem());
    let encrypted = key.to_encrypted_pem(b"p");
    for round in 0..500 {
        let changed = mutator.mutate(der);
        if let Ok(read) = PublicKey::from_der(&changed) {
            assert!(changed == der || !read.verify_bundle(ARTIFACT, &signature));
        }
        if let Ok(read) = PublicKey::from_pem(&mutator.mutate(pem.as_bytes())) {
            assert!(read == *key.public() || !read.verify_bundle(ARTIFACT, &signature));
        }
        // The derivation of a key takes a tenth of a second.
        if round % 50 == 0 {
            let changed = mutator.mutate(encrypted.as_bytes());
            match PrivateKey::read(&changed, Some(b"p")) {
                Ok(read) => assert_eq!(read.public(), key.public()),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
    let keys = [PublicKey::from_pem(KEY_PEM).unwrap()];
    let trust = BundleTrust::Keys { keys: &keys, log: None };
    assert!(Bundle::parse(KEY).unwrap().verify_message(&trust, ARTIFACT, at(TIME)).is_ok());
}

#[test]
fn changed_certificates_are_not_signed_any_more() {
    let mut mutator = Mutator::new(5);
    let place = "/verificationMaterial/certificate/rawBytes";
    let text = json_of(MESSAGE).pointer(place).unwrap().as_str().unwrap().to_owned();
    let der = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, &text).unwrap();
    let root = TrustedRoot::parse(ROOT).unwrap();
    assert!(format!("{root:?}").len() > 100);
    for _ in 0..600 {
        let changed = mutator.mutate(&der);
        let _ = Certificate::from_der(&changed);
        let mut bundle = json_of(MESSAGE);
        *bundle.pointer_mut(place).unwrap() = json!(crate::authority::base64(&changed));
        assert!(changed == der || verify(bundle.to_string().as_bytes(), ROOT).is_err());
    }
}

#[test]
fn changed_statements_do_not_panic() {
    let mut mutator = Mutator::new(6);
    let statement = signature_statement(&"ab".repeat(32), &BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    for _ in 0..1000 {
        match Statement::parse(&mutator.mutate(&statement)) {
            Ok(statement) => assert!(!statement.subjects.is_empty()),
            Err(Error::Json(_) | Error::Statement(_) | Error::TooLarge { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}
