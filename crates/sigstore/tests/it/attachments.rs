//! Attachments: keys, promises of a log, Fulcio and other authorities.

use serde_json::json;
use vmroot_sigstore::{Attachment, Error, Fulcio, Pki, PrivateKey, sign_payload};

use crate::authority::{AUTHORITY, Authorities, EMAIL, ISSUER, Rekor, SIGNER, TIME, at};

const PAYLOAD: &[u8] = br#"{"critical":{"type":"cosign container image signature"},"optional":null}"#;

fn attachment(signature: &str) -> Attachment<'_> {
    Attachment { payload: PAYLOAD, signature, bundle: None, certificate: None, chain: None }
}

#[test]
fn any_of_the_keys_verifies() {
    let (key, other) = (PrivateKey::generate(), PrivateKey::generate());
    let signature = sign_payload(&key, PAYLOAD);
    let keys = [other.public().clone(), key.public().clone()];
    let verified = attachment(&signature).verify_with_keys(&keys, &[]).unwrap();
    assert_eq!(verified.key, keys[1]);
    assert_eq!(
        attachment(&signature).verify_with_keys(&keys[..1], &[]).unwrap_err(),
        Error::Signature("any of the keys")
    );
    assert!(attachment(&signature).verify_with_keys(&[], &[]).is_err());
    let altered = Attachment { payload: b"{}", ..attachment(&signature) };
    assert!(altered.verify_with_keys(&keys, &[]).is_err());
    let lines = format!("{}\r\n{}\n", &signature[..40], &signature[40..]);
    assert!(attachment(&lines).verify_with_keys(&keys, &[]).is_ok(), "line ends are ignored");
    for broken in ["", "AAAA", "*", &signature[1..], &format!("{signature} ")] {
        assert!(attachment(broken).verify_with_keys(&keys, &[]).is_err(), "{broken}");
    }
}

#[test]
fn the_promise_of_a_log_must_be_for_this_signature() {
    let (key, rekor) = (PrivateKey::generate(), Rekor::new());
    let (keys, logs) = ([key.public().clone()], [Rekor::new().public(), rekor.public()]);
    let signature = sign_payload(&key, PAYLOAD);
    let verify = |bundle: Option<&str>| Attachment { bundle, ..attachment(&signature) }.verify_with_keys(&keys, &logs);
    let pem = key.public().to_pem();
    let good = rekor.promise(PAYLOAD, &signature, &pem, TIME);
    assert_eq!(verify(Some(&good)).unwrap().logged_at, Some(TIME));

    let is_log = |result: Result<_, Error>| matches!(result, Err(Error::Log(_)));
    assert!(is_log(verify(None).map(drop)));
    assert!(is_log(verify(Some(&Rekor::new().promise(PAYLOAD, &signature, &pem, TIME))).map(drop)));
    // Valid promises that were stapled on: another payload, signature or key (CVE-2022-23649).
    let other = PrivateKey::generate();
    for promise in [
        rekor.promise(b"other", &signature, &pem, TIME),
        rekor.promise(PAYLOAD, &sign_payload(&other, PAYLOAD), &pem, TIME),
        rekor.promise(PAYLOAD, &signature, &other.public().to_pem(), TIME),
        rekor.promise_of(&json!({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {}}), TIME),
        rekor.promise_of(&json!({"apiVersion": "0.0.1", "kind": "rekord", "spec": {}}), TIME),
        rekor.promise_of(&json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {}}), TIME),
        rekor.promise_of(&json!([]), TIME),
    ] {
        assert!(is_log(verify(Some(&promise)).map(drop)), "{promise}");
    }
    // The JSON is strict: no unknown, missing or duplicate member, and no other type.
    for (from, to) in [
        ("{\"SignedEntryTimestamp\"", "{\"x\":1,\"SignedEntryTimestamp\""),
        ("{\"body\"", "{\"x\":1,\"body\""),
        ("\"logIndex\":7", "\"logIndex\":7,\"logIndex\":7"),
        ("\"logIndex\":7", "\"logIndex\":7.0"),
        ("\"logIndex\":7", "\"logIndex\":8"),
        (",\"logIndex\":7", ""),
    ] {
        assert!(good.contains(from));
        assert!(verify(Some(&good.replacen(from, to, 1))).is_err(), "{to}");
    }
    let spaced = good.replace(',', " , ");
    assert!(verify(Some(&spaced)).is_ok(), "the canonical form is signed, not the spaces");
}

struct Signed {
    authorities: Authorities,
    rekor: Rekor,
    fulcio: Fulcio,
    signature: String,
    certificate: String,
    chain: String,
}

impl Signed {
    /// Signs with a certificate of these extensions below a root and an intermediate.
    fn new(signer: &str) -> Self {
        let authorities = Authorities::new();
        let root = authorities.issue("root", "root", AUTHORITY);
        authorities.issue("between", "root", AUTHORITY);
        authorities.issue_for("leaf", "between", signer, "291231235500Z", "300101000500Z");
        let signature = sign_payload(&authorities.key("leaf"), PAYLOAD);
        let (certificate, chain) = (authorities.pem("leaf"), authorities.pem("between") + &authorities.pem("root"));
        let fulcio = Fulcio { authorities: vec![root], oidc_issuer: ISSUER.to_owned(), email: EMAIL.to_owned() };
        Self { authorities, rekor: Rekor::new(), fulcio, signature, certificate, chain }
    }

