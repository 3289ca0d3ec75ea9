//! Any bytes as keys and certificates.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = vmroot_sigstore::PublicKey::from_pem(data);
    let _ = vmroot_sigstore::PublicKey::from_der(data);
    let _ = vmroot_sigstore::PrivateKey::from_pkcs8(data);
    let _ = vmroot_sigstore::Certificate::from_der(data);
    let _ = vmroot_sigstore::Certificate::all_from_pem(data);
    // Without a passphrase: the derivation of a key takes too long.
    let _ = vmroot_sigstore::PrivateKey::read(data, None);
});
