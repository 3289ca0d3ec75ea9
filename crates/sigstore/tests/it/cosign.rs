//! Keys and signatures in both directions with cosign 2.5 and skopeo 1.18.

use std::collections::BTreeMap;

use serde_json::json;
use sha2_of_keys::{Digest as _, Sha256};
use vmroot_sigstore::{
    Attachment, Bundle, BundleTrust, PrivateKey, PublicKey, attestation_statement, sign_payload, signature_statement,
};
use vmroot_testkit::newer::Newer;

use crate::authority::{TIME, at};

const BLOB: &[u8] = b"{\"schemaVersion\": 2}\n";
/// Without a trusted root, cosign asks the network for one, even if no log is wanted.
const EMPTY_ROOT: &str = r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;

/// Runs a program with arguments separated by spaces, and returns whether it succeeds, and its output.
fn run(newer: &Newer, program: &str, arguments: &str) -> (bool, String) {
    let mut command = newer.command("env");
    command.args(["COSIGN_PASSWORD=secret", program]).args(arguments.split_whitespace());
    let output = command.output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn succeed(newer: &Newer, program: &str, arguments: &str) {
    let (is_success, output) = run(newer, program, arguments);
    assert!(is_success, "{program} {arguments}: {output}");
}

fn prepared() -> Option<Newer> {
    let newer = Newer::find()?;
    newer.write("blob", BLOB);
    newer.write("root.json", EMPTY_ROOT);
    newer.write("passphrase", "secret");
    Some(newer)
}

fn digest() -> String {
    Sha256::digest(BLOB).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn keys_and_signatures_of_cosign_and_skopeo_are_read() {
    let Some(newer) = prepared() else { return };
    succeed(&newer, "cosign", "generate-key-pair");
    succeed(&newer, "skopeo", "generate-sigstore-key --output-prefix skopeo --passphrase-file passphrase");
    for (private, public) in [("cosign.key", "cosign.pub"), ("skopeo.private", "skopeo.pub")] {
        let key = PrivateKey::read(&newer.read(private), Some(b"secret")).unwrap();
        assert_eq!(key.public(), &PublicKey::from_pem(&newer.read(public)).unwrap());
        assert!(PrivateKey::read(&newer.read(private), Some(b"other")).is_err());
        assert_eq!(key.public().to_pem().as_bytes(), newer.read(public));

        let sign = format!("--yes --tlog-upload=false --key {private}");
        succeed(&newer, "cosign", &format!("sign-blob {sign} --new-bundle-format --bundle message.json blob"));
        newer.write("predicate.json", "{}");
        let attest = format!("attest-blob {sign} --new-bundle-format --predicate predicate.json --type custom");
        succeed(&newer, "cosign", &format!("{attest} --bundle dsse.json blob"));
        succeed(&newer, "cosign", &format!("sign-blob {sign} --output-signature signature blob"));

        let keys = [key.public().clone()];
        let trust = BundleTrust::Keys { keys: &keys, log: None };
        let bundle = Bundle::parse(&newer.read("message.json")).unwrap();
        bundle.verify_message(&trust, BLOB, at(TIME)).unwrap();
        assert!(bundle.verify_message(&trust, b"another", at(TIME)).is_err());
        let verified = Bundle::parse(&newer.read("dsse.json")).unwrap().verify(&trust, at(TIME)).unwrap();
        assert!(verified.statement.is_about_sha256(&digest()));
        assert!(verified.statement.expect_signature().is_err(), "an attestation is no signature");
        let signature = String::from_utf8(newer.read("signature")).unwrap();
        let attachment =
            Attachment { payload: BLOB, signature: signature.trim(), bundle: None, certificate: None, chain: None };
        attachment.verify_with_keys(&keys, &[]).unwrap();
    }
}

#[test]
fn cosign_reads_keys_and_verifies_signatures_that_were_made_here() {
    let Some(newer) = prepared() else { return };
    let key = PrivateKey::generate();
    newer.write("our.key", key.to_encrypted_pem(b"secret"));
    newer.write("our.pub", key.public().to_pem());
    succeed(&newer, "cosign", "sign-blob --yes --tlog-upload=false --key our.key --output-signature theirs blob");
    newer.write("signature", sign_payload(&key, BLOB));
    for signature in ["theirs", "signature"] {
        let verify = format!("verify-blob --key our.pub --insecure-ignore-tlog --signature {signature}");
        succeed(&newer, "cosign", &format!("{verify} blob"));
        assert!(!run(&newer, "cosign", &format!("{verify} root.json")).0);
    }

    let attestation = attestation_statement("blob", &digest(), "https://example.com/p/v1", &json!({"a": 1}));
    let signature = signature_statement(&digest(), &BTreeMap::new());
    for (statement, kind) in
        [(attestation, "https://example.com/p/v1"), (signature, "https://sigstore.dev/cosign/sign/v1")]
    {
        newer.write("bundle.json", Bundle::sign(&key, &statement).unwrap());
        let verify = "verify-blob-attestation --key our.pub --insecure-ignore-tlog --new-bundle-format";
        let verify = format!("{verify} --trusted-root root.json --bundle bundle.json --type {kind}");
        succeed(&newer, "cosign", &format!("{verify} blob"));
        assert!(!run(&newer, "cosign", &format!("{verify} root.json")).0, "another blob");
    }
}
