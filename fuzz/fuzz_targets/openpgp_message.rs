//! Any bytes as an OpenPGP message.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(content) = vmroot_openpgp::unverified_content(data) {
        assert!(content.len() <= vmroot_openpgp::MESSAGE_LIMIT);
    }
});
