//! Hostile annotations and keys that exceed limits.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vmroot_encryption::{ANNOTATION_LIMIT, DecryptionKeys, Error, Recipients, WRAPPED_KEYS};

use crate::{Annotations, encrypt, file, keys, recipients};

const JWE: &str = "org.opencontainers.image.enc.keys.jwe";

fn limit(annotations: &Annotations) -> &'static str {
    match keys(&["rsa.pkcs8.pem", "p256.pkcs8.pem", "ann.secret.pgp"]).layer_key(annotations) {
        Err(Error::Limit { name, .. }) => name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn annotations_are_limited() {
    let (_, good) = encrypt(b"layer", &recipients(&["jwe:other.pub.pem"]));
    let with = |value: String| {
        let mut annotations = good.clone();
        annotations.insert(JWE.into(), value);
        annotations
    };
    assert_eq!(limit(&with("A".repeat(ANNOTATION_LIMIT + 1))), "ANNOTATION_LIMIT");
    assert_eq!(limit(&with("AAAA,".repeat(WRAPPED_KEYS + 1))), "WRAPPED_KEYS");
    let recipient = r#"{"header":{"alg":"RSA-OAEP"},"encrypted_key":"AA"}"#;
    let many = |count: usize| {
        let list = vec![recipient; count].join(",");
        let json = format!(r#"{{"protected":"e30","recipients":[{list}],"iv":"","ciphertext":"","tag":""}}"#);
        STANDARD.encode(json)
    };
    assert_eq!(limit(&with(many(257))), "WRAPPED_RECIPIENTS");
    assert_eq!(limit(&with(vec![many(200); 5].join(","))), "KEY_ATTEMPTS");
}

/// An RSA key of 2^17 bits, whose use would take minutes.
#[test]
fn large_rsa_keys_are_errors() {
    let modulus = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(vec![0xff; 1 << 14]);
    let public = format!(r#"{{"kty":"RSA","e":"AQAB","n":"{modulus}"}}"#);
    assert!(matches!(Recipients::new().add_jwe(public.as_bytes()), Err(Error::Limit { name: "RSA_BITS", .. })));
    let private = format!(r#"{{"kty":"RSA","e":"AQAB","n":"{modulus}","d":"{modulus}"}}"#);
    assert!(matches!(DecryptionKeys::new().add(private.as_bytes(), None), Err(Error::Limit { name: "RSA_BITS", .. })));
}

/// A private key with 2^31 rounds of PBKDF2.
#[test]
fn expensive_passwords_are_errors() {
    let pem = String::from_utf8(file("rsa.pbkdf2.pem")).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(base64).unwrap();
    // The rounds are the integer 0x0800, which is 2048.
    let at = der.windows(4).position(|bytes| bytes == [2, 2, 8, 0]).unwrap();
    let mut changed = der.clone();
    changed[at..at + 4].copy_from_slice(&[2, 2, 0x7f, 0xff]);
    assert!(matches!(DecryptionKeys::new().add(&changed, Some(b"secret")), Err(Error::PasswordWrong)));
    // A larger integer needs longer sequences around it, so it takes the place of the salt's last two bytes.
    assert_eq!(changed[at - 10..at - 8], [4, 8]);
    changed[at - 9] -= 2;
    changed[at - 2..at + 4].copy_from_slice(&[2, 4, 0x7f, 0xff, 0xff, 0xff]);
    let error = DecryptionKeys::new().add(&changed, Some(b"secret")).unwrap_err();
    assert!(matches!(error, Error::Limit { name: "KEY_DERIVATION_ROUNDS", .. }), "{error}");
}