    fn at(&self, time: i64) -> Result<(), Error> {
        let promise = self.rekor.promise(PAYLOAD, &self.signature, &self.certificate, time);
        self.with(&promise)
    }

    fn with(&self, promise: &str) -> Result<(), Error> {
        let attachment = Attachment { bundle: Some(promise), ..self.attachment() };
        attachment.verify_with_fulcio(&self.fulcio, &[self.rekor.public()]).map(|verified| {
            assert_eq!(verified.key.to_der(), self.authorities.key("leaf").public().to_der());
        })
    }

    fn attachment(&self) -> Attachment<'_> {
        let (certificate, chain) = (Some(self.certificate.as_str()), Some(self.chain.as_str()));
        Attachment { certificate, chain, ..attachment(&self.signature) }
    }
}

#[test]
fn a_certificate_of_fulcio_verifies_at_the_promised_time_only() {
    let mut signed = Signed::new(SIGNER);
    signed.at(TIME).unwrap();
    signed.at(TIME - 300).unwrap();
    signed.at(TIME + 300).unwrap();
    for time in [TIME - 301, TIME + 301, 0, -1] {
        assert!(matches!(signed.at(time), Err(Error::Certificate(_))), "{time}");
    }
    let other = sign_payload(&PrivateKey::generate(), PAYLOAD);
    let stapled = signed.rekor.promise(PAYLOAD, &other, &signed.certificate, TIME);
    assert!(matches!(signed.with(&stapled), Err(Error::Log(_))));
    let stapled = signed.rekor.promise(PAYLOAD, &signed.signature, &signed.authorities.pem("between"), TIME);
    assert!(matches!(signed.with(&stapled), Err(Error::Log(_))));
    // A signature by another key than the certificate's, which the log took all the same.
    let own = std::mem::replace(&mut signed.signature, other);
    assert!(matches!(signed.at(TIME), Err(Error::Signature(_))));
    signed.signature = own;
    signed.fulcio.email = "SIGNER@example.com".to_owned();
    assert!(matches!(signed.at(TIME), Err(Error::Identity(_))));
    signed.fulcio.email = EMAIL.to_owned();
    signed.fulcio.oidc_issuer.push('/');
    assert!(matches!(signed.at(TIME), Err(Error::Identity(_))));
    signed.fulcio.oidc_issuer.pop();
    let chain = std::mem::take(&mut signed.chain);
    assert!(matches!(signed.at(TIME), Err(Error::Certificate(_))));
    signed.chain = signed.authorities.pem("between");
    assert!(signed.at(TIME).is_err(), "the last certificate of the chain does not count");
    signed.chain = "not a certificate".to_owned();
    assert!(signed.at(TIME).is_err());
    signed.chain = chain;
    signed.certificate = signed.certificate.repeat(2);
    assert!(signed.at(TIME).is_err());
}

#[test]
fn extensions_of_the_signers_certificate_decide() {
    let change = |from: &str, to: &str| {
        assert!(SIGNER.contains(from), "{from}");
        Signed::new(&SIGNER.replace(from, to)).at(TIME)
    };
    let only_one = |number: &str| {
        let lines = SIGNER.lines().filter(|line| !line.starts_with(&format!("1.3.6.1.4.1.57264.1.{number}")));
        Signed::new(&lines.collect::<Vec<_>>().join("\n")).at(TIME)
    };
    assert_eq!(only_one("1"), Ok(()));
    assert_eq!(only_one("8"), Ok(()));
    assert!(matches!(only_one(""), Err(Error::Certificate(_))));
    assert!(matches!(change("codeSigning", "serverAuth"), Err(Error::Certificate(_))));
    assert!(matches!(
        change("UTF8String:https\\://accounts", "UTF8String:https\\://other"),
        Err(Error::Certificate(_))
    ));
    assert!(matches!(
        change("ASN1:UTF8String:https\\://accounts.example.com", "DER:0c:05:61"),
        Err(Error::Malformed { .. })
    ));
    assert!(matches!(change("email:signer@", "email:other@"), Err(Error::Identity(_))));
    assert_eq!(change("email:signer@example.com", "email:a@b.c,email:signer@example.com"), Ok(()));
    assert!(matches!(change("email:signer@example.com", "URI:signer@example.com"), Err(Error::Identity(_))));
    let unknown = format!("{SIGNER}\n1.2.3.4=critical,DER:05:00");
    assert!(matches!(Signed::new(&unknown).at(TIME), Err(Error::Certificate(_))));
    let harmless = format!("{SIGNER}\n1.2.3.4=DER:05:00");
    assert_eq!(Signed::new(&harmless).at(TIME), Ok(()));
}

