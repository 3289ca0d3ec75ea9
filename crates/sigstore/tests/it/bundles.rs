//! Bundles: of real clients, and made here with a key.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vmroot_sigstore::{
    Bundle, BundleTrust, CertificateIdentity, Error, Matcher, PrivateKey, PublicKey, SIGNATURE_PREDICATE, Signer,
    Statement, TimeSource, TrustedRoot, attestation_statement, signature_statement,
};

use crate::authority::{TIME, at, base64};

const DIGEST: &str = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c";
const ARTIFACT_DIGEST: &str = "a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf";

pub(crate) const ARTIFACT: &[u8] = include_bytes!("../samples/artifact");
pub(crate) const MESSAGE: &[u8] = include_bytes!("../samples/message.json");
pub(crate) const DSSE: &[u8] = include_bytes!("../samples/dsse.json");
pub(crate) const KEY: &[u8] = include_bytes!("../samples/key.json");
pub(crate) const KEY_PEM: &[u8] = include_bytes!("../samples/key.pub");
pub(crate) const ROOT: &[u8] = include_bytes!("../samples/root.json");
pub(crate) const REKOR2: &[u8] = include_bytes!("../samples/rekor2-dsse.json");
pub(crate) const REKOR2_ROOT: &[u8] = include_bytes!("../samples/rekor2-root.json");

pub(crate) fn identity() -> CertificateIdentity {
    let workflow = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/\
                    extremely-dangerous-oidc-beacon.yml@refs/heads/main";
    let issuer = "https://token.actions.githubusercontent.com";
    CertificateIdentity { subject: Matcher::Exact(workflow.to_owned()), issuer: Matcher::Exact(issuer.to_owned()) }
}

/// Verifies a bundle with certificates, of a message or of a statement.
pub(crate) fn verify(bundle: &[u8], root: &[u8]) -> Result<Vec<TimeSource>, Error> {
    verify_as(bundle, root, &identity(), TIME)
}

fn verify_as(bundle: &[u8], root: &[u8], identity: &CertificateIdentity, now: i64) -> Result<Vec<TimeSource>, Error> {
    let (bundle, root) = (Bundle::parse(bundle)?, TrustedRoot::parse(root)?);
    let trust = BundleTrust::Certificates { root: &root, identity };
    let times = match bundle.verify_message(&trust, ARTIFACT, at(now)) {
        Ok(verified) => verified.times,
        Err(Error::Material("the bundle signs a statement, not a message")) => {
            let verified = bundle.verify(&trust, at(now))?;
            assert!(verified.statement.is_about_sha256(ARTIFACT_DIGEST));
            verified.times
        }
        Err(error) => return Err(error),
    };
    Ok(times.iter().map(|time| time.source).collect())
}

pub(crate) fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// Verifies a bundle after a change of its JSON.
fn changed(bytes: &[u8], root: &[u8], change: impl Fn(&mut Value)) -> Result<Vec<TimeSource>, Error> {
    let mut bundle = json_of(bytes);
    change(&mut bundle);
    assert_ne!(bundle, json_of(bytes));
    verify(bundle.to_string().as_bytes(), root)
}

#[test]
fn bundles_of_real_clients_verify() {
    assert_eq!(verify(MESSAGE, ROOT), Ok(vec![TimeSource::Log]));
    assert_eq!(verify(DSSE, ROOT), Ok(vec![TimeSource::Log]));
    assert_eq!(verify(REKOR2, REKOR2_ROOT), Ok(vec![TimeSource::TimeStamper]));
    let (bundle, root) = (Bundle::parse(KEY).unwrap(), TrustedRoot::parse(ROOT).unwrap());
    let keys = [PublicKey::from_pem(KEY_PEM).unwrap()];
    for log in [None, Some(&root)] {
        let verified = bundle.verify_message(&BundleTrust::Keys { keys: &keys, log }, ARTIFACT, at(TIME)).unwrap();
        assert!(matches!(verified.signer, Signer::Key(key) if key == keys[0]));
    }
}

