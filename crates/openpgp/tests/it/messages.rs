//! Forms of messages.

use std::time::{Duration, SystemTime};

use vmroot_openpgp::{Error, Keyring, MESSAGE_LIMIT};

use crate::gnupg::{Gnupg, verdict};

const CONTENT: &[u8] = b"{\"critical\": {}}\n";

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn what_gpg_signs_is_verified_in_every_form_and_with_every_algorithm() {
    let gnupg = Gnupg::new();
    for algorithm in ["ed25519", "rsa2048", "rsa4096", "nistp256", "nistp384", "nistp521", "dsa2048"] {
        let fingerprint = gnupg.generate(&format!("{algorithm}@example.com"), algorithm, &[]);
        let ring = gnupg.export(&fingerprint);
        let keyring = Keyring::read(&ring).unwrap();
        assert_eq!(keyring.fingerprints(), std::slice::from_ref(&fingerprint));
        for options in [
            &[][..],
            &["--compress-algo", "none"],
            &["--compress-algo", "zlib"],
            &["--compress-algo", "bzip2"],
            &["--digest-algo", "SHA512"],
            &["--digest-algo", "SHA384"],
            &["--no-emit-version", "--set-filename", "other"],
        ] {
            // GnuPG demands a hash as long as the key.
            if algorithm == "nistp521" && options.contains(&"SHA384") {
                continue;
            }
            let message = gnupg.sign(&fingerprint, options, CONTENT);
            let verified =
                keyring.verify(&message, at(now())).unwrap_or_else(|it| panic!("{algorithm} {options:?}: {it}"));
            assert_eq!((verified.content, verified.fingerprint), (CONTENT.to_vec(), fingerprint.clone()));
        }
    }
}

#[test]
fn long_contents_have_partial_lengths() {
    let gnupg = Gnupg::new();
    let fingerprint = gnupg.generate("a@example.com", "ed25519", &[]);
    let keyring = Keyring::read(&gnupg.export("a@example.com")).unwrap();
    let content: Vec<u8> =
        (0..200_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for options in [&[][..], &["--compress-algo", "none"]] {
        let message = gnupg.sign(&fingerprint, options, &content);
        assert_eq!(keyring.verify(&message, at(now())).unwrap().content, content, "{options:?}");
    }
    let zeros = gnupg.sign(&fingerprint, &["-z", "9"], &vec![0; MESSAGE_LIMIT + 1]);
    assert!(zeros.len() < MESSAGE_LIMIT / 100);
    let error = keyring.verify(&zeros, at(now())).unwrap_err();
    assert!(matches!(error, Error::TooLarge { name: "MESSAGE_LIMIT", .. }), "{error}");
}

#[test]
fn other_forms_are_refused() {
    let gnupg = Gnupg::new();
    let user = gnupg.generate("a@example.com", "ed25519", &[]);
    let other = gnupg.generate("b@example.com", "ed25519", &[]);
    let mut keyring = Keyring::read(&gnupg.export(&user)).unwrap();
    keyring.merge(Keyring::read(&gnupg.export(&other)).unwrap());
    let good = gnupg.sign(&user, &[], CONTENT);
    let plain = gnupg.sign(&user, &["--compress-algo", "none"], CONTENT);
    let signer = &["--local-user", &user][..];
    let run = |arguments: &[&str]| gnupg.run(&[signer, arguments].concat(), CONTENT);
    for (message, wanted) in [
        (vec![], "empty"),
        (run(&["--detach-sign"]), "detached"),
        (run(&["--clearsign"]), "does not start a packet"),
        (run(&["--armor", "--sign"]), "does not start a packet"),
        (run(&["--store"]), "no signature"),
        (run(&["--store", "--compress-algo", "none"]), "no signature"),
        (run(&["--passphrase", "x", "--symmetric"]), "encrypted"),
        (run(&["--passphrase", "x", "--symmetric", "--sign"]), "encrypted"),
        (run(&["--local-user", &other, "--sign"]), "several signatures"),
        (run(&["--textmode", "--sign"]), "not a signature of binary data"),
        (run(&["--digest-algo", "SHA1", "--sign"]), "hash algorithm"),
        (run(&["--digest-algo", "RIPEMD160", "--sign"]), "hash algorithm"),
        (run(&["--sig-notation", "!a@example.com=b", "--sign"]), "critical"),
        ([&good[..], &good].concat(), "compress"),
        ([&plain[..], &plain].concat(), "data is before"),
        ([&plain[..], b"\xcb\x08b\0\0\0\0\0ab"].concat(), "data is before"),
        ([b"\xcb\x08b\0\0\0\0\0ab", &plain[..]].concat(), "other packets"),
        (plain[..plain.len() - 1].to_vec(), "longer than the data"),
        (good[..good.len() / 2].to_vec(), "compression is damaged"),
        (gnupg.export(&user), "other packets"),
    ] {
        let error = keyring.verify(&message, at(now())).unwrap_err().to_string();
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
    assert!(keyring.verify(&good, at(now())).is_ok());
    let marked = [b"\xca\x03PGP", &plain[..]].concat();
    assert_eq!(keyring.verify(&marked, at(now())).unwrap().content, CONTENT);
}

#[test]
fn compression_inside_compression_is_limited() {
    let gnupg = Gnupg::new();
    let user = gnupg.generate("a@example.com", "ed25519", &[]);
    let keyring = Keyring::read(&gnupg.export(&user)).unwrap();
    let mut message = gnupg.sign(&user, &["--compress-algo", "none"], CONTENT);
    for depth in 1..=5 {
        let length = u32::try_from(message.len() + 1).unwrap().to_be_bytes();
        message = [&[0xc8, 0xff][..], &length, &[0], &message].concat();
        assert_eq!(keyring.verify(&message, at(now())).is_ok(), depth <= 4, "{depth}");
    }
}

#[test]
fn a_signature_expires() {
    let gnupg = Gnupg::new();
    let start = 1_700_000_000;
    let faked = format!("{start}!");
    let user = gnupg.generate("a@example.com", "ed25519", &["--faked-system-time", &faked]);
    let ring = gnupg.export(&user);
    let keyring = Keyring::read(&ring).unwrap();
    let options = ["--faked-system-time", &faked, "--default-sig-expire", "seconds=100"];
    let message = gnupg.sign(&user, &options, CONTENT);
    for (time, wanted) in [(start, true), (start + 99, true), (start + 100, false), (start + 1000, false)] {
        assert_eq!(verdict(&ring, &message, time).is_some(), wanted, "gpg at {time}");
        assert_eq!(keyring.verify(&message, at(time)).is_ok(), wanted, "at {time}");
    }
    assert_eq!(keyring.verify(&message, at(start + 100)), Err(Error::SignatureExpired));
    let error = keyring.verify(&message, at(start - 10_000)).unwrap_err().to_string();
    assert!(error.contains("from the future"), "{error}");
}
