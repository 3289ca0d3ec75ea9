//! Any bytes as the encrypted key of a layer: JWE, PKCS #7 and OpenPGP.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vmroot_encryption::DecryptionKeys;

static KEYS: LazyLock<DecryptionKeys> = LazyLock::new(|| {
    let mut keys = DecryptionKeys::new();
    let files: [&[u8]; 3] = [
        include_bytes!("../../crates/encryption/tests/keys/rsa.pkcs8.pem"),
        include_bytes!("../../crates/encryption/tests/keys/p256.pkcs8.pem"),
        include_bytes!("../../crates/encryption/tests/keys/bob.secret.asc"),
    ];
    for file in files {
        keys.add(file, None).expect("the keys are good");
    }
    keys
});

fuzz_target!(|data: &[u8]| vmroot_encryption::fuzz_wrapped(&KEYS, data));
