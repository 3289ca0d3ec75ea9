//! Files with keys.

use vmroot_encryption::{DecryptionKeys, Error, KeyKind, Recipients};

use crate::{decrypt, encrypt, file, keys, recipients};

#[test]
fn each_form_of_a_private_key_decrypts() {
    let (ciphertext, annotations) = encrypt(b"layer", &recipients(&["jwe:rsa.pub.pem"]));
    for name in [
        "rsa.pkcs8.pem",
        "rsa.pkcs8.der",
        "rsa.pkcs1.pem",
        "rsa.pkcs1.der",
        "rsa.private.jwk",
        "rsa.private-short.jwk",
        "rsa.legacy-aes128.pem",
        "rsa.legacy-aes192.pem",
        "rsa.legacy-aes256.pem",
        "rsa.legacy-des3.pem",
        "rsa.legacy-des.pem",
        "rsa.pbkdf2.pem",
        "rsa.pbkdf2-des3.pem",
        "rsa.scrypt.pem",
    ] {
        assert_eq!(decrypt(&ciphertext, &annotations, &keys(&[name])).unwrap(), b"layer", "{name}");
    }
}

#[test]
fn each_curve_has_keys() {
    for curve in ["p256", "p384", "p521"] {
        let (ciphertext, annotations) = encrypt(b"layer", &recipients(&[&format!("jwe:{curve}.pub.pem")]));
        for form in ["pkcs8", "sec1"] {
            let key = keys(&[&format!("{curve}.{form}.pem")]);
            assert_eq!(decrypt(&ciphertext, &annotations, &key).unwrap(), b"layer", "{curve} {form}");
        }
    }
    let (ciphertext, annotations) = encrypt(b"layer", &recipients(&["jwe:p256.a192kw.jwk"]));
    assert_eq!(decrypt(&ciphertext, &annotations, &keys(&["p256.private.jwk"])).unwrap(), b"layer");
}

#[test]
fn files_are_told_apart() {
    let mut keys = DecryptionKeys::new();
    assert!(keys.is_empty());
    for (name, kind) in [
        ("rsa.pkcs8.pem", KeyKind::Private),
        ("rsa.crt.pem", KeyKind::Certificate),
        ("rsa.crt.der", KeyKind::Certificate),
        ("ann.secret.pgp", KeyKind::OpenPgp),
        ("bob.secret.asc", KeyKind::OpenPgp),
    ] {
        assert_eq!(keys.add(&file(name), None).unwrap(), kind, "{name}");
    }
    assert!(!keys.is_empty());
    let text = format!("{keys:?}");
    assert_eq!(text, "DecryptionKeys { private: 1, certificates: 2, pgp: 2 }");
}

#[test]
fn passwords_are_missing_or_wrong() {
    for name in ["rsa.legacy-aes128.pem", "rsa.legacy-des.pem", "rsa.pbkdf2.pem", "rsa.scrypt.pem"] {
        let add = |password| DecryptionKeys::new().add(&file(name), password);
        assert!(matches!(add(None), Err(Error::PasswordMissing)), "{name}");
        assert!(matches!(add(Some(b"wrong")), Err(Error::PasswordWrong)), "{name}");
    }
    let (ciphertext, annotations) = encrypt(b"layer", &recipients(&["pgp:locked@example.org"]));
    for (password, fits) in [(Some(&b"secret"[..]), true), (Some(b"wrong"), false), (None, false)] {
        let mut keys = DecryptionKeys::new();
        keys.add(&file("locked.secret.asc"), password).unwrap();
        assert_eq!(decrypt(&ciphertext, &annotations, &keys).is_ok(), fits, "{password:?}");
    }
}

#[test]
fn files_without_keys_are_errors() {
    for (name, expected) in [
        ("rsa.pub.pem", "no private key"),
        ("rsa.jwk", "public key"),
        ("ed25519.pem", "algorithm is not supported"),
        ("p256.crt.pem", "no private key"),
        ("ann.asc", "no private key"),
    ] {
        let error = DecryptionKeys::new().add(&file(name), None).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
    for bytes in
        [&b""[..], b"text", b"{}", b"\x30\x00", b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----"]
    {
        assert!(DecryptionKeys::new().add(bytes, None).is_err(), "{bytes:?}");
    }
    let large = vec![b' '; vmroot_encryption::KEY_RING_LIMIT + 1];
    assert!(matches!(DecryptionKeys::new().add(&large, None), Err(Error::Limit { name: "KEY_FILE_LIMIT", .. })));
}

#[test]
fn recipients_that_are_no_keys_are_errors() {
    for (name, expected) in [
        ("rsa.pkcs8.pem", "PEM label is \"PRIVATE KEY\""),
        ("rsa.crt.pem", "it is a certificate"),
        ("rsa.private.jwk", "private key"),
        ("ed25519.pub.pem", "not supported"),
        ("ann.secret.pgp", "no public key"),
    ] {
        let error = Recipients::new().add_jwe(&file(name)).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
    let alg = |alg: &str| String::from_utf8(file("rsa.jwk")).unwrap().replace('{', &format!("{{\"alg\":\"{alg}\","));
    assert!(Recipients::new().add_jwe(alg("RSA1_5").as_bytes()).unwrap_err().to_string().contains("RSA1_5"));
    assert!(Recipients::new().add_jwe(alg("ECDH-ES+A128KW").as_bytes()).is_err());
    assert!(Recipients::new().add_pkcs7(&file("rsa.pub.pem")).is_err());
    assert!(Recipients::new().add_pkcs7(&file("p256.crt.pem")).unwrap_err().to_string().contains("no RSA key"));
}

#[test]
fn openpgp_recipients_are_found_by_name_address_and_fingerprint() {
    let ring = file("ring.pgp");
    for name in ["Ann Other", "ann@example.org", "bob@example.org", "Bob"] {
        Recipients::new().add_pgp(&ring, Some(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    Recipients::new().add_pgp(&file("ann.asc"), None).unwrap();
    for (name, expected) in [
        ("ann", "no key with this name"),
        ("", "no key with this name"),
        ("old@example.org", "expired or revoked"),
        ("revoked@example.org", "expired or revoked"),
        ("sign@example.org", "cannot encrypt"),
    ] {
        let error = Recipients::new().add_pgp(&ring, Some(name)).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}
