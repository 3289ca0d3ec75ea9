//! Certificates and messages that gpg does not make, made with the crate `pgp`.

use pgp::composed::{Deserializable as _, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    KeyFlags, OnePassSignature, PacketHeader, PublicSubkey, SecretKey, SignatureConfig, SignatureType, Subpacket,
    SubpacketData,
};
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails as _, Password, Tag, Timestamp};
use vmroot_openpgp::Keyring;

use crate::gnupg::{Gnupg, verdict};
use crate::messages::{at, now};

const CONTENT: &[u8] = b"signed";

/// Writes a packet with a length of four octets.
fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[0xc0 | tag, 0xff][..], &u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

fn secret_key(gnupg: &Gnupg, user: &str) -> SecretKey {
    let file = gnupg.run(&["--export-secret-keys", user], b"");
    SignedSecretKey::from_bytes(&file[..]).unwrap().primary_key.clone()
}

fn config(key: &SecretKey, type_: SignatureType, hash: HashAlgorithm, more: Vec<Subpacket>) -> SignatureConfig {
    let mut config = SignatureConfig::v4(type_, key.algorithm(), hash);
    let created = Timestamp::from_secs(u32::try_from(now()).unwrap());
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::SignatureCreationTime(created)).unwrap(),
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint())).unwrap(),
    ];
    config.hashed_subpackets.extend(more);
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id())).unwrap()];
    config
}

fn message(key: &SecretKey, hash: HashAlgorithm, more: Vec<Subpacket>) -> Vec<u8> {
    let one_pass = OnePassSignature::v3(SignatureType::Binary, hash, key.algorithm(), key.legacy_key_id());
    let signature = config(key, SignatureType::Binary, hash, more).sign(key, &Password::empty(), CONTENT).unwrap();
    let literal = [b"b\0\0\0\0\0", CONTENT].concat();
    [packet(4, &one_pass.to_bytes().unwrap()), packet(11, &literal), packet(2, &signature.to_bytes().unwrap())].concat()
}

#[test]
fn the_key_of_another_cannot_be_taken_over_as_a_subkey() {
    let gnupg = Gnupg::new();
    gnupg.generate("thief@example.com", "rsa2048", &[]);
    gnupg.generate("victim@example.com", "ed25519", &[]);
    let (thief, victim) = (secret_key(&gnupg, "thief@example.com"), secret_key(&gnupg, "victim@example.com"));
    let body = victim.public_key().to_bytes().unwrap();
    let header = PacketHeader::new_fixed(Tag::PublicSubkey, u32::try_from(body.len()).unwrap());
    let subkey = PublicSubkey::try_from_reader(header, &body[..]).unwrap();
    let mut flags = KeyFlags::default();
    flags.set_sign(true);
    let more = vec![Subpacket::regular(SubpacketData::KeyFlags(flags)).unwrap()];
    let binding = config(&thief, SignatureType::SubkeyBinding, HashAlgorithm::Sha256, more);
    let binding = binding.sign_subkey_binding(&thief, thief.public_key(), &Password::empty(), &subkey).unwrap();
    let certificate = gnupg.export("thief@example.com");
    let ring = [certificate, packet(14, &body), packet(2, &binding.to_bytes().unwrap())].concat();
    let signed = gnupg.sign("victim@example.com", &[], CONTENT);
    let time = now() + 1;
    let error = Keyring::read(&ring).unwrap().verify(&signed, at(time)).unwrap_err().to_string();
    assert!(error.contains("has not signed the primary key"), "{error}");
    assert_eq!(verdict(&ring, &signed, time), None, "gpg");
}

#[test]
fn unknown_critical_subpackets_and_weak_hashes_are_refused() {
    let gnupg = Gnupg::new();
    gnupg.generate("a@example.com", "rsa2048", &[]);
    let key = secret_key(&gnupg, "a@example.com");
    let ring = gnupg.export("a@example.com");
    let keyring = Keyring::read(&ring).unwrap();
    let time = now() + 1;
    let unknown = || SubpacketData::Experimental(101, b"x".to_vec().into());
    let regular = message(&key, HashAlgorithm::Sha256, vec![Subpacket::regular(unknown()).unwrap()]);
    assert!(keyring.verify(&regular, at(time)).is_ok() && verdict(&ring, &regular, time).is_some());
    let critical = message(&key, HashAlgorithm::Sha256, vec![Subpacket::critical(unknown()).unwrap()]);
    let error = keyring.verify(&critical, at(time)).unwrap_err().to_string();
    assert!(error.contains("critical subpacket"), "{error}");
    assert_eq!(verdict(&ring, &critical, time), None, "gpg");
    for hash in [HashAlgorithm::Md5, HashAlgorithm::Sha1] {
        let error = keyring.verify(&message(&key, hash, vec![]), at(time)).unwrap_err().to_string();
        assert!(error.contains("hash algorithm"), "{error}");
    }
}

#[test]
fn signatures_of_version_3_are_refused() {
    let gnupg = Gnupg::new();
    let user = gnupg.generate("a@example.com", "rsa2048", &[]);
    let keyring = Keyring::read(&gnupg.export(&user)).unwrap();
    // Version, length, type, time, key id, algorithms, the start of the hash, and a number.
    let signature = [&[3, 5, 0, 0, 0, 0, 1][..], &[0; 8], &[1, 8, 0, 0, 0, 8, 0xff]].concat();
    let message = [packet(2, &signature), packet(11, &[b"b\0\0\0\0\0", CONTENT].concat())].concat();
    let error = keyring.verify(&message, at(now())).unwrap_err().to_string();
    assert!(error.contains("version is neither 4 nor 6"), "{error}");
}
