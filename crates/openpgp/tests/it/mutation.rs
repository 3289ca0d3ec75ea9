//! Changed messages, keyrings and key files: none passes that should not, and none panics.

use vmroot_openpgp::{GnupgHome, Keyring, SigningKey};
use vmroot_testkit::mutation::Mutator;

use crate::gnupg::Gnupg;
use crate::messages::{at, now};

const CONTENT: &[u8] = b"{\"critical\": {\"image\": \"sha256\"}}";

#[test]
fn changed_messages_give_the_signed_content_or_an_error() {
    let gnupg = Gnupg::new();
    let user = gnupg.generate("a@example.com", "ed25519", &[]);
    let keyring = Keyring::read(&gnupg.export(&user)).unwrap();
    let time = at(now());
    let mut mutator = Mutator::new(1);
    let mut refused = 0;
    for options in [&["--compress-algo", "none"][..], &[]] {
        let good = gnupg.sign(&user, options, CONTENT);
        for round in 0..1000 {
            let changed = mutator.mutate(&good);
            match keyring.verify(&changed, time) {
                // The name and the date of the literal data, and hints, are not signed.
                Ok(verified) => {
                    assert_eq!((verified.content.as_slice(), &verified.fingerprint), (CONTENT, &user), "{round}")
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 1500, "{refused}");
}

#[test]
fn changed_keyrings_do_not_accept_a_stranger() {
    let gnupg = Gnupg::new();
    let user = gnupg.generate("a@example.com", "ed25519", &[]);
    gnupg.run(&["--quick-add-key", &user, "ed25519", "sign", "never"], b"");
    let stranger = Gnupg::new();
    let other = stranger.generate("a@example.com", "ed25519", &[]);
    let (ours, foreign) = (gnupg.sign(&user, &[], CONTENT), stranger.sign(&other, &[], CONTENT));
    let ring = gnupg.export(&user);
    let armored = gnupg.run(&["--armor", "--export", &user], b"");
    gnupg.revoke(&user);
    let revoked = gnupg.export(&user);
    let time = at(now() + 1);
    assert!(Keyring::read(&ring).unwrap().verify(&ours, time).is_ok());
    let mut mutator = Mutator::new(2);
    for good in [&ring, &armored, &revoked] {
        for round in 0..400 {
            let Ok(keyring) = Keyring::read(&mutator.mutate(good)) else { continue };
            assert!(keyring.verify(&foreign, time).is_err(), "{round}");
            if let Ok(verified) = keyring.verify(&ours, time) {
                assert_eq!(verified.fingerprint, user, "{round}");
            }
        }
    }
}

#[test]
fn changed_secret_keys_do_not_panic() {
    let gnupg = Gnupg::new();
    let user = gnupg.generate("a@example.com", "ed25519", &["--s2k-count", "1024"]);
    let ring = gnupg.export(&user);
    let file = gnupg.run(&["--export-secret-keys", &user], b"");
    let directory = gnupg.home().join("private-keys-v1.d");
    let private = std::fs::read(std::fs::read_dir(directory).unwrap().next().unwrap().unwrap().path()).unwrap();
    let keybox = std::fs::read(gnupg.home().join("pubring.kbx")).unwrap();
    let time = at(now() + 1);
    let mut mutator = Mutator::new(3);
    let check = |key: Result<SigningKey, _>| {
        if let Ok(key) = key
            && let Ok(message) = key.sign(CONTENT, time)
        {
            let _ = Keyring::read(&ring).unwrap().verify(&message, time);
        }
    };
    for _ in 0..300 {
        check(SigningKey::from_secret_file(&mutator.mutate(&file), None, None, time));
        let home = GnupgHome::from_parts(&keybox, &[mutator.mutate(&private)]);
        check(SigningKey::from_gnupg(&home, "a@example.com", None, time));
        let home = GnupgHome::from_parts(&mutator.mutate(&keybox), std::slice::from_ref(&private));
        check(SigningKey::from_gnupg(&home, "a@example.com", None, time));
    }
}