#[test]
fn each_certificate_of_a_chain_must_be_valid_and_an_authority() {
    // Each case replaces the intermediate.
    let with = |extensions: &str, from: &str, to: &str| {
        let mut signed = Signed::new(SIGNER);
        signed.authorities.issue_for("between", "root", extensions, from, to);
        signed.chain = signed.authorities.pem("between") + &signed.authorities.pem("root");
        signed.at(TIME)
    };
    let (from, to) = ("290101000000Z", "310101000000Z");
    assert_eq!(with(AUTHORITY, from, to), Ok(()));
    // CVE-2026-24122: expired, or not yet valid, when the signature was made.
    assert!(matches!(with(AUTHORITY, from, "291231235959Z"), Err(Error::Certificate(_))));
    assert!(matches!(with(AUTHORITY, "300101000001Z", to), Err(Error::Certificate(_))));
    for extensions in [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,keyCertSign",
        "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature",
        "basicConstraints=critical,CA:TRUE\nextendedKeyUsage=serverAuth",
        "basicConstraints=critical,CA:TRUE\nnameConstraints=permitted;email:example.com",
    ] {
        assert!(matches!(with(extensions, from, to), Err(Error::Certificate(_))), "{extensions}");
    }
    let signed = Signed::new(SIGNER);
    let short = format!("{},pathlen:0\nkeyUsage=critical,keyCertSign", "basicConstraints=critical,CA:TRUE");
    let root = signed.authorities.issue("root", "root", &short);
    let signed = Signed { fulcio: Fulcio { authorities: vec![root], ..signed.fulcio.clone() }, ..signed };
    assert!(matches!(signed.at(TIME), Err(Error::Certificate(_))), "the root allows no intermediate");
    let signed = Signed { fulcio: Fulcio { authorities: vec![], ..signed.fulcio.clone() }, ..signed };
    assert!(matches!(signed.at(TIME), Err(Error::Certificate(_))));
}

#[test]
fn the_search_of_a_chain_is_bounded() {
    let authorities = Authorities::new();
    let root = authorities.issue("root", "root", AUTHORITY);
    // Certificates with one name that all issued each other, and none of which the root issued.
    let mut loops = Vec::new();
    authorities.issue("a", "a", AUTHORITY);
    for _ in 0..15 {
        authorities.issue("a", "a", AUTHORITY);
        loops.push(authorities.pem("a"));
    }
    authorities.issue("leaf", "a", SIGNER);
    let signature = sign_payload(&authorities.key("leaf"), PAYLOAD);
    let (certificate, chain) = (authorities.pem("leaf"), loops.concat() + &authorities.pem("root"));
    let attachment =
        Attachment { certificate: Some(&certificate), chain: Some(&chain), ..self::attachment(&signature) };
    let pki = Pki { roots: vec![root], intermediates: vec![], email: Some(EMAIL.to_owned()), hostname: None };
    assert!(matches!(attachment.verify_with_pki(&pki, at(TIME)), Err(Error::Certificate(_))));
    let many = Attachment { chain: Some(&chain.repeat(2)), ..attachment };
    assert!(matches!(many.verify_with_pki(&pki, at(TIME)), Err(Error::TooLarge { limit: "CERTIFICATES_LIMIT", .. })));
}

#[test]
fn a_certificate_of_another_authority_verifies_now() {
    let extensions = "extendedKeyUsage=codeSigning\nsubjectAltName=email:signer@example.com,DNS:*.build.example.com";
    let mut signed = Signed::new(extensions);
    let pki = Pki {
        roots: signed.fulcio.authorities.clone(),
        intermediates: vec![],
        email: Some(EMAIL.to_owned()),
        hostname: Some("one.build.example.com".to_owned()),
    };
    let verify = |signed: &Signed, pki: &Pki, time: i64| signed.attachment().verify_with_pki(pki, at(time)).map(drop);
    assert_eq!(verify(&signed, &pki, TIME), Ok(()));
    assert!(matches!(verify(&signed, &pki, TIME + 301), Err(Error::Certificate(_))));
    let wrong = |email: Option<&str>, hostname: Option<&str>| {
        let pki = Pki { email: email.map(String::from), hostname: hostname.map(String::from), ..pki.clone() };
        matches!(verify(&signed, &pki, TIME), Err(Error::Identity(_)))
    };
    assert!(wrong(None, None));
    assert!(wrong(Some("other@example.com"), None));
    assert!(wrong(Some(EMAIL), Some("build.example.com")));
    assert!(wrong(None, Some("a.one.build.example.com")));
    assert!(!wrong(None, Some("ONE.build.example.com")));
    let between = intermediate(&signed);
    signed.chain.clear();
    assert!(verify(&signed, &pki, TIME).is_err());
    assert_eq!(verify(&signed, &Pki { intermediates: vec![between], ..pki.clone() }, TIME), Ok(()));
    let none = attachment(&signed.signature);
    assert!(matches!(none.verify_with_pki(&pki, at(TIME)), Err(Error::Material(_))));
}

fn intermediate(signed: &Signed) -> vmroot_sigstore::Certificate {
    vmroot_sigstore::Certificate::from_pem(signed.authorities.pem("between").as_bytes()).unwrap()
}
