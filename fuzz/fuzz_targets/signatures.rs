//! Any bytes as a stored signature and as a payload: what is read is written as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vmroot_trust::{Payload, PayloadKind, Signature};

fuzz_target!(|data: &[u8]| {
    let signature = Signature::from_stored(data);
    assert_eq!(Signature::from_stored(&signature.to_stored()), signature);
    for kind in [PayloadKind::Simple, PayloadKind::Sigstore] {
        if let Ok(payload) = Payload::parse(data, kind) {
            assert_eq!(Payload::parse(&payload.to_bytes(kind), kind).expect("a written payload is one"), payload);
        }
    }
});
