//! The JSON of a message (RFC 7516, section 7.2).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::content::Sealed;
use crate::encoding::{to_url, url};
use crate::keys::EcJwk;

/// The parts of a header that this crate uses (RFC 7516, section 4.1; RFC 7518, section 4.6.1).
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Header {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) alg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) enc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epk: Option<EcJwk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) apu: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) apv: Option<String>,
    #[serde(skip_serializing)]
    pub(super) zip: Option<Value>,
    #[serde(skip_serializing)]
    pub(super) crit: Option<Value>,
}

impl Header {
    /// Adds the members of another header. A member of both is an error (RFC 7516, section 7.2.1), so the result is
    /// `None`.
    fn merge(self, other: Self) -> Option<Self> {
        Some(Self {
            alg: either(self.alg, other.alg)?,
            enc: either(self.enc, other.enc)?,
            epk: either(self.epk, other.epk)?,
            apu: either(self.apu, other.apu)?,
            apv: either(self.apv, other.apv)?,
            zip: either(self.zip, other.zip)?,
            crit: either(self.crit, other.crit)?,
        })
    }
}

fn either<T>(one: Option<T>, other: Option<T>) -> Option<Option<T>> {
    match (one, other) {
        (Some(_), Some(_)) => None,
        (one, other) => Some(one.or(other)),
    }
}

/// A message in the flattened form, or in the general one, whose recipients are in a list.
///
/// ocicrypt's general form repeats the first wrapped key as a member of the message, which the list makes superfluous.
#[derive(Serialize, Deserialize)]
pub(super) struct Message {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    protected: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unprotected: Option<Header>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header: Option<Header>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recipients: Option<Vec<RecipientKey>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aad: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encrypted_key: Option<String>,
    #[serde(default)]
    iv: String,
    #[serde(default)]
    ciphertext: String,
    #[serde(default)]
    tag: String,
}

#[derive(Serialize, Deserialize)]
struct RecipientKey {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header: Option<Header>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encrypted_key: Option<String>,
}

impl Message {
    /// Returns the JSON of a message.
    pub(super) fn write(protected: String, keys: Vec<(Header, Vec<u8>)>, sealed: &Sealed) -> Vec<u8> {
        let mut message = Self {
            protected,
            unprotected: None,
            header: None,
            recipients: None,
            aad: None,
            encrypted_key: None,
            iv: to_url(&sealed.iv),
            ciphertext: to_url(&sealed.ciphertext),
            tag: to_url(&sealed.tag),
        };
        if let [(_, key)] = keys.as_slice() {
            message.encrypted_key = Some(to_url(key));
        } else {
            let recipient = |(header, key): (Header, Vec<u8>)| RecipientKey {
                header: Some(header),
                encrypted_key: Some(to_url(&key)),
            };
            message.recipients = Some(keys.into_iter().map(recipient).collect());
        }
        serde_json::to_vec(&message).expect("a message has no keys but strings")
    }

    pub(super) fn recipient_count(&self) -> usize {
        self.recipients.as_ref().map_or(1, Vec::len)
    }

    /// Returns the whole header of a recipient, and its wrapped key.
    pub(super) fn recipient(&self, number: usize) -> Option<(Header, Vec<u8>)> {
        let (own, key) = match &self.recipients {
            Some(recipients) => {
                let recipient = recipients.get(number)?;
                (&recipient.header, &recipient.encrypted_key)
            }
            None => (&self.header, &self.encrypted_key),
        };
        let protected: Header = match self.protected.is_empty() {
            true => Header::default(),
            false => serde_json::from_slice(&url(&self.protected)?).ok()?,
        };
        let others = [&self.unprotected, own].into_iter().flatten().cloned();
        let header = others.into_iter().try_fold(protected, Header::merge)?;
        Some((header, super::optional(key.as_ref())?))
    }

    /// Returns the bytes that the tag covers besides the ciphertext (RFC 7516, section 5.1, step 14).
    pub(super) fn additional_data(&self) -> Vec<u8> {
        match &self.aad {
            Some(aad) => format!("{}.{aad}", self.protected).into_bytes(),
            None => self.protected.clone().into_bytes(),
        }
    }

    pub(super) fn sealed(&self) -> Option<Sealed> {
        Some(Sealed { iv: url(&self.iv)?, ciphertext: url(&self.ciphertext)?, tag: url(&self.tag)? })
    }
}
