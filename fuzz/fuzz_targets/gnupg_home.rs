//! Any bytes as the keybox of a GnuPG home, as a file of a secret key, and as an exported secret key.

#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use vmroot_openpgp::{GnupgHome, SigningKey};

fuzz_target!(|data: &[u8]| {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let home = GnupgHome::from_parts(data, &[data.to_vec()]);
    let _ = SigningKey::from_gnupg(&home, "a", Some(b"a"), now);
    let _ = SigningKey::from_secret_file(data, None, Some(b"a"), now);
});