#[test]
fn the_identity_is_checked_on_every_path() {
    for (bundle, root) in [(MESSAGE, ROOT), (DSSE, ROOT), (REKOR2, REKOR2_ROOT)] {
        let wrong = [
            CertificateIdentity { subject: Matcher::Exact("https://github.com/".to_owned()), ..identity() },
            CertificateIdentity { subject: Matcher::pattern("https://github.com/").unwrap(), ..identity() },
            CertificateIdentity { issuer: Matcher::Exact(String::new()), ..identity() },
            CertificateIdentity { issuer: Matcher::pattern("token").unwrap(), ..identity() },
        ];
        for identity in wrong {
            assert!(matches!(verify_as(bundle, root, &identity, TIME), Err(Error::Identity(_))), "{identity:?}");
        }
        let pattern = Matcher::pattern("https://github.com/sigstore-conformance/.*").unwrap();
        assert!(verify_as(bundle, root, &CertificateIdentity { subject: pattern, ..identity() }, TIME).is_ok());
    }
}

#[test]
fn a_key_is_no_certificate_and_the_reverse() {
    let root = TrustedRoot::parse(ROOT).unwrap();
    let keys = [PublicKey::from_pem(KEY_PEM).unwrap()];
    let trust = BundleTrust::Keys { keys: &keys, log: Some(&root) };
    let bundle = Bundle::parse(MESSAGE).unwrap();
    assert!(matches!(bundle.verify_message(&trust, ARTIFACT, at(TIME)), Err(Error::Material(_))));
    assert!(matches!(verify(KEY, ROOT), Err(Error::Material(_))));
    assert!(matches!(Bundle::parse(KEY).unwrap().verify(&trust, at(TIME)), Err(Error::Material(_))));
    let other = [PrivateKey::generate().public().clone()];
    let trust = BundleTrust::Keys { keys: &other, log: None };
    let bundle = Bundle::parse(KEY).unwrap();
    assert!(matches!(bundle.verify_message(&trust, ARTIFACT, at(TIME)), Err(Error::Signature(_))));
    let trust = BundleTrust::Keys { keys: &keys, log: None };
    assert!(matches!(bundle.verify_message(&trust, b"another", at(TIME)), Err(Error::Signature(_))));
}

fn entry(bundle: &mut Value) -> &mut Value {
    &mut bundle["verificationMaterial"]["tlogEntries"][0]
}

