//! Any bytes as a keyring, and those after a separator as a message that it verifies.

#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use vmroot_openpgp::Keyring;

/// The bytes between the keyring and the message of an input.
const SEPARATOR: &[u8] = b"\0MESSAGE\0";

fuzz_target!(|data: &[u8]| {
    let split = data.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
    let (ring, message) = match split {
        Some(position) => (&data[..position], &data[position + SEPARATOR.len()..]),
        None => (data, &b""[..]),
    };
    let Ok(keyring) = Keyring::read(ring) else { return };
    assert!(!keyring.fingerprints().is_empty());
    let _ = keyring.verify(message, SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
});
