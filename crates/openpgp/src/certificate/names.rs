//! Finding certificates and their keys by name.

use pgp::packet::PublicSubkey;
use pgp::types::{Fingerprint, KeyDetails, Tag};

use super::{Certificate, KeyPosition};

impl Certificate {
    /// Returns the fingerprint of a key.
    pub(crate) fn key_fingerprint(&self, position: KeyPosition) -> Fingerprint {
        match position {
            KeyPosition::Primary => self.primary.fingerprint(),
            KeyPosition::Subkey(number) => self.subkeys[number].key.fingerprint(),
        }
    }

    /// Returns a subkey.
    pub(crate) fn subkey(&self, position: KeyPosition) -> Option<&PublicSubkey> {
        match position {
            KeyPosition::Primary => None,
            KeyPosition::Subkey(number) => self.subkeys.get(number).map(|subkey| &subkey.key),
        }
    }

    /// Returns the preference for a key that signs: subkeys before the primary key, and newer ones before older ones.
    pub(crate) fn key_rank(&self, position: KeyPosition) -> (bool, u32) {
        match self.subkey(position) {
            None => (false, 0),
            Some(key) => (true, key.created_at().as_secs()),
        }
    }

    /// Returns whether a user means this certificate: by a fingerprint or key id of one of its keys, or by a part of a
    /// user id, in any case.
    pub(crate) fn is_of(&self, user: &str) -> bool {
        let digits = user.trim_start_matches("0x").trim_end_matches('!').replace(' ', "");
        let is_id = matches!(digits.len(), 16 | 40 | 64) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id {
            let digits = digits.to_ascii_uppercase();
            return self.keys().any(|position| format!("{:X}", self.key_fingerprint(position)).ends_with(&digits));
        }
        let part = user.to_lowercase();
        let mut names = self.users.iter().filter(|user| user.tag == Tag::UserId);
        !part.is_empty() && names.any(|user| String::from_utf8_lossy(&user.body.0).to_lowercase().contains(&part))
    }
}
