//! Any bytes as a sigstore bundle, verified against the root of real ones.

#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use vmroot_sigstore::{Bundle, BundleTrust, CertificateIdentity, Matcher, PublicKey, TrustedRoot};

fuzz_target!(|data: &[u8]| {
    let Ok(bundle) = Bundle::parse(data) else { return };
    let root = TrustedRoot::parse(include_bytes!("../../crates/sigstore/tests/samples/rekor2-root.json"));
    let root = root.expect("the sample is a root");
    let any = || Matcher::pattern(".*").expect("the pattern is valid");
    let identity = CertificateIdentity { subject: any(), issuer: any() };
    let keys = [PublicKey::from_pem(include_bytes!("../../crates/sigstore/tests/samples/key.pub")).expect("a key")];
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    let certificates = BundleTrust::Certificates { root: &root, identity: &identity };
    for trust in [certificates, BundleTrust::Keys { keys: &keys, log: Some(&root) }] {
        let _ = bundle.verify(&trust, now);
        let _ = bundle.verify_message(&trust, b"a message", now);
    }
});
