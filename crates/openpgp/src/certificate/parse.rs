//! Reading certificates. A packet that cannot be read is left out with the parts that belong to it.

use pgp::packet::{PacketHeader, PublicKey, PublicSubkey, Signature};
use pgp::types::{KeyDetails, KeyVersion, Tag};

use crate::message::parse_signature;
use crate::packet::{
    PUBLIC_KEY, PUBLIC_SUBKEY, Packet, Packets, SECRET_KEY, SECRET_SUBKEY, SIGNATURE, USER_ATTRIBUTE, USER_ID,
};
use crate::{PACKETS_LIMIT, SELF_SIGNATURES_LIMIT};

use super::{Certificate, Raw, Subkey, User};

/// Reads the certificates of a sequence of packets. The second result is the reason of the first omission.
pub(crate) fn certificates(bytes: &[u8]) -> (Vec<Certificate>, Option<String>) {
    let mut reader = Reader::default();
    for packet in Packets::new(bytes).take(PACKETS_LIMIT) {
        match packet {
            Ok(packet) => reader.add(&packet),
            Err(reason) => reader.omit(reason),
        }
    }
    reader.end();
    (reader.certificates, reader.omitted)
}

#[derive(Default)]
struct Reader {
    certificates: Vec<Certificate>,
    current: Option<Certificate>,
    part: Part,
    omitted: Option<String>,
}

/// The part that the next signatures belong to.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    Primary,
    User,
    Subkey,
    /// A part that is left out.
    Omitted,
}

impl Reader {
    fn add(&mut self, packet: &Packet<'_>) {
        match packet.tag {
            PUBLIC_KEY => {
                self.end();
                match public_key(&packet.body) {
                    Ok(primary) => {
                        self.part = Part::Primary;
                        self.current = Some(Certificate::new(primary));
                    }
                    Err(reason) => self.omit(reason),
                }
            }
            SECRET_KEY => {
                self.end();
                self.omit("a secret key is not a certificate".to_owned());
            }
            PUBLIC_SUBKEY => match (subkey(&packet.body), &mut self.current) {
                (Ok(key), Some(certificate)) => {
                    certificate.subkeys.push(Subkey { key, signatures: Vec::new() });
                    self.part = Part::Subkey;
                }
                (Err(reason), _) => self.omit(reason),
                (Ok(_), None) => {}
            },
            USER_ID | USER_ATTRIBUTE => {
                let tag = if packet.tag == USER_ID { Tag::UserId } else { Tag::UserAttribute };
                if let Some(certificate) = &mut self.current {
                    let body = Raw(packet.body.to_vec());
                    certificate.users.push(User { tag, body, signatures: Vec::new() });
                    self.part = Part::User;
                }
            }
            SIGNATURE => match parse_signature(&packet.body) {
                Ok(signature) => self.add_signature(signature),
                Err(error) => self.note(error.to_string()),
            },
            SECRET_SUBKEY => self.part = Part::Omitted,
            _ => {}
        }
    }

    fn add_signature(&mut self, signature: Signature) {
        let Some(certificate) = &mut self.current else { return };
        let (ids, fingerprints) = (signature.issuer_key_id(), signature.issuer_fingerprint());
        // Signatures of others on this key are not used.
        let names_another = !ids.is_empty()
            && !ids.contains(&&certificate.primary.legacy_key_id())
            && !fingerprints.contains(&&certificate.primary.fingerprint());
        let signatures = match self.part {
            Part::Primary => Some(&mut certificate.direct),
            Part::User => certificate.users.last_mut().map(|user| &mut user.signatures),
            Part::Subkey => certificate.subkeys.last_mut().map(|subkey| &mut subkey.signatures),
            Part::Omitted => None,
        };
        let Some(signatures) = signatures else { return };
        if names_another {
            return;
        }
        if signatures.len() < SELF_SIGNATURES_LIMIT {
            signatures.push(signature);
        } else {
            certificate.has_too_many_signatures = true;
        }
    }

    fn omit(&mut self, reason: String) {
        self.part = Part::Omitted;
        self.note(reason);
    }

    fn note(&mut self, reason: String) {
        self.omitted.get_or_insert(reason);
    }

    fn end(&mut self) {
        self.certificates.extend(self.current.take());
        self.part = Part::Omitted;
    }
}

fn public_key(body: &[u8]) -> Result<PublicKey, String> {
    let header = PacketHeader::new_fixed(Tag::PublicKey, length(body));
    let key = PublicKey::try_from_reader(header, body).map_err(|error| error.to_string())?;
    check_version(&key).map(|()| key)
}

fn subkey(body: &[u8]) -> Result<PublicSubkey, String> {
    let header = PacketHeader::new_fixed(Tag::PublicSubkey, length(body));
    let key = PublicSubkey::try_from_reader(header, body).map_err(|error| error.to_string())?;
    check_version(&key).map(|()| key)
}

fn length(body: &[u8]) -> u32 {
    u32::try_from(body.len()).unwrap_or(u32::MAX)
}

/// Versions 2 and 3 have fingerprints of MD5, which can be forged. Version 5 is a draft.
fn check_version(key: &impl KeyDetails) -> Result<(), String> {
    match key.version() {
        KeyVersion::V4 | KeyVersion::V6 => Ok(()),
        other => Err(format!("keys of the version {other:?} are not accepted")),
    }
}
