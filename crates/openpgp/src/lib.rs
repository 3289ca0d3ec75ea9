//! OpenPGP signed messages, as image signatures use them (RFC 9580).
//!
//! A [`Keyring`] verifies messages like GnuPG: the crate `pgp` parses packets and does the cryptography, and this crate
//! decides which keys may sign. A [`SigningKey`] makes messages that GnuPG verifies. Its secret comes from a file, or from
//! a [`GnupgHome`].
//!
//! The crate uses no network and no clock, and runs no program. Only [`GnupgHome::read`] reads files.

mod armor;
mod certificate;
mod error;
mod gnupg;
mod keyring;
mod limits;
mod message;
mod packet;
mod signing;

pub use error::{Error, Result};
pub use gnupg::{GnupgHome, PRIVATE_KEY_LIMIT, PRIVATE_KEYS_LIMIT};
pub use keyring::{Keyring, Verified, unverified_content};
pub use limits::{KEYRING_LIMIT, MESSAGE_LIMIT, NESTING_LIMIT, PACKETS_LIMIT, SELF_SIGNATURES_LIMIT};
pub use signing::SigningKey;
