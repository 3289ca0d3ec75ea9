//! Reading transferable secret keys (RFC 9580, section 10.2).

use pgp::packet::{PacketHeader, SecretKey, SecretSubkey};
use pgp::ser::Serialize;
use pgp::types::{Fingerprint, KeyDetails, KeyVersion, Password, Tag};

use crate::packet::{PUBLIC_KEY, PUBLIC_SUBKEY, Packets, SECRET_KEY, SECRET_SUBKEY, write};
use crate::{Error, PACKETS_LIMIT, Result};

use super::Secret;

/// Returns the packets with public keys in place of the secret ones, and the secret keys. Secret keys that cannot be
/// read are left out.
pub(super) fn read(packets: &[u8]) -> Result<(Vec<u8>, Vec<Secret>)> {
    let mut public = Vec::new();
    let mut secrets = Vec::new();
    for packet in Packets::new(packets).take(PACKETS_LIMIT) {
        let packet = packet.map_err(Error::SecretKey)?;
        let length = u32::try_from(packet.body.len()).unwrap_or(u32::MAX);
        let secret = match packet.tag {
            SECRET_KEY => SecretKey::try_from_reader(PacketHeader::new_fixed(Tag::SecretKey, length), &*packet.body)
                .map(Secret::Primary),
            SECRET_SUBKEY => {
                let header = PacketHeader::new_fixed(Tag::SecretSubkey, length);
                SecretSubkey::try_from_reader(header, &*packet.body).map(Secret::Subkey)
            }
            _ => {
                public.extend(write(packet.tag, &packet.body));
                continue;
            }
        };
        if let Ok(secret) = secret
            && let Ok(key) = secret.public_packet()
        {
            public.extend(key);
            secrets.push(secret);
        }
    }
    if secrets.is_empty() {
        return Err(Error::SecretKey("the file has none".to_owned()));
    }
    Ok((public, secrets))
}

impl Secret {
    fn public_packet(&self) -> pgp::errors::Result<Vec<u8>> {
        Ok(match self {
            Self::Primary(key) => write(PUBLIC_KEY, &key.public_key().to_bytes()?),
            Self::Subkey(key) => write(PUBLIC_SUBKEY, &key.public_key().to_bytes()?),
        })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Primary(key) => key.fingerprint(),
            Self::Subkey(key) => key.fingerprint(),
        }
    }

    /// Returns the key with the passphrase that opens it.
    pub(super) fn unlocked(&self, passphrase: Option<&[u8]>) -> Result<(Self, Password)> {
        let password = passphrase.map_or_else(Password::empty, Password::from);
        let (version, parameters) = match self {
            Self::Primary(key) => (key.version(), key.secret_params()),
            Self::Subkey(key) => (key.version(), key.secret_params()),
        };
        if version != KeyVersion::V4 {
            return Err(Error::SecretKey("only keys of version 4 can sign".to_owned()));
        }
        if parameters.is_encrypted() && passphrase.is_none() {
            return Err(Error::Passphrase("missing"));
        }
        let opened = match self {
            Self::Primary(key) => key.unlock(&password, |_, _| Ok(())),
            Self::Subkey(key) => key.unlock(&password, |_, _| Ok(())),
        };
        if !matches!(opened, Ok(Ok(()))) {
            return Err(Error::Passphrase("wrong"));
        }
        let secret = match self {
            Self::Primary(key) => Self::Primary(key.clone()),
            Self::Subkey(key) => Self::Subkey(key.clone()),
        };
        Ok((secret, password))
    }
}
