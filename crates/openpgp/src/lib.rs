//! OpenPGP signed messages, as image signatures use them (RFC 9580).
//!
//! A [`Keyring`] verifies messages like GnuPG: the crate `pgp` parses packets and does the cryptography, and this crate
//! decides which keys may sign.
//!
//! The crate uses no network, no files and no clock, and runs no program.

mod armor;
mod certificate;
mod error;
mod keyring;
mod limits;
mod message;
mod packet;

pub use error::{Error, Result};
pub use keyring::{Keyring, Verified, unverified_content};
pub use limits::{KEYRING_LIMIT, MESSAGE_LIMIT, NESTING_LIMIT, PACKETS_LIMIT, SELF_SIGNATURES_LIMIT};
