//! Any bytes as a trusted root of sigstore.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = vmroot_sigstore::TrustedRoot::parse(data);
});