#[test]
fn entries_of_logs_must_be_right() {
    let is_log = |result: Result<_, Error>| matches!(result, Err(Error::Log(_)));
    // Valid entries of other signatures (CVE-2022-23649, CVE-2026-22703).
    for (bundle, other) in [(MESSAGE, DSSE), (DSSE, MESSAGE), (MESSAGE, KEY)] {
        let stapled = changed(bundle, ROOT, |bundle| *entry(bundle) = entry(&mut json_of(other)).clone());
        assert!(is_log(stapled));
    }
    // A wrong entry beside a right one does not disappear behind it (CVE-2022-36056).
    let both = changed(MESSAGE, ROOT, |bundle| {
        let entries = bundle["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap();
        entries.push(entry(&mut json_of(DSSE)).clone());
    });
    assert!(is_log(both));
    for bytes in [MESSAGE, DSSE] {
        assert!(is_log(changed(bytes, ROOT, |bundle| bundle["verificationMaterial"]["tlogEntries"] = json!([]))));
        let without_promise = changed(bytes, ROOT, |bundle| {
            entry(bundle).as_object_mut().unwrap().remove("inclusionPromise");
        });
        assert!(without_promise.is_err(), "the time of an entry without a promise does not count");
        assert!(is_log(changed(bytes, ROOT, |bundle| entry(bundle)["integratedTime"] = json!("1700000000"))));
        let proof = |change: fn(&mut Value)| {
            is_log(changed(bytes, ROOT, |bundle| change(&mut entry(bundle)["inclusionProof"])))
        };
        assert!(proof(|proof| drop(proof["hashes"].as_array_mut().unwrap().pop())));
        assert!(proof(|proof| proof["hashes"].as_array_mut().unwrap().push(json!(base64([0; 32])))));
        assert!(proof(|proof| proof["hashes"][0] = json!(base64([0; 31]))));
        assert!(proof(|proof| proof["logIndex"] = proof["treeSize"].clone()));
        assert!(proof(|proof| proof["logIndex"] = json!("0")));
        assert!(proof(|proof| proof["treeSize"] = json!("9223372036854775807")));
        assert!(proof(|proof| proof["rootHash"] = json!(base64([0; 32]))));
        // The checkpoint of another tree, a foreign log, or with a wrong hint of its key.
        let other = if bytes == MESSAGE { DSSE } else { MESSAGE };
        let foreign = entry(&mut json_of(other))["inclusionProof"]["checkpoint"].clone();
        assert!(is_log(changed(bytes, ROOT, |bundle| entry(bundle)["inclusionProof"]["checkpoint"] = foreign.clone())));
        let foreign = entry(&mut json_of(REKOR2))["inclusionProof"]["checkpoint"].clone();
        assert!(is_log(changed(bytes, ROOT, |bundle| entry(bundle)["inclusionProof"]["checkpoint"] = foreign.clone())));
        assert!(proof(|proof| {
            let text = proof["checkpoint"]["envelope"].as_str().unwrap().replace(" wNI9a", " wNI9b");
            proof["checkpoint"]["envelope"] = json!(text);
        }));
        assert!(is_log(verify_as(bytes, ROOT, &identity(), 1_600_000_000)), "the promise is of the future");
    }
}

#[test]
fn roots_decide_which_logs_authorities_and_time_stampers_count() {
    let with = |bundle: &[u8], root: &[u8], change: fn(&mut Value)| {
        let mut changed = json_of(root);
        change(&mut changed);
        assert_ne!(changed, json_of(root));
        verify(bundle, changed.to_string().as_bytes())
    };
    let empty = |name: &'static str| {
        let remove = |root: &[u8]| {
            let mut changed = json_of(root);
            changed[name] = json!([]);
            changed.to_string().into_bytes()
        };
        (verify(MESSAGE, &remove(ROOT)), verify(REKOR2, &remove(REKOR2_ROOT)))
    };
    assert!(matches!(empty("tlogs"), (Err(Error::Log(_)), Err(Error::Log(_)))));
    assert!(matches!(empty("certificateAuthorities"), (Err(Error::Certificate(_)), Err(Error::Certificate(_)))));
    assert!(matches!(empty("ctlogs"), (Err(Error::Certificate(_)), Err(Error::Certificate(_)))));
    assert!(matches!(empty("timestampAuthorities"), (Ok(_), Err(Error::Timestamp(_)))));
    let end_all = |root: &mut Value, name: &str, place: &str| {
        for instance in root[name].as_array_mut().unwrap() {
            *instance.pointer_mut(place).unwrap() =
                json!({"start": "2000-01-01T00:00:00Z", "end": "2000-01-02T00:00:00Z"});
        }
    };
    for (name, place) in
        [("tlogs", "/publicKey/validFor"), ("ctlogs", "/publicKey/validFor"), ("certificateAuthorities", "/validFor")]
    {
        for (bundle, root) in [(MESSAGE, ROOT), (DSSE, ROOT), (REKOR2, REKOR2_ROOT)] {
            let mut changed = json_of(root);
            end_all(&mut changed, name, place);
            assert!(verify(bundle, changed.to_string().as_bytes()).is_err(), "{name}");
        }
    }
    let stamper = with(REKOR2, REKOR2_ROOT, |root| {
        for instance in root["timestampAuthorities"].as_array_mut().unwrap() {
            instance["validFor"] = json!({"start": "2000-01-01T00:00:00Z", "end": "2000-01-02T00:00:00Z"});
        }
    });
    assert!(matches!(stamper, Err(Error::Timestamp(_))));
    assert!(matches!(with(MESSAGE, ROOT, |root| root["mediaType"] = json!("x")), Err(Error::Malformed { .. })));
    let start = with(MESSAGE, ROOT, |root| {
        root["tlogs"][0]["publicKey"]["validFor"].as_object_mut().unwrap().remove("start");
    });
    assert!(matches!(start, Err(Error::Json(_))));
}

