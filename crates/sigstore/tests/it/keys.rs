//! Keys of each algorithm, made by OpenSSL; signatures in both directions.

use vmroot_sigstore::{Error, KeyKind, PrivateKey, PublicKey};

use crate::openssl::OpenSsl;

const MESSAGE: &[u8] = b"{\"critical\":{}}";

/// The algorithms: kind, arguments of `openssl genpkey`, and the digest of bundles.
const KINDS: [(KeyKind, &str, &str); 5] = [
    (KeyKind::P256, "EC -pkeyopt ec_paramgen_curve:P-256", "sha256"),
    (KeyKind::P384, "EC -pkeyopt ec_paramgen_curve:P-384", "sha384"),
    (KeyKind::P521, "EC -pkeyopt ec_paramgen_curve:P-521", "sha512"),
    (KeyKind::Rsa, "RSA -pkeyopt rsa_keygen_bits:2048", "sha256"),
    (KeyKind::Ed25519, "ED25519", ""),
];

#[test]
fn signatures_of_each_key_verify_in_both_directions() {
    for (kind, arguments, bundle_digest) in KINDS {
        let openssl = OpenSsl::new();
        openssl.run(&format!("genpkey -algorithm {arguments} -out key.pem"));
        openssl.run("pkey -in key.pem -pubout -out public.pem");
        openssl.write("message", MESSAGE);
        let public = PublicKey::from_pem(&openssl.read("public.pem")).unwrap();
        let private = PrivateKey::read(&openssl.read("key.pem"), None).unwrap();
        assert_eq!((public.kind(), private.public()), (kind, &public));
        assert_eq!(public.to_pem().as_bytes(), openssl.read("public.pem"));
        openssl.run("pkey -pubin -in public.pem -outform DER -out public.der");
        let hint = openssl.run("dgst -sha256 -binary public.der");
        openssl.write("hint", hint);
        assert_eq!(public.hint(), String::from_utf8(openssl.run("base64 -A -in hint")).unwrap());

        for (digest, ours) in [("sha256", private.sign(MESSAGE)), (bundle_digest, private.sign_bundle(MESSAGE))] {
            let digest = if bundle_digest.is_empty() { "" } else { digest };
            let option = if digest.is_empty() { String::new() } else { format!("-digest {digest}") };
            openssl.run(&format!("pkeyutl -sign -rawin {option} -inkey key.pem -in message -out theirs"));
            openssl.write("ours", &ours);
            let verify = format!("pkeyutl -verify -rawin {option} -pubin -inkey public.pem -in message -sigfile ours");
            assert!(openssl.succeeds(&verify), "{kind:?} {digest}");
            let theirs = openssl.read("theirs");
            assert_eq!(public.verify(MESSAGE, &theirs), digest.is_empty() || digest == "sha256", "{kind:?} {digest}");
            assert!(public.verify_bundle(MESSAGE, &theirs), "{kind:?} {digest}");
            assert!(!public.verify_bundle(b"another", &theirs), "{kind:?} {digest}");
            assert!(!public.verify(b"another", &ours));
        }
    }
}

#[test]
fn ed25519ph_verifies_in_bundles_only() {
    // RFC 8032, section 7.3.
    let key = "302a300506032b6570032100ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf";
    let signature = "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5\
                     aaa10b8c61e636062aaad11c2a26083406";
    let key = PublicKey::from_der(&from_hex(key)).unwrap();
    let signature = from_hex(signature);
    assert!(key.verify_bundle(b"abc", &signature));
    assert!(!key.verify(b"abc", &signature));
    assert!(!key.verify_bundle(b"abd", &signature));
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().map(|digit| char::from(digit).to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn weak_and_foreign_keys_are_refused() {
    let openssl = OpenSsl::new();
    let reason = |arguments: &str| {
        openssl.run(&format!("genpkey -algorithm {arguments} -out key.pem"));
        openssl.run("pkey -in key.pem -pubout -out public.pem");
        let public = PublicKey::from_pem(&openssl.read("public.pem")).unwrap_err();
        assert!(matches!(PrivateKey::read(&openssl.read("key.pem"), None), Err(Error::Key(_))), "{arguments}");
        public.to_string()
    };
    assert!(reason("RSA -pkeyopt rsa_keygen_bits:1024").contains("1024"));
    assert!(reason("EC -pkeyopt ec_paramgen_curve:secp256k1").contains("curve"));
    assert!(reason("X25519").contains("algorithm"));
    openssl.run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem");
    openssl.run("rsa -in rsa.pem -RSAPublicKey_out -out pkcs1.pem");
    assert_eq!(PublicKey::from_pem(&openssl.read("pkcs1.pem")).unwrap().kind(), KeyKind::Rsa);
    assert!(PublicKey::from_pem(&openssl.read("rsa.pem")).unwrap_err().to_string().contains("private"));
}

#[test]
fn an_encrypted_key_needs_its_passphrase() {
    let key = PrivateKey::generate();
    let pem = key.to_encrypted_pem(b"secret");
    assert!(pem.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"));
    let read = PrivateKey::read(pem.as_bytes(), Some(b"secret")).unwrap();
    assert!(key.public().verify(MESSAGE, &read.sign(MESSAGE)));
    let older = pem.replace("SIGSTORE", "COSIGN");
    assert!(PrivateKey::read(older.as_bytes(), Some(b"secret")).is_ok());
    assert_eq!(PrivateKey::read(pem.as_bytes(), Some(b"other")).unwrap_err(), Error::PassphraseWrong);
    assert_eq!(PrivateKey::read(pem.as_bytes(), None).unwrap_err(), Error::PassphraseMissing);
    let empty = key.to_encrypted_pem(b"");
    assert!(PrivateKey::read(empty.as_bytes(), Some(b"")).is_ok());
    assert!(!format!("{key:?}").contains("pkcs8"));
}

#[test]
fn costs_beyond_those_of_cosign_are_refused_before_any_memory_is_taken() {
    let params = [("1073741824", "8", "1"), ("65537", "8", "1"), ("65536", "1048576", "1"), ("65536", "8", "9999")];
    for (n, r, p) in params {
        let json = format!(
            r#"{{"kdf":{{"name":"scrypt","params":{{"N":{n},"r":{r},"p":{p}}},"salt":"{}="}},
            "cipher":{{"name":"nacl/secretbox","nonce":"{}"}},"ciphertext":"AAAA"}}"#,
            "A".repeat(43),
            "A".repeat(32)
        );
        let openssl = OpenSsl::new();
        openssl.write("json", json);
        let body = String::from_utf8(openssl.run("base64 -in json")).unwrap();
        let pem = format!(
            "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n{body}-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
        );
        let error = PrivateKey::read(pem.as_bytes(), Some(b"")).unwrap_err();
        assert_eq!(error, Error::Key("its scrypt parameters are not those of cosign".to_owned()));
    }
}
