//! Limits on inputs.

/// The largest message in bytes, as stored and as unpacked.
pub const MESSAGE_LIMIT: usize = 4 << 20;

/// The most compressed packets inside each other in a message.
pub const NESTING_LIMIT: usize = 4;

/// The largest keyring in bytes.
pub const KEYRING_LIMIT: usize = 64 << 20;

/// The most packets of a keyring.
pub const PACKETS_LIMIT: usize = 1 << 20;

/// The most signatures on one key, one user id or one subkey that are verified.
pub const SELF_SIGNATURES_LIMIT: usize = 256;