#[test]
fn timestamps_must_be_for_the_signature() {
    let stamps = "timestampVerificationData";
    let without = changed(REKOR2, REKOR2_ROOT, |bundle| {
        bundle["verificationMaterial"].as_object_mut().unwrap().remove(stamps);
    });
    assert!(matches!(without, Err(Error::Timestamp(_))));
    let twice = changed(REKOR2, REKOR2_ROOT, |bundle| {
        let stamps = bundle["verificationMaterial"][stamps]["rfc3161Timestamps"].as_array_mut().unwrap();
        stamps.push(stamps[0].clone());
    });
    assert_eq!(twice, Ok(vec![TimeSource::TimeStamper]), "two timestamps of one time stamper count once");
    let beside_a_broken_one = changed(REKOR2, REKOR2_ROOT, |bundle| {
        let stamps = bundle["verificationMaterial"][stamps]["rfc3161Timestamps"].as_array_mut().unwrap();
        stamps.push(json!({"signedTimestamp": "AAAA"}));
    });
    assert_eq!(beside_a_broken_one, Ok(vec![TimeSource::TimeStamper]));
    let foreign = json_of(KEY)["verificationMaterial"][stamps].clone();
    let foreign = changed(REKOR2, REKOR2_ROOT, |bundle| bundle["verificationMaterial"][stamps] = foreign.clone());
    assert!(matches!(foreign, Err(Error::Timestamp(_))));
}

fn signed() -> (PrivateKey, Vec<u8>) {
    let key = PrivateKey::generate();
    let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let bundle = Bundle::sign(&key, &signature_statement(DIGEST, &annotations)).unwrap();
    (key, bundle)
}

fn statement_of(key: &PrivateKey, bundle: &[u8]) -> Result<Statement, Error> {
    let keys = [key.public().clone()];
    let trust = BundleTrust::Keys { keys: &keys, log: None };
    Bundle::parse(bundle)?.verify(&trust, at(TIME)).map(|verified| verified.statement)
}

#[test]
fn a_bundle_that_was_made_here_verifies() {
    let (key, bundle) = signed();
    let statement = statement_of(&key, &bundle).unwrap();
    statement.expect_signature().unwrap();
    assert!(statement.is_about_sha256(DIGEST));
    assert!(!statement.is_about_sha256(&DIGEST.to_uppercase()));
    assert_eq!(statement.subjects[0].annotations["a"], "b");
    assert_eq!((statement.subjects[0].name.clone(), statement.predicate), (None, json!({})));
    assert!(matches!(statement_of(&PrivateKey::generate(), &bundle), Err(Error::Signature(_))));
    // A log that is required is not replaced by the key.
    let (keys, root) = ([key.public().clone()], TrustedRoot::parse(ROOT).unwrap());
    let trust = BundleTrust::Keys { keys: &keys, log: Some(&root) };
    assert!(matches!(Bundle::parse(&bundle).unwrap().verify(&trust, at(TIME)), Err(Error::Log(_))));
}

