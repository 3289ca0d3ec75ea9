//! Any bytes as files with private keys, public keys, certificates and keyrings.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| vmroot_encryption::fuzz_keys(data));
