//! Certificates: a primary key with its user ids and subkeys, and the signatures that bind them (RFC 9580, section
//! 10.1).

mod binding;
mod names;
mod parse;
mod validity;

use std::io;

use pgp::packet::{PublicKey, PublicSubkey, Signature};
use pgp::ser::Serialize;
use pgp::types::{Fingerprint, KeyDetails, Tag};

pub(crate) use binding::{Now, created, expiration, has_unknown_critical, is_strong_hash};
pub(crate) use parse::certificates;
pub(crate) use validity::KeyPosition;

/// A certificate. Its signatures are verified when a key of it is used.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) primary: PublicKey,
    /// Signatures on the primary key alone.
    direct: Vec<Signature>,
    users: Vec<User>,
    subkeys: Vec<Subkey>,
    /// Signatures were left out, because a part has more than [`crate::SELF_SIGNATURES_LIMIT`].
    has_too_many_signatures: bool,
}

/// A user id or attribute.
#[derive(Debug, Clone)]
struct User {
    tag: Tag,
    body: Raw,
    signatures: Vec<Signature>,
}

/// A subkey.
#[derive(Debug, Clone)]
struct Subkey {
    key: PublicSubkey,
    signatures: Vec<Signature>,
}

/// The body of a packet, as it is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Raw(Vec<u8>);

impl Serialize for Raw {
    fn to_writer<W: io::Write>(&self, writer: &mut W) -> pgp::errors::Result<()> {
        Ok(writer.write_all(&self.0)?)
    }

    fn write_len(&self) -> usize {
        self.0.len()
    }
}

impl Certificate {
    fn new(primary: PublicKey) -> Self {
        Self { primary, direct: Vec::new(), users: Vec::new(), subkeys: Vec::new(), has_too_many_signatures: false }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.primary.fingerprint()
    }

    /// Adds the parts of another copy of this certificate. A revocation in either of them counts.
    pub(crate) fn merge(&mut self, other: Self) {
        self.has_too_many_signatures |= other.has_too_many_signatures;
        add_new(&mut self.direct, other.direct);
        for user in other.users {
            match self.users.iter_mut().find(|it| it.tag == user.tag && it.body == user.body) {
                Some(known) => add_new(&mut known.signatures, user.signatures),
                None => self.users.push(user),
            }
        }
        for subkey in other.subkeys {
            match self.subkeys.iter_mut().find(|it| it.key.fingerprint() == subkey.key.fingerprint()) {
                Some(known) => add_new(&mut known.signatures, subkey.signatures),
                None => self.subkeys.push(subkey),
            }
        }
    }
}

fn add_new(known: &mut Vec<Signature>, others: Vec<Signature>) {
    for other in others {
        if !known.contains(&other) {
            known.push(other);
        }
    }
}