#[test]
fn an_attestation_is_no_signature() {
    let key = PrivateKey::generate();
    let bundle = Bundle::sign(&key, &attestation_statement("x", DIGEST, "https://slsa.dev/provenance/v1", &json!({})));
    let statement = statement_of(&key, &bundle.unwrap()).unwrap();
    assert!(statement.is_about_sha256(DIGEST));
    assert!(matches!(statement.expect_signature(), Err(Error::Statement(_))));
    let older = String::from_utf8(signature_statement(DIGEST, &BTreeMap::new())).unwrap();
    let older = older.replace("/Statement/v1", "/Statement/v0.1");
    let statement = statement_of(&key, &Bundle::sign(&key, older.as_bytes()).unwrap()).unwrap();
    assert!(matches!(statement.expect_signature(), Err(Error::Statement(_))), "{SIGNATURE_PREDICATE}");
}

#[test]
fn statements_are_read_strictly() {
    let good = String::from_utf8(signature_statement(DIGEST, &BTreeMap::new())).unwrap();
    assert!(Statement::parse(good.as_bytes()).is_ok());
    for (from, to) in [
        ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v2"),
        (DIGEST, &DIGEST.to_uppercase()),
        (DIGEST, ""),
        ("\"predicate\":{}", "\"predicate\":{},\"x\":1"),
        ("\"predicate\":{}", "\"predicate\":{},\"predicate\":{}"),
        ("\"predicateType\"", "\"PredicateType\""),
        ("\"sha256\"", "\"sha256\":\"00\",\"sha256\""),
        ("\"subject\":[", "\"subject\":[null,"),
        ("\"digest\"", "\"x\":1,\"digest\""),
    ] {
        assert!(good.contains(from), "{from}");
        assert!(Statement::parse(good.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
    }
    assert!(Statement::parse(format!("{good}{{}}").as_bytes()).is_err());
    let with_subjects = |subjects: Value| {
        let mut statement = json_of(good.as_bytes());
        statement["subject"] = subjects;
        Statement::parse(statement.to_string().as_bytes())
    };
    assert!(with_subjects(json!([])).is_err());
    assert!(with_subjects(Value::Null).is_err());
    assert!(with_subjects(json!([null])).is_err(), "cosign#5016");
    assert!(with_subjects(json!([{}])).is_err());
    let subject = json!({"digest": {"sha256": DIGEST}});
    assert!(with_subjects(json!(vec![subject.clone(); 1024])).is_ok());
    let many = with_subjects(json!(vec![subject; 1025]));
    assert!(matches!(many, Err(Error::TooLarge { limit: "SUBJECTS_LIMIT", .. })));
    let digests: BTreeMap<_, _> = (0..33).map(|number| (number.to_string(), "00")).collect();
    assert!(matches!(with_subjects(json!([{"digest": digests}])), Err(Error::TooLarge { limit: "DIGESTS_LIMIT", .. })));
    let only_512 = with_subjects(json!([{"digest": {"sha512": "00"}}])).unwrap();
    assert!(!only_512.is_about_sha256(DIGEST));
    let second = with_subjects(json!([{"digest": {"sha256": "00"}}, {"digest": {"sha256": DIGEST}}])).unwrap();
    assert!(second.is_about_sha256(DIGEST));
}

#[test]
fn bundles_are_read_strictly() {
    let (key, bundle) = signed();
    let good = json_of(&bundle);
    let verify = |change: &dyn Fn(&mut Value)| {
        let mut changed = good.clone();
        change(&mut changed);
        statement_of(&key, changed.to_string().as_bytes()).map(drop)
    };
    let older = "application/vnd.dev.sigstore.bundle+json;version=0.3";
    assert_eq!(verify(&|bundle| bundle["mediaType"] = json!(older)), Ok(()));
    assert_eq!(verify(&|bundle| bundle["verificationMaterial"]["publicKey"] = json!({})), Ok(()));
    assert_eq!(verify(&|bundle| bundle["verificationMaterial"]["publicKey"]["hint"] = json!("x")), Ok(()));
    assert_eq!(verify(&|bundle| bundle["dsseEnvelope"]["signatures"][0]["keyid"] = json!("x")), Ok(()));
    let payload = good["dsseEnvelope"]["payload"].as_str().unwrap();
    let url_safe = payload.replace('+', "-").replace('/', "_");
    assert_eq!(verify(&|bundle| bundle["dsseEnvelope"]["payload"] = json!(url_safe)), Ok(()));
    for version in ["0.1", "0.2", "0.4", "0.30"] {
        let older = format!("application/vnd.dev.sigstore.bundle+json;version={version}");
        assert!(verify(&|bundle| bundle["mediaType"] = json!(older)).is_err());
        let newer = format!("application/vnd.dev.sigstore.bundle.v{version}+json");
        assert!(verify(&|bundle| bundle["mediaType"] = json!(newer)).is_err());
    }
    let signature = good["dsseEnvelope"]["signatures"][0].clone();
    let message = json!({"signature": "AAAA"});
    let changes: [&dyn Fn(&mut Value); 14] = [
        &|bundle| bundle["unknown"] = json!(1),
        &|bundle| bundle["verificationMaterial"]["unknown"] = json!(1),
        &|bundle| bundle["dsseEnvelope"]["unknown"] = json!(1),
        &|bundle| bundle["dsseEnvelope"]["signatures"] = json!([]),
        &|bundle| bundle["dsseEnvelope"]["signatures"] = json!([signature, signature]),
        &|bundle| bundle["dsseEnvelope"]["signatures"] = json!([null]),
        &|bundle| bundle["dsseEnvelope"]["payloadType"] = json!("application/vnd.in-toto+json "),
        &|bundle| bundle["dsseEnvelope"]["payload"] = json!(base64("{}")),
        &|bundle| bundle["dsseEnvelope"] = Value::Null,
        &|bundle| bundle["messageSignature"] = message.clone(),
        &|bundle| bundle["verificationMaterial"] = json!({}),
        &|bundle| bundle["verificationMaterial"]["x509CertificateChain"] = json!({"certificates": []}),
        &|bundle| bundle["verificationMaterial"]["certificate"] = json!({"rawBytes": "AAAA"}),
        &|bundle| bundle["mediaType"] = Value::Null,
    ];
    for (index, change) in changes.iter().enumerate() {
        assert!(verify(change).is_err(), "{index}");
    }
    let text = String::from_utf8(bundle).unwrap();
    assert!(Bundle::parse(format!("{text} x").as_bytes()).is_err());
    let twice = text.replacen("\"payloadType\"", "\"payloadType\":\"x\",\"payloadType\"", 1);
    assert!(matches!(Bundle::parse(twice.as_bytes()), Err(Error::Json(_))));
}

#[test]
fn lists_of_a_bundle_are_limited() {
    let many = |change: fn(&mut Value)| {
        let mut bundle = json_of(REKOR2);
        change(&mut bundle["verificationMaterial"]);
        match Bundle::parse(bundle.to_string().as_bytes()) {
            Err(Error::TooLarge { limit, .. }) => limit,
            other => panic!("{other:?}"),
        }
    };
    let entries = many(|material| material["tlogEntries"] = json!(vec![material["tlogEntries"][0].clone(); 33]));
    assert_eq!(entries, "ENTRIES_LIMIT");
    let timestamps = many(|material| {
        material["timestampVerificationData"]["rfc3161Timestamps"] =
            json!(vec![json!({"signedTimestamp": "AAAA"}); 33]);
    });
    assert_eq!(timestamps, "TIMESTAMPS_LIMIT");
    let hashes = many(|material| {
        material["tlogEntries"][0]["inclusionProof"]["hashes"] = json!(vec![base64([0; 32]); 65]);
    });
    assert_eq!(hashes, "PROOF_HASHES_LIMIT");
    let certificate = many(|material| material["certificate"]["rawBytes"] = json!(base64(vec![0; 70_000])));
    assert_eq!(certificate, "CERTIFICATE_LIMIT");
    let large = vec![b' '; vmroot_sigstore::BUNDLE_LIMIT + 1];
    assert!(matches!(Bundle::parse(&large), Err(Error::Json(vmroot_sigstore::strict_json::Error::TooLong { .. }))));
}
