//! Encrypting and decrypting of whole layers.

use std::io::Read as _;

use vmroot_encryption::{ANNOTATION_PREFIX, DecryptionKeys, Encrypting, Error, Recipients, without_encryption};

use crate::{Annotations, decrypt, encrypt, keys, recipients};

const PUBLIC_OPTIONS: &str = "org.opencontainers.image.enc.pubopts";

/// Recipients, and the files that decrypt for each.
const FORMS: [(&str, &[&str]); 8] = [
    ("jwe:rsa.pub.pem", &["rsa.pkcs8.pem"]),
    ("jwe:rsa.oaep256.jwk", &["rsa.pkcs8.pem"]),
    ("jwe:p256.pub.pem", &["p256.pkcs8.pem"]),
    ("jwe:p256.a128kw.jwk", &["p256.pkcs8.pem"]),
    ("pkcs7:rsa.crt.pem", &["rsa.pkcs8.pem", "rsa.crt.pem"]),
    ("pkcs7:rsa.crt.der", &["rsa.pkcs8.pem"]),
    ("pgp:ann@example.org", &["ann.secret.pgp"]),
    ("pgp:bob@example.org", &["bob.secret.asc"]),
];

#[test]
fn layers_come_back_from_each_form() {
    for plain in [&b""[..], b"a layer", &[7; 100_000]] {
        for (recipient, files) in FORMS {
            let (ciphertext, annotations) = encrypt(plain, &recipients(&[recipient]));
            assert_eq!(ciphertext.len(), plain.len());
            assert!(plain.is_empty() || ciphertext != plain);
            assert_eq!(decrypt(&ciphertext, &annotations, &keys(files)).unwrap(), plain, "{recipient}");
        }
    }
}

#[test]
fn each_of_several_recipients_can_decrypt() {
    let all: Vec<&str> = FORMS.iter().map(|(recipient, _)| *recipient).chain(["jwe:other.pub.pem"]).collect();
    let (ciphertext, annotations) = encrypt(b"layer", &recipients(&all));
    assert_eq!(annotations.len(), 4);
    assert!(annotations.keys().all(|key| key.starts_with(ANNOTATION_PREFIX)));
    for (_, files) in FORMS.iter().copied().chain([("", &["other.pkcs8.pem"][..])]) {
        assert_eq!(decrypt(&ciphertext, &annotations, &keys(files)).unwrap(), b"layer", "{files:?}");
    }
}

#[test]
fn a_wrong_key_is_no_damage_and_damage_is_no_wrong_key() {
    for (recipient, files) in FORMS {
        let (mut ciphertext, annotations) = encrypt(b"layer", &recipients(&[recipient]));
        let others = keys(&["other.pkcs8.pem", "other.crt.pem", "p384.pkcs8.pem", "locked.secret.asc"]);
        assert!(matches!(others.layer_key(&annotations), Err(Error::NotDecryptable { .. })), "{recipient}");
        let error = DecryptionKeys::new().layer_key(&annotations).unwrap_err();
        assert!(matches!(error, Error::NoKey { .. }), "{recipient}: {error}");
        ciphertext[4] ^= 0x80;
        let error = decrypt(&ciphertext, &annotations, &keys(files)).unwrap_err();
        assert!(matches!(error, Error::WrongHmac), "{recipient}: {error}");
    }
}

/// The error does not say whether the padding of RSA or the content was wrong.
#[test]
fn errors_of_pkcs7_do_not_answer_questions_about_the_padding() {
    let (_, annotations) = encrypt(b"layer", &recipients(&["pkcs7:rsa.crt.pem"]));
    let of_another = keys(&["other.pkcs8.pem"]).layer_key(&annotations).unwrap_err().to_string();
    let (name, text) = annotations.iter().find(|(name, _)| name.ends_with("pkcs7")).unwrap();
    let der = base64(text);
    let mut answers = std::collections::BTreeSet::new();
    // The wrapped key is near byte 150, the ciphertext at the end.
    for number in [150, 200, 300, der.len() - 1, der.len() - 40] {
        let mut changed = der.clone();
        changed[number] ^= 1;
        let mut annotations = annotations.clone();
        annotations.insert(name.clone(), to_base64(&changed));
        answers.insert(keys(&["rsa.pkcs8.pem"]).layer_key(&annotations).unwrap_err().to_string());
    }
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), [of_another]);
}

#[test]
fn incomplete_annotations_are_errors() {
    let (_, good) = encrypt(b"layer", &recipients(&["jwe:rsa.pub.pem"]));
    let key = keys(&["rsa.pkcs8.pem"]);
    let message = |annotations: &Annotations| key.layer_key(annotations).unwrap_err().to_string();
    let mut missing = good.clone();
    missing.remove(PUBLIC_OPTIONS);
    assert!(message(&missing).contains("pubopts is missing"));
    let changed =
        |text: &str| Annotations::from_iter(good.clone().into_iter().chain([(PUBLIC_OPTIONS.into(), text.into())]));
    assert!(message(&changed("")).contains("pubopts is missing"));
    let empty_hmac = to_base64(br#"{"cipher":"AES_256_CTR_HMAC_SHA256","hmac":"","cipheroptions":{}}"#);
    assert!(message(&changed(&empty_hmac)).contains("HMAC has 0 bytes"));
    let unknown = to_base64(br#"{"cipher":"AES_256_XTS","hmac":"","cipheroptions":{}}"#);
    assert!(matches!(key.layer_key(&changed(&unknown)), Err(Error::UnknownCipher { .. })));
    let mut without_keys = good.clone();
    without_keys.retain(|name, _| name == PUBLIC_OPTIONS);
    assert!(message(&without_keys).contains("no encrypted key"));
    without_keys.insert("org.opencontainers.image.enc.keys.provider.tpm".into(), "AAAA".into());
    assert!(
        matches!(key.layer_key(&without_keys), Err(Error::UnsupportedScheme { schemes }) if schemes == "provider.tpm")
    );
    let mut not_base64 = good.clone();
    not_base64.insert("org.opencontainers.image.enc.keys.jwe".into(), "?".into());
    assert!(message(&not_base64).contains("not base64"));
}

#[test]
fn one_of_several_wrapped_keys_is_enough() {
    let recipients = recipients(&["jwe:rsa.pub.pem"]);
    let (ciphertext, mut annotations) = encrypt(b"layer", &recipients);
    let value = annotations.get_mut("org.opencontainers.image.enc.keys.jwe").unwrap();
    *value = format!("{},{},{value}", to_base64(b"{}"), to_base64(b"no JSON"));
    assert_eq!(decrypt(&ciphertext, &annotations, &keys(&["rsa.pkcs8.pem"])).unwrap(), b"layer");
}

#[test]
fn a_layer_is_encrypted_to_its_end_for_somebody() {
    let mut encrypting = Encrypting::new(&b"layer"[..]);
    encrypting.read_exact(&mut [0; 5]).unwrap();
    assert!(matches!(encrypting.finish(&recipients(&["jwe:rsa.pub.pem"])), Err(Error::Incomplete)));
    let mut encrypting = Encrypting::new(&b"layer"[..]);
    encrypting.read_to_end(&mut Vec::new()).unwrap();
    assert!(matches!(encrypting.finish(&Recipients::new()), Err(Error::NoRecipients)));
}

#[test]
fn annotations_about_encryption_are_removed() {
    let (_, mut annotations) = encrypt(b"layer", &recipients(&["jwe:rsa.pub.pem"]));
    annotations.insert("other".into(), "kept".into());
    assert_eq!(without_encryption(&annotations), Annotations::from([("other".into(), "kept".into())]));
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn to_base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
