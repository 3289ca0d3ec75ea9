//! Any texts as the annotations of a sigstore attachment, separated by NUL.

#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use vmroot_sigstore::{Attachment, Certificate, Fulcio, Pki, PublicKey};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.split('\0');
    let mut part = || parts.next();
    let (signature, bundle, certificate, chain) = (part().unwrap_or_default(), part(), part(), part());
    let attachment = Attachment { payload: b"{}", signature, bundle, certificate, chain };
    let key = PublicKey::from_pem(include_bytes!("../../crates/sigstore/tests/samples/key.pub")).expect("a key");
    let (keys, roots) = ([key], Certificate::all_from_pem(chain.unwrap_or_default().as_bytes()).unwrap_or_default());
    let _ = attachment.verify_with_keys(&keys, &keys);
    let fulcio = Fulcio { authorities: roots.clone(), oidc_issuer: String::new(), email: String::new() };
    let _ = attachment.verify_with_fulcio(&fulcio, &keys);
    let pki = Pki { roots, intermediates: Vec::new(), email: None, hostname: Some("a.b".to_owned()) };
    let _ = attachment.verify_with_pki(&pki, SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000));
});
