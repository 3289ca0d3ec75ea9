//! What the crate signs, gpg verifies. The secret keys are gpg's.

use vmroot_openpgp::{Error, GnupgHome, Keyring, SigningKey};

use crate::gnupg::{Gnupg, verdict};
use crate::messages::{at, now};

const CONTENT: &[u8] = b"{\"critical\": {}}";
const ALGORITHMS: [&str; 6] = ["ed25519", "rsa2048", "nistp256", "nistp384", "nistp521", "dsa2048"];
const PASSPHRASE: [&str; 2] = ["--passphrase", "a pass phrase (\")"];

fn check(key: &SigningKey, ring: &[u8], fingerprint: &str) {
    let time = now();
    let message = key.sign(CONTENT, at(time)).unwrap();
    assert_eq!(verdict(ring, &message, time), Some((CONTENT.to_vec(), fingerprint.to_owned())), "gpg");
    let verified = Keyring::read(ring).unwrap().verify(&message, at(time)).unwrap();
    assert_eq!((verified.content.as_slice(), verified.fingerprint.as_str()), (CONTENT, fingerprint));
}

#[test]
fn keys_of_files_sign() {
    let gnupg = Gnupg::new();
    for algorithm in ALGORITHMS {
        for options in [&[][..], &PASSPHRASE] {
            let user = format!("{algorithm}-{}@example.com", options.len());
            let fingerprint = gnupg.generate(&user, algorithm, options);
            let ring = gnupg.export(&user);
            for armor in [&[][..], &["--armor"]] {
                let file = gnupg.run(&[armor, options, &["--export-secret-keys", &user]].concat(), b"");
                let passphrase = options.get(1).map(|text| text.as_bytes());
                let key = SigningKey::from_secret_file(&file, None, passphrase, at(now()))
                    .unwrap_or_else(|error| panic!("{user}: {error}"));
                check(&key, &ring, &fingerprint);
                if passphrase.is_some() {
                    let wrong = |passphrase| SigningKey::from_secret_file(&file, None, passphrase, at(now())).err();
                    assert_eq!(wrong(None), Some(Error::Passphrase("missing")));
                    assert_eq!(wrong(Some(b"x")), Some(Error::Passphrase("wrong")));
                }
            }
        }
    }
}

#[test]
fn keys_of_a_home_sign() {
    let gnupg = Gnupg::new();
    let mut users = Vec::new();
    for algorithm in ALGORITHMS {
        for options in [&[][..], &PASSPHRASE] {
            let user = format!("{algorithm}-{}@example.com", options.len());
            users.push((user.clone(), gnupg.generate(&user, algorithm, options), options));
        }
    }
    let home = GnupgHome::read(gnupg.home()).unwrap();
    for (user, fingerprint, options) in users {
        let passphrase = options.get(1).map(|text| text.as_bytes());
        for name in [user.as_str(), &user.to_uppercase(), &fingerprint, &fingerprint[24..]] {
            let key = SigningKey::from_gnupg(&home, name, passphrase, at(now()))
                .unwrap_or_else(|error| panic!("{user} {name}: {error}"));
            check(&key, &gnupg.export(&user), &fingerprint);
        }
        if passphrase.is_some() {
            let wrong = |passphrase| SigningKey::from_gnupg(&home, &user, passphrase, at(now())).err();
            assert_eq!(wrong(None), Some(Error::Passphrase("missing")));
            assert_eq!(wrong(Some(b"x")), Some(Error::Passphrase("wrong")));
        }
    }
    let error = |user: &str| SigningKey::from_gnupg(&home, user, None, at(now())).unwrap_err().to_string();
    assert!(error("nobody").contains("no key belongs to"));
    assert!(error("example.com").contains("12 keys belong to"));
}

#[test]
fn a_signing_subkey_is_preferred_and_a_revoked_key_does_not_sign() {
    let gnupg = Gnupg::new();
    let user = gnupg.generate("a@example.com", "rsa2048", &[]);
    gnupg.run(&["--quick-add-key", &user, "ed25519", "sign", "never"], b"");
    gnupg.run(&["--quick-add-key", &user, "cv25519", "encr", "never"], b"");
    let home = GnupgHome::read(gnupg.home()).unwrap();
    let time = now() + 1;
    let key = SigningKey::from_gnupg(&home, &user, None, at(time)).unwrap();
    assert_eq!(key.fingerprint(), user);
    let message = key.sign(CONTENT, at(time)).unwrap();
    // A signature of the RSA key is longer.
    assert!(message.len() < 256, "{}", message.len());
    assert!(verdict(&gnupg.export(&user), &message, time).is_some());
    gnupg.revoke(&user);
    let home = GnupgHome::read(gnupg.home()).unwrap();
    let error = SigningKey::from_gnupg(&home, &user, None, at(time)).unwrap_err().to_string();
    assert!(error.contains("is revoked"), "{error}");
}

#[test]
fn an_old_ring_and_other_files_are_read() {
    let gnupg = Gnupg::new();
    let user = gnupg.generate("a@example.com", "ed25519", &[]);
    let ring = gnupg.export(&user);
    let directory = gnupg.home().join("private-keys-v1.d");
    let files: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    let mut with_others = vec![b"".to_vec(), b"Key: (".to_vec(), b"(20:shadowed-private-key)".to_vec()];
    with_others.extend(files);
    check(
        &SigningKey::from_gnupg(&GnupgHome::from_parts(&ring, &with_others), &user, None, at(now())).unwrap(),
        &ring,
        &user,
    );
    let without = GnupgHome::from_parts(&ring, &[]);
    let error = SigningKey::from_gnupg(&without, &user, None, at(now())).unwrap_err().to_string();
    assert!(error.contains("secret key is not there"), "{error}");
    assert!(GnupgHome::read(&gnupg.home().join("nonexistent")).is_err());
}
