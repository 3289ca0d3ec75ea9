//! 1,000 changes of each input: none decrypts that should not, and none panics.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vmroot_encryption::{DecryptionKeys, Recipients};
use vmroot_testkit::mutation::Mutator;

use crate::{PASSWORD, encrypt, file, keys, recipients};

/// Changes the wrapped keys. What still decrypts gives the same key: not every byte is covered by a tag.
#[test]
fn wrapped_keys() {
    let keys = keys(&["rsa.pkcs8.pem", "p256.pkcs8.pem", "ann.secret.pgp"]);
    for recipient in ["jwe:rsa.pub.pem", "jwe:p256.pub.pem", "pkcs7:rsa.crt.pem", "pgp:ann@example.org"] {
        let plain = b"a layer";
        let (ciphertext, annotations) = encrypt(plain, &recipients(&[recipient]));
        let scheme = recipient.split(':').next().unwrap();
        let name = format!("org.opencontainers.image.enc.keys.{scheme}");
        let wrapped = STANDARD.decode(&annotations[&name]).unwrap();
        let mut mutator = Mutator::new(7);
        for _ in 0..1000 {
            let mut annotations = annotations.clone();
            annotations.insert(name.clone(), STANDARD.encode(mutator.mutate(&wrapped)));
            if let Ok(back) = crate::decrypt(&ciphertext, &annotations, &keys) {
                assert_eq!(back, plain, "{recipient}");
            }
        }
    }
}

#[test]
fn public_options() {
    let (ciphertext, annotations) = encrypt(b"a layer", &recipients(&["jwe:p256.pub.pem"]));
    let name = "org.opencontainers.image.enc.pubopts";
    let options = STANDARD.decode(&annotations[name]).unwrap();
    let (keys, mut mutator) = (keys(&["p256.pkcs8.pem"]), Mutator::new(11));
    for _ in 0..1000 {
        let mut annotations = annotations.clone();
        annotations.insert(name.into(), STANDARD.encode(mutator.mutate(&options)));
        if let Ok(back) = crate::decrypt(&ciphertext, &annotations, &keys) {
            assert_eq!(back, b"a layer");
        }
    }
}

#[test]
fn ciphertexts() {
    let (ciphertext, annotations) = encrypt(b"a layer of some bytes", &recipients(&["jwe:p256.pub.pem"]));
    let key = keys(&["p256.pkcs8.pem"]).layer_key(&annotations).unwrap();
    let mut mutator = Mutator::new(13);
    for _ in 0..1000 {
        let changed = mutator.mutate(&ciphertext);
        assert_eq!(key.verify(&changed[..]).is_ok(), changed == ciphertext);
    }
}

#[test]
fn key_files() {
    for name in [
        "rsa.pkcs8.der",
        "rsa.pkcs1.der",
        "rsa.private.jwk",
        "rsa.private-short.jwk",
        "rsa.legacy-aes256.pem",
        "p384.sec1.pem",
        "p256.private.jwk",
        "rsa.crt.der",
        "rsa.pub.pem",
        "ann.secret.pgp",
        "ann.asc",
    ] {
        let (bytes, mut mutator) = (file(name), Mutator::new(17));
        for _ in 0..1000 {
            let changed = mutator.mutate(&bytes);
            let _ = DecryptionKeys::new().add(&changed, Some(PASSWORD));
            let mut recipients = Recipients::new();
            let _ = recipients.add_jwe(&changed);
            let _ = recipients.add_pkcs7(&changed);
            let _ = recipients.add_pgp(&changed, None);
        }
    }
}
