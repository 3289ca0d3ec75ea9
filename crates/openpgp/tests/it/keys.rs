//! Which keys may sign.

use vmroot_openpgp::{Error, Keyring, Result, Verified};

use crate::gnupg::{Gnupg, verdict};
use crate::messages::{at, now};

const CONTENT: &[u8] = b"signed";

/// Verifies with the crate and with gpg, which must agree.
fn judge(ring: &[u8], message: &[u8], time: u64) -> Result<Verified> {
    let ours = Keyring::read(ring).and_then(|keyring| keyring.verify(message, at(time)));
    let gpg = verdict(ring, message, time);
    let ours_short = ours.as_ref().ok().map(|it| (it.content.clone(), it.fingerprint.clone()));
    assert_eq!(gpg, ours_short, "gpg differs: {ours:?}");
    ours
}

fn reason(result: Result<Verified>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_key_expires_and_can_be_extended() {
    let gnupg = Gnupg::new();
    let start = 1_700_000_000;
    let faked = format!("{start}!");
    let options = ["--faked-system-time", &faked];
    gnupg.run(
        &[&options[..], &["--quick-generate-key", "a@example.com", "ed25519", "sign", "seconds=1000"]].concat(),
        b"",
    );
    let user = gnupg.fingerprint("a@example.com");
    let message = gnupg.sign(&user, &options, CONTENT);
    let ring = gnupg.export(&user);
    judge(&ring, &message, start + 999).unwrap();
    assert!(reason(judge(&ring, &message, start + 1001)).contains("has expired"));
    let later = format!("{}!", start + 500);
    gnupg.run(&["--faked-system-time", &later, "--quick-set-expire", &user, "seconds=5000"], b"");
    let extended = gnupg.export(&user);
    judge(&extended, &message, start + 1001).unwrap();
    judge(&[&ring[..], &extended].concat(), &message, start + 1001).unwrap();
}

#[test]
fn a_revoked_key_is_refused_even_beside_an_older_copy() {
    let gnupg = Gnupg::new();
    let user = gnupg.generate("a@example.com", "ed25519", &[]);
    let message = gnupg.sign(&user, &[], CONTENT);
    let before = gnupg.export(&user);
    judge(&before, &message, now()).unwrap();
    gnupg.revoke(&user);
    let revoked = gnupg.export(&user);
    for ring in [revoked.clone(), [&before[..], &revoked].concat(), [&revoked[..], &before].concat()] {
        assert!(reason(judge(&ring, &message, now())).contains("is revoked"));
    }
}

#[test]
fn a_subkey_signs_for_its_primary_key() {
    let gnupg = Gnupg::new();
    let start = 1_700_000_000;
    let time = |after: u64| format!("{}!", start + after);
    let user = gnupg.generate("a@example.com", "rsa2048", &["--faked-system-time", &time(0)]);
    let add = |algorithm: &str, usage: &str, expire: &str| {
        gnupg.run(&["--faked-system-time", &time(10), "--quick-add-key", &user, algorithm, usage, expire], b"");
    };
    add("ed25519", "sign", "seconds=1000");
    let subkeys = || -> Vec<String> {
        let listing = String::from_utf8(gnupg.run(&["--with-colons", "--list-keys", &user], b"")).unwrap();
        let fingerprints = listing.lines().filter(|line| line.starts_with("fpr:"));
        fingerprints.map(|line| line.split(':').nth(9).unwrap().to_owned()).skip(1).collect()
    };
    let subkey = format!("{}!", subkeys()[0]);
    let message = gnupg.sign(&subkey, &["--faked-system-time", &time(20)], CONTENT);
    let ring = gnupg.export(&user);
    assert_eq!(judge(&ring, &message, start + 30).unwrap().fingerprint, user);
    assert!(reason(judge(&ring, &message, start + 2000)).contains("subkey has expired"));
    let revoke = "key 1\nrevkey\ny\n0\n\ny\nsave\n";
    let arguments =
        ["--faked-system-time", &time(50), "--command-fd", "0", "--no-batch", "--expert", "--edit-key", &user];
    gnupg.run(&arguments, revoke.as_bytes());
    let revoked = gnupg.export(&user);
    assert_ne!(ring, revoked);
    assert!(reason(judge(&revoked, &message, start + 60)).contains("subkey is revoked"));
    assert!(reason(judge(&[&revoked[..], &ring].concat(), &message, start + 60)).contains("subkey is revoked"));
}

#[test]
fn a_revoked_user_id_takes_its_key_out_of_use() {
    let gnupg = Gnupg::new();
    let user = gnupg.generate("a@example.com", "ed25519", &[]);
    let message = gnupg.sign(&user, &[], CONTENT);
    gnupg.run(&["--quick-add-uid", &user, "b@example.com"], b"");
    gnupg.run(&["--quick-revoke-uid", &user, "a@example.com"], b"");
    judge(&gnupg.export(&user), &message, now() + 1).unwrap();
}

#[test]
fn other_signers_and_changed_messages_are_refused() {
    let gnupg = Gnupg::new();
    let user = gnupg.generate("a@example.com", "ed25519", &[]);
    let other = gnupg.generate("b@example.com", "ed25519", &[]);
    let message = gnupg.sign(&user, &["--compress-algo", "none"], CONTENT);
    let error = judge(&gnupg.export(&other), &message, now()).unwrap_err();
    assert_eq!(error, Error::UnknownSigner { issuer: user.clone() });
    let position = message.windows(CONTENT.len()).position(|window| window == CONTENT).unwrap();
    let mut changed = message.clone();
    changed[position] ^= 1;
    assert_eq!(judge(&gnupg.export(&user), &changed, now()), Err(Error::BadSignature));
}

#[test]
fn one_bad_certificate_does_not_hide_others() {
    let gnupg = Gnupg::new();
    let user = gnupg.generate("a@example.com", "ed25519", &[]);
    let message = gnupg.sign(&user, &[], CONTENT);
    let ring = gnupg.export(&user);
    // A key of version 3, a key of an unknown algorithm, and a packet of an unknown kind.
    let bad: &[&[u8]] =
        &[&[0xc6, 12, 3, 0, 0, 0, 0, 0, 0, 1, 0, 8, 255, 0], &[0xc6, 8, 4, 0, 0, 0, 1, 99, 0, 0], &[0xfc, 1, 0]];
    for bad in bad {
        for ring in [[bad, &ring[..]].concat(), [&ring[..], bad].concat()] {
            let keyring = Keyring::read(&ring).unwrap();
            assert_eq!(keyring.verify(&message, at(now())).unwrap().fingerprint, user);
        }
    }
    let armored = gnupg.run(&["--armor", "--export", &user], b"");
    let broken = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!\n-----END PGP PUBLIC KEY BLOCK-----\n";
    let keyring = Keyring::read(&[&broken[..], &armored].concat()).unwrap();
    assert!(keyring.verify(&message, at(now())).is_ok());
    for empty in [&b""[..], b"hello", broken, &[0xfc, 1, 0]] {
        assert!(matches!(Keyring::read(empty), Err(Error::Keyring(_))));
    }
}

#[test]
fn keys_without_the_flag_and_short_keys_may_not_sign() {
    let gnupg = Gnupg::new();
    gnupg.run(&["--quick-generate-key", "a@example.com", "ed25519", "cert", "never"], b"");
    let user = gnupg.fingerprint("a@example.com");
    let ring = gnupg.export(&user);
    gnupg.run(&["--quick-add-key", &user, "ed25519", "sign", "never"], b"");
    let message = gnupg.sign(&user, &[], CONTENT);
    judge(&gnupg.export(&user), &message, now() + 1).unwrap();
    // Without its subkey, the certificate does not know the signer.
    assert!(matches!(judge(&ring, &message, now() + 1), Err(Error::UnknownSigner { .. })));
    let short = gnupg.generate("short@example.com", "rsa1024", &[]);
    let message = gnupg.sign(&short, &[], CONTENT);
    let keyring = Keyring::read(&gnupg.export(&short)).unwrap();
    assert!(reason(keyring.verify(&message, at(now() + 1))).contains("1024 bits"));
}
